/*
 * A worker on the loop, on PostgreSQL, with memory that runs out.
 */
#include <sluice/query.h>
#include <sluice/task.h>
#include <sluice/worker.h>
#include <uv.h>

#include "base/fiber.h"
#include "fault/sweep.h"
#include "support/database.h"

enum { STRIDE = 5 };

static struct test_database place;
static struct sluice_error error;
static sluice_database *database; /* of the test's own */
static uv_loop_t loop;

static int count(const char *sql)
{
    PGconn *connection = sluice_database_postgresql(database);
    PGresult *result = PQexec(connection, sql);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQerrorMessage(connection));
    int number = (int) strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

static void set_up(void)
{
    int status = sluice_database_open(test_database_make(&place), &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    status = sluice_execute(database, "CREATE TABLE effect (id BIGINT)", NULL, 0, NULL, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
}

static void tear_down(void)
{
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    sluice_database_close(database);
    test_database_remove(&place);
}

static int step(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    struct sluice_event event = {
        .topic = "t", .key = "k", .type = "T", .payload = "{}", .payload_size = 2};
    return sluice_execute(inside, "INSERT INTO effect VALUES (1)", NULL, 0, NULL, why) != 0
        ? -1
        : sluice_publish(inside, &event, NULL, why);
}

/* An effect and an event of its own, behind a savepoint, and by a task. */
static int work(sluice_database *inside, void *context, struct sluice_error *why)
{
    sluice_task *task;
    return step(inside, context, why) != 0 ||
            sluice_transaction(inside, SLUICE_NESTED, step, context, why) != 0 ||
            sluice_task_work(inside, step, context, &task, why) != 0 ||
            sluice_task_await(inside, task, 0, why) != 0
        ? -1
        : 0;
}

struct outcome {
    int status;
    struct sluice_error error;
};

static void on_done(void *context, const struct sluice_error *why)
{
    struct outcome *outcome = context;
    outcome->status = why == NULL ? 0 : -1;
    if (why != NULL) {
        outcome->error = *why;
    }
}

static void run_loop(void)
{
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
}

START_TEST(a_job_on_the_loop_is_done_or_not)
{
    sluice_worker *worker;
    set_up();
    SWEEP(sweep)
    {
        struct outcome outcome = {.status = 1};
        ck_assert_int_eq(count("WITH d AS (DELETE FROM effect RETURNING 1), "
                               "o AS (DELETE FROM sluice.outbox RETURNING 1) SELECT 0"),
            0);
        int status = sluice_worker_open_on_loop(place.url, &loop, &worker, &error);
        ck_assert_msg(status == 0, "%s", error.text);
        sweep_arm(&sweep);
        status = sluice_worker_start(worker, work, on_done, &outcome, NULL, &error);
        if (status == 0) {
            run_loop();
            status = outcome.status;
            error = outcome.error;
        }
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_le(status, 0);
        ck_assert_int_eq(count("SELECT count(*) FROM effect"), status == 0 ? 3 : 0);
        ck_assert_int_eq(count("SELECT count(*) FROM sluice.outbox"), status == 0 ? 3 : 0);
        /* The worker is fit for more. */
        ck_assert_int_eq(sluice_worker_start(worker, step, on_done, &outcome, NULL, &error), 0);
        run_loop();
        ck_assert_msg(
            outcome.status == 0, "allocation %ld: %s", sweep.countdown, outcome.error.text);
        sluice_worker_close(worker, NULL, NULL);
        run_loop();
    }
    tear_down();
}
END_TEST

START_TEST(a_worker_on_the_loop_that_cannot_be_opened_leaves_nothing_behind)
{
    set_up();
    SWEEP_EACH(sweep, STRIDE)
    {
        sluice_worker *worker = NULL;
        sweep_arm(&sweep);
        int status = sluice_worker_open_on_loop(place.url, &loop, &worker, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert((worker == NULL) == (status != 0));
        sluice_worker_close(worker, NULL, NULL);
        run_loop();
    }
    tear_down();
}
END_TEST

static uv_async_t over; /* which the loop waits for */

static void end(uv_async_t *signal)
{
    uv_close((uv_handle_t *) signal, NULL);
}

static void wait_a_little(void *context)
{
    (void) context;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(sl_fiber_wait(ends[0], UV_READABLE, -1), SL_FIBER_READY);
    close(ends[0]);
    close(ends[1]);
    uv_async_send(&over);
}

START_TEST(a_fiber_without_memory_for_a_handle_waits_all_the_same)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    SWEEP(sweep)
    {
        struct sl_fiber *fiber = NULL;
        sweep_arm(&sweep);
        int status = sl_fiber_start(&loop, wait_a_little, NULL, &fiber, &error);
        if (status == 0) {
            ck_assert_int_eq(uv_async_init(&loop, &over, end), 0);
            run_loop();
        }
        sweep_disarm(&sweep, status, &error);
        sl_fiber_free(fiber);
        run_loop();
    }
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

UNIT_TESTS("fault_on_loop", a_job_on_the_loop_is_done_or_not,
    a_worker_on_the_loop_that_cannot_be_opened_leaves_nothing_behind,
    a_fiber_without_memory_for_a_handle_waits_all_the_same)

int main(void)
{
    setenv("SLUICE_TEST_DATABASE", "postgresql", 1);
    if (!test_database_is_there()) {
        return test_database_skip();
    }
    sweep_take_over();
    return run_unit_tests();
}
