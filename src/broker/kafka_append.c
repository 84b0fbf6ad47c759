/*
 * From a piece of the outbox to messages: what can be known before is found before anything is
 * sent, so that a poison event costs its neighbours nothing.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "broker/kafka_message.h"
#include "broker/kafka_producer.h"

/* What Kafka adds to an event, and the names of its first two headers, take less. */
enum { SIZE_MARGIN = 160 };

/* How an append ended that is waited for. */
struct outcome {
    bool is_done;
    int status;
    size_t rejected;
    struct sluice_error error;
};

static void on_outcome(void *context, int status, size_t rejected, const struct sluice_error *error)
{
    struct outcome *outcome = context;
    outcome->is_done = true;
    outcome->status = status;
    outcome->rejected = rejected;
    if (status != 0) {
        outcome->error = *error;
    }
}

/* The oldest event that goes to the topic. */
static int64_t oldest_of(const struct sl_append *append, struct sl_text topic)
{
    int64_t oldest_ms = INT64_MAX;
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].time_ms < oldest_ms &&
            sl_text_equal(append->events[i].topic, topic)) {
            oldest_ms = append->events[i].time_ms;
        }
    }
    return oldest_ms;
}

static int check_size(struct sl_kafka_producer *producer, struct sl_kafka_topic *topic,
    const struct sl_event *event, const rd_kafka_headers_t *headers, struct sluice_error *error)
{
    /* Without its headers' sizes: few events are that near to the limit. */
    size_t least = event->key.size + event->payload.size + event->headers.size + event->type.size +
        sizeof(event->id);
    if (producer->has_compression || topic->size_max == 0 ||
        least + SIZE_MARGIN < (size_t) topic->size_max) {
        return 0;
    }
    size_t size = sl_kafka_batch_size(event, headers);
    if (size <= (size_t) topic->size_max) {
        return 0;
    }
    /* The limit may have been raised since. */
    topic->size_max = sl_kafka_topic_size_max(producer, event->topic);
    return topic->size_max == 0 || size <= (size_t) topic->size_max
        ? 0
        : sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
              "the event takes %zu bytes in Kafka, the topic %.*s takes %lld at most; raise its "
              "max.message.bytes, or publish a reference to the payload",
              size, (int) event->topic.size, event->topic.data, (long long) topic->size_max);
}

/* The topic of an event, which is mostly that of the one before; NULL if it is a new one. */
static struct sl_kafka_topic *topic_of(
    const struct sl_kafka_producer *producer, const struct sl_kafka_piece *piece, size_t i)
{
    const struct sl_event *events = piece->append.events;
    return i > 0 && sl_text_equal(events[i].topic, events[i - 1].topic)
        ? piece->slots[i - 1].topic
        : sl_table_get(&producer->topics, events[i].topic);
}

static int check_event(struct sl_kafka_producer *producer, struct sl_kafka_piece *piece, size_t i,
    struct sl_headers *own, struct sluice_error *error)
{
    const struct sl_event *event = &piece->append.events[i];
    struct sl_kafka_slot *slot = &piece->slots[i];
    if (sl_event_read_row(event, own, error) != 0) {
        return -1;
    }
    slot->topic = topic_of(producer, piece, i);
    int status = sl_kafka_headers_of(event, own, &slot->headers, error);
    sl_headers_deinit(own);
    /* What is redriven was sent a moment ago, if it was, however old it is. */
    if (status == 0 &&
        (slot->topic == NULL || !slot->topic->is_prepared ||
            (!piece->is_once && sl_kafka_topic_is_unread(producer, slot->topic, event->time_ms)))) {
        status = sl_kafka_topic_prepare(
            producer, event->topic, oldest_of(&piece->append, event->topic), &slot->topic, error);
    }
    return status == 0 ? check_size(producer, slot->topic, event, slot->headers, error) : -1;
}

/* Look at each event before any is sent. */
static int check_events(struct sl_kafka_producer *producer, struct sl_kafka_piece *piece,
    size_t *ret_rejected, struct sluice_error *error)
{
    struct sl_headers own;
    for (size_t i = 0; i < piece->append.count; i++) {
        if (check_event(producer, piece, i, &own, error) != 0) {
            *ret_rejected = error->reaction == SLUICE_REJECT ? i : SIZE_MAX;
            return -1;
        }
    }
    return 0;
}

static int send_event(struct sl_kafka_producer *producer, struct sl_kafka_piece *piece, size_t i,
    struct sluice_error *error)
{
    const struct sl_event *event = &piece->append.events[i];
    struct sl_kafka_slot *slot = &piece->slots[i];
    struct sl_kafka_topic *topic = slot->topic;
    if (topic->handle == NULL) {
        char name[SLUICE_TOPIC_SIZE_MAX + 1];
        snprintf(name, sizeof(name), "%.*s", (int) event->topic.size, event->topic.data);
        topic->handle = rd_kafka_topic_new(producer->client.handle, name, NULL);
    }
    /* The message is copied: when a producer is given up, the events must not be waited for. */
    rd_kafka_resp_err_t code = rd_kafka_producev(producer->client.handle,
        RD_KAFKA_V_RKT(topic->handle), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(event->has_key ? (event->key.data == NULL ? "" : event->key.data) : NULL,
            event->has_key ? event->key.size : 0),
        RD_KAFKA_V_VALUE(
            (void *) (event->payload.data == NULL ? "" : event->payload.data), event->payload.size),
        RD_KAFKA_V_TIMESTAMP(event->time_ms), RD_KAFKA_V_HEADERS(slot->headers),
        RD_KAFKA_V_OPAQUE(slot), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        producer->failure = code;
        sl_kafka_fail(&producer->client, code, "cannot append to Kafka", error);
        error->reaction = SLUICE_RETRY;
        return -1;
    }
    slot->headers = NULL; /* the message's now */
    topic->is_written = true;
    slot->is_sent = true;
    piece->unsent_count--;
    piece->waiting_count++;
    producer->flying_count++;
    return 0;
}

/*
 * Whether a message may go now. One that has to stay behind keeps all later ones of its partition
 * behind, too, so that their order stays.
 */
static bool may_send(struct sl_kafka_producer *producer, const struct sl_kafka_slot *slot)
{
    if (producer->is_one_by_one) {
        return producer->flying_count == 0;
    }
    if (slot->partition < 0) {
        return true;
    }
    enum sl_kafka_acquaintance *acquaintance = &slot->topic->partitions[slot->partition];
    if (*acquaintance == SL_KAFKA_STRANGER) {
        *acquaintance = SL_KAFKA_INTRODUCING;
        return true;
    }
    return *acquaintance == SL_KAFKA_KNOWN;
}

int sl_kafka_piece_send(
    struct sl_kafka_producer *producer, struct sl_kafka_piece *piece, struct sluice_error *error)
{
    for (size_t i = 0; i < piece->append.count && piece->unsent_count > 0; i++) {
        if (piece->slots[i].is_sent || !may_send(producer, &piece->slots[i])) {
            continue;
        }
        if (send_event(producer, piece, i, error) != 0) {
            /* What is queued of the piece must not go alone. */
            producer->is_failed = true;
            return -1;
        }
    }
    return 0;
}

/* Give the piece to librdkafka: 0 when there is nothing to send, 1 when answers are to come. */
static int begin_sending(
    struct sl_kafka_producer *producer, struct sl_kafka_piece *piece, struct sluice_error *error)
{
    if (sl_kafka_producer_start(producer, error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < piece->append.count; i++) {
        const struct sl_event *event = &piece->append.events[i];
        struct sl_kafka_slot *slot = &piece->slots[i];
        struct sl_text id = sl_text_of(event->id);
        slot->piece = piece;
        slot->partition =
            event->has_key ? sl_broker_partition_of(event->key, slot->topic->partition_count) : -1;
        slot->is_sent = sl_kafka_seen_has(&producer->seen, id) ||
            (piece->is_once && sl_kafka_seen_has(&producer->once, id));
        piece->unsent_count += slot->is_sent ? 0 : 1;
    }
    if (sl_kafka_piece_send(producer, piece, error) != 0) {
        return -1;
    }
    return piece->waiting_count + piece->unsent_count > 0 ? 1 : 0;
}

static struct sl_kafka_piece *make_piece(const struct sl_append *append, bool is_once)
{
    struct sl_kafka_piece *piece =
        sl_allocate(sizeof(*piece) + append->count * sizeof(piece->slots[0]));
    if (piece != NULL) {
        piece->append = *append;
        piece->is_once = is_once;
    }
    return piece;
}

/* Without a loop, or an on_done: until the end is known. `outcome` is what the piece reports to. */
static int wait_for(struct sl_kafka_producer *producer, const struct outcome *outcome,
    size_t *ret_rejected, struct sluice_error *error)
{
    while (!outcome->is_done) {
        if (!sl_kafka_producer_serve(producer, 100)) {
            return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "the broker was closed");
        }
    }
    if (outcome->status != 0) {
        *ret_rejected = outcome->rejected;
        *error = outcome->error;
    }
    return outcome->status;
}

/* What is left to do when everything is known of the events, and they are to go. */
static int begin_piece(struct sl_kafka_producer *producer, struct sl_kafka_piece *piece,
    struct outcome *outcome, size_t *ret_rejected, struct sluice_error *error)
{
    int status = begin_sending(producer, piece, error);
    if (status <= 0) {
        if (producer->is_failed) {
            sl_kafka_producer_serve(producer, 0); /* no more comes for the piece after this */
        }
        sl_kafka_piece_free(piece);
        return status;
    }
    if (outcome != NULL) {
        piece->append.on_done = on_outcome;
        piece->append.context = outcome;
    }
    struct sl_kafka_piece **link = &producer->pieces;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = piece;
    return outcome == NULL ? SL_APPEND_PENDING : wait_for(producer, outcome, ret_rejected, error);
}

static int check_time(const struct sl_kafka_producer *producer, const struct sl_kafka_piece *piece,
    struct sluice_error *error)
{
    return sl_clock_monotonic_ms() - piece->begun_ms <= producer->kafka->append_ms_max / 2
        ? 0
        : sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
              "looking for what is in the topics already took long; appending with the next try");
}

static int append_piece(struct sl_kafka *kafka, const struct sl_append *append, bool is_once,
    size_t *ret_rejected, struct sluice_error *error)
{
    struct sl_kafka_producer *producer = sl_kafka_producer_of(kafka);
    bool is_waited_for = kafka->loop == NULL || append->on_done == NULL;
    int64_t begun_ms = sl_clock_monotonic_ms();
    *ret_rejected = SIZE_MAX;
    if (append->count == 0) {
        return 0;
    }
    if (producer == NULL) {
        return sl_fail_memory(error, "a Kafka producer");
    }
    struct sl_kafka_piece *piece = make_piece(append, is_once);
    struct outcome *outcome = is_waited_for ? sl_allocate(sizeof(*outcome)) : NULL;
    if (piece == NULL || (is_waited_for && outcome == NULL)) {
        sl_kafka_piece_free(piece);
        sl_free(outcome);
        return sl_fail_memory(error, "an append");
    }
    piece->begun_ms = begun_ms;
    if (check_events(producer, piece, ret_rejected, error) != 0 ||
        check_time(producer, piece, error) != 0) {
        sl_kafka_piece_free(piece);
        sl_free(outcome);
        return -1;
    }
    int status = begin_piece(producer, piece, outcome, ret_rejected, error);
    sl_free(outcome);
    return status;
}

int sl_kafka_append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error)
{
    return append_piece((struct sl_kafka *) broker, append, false, ret_rejected, error);
}

int sl_kafka_append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error)
{
    size_t rejected;
    return append_piece((struct sl_kafka *) broker, append, true, &rejected, error);
}

int sl_kafka_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    (void) error;
    if (kafka->producer != NULL) {
        sl_kafka_producer_doubt(kafka->producer);
    }
    *ret_position = source->confirmed;
    return 0;
}
