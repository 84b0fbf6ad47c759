#include <librdkafka/rdkafka.h>
#include <uv.h>

#include "base/clock.h"
#include "broker/kafka.h"
#include "support/kafka.h"
#include "support/unit.h"

static struct sl_broker *broker;
static struct sluice_error error;
static int last_number;

static void open_broker(const char *query)
{
    int status = sl_broker_open(kafka_url(query), &broker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static struct sl_event event_of(int number, const char *topic, const char *key)
{
    struct sl_event event = {
        .topic = sl_text_of(topic),
        .has_key = key != NULL,
        .key = sl_text_of(key),
        .type = SL_TEXT("OrderPlaced"),
        .payload = SL_TEXT("{\"a\":1}"),
        .headers = SL_TEXT("{}"),
        .time_ms = 1700000000000 + number,
    };
    snprintf(event.id, sizeof(event.id), "00000000-%04x-7000-8000-%012d",
        (unsigned) getpid() & 0xffff, number);
    return event;
}

static int append_events(const struct sl_event *events, size_t count, size_t *ret_rejected)
{
    struct sl_append append = {.events = events, .count = count, .source_id = "source"};
    *ret_rejected = SIZE_MAX;
    return sl_broker_append(broker, &append, ret_rejected, &error);
}

static void append_ok(int number, const char *topic, const char *key)
{
    struct sl_event one = event_of(number, topic, key);
    size_t rejected;
    int status = append_events(&one, 1, &rejected);
    ck_assert_msg(status == 0, "%s", error.text);
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

/* On a machine with much to do the server may not answer in time: an outage, which ends. */
static bool may_try_again(int64_t end_ms)
{
    return error.reaction == SLUICE_RETRY && sl_clock_monotonic_ms() < end_ms;
}

/* Read what there is: nothing, if there is no more. */
static size_t take(struct sl_reader *reader, const struct sl_record **records)
{
    int64_t end_ms = sl_clock_monotonic_ms() + 20000;
    size_t count;
    while (sl_reader_next(reader, 10000, records, &count, &error) != 0) {
        ck_assert_msg(may_try_again(end_ms), "%s", error.text);
    }
    return count;
}

static void flush_ok(struct sl_reader *reader)
{
    int64_t end_ms = sl_clock_monotonic_ms() + 20000;
    while (sl_reader_flush(reader, &error) != 0) {
        ck_assert_msg(may_try_again(end_ms), "%s", error.text);
    }
}

static size_t count_of(const char *topic)
{
    const struct sl_record *records;
    struct sl_reader *reader = reader_of(topic, SL_READ_START, 0, NULL);
    size_t total = 0;
    size_t count;
    while ((count = take(reader, &records)) > 0) {
        total += count;
    }
    sl_reader_close(reader);
    return total;
}

START_TEST(an_event_comes_back_as_it_was_appended)
{
    const char *topic = kafka_name("round");
    open_broker("");
    struct sl_event events[3] = {
        event_of(1, topic, "k\xc3\xa4"), event_of(2, topic, NULL), event_of(3, topic, "")};
    events[0].headers = SL_TEXT("{\"traceparent\":\"00-1\",\"id\":\"own\",\"type\":\"own\"}");
    events[1].payload = (struct sl_text) {"\0\xff", 2};
    events[2].payload = (struct sl_text) {NULL, 0};
    size_t rejected;
    ck_assert_msg(append_events(events, 3, &rejected) == 0, "%s", error.text);
    struct sl_reader *reader = reader_of(topic, SL_READ_START, 0, NULL);
    const struct sl_record *records;
    size_t seen = 0;
    size_t count;
    while ((count = take(reader, &records)) > 0) {
        for (size_t i = 0; i < count; i++, seen++) {
            const struct sl_event *got = &records[i].event;
            const struct sl_event *sent = &events[got->time_ms - 1700000000001];
            ck_assert_str_eq(got->id, sent->id);
            ck_assert(sl_text_equal(got->topic, sent->topic));
            ck_assert(got->has_key == sent->has_key);
            ck_assert(sl_text_equal(got->key, sent->key));
            ck_assert(sl_text_equal(got->type, sent->type));
            ck_assert(sl_text_equal(got->payload, sent->payload));
            ck_assert_msg(sl_text_equal(got->headers, sent->headers), "%.*s",
                (int) got->headers.size, got->headers.data);
        }
    }
    ck_assert_uint_eq(seen, 3);
    sl_reader_close(reader);
    sl_broker_close(broker);
}
END_TEST

START_TEST(a_key_lands_in_the_partition_where_java_puts_it)
{
    const char *topic = kafka_name("keys");
    open_broker("?partitions=7");
    struct sl_event events[50];
    char keys[50][16];
    for (int i = 0; i < 50; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
        events[i] = event_of(i, topic, keys[i]);
    }
    size_t rejected;
    ck_assert_msg(append_events(events, 50, &rejected) == 0, "%s", error.text);
    struct sl_reader *reader = reader_of(topic, SL_READ_START, 0, NULL);
    const struct sl_record *records;
    size_t seen = 0;
    size_t count;
    while ((count = take(reader, &records)) > 0) {
        for (size_t i = 0; i < count; i++, seen++) {
            ck_assert_int_eq(records[i].partition, sl_broker_partition_of(records[i].event.key, 7));
        }
    }
    ck_assert_uint_eq(seen, 50);
    sl_reader_close(reader);
    sl_broker_close(broker);
}
END_TEST

/* "user" + murmur2 of Kafka's own test vectors, so that our own function is not its only judge. */
START_TEST(the_partitions_agree_with_the_vectors_of_kafkas_java_client)
{
    static const struct {
        const char *key;
        int32_t hash;
    } vectors[] = {{"21", -973932308}, {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536}, {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971}, {"abc", 479470107}};
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        int32_t wanted = (int32_t) ((uint32_t) vectors[i].hash & 0x7fffffff) % 1000;
        ck_assert_int_eq(sl_broker_partition_of(sl_text_of(vectors[i].key), 1000), wanted);
    }
}
END_TEST

START_TEST(what_is_too_large_is_condemned_and_the_others_arrive_once_and_in_order)
{
    const char *topic = kafka_name("large");
    static char large[1 << 20];
    open_broker("?partitions=1");
    memset(large, 'x', sizeof(large));
    struct sl_event events[5];
    for (int i = 0; i < 5; i++) {
        events[i] = event_of(i, topic, "k");
    }
    events[2].payload = (struct sl_text) {large, sizeof(large)};
    size_t rejected;
    ck_assert_int_eq(append_events(events, 5, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_int_eq(error.code, SLUICE_TOO_LARGE);
    ck_assert_uint_eq(rejected, 2);
    ck_assert_ptr_nonnull(strstr(error.text, "max.message.bytes"));
    ck_assert_uint_eq(count_of(topic), 0);
    events[2] = events[3];
    events[3] = events[4];
    ck_assert_msg(append_events(events, 4, &rejected) == 0, "%s", error.text);
    ck_assert_uint_eq(count_of(topic), 4);
    sl_broker_close(broker);
}
END_TEST

START_TEST(a_relay_that_starts_again_adds_no_duplicates)
{
    const char *topic = kafka_name("again");
    struct sl_source source = {.id = "source"};
    struct sl_position position;
    size_t rejected;
    struct sl_event events[200];
    for (int i = 0; i < 200; i++) {
        events[i] = event_of(i, topic, i % 2 == 0 ? "even" : "odd");
    }
    open_broker("");
    ck_assert_msg(append_events(events, 120, &rejected) == 0, "%s", error.text);
    sl_broker_close(broker);
    /* Nothing was confirmed: the next one begins at the first event, in smaller pieces. */
    open_broker("");
    ck_assert_int_eq(sl_broker_source_position(broker, &source, &position, &error), 0);
    ck_assert_int_eq(sl_position_compare(position, source.confirmed), 0);
    for (int i = 0; i < 200; i += 50) {
        ck_assert_msg(append_events(&events[i], 50, &rejected) == 0, "%s", error.text);
    }
    ck_assert_uint_eq(count_of(topic), 200);
    sl_broker_close(broker);
}
END_TEST

/* A transaction that was open for an hour has events that are an hour older than their neighbours.
 */
START_TEST(an_event_older_than_the_first_of_its_topic_is_found_in_the_tail_too)
{
    enum { COUNT = 700, AN_HOUR_MS = 3600000 };
    static struct sl_event events[COUNT];
    const char *topic = kafka_name("older");
    struct sl_source source = {.id = "source"};
    struct sl_position position;
    size_t rejected;
    ck_assert_int_ne(
        sl_broker_partition_of(SL_TEXT("even"), 2), sl_broker_partition_of(SL_TEXT("odd2"), 2));
    for (int i = 0; i < COUNT; i++) {
        events[i] = event_of(i, topic, i == 0 ? "even" : "odd2");
    }
    events[1].time_ms -= AN_HOUR_MS;
    open_broker("?partitions=2");
    ck_assert_msg(append_events(events, COUNT, &rejected) == 0, "%s", error.text);
    sl_broker_close(broker);
    open_broker("?partitions=2");
    ck_assert_int_eq(sl_broker_source_position(broker, &source, &position, &error), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(append_events(&events[i], 1, &rejected) == 0, "%s", error.text);
    }
    ck_assert_uint_eq(count_of(topic), COUNT);
    sl_broker_close(broker);
}
END_TEST

START_TEST(a_redriven_event_is_appended_once_however_often_it_is_sent)
{
    const char *topic = kafka_name("once");
    for (int round = 0; round < 2; round++) {
        open_broker("");
        struct sl_event one = event_of(1, topic, "k");
        struct sl_append append = {.events = &one, .count = 1};
        ck_assert_msg(sl_broker_append_once(broker, &append, &error) == 0, "%s", error.text);
        ck_assert_msg(sl_broker_append_once(broker, &append, &error) == 0, "%s", error.text);
        ck_assert_uint_eq(count_of(topic), 1);
        sl_broker_close(broker);
    }
}
END_TEST

START_TEST(a_missing_topic_that_may_not_be_made_condemns_its_event_and_says_what_to_do)
{
    const char *topic = kafka_name("missing");
    open_broker("?create_topics=false");
    struct sl_event one = event_of(1, topic, "k");
    size_t rejected;
    ck_assert_int_eq(append_events(&one, 1, &rejected), -1);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_uint_eq(rejected, 0);
    ck_assert_ptr_nonnull(strstr(error.text, "kafka-topics --create --topic"));
    sl_broker_close(broker);
}
END_TEST

static void see_partition(void *context, const struct sl_partition_state *state)
{
    const char *topic = context;
    if (sl_text_equal(state->topic, sl_text_of(topic))) {
        ck_assert_int_eq(state->partition, last_number++);
        ck_assert_int_eq(state->first_offset, 0);
        ck_assert_int_eq(state->next_offset, state->partition == 0 ? 3 : 0);
    }
}

START_TEST(the_partitions_are_told_with_their_ends_and_the_epoch_is_the_clusters)
{
    const char *topic = kafka_name("ends");
    open_broker("?partitions=3");
    const char *key = "key";
    char text[32];
    for (int i = 0; sl_broker_partition_of(sl_text_of(key), 3) != 0; i++) {
        snprintf(text, sizeof(text), "key-%d", i);
        key = text;
    }
    for (int i = 0; i < 3; i++) {
        append_ok(i, topic, key);
    }
    last_number = 0;
    int status = sl_broker_each_partition(broker, see_partition, (void *) topic, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(last_number, 3);
    char epoch[SL_BROKER_EPOCH_SIZE];
    snprintf(epoch, sizeof(epoch), "%s", sl_broker_epoch(broker));
    ck_assert_str_ne(epoch, "00000000");
    sl_broker_close(broker);
    open_broker("");
    ck_assert_str_eq(sl_broker_epoch(broker), epoch);
    sl_broker_close(broker);
}
END_TEST

START_TEST(a_reader_starts_at_the_tail_the_end_or_a_time_and_waits_for_a_missing_topic)
{
    const char *topic = kafka_name("starts");
    const struct sl_record *records;
    open_broker("?partitions=1");
    struct sl_reader *early = reader_of(topic, SL_READ_END, 0, NULL);
    ck_assert_uint_eq(take(early, &records), 0);
    for (int i = 0; i < 10; i++) {
        append_ok(i, topic, "k");
    }
    ck_assert_uint_eq(take(early, &records), 10);
    struct sl_reader *tail = reader_of(topic, SL_READ_TAIL, 3, NULL);
    ck_assert_uint_eq(take(tail, &records), 3);
    ck_assert_int_eq(records[0].offset, 7);
    struct sl_reader *timed = reader_of(topic, SL_READ_TIME, 1700000000004, NULL);
    ck_assert_uint_eq(take(timed, &records), 6);
    struct sl_reader *end = reader_of(topic, SL_READ_END, 0, NULL);
    ck_assert_uint_eq(take(end, &records), 0);
    append_ok(10, topic, "k");
    ck_assert_uint_eq(take(end, &records), 1);
    ck_assert_int_eq(sl_reader_rewind(end, &error), 0);
    ck_assert_uint_eq(take(end, &records), 1);
    sl_reader_close(early);
    sl_reader_close(tail);
    sl_reader_close(timed);
    sl_reader_close(end);
    sl_broker_close(broker);
}
END_TEST

static size_t take_within(struct sl_reader *reader, const struct sl_record **records)
{
    int64_t end_ms = sl_clock_monotonic_ms() + 20000;
    size_t count = 0;
    while (count == 0 && sl_clock_monotonic_ms() < end_ms) {
        count = take(reader, records);
    }
    return count;
}

START_TEST(a_consumer_goes_on_where_its_commits_end_and_rewinds_to_there)
{
    const char *topic = kafka_name("commits");
    const char *group = kafka_name("group");
    const struct sl_record *records;
    open_broker("?partitions=1");
    for (int i = 0; i < 10; i++) {
        append_ok(i, topic, "k");
    }
    struct sl_reader *reader = reader_of(topic, SL_READ_COMMITTED, 0, group);
    size_t total = 0;
    while (total < 10) {
        total += take_within(reader, &records);
    }
    ck_assert_int_eq(sl_reader_commit(reader, sl_text_of(topic), 0, 4, &error), 0);
    ck_assert(sl_reader_rewind(reader, &error) == 0 || error.reaction == SLUICE_RETRY);
    ck_assert_uint_gt(take_within(reader, &records), 0);
    ck_assert_int_eq(records[0].offset, 4);
    flush_ok(reader);
    sl_reader_close(reader);
    reader = reader_of(topic, SL_READ_COMMITTED, 0, group);
    ck_assert_uint_gt(take_within(reader, &records), 0);
    ck_assert_int_eq(records[0].offset, 4);
    int64_t committed;
    ck_assert_int_eq(
        sl_broker_committed(broker, group, sl_text_of(topic), 0, &committed, &error), 0);
    ck_assert_int_eq(committed, 4);
    ck_assert_int_eq(
        sl_broker_committed(broker, kafka_name("nobody"), sl_text_of(topic), 0, &committed, &error),
        0);
    ck_assert_int_eq(committed, -1);
    sl_reader_close(reader);
    sl_broker_close(broker);
}
END_TEST

START_TEST(a_revoked_partition_is_neither_committed_nor_handed_out_any_more)
{
    const char *topic = kafka_name("revoked");
    const char *group = kafka_name("group");
    const struct sl_record *records;
    open_broker("?partitions=2");
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%d", i);
        append_ok(i, topic, key);
    }
    struct sl_reader *first = reader_of(topic, SL_READ_COMMITTED, 0, group);
    int64_t next[2] = {0, 0};
    for (size_t total = 0; total < 40;) {
        size_t count = take_within(first, &records);
        ck_assert_uint_gt(count, 0);
        for (size_t i = 0; i < count; i++) {
            next[records[i].partition] = records[i].offset + 1;
        }
        total += count;
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_gt(next[i], 3);
        ck_assert_int_eq(sl_reader_commit(first, sl_text_of(topic), i, 2, &error), 0);
    }
    flush_ok(first);
    /* Of both partitions more is noted: a rebalance commits it, if the server answers in time. */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sl_reader_commit(first, sl_text_of(topic), i, 3, &error), 0);
    }
    /* Each has one partition as soon as both have come for records since the second joined. */
    struct sl_reader *second = reader_of(topic, SL_READ_COMMITTED, 0, group);
    bool has_second[2] = {false, false};
    int64_t end_ms = sl_clock_monotonic_ms() + 100000;
    size_t seen = 0;
    struct sl_reader *readers[2] = {first, second};
    while (seen == 0 && sl_clock_monotonic_ms() < end_ms) {
        for (int i = 0; i < 2; i++) {
            size_t count = take(readers[i], &records);
            for (size_t j = 0; j < count && i == 1; j++) {
                ck_assert_int_ge(records[j].offset, 2);
                has_second[records[j].partition] = true;
                seen++;
            }
        }
    }
    ck_assert_uint_gt(seen, 0);
    ck_assert(has_second[0] != has_second[1]);
    /* The first knows the partition, but what it notes now has no effect. */
    int lost = has_second[0] ? 0 : 1;
    ck_assert_int_eq(sl_reader_commit(first, sl_text_of(topic), lost, next[lost], &error), 0);
    flush_ok(first);
    int64_t committed;
    ck_assert_int_eq(
        sl_broker_committed(broker, group, sl_text_of(topic), lost, &committed, &error), 0);
    ck_assert_int_ge(committed, 2);
    ck_assert_int_le(committed, 3);
    sl_reader_close(first);
    sl_reader_close(second);
    sl_broker_close(broker);
}
END_TEST

struct waiting {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct sl_reader *reader;
    size_t count;
    size_t wanted;
    int done;
    int status;
    size_t rejected;
};

static void on_deadline(uv_timer_t *timer)
{
    ck_abort_msg("nothing came in time");
    uv_stop(timer->loop);
}

static void on_readable(void *context)
{
    struct waiting *waiting = context;
    const struct sl_record *records;
    size_t count;
    do {
        count = take(waiting->reader, &records);
        waiting->count += count;
    } while (count > 0);
    if (waiting->count >= waiting->wanted) {
        uv_stop(&waiting->loop);
    }
}

static void start_waiting(struct waiting *waiting)
{
    *waiting = (struct waiting) {.status = -2};
    uv_loop_init(&waiting->loop);
    uv_timer_init(&waiting->loop, &waiting->deadline);
    uv_timer_start(&waiting->deadline, on_deadline, 20000, 0);
}

static void end_waiting(struct waiting *waiting)
{
    uv_close((uv_handle_t *) &waiting->deadline, NULL);
    uv_run(&waiting->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&waiting->loop), 0);
}

static void reads_a_late_topic(enum sl_reader_start start, const char *consumer)
{
    const char *topic = kafka_name("late");
    struct waiting waiting;
    open_broker("");
    start_waiting(&waiting);
    waiting.wanted = 3;
    struct sl_reader_options options = {
        .topics = &topic, .topic_count = 1, .start = start, .consumer = consumer};
    ck_assert_int_eq(sl_reader_open(broker, &options, &waiting.loop, on_readable, &waiting,
                         &waiting.reader, &error),
        0);
    uv_run(&waiting.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 3; i++) {
        append_ok(i, topic, "k");
    }
    uv_run(&waiting.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(waiting.count, 3);
    sl_reader_close(waiting.reader);
    sl_broker_close(broker);
    end_waiting(&waiting);
}

START_TEST(a_reader_on_a_loop_sees_a_topic_that_is_made_later)
{
    reads_a_late_topic(SL_READ_END, NULL);
}
END_TEST

START_TEST(a_consumer_on_a_loop_sees_a_topic_that_is_made_later)
{
    reads_a_late_topic(SL_READ_COMMITTED, kafka_name("group"));
}
END_TEST

static void on_done(void *context, int status, size_t rejected, const struct sluice_error *reason)
{
    struct waiting *waiting = context;
    waiting->status = status;
    waiting->rejected = rejected;
    waiting->done++;
    error = reason == NULL ? error : *reason;
    if (waiting->done == 3) {
        uv_stop(&waiting->loop);
    }
}

START_TEST(appends_on_a_loop_are_pending_and_each_is_told_its_end_once)
{
    const char *topic = kafka_name("pending");
    struct waiting waiting;
    open_broker("");
    start_waiting(&waiting);
    ck_assert_int_eq(sl_broker_attach(broker, &waiting.loop, &error), 0);
    struct sl_event events[3] = {
        event_of(1, topic, "a"), event_of(2, topic, "b"), event_of(3, topic, "c")};
    for (int i = 0; i < 3; i++) {
        struct sl_append append = {
            .events = &events[i], .count = 1, .on_done = on_done, .context = &waiting};
        size_t rejected;
        int status = i == 0 ? sl_broker_append(broker, &append, &rejected, &error)
                            : sl_broker_append_once(broker, &append, &error);
        ck_assert_msg(status == SL_APPEND_PENDING, "%s", error.text);
    }
    ck_assert_int_eq(waiting.done, 0);
    uv_run(&waiting.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(waiting.done, 3);
    ck_assert_int_eq(waiting.status, 0);
    ck_assert_uint_eq(count_of(topic), 3);
    sl_broker_close(broker);
    end_waiting(&waiting);
}
END_TEST

UNIT_MAIN_WITH_SERVER("SLUICE_TEST_KAFKA", "kafka", an_event_comes_back_as_it_was_appended,
    a_key_lands_in_the_partition_where_java_puts_it,
    the_partitions_agree_with_the_vectors_of_kafkas_java_client,
    what_is_too_large_is_condemned_and_the_others_arrive_once_and_in_order,
    a_relay_that_starts_again_adds_no_duplicates,
    an_event_older_than_the_first_of_its_topic_is_found_in_the_tail_too,
    a_redriven_event_is_appended_once_however_often_it_is_sent,
    a_missing_topic_that_may_not_be_made_condemns_its_event_and_says_what_to_do,
    the_partitions_are_told_with_their_ends_and_the_epoch_is_the_clusters,
    a_reader_starts_at_the_tail_the_end_or_a_time_and_waits_for_a_missing_topic,
    a_consumer_goes_on_where_its_commits_end_and_rewinds_to_there,
    a_revoked_partition_is_neither_committed_nor_handed_out_any_more,
    a_reader_on_a_loop_sees_a_topic_that_is_made_later,
    a_consumer_on_a_loop_sees_a_topic_that_is_made_later,
    appends_on_a_loop_are_pending_and_each_is_told_its_end_once)
