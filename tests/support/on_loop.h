/*
 * tests/support/on_loop.h - workers on a test's own loop, and what their jobs end with.
 */
#ifndef TESTS_SUPPORT_ON_LOOP_H
#define TESTS_SUPPORT_ON_LOOP_H

#include <pthread.h>
#include <sluice/worker.h>
#include <uv.h>

#include "support/wallet.h"

enum { WORKERS_MAX = 12 };

static uv_loop_t loop;
static sluice_worker *workers[WORKERS_MAX];
static int worker_count;
static int closed_count;
static pthread_t loop_thread;

static inline sluice_worker *open_one(const char *url)
{
    sluice_worker *worker = NULL;
    int status = sluice_worker_open_on_loop(url, &loop, &worker, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sluice_worker_has_thread(worker), test_database_is("postgresql") ? 0 : 1);
    workers[worker_count++] = worker;
    return worker;
}

static inline void set_up(int count)
{
    open_wallet();
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    loop_thread = pthread_self();
    worker_count = 0;
    closed_count = 0;
    while (worker_count < count) {
        open_one(place.url);
    }
}

static inline void on_closed(void *context)
{
    ck_assert_ptr_eq(context, &loop);
    closed_count++;
}

static inline void run_loop(void)
{
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
}

static inline void tear_down(void)
{
    for (int i = 0; i < worker_count; i++) {
        sluice_worker_close(workers[i], on_closed, &loop);
    }
    run_loop();
    ck_assert_int_eq(closed_count, worker_count);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    close_wallet();
}

/* One job, and how it ended. */
struct errand {
    const char *word;
    int number;
    sluice_job *job;
    bool is_done;
    enum sluice_code code;
    struct sluice_error error;
    void (*then)(struct errand *errand);
};

static inline void on_done(void *context, const struct sluice_error *why)
{
    struct errand *errand = context;
    ck_assert(pthread_equal(loop_thread, pthread_self()));
    ck_assert(!errand->is_done);
    errand->is_done = true;
    errand->code = why == NULL ? SLUICE_OK : why->code;
    if (why != NULL) {
        errand->error = *why;
    }
    if (errand->then != NULL) {
        errand->then(errand);
    }
}

static inline void start_on(sluice_worker *worker, struct errand *errand, sluice_work work)
{
    int status = sluice_worker_start(worker, work, on_done, errand, &errand->job, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static inline void run_job(struct errand *errand, sluice_work work)
{
    start_on(workers[0], errand, work);
    run_loop();
    ck_assert(errand->is_done);
}

static inline int put_and_publish(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    ck_assert(!pthread_equal(loop_thread, pthread_self()) == !test_database_is("postgresql"));
    return put_word(inside, errand->word, why) != 0 ? -1 : publish_type(inside, errand->word, why);
}

/* A task that a work asks the loop for by the signal, and awaits. */
static uv_async_t wish;
static sluice_task *wished;

static inline int wish_and_await(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    ck_assert_int_eq(sluice_task_new(inside, &wished, why), 0);
    uv_async_send(&wish);
    return sluice_task_await(inside, wished, 0, why);
}

#endif
