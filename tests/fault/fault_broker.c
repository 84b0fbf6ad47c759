/*
 * The local log with memory that runs out: an append is whole or not there, and a reader loses and
 * repeats nothing.
 */
#include "broker/broker.h"

#include "fault/sweep.h"
#include "support/temp.h"

enum { OPEN_STRIDE = 17, KEYS = 6 };

static struct temp temp;
static struct sluice_error error;
static struct sl_broker *broker;
static struct sl_reader *reader;
static int64_t source_position;

static struct sl_event event_of(int number, const char *topic)
{
    static const char *const keys[KEYS] = {"a", "b", "c", "d", "e", "f"};
    struct sl_event event = {
        .topic = sl_text_of(topic),
        .has_key = true,
        .key = sl_text_of(keys[number % KEYS]),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("payload"),
        .headers = SL_TEXT("{}"),
        .time_ms = 1,
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    return event;
}

/* Two events of each key in a topic that may be new. */
static int append(const char *topic)
{
    struct sl_event events[2 * KEYS];
    for (int i = 0; i < 2 * KEYS; i++) {
        events[i] = event_of(i, topic);
    }
    struct sl_append piece = {.events = events,
        .count = 2 * KEYS,
        .source_id = "s",
        .position_before = {0, source_position},
        .position_after = {0, source_position + 2 * KEYS}};
    size_t rejected = SIZE_MAX;
    int status = sl_broker_append(broker, &piece, &rejected, &error);
    ck_assert_uint_eq(rejected, SIZE_MAX); /* memory condemns no event */
    source_position += status == 0 ? 2 * KEYS : 0;
    return status;
}

static void open_broker(void)
{
    temp_make(&temp);
    source_position = 0;
    int status = sl_broker_open(temp_url(&temp, "local", "log.db"), &broker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void reopen_broker(void)
{
    sl_broker_close(broker);
    int status = sl_broker_open(temp_url(&temp, "local", "log.db"), &broker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_broker(void)
{
    sl_broker_close(broker);
    temp_remove(&temp);
}

static void open_reader(enum sl_reader_start start, const char *topic)
{
    const char *topics[] = {topic};
    struct sl_reader_options options = {.topics = topics,
        .topic_count = 1,
        .start = start,
        .consumer = start == SL_READ_COMMITTED ? "c" : NULL};
    int status = sl_reader_open(broker, &options, NULL, NULL, NULL, &reader, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void add_next_offset(void *context, const struct sl_partition_state *state)
{
    int64_t *sum = context;
    *sum += state->next_offset - state->first_offset;
}

static int64_t record_count(void)
{
    int64_t sum = 0;
    ck_assert_int_eq(sl_broker_each_partition(broker, add_next_offset, &sum, &error), 0);
    return sum;
}

START_TEST(an_open_that_fails_leaves_a_log_that_the_next_one_opens)
{
    SWEEP_EACH(sweep, OPEN_STRIDE)
    {
        temp_make(&temp);
        const char *url = temp_url(&temp, "local", "log.db");
        broker = NULL;
        sweep_arm(&sweep);
        int status = sl_broker_open(url, &broker, &error);
        sweep_disarm(&sweep, status, &error);
        if (status != 0) {
            ck_assert_ptr_null(broker);
            status = sl_broker_open(url, &broker, &error);
            ck_assert_msg(status == 0, "%s", error.text);
        }
        ck_assert_uint_eq(strlen(sl_broker_epoch(broker)), SL_BROKER_EPOCH_SIZE - 1);
        close_broker();
    }
}
END_TEST

START_TEST(an_append_is_whole_or_not_there_and_works_the_next_time)
{
    open_broker();
    SWEEP_EACH(sweep, 5)
    {
        char topic[32];
        snprintf(topic, sizeof(topic), "t%ld", sweep.countdown);
        reopen_broker();
        int64_t before = record_count();
        struct sl_position position = {0, -1};
        struct sl_source source = {.id = "s"};
        sweep_arm(&sweep);
        int status = append(topic);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(record_count(), before + (status == 0 ? 2 * KEYS : 0));
        ck_assert_int_eq(sl_broker_source_position(broker, &source, &position, &error), 0);
        ck_assert_int_eq(position.id, source_position);
        if (status != 0) {
            ck_assert_msg(append(topic) == 0, "%s", error.text);
            ck_assert_int_eq(record_count(), before + 2 * KEYS);
        }
        ck_assert(!sweep.is_complete || sweep.failed > 20);
    }
    close_broker();
}
END_TEST

START_TEST(an_event_out_of_its_turn_is_appended_once)
{
    open_broker();
    ck_assert_int_eq(append("t"), 0);
    SWEEP_EACH(sweep, 3)
    {
        reopen_broker();
        struct sl_event event = event_of(1000 + (int) sweep.countdown, "t");
        struct sl_append append = {.events = &event, .count = 1};
        int64_t before = record_count();
        sweep_arm(&sweep);
        int status = sl_broker_append_once(broker, &append, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(record_count(), before + (status == 0 ? 1 : 0));
        ck_assert_int_eq(sl_broker_append_once(broker, &append, &error), 0);
        ck_assert_int_eq(record_count(), before + 1);
    }
    close_broker();
}
END_TEST

/* The offsets that a reader gives, each of which must be the next of its partition. */
static size_t take_all(int64_t next_offsets[static 16])
{
    size_t taken = 0;
    const struct sl_record *records;
    size_t count = 1;
    while (count > 0) {
        int status = sl_reader_next(reader, 100, &records, &count, &error);
        ck_assert_msg(status == 0, "%s", error.text);
        for (size_t i = 0; i < count; i++) {
            ck_assert_int_eq(records[i].offset, next_offsets[records[i].partition]);
            next_offsets[records[i].partition]++;
            taken++;
        }
    }
    return taken;
}

START_TEST(a_read_that_fails_gives_every_record_the_next_time)
{
    open_broker();
    ck_assert_int_eq(append("t"), 0);
    SWEEP(sweep)
    {
        const struct sl_record *records = NULL;
        size_t count = 0;
        int64_t next_offsets[16] = {0};
        reopen_broker();
        open_reader(SL_READ_START, "t");
        sweep_arm(&sweep);
        int status = sl_reader_next(reader, 100, &records, &count, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_uint_eq(count, status == 0 ? 2 * KEYS : 0);
        if (status != 0) {
            ck_assert_uint_eq(take_all(next_offsets), 2 * KEYS);
        }
        sl_reader_close(reader);
    }
    close_broker();
}
END_TEST

START_TEST(a_topic_that_comes_later_is_found_though_the_look_for_it_failed)
{
    open_broker();
    SWEEP_EACH(sweep, 3)
    {
        char topic[32];
        const struct sl_record *records;
        size_t count = 0;
        int64_t next_offsets[16] = {0};
        snprintf(topic, sizeof(topic), "t%ld", sweep.countdown);
        reopen_broker();
        open_reader(SL_READ_END, topic);
        ck_assert_int_eq(append(topic), 0);
        sweep_arm(&sweep);
        int status = sl_reader_next(reader, 100, &records, &count, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_uint_eq(count + (status == 0 ? 0 : take_all(next_offsets)), 2 * KEYS);
        sl_reader_close(reader);
    }
    close_broker();
}
END_TEST

START_TEST(commits_are_durable_or_still_noted)
{
    open_broker();
    ck_assert_int_eq(append("t"), 0);
    SWEEP(sweep)
    {
        char consumer[32];
        snprintf(consumer, sizeof(consumer), "c%ld", sweep.countdown);
        const char *topics[] = {"t"};
        struct sl_reader_options options = {
            .topics = topics, .topic_count = 1, .start = SL_READ_COMMITTED, .consumer = consumer};
        int64_t offset = -5;
        reopen_broker();
        ck_assert_int_eq(sl_reader_open(broker, &options, NULL, NULL, NULL, &reader, &error), 0);
        for (int32_t partition = 0; partition < 2; partition++) {
            ck_assert_int_eq(sl_reader_commit(reader, SL_TEXT("t"), partition, 1, &error), 0);
        }
        sweep_arm(&sweep);
        int status = sl_reader_flush(reader, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(
            sl_broker_committed(broker, consumer, SL_TEXT("t"), 0, &offset, &error), 0);
        ck_assert_int_eq(offset, status == 0 ? 1 : -1);
        ck_assert_int_eq(sl_reader_flush(reader, &error), 0);
        for (int32_t partition = 0; partition < 2; partition++) {
            ck_assert_int_eq(
                sl_broker_committed(broker, consumer, SL_TEXT("t"), partition, &offset, &error), 0);
            ck_assert_int_eq(offset, 1);
        }
        sl_reader_close(reader);
    }
    close_broker();
}
END_TEST

static void ignore(void *context)
{
    (void) context;
}

START_TEST(a_reader_that_cannot_be_opened_leaves_nothing_on_the_loop)
{
    static const enum sl_reader_start starts[] = {
        SL_READ_COMMITTED, SL_READ_START, SL_READ_END, SL_READ_TAIL, SL_READ_TIME};
    open_broker();
    ck_assert_int_eq(append("t"), 0);
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        SWEEP(sweep)
        {
            const char *topics[] = {"t", "missing"};
            struct sl_reader_options options = {.topics = topics,
                .topic_count = 2,
                .start = starts[i],
                .consumer = "c",
                .time_ms = 5,
                .tail_count = 2};
            uv_loop_t loop;
            ck_assert_int_eq(uv_loop_init(&loop), 0);
            reopen_broker();
            reader = NULL;
            sweep_arm(&sweep);
            int status = sl_reader_open(broker, &options, &loop, ignore, NULL, &reader, &error);
            sweep_disarm(&sweep, status, &error);
            ck_assert((reader == NULL) == (status != 0));
            sl_reader_close(reader);
            uv_run(&loop, UV_RUN_DEFAULT);
            ck_assert_int_eq(uv_loop_close(&loop), 0);
        }
    }
    close_broker();
}
END_TEST

START_TEST(retention_is_whole_or_not_there)
{
    open_broker();
    SWEEP_EACH(sweep, 3)
    {
        reopen_broker();
        int64_t deleted = -5;
        ck_assert_int_eq(append("t"), 0);
        int64_t before = record_count();
        sweep_arm(&sweep);
        int status = sl_broker_retain(broker, INT64_MAX / 2, 1, 0, &deleted, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert(status == 0 ? deleted > 0 : deleted == -5);
        ck_assert_int_eq(record_count(), before - (status == 0 ? deleted : 0));
        while (deleted != 0) {
            ck_assert_int_eq(sl_broker_retain(broker, INT64_MAX / 2, 1, 0, &deleted, &error), 0);
        }
        ck_assert_int_eq(record_count(), 0);
    }
    close_broker();
}
END_TEST

FAULT_MAIN("fault_broker", an_open_that_fails_leaves_a_log_that_the_next_one_opens,
    an_append_is_whole_or_not_there_and_works_the_next_time,
    an_event_out_of_its_turn_is_appended_once, a_read_that_fails_gives_every_record_the_next_time,
    a_topic_that_comes_later_is_found_though_the_look_for_it_failed,
    commits_are_durable_or_still_noted, a_reader_that_cannot_be_opened_leaves_nothing_on_the_loop,
    retention_is_whole_or_not_there)
