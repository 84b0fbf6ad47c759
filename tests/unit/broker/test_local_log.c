#include <sqlite3.h>

#include "broker/broker.h"
#include "support/temp.h"
#include "support/unit.h"

static struct temp temp;
static struct sl_broker *broker;
static struct sluice_error error;

static void open_log(void)
{
    temp_make(&temp);
    int status = sl_broker_open(temp_url(&temp, "local", "log.db"), &broker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_log(void)
{
    sl_broker_close(broker);
    temp_remove(&temp);
}

static struct sl_event event(int number, const char *topic, const char *key)
{
    struct sl_event event = {
        .topic = sl_text_of(topic),
        .has_key = key != NULL,
        .key = sl_text_of(key),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("{}"),
        .headers = SL_TEXT("{}"),
        .time_ms = number,
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    return event;
}

static int append(int number, const char *topic, const char *key, int64_t before, int64_t after)
{
    struct sl_event one = event(number, topic, key);
    struct sl_append append = {.events = &one,
        .count = 1,
        .source_id = "source",
        .position_before = {0, before},
        .position_after = {0, after}};
    size_t rejected;
    return sl_broker_append(broker, &append, &rejected, &error);
}

static struct sl_reader *reader_of(
    const char *topic, enum sl_reader_start start, int64_t number, const char *consumer)
{
    struct sl_reader *reader;
    struct sl_reader_options options = {.topics = &topic,
        .topic_count = 1,
        .start = start,
        .tail_count = number,
        .time_ms = number,
        .consumer = consumer};
    int status = sl_reader_open(broker, &options, NULL, NULL, NULL, &reader, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return reader;
}

static size_t take(struct sl_reader *reader, const struct sl_record **records)
{
    size_t count;
    int status = sl_reader_next(reader, 1000, records, &count, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return count;
}

START_TEST(a_key_keeps_its_order_and_offsets_have_no_gap)
{
    open_log();
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(append(i, "t", i % 2 == 0 ? "even" : "odd", i, i + 1), 0);
    }
    struct sl_reader *reader = reader_of("t", SL_READ_START, 0, NULL);
    const struct sl_record *records;
    ck_assert_uint_eq(take(reader, &records), 50);
    int64_t last_time[2] = {-1, -1};
    int64_t next_offset[16] = {0};
    for (size_t i = 0; i < 50; i++) {
        int64_t time_ms = records[i].event.time_ms;
        ck_assert_int_gt(time_ms, last_time[time_ms % 2]);
        last_time[time_ms % 2] = time_ms;
        ck_assert_int_eq(records[i].offset, next_offset[records[i].partition]++);
    }
    ck_assert_uint_eq(take(reader, &records), 0);
    sl_reader_close(reader);
    close_log();
}
END_TEST

START_TEST(an_append_from_a_wrong_position_is_a_conflict_and_adds_nothing)
{
    open_log();
    ck_assert_int_eq(append(1, "t", "k", 0, 5), 0);
    ck_assert_int_eq(append(2, "t", "k", 0, 6), -1);
    ck_assert_int_eq(error.code, SLUICE_CONFLICT);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    struct sl_position position;
    struct sl_source source = {.id = "source"};
    ck_assert_int_eq(sl_broker_source_position(broker, &source, &position, &error), 0);
    ck_assert_int_eq(position.id, 5);
    source.id = "another";
    ck_assert_int_eq(sl_broker_source_position(broker, &source, &position, &error), 0);
    ck_assert_int_eq(position.id, 0);
    struct sl_reader *reader = reader_of("t", SL_READ_START, 0, NULL);
    const struct sl_record *records;
    ck_assert_uint_eq(take(reader, &records), 1);
    sl_reader_close(reader);
    close_log();
}
END_TEST

START_TEST(a_refused_event_is_named_and_takes_its_whole_piece_back)
{
    open_log();
    struct sl_event events[3] = {
        event(1, "fresh", "k"), event(2, "no topic", "k"), event(3, "fresh", "k")};
    struct sl_append piece = {
        .events = events, .count = 3, .source_id = "source", .position_after = {0, 3}};
    size_t rejected = 99;
    ck_assert_int_eq(sl_broker_append(broker, &piece, &rejected, &error), -1);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_uint_eq(rejected, 1);
    struct sl_reader *reader = reader_of("fresh", SL_READ_START, 0, NULL);
    const struct sl_record *records;
    ck_assert_uint_eq(take(reader, &records), 0);
    /* The topic went with the rollback; the next append makes it again. */
    ck_assert_int_eq(append(4, "fresh", "k", 0, 1), 0);
    ck_assert_uint_eq(take(reader, &records), 1);
    sl_reader_close(reader);
    close_log();
}
END_TEST

START_TEST(a_redriven_event_is_appended_once_however_often_it_is_sent)
{
    open_log();
    struct sl_event one = event(1, "t", "k");
    struct sl_append append = {.events = &one, .count = 1};
    ck_assert_int_eq(sl_broker_append_once(broker, &append, &error), 0);
    ck_assert_int_eq(sl_broker_append_once(broker, &append, &error), 0);
    struct sl_reader *reader = reader_of("t", SL_READ_START, 0, NULL);
    const struct sl_record *records;
    ck_assert_uint_eq(take(reader, &records), 1);
    sl_reader_close(reader);
    close_log();
}
END_TEST

START_TEST(a_consumer_goes_on_where_its_commits_end_and_rewinds_to_there)
{
    open_log();
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(append(i, "t", "k", i, i + 1), 0);
    }
    struct sl_reader *reader = reader_of("t", SL_READ_COMMITTED, 0, "c");
    const struct sl_record *records;
    ck_assert_uint_eq(take(reader, &records), 10);
    int32_t partition = records[0].partition;
    ck_assert_int_eq(sl_reader_commit(reader, SL_TEXT("t"), partition, 4, &error), 0);
    ck_assert_int_eq(sl_reader_rewind(reader, &error), 0);
    ck_assert_uint_eq(take(reader, &records), 6);
    ck_assert_int_eq(records[0].offset, 4);
    ck_assert_int_eq(sl_reader_flush(reader, &error), 0);
    sl_reader_close(reader);
    reader = reader_of("t", SL_READ_COMMITTED, 0, "c");
    ck_assert_uint_eq(take(reader, &records), 6);
    int64_t committed;
    ck_assert_int_eq(
        sl_broker_committed(broker, "c", SL_TEXT("t"), partition, &committed, &error), 0);
    ck_assert_int_eq(committed, 4);
    ck_assert_int_eq(
        sl_broker_committed(broker, "nobody", SL_TEXT("t"), partition, &committed, &error), 0);
    ck_assert_int_eq(committed, -1);
    sl_reader_close(reader);
    close_log();
}
END_TEST

START_TEST(a_reader_starts_at_the_tail_or_the_end_and_waits_for_a_missing_topic)
{
    open_log();
    const struct sl_record *records;
    struct sl_reader *early = reader_of("t", SL_READ_END, 0, NULL);
    ck_assert_uint_eq(take(early, &records), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(append(i, "t", "k", i, i + 1), 0);
    }
    ck_assert_uint_eq(take(early, &records), 10);
    struct sl_reader *tail = reader_of("t", SL_READ_TAIL, 3, NULL);
    ck_assert_uint_eq(take(tail, &records), 3);
    ck_assert_int_eq(records[0].offset, 7);
    struct sl_reader *end = reader_of("t", SL_READ_END, 0, NULL);
    ck_assert_uint_eq(take(end, &records), 0);
    ck_assert_int_eq(append(10, "t", "k", 10, 11), 0);
    ck_assert_uint_eq(take(end, &records), 1);
    sl_reader_close(early);
    sl_reader_close(tail);
    sl_reader_close(end);
    close_log();
}
END_TEST

START_TEST(retention_deletes_the_oldest_and_an_offset_never_comes_again)
{
    open_log();
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(append(i, "t", "k", i, i + 1), 0);
    }
    int64_t deleted;
    int64_t far_future_ms = 1LL << 50;
    ck_assert_int_eq(sl_broker_retain(broker, far_future_ms, 1000, 0, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 10);
    ck_assert_int_eq(sl_broker_retain(broker, far_future_ms, 1000, 0, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 0);
    ck_assert_int_eq(append(10, "t", "k", 10, 11), 0);
    struct sl_reader *reader = reader_of("t", SL_READ_START, 0, NULL);
    const struct sl_record *records;
    ck_assert_uint_eq(take(reader, &records), 1);
    ck_assert_int_eq(records[0].offset, 10);
    sl_reader_close(reader);
    close_log();
}
END_TEST

START_TEST(the_log_keeps_to_a_size_and_nothing_goes_while_it_fits)
{
    open_log();
    static char payload[100000];
    memset(payload, 'x', sizeof(payload));
    for (int i = 0; i < 40; i++) {
        struct sl_event large = event(i, "t", "k");
        large.payload = (struct sl_text) {payload, sizeof(payload)};
        struct sl_append piece = {.events = &large,
            .count = 1,
            .source_id = "source",
            .position_before = {0, i},
            .position_after = {0, i + 1}};
        size_t rejected;
        ck_assert_int_eq(sl_broker_append(broker, &piece, &rejected, &error), 0);
    }
    int64_t deleted;
    ck_assert_int_eq(sl_broker_retain(broker, 0, 0, 100 << 20, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 0);
    ck_assert_int_eq(sl_broker_retain(broker, 0, 0, 1 << 20, &deleted, &error), 0);
    ck_assert_int_gt(deleted, 0);
    close_log();
}
END_TEST

START_TEST(a_url_that_is_no_brokers_is_refused_with_the_reason)
{
    ck_assert_int_eq(sl_broker_open("lokal:x", &broker, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "is no broker's URL"));
    ck_assert_int_eq(sl_broker_open("local:/no/such/folder/log.db", &broker, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "there is no folder /no/such/folder/"));
}
END_TEST

UNIT_MAIN("local_log", a_key_keeps_its_order_and_offsets_have_no_gap,
    an_append_from_a_wrong_position_is_a_conflict_and_adds_nothing,
    a_refused_event_is_named_and_takes_its_whole_piece_back,
    a_redriven_event_is_appended_once_however_often_it_is_sent,
    a_consumer_goes_on_where_its_commits_end_and_rewinds_to_there,
    a_reader_starts_at_the_tail_or_the_end_and_waits_for_a_missing_topic,
    retention_deletes_the_oldest_and_an_offset_never_comes_again,
    the_log_keeps_to_a_size_and_nothing_goes_while_it_fits,
    a_url_that_is_no_brokers_is_refused_with_the_reason)
