/*
 * Transactions beside a loop: done on its thread, cancelled, closed while they run.
 */
#include <pthread.h>
#include <sluice/listener.h>
#include <sluice/worker.h>
#include <stdatomic.h>
#include <uv.h>

#include "support/wallet.h"

static uv_loop_t loop;
static sluice_worker *worker;
static pthread_t loop_thread;
static bool is_closed;
static int open_jobs;
static char outcomes[400];

static void set_up(void)
{
    open_wallet();
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    int status = sluice_worker_open(place.url, &loop, &worker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    loop_thread = pthread_self();
    is_closed = false;
    open_jobs = 0;
    outcomes[0] = '\0';
}

static void on_closed(void *context)
{
    ck_assert_ptr_eq(context, &loop);
    ck_assert_int_eq(open_jobs, 0);
    is_closed = true;
}

static void tear_down(void)
{
    sluice_worker_close(worker, on_closed, &loop);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert(is_closed);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    close_wallet();
}

/* What a job does, and what it waits for. */
struct errand {
    const char *word;
    sluice_job *job;
    uv_sem_t is_running;
    uv_sem_t may_end;
    bool is_blocking; /* posts `is_running`, then waits for `may_end` */
    bool is_ignoring; /* reports success though its statement fails */
};

static void on_done(void *context, const struct sluice_error *why)
{
    struct errand *errand = context;
    ck_assert(pthread_equal(loop_thread, pthread_self()));
    size_t end = strlen(outcomes);
    snprintf(outcomes + end, sizeof(outcomes) - end, "%s%s:%s", end == 0 ? "" : " ", errand->word,
        why == NULL ? "ok" : sluice_code_name(why->code) + strlen("SLUICE_"));
    open_jobs--;
}

static int run_errand(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    ck_assert(!pthread_equal(loop_thread, pthread_self()));
    if (errand->is_blocking) {
        uv_sem_post(&errand->is_running);
        uv_sem_wait(&errand->may_end);
    }
    return put_word(inside, errand->word, why);
}

static void start_work(struct errand *errand, sluice_work work)
{
    int status = sluice_worker_start(worker, work, on_done, errand, &errand->job, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    open_jobs++;
}

static void start(struct errand *errand)
{
    ck_assert_int_eq(uv_sem_init(&errand->is_running, 0), 0);
    ck_assert_int_eq(uv_sem_init(&errand->may_end, 0), 0);
    start_work(errand, run_errand);
}

static void finish(struct errand *errand)
{
    uv_sem_destroy(&errand->is_running);
    uv_sem_destroy(&errand->may_end);
}

START_TEST(jobs_run_one_after_the_other_and_are_done_on_the_loops_thread)
{
    set_up();
    struct errand errands[3] = {{.word = "a"}, {.word = "b"}, {.word = "a"}};
    for (int i = 0; i < 3; i++) {
        start(&errands[i]);
    }
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0); /* a worker at rest keeps no loop alive */
    ck_assert_str_eq(outcomes, "a:ok b:ok a:CONSTRAINT");
    ck_assert_str_eq(words(), "a b");
    for (int i = 0; i < 3; i++) {
        finish(&errands[i]);
    }
    tear_down();
}
END_TEST

START_TEST(a_job_that_is_cancelled_before_it_begins_never_does)
{
    set_up();
    struct errand first = {.word = "first", .is_blocking = true};
    struct errand second = {.word = "second"};
    start(&first);
    start(&second);
    uv_sem_wait(&first.is_running);
    sluice_job_cancel(second.job);
    sluice_job_cancel(second.job);
    uv_sem_post(&first.may_end);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_str_eq(words(), "first");
    ck_assert_ptr_nonnull(strstr(outcomes, "second:CANCELLED"));
    ck_assert_ptr_nonnull(strstr(outcomes, "first:ok"));
    finish(&first);
    finish(&second);
    tear_down();
}
END_TEST

START_TEST(a_job_that_is_cancelled_while_it_runs_does_not_commit)
{
    set_up();
    struct errand errand = {.word = "w", .is_blocking = true};
    start(&errand);
    uv_sem_wait(&errand.is_running);
    sluice_job_cancel(errand.job);
    uv_sem_post(&errand.may_end);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_str_eq(outcomes, "w:CANCELLED");
    ck_assert_str_eq(words(), "");
    /* The next job is not cancelled with it. */
    struct errand next = {.word = "next"};
    start(&next);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_str_eq(words(), "next");
    finish(&errand);
    finish(&next);
    tear_down();
}
END_TEST

/* A statement that would take for ever. */
static int count_for_ever(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    uv_sem_post(&errand->is_running);
    const char *sleep = test_database_is("postgresql") ? "SELECT pg_sleep(25)" : "SELECT sleep(25)";
    if (!has_one_writer()) {
        return sluice_execute(inside, sleep, NULL, 0, NULL, why);
    }
    return sluice_execute(inside,
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number)"
        " SELECT count(*) FROM number",
        NULL, 0, NULL, why);
}

START_TEST(a_statement_of_a_job_that_is_cancelled_is_interrupted)
{
    set_up();
    struct errand errand = {.word = "w"};
    ck_assert_int_eq(uv_sem_init(&errand.is_running, 0), 0);
    ck_assert_int_eq(uv_sem_init(&errand.may_end, 0), 0);
    start_work(&errand, count_for_ever);
    uv_sem_wait(&errand.is_running);
    struct timespec pause = {.tv_nsec = 50000000};
    nanosleep(&pause, NULL); /* the statement has begun by now, most likely */
    sluice_job_cancel(errand.job);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_str_eq(outcomes, "w:CANCELLED");
    ck_assert_str_eq(words(), "");
    finish(&errand);
    tear_down();
}
END_TEST

/* Waits for a promise that nobody keeps before it is cancelled. */
static int wait_for_nobody(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    sluice_task *task;
    put(inside, errand->word);
    ck_assert_int_eq(sluice_task_new(inside, &task, why), 0);
    uv_sem_post(&errand->is_running);
    int status = sluice_task_await(inside, task, 20000, why);
    ck_assert_int_eq(status, -1);
    sluice_task_succeed(task);
    return status;
}

START_TEST(a_job_that_waits_for_a_task_stops_waiting_when_it_is_cancelled)
{
    set_up();
    struct errand errand = {.word = "w"};
    ck_assert_int_eq(uv_sem_init(&errand.is_running, 0), 0);
    ck_assert_int_eq(uv_sem_init(&errand.may_end, 0), 0);
    start_work(&errand, wait_for_nobody);
    uv_sem_wait(&errand.is_running);
    sluice_job_cancel(errand.job);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_str_eq(outcomes, "w:CANCELLED");
    ck_assert_str_eq(words(), "");
    finish(&errand);
    tear_down();
}
END_TEST

START_TEST(a_worker_that_is_closed_while_it_works_ends_every_job_first)
{
    set_up();
    struct errand running = {.word = "running", .is_blocking = true};
    struct errand waiting = {.word = "waiting"};
    start(&running);
    start(&waiting);
    uv_sem_wait(&running.is_running);
    sluice_worker_close(worker, on_closed, &loop);
    sluice_worker_close(worker, on_closed, &loop);
    ck_assert_int_eq(sluice_worker_start(worker, run_errand, on_done, &waiting, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    uv_sem_post(&running.may_end);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert(is_closed);
    ck_assert_ptr_nonnull(strstr(outcomes, "running:CANCELLED"));
    ck_assert_ptr_nonnull(strstr(outcomes, "waiting:CANCELLED"));
    ck_assert_str_eq(words(), "");
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    finish(&running);
    finish(&waiting);
    close_wallet();
}
END_TEST

/* A promise kept by the loop's own thread, which a job waits for. */
static uv_async_t wish;
static sluice_task *wished;

static void grant(uv_async_t *signal)
{
    sluice_task_succeed(wished);
    uv_close((uv_handle_t *) signal, NULL);
}

static sluice_task *ask_the_loop(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    (void) notice;
    (void) context;
    ck_assert_int_eq(sluice_task_new(inside, &wished, why), 0);
    uv_async_send(&wish);
    return wished;
}

static int publish_word(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    return publish_type(inside, errand->word, why);
}

START_TEST(a_job_waits_for_what_the_loop_does_meanwhile)
{
    set_up();
    struct sluice_listener_options options = {.name = "asks"};
    struct errand errand = {.word = "w"};
    ck_assert_int_eq(uv_async_init(&loop, &wish, grant), 0);
    ck_assert_int_eq(
        sluice_listen_async(sluice_worker_database(worker), &options, ask_the_loop, &error), 0);
    start_work(&errand, publish_word);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_str_eq(outcomes, "w:ok");
    ck_assert_str_eq(words(), "w");
    tear_down();
}
END_TEST

START_TEST(a_worker_takes_so_many_jobs_and_refuses_one_more)
{
    set_up();
    struct errand first = {.word = "first", .is_blocking = true};
    struct errand others = {.word = "x", .is_ignoring = true};
    start(&first);
    uv_sem_wait(&first.is_running);
    for (int i = 1; i < SLUICE_JOBS_MAX; i++) {
        start_work(&others, run_errand);
    }
    ck_assert_int_eq(sluice_worker_start(worker, run_errand, on_done, &others, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_BUSY);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    uv_sem_post(&first.may_end);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(open_jobs, 0);
    ck_assert_str_eq(words(), "first x");
    finish(&first);
    tear_down();
}
END_TEST

START_TEST(a_worker_that_cannot_be_opened_says_why)
{
    set_up();
    sluice_worker *none = NULL;
    ck_assert_int_eq(sluice_worker_open(place.url, NULL, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(sluice_worker_open("nonsense", &loop, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(sluice_worker_start(NULL, run_errand, on_done, NULL, NULL, &error), -1);
    ck_assert_ptr_null(sluice_worker_database(NULL));
    sluice_worker_close(NULL, on_closed, NULL);
    tear_down();
}
END_TEST

DATABASE_UNIT_MAIN("worker", jobs_run_one_after_the_other_and_are_done_on_the_loops_thread,
    a_job_that_is_cancelled_before_it_begins_never_does,
    a_job_that_is_cancelled_while_it_runs_does_not_commit,
    a_statement_of_a_job_that_is_cancelled_is_interrupted,
    a_job_that_waits_for_a_task_stops_waiting_when_it_is_cancelled,
    a_worker_that_is_closed_while_it_works_ends_every_job_first,
    a_job_waits_for_what_the_loop_does_meanwhile, a_worker_takes_so_many_jobs_and_refuses_one_more,
    a_worker_that_cannot_be_opened_says_why)
