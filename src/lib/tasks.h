/*
 * lib/tasks.h - the tasks of a transaction, and the gate at which somebody waits for them.
 *
 * A promise is kept by another thread, so the state of every task stands behind its database's
 * gate. A gate lives as long as its database and the last promise that was made there.
 */
#ifndef SL_LIB_TASKS_H
#define SL_LIB_TASKS_H

#include "lib/database.h"

/**
 * A gate; NULL if there is no memory.
 */
struct sl_gate *sl_gate_new(void) __attribute__((warn_unused_result));

/**
 * Let go of a gate; NULL is fine.
 */
void sl_gate_unref(struct sl_gate *gate);

/**
 * From here on, until sl_gate_shut, a cancel is taken notice of: whoever waits stops waiting, and
 * the store's statement is interrupted. For a job's beginning.
 */
void sl_gate_open(struct sl_gate *gate);

/**
 * No cancel from here on. True, once, if there was one since sl_gate_open. NULL is fine: false.
 */
bool sl_gate_shut(struct sl_gate *gate);

/**
 * Cancel what `background` runs behind an open gate; does nothing behind one that is shut. Any
 * thread.
 */
void sl_gate_cancel(struct sl_gate *gate, struct sl_background *background);

/**
 * 0, or -1 with SLUICE_CANCELLED if what runs was cancelled: no further statement. A gate that is
 * NULL is fine.
 */
int sl_gate_check(struct sl_gate *gate, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Note that the listener hands a task back. False if the task is none of this transaction's.
 */
bool sl_task_hand_back(
    sluice_database *database, struct sluice_task *task, const struct sl_listener *listener);

/**
 * Whether all tasks that were begun after `before` have been handed back; names who did not.
 */
int sl_tasks_check(const struct sl_transaction *transaction, const struct sluice_task *before,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Wait for the tasks that were handed back, in the order in which they were begun.
 */
int sl_tasks_await_all(sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Forget the tasks that were begun after `before` (NULL: all): who keeps a promise is told that
 * nobody waits.
 */
void sl_tasks_end(struct sl_transaction *transaction, struct sluice_task *before);

#endif
