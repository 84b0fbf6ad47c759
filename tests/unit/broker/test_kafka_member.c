/*
 * A member of a consumer group that is to go back, and cannot at once: what it has taken and not
 * applied comes again, whole and in order. On librdkafka's mock cluster.
 */
#include <limits.h>
#include <stdio.h>

#include "base/clock.h"
#include "support/kafka_mock.h"
#include "support/unit.h"

/*
 * The program is linked so that the product's seeks and polls come by here (meson.build): seeks
 * fail as often as they are told, and records are counted as they leave librdkafka.
 */
enum seek_failure { WHOLE_SEEK, FIRST_PARTITION };

static int failing_seeks;
static enum seek_failure seek_failure;
static int polled_records;

rd_kafka_error_t *__real_rd_kafka_seek_partitions(
    rd_kafka_t *handle, rd_kafka_topic_partition_list_t *partitions, int timeout_ms);
rd_kafka_error_t *__wrap_rd_kafka_seek_partitions(
    rd_kafka_t *handle, rd_kafka_topic_partition_list_t *partitions, int timeout_ms);
rd_kafka_message_t *__real_rd_kafka_consumer_poll(rd_kafka_t *handle, int timeout_ms);
rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *handle, int timeout_ms);

rd_kafka_error_t *__wrap_rd_kafka_seek_partitions(
    rd_kafka_t *handle, rd_kafka_topic_partition_list_t *partitions, int timeout_ms)
{
    if (failing_seeks == 0) {
        return __real_rd_kafka_seek_partitions(handle, partitions, timeout_ms);
    }
    failing_seeks--;
    if (seek_failure == WHOLE_SEEK) {
        return rd_kafka_error_new(RD_KAFKA_RESP_ERR__TIMED_OUT, "the test says so");
    }
    rd_kafka_topic_partition_list_t *others = rd_kafka_topic_partition_list_copy(partitions);
    rd_kafka_topic_partition_list_del_by_idx(others, 0);
    rd_kafka_error_t *failure =
        others->cnt == 0 ? NULL : __real_rd_kafka_seek_partitions(handle, others, timeout_ms);
    for (int i = 0; i < others->cnt; i++) {
        partitions->elems[i + 1].err = others->elems[i].err;
    }
    partitions->elems[0].err = RD_KAFKA_RESP_ERR__STATE;
    rd_kafka_topic_partition_list_destroy(others);
    return failure;
}

rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *handle, int timeout_ms)
{
    rd_kafka_message_t *message = __real_rd_kafka_consumer_poll(handle, timeout_ms);
    polled_records += message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 : 0;
    return message;
}

/* The tests come for records themselves. */
static void leave_it(void *context)
{
    (void) context;
}

static struct sl_reader *open_member(const char *topic, uv_loop_t *loop)
{
    struct sl_reader_options options = {
        .topics = &topic, .topic_count = 1, .start = SL_READ_COMMITTED, .consumer = "c"};
    struct sl_reader *reader;
    ck_assert_int_eq(sl_reader_open(broker, &options, loop, loop == NULL ? NULL : leave_it, NULL,
                         &reader, &error),
        0);
    return reader;
}

/* Take `count` records and look whether the topic's first partition goes on with event `first`. */
static void take_in_order(struct sl_reader *reader, uv_loop_t *loop, int first, size_t count)
{
    const struct sl_record *records;
    size_t taken = 0;
    size_t piece;
    int64_t end_ms = sl_clock_monotonic_ms() + 25000;
    while (taken < count && sl_clock_monotonic_ms() < end_ms) {
        if (loop != NULL) {
            uv_run(loop, UV_RUN_NOWAIT);
        }
        if (sl_reader_next(reader, count - taken, &records, &piece, &error) != 0) {
            /* On a machine with much to do a seek may take too long by itself. */
            ck_assert_msg(error.reaction == SLUICE_RETRY, "%s", error.text);
            continue;
        }
        for (size_t i = 0; i < piece; i++, taken++) {
            ck_assert_str_eq(records[i].event.id, events[first + (int) taken].id);
        }
    }
    ck_assert_uint_eq(taken, count);
}

static void expect_no_next(struct sl_reader *reader)
{
    const struct sl_record *records;
    size_t count;
    ck_assert_int_eq(sl_reader_next(reader, 100, &records, &count, &error), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_ptr_nonnull(strstr(error.text, "cannot go back in a topic"));
}

static void go_back(struct sl_reader *reader)
{
    ck_assert_msg(
        sl_reader_rewind(reader, &error) == 0 || error.reaction == SLUICE_RETRY, "%s", error.text);
}

static void rewind_in_vain(struct sl_reader *reader, enum seek_failure failure, int count)
{
    seek_failure = failure;
    failing_seeks = count;
    ck_assert_int_eq(sl_reader_rewind(reader, &error), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
}

/* Run the loop, on which nobody comes for records, until one has been taken to be kept. */
static void wait_until_kept(uv_loop_t *loop, int polled_before)
{
    int64_t end_ms = sl_clock_monotonic_ms() + 25000;
    while (polled_records == polled_before && sl_clock_monotonic_ms() < end_ms) {
        uv_run(loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(polled_records, polled_before + 1);
}

static void end_loop(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

START_TEST(what_was_taken_and_not_applied_comes_again_though_kafka_did_not_go_back_at_once)
{
    open_mock();
    append_ok(events, COUNT);
    struct sl_reader *reader = open_member("t", NULL);
    take_in_order(reader, NULL, 0, 3);
    ck_assert_int_eq(sl_reader_commit(reader, SL_TEXT("t"), 0, 1, &error), 0);
    rewind_in_vain(reader, WHOLE_SEEK, 2);
    expect_no_next(reader);
    take_in_order(reader, NULL, 1, COUNT - 1);
    rewind_in_vain(reader, FIRST_PARTITION, 2);
    expect_no_next(reader);
    take_in_order(reader, NULL, 1, COUNT - 1);
    sl_reader_close(reader);
    close_mock();
}
END_TEST

START_TEST(a_record_that_woke_a_consumer_is_not_lost_when_it_goes_back)
{
    uv_loop_t loop;
    open_mock();
    append_ok(events, COUNT);
    uv_loop_init(&loop);
    struct sl_reader *reader = open_member("t", &loop);
    wait_until_kept(&loop, polled_records);
    go_back(reader);
    take_in_order(reader, &loop, 0, 2);
    wait_until_kept(&loop, polled_records);
    ck_assert_int_eq(sl_reader_commit(reader, SL_TEXT("t"), 0, 2, &error), 0);
    go_back(reader);
    take_in_order(reader, &loop, 2, COUNT - 2);
    sl_reader_close(reader);
    end_loop(&loop);
    close_mock();
}
END_TEST

START_TEST(a_record_that_comes_before_kafka_has_gone_back_overtakes_nothing)
{
    uv_loop_t loop;
    open_mock();
    append_ok(events, COUNT);
    uv_loop_init(&loop);
    struct sl_reader *reader = open_member("t", &loop);
    take_in_order(reader, &loop, 0, 2);
    rewind_in_vain(reader, WHOLE_SEEK, 1);
    wait_until_kept(&loop, polled_records);
    take_in_order(reader, &loop, 0, COUNT);
    sl_reader_close(reader);
    end_loop(&loop);
    close_mock();
}
END_TEST

START_TEST(while_one_partition_cannot_go_back_the_others_lose_nothing)
{
    open_mock();
    rd_kafka_mock_topic_create(mock, "two", 2, 1);
    /* Each partition has every second event, in order. */
    const char *keys[] = {"k", NULL};
    char others[16][2] = {{0}};
    for (int i = 0; i < 16 && keys[1] == NULL; i++) {
        others[i][0] = (char) ('a' + i);
        if (sl_broker_partition_of(sl_text_of(others[i]), 2) !=
            sl_broker_partition_of(SL_TEXT("k"), 2)) {
            keys[1] = others[i];
        }
    }
    ck_assert_ptr_nonnull(keys[1]);
    for (int i = 0; i < COUNT; i++) {
        events[i].topic = SL_TEXT("two");
        events[i].key = sl_text_of(keys[i % 2]);
    }
    append_ok(events, 2);
    struct sl_reader *reader = open_member("two", NULL);
    const struct sl_record *records;
    size_t count = 0;
    size_t total = 0;
    int64_t end_ms = sl_clock_monotonic_ms() + 25000;
    while (total < 2 && sl_clock_monotonic_ms() < end_ms) {
        ck_assert_int_eq(sl_reader_next(reader, 100, &records, &count, &error), 0);
        total += count;
    }
    ck_assert_uint_eq(total, 2);
    append_ok(events + 2, COUNT - 2);
    /* The second partition is where it should be, and gives its records away meanwhile. */
    int polled_before = polled_records;
    rewind_in_vain(reader, FIRST_PARTITION, INT_MAX);
    while (polled_records < polled_before + 3 && sl_clock_monotonic_ms() < end_ms) {
        expect_no_next(reader);
    }
    failing_seeks = 0;
    int next[2] = {0, 1};
    for (total = 0; total < COUNT && sl_clock_monotonic_ms() < end_ms; total += count) {
        if (sl_reader_next(reader, 100, &records, &count, &error) != 0) {
            ck_assert_int_eq(error.reaction, SLUICE_RETRY);
            count = 0;
        }
        for (size_t i = 0; i < count; i++) {
            int parity = sl_text_equal(records[i].event.key, SL_TEXT("k")) ? 0 : 1;
            ck_assert_int_lt(next[parity], COUNT);
            ck_assert_str_eq(records[i].event.id, events[next[parity]].id);
            next[parity] += 2;
        }
    }
    ck_assert_uint_eq(total, COUNT);
    sl_reader_close(reader);
    close_mock();
}
END_TEST

UNIT_MAIN("kafka_member",
    what_was_taken_and_not_applied_comes_again_though_kafka_did_not_go_back_at_once,
    a_record_that_woke_a_consumer_is_not_lost_when_it_goes_back,
    a_record_that_comes_before_kafka_has_gone_back_overtakes_nothing,
    while_one_partition_cannot_go_back_the_others_lose_nothing)
