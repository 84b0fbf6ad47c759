#include "console/sampler.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "console/state.h"
#include "store/mapping.h"

int sl_sampler_init(struct sl_sampler *sampler, const struct sl_console_options *options)
{
    *sampler = (struct sl_sampler) {.ready_age_max_ms = options->ready_age_max_ms};
    for (size_t i = 0; i < options->database_count && i < SL_CONSOLE_DATABASES_MAX; i++) {
        struct sl_sampled_database *database = &sampler->databases[sampler->database_count++];
        database->url = sl_copy_text(options->databases[i]);
        database->name = sl_state_name(options->databases[i]);
        database->moved_ms = sl_clock_monotonic_ms();
        if (database->url == NULL || database->name == NULL) {
            sl_sampler_deinit(sampler);
            return -1;
        }
    }
    for (size_t i = 0; i < options->source_count && i < SL_CONSOLE_SOURCES_MAX; i++) {
        sampler->sources[sampler->source_count++] = options->sources[i];
    }
    return 0;
}

void sl_sampler_deinit(struct sl_sampler *sampler)
{
    for (size_t i = 0; i < sampler->database_count; i++) {
        sl_store_close(sampler->databases[i].store);
        sl_free(sampler->databases[i].url);
        sl_free(sampler->databases[i].name);
    }
    *sampler = (struct sl_sampler) {0};
}

void sl_sample_deinit(struct sl_sample *sample)
{
    sl_metrics_deinit(&sample->metrics);
    json_decref(sample->state);
    json_decref(sample->not_ready);
    json_decref(sample->not_alive);
    *sample = (struct sl_sample) {0};
}

static struct sl_store *store_of(struct sl_sampled_database *database, struct sluice_error *error)
{
    if (database->store == NULL &&
        sl_mapping_open_noted(database->url, &database->store, error) != 0) {
        database->store = NULL;
    }
    return database->store;
}

struct sl_store *sl_sampler_store(
    struct sl_sampler *sampler, const char *name, struct sluice_error *error)
{
    for (size_t i = 0; i < sampler->database_count; i++) {
        if (strcmp(sampler->databases[i].name, name) == 0) {
            return store_of(&sampler->databases[i], error);
        }
    }
    sl_fail(error, SLUICE_NOT_FOUND, SLUICE_REJECT, "there is no database '%s' here", name);
    return NULL;
}

static int64_t integer_of(const json_t *object, const char *name)
{
    return (int64_t) json_integer_value(json_object_get(object, name));
}

/* Ready means measured progress: nothing old is unsent, or what is old goes away. */
static void judge(struct sl_sampler *sampler, struct sl_sampled_database *database,
    const json_t *state, json_t *not_ready)
{
    int64_t now_ms = sl_clock_monotonic_ms();
    int64_t age_ms = integer_of(state, "oldest_unsent_age_ms");
    struct sl_position position = {integer_of(state, "tick"), integer_of(state, "position")};
    if (sl_position_compare(position, database->position) != 0 ||
        integer_of(state, "unsent_events") == 0) {
        database->moved_ms = now_ms;
    }
    database->position = position;
    int64_t still_ms = now_ms - database->moved_ms;
    if (age_ms > sampler->ready_age_max_ms && still_ms > sampler->ready_age_max_ms) {
        char text[400];
        snprintf(text, sizeof(text),
            "%.200s: the oldest unsent event is %lld s old and the "
            "position has not moved for %lld s; is a relay running?",
            database->name, (long long) (age_ms / 1000), (long long) (still_ms / 1000));
        json_array_append_new(not_ready, json_string(text));
    }
}

static json_t *look_at(
    struct sl_sampler *sampler, struct sl_sampled_database *database, json_t *not_ready)
{
    struct sluice_error error;
    json_t *state;
    struct sl_store *store = store_of(database, &error);
    if (store == NULL ||
        sl_state_of_store(store, database->name, sl_clock_wall_ms(), &state, &error) != 0) {
        json_array_append_new(not_ready, json_string(error.text));
        /* A connection that met an error is opened anew: the file may have been replaced. */
        sl_store_close(database->store);
        database->store = NULL;
        return json_pack("{s:s, s:s}", "name", database->name, "error", error.text);
    }
    judge(sampler, database, state, not_ready);
    return state;
}

static struct sl_metrics_label label_of(const json_t *object, const char *key, const char *name)
{
    const json_t *value = json_object_get(object, key);
    return (struct sl_metrics_label) {name, {json_string_value(value), json_string_length(value)}};
}

/* One family over all databases, from a number of each. */
static void write_numbers(
    struct sl_metrics *metrics, const json_t *databases, const char *field, bool is_time)
{
    size_t index;
    const json_t *database;
    json_array_foreach(databases, index, database)
    {
        if (json_object_get(database, field) != NULL) {
            struct sl_metrics_label label = label_of(database, "name", "database");
            if (is_time) {
                sl_metrics_time(metrics, &label, 1, integer_of(database, field));
            } else {
                sl_metrics_number(metrics, &label, 1, integer_of(database, field));
            }
        }
    }
}

/* One family over all stages or consumers of all databases. */
static void write_nested(struct sl_metrics *metrics, const json_t *databases, const char *list,
    const char *key, const char *label_name, const char *field)
{
    size_t index;
    const json_t *database;
    json_array_foreach(databases, index, database)
    {
        size_t nested_index;
        const json_t *nested;
        json_array_foreach(json_object_get(database, list), nested_index, nested)
        {
            struct sl_metrics_label labels[] = {
                label_of(database, "name", "database"), label_of(nested, key, label_name)};
            sl_metrics_number(metrics, labels, 2, integer_of(nested, field));
        }
    }
}

static void write_metrics(struct sl_metrics *metrics, const json_t *databases)
{
    sl_metrics_begin(metrics, "outbox_oldest_unsent_age_seconds", SL_METRICS_GAUGE,
        "Age of the oldest event that no relay has confirmed, read from the table.");
    write_numbers(metrics, databases, "oldest_unsent_age_ms", true);
    sl_metrics_begin(metrics, "outbox_unsent_events", SL_METRICS_GAUGE,
        "Events in the outbox that no relay has confirmed.");
    write_numbers(metrics, databases, "unsent_events", false);
    sl_metrics_begin(metrics, "outbox_position", SL_METRICS_GAUGE,
        "Position up to which the relay has confirmed.");
    write_numbers(metrics, databases, "position", false);
    sl_metrics_begin(metrics, "relay_term", SL_METRICS_GAUGE,
        "Rises by one with each relay that takes the lease.");
    write_numbers(metrics, databases, "lease_term", false);
    sl_metrics_begin(metrics, "relay_parked_keys", SL_METRICS_GAUGE,
        "Keys that do not flow, by the stage that holds them.");
    write_nested(metrics, databases, "stages", "stage", "stage", "parked_keys");
    sl_metrics_begin(metrics, "dead_letters", SL_METRICS_GAUGE,
        "Events that have failed permanently and wait for a person, by stage.");
    write_nested(metrics, databases, "stages", "stage", "stage", "failed");
    sl_metrics_begin(
        metrics, "inbox_applied_total", SL_METRICS_COUNTER, "Events that a consumer has applied.");
    write_nested(metrics, databases, "consumers", "name", "consumer", "applied_total");
    sl_metrics_begin(metrics, "inbox_duplicates_total", SL_METRICS_COUNTER,
        "Events that a consumer had applied before and skipped.");
    write_nested(metrics, databases, "consumers", "name", "consumer", "duplicates_total");
    sl_metrics_begin(metrics, "inbox_failures_total", SL_METRICS_COUNTER,
        "Attempts of a consumer's handler that failed.");
    write_nested(metrics, databases, "consumers", "name", "consumer", "failures_total");
}

void sl_sampler_look(struct sl_sampler *sampler, struct sl_sample *ret_sample)
{
    struct sl_sample sample = {
        .state = json_object(), .not_ready = json_array(), .not_alive = json_array()};
    json_t *databases = json_array();
    sl_metrics_init(&sample.metrics);
    for (size_t i = 0; i < sampler->database_count; i++) {
        json_array_append_new(
            databases, look_at(sampler, &sampler->databases[i], sample.not_ready));
    }
    if (sampler->database_count > 0) {
        write_metrics(&sample.metrics, databases);
    }
    json_object_set_new(sample.state, "databases", databases);
    struct sl_console_writer writer = {
        &sample.metrics, sample.state, sample.not_ready, sample.not_alive};
    for (size_t i = 0; i < sampler->source_count; i++) {
        if (sampler->sources[i].is_blocking) {
            sampler->sources[i].collect(sampler->sources[i].context, &writer);
        }
    }
    *ret_sample = sample;
}

void sl_console_add_total(struct sl_console_writer *writer, const char *name, int64_t amount)
{
    json_t *totals = json_object_get(writer->state, "totals");
    if (totals == NULL) {
        totals = json_object();
        json_object_set_new(writer->state, "totals", totals);
    }
    json_int_t sum = json_integer_value(json_object_get(totals, name)) + (json_int_t) amount;
    json_object_set_new(totals, name, json_integer(sum));
}
