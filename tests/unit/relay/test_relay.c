#include "relay/relay.h"

#include <sqlite3.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "store/store.h"
#include "support/temp.h"
#include "support/unit.h"

enum { DEADLINE_MS = 15000 };

static struct temp temp;
static uv_loop_t loop;
static struct sl_relay *relay;
static struct sluice_error error;
static struct sluice_error halt_error;
static bool is_halted;
static struct sl_relay_options options;

static void on_halt(void *context, const struct sluice_error *reason)
{
    (void) context;
    is_halted = true;
    halt_error = *reason;
}

static void set_up(void)
{
    temp_make(&temp);
    is_halted = false;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    options = (struct sl_relay_options) {
        .policy = {.attempts_max = 2, .retry_delay_ms = 1, .retry_delay_max_ms = 5},
        .batch_events_max = 10,
    };
    struct sl_store *store;
    ck_assert_int_eq(
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_CREATE, &store, &error), 0);
    sl_store_close(store);
}

static void open_relay(void)
{
    options.database = temp_url(&temp, "sqlite", "app.db");
    options.broker = temp_url(&temp, "local", "log.db");
    int status = sl_relay_open(&options, &loop, on_halt, NULL, &relay, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_relay(void)
{
    sl_relay_close(relay);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void tear_down(void)
{
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    temp_remove(&temp);
}

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", file), &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 5000);
    char *text = NULL;
    int result = sqlite3_exec(handle, sql, NULL, NULL, &text);
    ck_assert_msg(result == SQLITE_OK, "%s", text);
    sqlite3_close(handle);
}

static const char *query(const char *file, const char *sql)
{
    static char text[256];
    sqlite3 *handle;
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", file), &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 5000);
    text[0] = '\0';
    if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0) != NULL) {
        snprintf(text, sizeof(text), "%s", (const char *) sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return text;
}

static void publish(const char *key, const char *topic)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
        "INSERT INTO sluice_outbox (topic, message_key, type, payload) "
        "VALUES ('%s', '%s', 'T', '{}')",
        topic, key);
    run_sql("app.db", sql);
}

/* An event that the log refuses for its headers, between good ones of the same topic and key. */
static void publish_poison(const char *key)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
        "INSERT INTO sluice_outbox (topic, message_key, type, payload, headers) "
        "VALUES ('t', '%s', 'Poison', '{}', '[]')",
        key);
    run_sql("app.db", sql);
}

/* Turn the loop until a query gives what is expected. */
static void wait_for(const char *file, const char *sql, const char *expected)
{
    int64_t deadline_ms = sl_clock_monotonic_ms() + DEADLINE_MS;
    while (strcmp(query(file, sql), expected) != 0) {
        ck_assert_msg(sl_clock_monotonic_ms() < deadline_ms, "%s gives \"%s\", not \"%s\"", sql,
            query(file, sql), expected);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void wait_for_halt(void)
{
    int64_t deadline_ms = sl_clock_monotonic_ms() + DEADLINE_MS;
    while (!is_halted) {
        ck_assert(sl_clock_monotonic_ms() < deadline_ms);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

#define KEYS_IN_LOG "SELECT group_concat(message_key) FROM record"

START_TEST(what_another_process_commits_reaches_the_log_in_order)
{
    set_up();
    publish("before", "t");
    open_relay();
    wait_for("log.db", KEYS_IN_LOG, "before");
    for (int i = 0; i < 25; i++) {
        publish("k", "t");
    }
    wait_for("log.db", "SELECT count(*) FROM record", "26");
    ck_assert_str_eq(query("log.db",
                         "SELECT count(*) FROM record a JOIN record b"
                         " ON a.place < b.place AND a.message_key = b.message_key"
                         " AND a.created_at > b.created_at"),
        "0");
    wait_for("app.db", "SELECT position FROM sluice_relay", "26");
    ck_assert_int_eq(sl_relay_stats(relay)->published_total, 26);
    close_relay();
    tear_down();
}
END_TEST

START_TEST(a_restart_sends_nothing_again_though_the_store_was_not_told)
{
    set_up();
    publish("a", "t");
    open_relay();
    wait_for("log.db", KEYS_IN_LOG, "a");
    close_relay();
    /* As after a SIGKILL between the append and its confirmation. */
    run_sql("app.db", "UPDATE sluice_relay SET position = 0");
    publish("b", "t");
    open_relay();
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    close_relay();
    tear_down();
}
END_TEST

#define STATES_OF_ALONE                                                                            \
    "SELECT group_concat(state) FROM sluice_dead_letter WHERE message_key = 'alone'"

START_TEST(a_poison_event_is_held_with_its_key_and_other_keys_flow)
{
    set_up();
    publish("good", "t");
    publish("bad", "no topic");
    publish("good", "t");
    publish("bad", "no topic");
    open_relay();
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    wait_for("app.db", "SELECT group_concat(state || ' ' || attempts) FROM sluice_dead_letter",
        "FAILED_PERMANENTLY 2,WAITING 0");
    ck_assert_ptr_nonnull(strstr(
        query("app.db", "SELECT reason FROM sluice_dead_letter"), "'no topic' is no topic name"));
    wait_for("app.db", "SELECT position FROM sluice_relay", "4");
    publish_poison("alone");
    wait_for("app.db", STATES_OF_ALONE, "FAILED_PERMANENTLY");
    publish("alone", "t"); /* after that one has failed for good, and before anybody redrives it */
    wait_for("app.db", "SELECT position FROM sluice_relay", "6");
    ck_assert_str_eq(query("app.db", STATES_OF_ALONE), "FAILED_PERMANENTLY,WAITING");
    close_relay();
    tear_down();
}
END_TEST

START_TEST(what_stands_before_a_poison_event_in_its_batch_is_sent_and_what_is_behind_it_waits)
{
    set_up();
    publish("k", "t");
    publish_poison("k");
    publish("k", "t");
    publish("l", "t");
    open_relay();
    wait_for("app.db", "SELECT group_concat(type || ' ' || state) FROM sluice_dead_letter",
        "Poison FAILED_PERMANENTLY,T WAITING");
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    wait_for("app.db", "SELECT position FROM sluice_relay", "4");
    ck_assert_str_eq(query("log.db", "SELECT count(*) FROM record WHERE message_key = 'k'"), "1");
    close_relay();
    tear_down();
}
END_TEST

START_TEST(a_redrive_sends_a_keys_events_in_order_and_frees_the_key)
{
    set_up();
    publish("k", "no topic");
    open_relay();
    wait_for("app.db", "SELECT state FROM sluice_dead_letter", "FAILED_PERMANENTLY");
    run_sql("app.db", "UPDATE sluice_dead_letter SET topic = 't'");
    publish("k", "t");
    wait_for("app.db", "SELECT count(*) FROM sluice_dead_letter", "2");
    ck_assert_str_eq(query("log.db", "SELECT count(*) FROM record"), "0");
    run_sql("app.db",
        "UPDATE sluice_dead_letter SET state = 'RETRYING', attempts = 0, next_attempt_at = 0 "
        "WHERE state = 'FAILED_PERMANENTLY'");
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    wait_for("app.db", "SELECT count(*) FROM sluice_dead_letter", "0");
    publish("k", "t");
    wait_for("log.db", "SELECT count(*) FROM record", "3");
    /* Offsets within the one partition of the key follow the outbox. */
    char published[256];
    snprintf(published, sizeof(published), "%s",
        query("app.db",
            "SELECT group_concat(substr(id, 1, 13) || substr(id, -6)) FROM "
            "(SELECT id FROM sluice_outbox ORDER BY position)"));
    ck_assert_str_eq(query("log.db",
                         "SELECT group_concat(substr(event_id, 1, 13) || substr(event_id, -6)) "
                         "FROM (SELECT event_id FROM record ORDER BY place)"),
        published);
    close_relay();
    tear_down();
}
END_TEST

START_TEST(halt_stops_at_a_poison_event_and_says_which)
{
    set_up();
    options.policy.on_poison = SL_POISON_HALT;
    options.policy.attempts_max = 1;
    publish("k", "no topic");
    publish("l", "t");
    open_relay();
    wait_for_halt();
    ck_assert_ptr_nonnull(strstr(halt_error.text, "relay.on_poison is halt"));
    ck_assert_str_eq(query("log.db", "SELECT count(*) FROM record"), "0");
    close_relay();
    tear_down();
}
END_TEST

START_TEST(a_database_that_was_set_back_stops_the_relay_with_the_way_out)
{
    set_up();
    publish("a", "t");
    publish("b", "t");
    open_relay();
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    close_relay();
    run_sql("app.db",
        "DELETE FROM sluice_outbox WHERE position = 2; UPDATE sluice_relay SET position = 1;"
        "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'sluice_outbox'");
    open_relay();
    wait_for_halt();
    ck_assert_ptr_nonnull(strstr(halt_error.text, "restored from a backup"));
    ck_assert_ptr_nonnull(strstr(halt_error.text, "sluice init --new-identity"));
    close_relay();
    tear_down();
}
END_TEST

START_TEST(a_lost_log_gets_the_retained_rows_again_and_a_gap_is_never_silent)
{
    set_up();
    publish("a", "t");
    publish("b", "t");
    open_relay();
    wait_for("app.db", "SELECT position FROM sluice_relay", "2");
    close_relay();
    run_sql("log.db", "DELETE FROM record; DELETE FROM source");
    open_relay();
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    close_relay();
    run_sql("log.db", "DELETE FROM record; DELETE FROM source");
    run_sql("app.db", "DELETE FROM sluice_outbox WHERE position = 1");
    open_relay();
    wait_for_halt();
    ck_assert_ptr_nonnull(strstr(halt_error.text, "no longer retained"));
    close_relay();
    tear_down();
}
END_TEST

START_TEST(two_relays_at_once_send_each_event_once)
{
    set_up();
    open_relay();
    struct sl_relay *second = NULL;
    ck_assert_int_eq(sl_relay_open(
                         &(struct sl_relay_options) {
                             .database = temp_url(&temp, "sqlite", "app.db"),
                             .broker = temp_url(&temp, "local", "log.db"),
                             .policy = options.policy,
                             .batch_events_max = 10,
                         },
                         &loop, on_halt, NULL, &second, &error),
        0);
    for (int i = 0; i < 50; i++) {
        publish("k", "t");
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    wait_for("log.db", "SELECT count(*) || '/' || count(DISTINCT event_id) FROM record", "50/50");
    sl_relay_close(second);
    close_relay();
    tear_down();
}
END_TEST

START_TEST(a_locked_log_is_waited_for_and_uses_up_no_attempt)
{
    set_up();
    open_relay();
    publish("a", "t");
    wait_for("log.db", "SELECT count(*) FROM record", "1");
    sqlite3 *locker;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "log.db"), &locker), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    publish("b", "t");
    int64_t deadline_ms = sl_clock_monotonic_ms() + DEADLINE_MS;
    while (sl_relay_stats(relay)->outages_total == 0) {
        ck_assert(sl_clock_monotonic_ms() < deadline_ms);
        uv_run(&loop, UV_RUN_ONCE);
    }
    sqlite3_exec(locker, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(locker);
    wait_for("log.db", "SELECT count(*) FROM record", "2");
    ck_assert_str_eq(query("app.db", "SELECT count(*) FROM sluice_dead_letter"), "0");
    close_relay();
    tear_down();
}
END_TEST

START_TEST(a_backlog_leaves_the_loop_its_turns)
{
    set_up();
    run_sql("app.db",
        "INSERT INTO sluice_outbox (topic, message_key, type, payload) WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT 't', 'k', 'T', '{}' FROM "
        "n");
    open_relay();
    int64_t published = 0;
    while (published == 0) {
        uv_run(&loop, UV_RUN_ONCE);
        published = sl_relay_stats(relay)->published_total;
    }
    ck_assert_int_lt(published, 3000);
    close_relay(); /* a stop is heard, too */
    ck_assert_str_ne(query("log.db", "SELECT count(*) FROM record"), "3000");
    tear_down();
}
END_TEST

UNIT_MAIN("relay", what_another_process_commits_reaches_the_log_in_order,
    a_restart_sends_nothing_again_though_the_store_was_not_told,
    a_poison_event_is_held_with_its_key_and_other_keys_flow,
    what_stands_before_a_poison_event_in_its_batch_is_sent_and_what_is_behind_it_waits,
    a_redrive_sends_a_keys_events_in_order_and_frees_the_key,
    halt_stops_at_a_poison_event_and_says_which,
    a_database_that_was_set_back_stops_the_relay_with_the_way_out,
    a_lost_log_gets_the_retained_rows_again_and_a_gap_is_never_silent,
    two_relays_at_once_send_each_event_once, a_locked_log_is_waited_for_and_uses_up_no_attempt,
    a_backlog_leaves_the_loop_its_turns)
