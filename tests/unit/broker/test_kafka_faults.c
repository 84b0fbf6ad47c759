/*
 * What a broker of Kafka may answer, and what becomes of the append: with librdkafka's mock
 * cluster, which fails as it is told.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/kafka.h"
#include "support/kafka_mock.h"
#include "support/unit.h"

enum { PRODUCE = 0 };

/* The topic holds these events and no others, in this order. */
static void check_topic(const int *numbers, size_t count)
{
    const char *topic = "t";
    struct sl_reader_options options = {.topics = &topic, .topic_count = 1, .start = SL_READ_START};
    struct sl_reader *reader;
    const struct sl_record *records;
    size_t seen = 0;
    size_t taken;
    ck_assert_int_eq(sl_reader_open(broker, &options, NULL, NULL, NULL, &reader, &error), 0);
    do {
        int64_t end_ms = sl_clock_monotonic_ms() + 20000;
        int status;
        do { /* on a machine with much to do an answer may come too late */
            status = sl_reader_next(reader, 100, &records, &taken, &error);
        } while (status != 0 && error.reaction == SLUICE_RETRY && sl_clock_monotonic_ms() < end_ms);
        ck_assert_msg(status == 0, "%s", error.text);
        for (size_t i = 0; i < taken; i++, seen++) {
            ck_assert_uint_lt(seen, count);
            ck_assert_str_eq(records[i].event.id, events[numbers[seen]].id);
        }
    } while (taken > 0);
    ck_assert_uint_eq(seen, count);
    sl_reader_close(reader);
}

START_TEST(an_event_that_is_refused_with_its_neighbours_is_found_and_nothing_overtakes_it)
{
    size_t rejected;
    open_mock();
    append_ok(events, 1);
    /* The whole batch is refused: nobody can tell which of the messages is meant. */
    rd_kafka_mock_push_request_errors(mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    ck_assert_int_eq(append(events + 1, 4, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_uint_eq(rejected, SIZE_MAX);
    ck_assert_ptr_nonnull(strstr(error.text, "sent one by one to find which"));
    check_topic((int[]) {0}, 1);
    /* One by one, it is the second that is refused. */
    rd_kafka_mock_push_request_errors(
        mock, PRODUCE, 2, RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    ck_assert_int_eq(append(events + 1, 4, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_int_eq(error.code, SLUICE_TOO_LARGE);
    ck_assert_uint_eq(rejected, 1);
    check_topic((int[]) {0, 1}, 2);
    /* The relay puts it aside and appends the others again: those that are there are passed over.
     */
    struct sl_event rest[] = {events[1], events[3], events[4]};
    append_ok(rest, 3);
    append_ok(events + 5, 1);
    check_topic((int[]) {0, 1, 3, 4, 5}, 5);
    close_mock();
}
END_TEST

START_TEST(an_answer_that_is_an_outage_condemns_nobody)
{
    static const rd_kafka_resp_err_t answers[] = {RD_KAFKA_RESP_ERR_INVALID_MSG,
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER};
    open_mock();
    append_ok(events, 1);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        size_t rejected;
        rd_kafka_mock_push_request_errors(mock, PRODUCE, 1, answers[i]);
        if (append(events + 1, 3, &rejected) != 0) {
            ck_assert_int_eq(error.reaction, SLUICE_RETRY);
            ck_assert_uint_eq(rejected, SIZE_MAX);
            append_ok(events + 1, 3);
        }
        check_topic((int[]) {0, 1, 2, 3}, 4);
    }
    close_mock();
}
END_TEST

START_TEST(what_librdkafka_may_try_again_arrives_once_without_a_word)
{
    open_mock();
    rd_kafka_mock_push_request_errors(mock, PRODUCE, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    append_ok(events, COUNT);
    check_topic((int[]) {0, 1, 2, 3, 4, 5}, COUNT);
    close_mock();
}
END_TEST

START_TEST(an_append_that_is_not_answered_in_time_is_given_up_and_closing_does_not_wait)
{
    size_t rejected;
    open_mock();
    append_ok(events, 1);
    ((struct sl_kafka *) broker)->append_ms_max = 300;
    rd_kafka_mock_broker_set_rtt(mock, 1, 60000);
    int64_t begun_ms = sl_clock_monotonic_ms();
    ck_assert_int_eq(append(events + 1, 2, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_int_lt(sl_clock_monotonic_ms() - begun_ms, 20000);
    rd_kafka_mock_broker_set_rtt(mock, 1, 0);
    ((struct sl_kafka *) broker)->append_ms_max = 20000;
    append_ok(events + 1, 2);
    check_topic((int[]) {0, 1, 2}, 3);
    close_mock();
}
END_TEST

START_TEST(a_topic_that_the_user_may_not_write_condemns_its_events_one_by_one)
{
    size_t rejected;
    open_mock();
    append_ok(events, 1);
    rd_kafka_mock_push_request_errors(
        mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(append(events + 1, 3, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_uint_eq(rejected, 0);
    ck_assert_ptr_nonnull(strstr(error.text, "give the user the right"));
    close_mock();
}
END_TEST

START_TEST(a_commit_that_nobody_answers_is_an_outage_and_leaving_does_not_wait_for_ever)
{
    const char *topic = "t";
    struct sl_reader_options options = {
        .topics = &topic, .topic_count = 1, .start = SL_READ_COMMITTED, .consumer = "c"};
    struct sl_reader *reader;
    const struct sl_record *records;
    size_t count = 0;
    open_mock();
    append_ok(events, COUNT);
    ck_assert_int_eq(sl_reader_open(broker, &options, NULL, NULL, NULL, &reader, &error), 0);
    int64_t end_ms = sl_clock_monotonic_ms() + 20000;
    while (count == 0 && sl_clock_monotonic_ms() < end_ms) {
        count = sl_reader_next(reader, 2, &records, &count, &error) == 0 ? count : 0;
    }
    ck_assert_uint_gt(count, 0);
    ck_assert_int_eq(sl_reader_commit(reader, SL_TEXT("t"), 0, 1, &error), 0);
    rd_kafka_mock_broker_set_down(mock, 1);
    ck_assert_int_eq(sl_reader_flush(reader, &error), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    if (sl_reader_rewind(reader, &error) != 0) {
        ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    }
    sl_reader_close(reader); /* or the test has no end */
    close_mock();
}
END_TEST

START_TEST(nobody_there_is_an_outage_that_names_the_address_and_is_not_asked_again_at_once)
{
    size_t rejected;
    struct sl_event one = {.topic = SL_TEXT("t"), .type = SL_TEXT("T"), .headers = SL_TEXT("{}")};
    snprintf(one.id, sizeof(one.id), "00000000-0000-7000-8000-%012d", 1);
    ck_assert_int_eq(sl_broker_open("kafka://127.0.0.1:9", &broker, &error), 0);
    ck_assert_int_eq(append(&one, 1, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_ptr_nonnull(strstr(error.text, "no Kafka broker answers at 127.0.0.1:9"));
    ck_assert_ptr_nonnull(strstr(error.text, "Connection refused"));
    /* Who asks waits for an answer; who is told the last one does not. */
    int64_t shortest_ms = INT64_MAX;
    for (int i = 0; i < 5 && shortest_ms >= 1000; i++) {
        int64_t begun_ms = sl_clock_monotonic_ms();
        ck_assert_int_eq(append(&one, 1, &rejected), -1);
        int64_t took_ms = sl_clock_monotonic_ms() - begun_ms;
        shortest_ms = took_ms < shortest_ms ? took_ms : shortest_ms;
    }
    ck_assert_int_lt(shortest_ms, 1000);
    sl_broker_close(broker);
}
END_TEST

static void expect_refused(const char *url, const char *wanted)
{
    ck_assert_int_eq(sl_broker_open(url, &broker, &error), -1);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_msg(strstr(error.text, wanted) != NULL, "%s: %s", url, error.text);
}

START_TEST(a_url_or_property_that_cannot_be_is_refused_and_no_secret_is_told)
{
    static const char usage[] = "a Kafka broker's URL is kafka://host:port";
    char path[64];
    char with_file[128];
    static const struct {
        const char *text;
        const char *wanted;
    } files[] = {{"acks=1\n", "line 1 of the Kafka properties file sets 'acks'"},
        {"# comment\n\nsasl.password\n", "line 3 of the Kafka properties file is not name=value"}};
    snprintf(path, sizeof(path), "/tmp/sluice-test-kafka-%d", (int) getpid());
    snprintf(with_file, sizeof(with_file), "kafka://host:1?properties=%s", path);
    expect_refused("kafka:host:1", usage);
    expect_refused("kafka://", usage);
    expect_refused("kafka://host", usage);
    expect_refused("kafka://user:secret@host:1", usage);
    ck_assert_ptr_null(strstr(error.text, "secret"));
    expect_refused("kafka://host:1,", usage);
    expect_refused("kafka://host:1?partitions=0", "'partitions=...'");
    expect_refused("kafka://host:1?color=red", "'color=...'");
    ck_assert_int_eq(sl_broker_open("kafka://host:1?properties=/no/such", &broker, &error), -1);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        FILE *file = fopen(path, "w");
        fputs(files[i].text, file);
        fclose(file);
        expect_refused(with_file, files[i].wanted);
    }
    unlink(path);
}
END_TEST

struct waiting {
    struct sl_reader *reader;
    uv_timer_t deadline;
    size_t seen;
};

static void on_readable(void *context)
{
    struct waiting *waiting = context;
    const struct sl_record *records;
    size_t count;
    if (waiting->reader != NULL &&
        sl_reader_next(waiting->reader, 10, &records, &count, &error) == 0) {
        waiting->seen += count;
    }
    if (waiting->seen > 0) {
        uv_stop(waiting->deadline.loop);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

START_TEST(a_reader_on_a_loop_finds_its_topic_though_the_broker_answers_slowly)
{
    const char *topic = "t";
    struct sl_reader_options options = {.topics = &topic, .topic_count = 1, .start = SL_READ_START};
    struct waiting waiting = {.seen = 0};
    uv_loop_t loop;
    open_mock();
    append_ok(events, 1);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &waiting.deadline);
    uv_timer_start(&waiting.deadline, on_deadline, 25000, 0);
    rd_kafka_mock_broker_set_rtt(mock, 1, 2500); /* too long for the first look */
    int status =
        sl_reader_open(broker, &options, &loop, on_readable, &waiting, &waiting.reader, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sl_reader_position(waiting.reader, SL_TEXT("t"), 0), -1);
    rd_kafka_mock_broker_set_rtt(mock, 1, 400);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(waiting.seen, 1);
    uv_close((uv_handle_t *) &waiting.deadline, NULL);
    sl_reader_close(waiting.reader);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    close_mock();
}
END_TEST

UNIT_MAIN("kafka_faults", a_reader_on_a_loop_finds_its_topic_though_the_broker_answers_slowly,
    an_event_that_is_refused_with_its_neighbours_is_found_and_nothing_overtakes_it,
    an_answer_that_is_an_outage_condemns_nobody,
    what_librdkafka_may_try_again_arrives_once_without_a_word,
    an_append_that_is_not_answered_in_time_is_given_up_and_closing_does_not_wait,
    a_topic_that_the_user_may_not_write_condemns_its_events_one_by_one,
    a_commit_that_nobody_answers_is_an_outage_and_leaving_does_not_wait_for_ever,
    nobody_there_is_an_outage_that_names_the_address_and_is_not_asked_again_at_once,
    a_url_or_property_that_cannot_be_is_refused_and_no_secret_is_told)
