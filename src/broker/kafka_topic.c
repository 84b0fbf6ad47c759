/*
 * A topic before the first append to it: it is made if need be, and its limit is learnt.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parse.h"
#include "broker/kafka_producer.h"

enum { LEADERS_TIMEOUT_MS = 5000, LOOK_AGAIN_MS = 50 };

/* One question of the admin API, and its answer. */
struct question {
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *answer;
};

static void begin_question(struct question *question, rd_kafka_t *handle, rd_kafka_admin_op_t op)
{
    char reason[128];
    question->answer = NULL;
    question->queue = rd_kafka_queue_new(handle);
    question->options = rd_kafka_AdminOptions_new(handle, op);
    rd_kafka_AdminOptions_set_request_timeout(
        question->options, SL_KAFKA_ASK_TIMEOUT_MS, reason, sizeof(reason));
}

static rd_kafka_resp_err_t wait_answer(struct question *question)
{
    question->answer = rd_kafka_queue_poll(question->queue, 2 * SL_KAFKA_ASK_TIMEOUT_MS);
    return question->answer == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT
                                    : rd_kafka_event_error(question->answer);
}

static void end_question(struct question *question)
{
    rd_kafka_event_destroy(question->answer);
    rd_kafka_AdminOptions_destroy(question->options);
    rd_kafka_queue_destroy(question->queue);
}

/*
 * How many partitions a topic has; 0 if it does not exist. `*ret_has_leaders` is false while a
 * partition cannot be written yet.
 */
static int count_partitions(struct sl_kafka *kafka, const char *name, int *ret_count,
    bool *ret_has_leaders, struct sluice_error *error)
{
    char what[320];
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka->look.handle, name, NULL);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(kafka->look.handle, 0, topic, &metadata, SL_KAFKA_ASK_TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    snprintf(what, sizeof(what), "cannot append to topic %s", name);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return sl_kafka_fail_ask(&kafka->look, code, what, error);
    }
    const struct rd_kafka_metadata_topic *found =
        metadata->topic_cnt == 1 ? &metadata->topics[0] : NULL;
    code = found == NULL ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART : found->err;
    *ret_count = code == RD_KAFKA_RESP_ERR_NO_ERROR ? found->partition_cnt : 0;
    *ret_has_leaders = *ret_count > 0;
    for (int i = 0; i < *ret_count; i++) {
        *ret_has_leaders = *ret_has_leaders && found->partitions[i].leader >= 0;
    }
    rd_kafka_metadata_destroy(metadata);
    sl_kafka_learn_epoch(kafka, kafka->look.handle, 0);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
            code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
            code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
        ? 0
        : sl_kafka_fail(&kafka->look, code, what, error);
}

static int fail_missing(const char *name, struct sluice_error *error)
{
    return sl_fail(error, SLUICE_NOT_FOUND, SLUICE_REJECT,
        "Kafka has no topic %s, and sluice may not make it; create it, for example with "
        "kafka-topics --create --topic %s --partitions 6, or allow it: create_topics=true",
        name, name);
}

static int create_topic(struct sl_kafka *kafka, const char *name, struct sluice_error *error)
{
    char what[320];
    char reason[256];
    struct question question;
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, kafka->partition_count, -1, reason, sizeof(reason));
    if (topic == NULL) {
        return sl_fail(
            error, SLUICE_INVALID, SLUICE_REJECT, "cannot make topic %s: %.200s", name, reason);
    }
    begin_question(&question, kafka->look.handle, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_CreateTopics(kafka->look.handle, &topic, 1, question.options, question.queue);
    rd_kafka_resp_err_t code = wait_answer(&question);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(question.answer), &count);
        code = count == 1 ? rd_kafka_topic_result_error(results[0]) : code;
    }
    end_question(&question);
    rd_kafka_NewTopic_destroy(topic);
    snprintf(what, sizeof(what), "cannot make topic %s", name);
    if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        return 0;
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        sl_log(SL_LOG_INFO, "made a topic", "topic=%s", name);
        return 0;
    }
    return sl_kafka_fail_ask(&kafka->look, code, what, error);
}

/* Make sure that the topic is there and can be written; *ret_is_new: it has been made just now. */
static int find_topic(struct sl_kafka *kafka, const char *name, int *ret_partition_count,
    bool *ret_is_new, struct sluice_error *error)
{
    int64_t end_ms = sl_clock_monotonic_ms() + LEADERS_TIMEOUT_MS;
    bool has_leaders = false;
    *ret_is_new = false;
    if (count_partitions(kafka, name, ret_partition_count, &has_leaders, error) != 0) {
        return -1;
    }
    if (*ret_partition_count == 0) {
        if (!kafka->may_create_topics) {
            return fail_missing(name, error);
        }
        if (create_topic(kafka, name, error) != 0) {
            return -1;
        }
        *ret_is_new = true;
    }
    while (!has_leaders) {
        rd_kafka_poll(kafka->look.handle, LOOK_AGAIN_MS);
        if (count_partitions(kafka, name, ret_partition_count, &has_leaders, error) != 0) {
            return -1;
        }
        if (!has_leaders && sl_clock_monotonic_ms() > end_ms) {
            return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
                "cannot append to topic %s: a partition has no leader; see to Kafka's brokers",
                name);
        }
    }
    return 0;
}

static int64_t ask_size_max(struct sl_kafka *kafka, const char *name)
{
    struct question question;
    int64_t size_max = 0;
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    if (resource == NULL) {
        return 0;
    }
    begin_question(&question, kafka->look.handle, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(kafka->look.handle, &resource, 1, question.options, question.queue);
    if (wait_answer(&question) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t resource_count;
        size_t count = 0;
        const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(question.answer), &resource_count);
        const rd_kafka_ConfigEntry_t **entries =
            resource_count == 1 ? rd_kafka_ConfigResource_configs(resources[0], &count) : NULL;
        for (size_t i = 0; i < count; i++) {
            const char *value = rd_kafka_ConfigEntry_value(entries[i]);
            if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0 &&
                (value == NULL || !sl_parse_i64(sl_text_of(value), &size_max))) {
                size_max = 0;
            }
        }
    }
    end_question(&question);
    rd_kafka_ConfigResource_destroy(resource);
    return size_max;
}

int64_t sl_kafka_topic_size_max(struct sl_kafka_producer *producer, struct sl_text text)
{
    char name[SLUICE_TOPIC_SIZE_MAX + 1];
    struct sluice_error ignored;
    snprintf(name, sizeof(name), "%.*s", (int) text.size, text.data);
    return sl_kafka_look(producer->kafka, &ignored) == 0 ? ask_size_max(producer->kafka, name) : 0;
}

bool sl_kafka_topic_is_unread(
    const struct sl_kafka_producer *producer, const struct sl_kafka_topic *topic, int64_t time_ms)
{
    return time_ms < topic->tail_ms && producer->seen.count > 0;
}

int sl_kafka_topic_prepare(struct sl_kafka_producer *producer, struct sl_text text, int64_t time_ms,
    struct sl_kafka_topic **ret_topic, struct sluice_error *error)
{
    struct sl_kafka *kafka = producer->kafka;
    char name[SLUICE_TOPIC_SIZE_MAX + 1];
    int partition_count;
    bool is_new;
    struct sl_kafka_topic *topic = sl_table_get(&producer->topics, text);
    bool is_prepared = topic != NULL && topic->is_prepared;
    if (is_prepared && !sl_kafka_topic_is_unread(producer, topic, time_ms)) {
        *ret_topic = topic;
        return 0;
    }
    snprintf(name, sizeof(name), "%.*s", (int) text.size, text.data);
    if (sl_kafka_look(kafka, error) != 0 ||
        find_topic(kafka, name, &partition_count, &is_new, error) != 0) {
        return -1;
    }
    if (!is_new &&
        sl_kafka_tail_read(kafka, name, partition_count, time_ms, &producer->seen, error) != 0) {
        return -1;
    }
    if (topic == NULL) {
        topic = sl_allocate(sizeof(*topic));
        if (topic == NULL || sl_table_put(&producer->topics, text, topic) != 0) {
            sl_free(topic);
            return sl_fail_memory(error, "a topic");
        }
    }
    /* Not while messages may be on their way. */
    if (!is_prepared && partition_count != topic->partition_count) {
        sl_free(topic->partitions);
        topic->partition_count = 0;
        topic->partitions = sl_allocate((size_t) partition_count * sizeof(*topic->partitions));
        if (topic->partitions == NULL) {
            return sl_fail_memory(error, "a topic");
        }
        topic->partition_count = partition_count;
    }
    topic->size_max = ask_size_max(kafka, name);
    topic->is_written = is_prepared && topic->is_written;
    topic->is_prepared = true;
    topic->tail_ms = time_ms;
    topic->prepared_ms = sl_clock_monotonic_ms();
    *ret_topic = topic;
    return 0;
}
