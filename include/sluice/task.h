/*
 * sluice/task.h - something that a transaction waits for before it commits.
 *
 * A task is made for the database of an open transaction and takes part in it. It is either work on
 * the transaction's own connection, which the commit runs (sluice_task_work), or a promise that is
 * kept elsewhere: by another thread, a thread pool, a child process (sluice_task_new, then
 * sluice_task_succeed or sluice_task_fail). Whoever begins it hands it back: an asynchronous
 * listener returns it (sluice/listener.h), a work awaits it (sluice_task_await). A transaction
 * with a task that was not handed back does not commit.
 */
#ifndef SLUICE_TASK_H
#define SLUICE_TASK_H

#include <sluice/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_task sluice_task;

/**
 * Begin a task that is done elsewhere.
 *
 * It ends with one call of sluice_task_succeed or sluice_task_fail, which must come in any case.
 * After that `*ret_task` must not be used but to hand it back. Does not block.
 * SLUICE_NO_TRANSACTION if none is open that sluice began.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_task_new(
    sluice_database *database, sluice_task **ret_task, struct sluice_error *error);

/**
 * A task that is work in the transaction, run where it is awaited: by the commit, or by
 * sluice_task_await.
 *
 * -1 from the work fails the task. `context` must live until then. The task needs no end and is
 * freed with the transaction. Does not block. SLUICE_NO_TRANSACTION as above.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_task_work(sluice_database *database, sluice_work work,
    void *context, sluice_task **ret_task, struct sluice_error *error);

/**
 * The task is done. From any thread, once; the task is not the caller's after that.
 */
SLUICE_EXPORT void sluice_task_succeed(sluice_task *task);

/**
 * The task has failed, and with it whoever waits: a commit rolls back. From any thread, once;
 * `error` is copied, NULL means that there is no reason to tell. The task is not the caller's after
 * that.
 */
SLUICE_EXPORT void sluice_task_fail(sluice_task *task, const struct sluice_error *error);

/**
 * Whether nobody waits any more, since the transaction was rolled back: 1 or 0. From any thread,
 * before the task's end.
 */
SLUICE_EXPORT int sluice_task_is_cancelled(const sluice_task *task);

/**
 * Wait for a task of this transaction, or run it; for a work that has begun one.
 *
 * Blocks for at most `timeout_ms` (0: 30,000). Do not wait on the thread of the loop that keeps the
 * promise, but in a job (sluice/worker.h), where that loop goes on. Fails with the task's error,
 * SLUICE_CANCELLED, SLUICE_INVALID for a task of another transaction, and SLUICE_BUSY (reject)
 * after the time-out.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_task_await(
    sluice_database *database, sluice_task *task, int timeout_ms, struct sluice_error *error);

#ifdef __cplusplus
}
#endif

#endif
