#include "broker/kafka_producer.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"

enum {
    BATCH_SIZE_MAX = 1000000, /* librdkafka's default */
    CHECK_INTERVAL_MS = 500,
    FORGET_SLACK_MS = 10000,
    PREPARED_MS = 10000,
    HEAR_MS_MAX = 500
};

struct sl_kafka_producer *sl_kafka_producer_of(struct sl_kafka *kafka)
{
    if (kafka->producer != NULL) {
        return kafka->producer;
    }
    struct sl_kafka_producer *producer = sl_allocate(sizeof(*producer));
    if (producer == NULL) {
        return NULL;
    }
    producer->kafka = kafka;
    sl_table_init(&producer->topics);
    for (size_t i = 0; i < kafka->property_count; i++) {
        const struct sl_kafka_property *property = &kafka->properties[i];
        producer->has_compression = producer->has_compression ||
            (strncmp(property->name, "compression.", 12) == 0 &&
                strcmp(property->value, "none") != 0);
    }
    kafka->producer = producer;
    return producer;
}

void sl_kafka_piece_free(struct sl_kafka_piece *piece)
{
    for (size_t i = 0; piece != NULL && i < piece->append.count; i++) {
        if (piece->slots[i].headers != NULL) {
            rd_kafka_headers_destroy(piece->slots[i].headers);
        }
    }
    sl_free(piece);
}

static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    struct sl_kafka_slot *slot = message->_private;
    struct sl_kafka_piece *piece = slot->piece;
    struct sl_kafka_producer *producer = ((struct sl_kafka_client *) opaque)->owner;
    (void) handle;
    piece->waiting_count--;
    producer->flying_count--;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        slot->is_acknowledged = true;
        if (slot->partition >= 0 && slot->partition < slot->topic->partition_count) {
            slot->topic->partitions[slot->partition] = SL_KAFKA_KNOWN;
        }
        return;
    }
    producer->is_failed = true;
    producer->failure =
        producer->failure == RD_KAFKA_RESP_ERR_NO_ERROR ? message->err : producer->failure;
    if (sl_kafka_is_condemning(message->err)) {
        size_t index = (size_t) (slot - piece->slots);
        if (piece->condemned_count == 0 || index < piece->condemned) {
            piece->condemned = index;
            piece->condemned_code = message->err;
        }
        piece->condemned_count++;
    }
}

static bool find_smallest(void *context, struct sl_text name, void *value)
{
    const struct sl_kafka_topic *topic = value;
    int64_t *size = context;
    (void) name;
    *size = topic->size_max > 0 && topic->size_max < *size ? topic->size_max : *size;
    return true;
}

/* How large a batch may be that fits all topics. */
static int64_t wanted_batch_size(const struct sl_kafka_producer *producer)
{
    int64_t size = BATCH_SIZE_MAX;
    sl_table_each(&producer->topics, find_smallest, &size);
    return size;
}

static void on_wake(void *context)
{
    sl_kafka_producer_serve(context, 0);
}

/* What the user's properties may change. */
static const char *const default_properties[] = {"linger.ms", "0", NULL};

static int make_client(struct sl_kafka_producer *producer, struct sluice_error *error)
{
    char batch_size[24];
    int64_t wanted = wanted_batch_size(producer);
    snprintf(batch_size, sizeof(batch_size), "%lld", (long long) wanted);
    const char *const properties[] = {"enable.idempotence", "true", "enable.gapless.guarantee",
        "true", "acks", "all", "partitioner", "murmur2_random", "message.timeout.ms", "0",
        "message.max.bytes", "100000000", "queue.buffering.max.messages", "1000000",
        "queue.buffering.max.kbytes", "1048576", "batch.size", batch_size,
        producer->is_isolating ? "batch.num.messages" : NULL, "1", NULL};
    const struct sl_kafka_setup setup = {.type = RD_KAFKA_PRODUCER,
        .defaults = default_properties,
        .properties = properties,
        .on_delivery = on_delivery};
    if (sl_kafka_client_open(producer->kafka, &setup, &producer->client, error) != 0) {
        return -1;
    }
    producer->client.owner = producer;
    producer->queue = rd_kafka_queue_get_main(producer->client.handle);
    producer->batch_size = wanted;
    producer->is_one_by_one = producer->is_isolating;
    return 0;
}

int sl_kafka_producer_start(struct sl_kafka_producer *producer, struct sluice_error *error)
{
    bool has_changed = producer->batch_size != wanted_batch_size(producer) ||
        producer->is_one_by_one != producer->is_isolating;
    if (has_changed && producer->pieces == NULL) {
        sl_kafka_producer_stop(producer);
    }
    if (producer->client.handle == NULL && make_client(producer, error) != 0) {
        return -1;
    }
    if (producer->wake != NULL || producer->kafka->loop == NULL) {
        return 0;
    }
    return sl_kafka_wake_open(producer->kafka->loop, producer->queue, on_wake, CHECK_INTERVAL_MS,
        on_wake, producer, &producer->wake, error);
}

static bool free_handle(void *context, struct sl_text name, void *value)
{
    struct sl_kafka_topic *topic = value;
    (void) context;
    (void) name;
    if (topic->handle != NULL) {
        rd_kafka_topic_destroy(topic->handle);
        topic->handle = NULL;
    }
    /* Another client is a stranger again. */
    for (int32_t i = 0; i < topic->partition_count; i++) {
        topic->partitions[i] = SL_KAFKA_STRANGER;
    }
    return true;
}

void sl_kafka_producer_stop(struct sl_kafka_producer *producer)
{
    sl_kafka_wake_close(producer->wake);
    producer->wake = NULL;
    sl_table_each(&producer->topics, free_handle, NULL);
    if (producer->client.handle != NULL) {
        rd_kafka_purge(producer->client.handle,
            RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_queue_destroy(producer->queue);
        sl_kafka_client_close(&producer->client);
    }
    producer->flying_count = 0;
}

/*
 * A topic whose tail has just been read, and that nothing was sent to since, is not read again: a
 * tail that takes long would otherwise never be followed by an append.
 */
static bool doubt_topic(void *context, struct sl_text name, void *value)
{
    struct sl_kafka_topic *topic = value;
    (void) context;
    (void) name;
    topic->is_prepared = topic->is_prepared && !topic->is_written &&
        sl_clock_monotonic_ms() - topic->prepared_ms < PREPARED_MS;
    return true;
}

void sl_kafka_producer_doubt(struct sl_kafka_producer *producer)
{
    sl_table_each(&producer->topics, doubt_topic, NULL);
}

static bool free_topic(void *context, struct sl_text name, void *value)
{
    (void) context;
    (void) name;
    sl_free(((struct sl_kafka_topic *) value)->partitions);
    sl_free(value);
    return true;
}

void sl_kafka_producer_close(struct sl_kafka_producer *producer)
{
    if (producer == NULL) {
        return;
    }
    if (producer->ret_is_closed != NULL) {
        *producer->ret_is_closed = true;
    }
    sl_kafka_producer_stop(producer);
    while (producer->pieces != NULL) {
        struct sl_kafka_piece *next = producer->pieces->next;
        sl_kafka_piece_free(producer->pieces);
        producer->pieces = next;
    }
    sl_table_each(&producer->topics, free_topic, NULL);
    sl_table_deinit(&producer->topics);
    sl_kafka_seen_clear(&producer->seen);
    sl_kafka_seen_clear(&producer->once);
    sl_free(producer);
}

/* What became of the piece's events that are in the log for certain is kept for the next try. */
static void remember(struct sl_kafka_producer *producer, const struct sl_kafka_piece *piece)
{
    for (size_t i = 0; i < piece->append.count; i++) {
        const struct sl_event *event = &piece->append.events[i];
        if (piece->slots[i].is_acknowledged &&
            sl_kafka_seen_add(&producer->seen, sl_text_of(event->id), event->time_ms) != 0) {
            sl_log(SL_LOG_WARN, "no memory for the ids of what was sent; it may be sent twice",
                "id=%s", event->id);
            return;
        }
    }
}

/*
 * The events of a relay that was here before have all been passed, when the events that are sent
 * are newer than anything that was found in the tails.
 */
static void forget_old(struct sl_kafka_producer *producer, const struct sl_kafka_piece *piece)
{
    if (producer->seen.count == 0 || piece->is_once) {
        return;
    }
    for (size_t i = 0; i < piece->append.count; i++) {
        if (piece->append.events[i].time_ms < producer->seen.newest_ms + FORGET_SLACK_MS) {
            return;
        }
    }
    sl_kafka_seen_clear(&producer->seen);
}

static void note_success(struct sl_kafka_producer *producer, const struct sl_kafka_piece *piece)
{
    if (piece->is_once) {
        if (producer->once.count >= SL_KAFKA_ONCE_MAX) {
            sl_kafka_seen_clear(&producer->once);
        }
        struct sl_text id = sl_text_of(piece->append.events[0].id);
        if (sl_kafka_seen_add(&producer->once, id, 0) != 0) {
            sl_log(SL_LOG_WARN, "no memory for the id of a redriven event", "id=%s",
                piece->append.events[0].id);
        }
        return;
    }
    producer->is_isolating = false;
    forget_old(producer, piece);
}

/* How a piece ended when the producer was given up. */
static int judge(struct sl_kafka_producer *producer, const struct sl_kafka_piece *piece,
    rd_kafka_resp_err_t code, size_t *ret_rejected, struct sluice_error *error)
{
    bool is_all_meant = piece->condemned_code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
        piece->condemned_code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
    *ret_rejected = SIZE_MAX;
    if (piece->condemned_count == 0) {
        sl_kafka_fail(&producer->client, code, "cannot append to Kafka", error);
        /* Only the event that was condemned is rejected; this one has yet to hear its answer. */
        error->reaction = SLUICE_RETRY;
        return -1;
    }
    if (piece->condemned_count > 1 && !producer->is_one_by_one && !is_all_meant) {
        producer->is_isolating = true;
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
            "Kafka refused %zu messages as one (%s); they are sent one by one to find which",
            piece->condemned_count, rd_kafka_err2str(piece->condemned_code));
    }
    char what[400];
    const struct sl_event *event = &piece->append.events[piece->condemned];
    *ret_rejected = piece->condemned;
    snprintf(what, sizeof(what), "cannot append to topic %.*s", (int) event->topic.size,
        event->topic.data);
    return sl_kafka_fail(&producer->client, piece->condemned_code, what, error);
}

/* Take the first piece that is done out of the list; NULL if there is none. */
static struct sl_kafka_piece *take_done(struct sl_kafka_producer *producer)
{
    struct sl_kafka_piece **link = &producer->pieces;
    while (*link != NULL && (*link)->waiting_count + (*link)->unsent_count > 0) {
        link = &(*link)->next;
    }
    struct sl_kafka_piece *piece = *link;
    if (piece != NULL) {
        *link = piece->next;
    }
    return piece;
}

/* End a piece: its owner hears of it, and may append again or close the broker. */
static bool end_piece(struct sl_kafka_producer *producer, struct sl_kafka_piece *piece, int status,
    size_t rejected, const struct sluice_error *error)
{
    bool is_closed = false;
    bool *outer = producer->ret_is_closed;
    producer->ret_is_closed = &is_closed;
    piece->append.on_done(piece->append.context, status, rejected, error);
    sl_kafka_piece_free(piece);
    if (!is_closed) {
        producer->ret_is_closed = outer;
    } else if (outer != NULL) {
        *outer = true;
    }
    return !is_closed;
}

static bool is_waiting(const struct sl_kafka_producer *producer)
{
    for (const struct sl_kafka_piece *piece = producer->pieces; piece != NULL;
        piece = piece->next) {
        if (piece->waiting_count > 0) {
            return true;
        }
    }
    return false;
}

/*
 * After a fatal error librdkafka gives up everything and reports each message, in any order: that
 * of the one which was refused may come last.
 */
static void hear_the_rest(struct sl_kafka_producer *producer)
{
    int64_t end_ms = sl_clock_monotonic_ms() + HEAR_MS_MAX;
    while (is_waiting(producer) && sl_clock_monotonic_ms() < end_ms) {
        rd_kafka_poll(producer->client.handle, 10);
    }
}

/* The producer is given up: nobody knows what of the pieces in hand is in the log. */
static bool fail_all(struct sl_kafka_producer *producer, rd_kafka_resp_err_t code)
{
    char reason[256] = "";
    rd_kafka_resp_err_t fatal =
        rd_kafka_fatal_error(producer->client.handle, reason, sizeof(reason));
    sl_log(SL_LOG_WARN, "the Kafka producer is given up and made anew", "error=\"%s\" fatal=\"%s\"",
        rd_kafka_err2str(code), fatal == RD_KAFKA_RESP_ERR_NO_ERROR ? "" : reason);
    if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
        hear_the_rest(producer);
    }
    struct sl_kafka_piece *failed = producer->pieces;
    producer->pieces = NULL;
    sl_kafka_producer_doubt(producer);
    for (struct sl_kafka_piece *piece = failed; piece != NULL; piece = piece->next) {
        remember(producer, piece);
    }
    sl_kafka_producer_stop(producer);
    producer->is_failed = false;
    producer->failure = RD_KAFKA_RESP_ERR_NO_ERROR;
    bool is_open = true;
    while (failed != NULL) {
        struct sl_kafka_piece *piece = failed;
        struct sluice_error error = {.code = SLUICE_OK};
        size_t rejected = SIZE_MAX;
        failed = piece->next;
        if (!is_open) {
            sl_kafka_piece_free(piece);
            continue;
        }
        int status = judge(producer, piece, code, &rejected, &error);
        is_open = end_piece(producer, piece, status, rejected, &error);
    }
    return is_open;
}

bool sl_kafka_producer_serve(struct sl_kafka_producer *producer, int timeout_ms)
{
    struct sl_kafka_piece *piece;
    if (producer->client.handle == NULL) {
        return true;
    }
    rd_kafka_poll(producer->client.handle, timeout_ms);
    for (piece = producer->pieces; piece != NULL && !producer->is_failed; piece = piece->next) {
        struct sluice_error ignored; /* the failure is told to all pieces */
        producer->is_failed = producer->is_failed ||
            (piece->unsent_count > 0 && sl_kafka_piece_send(producer, piece, &ignored) != 0);
    }
    if (producer->is_failed) {
        return fail_all(producer, producer->failure);
    }
    while ((piece = take_done(producer)) != NULL) {
        note_success(producer, piece);
        if (!end_piece(producer, piece, 0, SIZE_MAX, NULL)) {
            return false;
        }
    }
    if (producer->pieces != NULL &&
        sl_clock_monotonic_ms() - producer->pieces->begun_ms > producer->kafka->append_ms_max) {
        return fail_all(producer, RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    return true;
}
