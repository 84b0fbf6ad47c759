/*
 * libsluice with memory that runs out, as its user meets it.
 */
#include <sluice/consumer.h>
#include <sluice/inbox.h>
#include <sluice/outbox.h>

#include "broker/broker.h"
#include "fault/sweep.h"
#include "support/sqlite_rows.h"
#include "support/temp.h"

enum { OPEN_STRIDE = 23, RUN_STRIDE = 11, EVENTS = 3 };

static struct temp temp;
static struct sluice_error error;
static sqlite3 *handle;
static sluice_database *database;
static sluice_consumer *consumer;

static const struct sluice_header headers[] = {{"trace", "1"}, {"tenant", "a \"b\" c"}};
static const struct sluice_event event = {.topic = "t",
    .key = "k",
    .type = "T",
    .payload = "{}",
    .payload_size = 2,
    .headers = headers,
    .header_count = 2};

static void open_file(void)
{
    temp_make(&temp);
    int status = sluice_database_open(temp_url(&temp, "sqlite", "app.db"), &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    sluice_database_close(database);
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    ck_assert_int_eq(sqlite3_db_config(handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(handle, "CREATE TABLE effect (id)", NULL, NULL, NULL), SQLITE_OK);
}

static void close_file(void)
{
    sqlite3_close(handle);
    temp_remove(&temp);
}

static void adopt(void)
{
    int status = sluice_database_adopt_sqlite(handle, &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static const char *text_of(const char *sql)
{
    static char text[256];
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    snprintf(text, sizeof(text), "%s", (const char *) sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return text;
}

START_TEST(a_database_that_cannot_be_opened_or_adopted_leaves_nothing_behind)
{
    open_file();
    SWEEP_EACH(sweep, OPEN_STRIDE)
    {
        database = NULL;
        sweep_arm(&sweep);
        int status = sluice_database_open(temp_url(&temp, "sqlite", "app.db"), &database, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert((database == NULL) == (status != 0));
        sluice_database_close(database);
    }
    SWEEP(sweep)
    {
        database = NULL;
        sweep_arm(&sweep);
        int status = sluice_database_adopt_sqlite(handle, &database, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert((database == NULL) == (status != 0));
        sluice_database_close(database);
        ck_assert_int_eq(number_of(handle, "SELECT 1"), 1);
    }
    close_file();
}
END_TEST

START_TEST(a_publish_that_fails_leaves_the_transaction_with_what_it_held_or_takes_all_of_it)
{
    int still_open = 0;
    open_file();
    SWEEP(sweep)
    {
        char id[SLUICE_EVENT_ID_SIZE] = "untouched";
        adopt();
        ck_assert_int_eq(sluice_begin(database, &error), 0);
        ck_assert_int_eq(sluice_publish(database, &event, NULL, &error), 0);
        sluice_rollback(database, NULL);
        sluice_database_close(database);
        adopt();
        ck_assert_int_eq(sluice_begin(database, &error), 0);
        ck_assert_int_eq(
            sqlite3_exec(handle, "INSERT INTO effect VALUES (1)", NULL, NULL, NULL), SQLITE_OK);
        sweep_arm(&sweep);
        int status = sluice_publish(database, &event, id, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert((strcmp(id, "untouched") == 0) == (status != 0));
        bool is_open = sqlite3_get_autocommit(handle) == 0;
        ck_assert_int_eq(
            number_of(handle, "SELECT count(*) FROM sluice_outbox"), status == 0 ? 1 : 0);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM effect"), is_open ? 1 : 0);
        if (!is_open) {
            /* What the service does next cannot go on as if nothing had happened. */
            ck_assert_int_eq(sluice_publish(database, &event, id, &error), -1);
            ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
            ck_assert_int_eq(sluice_commit(database, &error), -1);
            ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
            ck_assert_int_eq(sluice_begin(database, &error), 0);
        }
        still_open += status != 0 && is_open ? 1 : 0;
        if (status != 0) {
            ck_assert_msg(sluice_publish(database, &event, id, &error) == 0, "%s", error.text);
        }
        ck_assert_str_eq(text_of("SELECT headers FROM sluice_outbox"),
            "{\"trace\":\"1\",\"tenant\":\"a \\\"b\\\" c\"}");
        sluice_rollback(database, NULL);
        sluice_database_close(database);
    }
    ck_assert_int_gt(still_open, 5);
    close_file();
}
END_TEST

START_TEST(begin_and_commit_are_done_or_not)
{
    open_file();
    SWEEP(sweep)
    {
        adopt();
        sweep_arm(&sweep);
        int status = sluice_begin(database, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert((sqlite3_get_autocommit(handle) == 0) == (status == 0));
        sluice_rollback(database, NULL);
        sluice_database_close(database);
    }
    SWEEP(sweep)
    {
        adopt();
        int64_t before = number_of(handle, "SELECT count(*) FROM sluice_outbox");
        ck_assert_int_eq(sluice_begin(database, &error), 0);
        ck_assert_int_eq(sluice_publish(database, &event, NULL, &error), 0);
        sweep_arm(&sweep);
        int status = sluice_commit(database, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_ne(sqlite3_get_autocommit(handle), 0);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_outbox"),
            before + (status == 0 ? 1 : 0));
        sluice_database_close(database);
    }
    close_file();
}
END_TEST

START_TEST(a_marker_is_new_until_it_is_there)
{
    open_file();
    SWEEP(sweep)
    {
        int is_new = -5;
        static const char id[] = "00000000-0000-7000-8000-000000000009";
        adopt();
        ck_assert_int_eq(sluice_begin(database, &error), 0);
        sweep_arm(&sweep);
        int status = sluice_inbox_begin(database, "c", id, &is_new, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(is_new, status == 0 ? 1 : -5);
        ck_assert_int_eq(
            number_of(handle, "SELECT count(*) FROM sluice_inbox"), status == 0 ? 1 : 0);
        sluice_rollback(database, NULL);
        sluice_database_close(database);
    }
    close_file();
}
END_TEST

/* Writes its effect, and fails if it cannot, as a service would. Stops when all are there. */
static enum sluice_outcome handle_event(sluice_database *inside, const struct sluice_event *taken,
    void *context, struct sluice_error *reason)
{
    (void) context;
    char sql[100];
    sqlite3 *own = sluice_database_sqlite(inside);
    snprintf(sql, sizeof(sql), "INSERT INTO effect VALUES ('%s')", taken->id);
    if (sqlite3_exec(own, sql, NULL, NULL, NULL) != SQLITE_OK) {
        snprintf(reason->text, sizeof(reason->text), "%s", sqlite3_errmsg(own));
        return SLUICE_FAILED;
    }
    if (strcmp(taken->type, "Last") == 0) {
        sluice_consumer_stop(consumer);
    }
    return SLUICE_APPLIED;
}

static void fill_log(void)
{
    struct sl_broker *broker;
    struct sl_event events[EVENTS];
    struct sl_append piece = {
        .events = events, .count = EVENTS, .source_id = "s", .position_after = {0, EVENTS}};
    size_t rejected;
    ck_assert_int_eq(sl_broker_open(temp_url(&temp, "local", "log.db"), &broker, &error), 0);
    for (int i = 0; i < EVENTS; i++) {
        events[i] = (struct sl_event) {
            .topic = SL_TEXT("t"),
            .has_key = true,
            .key = SL_TEXT("k"),
            .type = sl_text_of(i == EVENTS - 1 ? "Last" : "T"),
            .payload = SL_TEXT("{}"),
            .headers = SL_TEXT("{\"h\":\"v\"}"),
        };
        snprintf(events[i].id, sizeof(events[i].id), "00000000-0000-7000-8000-%012d", i);
    }
    ck_assert_int_eq(sl_broker_append(broker, &piece, &rejected, &error), 0);
    sl_broker_close(broker);
}

static int open_consumer(void)
{
    struct sluice_consumer_options options = {
        .name = "c",
        .database = temp_url(&temp, "sqlite", "app.db"),
        .broker = temp_url(&temp, "local", "log.db"),
        .retry_delay_ms = 1,
    };
    consumer = NULL;
    return sluice_consumer_open(&options, &consumer, &error);
}

START_TEST(a_consumer_that_cannot_be_opened_leaves_nothing_behind)
{
    open_file();
    fill_log();
    SWEEP_EACH(sweep, 2 * OPEN_STRIDE)
    {
        sweep_arm(&sweep);
        int status = open_consumer();
        sweep_disarm(&sweep, status, &error);
        ck_assert((consumer == NULL) == (status != 0));
        sluice_consumer_close(consumer);
    }
    /* The name and the object itself come first, and would be passed over. */
    for (long countdown = 1; countdown < 6; countdown++) {
        sl_memory_fail_after(countdown);
        ck_assert_int_eq(open_consumer(), -1);
        sl_memory_fail_after(0);
        ck_assert_int_eq(error.code, SLUICE_NO_MEMORY);
    }
    close_file();
}
END_TEST

START_TEST(a_subscription_that_fails_can_be_made_again)
{
    open_file();
    fill_log();
    ck_assert_int_eq(open_consumer(), 0);
    sl_memory_fail_after(1);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle_event, NULL, &error), -1);
    sl_memory_fail_after(0);
    ck_assert_int_eq(error.code, SLUICE_NO_MEMORY);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle_event, NULL, &error), 0);
    sluice_consumer_close(consumer);
    close_file();
}
END_TEST

/* Run until the last event has been handled. Memory may run out before the loop turns. */
static void run_consumer(struct sweep *sweep)
{
    ck_assert_msg(open_consumer() == 0, "%s", error.text);
    ck_assert_int_eq(sluice_consumer_subscribe(consumer, "t", handle_event, NULL, &error), 0);
    int status = 0;
    if (sweep != NULL) {
        sweep_arm(sweep);
        status = sluice_consumer_run(consumer, &error);
        sweep_disarm(sweep, status, &error);
    }
    if (sweep == NULL || status != 0) {
        status = sluice_consumer_run(consumer, &error);
        ck_assert_msg(status == 0, "%s", error.text);
    }
    sluice_consumer_close(consumer);
}

START_TEST(effects_happen_once_whichever_allocation_of_a_run_fails)
{
    open_file();
    fill_log();
    SWEEP_EACH(sweep, RUN_STRIDE)
    {
        ck_assert_int_eq(sqlite3_exec(handle,
                             "DELETE FROM effect; DELETE FROM sluice_inbox;"
                             "DELETE FROM sluice_dead_letter; DELETE FROM sluice_consumer;",
                             NULL, NULL, NULL),
            SQLITE_OK);
        unlink(temp_url(&temp, "", "log.db"));
        unlink(temp_url(&temp, "", "log.db-wal"));
        unlink(temp_url(&temp, "", "log.db-shm"));
        fill_log();
        run_consumer(&sweep);
        /* The last transaction may have failed after the stop: the next run completes it. */
        if (number_of(handle, "SELECT count(*) FROM effect") < EVENTS) {
            run_consumer(NULL);
        }
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM effect"), EVENTS);
        ck_assert_int_eq(number_of(handle, "SELECT count(DISTINCT id) FROM effect"), EVENTS);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_inbox"), EVENTS);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_dead_letter"), 0);
    }
    close_file();
}
END_TEST

FAULT_MAIN("fault_lib", a_database_that_cannot_be_opened_or_adopted_leaves_nothing_behind,
    a_publish_that_fails_leaves_the_transaction_with_what_it_held_or_takes_all_of_it,
    begin_and_commit_are_done_or_not, a_marker_is_new_until_it_is_there,
    a_consumer_that_cannot_be_opened_leaves_nothing_behind,
    a_subscription_that_fails_can_be_made_again,
    effects_happen_once_whichever_allocation_of_a_run_fails)
