#include "cli/broker_state.h"

#include "base/error.h"
#include "base/memory.h"
#include "console/state.h"

enum { PARTITIONS_MAX = 4096 };

/* The partitions as visited; topics are copied, a topic's partitions follow each other. */
struct partitions {
    struct sl_partition_state *states;
    size_t count;
    bool is_out_of_memory;
};

static void visit_partition(void *context, const struct sl_partition_state *state)
{
    struct partitions *partitions = context;
    if (partitions->count == PARTITIONS_MAX) {
        return;
    }
    char *topic = sl_copy_bytes(state->topic.data, state->topic.size);
    if (topic == NULL) {
        partitions->is_out_of_memory = true;
        return;
    }
    partitions->states[partitions->count] = *state;
    partitions->states[partitions->count++].topic.data = topic;
}

static json_t *topics_as_json(const struct partitions *partitions)
{
    json_t *topics = json_array();
    for (size_t i = 0; i < partitions->count;) {
        struct sl_text topic = partitions->states[i].topic;
        int64_t retained = 0;
        int64_t appended = 0;
        int count = 0;
        for (; i < partitions->count && sl_text_equal(partitions->states[i].topic, topic); i++) {
            retained += partitions->states[i].next_offset - partitions->states[i].first_offset;
            appended += partitions->states[i].next_offset;
            count++;
        }
        json_array_append_new(topics,
            json_pack("{s:o, s:i, s:I, s:I}", "topic", sl_state_text(topic), "partitions", count,
                "retained_events", (json_int_t) retained, "next_offsets", (json_int_t) appended));
    }
    return topics;
}

/* The age of the first event that a consumer has not committed of a partition; 0: there is none. */
static int64_t lag_ms_of(struct sl_broker *broker, const struct sl_partition_state *state,
    int64_t offset, int64_t now_ms)
{
    int64_t time_ms = -1;
    struct sluice_error ignored;
    if (offset >= state->next_offset ||
        sl_broker_time_at(
            broker, state->topic, state->partition, offset, &time_ms, &ignored) != 0 ||
        time_ms < 0 || time_ms > now_ms) {
        return 0;
    }
    return now_ms - time_ms;
}

static void add_place(struct sl_broker *broker, const char *consumer,
    const struct sl_partition_state *state, int64_t offset, int64_t now_ms, json_t *places)
{
    int64_t lag = state->next_offset - offset;
    json_array_append_new(places,
        json_pack("{s:s, s:o, s:i, s:I, s:I, s:I, s:I}", "consumer", consumer, "topic",
            sl_state_text(state->topic), "partition", state->partition, "offset",
            (json_int_t) offset, "next_offset", (json_int_t) state->next_offset, "lag_events",
            (json_int_t) lag, "lag_ms", (json_int_t) lag_ms_of(broker, state, offset, now_ms)));
}

/*
 * A topic of which the consumer has committed any partition is one that it reads: of the others it
 * would read all that is there, so all of it is lag.
 */
static int add_places(struct sl_broker *broker, const char *consumer,
    const struct partitions *partitions, int64_t now_ms, json_t *places, struct sluice_error *error)
{
    const struct sl_partition_state *states = partitions->states;
    int64_t *offsets = sl_allocate(PARTITIONS_MAX * sizeof(*offsets));
    int result = offsets == NULL ? sl_fail_memory(error, "the broker's state") : 0;
    for (size_t first = 0, end; first < partitions->count && result == 0; first = end) {
        bool is_read = false;
        for (end = first; end < partitions->count && result == 0 &&
             sl_text_equal(states[end].topic, states[first].topic);
             end++) {
            result = sl_broker_committed(broker, consumer, states[end].topic,
                states[end].partition, &offsets[end], error);
            is_read = is_read || (result == 0 && offsets[end] >= 0);
        }
        for (size_t i = first; i < end && is_read && result == 0; i++) {
            int64_t offset = offsets[i] >= 0 ? offsets[i] : states[i].first_offset;
            add_place(broker, consumer, &states[i], offset, now_ms, places);
        }
    }
    sl_free(offsets);
    return result;
}

static int add_all_places(struct sl_broker *broker, const json_t *databases,
    const struct partitions *partitions, int64_t now_ms, json_t *places, struct sluice_error *error)
{
    size_t index;
    const json_t *database;
    json_array_foreach(databases, index, database) {
        size_t consumer_index;
        const json_t *consumer;
        json_array_foreach(json_object_get(database, "consumers"), consumer_index, consumer) {
            const char *name = json_string_value(json_object_get(consumer, "name"));
            if (name != NULL &&
                add_places(broker, name, partitions, now_ms, places, error) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

int sl_state_of_broker(struct sl_broker *broker, const char *url, const json_t *databases,
    int64_t now_ms, json_t **ret_state, struct sluice_error *error)
{
    struct partitions partitions = {
        .states = sl_allocate(PARTITIONS_MAX * sizeof(struct sl_partition_state))};
    json_t *places = json_array();
    int result = partitions.states == NULL ? sl_fail_memory(error, "the broker's state") : 0;
    if (result == 0) {
        result = sl_broker_each_partition(broker, visit_partition, &partitions, error);
    }
    if (result == 0 && partitions.is_out_of_memory) {
        result = sl_fail_memory(error, "the broker's state");
    }
    if (result == 0) {
        result = add_all_places(broker, databases, &partitions, now_ms, places, error);
    }
    if (result == 0) {
        json_t *state = json_pack("{s:s, s:s, s:o, s:O}", "url", url, "epoch",
            sl_broker_epoch(broker), "topics", topics_as_json(&partitions), "places", places);
        result = state == NULL ? sl_fail_memory(error, "the broker's state") : 0;
        *ret_state = result == 0 ? state : *ret_state;
    }
    for (size_t i = 0; i < partitions.count; i++) {
        sl_free((char *) partitions.states[i].topic.data);
    }
    sl_free(partitions.states);
    json_decref(places);
    return result;
}
