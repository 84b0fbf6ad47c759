#include <sluice/consumer.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "store/store.h"
#include "support/temp.h"
#include "support/unit.h"

static struct temp temp;
static struct sl_broker *broker;
static sluice_consumer *consumer;
static struct sluice_error error;
static int64_t source_position;

/* What the handler does, by the event's type; "calls" counts every call of it. */
static int calls;
static int stop_after_calls;
static int outages_left;
static int failures_left;

static void set_up(void)
{
    temp_make(&temp);
    calls = 0;
    stop_after_calls = 0;
    outages_left = 0;
    failures_left = 0;
    source_position = 0;
    int status = sl_broker_open(temp_url(&temp, "local", "log.db"), &broker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void tear_down(void)
{
    sl_broker_close(broker);
    temp_remove(&temp);
}

static void append(int number, const char *key, const char *type)
{
    struct sl_event event = {
        .topic = SL_TEXT("t"),
        .has_key = key != NULL,
        .key = sl_text_of(key),
        .type = sl_text_of(type),
        .payload = SL_TEXT("{}"),
        .headers = SL_TEXT("{\"h\":\"v\"}"),
        .time_ms = 1,
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    struct sl_append piece = {.events = &event,
        .count = 1,
        .source_id = "s",
        .position_before = {0, source_position},
        .position_after = {0, source_position + 1}};
    size_t rejected;
    ck_assert_int_eq(sl_broker_append(broker, &piece, &rejected, &error), 0);
    source_position++;
}

static enum sluice_outcome answer(const struct sluice_event *event, struct sluice_error *reason)
{
    if (strcmp(event->type, "Outage") == 0 && outages_left-- > 0) {
        return SLUICE_RETRY_LATER;
    }
    if (strcmp(event->type, "Flaky") == 0 && failures_left-- > 0) {
        snprintf(reason->text, sizeof(reason->text), "flaky as ever");
        return SLUICE_FAILED;
    }
    if (strcmp(event->type, "Late") == 0 && failures_left-- > 0) {
        return SLUICE_FAILED;
    }
    if (strcmp(event->type, "Late") == 0 && outages_left-- > 0) {
        return SLUICE_RETRY_LATER;
    }
    if (strcmp(event->type, "Poison") == 0) {
        snprintf(reason->text, sizeof(reason->text), "this order makes no sense");
        return SLUICE_REJECTED;
    }
    if (strcmp(event->type, "Slow") == 0) {
        /* Longer than a transaction of the consumer may be, so that it ends within the batch. */
        int64_t end_us = sl_clock_monotonic_us() + 25000;
        while (sl_clock_monotonic_us() < end_us) {
        }
    }
    return strcmp(event->type, "Known") == 0 ? SLUICE_ALREADY_APPLIED : SLUICE_APPLIED;
}

/* Writes its effect first, so that an undone one would be seen. */
static enum sluice_outcome handle(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *reason)
{
    (void) context;
    char sql[200];
    snprintf(sql, sizeof(sql), "INSERT INTO effect VALUES ('%s', '%s')", event->id,
        event->key == NULL ? "" : event->key);
    ck_assert_int_eq(
        sqlite3_exec(sluice_database_sqlite(database), sql, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_uint_eq(event->header_count, 1);
    ck_assert_str_eq(event->headers[0].value, "v");
    if (++calls == stop_after_calls) {
        sluice_consumer_stop(consumer);
    }
    return answer(event, reason);
}

static void open_consumer(int attempts_max)
{
    struct sluice_consumer_options options = {
        .name = "c",
        .database = temp_url(&temp, "sqlite", "app.db"),
        .broker = temp_url(&temp, "local", "log.db"),
        .attempts_max = attempts_max,
        .retry_delay_ms = 1,
    };
    int status = sluice_consumer_open(&options, &consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle, NULL, &error), 0);
}

static sqlite3 *open_file(void)
{
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 5000);
    sqlite3_exec(handle, "CREATE TABLE IF NOT EXISTS effect (id, key)", NULL, NULL, NULL);
    return handle;
}

/* Run until the handler has been called so often; then the consumer is closed. */
static void run(int attempts_max, int calls_wanted)
{
    open_consumer(attempts_max);
    sqlite3_close(open_file());
    stop_after_calls = calls + calls_wanted;
    int status = sluice_consumer_run(consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    sluice_consumer_close(consumer);
}

static const char *query(const char *sql)
{
    static char text[256];
    sqlite3 *handle = open_file();
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    const unsigned char *value = sqlite3_column_text(statement, 0);
    snprintf(text, sizeof(text), "%s", value == NULL ? "" : (const char *) value);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return text;
}

START_TEST(an_event_is_applied_once_though_it_comes_again)
{
    set_up();
    for (int i = 0; i < 5; i++) {
        append(i, "k", "Plain");
    }
    run(3, 5);
    /* The same consumer with its place lost: everything comes again, nothing is done again. */
    append(9, "k", "Plain");
    sqlite3 *log;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "log.db"), &log), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(log, "DELETE FROM consumer_position", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(log);
    run(3, 1);
    ck_assert_int_eq(calls, 6);
    ck_assert_str_eq(query("SELECT count(*) || '/' || count(DISTINCT id) FROM effect"), "6/6");
    ck_assert_str_eq(
        query("SELECT applied_total || '/' || duplicates_total FROM sluice_consumer"), "6/5");
    tear_down();
}
END_TEST

START_TEST(a_failed_handler_is_undone_counted_and_called_again)
{
    set_up();
    failures_left = 2;
    append(1, "k", "Flaky");
    run(3, 3);
    ck_assert_str_eq(query("SELECT count(*) FROM effect"), "1");
    ck_assert_str_eq(query("SELECT count(*) FROM sluice_dead_letter"), "0");
    ck_assert_str_eq(query("SELECT failures_total FROM sluice_consumer"), "2");
    tear_down();
}
END_TEST

START_TEST(a_poison_event_stops_its_key_and_nothing_else)
{
    set_up();
    append(1, "bad", "Poison");
    append(2, "bad", "Plain");
    append(3, "good", "Plain");
    append(4, "bad", "Plain");
    run(3, 2);
    ck_assert_str_eq(query("SELECT group_concat(key) FROM effect"), "good");
    ck_assert_str_eq(query("SELECT group_concat(state || ' ' || attempts) FROM sluice_dead_letter"),
        "FAILED_PERMANENTLY 1,WAITING 0,WAITING 0");
    ck_assert_str_eq(query("SELECT reason FROM sluice_dead_letter WHERE state LIKE 'FAILED%'"),
        "this order makes no sense");
    tear_down();
}
END_TEST

START_TEST(a_redrive_applies_a_keys_events_in_order)
{
    set_up();
    failures_left = 2;
    append(1, "k", "Flaky");
    append(2, "k", "Plain");
    append(3, "k", "Plain");
    run(2, 2);
    ck_assert_str_eq(query("SELECT count(*) FROM effect"), "0");
    struct sl_store *store;
    ck_assert_int_eq(
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_EXISTING, &store, &error), 0);
    struct sl_held_filter everything = {0};
    int64_t count;
    ck_assert_int_eq(sl_store_redrive(store, &everything, 1, &count, &error), 0);
    ck_assert_int_eq(count, 1);
    sl_store_close(store);
    run(2, 3);
    ck_assert_str_eq(query("SELECT group_concat(substr(id, -1)) FROM effect"), "1,2,3");
    ck_assert_str_eq(query("SELECT count(*) FROM sluice_dead_letter"), "0");
    tear_down();
}
END_TEST

START_TEST(an_outage_that_a_handler_reports_uses_up_no_attempt_and_keeps_the_order)
{
    set_up();
    outages_left = 3;
    append(1, "k", "Plain");
    append(2, "k", "Outage");
    append(3, "k", "Plain");
    run(1, 6);
    ck_assert_str_eq(query("SELECT group_concat(substr(id, -1)) FROM effect"), "1,2,3");
    ck_assert_str_eq(query("SELECT count(*) FROM sluice_dead_letter"), "0");
    tear_down();
}
END_TEST

START_TEST(a_held_event_that_asks_for_later_keeps_no_other_key_waiting)
{
    set_up();
    failures_left = 1;
    outages_left = 4;
    append(1, "k", "Late");
    append(2, "a", "Slow"); /* ends the transaction, so that the rest is left for another turn */
    append(3, "k", "Plain");
    append(4, "b", "Plain");
    run(3, 9);
    ck_assert_str_eq(query("SELECT group_concat(substr(id, -1)) FROM effect"), "2,4,1,3");
    tear_down();
}
END_TEST

START_TEST(what_a_slow_handler_leaves_of_a_batch_is_applied_by_the_next_transaction)
{
    set_up();
    for (int i = 1; i <= 4; i++) {
        append(i, "k", "Slow");
    }
    run(3, 4);
    ck_assert_str_eq(query("SELECT group_concat(substr(id, -1)) FROM effect"), "1,2,3,4");
    tear_down();
}
END_TEST

START_TEST(done_before_counts_as_a_duplicate_and_is_kept)
{
    set_up();
    append(1, "k", "Known");
    run(1, 1);
    ck_assert_str_eq(
        query("SELECT applied_total || '/' || duplicates_total FROM sluice_consumer"), "0/1");
    ck_assert_str_eq(query("SELECT count(*) FROM sluice_inbox"), "1");
    tear_down();
}
END_TEST

/* By our own function, which refuses, or by a statement, as `context` says. */
static enum sluice_outcome commit_inside(sluice_database *database,
    const struct sluice_event *event, void *context, struct sluice_error *reason)
{
    (void) event;
    if (context == NULL) {
        ck_assert_int_eq(sluice_commit(database, reason), -1);
        ck_assert_int_eq(reason->code, SLUICE_INVALID);
    } else {
        ck_assert_int_eq(
            sqlite3_exec(sluice_database_sqlite(database), context, NULL, NULL, NULL), SQLITE_OK);
    }
    return SLUICE_APPLIED;
}

static void check_commit_inside(void *statement)
{
    set_up();
    append(1, "k", "Plain");
    struct sluice_consumer_options options = {.name = "c",
        .database = temp_url(&temp, "sqlite", "app.db"),
        .broker = temp_url(&temp, "local", "log.db")};
    ck_assert_int_eq(sluice_consumer_open(&options, &consumer, &error), 0);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", commit_inside, statement, &error), 0);
    ck_assert_int_eq(sluice_consumer_run(consumer, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_HANDLER);
    ck_assert_ptr_nonnull(strstr(error.text, "handler of t ended the transaction"));
    sluice_consumer_close(consumer);
    ck_assert_str_eq(query("SELECT count(*) FROM sluice_inbox"), statement == NULL ? "0" : "1");
    tear_down();
}

START_TEST(a_handler_that_ends_the_transaction_stops_the_consumer_with_its_topic_named)
{
    check_commit_inside("COMMIT");
    check_commit_inside(NULL);
}
END_TEST

static void limit_pages(sqlite3 *handle, const char *pages)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %s", pages);
    ck_assert_int_eq(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Meets a full file the first time, on which SQLite rolls the whole transaction back by itself. */
static enum sluice_outcome write_much(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *reason)
{
    sqlite3 *handle = sluice_database_sqlite(database);
    (void) event;
    (void) context;
    limit_pages(handle, ++calls == 1 ? "1" : "100000");
    int result =
        sqlite3_exec(handle, "INSERT INTO effect VALUES (zeroblob(500000), 1)", NULL, NULL, NULL);
    if (result != SQLITE_OK) {
        ck_assert_int_eq(result, SQLITE_FULL);
        ck_assert_int_ne(sqlite3_get_autocommit(handle), 0);
        snprintf(reason->text, sizeof(reason->text), "%s", sqlite3_errmsg(handle));
        return SLUICE_FAILED;
    }
    sluice_consumer_stop(consumer);
    return SLUICE_APPLIED;
}

START_TEST(a_full_disk_under_a_handler_is_an_outage_and_not_the_handlers_fault)
{
    set_up();
    append(1, "k", "Plain");
    struct sluice_consumer_options options = {.name = "c",
        .database = temp_url(&temp, "sqlite", "app.db"),
        .broker = temp_url(&temp, "local", "log.db")};
    ck_assert_int_eq(sluice_consumer_open(&options, &consumer, &error), 0);
    sqlite3_close(open_file());
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", write_much, NULL, &error), 0);
    int status = sluice_consumer_run(consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    sluice_consumer_close(consumer);
    ck_assert_int_eq(calls, 2);
    ck_assert_str_eq(query("SELECT count(*) FROM effect"), "1");
    ck_assert_str_eq(query("SELECT count(*) FROM sluice_dead_letter"), "0");
    ck_assert_str_eq(query("SELECT failures_total FROM sluice_consumer"), "0");
    tear_down();
}
END_TEST

START_TEST(a_consumer_without_free_descriptors_is_refused_and_not_a_crash)
{
    struct rlimit before;
    int refused_count = 0;
    set_up();
    struct sluice_consumer_options options = {.name = "c",
        .database = temp_url(&temp, "sqlite", "app.db"),
        .broker = temp_url(&temp, "local", "log.db")};
    ck_assert_int_eq(sluice_consumer_open(&options, &consumer, &error), 0);
    sluice_consumer_close(consumer);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    /* libuv itself leaks a descriptor where it cannot start a loop: the limit outruns that. */
    for (rlim_t limit = 4; limit < 204; limit += 4) {
        struct rlimit low = {limit, before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
        int status = sluice_consumer_open(&options, &consumer, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        refused_count += status == 0 ? 0 : 1;
        if (status == 0) {
            sluice_consumer_close(consumer);
        } else {
            ck_assert_uint_gt(strlen(error.text), 0);
        }
    }
    ck_assert_int_gt(refused_count, 3);
    ck_assert_int_lt(refused_count, 45);
    tear_down();
}
END_TEST

START_TEST(options_and_subscriptions_that_make_no_sense_are_refused)
{
    set_up();
    struct sluice_consumer_options options = {.name = "relay"};
    ck_assert_int_eq(sluice_consumer_open(&options, &consumer, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    options.name = "c";
    options.attempts_max = -1;
    ck_assert_int_eq(sluice_consumer_open(&options, &consumer, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "is negative"));
    open_consumer(1);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle, NULL, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "has a handler already"));
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "a b", handle, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    /* A stop before the run ends it at once. */
    sluice_consumer_stop(consumer);
    ck_assert_int_eq(sluice_consumer_run(consumer, &error), 0);
    sluice_consumer_close(consumer);
    sluice_consumer_close(NULL);
    tear_down();
}
END_TEST

UNIT_MAIN("consumer", an_event_is_applied_once_though_it_comes_again,
    a_failed_handler_is_undone_counted_and_called_again,
    a_poison_event_stops_its_key_and_nothing_else, a_redrive_applies_a_keys_events_in_order,
    an_outage_that_a_handler_reports_uses_up_no_attempt_and_keeps_the_order,
    a_held_event_that_asks_for_later_keeps_no_other_key_waiting,
    what_a_slow_handler_leaves_of_a_batch_is_applied_by_the_next_transaction,
    done_before_counts_as_a_duplicate_and_is_kept,
    a_handler_that_ends_the_transaction_stops_the_consumer_with_its_topic_named,
    a_full_disk_under_a_handler_is_an_outage_and_not_the_handlers_fault,
    a_consumer_without_free_descriptors_is_refused_and_not_a_crash,
    options_and_subscriptions_that_make_no_sense_are_refused)
