/*
 * Questions to the cluster: which partitions there are, where they begin and end, and where a
 * consumer stands. Each waits a bounded time, and none is asked while nobody answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "broker/kafka.h"

enum { LEADER_WAIT_MS = 2000 };

static bool is_internal(const char *topic)
{
    return strncmp(topic, "__", 2) == 0;
}

void sl_kafka_learn_epoch(struct sl_kafka *kafka, rd_kafka_t *handle, int timeout_ms)
{
    char *id = kafka->base.epoch[0] == '0' ? rd_kafka_clusterid(handle, timeout_ms) : NULL;
    if (id == NULL) {
        return;
    }
    uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */
    for (const char *c = id; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char) *c) * 0x100000001b3U;
    }
    /* The first digit is never 0, which stands for a cluster that is not known yet. */
    snprintf(kafka->base.epoch, sizeof(kafka->base.epoch), "%08x",
        (unsigned) (hash ^ hash >> 32) | 0x10000000U);
    rd_kafka_mem_free(handle, id);
}

/* Once, into `list`. */
static rd_kafka_resp_err_t ask_once(
    struct sl_kafka_client *client, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code =
        rd_kafka_offsets_for_times(client->handle, list, SL_KAFKA_ASK_TIMEOUT_MS);
    for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        code = list->elems[i].err;
    }
    return code;
}

/* A topic that has just been made, or a broker that has just started, has no leader for a moment.
 */
static bool is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
        code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
}

int sl_kafka_ask_offsets(struct sl_kafka_client *client, rd_kafka_topic_partition_list_t *list,
    struct sluice_error *error)
{
    if (list->cnt == 0) {
        return 0;
    }
    rd_kafka_topic_partition_list_t *question = rd_kafka_topic_partition_list_copy(list);
    int64_t deadline_ms = sl_clock_monotonic_ms() + LEADER_WAIT_MS;
    rd_kafka_resp_err_t code = ask_once(client, list);
    while (is_passing(code) && sl_clock_monotonic_ms() < deadline_ms) {
        nanosleep(&(struct timespec) {.tv_nsec = 50000000}, NULL);
        for (int i = 0; i < list->cnt; i++) {
            list->elems[i].offset = question->elems[i].offset;
            list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        code = ask_once(client, list);
    }
    rd_kafka_topic_partition_list_destroy(question);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
        ? 0
        : sl_kafka_fail_ask(client, code, "cannot read the offsets of topics", error);
}

/* Every partition of every topic that is not Kafka's own, sorted; NULL with `error` filled in. */
static rd_kafka_topic_partition_list_t *list_partitions(
    struct sl_kafka *kafka, struct sluice_error *error)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(kafka->look.handle, 1, NULL, &metadata, SL_KAFKA_ASK_TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        sl_kafka_fail_ask(&kafka->look, code, "cannot list the topics", error);
        return NULL;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        for (int j = 0; j < topic->partition_cnt && !is_internal(topic->topic); j++) {
            rd_kafka_topic_partition_list_add(list, topic->topic, topic->partitions[j].id);
        }
    }
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_sort(list, NULL, NULL);
    sl_kafka_learn_epoch(kafka, kafka->look.handle, 0);
    return list;
}

static void set_offsets(rd_kafka_topic_partition_list_t *list, int64_t offset)
{
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = offset;
    }
}

int sl_kafka_each_partition(
    struct sl_broker *broker, sl_partition_visit visit, void *context, struct sluice_error *error)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    if (sl_kafka_look(kafka, error) != 0) {
        return -1;
    }
    rd_kafka_topic_partition_list_t *ends = list_partitions(kafka, error);
    if (ends == NULL) {
        return -1;
    }
    rd_kafka_topic_partition_list_t *starts = rd_kafka_topic_partition_list_copy(ends);
    set_offsets(starts, RD_KAFKA_OFFSET_BEGINNING);
    set_offsets(ends, RD_KAFKA_OFFSET_END);
    int status = sl_kafka_ask_offsets(&kafka->look, starts, error);
    status = status == 0 ? sl_kafka_ask_offsets(&kafka->look, ends, error) : -1;
    for (int i = 0; status == 0 && i < ends->cnt; i++) {
        struct sl_partition_state state = {
            .topic = sl_text_of(ends->elems[i].topic),
            .partition = ends->elems[i].partition,
            .first_offset = starts->elems[i].offset,
            .next_offset = ends->elems[i].offset,
        };
        visit(context, &state);
    }
    rd_kafka_topic_partition_list_destroy(starts);
    rd_kafka_topic_partition_list_destroy(ends);
    return status;
}

/*
 * The client of a group: it never joins, it only asks. librdkafka 2.0.2 ends the process by an
 * assertion if the admin API's question for a group's offsets is open while the cluster goes away,
 * so it is not used.
 */
static struct sl_kafka_client *client_of(
    struct sl_kafka *kafka, const char *group, struct sluice_error *error)
{
    struct sl_kafka_client *client = sl_table_get(&kafka->groups, sl_text_of(group));
    if (client != NULL) {
        rd_kafka_poll(client->handle, 0);
        return client;
    }
    client = sl_allocate(sizeof(*client));
    if (client == NULL) {
        sl_fail_memory(error, "a Kafka client");
        return NULL;
    }
    static const char *const properties[] = {"enable.auto.commit", "false", NULL};
    const struct sl_kafka_setup setup = {
        .type = RD_KAFKA_CONSUMER, .group = group, .properties = properties};
    if (sl_kafka_client_open(kafka, &setup, client, error) != 0) {
        sl_free(client);
        return NULL;
    }
    if (sl_table_put(&kafka->groups, sl_text_of(group), client) != 0) {
        sl_kafka_client_close(client);
        sl_free(client);
        sl_fail_memory(error, "a Kafka client");
        return NULL;
    }
    return client;
}

int sl_kafka_committed(struct sl_broker *broker, const char *consumer, struct sl_text topic,
    int32_t partition, int64_t *ret_offset, struct sluice_error *error)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    char name[SLUICE_TOPIC_SIZE_MAX + 1];
    if (sl_clock_monotonic_ms() < kafka->down_until_ms) {
        *error = kafka->down_error;
        return -1;
    }
    struct sl_kafka_client *client = client_of(kafka, consumer, error);
    if (client == NULL) {
        return -1;
    }
    snprintf(name, sizeof(name), "%.*s", (int) topic.size, topic.data);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, partition);
    rd_kafka_resp_err_t code = rd_kafka_committed(client->handle, list, SL_KAFKA_ASK_TIMEOUT_MS);
    code = code == RD_KAFKA_RESP_ERR_NO_ERROR ? list->elems[0].err : code;
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return sl_kafka_fail_ask(client, code, "cannot read a consumer's offsets", error);
    }
    *ret_offset = offset < 0 ? -1 : offset;
    return 0;
}

int sl_kafka_time_at(struct sl_broker *broker, struct sl_text topic, int32_t partition,
    int64_t offset, int64_t *ret_time_ms, struct sluice_error *error)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    char name[SLUICE_TOPIC_SIZE_MAX + 1];
    if (sl_kafka_look(kafka, error) != 0) {
        return -1;
    }
    snprintf(name, sizeof(name), "%.*s", (int) topic.size, topic.data);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(kafka->look.handle, name, NULL);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t time_ms = -1;
    if (rd_kafka_consume_start(handle, partition, offset) != 0) {
        code = rd_kafka_last_error();
    } else {
        rd_kafka_message_t *message = rd_kafka_consume(handle, partition, SL_KAFKA_ASK_TIMEOUT_MS);
        code = message == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : message->err;
        if (message != NULL && code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            time_ms = rd_kafka_message_timestamp(message, NULL);
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        rd_kafka_consume_stop(handle, partition);
    }
    rd_kafka_topic_destroy(handle);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return sl_kafka_fail_ask(&kafka->look, code, "cannot read a topic", error);
    }
    *ret_time_ms = time_ms;
    return 0;
}
