/*
 * sluice/transaction.h - run work in a transaction, and say how it goes with the one around it.
 *
 *     static int add_user(sluice_database *database, void *context, struct sluice_error *error)
 *     {
 *         ... statements, sluice_publish(database, ...) ...
 *         return 0; // commit; -1 rolls back
 *     }
 *     sluice_transaction(database, SLUICE_REQUIRED, add_user, &user, &error);
 *
 * The database that the work is given is the one to use inside of it: under SLUICE_REQUIRES_NEW it
 * is another connection, and the one around it refuses every call until the work is done.
 *
 * A transaction belongs to the thread that began it. sluice_begin and sluice_commit are the same
 * transactions, ended by hand; inside of a work they are refused.
 */
#ifndef SLUICE_TRANSACTION_H
#define SLUICE_TRANSACTION_H

#include <sluice/outbox.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sluice_propagation {
    SLUICE_REQUIRED = 1,     /* take part in the open transaction, or begin one */
    SLUICE_REQUIRES_NEW = 2, /* a transaction of its own, whatever becomes of the open one */
    SLUICE_MANDATORY = 3,    /* take part in the open transaction; without one, an error */
    SLUICE_NESTED = 4        /* behind a savepoint of the open transaction, or begin one */
};

/*
 * What runs in the transaction. 0: done, to be committed (with the transaction that it takes part
 * in, if it does). -1: failed, with the reason in `error`, which is never NULL here. It must
 * return: an exception or a longjmp out of it leaves the transaction open.
 */
typedef int (*sluice_work)(sluice_database *database, void *context, struct sluice_error *error);

/**
 * Run `work` in a transaction.
 *
 * Returns 0 if the work did, and what it began is committed; -1 and the work's error if it failed.
 * What a failure undoes depends on `propagation`: a transaction that was begun here, or the
 * savepoint (SLUICE_NESTED), is rolled back, and the one around it goes on. Where the work took
 * part in an open transaction (SLUICE_REQUIRED, SLUICE_MANDATORY), that one can only roll back
 * from then on: its commit fails with SLUICE_ROLLBACK_ONLY, even if the failure was ignored. (In a
 * transaction that the service began by statements of its own, the work is undone at once instead.)
 *
 * SLUICE_REQUIRES_NEW inside of an open transaction opens a second connection by the database's
 * URL and keeps it; an adopted connection has none, see sluice_database_set_url. On SQLite it
 * fails with SLUICE_BUSY (reject) at once where the open transaction holds the file's one write
 * lock, as every transaction of sluice_begin does: that wait would never end.
 *
 * Blocks as sluice_begin, sluice_commit and the work do. Fails with SLUICE_NO_TRANSACTION
 * (SLUICE_MANDATORY without one), SLUICE_ROLLBACK_ONLY, SLUICE_LISTENER (a listener vetoed),
 * SLUICE_HANDLER (the work ended the transaction itself), SLUICE_OUTCOME_UNKNOWN and as
 * sluice_begin and sluice_commit do. `work` and `context` are borrowed for the call.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_transaction(sluice_database *database,
    enum sluice_propagation propagation, sluice_work work, void *context,
    struct sluice_error *error);

/**
 * Let the open transaction roll back, whatever is decided after this.
 *
 * Its commit fails with SLUICE_ROLLBACK_ONLY and `reason` (NULL: none). Does not block.
 * SLUICE_NO_TRANSACTION if none is open that sluice began.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_set_rollback_only(
    sluice_database *database, const char *reason, struct sluice_error *error);

/**
 * Say where a further connection to the same database is opened, for an adopted one.
 *
 * SLUICE_REQUIRES_NEW and detached listeners need it. `url` is copied. Does not block, and opens
 * nothing yet. SLUICE_INVALID for NULL; SLUICE_NO_MEMORY.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_database_set_url(
    sluice_database *database, const char *url, struct sluice_error *error);

/**
 * Let this thread go on with the transaction that another thread began.
 *
 * For a service whose requests change threads. Until then every call from another thread than the
 * one that began fails with SLUICE_INVALID. SLUICE_NO_TRANSACTION if none is open.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_database_take_over(
    sluice_database *database, struct sluice_error *error);

#ifdef __cplusplus
}
#endif

#endif
