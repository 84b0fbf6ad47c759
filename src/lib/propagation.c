#include <sluice/transaction.h>

#include "base/error.h"
#include "lib/listeners.h"
#include "lib/transaction.h"

static int fail_with(const struct sluice_error *reason, struct sluice_error *error)
{
    if (error != NULL) {
        *error = *reason;
    }
    return -1;
}

/* Call the work. -1 comes with a text in any case. */
static int call(
    sluice_database *database, sluice_work work, void *context, struct sluice_error *ret_reason)
{
    struct sl_transaction *transaction = database->transaction;
    *ret_reason = (struct sluice_error){.code = SLUICE_OK};
    transaction->works++;
    int status = work(database, context, ret_reason);
    transaction->works--;
    if (status == 0) {
        return 0;
    }
    if (ret_reason->text[0] == '\0') {
        sl_fail(ret_reason, SLUICE_HANDLER, SLUICE_REJECT, "the work failed and gave no reason");
    }
    if (ret_reason->code == SLUICE_OK) {
        ret_reason->code = SLUICE_HANDLER;
    }
    if (ret_reason->reaction == 0) {
        ret_reason->reaction = SLUICE_REJECT;
    }
    return -1;
}

/* Why there is no transaction any more after the work. */
static int fail_ended(const sluice_database *database, struct sluice_error *error)
{
    if (sl_store_explain_rollback(database->store, error) != 0) {
        return -1;
    }
    return sl_fail(error, SLUICE_HANDLER, SLUICE_FATAL,
        "the work ended the transaction that it was called in by a statement of its own; it must "
        "neither commit nor roll back, but return 0 or -1");
}

/* Begin one for the work, on a connection where none is open. */
static int run_own(
    sluice_database *database, sluice_work work, void *context, struct sluice_error *error)
{
    struct sluice_error reason;
    if (sl_transaction_begin(database, SL_BY_WORK, error) != 0) {
        return -1;
    }
    int status = call(database, work, context, &reason);
    if (!sl_store_in_transaction(database->store)) {
        struct sluice_error ended;
        fail_ended(database, &ended);
        sl_transaction_lose(database);
        /* The work's own reason is the better one, unless it has none to give. */
        return fail_with(status != 0 && ended.reaction != SLUICE_FATAL ? &reason : &ended, error);
    }
    if (status == 0) {
        return sl_transaction_commit(database, error);
    }
    sl_transaction_rollback(database);
    return fail_with(&reason, error);
}

/* In an after-phase: the listener's own transaction, on the connection that is free by now. */
static int run_after(
    sluice_database *database, sluice_work work, void *context, struct sluice_error *error)
{
    struct sl_transaction *ended = database->transaction;
    struct sl_transaction own = {.generation = ended->generation + 1};
    if (ended->subject != NULL) {
        own.generation = ended->subject->generation + 1;
    }
    struct sluice_error ignored;
    bool was_forbidden = database->is_write_forbidden;
    database->transaction = &own;
    int status = run_own(database, work, context, error);
    database->transaction = ended;
    sl_transaction_deinit(&own);
    if (was_forbidden && sl_store_forbid_writes(database->store, true, &ignored) == 0) {
        database->is_write_forbidden = true;
    }
    return status;
}

/* Beside an open transaction: on a connection of its own. */
static int run_beside(
    sluice_database *database, sluice_work work, void *context, struct sluice_error *error)
{
    if (sl_store_blocks_writers(database->store)) {
        return sl_fail(error, SLUICE_BUSY, SLUICE_REJECT,
            "SLUICE_REQUIRES_NEW would wait for the file's one write lock, which the transaction "
            "around it holds: do it before that begins or after it ends (an after-commit "
            "listener), or use SLUICE_NESTED");
    }
    if (database->companion == NULL && sl_database_open_further(database, "SLUICE_REQUIRES_NEW",
                                           &database->companion, error) != 0) {
        return -1;
    }
    sluice_database *companion = database->companion;
    if (sl_database_enter(companion, error) != 0) {
        return -1;
    }
    companion->base.generation = database->transaction->generation;
    database->is_suspended = true;
    struct sluice_error reason;
    int status = run_own(companion, work, context, &reason);
    database->is_suspended = false;
    sl_database_leave(companion, status);
    if (status != 0 && reason.code == SLUICE_UNAVAILABLE) {
        /* Its connection may be gone for good: the next one begins with a new one. */
        sluice_database_close(companion);
        database->companion = NULL;
    }
    return status == 0 ? 0 : fail_with(&reason, error);
}

/* Behind a savepoint: what fails is undone alone. */
static int run_nested(
    sluice_database *database, sluice_work work, void *context, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    struct sluice_error reason;
    struct sl_mark mark;
    if (sl_transaction_mark(database, &mark, error) != 0) {
        return -1;
    }
    int status = call(database, work, context, &reason);
    if (!sl_store_in_transaction(database->store)) {
        return fail_ended(database, error);
    }
    bool is_misused = transaction->is_misused;
    if (status == 0) {
        status = sl_transaction_check_doom(database, &reason);
    }
    if (status == 0 && sl_transaction_unmark(database, &mark, true, &reason) == 0) {
        return 0;
    }
    struct sluice_error broken = reason;
    if (sl_transaction_unmark(database, &mark, false, &broken) != 0 || is_misused) {
        transaction->is_misused = is_misused;
        sl_transaction_doom(database, is_misused ? &reason : &broken);
    }
    if (transaction->stage == SL_STAGE_IDLE) {
        transaction->is_doomed = false; /* the service's own: not ours to keep from committing */
        transaction->is_misused = false;
    }
    return fail_with(&reason, error);
}

/* In the open transaction: it stands and falls with the work. */
static int run_joined(
    sluice_database *database, sluice_work work, void *context, struct sluice_error *error)
{
    struct sluice_error reason;
    int status = call(database, work, context, &reason);
    if (!sl_store_in_transaction(database->store)) {
        return fail_ended(database, error);
    }
    if (status != 0) {
        sl_transaction_doom(database, &reason);
        return fail_with(&reason, error);
    }
    return 0;
}

static bool is_propagation(enum sluice_propagation propagation)
{
    return propagation >= SLUICE_REQUIRED && propagation <= SLUICE_NESTED;
}

int sl_transaction_run(sluice_database *database, enum sluice_propagation propagation,
    sluice_work work, void *context, struct sluice_error *error)
{
    sl_transaction_settle(database);
    bool is_after = database->transaction->stage == SL_STAGE_AFTER;
    bool is_open = sl_store_in_transaction(database->store);
    if (is_after && propagation == SLUICE_REQUIRES_NEW && !is_open) {
        return run_after(database, work, context, error);
    }
    if (is_after) {
        return sl_listeners_refuse(
            database, "use a transaction without SLUICE_REQUIRES_NEW", error);
    }
    if (!is_open && propagation == SLUICE_MANDATORY) {
        return sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "the work asks for an open transaction (SLUICE_MANDATORY), and none is open on this "
            "connection: call it inside of one");
    }
    if (!is_open) {
        return run_own(database, work, context, error);
    }
    if (propagation == SLUICE_REQUIRES_NEW) {
        return run_beside(database, work, context, error);
    }
    if (sl_transaction_check_doom(database, error) != 0) {
        return -1;
    }
    /* One that the service's own statement began cannot be kept from committing: undo at once. */
    bool is_undone_alone = database->transaction->stage == SL_STAGE_IDLE;
    return propagation == SLUICE_NESTED || is_undone_alone
               ? run_nested(database, work, context, error)
               : run_joined(database, work, context, error);
}

int sluice_transaction(sluice_database *database, enum sluice_propagation propagation,
    sluice_work work, void *context, struct sluice_error *error)
{
    if (work == NULL || !is_propagation(propagation)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "sluice_transaction needs a work and one of SLUICE_REQUIRED, SLUICE_REQUIRES_NEW, "
            "SLUICE_MANDATORY and SLUICE_NESTED");
    }
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    return sl_database_leave(
        database, sl_transaction_run(database, propagation, work, context, error));
}
