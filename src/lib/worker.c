#include <sluice/worker.h>
#include <uv.h>

#include "base/error.h"
#include "base/memory.h"
#include "lib/background.h"
#include "lib/tasks.h"
#include "lib/transaction.h"

/*
 *            cancel                   thread                done (loop)
 * waiting    taken back, -> done      takes it -> running   -
 * running    the gate is told         ends     -> done      -
 * done       nothing                  -                     called, freed
 */
struct sluice_job {
    struct sl_job job;
    sluice_worker *worker;
    sluice_job *next_open; /* all that are not done; the loop's thread only */
    sluice_job **place_open;
    sluice_job *next_done; /* behind the worker's mutex */
    sluice_work work;
    sluice_job_done done;
    void *context;
    bool is_cancelled; /* written by the loop's thread, behind the mutex */
    int status;
    struct sluice_error error;
};

struct sluice_worker {
    struct sl_background *background;
    uv_async_t signal;
    uv_mutex_t mutex;
    sluice_job *running; /* behind the mutex */
    sluice_job *first_done;
    sluice_job **last_done;
    bool has_ended;
    sluice_job *open; /* the loop's thread only, as all below */
    size_t open_count;
    bool is_closing;
    void (*closed)(void *context);
    void *closed_context;
};

static void put_done(sluice_job *job)
{
    sluice_worker *worker = job->worker;
    uv_mutex_lock(&worker->mutex);
    worker->running = worker->running == job ? NULL : worker->running;
    job->next_done = NULL;
    *worker->last_done = job;
    worker->last_done = &job->next_done;
    uv_mutex_unlock(&worker->mutex);
    uv_async_send(&worker->signal);
}

static void run_job(struct sl_job *base, sluice_database *database)
{
    sluice_job *job = (sluice_job *)base;
    uv_mutex_lock(&job->worker->mutex);
    bool is_cancelled = job->is_cancelled;
    job->worker->running = job;
    sl_gate_open(database->gate);
    uv_mutex_unlock(&job->worker->mutex);
    job->status = is_cancelled ? sl_fail(&job->error, SLUICE_CANCELLED, SLUICE_REJECT,
                                     "cancelled before it began")
                               : sl_database_enter(database, &job->error);
    if (job->status == 0) {
        job->status =
            sl_transaction_run(database, SLUICE_REQUIRED, job->work, job->context, &job->error);
        sl_database_leave(database, job->status);
    }
    sl_gate_shut(database->gate);
    put_done(job);
}

static sluice_job *take_done(sluice_worker *worker, bool *ret_has_ended)
{
    uv_mutex_lock(&worker->mutex);
    sluice_job *job = worker->first_done;
    if (job != NULL) {
        worker->first_done = job->next_done;
        if (worker->first_done == NULL) {
            worker->last_done = &worker->first_done;
        }
    }
    *ret_has_ended = worker->has_ended;
    uv_mutex_unlock(&worker->mutex);
    return job;
}

static void finish(sluice_job *job)
{
    sluice_worker *worker = job->worker;
    *job->place_open = job->next_open;
    if (job->next_open != NULL) {
        job->next_open->place_open = job->place_open;
    }
    if (--worker->open_count == 0 && !worker->is_closing) {
        uv_unref((uv_handle_t *)&worker->signal);
    }
    if (job->status != 0 && job->is_cancelled && job->error.code != SLUICE_CANCELLED) {
        struct sluice_error reason = job->error;
        sl_fail(&job->error, SLUICE_CANCELLED, SLUICE_REJECT, "cancelled: %s", reason.text);
    }
    job->done(job->context, job->status == 0 ? NULL : &job->error);
    sl_free(job);
}

static void free_worker(uv_handle_t *signal)
{
    sluice_worker *worker = signal->data;
    void (*closed)(void *context) = worker->closed;
    void *context = worker->closed_context;
    uv_mutex_destroy(&worker->mutex);
    sl_free(worker);
    if (closed != NULL) {
        closed(context);
    }
}

static void on_signal(uv_async_t *signal)
{
    sluice_worker *worker = signal->data;
    bool has_ended;
    sluice_job *job;
    while ((job = take_done(worker, &has_ended)) != NULL) {
        finish(job);
    }
    if (has_ended && !uv_is_closing((uv_handle_t *)signal)) {
        sl_background_join(worker->background);
        uv_close((uv_handle_t *)signal, free_worker);
    }
}

static void on_end(void *context)
{
    sluice_worker *worker = context;
    uv_mutex_lock(&worker->mutex);
    worker->has_ended = true;
    uv_mutex_unlock(&worker->mutex);
    uv_async_send(&worker->signal);
}

/* A worker on the loop, without its thread. */
static int make(struct uv_loop_s *loop, sluice_worker **ret_worker, struct sluice_error *error)
{
    sluice_worker *worker = sl_allocate(sizeof(*worker));
    if (worker == NULL) {
        return sl_fail_memory(error, "a worker");
    }
    int result = uv_mutex_init(&worker->mutex);
    if (result != 0) {
        sl_free(worker);
        return sl_fail_system(error, result, "cannot start", "a worker");
    }
    result = uv_async_init(loop, &worker->signal, on_signal);
    if (result != 0) {
        uv_mutex_destroy(&worker->mutex);
        sl_free(worker);
        return sl_fail_system(error, result, "cannot start", "a worker");
    }
    worker->signal.data = worker;
    worker->last_done = &worker->first_done;
    uv_unref((uv_handle_t *)&worker->signal);
    *ret_worker = worker;
    return 0;
}

/* PostgreSQL's client is the one that can do without a thread. */
static int start(struct uv_loop_s *loop, bool is_on_loop, sluice_database *database,
    sluice_worker *worker, struct sluice_error *error)
{
    if (is_on_loop && sluice_database_postgresql(database) != NULL) {
        return sl_background_start_fiber(
            database, loop, on_end, worker, &worker->background, error);
    }
    return sl_background_start(database, on_end, worker, &worker->background, error);
}

static int open_worker(const char *url, struct uv_loop_s *loop, bool is_on_loop,
    sluice_worker **ret_worker, struct sluice_error *error)
{
    sluice_database *database;
    sluice_worker *worker;
    if (loop == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the loop of a worker is NULL");
    }
    if (sluice_database_open(url, &database, error) != 0) {
        return -1;
    }
    database->gate = sl_gate_new();
    if (database->gate == NULL) {
        sluice_database_close(database);
        return sl_fail_memory(error, "a worker");
    }
    if (make(loop, &worker, error) != 0) {
        sluice_database_close(database);
        return -1;
    }
    if (start(loop, is_on_loop, database, worker, error) != 0) {
        sluice_database_close(database);
        uv_close((uv_handle_t *)&worker->signal, free_worker); /* freed by the loop's next turn */
        return -1;
    }
    *ret_worker = worker;
    return 0;
}

int sluice_worker_open(
    const char *url, struct uv_loop_s *loop, sluice_worker **ret_worker, struct sluice_error *error)
{
    return open_worker(url, loop, false, ret_worker, error);
}

int sluice_worker_open_on_loop(
    const char *url, struct uv_loop_s *loop, sluice_worker **ret_worker, struct sluice_error *error)
{
    return open_worker(url, loop, true, ret_worker, error);
}

int sluice_worker_has_thread(const sluice_worker *worker)
{
    return worker != NULL && sl_background_has_thread(worker->background) ? 1 : 0;
}

sluice_database *sluice_worker_database(sluice_worker *worker)
{
    return worker == NULL ? NULL : sl_background_database(worker->background);
}

int sluice_worker_start(sluice_worker *worker, sluice_work work, sluice_job_done done,
    void *context, sluice_job **ret_job, struct sluice_error *error)
{
    if (worker == NULL || work == NULL || done == NULL || worker->is_closing) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "a job needs a worker that is not closed, a work, and a function to call when done");
    }
    if (worker->open_count == SLUICE_JOBS_MAX) {
        return sl_fail(error, SLUICE_BUSY, SLUICE_RETRY,
            "%d jobs of this worker are not done; start more when some are, or open another worker",
            SLUICE_JOBS_MAX);
    }
    sluice_job *job = sl_allocate(sizeof(*job));
    if (job == NULL) {
        return sl_fail_memory(error, "a job");
    }
    job->job.run = run_job;
    job->worker = worker;
    job->work = work;
    job->done = done;
    job->context = context;
    job->place_open = &worker->open;
    job->next_open = worker->open;
    if (!sl_background_put(worker->background, &job->job)) {
        sl_free(job);
        return sl_fail(error, SLUICE_BUSY, SLUICE_RETRY, "too many jobs of this worker wait");
    }
    if (worker->open != NULL) {
        worker->open->place_open = &job->next_open;
    }
    worker->open = job;
    if (worker->open_count++ == 0) {
        uv_ref((uv_handle_t *)&worker->signal);
    }
    if (ret_job != NULL) {
        *ret_job = job;
    }
    return 0;
}

void sluice_job_cancel(sluice_job *job)
{
    sluice_worker *worker = job->worker;
    uv_mutex_lock(&worker->mutex);
    bool is_first_time = !job->is_cancelled;
    job->is_cancelled = true;
    if (worker->running == job) {
        sluice_database *database = sl_background_database(worker->background);
        sl_gate_cancel(database->gate, worker->background);
    }
    uv_mutex_unlock(&worker->mutex);
    if (is_first_time && sl_background_take_back(worker->background, &job->job)) {
        job->status =
            sl_fail(&job->error, SLUICE_CANCELLED, SLUICE_REJECT, "cancelled before it began");
        put_done(job);
    }
}

void sluice_worker_close(sluice_worker *worker, void (*closed)(void *context), void *context)
{
    if (worker == NULL || worker->is_closing) {
        return;
    }
    worker->is_closing = true;
    worker->closed = closed;
    worker->closed_context = context;
    uv_ref((uv_handle_t *)&worker->signal);
    for (sluice_job *job = worker->open; job != NULL; job = job->next_open) {
        sluice_job_cancel(job);
    }
    sl_background_end(worker->background);
}
