/* Databases and the broker: can they be used, does everything move, and if not, what holds it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/url.h"
#include "cli/broker_state.h"
#include "cli/doctor.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "console/state.h"
#include "event/id.h"
#include "store/look.h"
#include "store/mapping.h"

enum { SKEW_WARN_MS = 2000, STILL_MS = 60000, TOPIC_ROWS_MAX = 1000, REASONS_SHOWN_MAX = 3 };

static int64_t number(const json_t *object, const char *name)
{
    return (int64_t) json_integer_value(json_object_get(object, name));
}

static const char *string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

/* Whether the rights are there: everything that services, relay and consumers write, undone. */
static void look_at_rights(struct sl_doctor *doctor, struct sl_store *store, const char *shown)
{
    struct sluice_error error;
    bool is_new;
    struct sl_event event = {.topic = SL_TEXT("sluice.doctor"),
        .type = SL_TEXT("Doctor"),
        .payload = SL_TEXT("{}"),
        .headers = SL_TEXT("{}"),
        .time_ms = doctor->now_ms};
    sl_id_new(event.id);
    int status = sl_store_begin(store, &error);
    status = status == 0 ? sl_store_outbox_insert(store, &event, &error) : -1;
    status = status == 0
        ? sl_store_inbox_begin(store, "sluice-doctor", event.id, doctor->now_ms, &is_new, &error)
        : -1;
    struct sl_hold hold = {.stage = "sluice-doctor",
        .event = &event,
        .state = SL_HELD_WAITING,
        .now_ms = doctor->now_ms,
        .reason = "tried by sluice doctor"};
    status = status == 0 ? sl_store_hold(store, &hold, &error) : -1;
    sl_store_rollback(store);
    if (status == 0) {
        sl_doctor_find(doctor, SL_FINDING_OK, "rights", shown,
            "outbox, inbox and dead letters can be written");
    } else if (error.code == SLUICE_BUSY) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "rights", shown,
            "could not be tried, and publishing waits, too: %s", error.text);
    } else {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "rights", shown, "%s", error.text);
    }
}

static void look_at_clock(struct sl_doctor *doctor, struct sl_store *store, const char *shown)
{
    struct sluice_error error;
    int64_t clock_ms;
    int64_t before_ms = sl_clock_wall_ms();
    if (sl_store_clock(store, &clock_ms, &error) != 0) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "clock", shown, "%s", error.text);
        return;
    }
    /* The answer may have been long under way: within that time it is right. */
    int64_t after_ms = sl_clock_wall_ms();
    int64_t skew_ms = clock_ms < before_ms ? clock_ms - before_ms
        : clock_ms > after_ms              ? clock_ms - after_ms
                                           : 0;
    if (skew_ms > SKEW_WARN_MS || skew_ms < -SKEW_WARN_MS) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "clock", shown,
            "the database's clock is %lld ms %s this machine's: ages, delays and retention are "
            "wrong by as much; let both follow one time server",
            (long long) (skew_ms < 0 ? -skew_ms : skew_ms), skew_ms < 0 ? "behind" : "ahead of");
        return;
    }
    sl_doctor_find(doctor, SL_FINDING_OK, "clock", shown, "agrees with this machine's");
}

/* What stops a relay when it starts: each knows events that the other does not. */
static void look_at_position(struct sl_doctor *doctor, struct sl_store *store,
    struct sl_broker *broker, const struct sl_outbox_state *outbox, const char *shown)
{
    struct sluice_error error;
    struct sl_position position;
    struct sl_source source = {.id = sl_store_id(store),
        .confirmed = outbox->position,
        .confirmed_ms = outbox->confirmed_ms};
    /* Only a broker that keeps the position itself can contradict; to ask Kafka changes nothing. */
    if (broker == NULL || !sl_broker_is_dense(broker) ||
        sl_broker_source_position(broker, &source, &position, &error) != 0) {
        return;
    }
    if (sl_position_compare(position, outbox->last) > 0) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "position", shown,
            "the broker has events up to position %lld, but the outbox ends at %lld, so that the "
            "relay halts: the database was restored from a backup or replaced; give it a new "
            "identity with `sluice init --new-identity`",
            (long long) position.id, (long long) outbox->last.id);
    } else if (sl_position_compare(position, outbox->position) < 0 &&
        sl_position_compare(outbox->retained_after, position) > 0) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "position", shown,
            "the broker has events up to position %lld, but %lld were confirmed and the rows "
            "between are gone, so that the relay halts: the broker's data was lost; restore it, or "
            "go on without those events with `sluice init --new-identity`",
            (long long) position.id, (long long) outbox->position.id);
    }
}

static void look_at_pause(struct sl_doctor *doctor, const json_t *state, const char *shown)
{
    if (json_is_string(json_object_get(state, "paused"))) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "paused", shown,
            "its relays were paused by %s; nothing is sent until `sluice resume`",
            string(state, "paused"));
    }
}

static void look_at_unsent(struct sl_doctor *doctor, const json_t *state, const char *shown)
{
    char age[24];
    int64_t age_ms = number(state, "oldest_unsent_age_ms");
    int64_t unsent = number(state, "unsent_events");
    sl_format_age(age_ms, age);
    if (age_ms > sl_config_number(doctor->config, SL_OPTION_CONSOLE_READY_AGE_MAX)) {
        const char *holder = string(state, "lease_holder");
        sl_doctor_find(doctor, SL_FINDING_FAIL, "unsent", shown,
            "%lld events are unsent, the oldest for %s%s%s; is a relay running (sluice relay), and "
            "what does it log?",
            (long long) unsent, age, holder[0] == '\0' ? "" : "; the lease is held by relay ",
            holder);
    } else {
        sl_doctor_find(
            doctor, SL_FINDING_OK, "unsent", shown, "%lld unsent events", (long long) unsent);
    }
}

static void look_at_lease(struct sl_doctor *doctor, struct sl_store *store, const char *shown)
{
    struct sluice_error error;
    struct sl_relay_row row;
    int64_t clock_ms;
    if (sl_store_relay_row(store, &row, &error) != 0) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "lease", shown, "%s", error.text);
    } else if (sl_store_clock(store, &clock_ms, &error) == 0 && row.holder[0] != '\0' &&
        row.lease_ends_ms > clock_ms) {
        sl_doctor_find(doctor, SL_FINDING_OK, "lease", shown,
            "held by relay %s in term %lld, for another %lld s; a second relay stands by",
            row.holder, (long long) row.term,
            (long long) ((row.lease_ends_ms - clock_ms + 999) / 1000));
    }
}

struct transactions {
    struct sl_doctor *doctor;
    const char *shown;
    size_t count;
};

static void note_transaction(void *context, struct sl_text who, int64_t age_ms)
{
    struct transactions *noting = context;
    char age[24];
    sl_format_age(age_ms, age);
    noting->count++;
    sl_doctor_find(noting->doctor, SL_FINDING_WARN, "transaction", noting->shown,
        "%.*s has been open for %s: events that it wrote wait for its commit, and rows that came "
        "after it cannot be cleaned up; end it if it was forgotten",
        (int) who.size, who.data, age);
}

static void look_at_transactions(
    struct sl_doctor *doctor, struct sl_store *store, const char *shown)
{
    struct sluice_error error;
    struct transactions noting = {doctor, shown, 0};
    int64_t age_ms = sl_config_number(doctor->config, SL_OPTION_CONSOLE_READY_AGE_MAX);
    if (sl_store_open_transactions(store, age_ms, note_transaction, &noting, &error) != 0) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "transaction", shown, "%s", error.text);
    } else if (noting.count == 0) {
        sl_doctor_find(doctor, SL_FINDING_OK, "transaction", shown, "none has been open for long");
    }
}

static void look_at_mapping(
    struct sl_doctor *doctor, const struct sl_store *store, const char *shown)
{
    const char *index = sl_mapping_missing_index(store);
    if (index != NULL) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "index", shown,
            "the table that the relay reads (relay.table) has no index for its status, so that "
            "each look reads all of it, and more with every row: %s",
            index);
    }
}

static void look_at_held(struct sl_doctor *doctor, const json_t *state, const char *shown)
{
    size_t index;
    size_t shown_count = 0;
    const json_t *parked;
    bool is_halting = sl_config_number(doctor->config, SL_OPTION_RELAY_ON_POISON) == 2;
    json_array_foreach(json_object_get(state, "parked"), index, parked)
    {
        bool is_failed = strcmp(string(parked, "state"), "FAILED_PERMANENTLY") == 0;
        if (!is_failed || shown_count++ >= REASONS_SHOWN_MAX) {
            continue;
        }
        bool stops = is_halting && strcmp(string(parked, "stage"), SL_STAGE_RELAY) == 0;
        sl_doctor_find(doctor, stops ? SL_FINDING_FAIL : SL_FINDING_WARN, "parked key", shown,
            "key %s of topic %s is %s at stage %s, %lld events: %s; mend the cause, then `sluice "
            "dead-letter redrive %s`",
            string(parked, "key"), string(parked, "topic"), stops ? "stopping the relay" : "parked",
            string(parked, "stage"), (long long) number(parked, "events"), string(parked, "reason"),
            string(parked, "id"));
    }
    if (shown_count > REASONS_SHOWN_MAX) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "parked key", shown,
            "%zu more; `sluice dead-letter list` shows them", shown_count - REASONS_SHOWN_MAX);
    } else if (shown_count == 0) {
        sl_doctor_find(doctor, SL_FINDING_OK, "parked key", shown, "none");
    }
}

void sl_doctor_look_at_database(
    struct sl_doctor *doctor, const char *url, struct sl_broker *broker, json_t *states)
{
    struct sluice_error error;
    struct sl_store *store;
    struct sl_text file;
    json_t *state;
    struct sl_outbox_state outbox;
    char *shown = sl_shown_url(url);
    if (shown == NULL) {
        return;
    }
    if (sl_url_parse_file(sl_text_of(url), "sqlite", &file)) {
        sl_doctor_look_at_file(doctor, file.data);
    }
    if (sl_mapping_open_noted(url, &store, &error) != 0) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "database", shown, "%s", error.text);
        sl_free(shown);
        return;
    }
    sl_doctor_find(doctor, SL_FINDING_OK, "database", shown,
        "reachable, with sluice's tables of this version");
    look_at_rights(doctor, store, shown);
    look_at_clock(doctor, store, shown);
    look_at_transactions(doctor, store, shown);
    if (sl_store_outbox_state(store, &outbox, &error) != 0 ||
        sl_state_of_store(store, shown, sl_clock_wall_ms(), &state, &error) != 0) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "tables", shown, "%s", error.text);
    } else {
        look_at_pause(doctor, state, shown);
        look_at_unsent(doctor, state, shown);
        look_at_lease(doctor, store, shown);
        look_at_position(doctor, store, broker, &outbox, shown);
        look_at_held(doctor, state, shown);
        look_at_mapping(doctor, store, shown);
        json_array_append_new(states, state);
    }
    sl_store_close(store);
    sl_free(shown);
}

static bool has_topic(const json_t *state, const char *topic)
{
    size_t index;
    const json_t *known;
    json_array_foreach(json_object_get(state, "topics"), index, known)
    {
        if (strcmp(string(known, "topic"), topic) == 0) {
            return true;
        }
    }
    return false;
}

static void look_at_topics(struct sl_doctor *doctor, const json_t *state)
{
    const struct sl_config_routes *routes = &doctor->config->routes;
    for (size_t i = 0; i < routes->count; i++) {
        const char *topic = routes->routes[i].topic;
        if (topic != NULL && !has_topic(state, topic)) {
            sl_doctor_find(doctor, SL_FINDING_WARN, "topic", topic,
                "the route %s streams it, and it does not exist: streams wait until its first "
                "event makes it; is its name right?",
                routes->routes[i].path);
        }
    }
}

/* A consumer that has events before it and has done nothing for a while does not run. */
static void look_at_consumers(struct sl_doctor *doctor, const json_t *state)
{
    size_t index;
    const json_t *database;
    json_array_foreach(doctor->databases, index, database)
    {
        size_t consumer_index;
        const json_t *consumer;
        json_array_foreach(json_object_get(database, "consumers"), consumer_index, consumer)
        {
            const char *name = string(consumer, "name");
            int64_t lag = 0;
            int64_t lag_ms = 0;
            size_t place_index;
            const json_t *place;
            json_array_foreach(json_object_get(state, "places"), place_index, place)
            {
                if (strcmp(string(place, "consumer"), name) == 0) {
                    lag += number(place, "lag_events");
                    lag_ms = number(place, "lag_ms") > lag_ms ? number(place, "lag_ms") : lag_ms;
                }
            }
            char age[24];
            sl_format_age(number(consumer, "idle_ms"), age);
            if (lag > 0 && lag_ms > STILL_MS && number(consumer, "idle_ms") > STILL_MS) {
                sl_doctor_find(doctor, SL_FINDING_FAIL, "consumer", name,
                    "%lld events wait for it, and it has applied none for %s; is the service "
                    "running, and what does it log?",
                    (long long) lag, age);
            } else {
                sl_doctor_find(
                    doctor, SL_FINDING_OK, "consumer", name, "%lld events behind", (long long) lag);
            }
        }
    }
}

void sl_doctor_look_at_broker(struct sl_doctor *doctor, struct sl_broker *broker)
{
    const char *url = sl_config_text(doctor->config, SL_OPTION_BROKER);
    struct sluice_error error;
    json_t *state;
    char *shown = sl_shown_url(url);
    if (broker != NULL && shown != NULL) {
        if (sl_state_of_broker(
                broker, shown, doctor->databases, sl_clock_wall_ms(), &state, &error) != 0) {
            sl_doctor_find(doctor, SL_FINDING_FAIL, "broker", shown, "%s", error.text);
        } else {
            sl_doctor_find(doctor, SL_FINDING_OK, "broker", shown, "reachable, %zu topics",
                json_array_size(json_object_get(state, "topics")));
            look_at_topics(doctor, state);
            look_at_consumers(doctor, state);
            json_decref(state);
        }
    }
    sl_free(shown);
}
