/*
 * lib/transaction.h - the one way a transaction begins and ends, whoever asks for it.
 */
#ifndef SL_LIB_TRANSACTION_H
#define SL_LIB_TRANSACTION_H

#include "lib/database.h"

/* Where a savepoint was set. */
struct sl_mark {
    size_t heard_count;
    struct sluice_task *tasks;
};

/**
 * Begin a transaction that ends with sl_transaction_commit or sl_transaction_rollback.
 */
int sl_transaction_begin(sluice_database *database, enum sl_begun_by by, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Tell the before-commit listeners, wait for tasks, commit, tell the others. On failure it is
 * rolled back, unless the outcome is unknown.
 */
int sl_transaction_commit(sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Roll back and tell the listeners. Fine if the database has done so by itself.
 */
void sl_transaction_rollback(sluice_database *database);

/**
 * Find a transaction of ours that has ended without us: by a statement of the service's own, or by
 * the database itself. Its after-completion listeners are told what can be known.
 */
void sl_transaction_settle(sluice_database *database);

/**
 * As above for one that is known to have ended so, whoever began it.
 */
void sl_transaction_lose(sluice_database *database);

/**
 * Free what an idle transaction keeps for the next one.
 */
void sl_transaction_deinit(struct sl_transaction *transaction);

/**
 * Set a savepoint.
 */
int sl_transaction_mark(sluice_database *database, struct sl_mark *ret_mark,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * End a savepoint. Undone, the events since then are heard by nobody, the tasks since then are
 * cancelled, and the transaction can commit again if it could not for something since then.
 */
int sl_transaction_unmark(sluice_database *database, const struct sl_mark *mark, bool is_kept,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Let the transaction only roll back from here on; the first reason stays.
 */
void sl_transaction_doom(sluice_database *database, const struct sluice_error *reason);

/**
 * 0, or -1 with SLUICE_ROLLBACK_ONLY if the transaction can only roll back.
 */
int sl_transaction_check_doom(const sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * sluice_transaction, with the generation of what the work publishes.
 */
int sl_transaction_run(sluice_database *database, enum sluice_propagation propagation,
    sluice_work work, void *context, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
