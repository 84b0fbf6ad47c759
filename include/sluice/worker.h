/*
 * sluice/worker.h - transactions that do not block the caller's libuv loop.
 *
 * A worker is a connection with a thread of its own, or on PostgreSQL without one. A job is work in
 * a transaction on it; the jobs of a worker run one after the other, those of several workers side
 * by side, and each ends with a call on the loop's thread.
 *
 *     sluice_worker_open("sqlite:app.db", loop, &worker, &error);
 *     sluice_worker_start(worker, place_order, on_placed, &order, NULL, &error);
 *
 * Without a thread: sluice_worker_open_on_loop. The work is the same straight code, as long as it
 * waits for nothing but calls of this library.
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
 * Open a worker that needs no thread where the database's client can do without: on PostgreSQL.
 *
 * There the works run on the loop's own thread, each worker's on a stack of its own of 1 MiB of
 * address space. Where a call of this library would wait - for the answer to a statement or to a
 * commit, for a new connection after a lost one, for a task - the work rests and the loop goes on
 * until the answer is there; so one thread runs the transactions of many workers at once. On SQLite
 * and MariaDB this is sluice_worker_open. A work (and a listener) for all three:
 *
 * - waits for nothing else: a sleep, a lock, an HTTP call, or the client library itself on the
 *   handle of sluice/outbox.h would hold up the loop. Such things are done before the job, by a
 *   task of another thread (sluice_task_new), or by a worker of sluice_worker_open;
 * - uses what it shares with the loop's thread as other threads' data, and takes into account that
 *   it may change in any call of this library;
 * - does not run the loop, and is not left by an exception or a longjmp.
 *
 * Opening itself blocks, and fails, as sluice_database_open does; so does, later, the look-up of a
 * host's name for a new connection (hostaddr in the URL needs none). To interrupt a statement,
 * sluice_job_cancel uses libuv's thread pool. On success `*ret_worker` is the caller's. `loop` must
 * outlive the worker; SLUICE_INVALID if it is NULL.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_worker_open_on_loop(const char *url,
    struct uv_loop_s *loop, sluice_worker **ret_worker, struct sluice_error *error);

/**
 * Whether the works run on a thread of the worker's own: 1, or on the loop's: 0.
 *
 * Never blocks. 0 for a worker that is NULL.
 */
SLUICE_EXPORT int sluice_worker_has_thread(const sluice_worker *worker);

/**
 * The worker's database, to register listeners (sluice/listener.h) before the first job.
 *
 * Borrowed; NULL for a worker that is NULL. Its listeners are called where the works run. While a
 * job runs, every call on it from elsewhere fails with SLUICE_INVALID, also on the same thread.
 */
SLUICE_EXPORT sluice_database *sluice_worker_database(sluice_worker *worker);

/**
 * Run `work` in a transaction on the worker, then call `done` on the loop's thread.
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
