/*
 * Transactions, listeners, tasks and workers with memory that runs out.
 */
#include <sluice/listener.h>
#include <sluice/query.h>
#include <sluice/worker.h>
#include <uv.h>

#include "fault/sweep.h"
#include "support/sqlite_rows.h"
#include "support/temp.h"

enum { STRIDE = 7 };

static struct temp temp;
static struct sluice_error error;
static sqlite3 *handle;
static sluice_database *database;
static const char *url;

static void open_file(void)
{
    temp_make(&temp);
    url = temp_url(&temp, "sqlite", "app.db");
    int status = sluice_database_open(url, &database, &error);
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
    ck_assert_int_eq(sluice_database_set_url(database, url, &error), 0);
}

static void clear(void)
{
    ck_assert_int_eq(
        sqlite3_exec(handle, "DELETE FROM effect; DELETE FROM sluice_outbox", NULL, NULL, NULL),
        SQLITE_OK);
}

static int put(sluice_database *inside, struct sluice_error *why)
{
    return sluice_execute(inside, "INSERT INTO effect VALUES (1)", NULL, 0, NULL, why);
}

static int publish(sluice_database *inside, const char *type, struct sluice_error *why)
{
    struct sluice_header header = {"trace", "1"};
    struct sluice_event event = {.topic = "t",
        .key = "k",
        .type = type,
        .payload = "{}",
        .payload_size = 2,
        .headers = &header,
        .header_count = 1};
    return sluice_publish(inside, &event, NULL, why);
}

/* One effect and one event by each of: the work, its nested step, a listener, a task. */
static int step(sluice_database *inside, void *context, struct sluice_error *why)
{
    return put(inside, why) != 0 ? -1 : publish(inside, context, why);
}

static int work(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    return step(inside, "Work", why) != 0
        ? -1
        : sluice_transaction(inside, SLUICE_NESTED, step, "Nested", why);
}

static int before(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) notice;
    (void) context;
    return step(inside, "Before", why);
}

static sluice_task *begin_task(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    sluice_task *task = NULL;
    (void) notice;
    (void) context;
    return sluice_task_work(inside, step, "Task", &task, why) == 0 ? task : NULL;
}

/* Every listener after the end is told, and nothing else fails it than memory. */
static int told;
static int own_effects;

static int after(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) context;
    told++;
    if (notice->completion != SLUICE_COMMITTED) {
        return 0;
    }
    int status = sluice_transaction(inside, SLUICE_REQUIRES_NEW, step, "Own", why);
    own_effects += status == 0 ? 1 : 0;
    return status;
}

static void on_failure(const char *listener, const struct sluice_event *event,
    const struct sluice_error *why, void *context)
{
    (void) event;
    (void) context;
    ck_assert_str_eq(listener, "after");
    ck_assert_msg(why->reaction == SLUICE_RETRY, "%s", why->text);
}

static void add_listeners(void)
{
    struct sluice_listener_options options = {
        .name = "before", .topic = "t", .type = "Work", .phase = SLUICE_BEFORE_COMMIT};
    ck_assert_int_eq(sluice_listen(database, &options, before, &error), 0);
    options = (struct sluice_listener_options) {.name = "async", .type = "Work"};
    ck_assert_int_eq(sluice_listen_async(database, &options, begin_task, &error), 0);
    options = (struct sluice_listener_options) {
        .name = "after", .type = "Work", .phase = SLUICE_AFTER_COMPLETION};
    ck_assert_int_eq(sluice_listen(database, &options, after, &error), 0);
    sluice_on_listener_failure(database, on_failure, NULL);
}

START_TEST(a_transaction_with_listeners_and_tasks_is_there_or_not)
{
    open_file();
    SWEEP(sweep)
    {
        clear();
        told = 0;
        own_effects = 0;
        adopt();
        add_listeners();
        sweep_arm(&sweep);
        int status = sluice_transaction(database, SLUICE_REQUIRED, work, NULL, &error);
        sweep_disarm(&sweep, status, &error);
        int effects = (status == 0 ? 4 : 0) + own_effects;
        ck_assert_int_ne(sqlite3_get_autocommit(handle), 0);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM effect"), effects);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_outbox"), effects);
        ck_assert_int_le(told, 1);
        ck_assert(told == 1 || status != 0);
        /* The connection is fit for more, whatever could not be set back. */
        status = sluice_transaction(database, SLUICE_REQUIRED, step, "More", &error);
        ck_assert_msg(status == 0, "allocation %ld: %s", sweep.countdown, error.text);
        sluice_database_close(database);
    }
    close_file();
}
END_TEST

START_TEST(a_listener_that_cannot_be_registered_can_be_registered_again)
{
    open_file();
    SWEEP(sweep)
    {
        struct sluice_listener_options options = {
            .name = "l", .topic = "t", .type = "Work", .phase = SLUICE_BEFORE_COMMIT};
        adopt();
        sweep_arm(&sweep);
        int status = sluice_listen(database, &options, before, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(sluice_listen(database, &options, before, &error), status == 0 ? -1 : 0);
        sluice_database_close(database);
    }
    SWEEP_EACH(sweep, STRIDE)
    {
        struct sluice_listener_options options = {.name = "l", .type = "Work"};
        adopt();
        sweep_arm(&sweep);
        int status = sluice_listen_detached(database, &options, before, &error);
        sweep_disarm(&sweep, status, &error);
        sluice_database_close(database);
    }
    close_file();
}
END_TEST

START_TEST(a_connection_beside_that_cannot_be_opened_leaves_the_outer_transaction_as_it_was)
{
    open_file();
    SWEEP_EACH(sweep, STRIDE)
    {
        clear();
        adopt();
        ck_assert_int_eq(
            sqlite3_exec(handle, "BEGIN; SELECT * FROM effect", NULL, NULL, NULL), SQLITE_OK);
        sweep_arm(&sweep);
        int status = sluice_transaction(database, SLUICE_REQUIRES_NEW, step, "Own", &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(sqlite3_get_autocommit(handle), 0);
        ck_assert_int_eq(sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM effect"), status == 0 ? 1 : 0);
        sluice_database_close(database);
    }
    close_file();
}
END_TEST

static void on_done(void *context, const struct sluice_error *why)
{
    int *done = context;
    ck_assert(why == NULL);
    (*done)++;
}

START_TEST(a_worker_that_cannot_be_opened_or_started_leaves_nothing_behind)
{
    open_file();
    SWEEP_EACH(sweep, STRIDE)
    {
        uv_loop_t loop;
        sluice_worker *worker = NULL;
        int done = 0;
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        sweep_arm(&sweep);
        int status = sluice_worker_open(url, &loop, &worker, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert((worker == NULL) == (status != 0));
        if (status == 0) {
            sl_memory_fail_after(1);
            ck_assert_int_eq(sluice_worker_start(worker, step, on_done, &done, NULL, &error), -1);
            sl_memory_fail_after(0);
            ck_assert_int_eq(error.code, SLUICE_NO_MEMORY);
        }
        sluice_worker_close(worker, NULL, NULL);
        ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        ck_assert_int_eq(done, 0);
    }
    close_file();
}
END_TEST

FAULT_MAIN("fault_transaction", a_transaction_with_listeners_and_tasks_is_there_or_not,
    a_listener_that_cannot_be_registered_can_be_registered_again,
    a_connection_beside_that_cannot_be_opened_leaves_the_outer_transaction_as_it_was,
    a_worker_that_cannot_be_opened_or_started_leaves_nothing_behind)
