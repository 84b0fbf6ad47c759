/*
 * A reader without a group: every partition of its topics, from where it was told to start.
 *
 * It asks for new topics and partitions from time to time; those that come after the first look are
 * read from their beginning. While the cluster cannot be reached it waits, and takes its places
 * when it first answers.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "broker/kafka.h"
#include "broker/kafka_records.h"
#include "broker/kafka_wake.h"

enum {
    CHECK_INTERVAL_MS = 1000, /* for topics that are missing */
    LOOK_INTERVAL_MS = 10000, /* for partitions that are new */
    QUICK_TIMEOUT_MS = 300,   /* within the loop, where others wait meanwhile */
    SLOW_TIMEOUT_MS = 1200,   /* at most, for a broker that is there and slow */
    SILENCE_MAX_MS = 5000,    /* for a reader that is polled */
    MESSAGES_AT_ONCE = 64
};

struct place {
    int64_t start_offset;
    int64_t next_offset;
    bool is_open;
};

struct followed_topic {
    char *name;
    rd_kafka_topic_t *handle;
    rd_kafka_topic_t *asked_for; /* the same of the client that looks; NULL until it does */
    struct place *places;
    int32_t place_count;
};

struct kafka_reader {
    struct sl_reader base;
    struct sl_kafka *kafka;
    struct sl_kafka_client client;
    rd_kafka_queue_t *queue;
    struct sl_kafka_wake *wake;
    struct sl_reader_wake owner;
    enum sl_reader_start start;
    int64_t tail_count;
    int64_t time_ms;
    struct followed_topic topics[SL_BROKER_TOPICS_MAX];
    size_t topic_count;
    bool is_first_look_over;
    int64_t looked_ms;
    int patience_ms; /* of the next look within the loop */
    struct sl_kafka_records records;
    rd_kafka_message_t *messages[MESSAGES_AT_ONCE]; /* taken from the queue and not handed out */
    size_t message_count;
    size_t message_next;
    bool has_failure;
    struct sluice_error failure; /* for the next call: this one had records to give */
};

static void drop_messages(struct kafka_reader *reader)
{
    while (reader->message_next < reader->message_count) {
        rd_kafka_message_destroy(reader->messages[reader->message_next++]);
    }
}

static void leave_topic(struct followed_topic *topic)
{
    for (int32_t i = 0; i < topic->place_count; i++) {
        if (topic->places[i].is_open) {
            rd_kafka_consume_stop(topic->handle, i);
        }
    }
    sl_free(topic->places);
    topic->places = NULL;
    topic->place_count = 0;
}

static void close_reader(struct sl_reader *base)
{
    struct kafka_reader *reader = (struct kafka_reader *) base;
    sl_kafka_wake_close(reader->wake);
    drop_messages(reader);
    sl_kafka_records_deinit(&reader->records);
    for (size_t i = 0; i < reader->topic_count; i++) {
        leave_topic(&reader->topics[i]);
        if (reader->topics[i].handle != NULL) {
            rd_kafka_topic_destroy(reader->topics[i].handle);
        }
        if (reader->topics[i].asked_for != NULL) {
            rd_kafka_topic_destroy(reader->topics[i].asked_for);
        }
        sl_free(reader->topics[i].name);
    }
    if (reader->queue != NULL) {
        rd_kafka_queue_destroy(reader->queue);
    }
    sl_kafka_client_close(&reader->client);
    sl_free(reader);
}

static struct followed_topic *topic_of(struct kafka_reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->topic_count; i++) {
        if (strcmp(reader->topics[i].name, name) == 0) {
            return &reader->topics[i];
        }
    }
    return NULL;
}

static struct place *place_of(struct kafka_reader *reader, const char *topic, int32_t partition)
{
    struct followed_topic *followed = topic_of(reader, topic);
    return followed != NULL && partition >= 0 && partition < followed->place_count
        ? &followed->places[partition]
        : NULL;
}

/* Make room for the partitions that the cluster tells of, and list those that are not read yet. */
static int note_topic(struct followed_topic *topic, const struct rd_kafka_metadata_topic *found,
    rd_kafka_topic_partition_list_t *fresh, struct sluice_error *error)
{
    if (found->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return 0;
    }
    if (found->partition_cnt > topic->place_count) {
        struct place *places = sl_allocate((size_t) found->partition_cnt * sizeof(*places));
        if (places == NULL) {
            return sl_fail_memory(error, "a reader");
        }
        if (topic->place_count > 0) {
            memcpy(places, topic->places, (size_t) topic->place_count * sizeof(*places));
        }
        sl_free(topic->places);
        topic->places = places;
        topic->place_count = found->partition_cnt;
    }
    for (int32_t i = 0; i < topic->place_count; i++) {
        if (!topic->places[i].is_open) {
            rd_kafka_topic_partition_list_add(fresh, topic->name, i);
        }
    }
    return 0;
}

static void set_offsets(rd_kafka_topic_partition_list_t *list, int64_t offset)
{
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = offset;
    }
}

/* From where the partitions of `fresh` are to be read, into its offsets. */
static int find_starts(
    struct kafka_reader *reader, rd_kafka_topic_partition_list_t *fresh, struct sluice_error *error)
{
    bool is_late = reader->is_first_look_over && reader->start != SL_READ_TIME;
    rd_kafka_topic_partition_list_t *firsts = rd_kafka_topic_partition_list_copy(fresh);
    rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_copy(fresh);
    set_offsets(firsts, RD_KAFKA_OFFSET_BEGINNING);
    set_offsets(ends, RD_KAFKA_OFFSET_END);
    set_offsets(fresh, reader->time_ms > 0 ? reader->time_ms : 0);
    int status = sl_kafka_ask_offsets(&reader->kafka->look, firsts, error);
    status = status == 0 ? sl_kafka_ask_offsets(&reader->kafka->look, ends, error) : -1;
    if (status == 0 && reader->start == SL_READ_TIME) {
        status = sl_kafka_ask_offsets(&reader->kafka->look, fresh, error);
    }
    for (int i = 0; i < fresh->cnt && status == 0; i++) {
        int64_t first = firsts->elems[i].offset;
        int64_t end = ends->elems[i].offset;
        int64_t start = first;
        if (reader->start == SL_READ_TIME) {
            start = fresh->elems[i].offset < 0 ? end : fresh->elems[i].offset;
        } else if (!is_late && reader->start == SL_READ_END) {
            start = end;
        } else if (!is_late && reader->start == SL_READ_TAIL) {
            start = end - reader->tail_count;
        }
        fresh->elems[i].offset = start < first ? first : start;
    }
    rd_kafka_topic_partition_list_destroy(firsts);
    rd_kafka_topic_partition_list_destroy(ends);
    return status;
}

static int open_place(struct kafka_reader *reader, struct followed_topic *topic, int32_t partition,
    int64_t offset, struct sluice_error *error)
{
    if (rd_kafka_consume_start_queue(topic->handle, partition, offset, reader->queue) != 0) {
        return sl_kafka_fail(&reader->client, rd_kafka_last_error(), "cannot read a topic", error);
    }
    topic->places[partition].is_open = true;
    topic->places[partition].next_offset = offset;
    return 0;
}

/*
 * What the cluster has of our topics. Another client asks than the one that reads: a broker answers
 * what comes by one connection in turn, and a fetch is answered only when there is something to
 * read, or after half a second, for which a loop would stand still.
 */
static int ask_topics(struct kafka_reader *reader, int timeout_ms,
    const struct rd_kafka_metadata **ret_metadata, struct sluice_error *error)
{
    struct sl_kafka_client *look = &reader->kafka->look;
    if (sl_kafka_look(reader->kafka, error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < reader->topic_count; i++) {
        struct followed_topic *topic = &reader->topics[i];
        if (topic->asked_for == NULL) {
            topic->asked_for = rd_kafka_topic_new(look->handle, topic->name, NULL);
        }
        if (topic->asked_for == NULL) {
            return sl_fail_memory(error, "a reader");
        }
    }
    rd_kafka_resp_err_t code = rd_kafka_metadata(look->handle, 0, NULL, ret_metadata, timeout_ms);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
        ? 0
        : sl_kafka_fail_ask(look, code, "cannot read topics", error);
}

/* Take up what the cluster has of our topics. */
static int look(struct kafka_reader *reader, int timeout_ms, struct sluice_error *error)
{
    const struct rd_kafka_metadata *metadata;
    if (ask_topics(reader, timeout_ms, &metadata, error) != 0) {
        return -1;
    }
    rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(16);
    int status = 0;
    for (int i = 0; i < metadata->topic_cnt && status == 0; i++) {
        struct followed_topic *topic = topic_of(reader, metadata->topics[i].topic);
        if (topic != NULL) {
            status = note_topic(topic, &metadata->topics[i], fresh, error);
        }
    }
    rd_kafka_metadata_destroy(metadata);
    if (status == 0 && fresh->cnt > 0) {
        status = find_starts(reader, fresh, error);
    }
    for (int i = 0; i < fresh->cnt && status == 0; i++) {
        const rd_kafka_topic_partition_t *each = &fresh->elems[i];
        struct followed_topic *topic = topic_of(reader, each->topic);
        topic->places[each->partition].start_offset = each->offset;
        status = open_place(reader, topic, each->partition, each->offset, error);
    }
    rd_kafka_topic_partition_list_destroy(fresh);
    if (status == 0) {
        reader->is_first_look_over = true;
        reader->client.is_down = false;
        reader->looked_ms = sl_clock_monotonic_ms();
        sl_kafka_learn_epoch(reader->kafka, reader->kafka->look.handle, 0);
    }
    return status;
}

static bool is_look_due(const struct kafka_reader *reader)
{
    if (reader->client.is_down) {
        return true; /* to learn when it is back, though there be nothing to read */
    }
    for (size_t i = 0; i < reader->topic_count; i++) {
        if (reader->topics[i].place_count == 0) {
            return true;
        }
    }
    return !reader->is_first_look_over ||
        sl_clock_monotonic_ms() - reader->looked_ms >= LOOK_INTERVAL_MS;
}

static int take_error(
    struct kafka_reader *reader, const rd_kafka_message_t *message, struct sluice_error *error)
{
    const char *name = message->rkt == NULL ? "" : rd_kafka_topic_name(message->rkt);
    struct followed_topic *topic = topic_of(reader, name);
    struct place *place = place_of(reader, name, message->partition);
    char what[320];
    snprintf(what, sizeof(what), "cannot read topic %s", name);
    switch ((int) message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (place != NULL && message->offset > place->next_offset) {
            place->next_offset = message->offset;
        }
        return 0;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        /* It was deleted; should it be made again, it is found as a new one. */
        if (topic != NULL) {
            leave_topic(topic);
        }
        return 0;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        sl_kafka_fail(&reader->client, message->err, what, error);
        error->reaction = SLUICE_RETRY; /* the right may be given while we wait */
        return -1;
    default:
        /* librdkafka connects and tries again by itself. */
        return 0;
    }
}

/* Take what is in the queue, waiting `timeout_ms` for a first message. */
static int take_messages(
    struct kafka_reader *reader, size_t count_max, int timeout_ms, struct sluice_error *error)
{
    struct sl_kafka_records *records = &reader->records;
    while (sl_kafka_records_have_room(records, count_max)) {
        if (reader->message_next == reader->message_count) {
            ssize_t count = rd_kafka_consume_batch_queue(
                reader->queue, timeout_ms, reader->messages, MESSAGES_AT_ONCE);
            reader->message_next = 0;
            reader->message_count = count > 0 ? (size_t) count : 0;
            timeout_ms = 0;
            if (count <= 0) {
                return 0;
            }
        }
        rd_kafka_message_t *message = reader->messages[reader->message_next];
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            int status = take_error(reader, message, error);
            reader->message_next++;
            rd_kafka_message_destroy(message);
            if (status != 0) {
                return -1;
            }
            continue;
        }
        struct place *place =
            place_of(reader, rd_kafka_topic_name(message->rkt), message->partition);
        if (place == NULL || message->offset < place->next_offset) {
            /* Of a topic that has gone, or of before a rewind. */
            reader->message_next++;
            rd_kafka_message_destroy(message);
            continue;
        }
        if (sl_kafka_records_take(records, message) != 0) {
            return sl_fail_memory(error, "the records of a topic");
        }
        reader->message_next++;
        place->next_offset = message->offset + 1;
    }
    return 0;
}

/* Where all partitions end now, for a reader that is to say "there is nothing more". */
static rd_kafka_topic_partition_list_t *ask_ends(
    struct kafka_reader *reader, struct sluice_error *error)
{
    rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < reader->topic_count; i++) {
        for (int32_t j = 0; j < reader->topics[i].place_count; j++) {
            rd_kafka_topic_partition_list_add(ends, reader->topics[i].name, j);
        }
    }
    set_offsets(ends, RD_KAFKA_OFFSET_END);
    if (sl_kafka_ask_offsets(&reader->kafka->look, ends, error) != 0) {
        rd_kafka_topic_partition_list_destroy(ends);
        return NULL;
    }
    return ends;
}

static bool is_behind(struct kafka_reader *reader, const rd_kafka_topic_partition_list_t *ends)
{
    for (int i = 0; i < ends->cnt; i++) {
        const struct place *place =
            place_of(reader, ends->elems[i].topic, ends->elems[i].partition);
        if (place != NULL && place->next_offset < ends->elems[i].offset) {
            return true;
        }
    }
    return false;
}

/* A reader without a loop is asked and must know: it waits for what is in the topics now. */
static int take_polled(struct kafka_reader *reader, size_t count_max, struct sluice_error *error)
{
    if (is_look_due(reader) && look(reader, SL_KAFKA_ASK_TIMEOUT_MS, error) != 0) {
        return -1;
    }
    if (take_messages(reader, count_max, 0, error) != 0 || reader->records.count > 0) {
        return reader->records.count > 0 ? 0 : -1;
    }
    rd_kafka_topic_partition_list_t *ends = ask_ends(reader, error);
    if (ends == NULL) {
        return -1;
    }
    int status = 0;
    int64_t begun_ms = sl_clock_monotonic_ms();
    while (status == 0 && reader->records.count == 0 && is_behind(reader, ends)) {
        status = take_messages(reader, count_max, 100, error);
        if (sl_clock_monotonic_ms() - begun_ms > SILENCE_MAX_MS) {
            status = sl_kafka_fail_ask(
                &reader->client, RD_KAFKA_RESP_ERR__TIMED_OUT, "cannot read topics", error);
        }
    }
    rd_kafka_topic_partition_list_destroy(ends);
    return reader->records.count > 0 ? 0 : status;
}

static int next(struct sl_reader *base, size_t count_max, const struct sl_record **ret_records,
    size_t *ret_count, struct sluice_error *error)
{
    struct kafka_reader *reader = (struct kafka_reader *) base;
    sl_kafka_records_clear(&reader->records);
    if (reader->has_failure) {
        reader->has_failure = false;
        *error = reader->failure;
        return -1;
    }
    rd_kafka_poll(reader->client.handle, 0);
    int status = reader->wake == NULL ? take_polled(reader, count_max, &reader->failure)
                                      : take_messages(reader, count_max, 0, &reader->failure);
    if (status != 0 && reader->records.count == 0) {
        *error = reader->failure;
        return -1;
    }
    reader->has_failure = status != 0;
    sl_kafka_records_settle(&reader->records);
    *ret_records = reader->records.items;
    *ret_count = reader->records.count;
    return 0;
}

static int64_t position(const struct sl_reader *base, struct sl_text topic, int32_t partition)
{
    const struct kafka_reader *reader = (const struct kafka_reader *) base;
    for (size_t i = 0; i < reader->topic_count; i++) {
        const struct followed_topic *followed = &reader->topics[i];
        if (sl_text_equal(sl_text_of(followed->name), topic) && partition >= 0 &&
            partition < followed->place_count && followed->places[partition].is_open) {
            return followed->places[partition].next_offset;
        }
    }
    return -1;
}

static bool is_cut_off(const struct sl_reader *base)
{
    return ((const struct kafka_reader *) base)->client.is_down;
}

static int commit(struct sl_reader *base, struct sl_text topic, int32_t partition, int64_t offset,
    struct sluice_error *error)
{
    (void) base;
    (void) partition;
    (void) offset;
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "a reader without a consumer's name commits nothing (topic %.*s)", (int) topic.size,
        topic.data);
}

static int flush(struct sl_reader *base, struct sluice_error *error)
{
    (void) base;
    (void) error;
    return 0;
}

static int rewind_reader(struct sl_reader *base, struct sluice_error *error)
{
    struct kafka_reader *reader = (struct kafka_reader *) base;
    drop_messages(reader);
    for (size_t i = 0; i < reader->topic_count; i++) {
        struct followed_topic *topic = &reader->topics[i];
        for (int32_t j = 0; j < topic->place_count; j++) {
            if (topic->places[j].is_open) {
                rd_kafka_consume_stop(topic->handle, j);
                topic->places[j].is_open = false;
            }
            if (open_place(reader, topic, j, topic->places[j].start_offset, error) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static const struct sl_reader_ops reader_ops = {
    .next = next,
    .commit = commit,
    .flush = flush,
    .rewind = rewind_reader,
    .position = position,
    .is_cut_off = is_cut_off,
    .close = close_reader,
};

static void on_wake(void *context)
{
    struct kafka_reader *reader = context;
    reader->owner.on_readable(reader->owner.context);
}

/*
 * Look without keeping others waiting for long. A busy broker may need longer to answer, and would
 * never be heard: each look in vain is followed by a longer one, unless nobody is there.
 */
static int look_quickly(struct kafka_reader *reader, struct sluice_error *error)
{
    bool is_asked = sl_clock_monotonic_ms() >= reader->kafka->down_until_ms;
    if (reader->client.is_down || reader->patience_ms < QUICK_TIMEOUT_MS) {
        reader->patience_ms = QUICK_TIMEOUT_MS;
    }
    int status = look(reader, reader->patience_ms, error);
    if (status != 0 && is_asked && reader->patience_ms < SLOW_TIMEOUT_MS) {
        reader->patience_ms += QUICK_TIMEOUT_MS;
    }
    return status;
}

static void on_time(void *context)
{
    struct kafka_reader *reader = context;
    rd_kafka_poll(reader->client.handle, 0);
    if (is_look_due(reader) && look_quickly(reader, &reader->failure) != 0 &&
        !reader->is_first_look_over) {
        /* Whoever waits for a first record is to hear why there is none. */
        reader->has_failure = true;
        reader->owner.on_readable(reader->owner.context);
    }
}

static int take_options(struct kafka_reader *reader, const struct sl_reader_options *options)
{
    reader->start = options->start;
    reader->tail_count = options->tail_count;
    reader->time_ms = options->time_ms;
    for (size_t i = 0; i < options->topic_count; i++) {
        struct followed_topic *topic = &reader->topics[reader->topic_count];
        topic->name = sl_copy_text(options->topics[i]);
        if (topic->name == NULL) {
            return -1;
        }
        reader->topic_count++;
        topic->handle = rd_kafka_topic_new(reader->client.handle, topic->name, NULL);
        if (topic->handle == NULL) {
            return -1;
        }
    }
    return 0;
}

int sl_kafka_open_reader(struct sl_kafka *kafka, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error)
{
    static const char *const defaults[] = {"queued.min.messages", "10000",
        "queued.max.messages.kbytes", "16384", "fetch.error.backoff.ms", "100", NULL};
    static const char *const properties[] = {"enable.partition.eof", "true", "enable.auto.commit",
        "false", "auto.offset.reset", "earliest", NULL};
    const struct sl_kafka_setup setup = {
        .type = RD_KAFKA_CONSUMER, .defaults = defaults, .properties = properties};
    struct kafka_reader *reader = sl_allocate(sizeof(*reader));
    if (reader == NULL) {
        return sl_fail_memory(error, "a reader");
    }
    reader->base.ops = &reader_ops;
    reader->kafka = kafka;
    reader->owner = *wake;
    sl_kafka_records_init(&reader->records);
    if (sl_kafka_client_open(kafka, &setup, &reader->client, error) != 0) {
        close_reader(&reader->base);
        return -1;
    }
    reader->queue = rd_kafka_queue_new(reader->client.handle);
    if (take_options(reader, options) != 0) {
        close_reader(&reader->base);
        return sl_fail_memory(error, "a reader");
    }
    /* The places are taken now: what is appended after the open comes, wherever one starts. */
    if (look(reader, SL_KAFKA_ASK_TIMEOUT_MS, &reader->failure) != 0) {
        reader->has_failure = true;
    }
    if (wake->loop != NULL &&
        sl_kafka_wake_open(wake->loop, reader->queue, on_wake, CHECK_INTERVAL_MS, on_time, reader,
            &reader->wake, error) != 0) {
        close_reader(&reader->base);
        return -1;
    }
    *ret_reader = &reader->base;
    return 0;
}
