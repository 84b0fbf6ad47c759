/*
 * The relay with memory that runs out at any place of its work: every event reaches the log once
 * and in order, and none is condemned.
 */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "fault/sweep.h"
#include "store/store.h"
#include "support/sqlite_rows.h"
#include "support/temp.h"

enum { OPEN_STRIDE = 29, RUN_STRIDE = 19, EVENTS = 4, DEADLINE_MS = 10000 };

static struct temp temp;
static struct sluice_error error;
static uv_loop_t loop;
static struct sl_relay *relay;
static sqlite3 *app;
static sqlite3 *records;
static bool is_halted;
static struct sl_relay_options options;

static void on_halt(void *context, const struct sluice_error *reason)
{
    (void) context;
    error = *reason;
    is_halted = true;
}

static const char *text_of(sqlite3 *handle, const char *sql)
{
    static char text[256];
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    const unsigned char *value = sqlite3_column_text(statement, 0);
    snprintf(text, sizeof(text), "%s", value == NULL ? "" : (const char *) value);
    sqlite3_finalize(statement);
    return text;
}

static int open_relay(void)
{
    options.database = temp_url(&temp, "sqlite", "app.db");
    options.broker = temp_url(&temp, "local", "log.db");
    relay = NULL;
    return sl_relay_open(&options, &loop, on_halt, NULL, &relay, &error);
}

static void close_relay(void)
{
    sl_relay_close(relay);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void set_up(void)
{
    temp_make(&temp);
    sl_log_set_level(SL_LOG_ERROR);
    is_halted = false;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    options = (struct sl_relay_options) {
        .policy = {.attempts_max = 2, .retry_delay_ms = 1, .retry_delay_max_ms = 5},
        .batch_events_max = 3,
    };
    ck_assert_msg(open_relay() == 0, "%s", error.text);
    close_relay();
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &app), SQLITE_OK);
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "log.db"), &records), SQLITE_OK);
}

static void tear_down(void)
{
    sqlite3_close(app);
    sqlite3_close(records);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    temp_remove(&temp);
}

START_TEST(a_relay_that_cannot_be_opened_leaves_nothing_behind)
{
    set_up();
    SWEEP_EACH(sweep, OPEN_STRIDE)
    {
        sweep_arm(&sweep);
        int status = open_relay();
        sweep_disarm(&sweep, status, &error);
        ck_assert((relay == NULL) == (status != 0));
        close_relay();
    }
    /* What the relay itself allocates comes first, and would be passed over. */
    for (long countdown = 1; countdown < 6; countdown++) {
        sl_memory_fail_after(countdown);
        ck_assert_int_eq(open_relay(), -1);
        sl_memory_fail_after(0);
        ck_assert_int_eq(error.code, SLUICE_NO_MEMORY);
        close_relay();
    }
    tear_down();
}
END_TEST

/* New events of one key; with `is_held`, the first ones are held and due, the others wait. */
static void publish(bool is_held)
{
    run_sql(app,
        "BEGIN; DELETE FROM sluice_dead_letter;"
        "INSERT INTO sluice_outbox (topic, message_key, type, payload, headers)"
        " SELECT 't', 'k', 'T', value, '{\"h\":\"v\"}' FROM json_each('[1, 2, 3, 4]'); COMMIT");
    if (is_held) {
        run_sql(app,
            "INSERT INTO sluice_dead_letter (stage, event_id, position, topic, message_key, type,"
            " payload, headers, created_at, state, attempts, next_attempt_at, held_at, reason)"
            " VALUES ('relay', (SELECT printf('00000000-0000-7000-8000-%012d', max(position))"
            "  FROM sluice_outbox), 0, 't', 'k', 'T', '0', '{\"h\":\"v\"}', 1, 'RETRYING', 1, 1, 1,"
            "  'r')");
    }
}

static int64_t log_count(void)
{
    return strtoll(text_of(records, "SELECT count(*) FROM record"), NULL, 10);
}

/* Turn the loop until the log holds so many records. */
static void run_until(int64_t count)
{
    int64_t deadline_ms = sl_clock_monotonic_ms() + DEADLINE_MS;
    while (!is_halted &&
        sl_relay_stats(relay)->published_total + sl_relay_stats(relay)->redriven_total < count) {
        ck_assert(sl_clock_monotonic_ms() < deadline_ms);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void sweep_run(bool is_held)
{
    const int64_t wanted = EVENTS + (is_held ? 1 : 0);
    set_up();
    SWEEP_EACH(sweep, RUN_STRIDE)
    {
        char sql[200];
        publish(is_held);
        int64_t before = log_count();
        ck_assert_msg(open_relay() == 0, "%s", error.text);
        sweep_arm(&sweep);
        run_until(wanted);
        sweep_disarm(&sweep, is_halted ? -1 : 0, &error);
        ck_assert_msg(!is_halted, "allocation %ld: %s", sweep.countdown, error.text);
        close_relay();
        ck_assert_int_eq(log_count(), before + wanted);
        snprintf(sql, sizeof(sql),
            "SELECT group_concat(payload, '') FROM (SELECT payload FROM record ORDER BY place"
            " LIMIT 9 OFFSET %lld)",
            (long long) before);
        ck_assert_str_eq(text_of(records, sql), is_held ? "01234" : "1234");
        ck_assert_str_eq(text_of(app, "SELECT count(*) FROM sluice_dead_letter"), "0");
        ck_assert_str_eq(text_of(app,
                             "SELECT position - (SELECT max(position) FROM sluice_outbox)"
                             " FROM sluice_relay"),
            "0");
    }
    tear_down();
}

START_TEST(events_reach_the_log_once_and_in_order_whichever_allocation_fails)
{
    sweep_run(false);
}
END_TEST

START_TEST(held_events_go_once_and_before_those_that_wait_for_them)
{
    sweep_run(true);
}
END_TEST

FAULT_MAIN("fault_relay", a_relay_that_cannot_be_opened_leaves_nothing_behind,
    events_reach_the_log_once_and_in_order_whichever_allocation_fails,
    held_events_go_once_and_before_those_that_wait_for_them)
