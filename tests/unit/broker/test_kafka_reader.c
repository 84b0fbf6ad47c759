/*
 * A reader on a loop, and what it asks of the cluster meanwhile. On librdkafka's mock cluster.
 */
#include "base/clock.h"
#include "support/kafka_mock.h"
#include "support/unit.h"

/*
 * The program is linked so that these come by here (meson.build). A client that has begun to read
 * has a fetch under way at nearly all times, and a broker answers a connection's requests in turn.
 */
enum { HANDLES_MAX = 16 };

static struct {
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    bool is_read;
} handles[HANDLES_MAX];
static size_t handle_count;
static int questions;
static int questions_behind_a_fetch;

static bool is_reading(const rd_kafka_t *client)
{
    for (size_t i = 0; i < handle_count; i++) {
        if (handles[i].client == client && handles[i].is_read) {
            return true;
        }
    }
    return false;
}

static void note_question(const rd_kafka_t *client)
{
    questions++;
    questions_behind_a_fetch += is_reading(client) ? 1 : 0;
}

rd_kafka_topic_t *__real_rd_kafka_topic_new(
    rd_kafka_t *client, const char *name, rd_kafka_topic_conf_t *conf);
rd_kafka_topic_t *__wrap_rd_kafka_topic_new(
    rd_kafka_t *client, const char *name, rd_kafka_topic_conf_t *conf);
int __real_rd_kafka_consume_start_queue(
    rd_kafka_topic_t *topic, int32_t partition, int64_t offset, rd_kafka_queue_t *queue);
int __wrap_rd_kafka_consume_start_queue(
    rd_kafka_topic_t *topic, int32_t partition, int64_t offset, rd_kafka_queue_t *queue);
rd_kafka_resp_err_t __real_rd_kafka_metadata(rd_kafka_t *client, int all_topics,
    rd_kafka_topic_t *topic, const struct rd_kafka_metadata **ret_metadata, int timeout_ms);
rd_kafka_resp_err_t __wrap_rd_kafka_metadata(rd_kafka_t *client, int all_topics,
    rd_kafka_topic_t *topic, const struct rd_kafka_metadata **ret_metadata, int timeout_ms);
rd_kafka_resp_err_t __real_rd_kafka_offsets_for_times(
    rd_kafka_t *client, rd_kafka_topic_partition_list_t *offsets, int timeout_ms);
rd_kafka_resp_err_t __wrap_rd_kafka_offsets_for_times(
    rd_kafka_t *client, rd_kafka_topic_partition_list_t *offsets, int timeout_ms);

rd_kafka_topic_t *__wrap_rd_kafka_topic_new(
    rd_kafka_t *client, const char *name, rd_kafka_topic_conf_t *conf)
{
    rd_kafka_topic_t *topic = __real_rd_kafka_topic_new(client, name, conf);
    ck_assert_uint_lt(handle_count, HANDLES_MAX);
    handles[handle_count].client = client;
    handles[handle_count++].topic = topic;
    return topic;
}

int __wrap_rd_kafka_consume_start_queue(
    rd_kafka_topic_t *topic, int32_t partition, int64_t offset, rd_kafka_queue_t *queue)
{
    for (size_t i = 0; i < handle_count; i++) {
        handles[i].is_read = handles[i].is_read || handles[i].topic == topic;
    }
    return __real_rd_kafka_consume_start_queue(topic, partition, offset, queue);
}

rd_kafka_resp_err_t __wrap_rd_kafka_metadata(rd_kafka_t *client, int all_topics,
    rd_kafka_topic_t *topic, const struct rd_kafka_metadata **ret_metadata, int timeout_ms)
{
    note_question(client);
    return __real_rd_kafka_metadata(client, all_topics, topic, ret_metadata, timeout_ms);
}

rd_kafka_resp_err_t __wrap_rd_kafka_offsets_for_times(
    rd_kafka_t *client, rd_kafka_topic_partition_list_t *offsets, int timeout_ms)
{
    note_question(client);
    return __real_rd_kafka_offsets_for_times(client, offsets, timeout_ms);
}

struct following {
    uv_loop_t loop;
    uv_timer_t tick; /* so that the loop turns while nothing comes */
    struct sl_reader *reader;
    size_t seen;
};

static void on_tick(uv_timer_t *timer)
{
    (void) timer;
}

static void on_readable(void *context)
{
    struct following *following = context;
    const struct sl_record *records;
    size_t count;
    if (following->reader != NULL &&
        sl_reader_next(following->reader, 10, &records, &count, &error) == 0) {
        following->seen += count;
    }
}

static bool has_seen_the_first(const struct following *following)
{
    return following->seen > 0;
}

static bool has_asked_in_vain(const struct following *following)
{
    (void) following;
    return questions >= 2;
}

static bool has_found_the_second(const struct following *following)
{
    return sl_reader_position(following->reader, SL_TEXT("u"), 0) >= 0;
}

static void wait_for(struct following *following, bool (*is_so)(const struct following *))
{
    int64_t end_ms = sl_clock_monotonic_ms() + 25000;
    while (!is_so(following)) {
        ck_assert_int_lt(sl_clock_monotonic_ms(), end_ms);
        uv_run(&following->loop, UV_RUN_ONCE);
    }
}

START_TEST(what_is_asked_on_a_loop_waits_behind_no_fetch)
{
    const char *topics[] = {"t", "u"};
    struct sl_reader_options options = {.topics = topics, .topic_count = 2, .start = SL_READ_START};
    struct following following = {.seen = 0};
    open_mock();
    append_ok(events, 1);
    rd_kafka_mock_topic_create(mock, "u", 1, 1);
    rd_kafka_mock_topic_set_error(mock, "u", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    uv_loop_init(&following.loop);
    uv_timer_init(&following.loop, &following.tick);
    uv_timer_start(&following.tick, on_tick, 10, 10);
    int status = sl_reader_open(
        broker, &options, &following.loop, on_readable, &following, &following.reader, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    wait_for(&following, has_seen_the_first);
    questions = 0;
    wait_for(&following, has_asked_in_vain);
    ck_assert(!has_found_the_second(&following));
    rd_kafka_mock_topic_set_error(mock, "u", RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_for(&following, has_found_the_second);
    ck_assert_int_eq(questions_behind_a_fetch, 0);
    uv_close((uv_handle_t *) &following.tick, NULL);
    sl_reader_close(following.reader);
    uv_run(&following.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&following.loop), 0);
    close_mock();
}
END_TEST

UNIT_MAIN("kafka_reader", what_is_asked_on_a_loop_waits_behind_no_fetch)
