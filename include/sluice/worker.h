/*
 * sluice/worker.h - transactions that do not block the caller's libuv loop.
 *
 * A worker is a connection with a thread of its own. A job is work in a transaction on it; the jobs
 * of a worker run one after the other, and each ends with a call on the loop's thread.
 *
 *     sluice_worker_open("sqlite:app.db", loop, &worker, &error);
 *     sluice_worker_start(worker, place_order, on_placed, &order, NULL, &error);
 *
 * Every function is for the loop's thread only.
 */
#ifndef SLUICE_WORKER_H
#define SLUICE_WORKER_H

#include <sluice/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;

/* The most jobs of a worker that are not done. */
#define SLUICE_JOBS_MAX 1024

typedef struct sluice_worker sluice_worker;
typedef struct sluice_job sluice_job;

/*
 * Called once for each job, on the loop's thread. `error` is NULL if the job has committed, and
 * says otherwise why not: the work's own error, SLUICE_CANCELLED, or what sluice_transaction fails
 * with. It is borrowed for the call. The job is gone with it.
 */
typedef void (*sluice_job_done)(void *context, const struct sluice_error *error);

/**
 * Open a worker on `loop`, which must outlive it. On success `*ret_worker` is the caller's.
 *
 * Keeps the loop alive while a job is not done. Blocks, and fails, as sluice_database_open does.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_worker_open(const char *url, struct uv_loop_s *loop,
    sluice_worker **ret_worker, struct sluice_error *error);

/**
 * The worker's database, to register listeners (sluice/listener.h) before the first job.
 *
 * Borrowed. Its listeners are called on the worker's thread. While a job runs, every call on it
 * from another thread fails with SLUICE_INVALID.
 */
SLUICE_EXPORT sluice_database *sluice_worker_database(sluice_worker *worker);

/**
 * Run `work` in a transaction on the worker's thread, then call `done` on the loop's.
 *
 * `context` is passed to both and must live until then. If `ret_job` is not NULL it receives the
 * job, to cancel it before it is done. Does not block. SLUICE_BUSY (retry) if SLUICE_JOBS_MAX are
 * not done; SLUICE_INVALID for a worker that is closed. `done` is not called then.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_worker_start(sluice_worker *worker, sluice_work work,
    sluice_job_done done, void *context, sluice_job **ret_job, struct sluice_error *error);

/**
 * Ask a job that is not done to roll back.
 *
 * One that has not begun never does. One that runs has its statement interrupted where the database
 * can, stops waiting for tasks, and does not commit; a commit that has begun is not stopped. `done`
 * is called in any case and tells which. Does not block.
 */
SLUICE_EXPORT void sluice_job_cancel(sluice_job *job);

/**
 * Close a worker: its jobs are cancelled and done; then `closed` is called on the loop's thread.
 *
 * The worker must not be used after this, but for the calls that its jobs still make. Does not
 * block; run the loop until `closed` (which may be NULL). A NULL `worker` is fine; `closed` is not
 * called then.
 */
SLUICE_EXPORT void sluice_worker_close(
    sluice_worker *worker, void (*closed)(void *context), void *context);

#ifdef __cplusplus
}
#endif

#endif
