#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "console/state.h"
#include "store/look.h"
#include "store/mapping.h"

enum {
    TOPICS_MAX = SL_BROKER_TOPICS_MAX,
    RECORDS_AT_ONCE = 1000,
    SEARCH_BEFORE_MS = 60000, /* clocks differ, and a time is taken before the commit */
    SEARCH_PATIENCE_MS = 5000,
    PAUSE_MS = 5
};

/* What is known of the event, as entries of a timeline: {"at_ms", "what", ...}. */
struct explaining {
    const char *id;
    json_t *steps;
    char *shown; /* the database that is read */
    struct sl_position confirmed;
    int64_t since_ms; /* when the event was made, as far as known; 0: unknown */
    char topics[TOPICS_MAX][SLUICE_TOPIC_SIZE_MAX + 1];
    size_t topic_count;
    size_t found;
};

static void add_step(struct explaining *explaining, int64_t at_ms, json_t *step)
{
    char time[SL_CLOCK_TEXT_SIZE];
    if (at_ms > 0) {
        sl_clock_format(at_ms, time);
        json_object_set_new(step, "at", json_string(time));
    }
    json_object_set_new(step, "at_ms", json_integer((json_int_t) at_ms));
    /* In the order of time; what has none stands where it was found. */
    size_t place = json_array_size(explaining->steps);
    while (at_ms > 0 && place > 0 &&
        json_integer_value(json_object_get(json_array_get(explaining->steps, place - 1), "at_ms")) >
            (json_int_t) at_ms) {
        place--;
    }
    json_array_insert_new(explaining->steps, place, step);
}

static void add_topic(struct explaining *explaining, struct sl_text topic)
{
    for (size_t i = 0; i < explaining->topic_count; i++) {
        if (sl_text_equal(sl_text_of(explaining->topics[i]), topic)) {
            return;
        }
    }
    if (explaining->topic_count < TOPICS_MAX && sl_event_is_topic(topic)) {
        snprintf(explaining->topics[explaining->topic_count++], SLUICE_TOPIC_SIZE_MAX + 1, "%.*s",
            (int) topic.size, topic.data);
    }
}

static void take_row(void *context, struct sl_position position, const struct sl_event *event)
{
    struct explaining *explaining = context;
    char text[SL_POSITION_TEXT_SIZE];
    sl_position_write(position, text);
    bool is_placed = position.tick > 0 || explaining->confirmed.tick == 0;
    bool is_sent = is_placed && sl_position_compare(position, explaining->confirmed) <= 0;
    explaining->found++;
    explaining->since_ms = event->time_ms;
    add_topic(explaining, event->topic);
    add_step(explaining, event->time_ms,
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:s}", "what", "written", "database",
            explaining->shown, "position", text, "topic", sl_state_text(event->topic), "key",
            event->has_key ? sl_state_text(event->key) : json_null(), "type",
            sl_state_text(event->type), "payload_bytes", (json_int_t) event->payload.size, "status",
            is_sent ? "confirmed by the relay" : "not confirmed by the relay yet"));
}

static void take_held(void *context, const struct sl_held *held)
{
    struct explaining *explaining = context;
    explaining->found++;
    add_topic(explaining, held->event.topic);
    explaining->since_ms = explaining->since_ms == 0 ? held->event.time_ms : explaining->since_ms;
    add_step(explaining, held->held_ms,
        json_pack("{s:s, s:s, s:o, s:s, s:i, s:o}", "what", "held", "database", explaining->shown,
            "stage", sl_state_text(held->stage), "state", sl_held_state_name(held->state),
            "attempts", held->attempts, "reason", sl_state_text(held->reason)));
}

static void take_marker(
    void *context, struct sl_text consumer, struct sl_text event_id, int64_t applied_ms)
{
    struct explaining *explaining = context;
    (void) event_id;
    explaining->found++;
    add_step(explaining, applied_ms,
        json_pack("{s:s, s:s, s:o}", "what", "applied", "database", explaining->shown, "consumer",
            sl_state_text(consumer)));
}

static int look_at_database(struct explaining *explaining, const char *url)
{
    struct sluice_error error;
    struct sl_store *store;
    struct sl_outbox_state outbox;
    struct sl_held_filter filter = {.event_id = explaining->id};
    if (sl_mapping_open_noted(url, &store, &error) != 0) {
        return sl_report("%s", error.text);
    }
    explaining->shown = sl_state_name(url);
    int status = explaining->shown == NULL ? -1 : sl_store_outbox_state(store, &outbox, &error);
    if (status == 0) {
        explaining->confirmed = outbox.position;
        status = sl_store_outbox_find(store, explaining->id, take_row, explaining, &error);
    }
    if (status == 0) {
        status = sl_store_each_held(store, &filter, take_held, explaining, &error);
    }
    if (status == 0) {
        status = sl_store_inbox_find(store, explaining->id, take_marker, explaining, &error);
    }
    sl_free(explaining->shown);
    explaining->shown = NULL;
    sl_store_close(store);
    return status == 0 ? SL_EXIT_DONE : sl_report("%s", error.text);
}

static void take_topic(void *context, const struct sl_partition_state *state)
{
    add_topic(context, state->topic);
}

static int search(
    struct explaining *explaining, struct sl_broker *broker, struct sluice_error *error)
{
    const char *topics[TOPICS_MAX];
    int64_t since_ms = explaining->since_ms - SEARCH_BEFORE_MS;
    struct sl_reader_options options = {.topics = topics,
        .topic_count = explaining->topic_count,
        .start = since_ms > 0 ? SL_READ_TIME : SL_READ_START,
        .time_ms = since_ms};
    struct sl_reader *reader;
    for (size_t i = 0; i < explaining->topic_count; i++) {
        topics[i] = explaining->topics[i];
    }
    if (sl_reader_open(broker, &options, NULL, NULL, NULL, &reader, error) != 0) {
        return -1;
    }
    int status = 0;
    int64_t deadline_ms = sl_clock_monotonic_ms() + SEARCH_PATIENCE_MS;
    size_t count = 1;
    while (status == 0 && (count > 0 || !sl_broker_is_dense(broker)) &&
        sl_clock_monotonic_ms() < deadline_ms) {
        const struct sl_record *records;
        status = sl_reader_next(reader, RECORDS_AT_ONCE, &records, &count, error);
        for (size_t i = 0; status == 0 && i < count; i++) {
            if (strcmp(records[i].event.id, explaining->id) == 0) {
                explaining->found++;
                add_step(explaining, 0,
                    json_pack("{s:s, s:o, s:i, s:I}", "what", "in the topic", "topic",
                        sl_state_text(records[i].event.topic), "partition", records[i].partition,
                        "offset", (json_int_t) records[i].offset));
            }
        }
        if (status == 0 && count > 0) {
            deadline_ms = sl_clock_monotonic_ms() + SEARCH_PATIENCE_MS;
        } else if (status == 0 && !sl_broker_is_dense(broker)) {
            nanosleep(&(struct timespec) {.tv_nsec = PAUSE_MS * 1000000L}, NULL);
        }
    }
    sl_reader_close(reader);
    return status;
}

static int look_at_broker(struct explaining *explaining, const char *url)
{
    struct sluice_error error;
    struct sl_broker *broker;
    if (sl_open_existing_broker(url, &broker, &error) != 0) {
        return sl_report("%s", error.text);
    }
    /* Without a row nothing says which topic it was. */
    int status = explaining->topic_count == 0
        ? sl_broker_each_partition(broker, take_topic, explaining, &error)
        : 0;
    status =
        status == 0 && explaining->topic_count > 0 ? search(explaining, broker, &error) : status;
    sl_broker_close(broker);
    return status == 0 ? SL_EXIT_DONE : sl_report("%s", error.text);
}

static void print_field(const json_t *step, const char *name)
{
    const json_t *value = json_object_get(step, name);
    if (json_is_string(value)) {
        printf(" %s=", name);
        sl_print_clean(
            stdout, (struct sl_text) {json_string_value(value), json_string_length(value)});
    } else if (json_is_integer(value)) {
        printf(" %s=%lld", name, json_integer_value(value));
    }
}

static void print_steps(const json_t *steps)
{
    static const char *const names[] = {"database", "position", "topic", "partition", "offset",
        "key", "type", "payload_bytes", "stage", "state", "attempts", "consumer", "reason",
        "status"};
    size_t index;
    const json_t *step;
    json_array_foreach(steps, index, step)
    {
        const char *at = json_string_value(json_object_get(step, "at"));
        sl_print_color(SL_COLOR_DIM);
        printf("%-24s ", at == NULL ? "" : at);
        sl_print_color(SL_COLOR_PLAIN);
        printf("%-12s", json_string_value(json_object_get(step, "what")));
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            print_field(step, names[i]);
        }
        printf("\n");
    }
}

static int explain(
    const struct sl_arguments *arguments, const struct sl_config *config, struct explaining *take)
{
    const struct sl_config_value *urls = &config->values[SL_OPTION_DATABASE];
    const char *broker = sl_config_text(config, SL_OPTION_BROKER);
    int status = sl_config_need(config, SL_OPTION_DATABASE) == NULL ? SL_EXIT_FAILED : SL_EXIT_DONE;
    for (size_t i = 0; i < urls->item_count && status == SL_EXIT_DONE; i++) {
        status = look_at_database(take, urls->items[i]);
    }
    if (status == SL_EXIT_DONE && broker != NULL) {
        status = look_at_broker(take, broker);
    }
    if (status == SL_EXIT_DONE && take->found == 0) {
        return sl_report(
            "nothing is known of the event %s: no row, dead letter or marker in the "
            "databases that were named%s; retention may have removed it",
            take->id, broker == NULL ? "" : ", and no record in the broker");
    }
    if (status == SL_EXIT_DONE && sl_arguments_value(arguments, "json") != NULL) {
        json_dumpf(take->steps, stdout, JSON_INDENT(2));
        printf("\n");
    } else if (status == SL_EXIT_DONE) {
        print_steps(take->steps);
    }
    return status;
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    if (arguments->positional_count != 1 ||
        !sl_event_is_id(sl_text_of(arguments->positionals[0]))) {
        return sl_usage_error(arguments->command, "name one event by its id, a UUID in lower case");
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    struct explaining *explaining = sl_allocate(sizeof(*explaining));
    int status = SL_EXIT_FAILED;
    if (explaining != NULL) {
        explaining->id = arguments->positionals[0];
        explaining->steps = json_array();
        status = explain(arguments, &config, explaining);
        json_decref(explaining->steps);
    }
    sl_free(explaining);
    sl_config_deinit(&config);
    return status;
}

const struct sl_command sl_command_explain = {
    .name = "explain",
    .summary = "Show one event's way: row, attempts, place in its topic, who applied it",
    .usage = "ID --database URL [--broker URL] [--json]",
    .text =
        "examples:\n  sluice explain 019ab3c4-5d6e-7f80-9123-456789abcdef --config app.yaml\n\n"
        "A line for each trace that is still there, in the order of time: written (the outbox),\n"
        "held (a dead letter, with attempts and reason), in the topic (partition and offset),\n"
        "applied (a consumer's inbox). Name the consumers' databases, too.\n",
    .sections = "database broker",
    .flags = {{"json", NULL, "as JSON"}},
    .run = run,
};
