/*
 * What a consumer's handlers do inside of their transaction: work in it, listeners, broken rules.
 */
#include <pthread.h>
#include <sluice/consumer.h>
#include <sluice/listener.h>

#include "broker/broker.h"
#include "lib/apply.h"
#include "support/wallet.h"

static struct sl_broker *broker;
static sluice_consumer *consumer;
static int64_t source_position; /* as many events are there to apply */
static int64_t calls;
static char heard[400];
static bool was_lost;
static const char *odd_outcome; /* of one event among many; NULL: there are none */

/* An event that will fail has a key of its own, so that it stops nothing else. */
static void append(const char *key, const char *type)
{
    struct sl_event event = {
        .topic = SL_TEXT("t"),
        .has_key = true,
        .key = sl_text_of(key),
        .type = sl_text_of(type),
        .payload = SL_TEXT("{}"),
        .headers = SL_TEXT("{}"),
        .time_ms = 1,
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", (int) source_position);
    struct sl_append piece = {.events = &event,
        .count = 1,
        .source_id = "s",
        .position_before = {0, source_position},
        .position_after = {0, source_position + 1}};
    size_t rejected;
    ck_assert_int_eq(sl_broker_append(broker, &piece, &rejected, &error), 0);
    source_position++;
}

static int fail_work(sluice_database *inside, void *context, struct sluice_error *why)
{
    put(inside, context);
    publish(inside, context);
    snprintf(why->text, sizeof(why->text), "the inner work fails");
    return -1;
}

static void *publish_elsewhere(void *context)
{
    struct sluice_error *refused = context;
    ck_assert_int_eq(publish_type(sluice_consumer_database(consumer), "Stolen", refused), -1);
    return NULL;
}

/* PARTITIONS: a multiple of what the log has of them. */
enum { MANY = 60, ODD_ONE = 45, PARTITIONS = 1 << 10 };

/* One event in the middle of many that go together is not like the others. */
static enum sluice_outcome handle_many(
    sluice_database *inside, const struct sluice_event *event, struct sluice_error *why)
{
    bool is_odd = strcmp(event->key, "odd") == 0;
    if (is_odd && strcmp(odd_outcome, "knows") == 0) {
        ck_assert_int_eq(put_word(inside, "word-0", why), -1);
        return SLUICE_ALREADY_APPLIED;
    }
    put(inside, event->type);
    if (strcmp(event->type, "word-59") == 0) {
        sluice_consumer_stop(consumer);
    }
    return is_odd ? SLUICE_REJECTED : SLUICE_APPLIED;
}

/* Writes and publishes the event's type, then does what the type says. */
static enum sluice_outcome handle(sluice_database *inside, const struct sluice_event *event,
    void *context, struct sluice_error *why)
{
    struct sluice_error inner = {.code = SLUICE_OK};
    (void) context;
    if (odd_outcome != NULL) {
        return handle_many(inside, event, why);
    }
    const char *type = event->type;
    /* What comes again after a loss is no measure. */
    if (was_lost ? strcmp(type, "Third") == 0 : ++calls == source_position) {
        sluice_consumer_stop(consumer);
    }
    put(inside, type);
    publish(inside, type);
    if (strcmp(type, "Loses") == 0 && !was_lost) {
        was_lost = true;
        if (has_one_writer()) {
            return SLUICE_RETRY_LATER; /* no connection that could be lost */
        }
        ck_assert_int_eq(lose_connection(inside, why), -1);
        return SLUICE_FAILED;
    }
    if (strcmp(type, "Fails") == 0) {
        return SLUICE_FAILED;
    } else if (strcmp(type, "Swallows") == 0) {
        ck_assert_int_eq(
            sluice_transaction(inside, SLUICE_REQUIRED, fail_work, "Inner", &inner), -1);
    } else if (strcmp(type, "Nests") == 0) {
        ck_assert_int_eq(sluice_transaction(inside, SLUICE_NESTED, fail_work, "Inner", &inner), -1);
    } else if (strcmp(type, "Known") == 0) {
        ck_assert_int_eq(put_word(inside, "Known", &inner), -1);
        ck_assert_int_eq(inner.code, SLUICE_CONSTRAINT);
        return SLUICE_ALREADY_APPLIED;
    } else if (strcmp(type, "Threads") == 0) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, publish_elsewhere, why), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(why->code, SLUICE_INVALID);
    }
    return SLUICE_APPLIED;
}

static int contested_calls;

static enum sluice_outcome handle_elsewhere(sluice_database *inside,
    const struct sluice_event *event, void *context, struct sluice_error *why)
{
    (void) inside;
    (void) event;
    (void) context;
    (void) why;
    contested_calls += 100;
    return SLUICE_APPLIED;
}

/* Fails at first; when it is tried again, another member of the name comes by. */
static enum sluice_outcome handle_contested(sluice_database *inside,
    const struct sluice_event *event, void *context, struct sluice_error *why)
{
    struct sl_applier other = {.name = "c",
        .policy = {.attempts_max = 3, .retry_delay_ms = 1, .retry_delay_max_ms = 1},
        .handlers = {{"t", handle_elsewhere, NULL}},
        .handler_count = 1};
    int64_t due_ms = 0;
    bool is_outage = false;
    (void) context;
    if (++contested_calls == 1) {
        return SLUICE_FAILED;
    }
    put(inside, event->type);
    sluice_consumer_stop(consumer);
    if (has_one_writer()) {
        return SLUICE_APPLIED; /* the other one would wait until this one is done */
    }
    ck_assert_int_eq(sluice_database_open(place.url, &other.database, why), 0);
    int status = sl_applier_retry_due(&other, &due_ms, &is_outage, why);
    ck_assert_msg(status == 0, "%s", why->text);
    ck_assert(!other.is_retry_next && !is_outage);
    ck_assert_int_lt(due_ms, INT64_MAX); /* it looks again */
    sluice_database_close(other.database);
    return SLUICE_APPLIED;
}

static int hear(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) inside;
    (void) why;
    size_t end = strlen(heard);
    snprintf(heard + end, sizeof(heard) - end, "%s%s:%s", end == 0 ? "" : " ",
        (const char *) context, notice->event->type);
    return 0;
}

static int veto(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) notice;
    (void) context;
    put(inside, "written-by-the-veto");
    snprintf(why->text, sizeof(why->text), "never");
    return -1;
}

static void add_listener(
    const char *name, const char *type, enum sluice_phase phase, sluice_listener listener)
{
    struct sluice_listener_options options = {
        .name = name, .type = type, .phase = phase, .context = (void *) name};
    int status = sluice_listen(sluice_consumer_database(consumer), &options, listener, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void set_up(void)
{
    open_wallet();
    heard[0] = '\0';
    was_lost = false;
    odd_outcome = NULL;
    source_position = 0;
    calls = 0;
    const char *log = temp_url(&place.temp, "local", "log.db");
    struct sluice_consumer_options options = {
        .name = "c", .database = place.url, .broker = log, .attempts_max = 1};
    ck_assert_int_eq(sl_broker_open(log, &broker, &error), 0);
    int status = sluice_consumer_open(&options, &consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle, NULL, &error), 0);
}

/* Apply the events that were appended. */
static void run(void)
{
    int status = sluice_consumer_run(consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void tear_down(void)
{
    sluice_consumer_close(consumer);
    sl_broker_close(broker);
    close_wallet();
}

static const char *reasons(void)
{
    return column_of_ours("reason", "dead_letter", "ORDER BY number");
}

START_TEST(a_veto_fails_the_one_event_whose_handler_published_it)
{
    set_up();
    add_listener("guard", "Vetoed", SLUICE_BEFORE_COMMIT, veto);
    append("k", "First");
    append("f", "Vetoed");
    append("k", "Third");
    run();
    ck_assert_str_eq(words(), "First Third");
    ck_assert_str_eq(types(), "First Third");
    ck_assert_str_eq(reasons(), "the listener 'guard' refused the commit: never");
    tear_down();
}
END_TEST

START_TEST(listeners_hear_what_handlers_published_once_it_is_committed)
{
    set_up();
    add_listener("after", NULL, SLUICE_AFTER_COMMIT, hear);
    append("k", "First");
    append("f", "Fails");
    append("k", "Third");
    run();
    ck_assert_str_eq(heard, "after:First after:Third");
    tear_down();
}
END_TEST

START_TEST(a_handler_that_swallows_an_inner_failure_has_failed)
{
    set_up();
    append("f", "Swallows");
    append("k", "Nests");
    run();
    ck_assert_str_eq(words(), "Nests");
    ck_assert_str_eq(types(), "Nests");
    ck_assert_ptr_nonnull(strstr(reasons(), "the inner work fails"));
    tear_down();
}
END_TEST

START_TEST(a_unique_violation_in_a_handler_does_not_poison_the_transaction_that_records_it)
{
    set_up();
    append("k", "First");
    append("k", "Known");
    append("k", "Third");
    run();
    ck_assert_ptr_nonnull(strstr(words(), "First"));
    ck_assert_ptr_nonnull(strstr(words(), "Third"));
    ck_assert_str_eq(reasons(), "");
    /* All three markers are there, so that nothing comes again. */
    ck_assert_str_eq(column_of_ours("'m'", "inbox", ""), "m m m");
    ck_assert_str_eq(
        column_of_ours("CASE duplicates_total WHEN 1 THEN 'one' ELSE 'other' END", "consumer", ""),
        "one");
    tear_down();
}
END_TEST

/* Another key of the odd one's partition, so that the last event really comes last. */
static const char *neighbour_of_the_odd_one(void)
{
    static char key[16];
    int number = 0;
    do {
        snprintf(key, sizeof(key), "k%d", number++);
    } while (sl_broker_partition_of(sl_text_of(key), PARTITIONS) !=
        sl_broker_partition_of(SL_TEXT("odd"), PARTITIONS));
    return key;
}

static void run_many(const char *outcome_of_the_odd_one)
{
    const char *key = neighbour_of_the_odd_one();
    odd_outcome = outcome_of_the_odd_one;
    for (int i = 0; i < MANY; i++) {
        char type[16];
        snprintf(type, sizeof(type), "word-%d", i);
        append(i == ODD_ONE ? "odd" : key, type);
    }
    run();
}

static const char *counts(void)
{
    return column_of_ours(
        "CASE WHEN applied_total = 59 AND duplicates_total + failures_total = 1"
        " THEN 'all but one' ELSE 'other' END",
        "consumer", "");
}

static const char *mark_count(void)
{
    return column_of_ours(
        "CASE count(*) WHEN 60 THEN 'all' WHEN 59 THEN 'all but one' ELSE 'other' END", "inbox",
        "");
}

START_TEST(of_many_events_that_go_together_only_the_one_that_fails_is_undone)
{
    set_up();
    run_many("fails");
    ck_assert_str_eq(column_of("SELECT CASE count(*) WHEN 59 THEN 'all but one' ELSE 'other' END"
                               " FROM word"),
        "all but one");
    ck_assert_str_eq(column_of_ours("type", "dead_letter", ""), "word-45");
    ck_assert_str_eq(mark_count(), "all but one");
    ck_assert_str_eq(counts(), "all but one");
    tear_down();
}
END_TEST

START_TEST(a_unique_violation_among_many_events_spoils_none_of_them)
{
    set_up();
    run_many("knows");
    ck_assert_str_eq(column_of("SELECT CASE count(*) WHEN 59 THEN 'all but one' ELSE 'other' END"
                               " FROM word"),
        "all but one");
    ck_assert_str_eq(reasons(), "");
    ck_assert_str_eq(mark_count(), "all");
    ck_assert_str_eq(counts(), "all but one");
    tear_down();
}
END_TEST

START_TEST(a_connection_that_is_lost_under_a_handler_is_an_outage_and_uses_up_no_attempt)
{
    set_up();
    append("k", "First");
    append("k", "Loses");
    append("k", "Third");
    run();
    ck_assert_str_eq(words(), "First Loses Third");
    ck_assert_str_eq(types(), "First Loses Third");
    ck_assert_str_eq(reasons(), "");
    tear_down();
}
END_TEST

START_TEST(a_held_event_that_one_member_tries_is_left_to_it_by_the_others)
{
    open_wallet();
    source_position = 0;
    contested_calls = 0;
    const char *log = temp_url(&place.temp, "local", "log.db");
    struct sluice_consumer_options options = {
        .name = "c", .database = place.url, .broker = log, .retry_delay_ms = 1};
    ck_assert_int_eq(sl_broker_open(log, &broker, &error), 0);
    int status = sluice_consumer_open(&options, &consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle_contested, NULL, &error), 0);
    append("k", "Contested");
    run();
    ck_assert_int_eq(contested_calls, 2);
    ck_assert_str_eq(words(), "Contested");
    ck_assert_str_eq(reasons(), "");
    tear_down();
}
END_TEST

START_TEST(another_thread_cannot_publish_into_a_handlers_transaction)
{
    set_up();
    append("k", "Threads");
    run();
    ck_assert_str_eq(types(), "Threads");
    tear_down();
}
END_TEST

DATABASE_UNIT_MAIN("handler", a_veto_fails_the_one_event_whose_handler_published_it,
    listeners_hear_what_handlers_published_once_it_is_committed,
    a_handler_that_swallows_an_inner_failure_has_failed,
    a_unique_violation_in_a_handler_does_not_poison_the_transaction_that_records_it,
    of_many_events_that_go_together_only_the_one_that_fails_is_undone,
    a_unique_violation_among_many_events_spoils_none_of_them,
    a_connection_that_is_lost_under_a_handler_is_an_outage_and_uses_up_no_attempt,
    a_held_event_that_one_member_tries_is_left_to_it_by_the_others,
    another_thread_cannot_publish_into_a_handlers_transaction)
