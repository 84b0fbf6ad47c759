/*
 * What is at the end of a topic already: the ids of its last records.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/kafka_message.h"
#include "broker/kafka_producer.h"

enum {
    RECORDS_MIN = 500,     /* of each partition, however new they are */
    RECORDS_MAX = 1 << 17, /* of all of them */
    SLACK_MS = 10000,      /* events of one moment do not come in the order of their times */
    SILENCE_MAX_MS = 5000,
    DURATION_MAX_MS = 15000,
    MESSAGES_AT_ONCE = 512
};

struct tail {
    struct sl_kafka *kafka;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int64_t *ends; /* by partition; -1: nothing to read, or read */
    int partition_count;
    int open_count;
    struct sl_kafka_seen *seen;
};

/* The first offset to read of each partition, into `starts`, and the end into tail->ends. */
static int find_ends(struct tail *tail, const char *name, int64_t time_ms,
    rd_kafka_topic_partition_list_t **ret_starts, struct sluice_error *error)
{
    rd_kafka_topic_partition_list_t *lists[3];
    for (int i = 0; i < 3; i++) {
        lists[i] = rd_kafka_topic_partition_list_new(tail->partition_count);
        for (int j = 0; j < tail->partition_count; j++) {
            rd_kafka_topic_partition_list_add(lists[i], name, j)->offset = i == 0
                ? RD_KAFKA_OFFSET_BEGINNING
                : i == 1 ? RD_KAFKA_OFFSET_END
                         : (time_ms > SLACK_MS ? time_ms - SLACK_MS : 0);
        }
    }
    int status = 0;
    for (int i = 0; i < 3 && status == 0; i++) {
        status = sl_kafka_ask_offsets(&tail->kafka->look, lists[i], error);
    }
    int64_t records_max = RECORDS_MAX / (tail->partition_count > 0 ? tail->partition_count : 1);
    for (int i = 0; i < tail->partition_count && status == 0; i++) {
        int64_t first = lists[0]->elems[i].offset;
        int64_t end = lists[1]->elems[i].offset;
        int64_t start = lists[2]->elems[i].offset;
        start = start < 0 || start > end - RECORDS_MIN ? end - RECORDS_MIN : start;
        if (end - start > records_max) {
            sl_log(SL_LOG_WARN, "the topic's tail is long; what is before it may be sent twice",
                "topic=%s partition=%d records=%lld read=%lld", name, i, (long long) (end - start),
                (long long) records_max);
            start = end - records_max;
        }
        lists[0]->elems[i].offset = start < first ? first : start;
        tail->ends[i] = end;
    }
    rd_kafka_topic_partition_list_destroy(lists[1]);
    rd_kafka_topic_partition_list_destroy(lists[2]);
    if (status != 0) {
        rd_kafka_topic_partition_list_destroy(lists[0]);
        return -1;
    }
    *ret_starts = lists[0];
    return 0;
}

static void finish_partition(struct tail *tail, int32_t partition)
{
    tail->ends[partition] = -1;
    tail->open_count--;
    rd_kafka_consume_stop(tail->topic, partition);
}

static int take(struct tail *tail, const rd_kafka_message_t *message, struct sluice_error *error)
{
    char id[SLUICE_EVENT_ID_SIZE];
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
        message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return sl_kafka_fail(&tail->kafka->look, message->err, "cannot read a topic's tail", error);
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && sl_kafka_id_of(message, id) &&
        sl_kafka_seen_add(tail->seen, sl_text_of(id), rd_kafka_message_timestamp(message, NULL)) !=
            0) {
        return sl_fail_memory(error, "the ids of a topic's tail");
    }
    int64_t next = message->offset + (message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 : 0);
    if (message->partition >= 0 && message->partition < tail->partition_count &&
        tail->ends[message->partition] >= 0 && next >= tail->ends[message->partition]) {
        finish_partition(tail, message->partition);
    }
    return 0;
}

static int read_all(struct tail *tail, struct sluice_error *error)
{
    rd_kafka_message_t *messages[MESSAGES_AT_ONCE];
    int64_t begun_ms = sl_clock_monotonic_ms();
    int64_t heard_ms = begun_ms;
    int status = 0;
    while (tail->open_count > 0 && status == 0) {
        ssize_t count = rd_kafka_consume_batch_queue(tail->queue, 100, messages, MESSAGES_AT_ONCE);
        int64_t now_ms = sl_clock_monotonic_ms();
        heard_ms = count > 0 ? now_ms : heard_ms;
        for (ssize_t i = 0; i < count; i++) {
            status = status == 0 ? take(tail, messages[i], error) : status;
            rd_kafka_message_destroy(messages[i]);
        }
        if (now_ms - heard_ms > SILENCE_MAX_MS || now_ms - begun_ms > DURATION_MAX_MS) {
            return sl_kafka_fail_ask(&tail->kafka->look, RD_KAFKA_RESP_ERR__TIMED_OUT,
                "cannot read a topic's tail", error);
        }
    }
    return status;
}

static int read_tail(
    struct tail *tail, rd_kafka_topic_partition_list_t *starts, struct sluice_error *error)
{
    for (int i = 0; i < tail->partition_count; i++) {
        if (starts->elems[i].offset >= tail->ends[i]) {
            tail->ends[i] = -1;
            continue;
        }
        if (rd_kafka_consume_start_queue(tail->topic, i, starts->elems[i].offset, tail->queue) !=
            0) {
            return sl_kafka_fail(
                &tail->kafka->look, rd_kafka_last_error(), "cannot read a topic's tail", error);
        }
        tail->open_count++;
    }
    return read_all(tail, error);
}

int sl_kafka_tail_read(struct sl_kafka *kafka, const char *name, int partition_count,
    int64_t time_ms, struct sl_kafka_seen *seen, struct sluice_error *error)
{
    rd_kafka_topic_partition_list_t *starts;
    struct tail tail = {.kafka = kafka, .partition_count = partition_count, .seen = seen};
    tail.ends = sl_allocate((size_t) partition_count * sizeof(*tail.ends));
    if (tail.ends == NULL) {
        return sl_fail_memory(error, "a topic's tail");
    }
    if (find_ends(&tail, name, time_ms, &starts, error) != 0) {
        sl_free(tail.ends);
        return -1;
    }
    tail.topic = rd_kafka_topic_new(kafka->look.handle, name, NULL);
    tail.queue = rd_kafka_queue_new(kafka->look.handle);
    int status = read_tail(&tail, starts, error);
    for (int i = 0; i < partition_count; i++) {
        if (tail.ends[i] >= 0 && tail.open_count > 0) {
            finish_partition(&tail, i);
        }
    }
    rd_kafka_queue_destroy(tail.queue);
    rd_kafka_topic_destroy(tail.topic);
    rd_kafka_topic_partition_list_destroy(starts);
    sl_free(tail.ends);
    return status;
}
