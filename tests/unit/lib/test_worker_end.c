/*
 * Jobs of workers on a loop that are cancelled, closed, or lose their connection.
 */
#include <sluice/listener.h>

#include "support/on_loop.h"

/* What the loop's thread does while a work waits for it. */
static void (*meanwhile)(void);

static void on_wish(uv_async_t *signal)
{
    uv_close((uv_handle_t *) signal, NULL);
    meanwhile();
}

static void run_meanwhile(struct errand *errand, sluice_work work, void (*what)(void))
{
    meanwhile = what;
    ck_assert_int_eq(uv_async_init(&loop, &wish, on_wish), 0);
    run_job(errand, work);
}

/* Waits for somebody who is the test. */
static int await_wish(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    publish(inside, errand->word);
    ck_assert_int_eq(sluice_task_new(inside, &wished, why), 0);
    uv_async_send(&wish);
    int status = sluice_task_await(inside, wished, 25000, why);
    if (status != 0) {
        sluice_task_succeed(wished);
    }
    return status;
}

static struct errand *cancelled;

static void cancel(void)
{
    sluice_job_cancel(cancelled->job);
    sluice_job_cancel(cancelled->job);
}

static void check_next_job(const char *expected)
{
    struct errand next = {.word = "next"};
    run_job(&next, put_and_publish);
    ck_assert_msg(next.code == SLUICE_OK, "%s", next.error.text);
    ck_assert_str_eq(words(), expected);
    ck_assert_str_eq(types(), expected);
}

START_TEST(a_job_that_waits_for_a_task_is_cancelled_and_the_next_is_not)
{
    set_up(1);
    struct errand errand = {.word = "w"};
    cancelled = &errand;
    run_meanwhile(&errand, await_wish, cancel);
    ck_assert_int_eq(errand.code, SLUICE_CANCELLED);
    check_next_job("next");
    tear_down();
}
END_TEST

/* Cancelled from the loop's thread, which has its turn in the middle of the statement. */
static int run_for_ever(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    uv_async_send(&wish);
    const char *sleep = test_database_is("postgresql") ? "SELECT pg_sleep(25)" : "SELECT sleep(25)";
    return sluice_execute(inside,
        !has_one_writer() ? sleep
                          : "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM "
                            "number) SELECT count(*) FROM number",
        NULL, 0, NULL, why);
}

static uv_timer_t delay;

static void cancel_now(uv_timer_t *timer)
{
    uv_close((uv_handle_t *) timer, NULL);
    cancel();
}

static void cancel_soon(void)
{
    ck_assert_int_eq(uv_timer_init(&loop, &delay), 0);
    ck_assert_int_eq(uv_timer_start(&delay, cancel_now, 50, 0), 0);
}

START_TEST(a_statement_that_runs_is_interrupted_and_the_next_job_is_not)
{
    set_up(1);
    struct errand errand = {.word = "w"};
    cancelled = &errand;
    run_meanwhile(&errand, run_for_ever, cancel_soon);
    ck_assert_int_eq(errand.code, SLUICE_CANCELLED);
    check_next_job("next");
    tear_down();
}
END_TEST

static int never(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) inside;
    (void) context;
    (void) why;
    ck_abort_msg("a job that was cancelled before it began");
    return 0;
}

START_TEST(a_job_that_is_cancelled_before_it_begins_never_does)
{
    set_up(1);
    struct errand first = {.word = "first"};
    struct errand other = {.word = "other"};
    start_on(workers[0], &first, put_and_publish);
    start_on(workers[0], &other, never);
    sluice_job_cancel(other.job);
    run_loop();
    ck_assert_int_eq(first.code, SLUICE_OK);
    ck_assert_int_eq(other.code, SLUICE_CANCELLED);
    tear_down();
}
END_TEST

static void close_worker(void)
{
    sluice_worker_close(workers[0], on_closed, &loop);
}

START_TEST(a_worker_that_is_closed_in_the_middle_of_a_job_undoes_it_first)
{
    set_up(1);
    struct errand running = {.word = "running"};
    struct errand waiting = {.word = "waiting"};
    meanwhile = close_worker;
    ck_assert_int_eq(uv_async_init(&loop, &wish, on_wish), 0);
    start_on(workers[0], &running, await_wish);
    start_on(workers[0], &waiting, never);
    run_loop();
    ck_assert_int_eq(running.code, SLUICE_CANCELLED);
    ck_assert_int_eq(waiting.code, SLUICE_CANCELLED);
    ck_assert_int_eq(closed_count, 1);
    worker_count = 0; /* it is closed */
    closed_count = 0;
    ck_assert_str_eq(words(), "");
    ck_assert_str_eq(types(), "");
    tear_down();
}
END_TEST

static int lose_and_go_on(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    ck_assert_int_eq(lose_connection(inside, why), -1);
    return publish_type(inside, errand->word, why) == 0 ? -1 : 0; /* success is reported */
}

START_TEST(a_connection_that_is_lost_costs_its_job_and_is_made_again_for_the_next)
{
    set_up(1);
    if (!has_one_writer()) {
        struct errand errand = {.word = "lost"};
        run_job(&errand, lose_and_go_on);
        ck_assert_int_eq(errand.code, SLUICE_UNAVAILABLE);
        ck_assert_int_eq(errand.error.reaction, SLUICE_RETRY);
    }
    check_next_job("next");
    tear_down();
}
END_TEST

DATABASE_UNIT_MAIN("worker_end", a_job_that_waits_for_a_task_is_cancelled_and_the_next_is_not,
    a_statement_that_runs_is_interrupted_and_the_next_job_is_not,
    a_job_that_is_cancelled_before_it_begins_never_does,
    a_worker_that_is_closed_in_the_middle_of_a_job_undoes_it_first,
    a_connection_that_is_lost_costs_its_job_and_is_made_again_for_the_next)
