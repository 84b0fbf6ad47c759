#include "lib/transaction.h"

#include <sluice/outbox.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "lib/listeners.h"
#include "lib/tasks.h"

static bool is_ours(const struct sl_transaction *transaction)
{
    return transaction->stage == SL_STAGE_OPEN || transaction->stage == SL_STAGE_BEFORE_COMMIT;
}

/* Tell the listeners how it ended, then forget it. */
static void finish(sluice_database *database, enum sluice_completion completion)
{
    struct sl_transaction *transaction = database->transaction;
    sl_tasks_end(transaction, NULL);
    sl_listeners_after(database, completion);
    sl_heard_cut(transaction, 0);
    transaction->stage = SL_STAGE_IDLE;
    transaction->is_doomed = false;
    transaction->is_misused = false;
}

void sl_transaction_deinit(struct sl_transaction *transaction)
{
    sl_heard_cut(transaction, 0);
    sl_free(transaction->heard);
    transaction->heard = NULL;
    transaction->heard_capacity = 0;
}

void sl_transaction_settle(sluice_database *database)
{
    const struct sl_transaction *transaction = database->transaction;
    if (transaction->stage == SL_STAGE_OPEN && transaction->by == SL_BY_CALLS &&
        transaction->works == 0 && !sl_store_in_transaction(database->store)) {
        sl_transaction_lose(database);
    }
}

void sl_transaction_lose(sluice_database *database)
{
    struct sl_transaction *transaction = database->transaction;
    struct sluice_error ignored;
    sl_gate_shut(database->gate);
    bool is_undone = sl_store_explain_rollback(database->store, &ignored) != 0;
    if (!is_undone && transaction->heard_count > 0) {
        sl_log(SL_LOG_WARN,
            "a transaction was not ended by the library that began it; its listeners do not hear "
            "whether it committed",
            "database=%s events=%zu", sl_store_id(database->store), transaction->heard_count);
    }
    finish(database, is_undone ? SLUICE_ROLLED_BACK : SLUICE_UNKNOWN);
}

int sl_transaction_begin(sluice_database *database, enum sl_begun_by by, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    if (database->is_write_forbidden && !sl_store_in_transaction(database->store)) {
        if (sl_store_forbid_writes(database->store, false, error) != 0) {
            return -1;
        }
        database->is_write_forbidden = false;
    }
    if (transaction->stage != SL_STAGE_IDLE && !sl_store_in_transaction(database->store)) {
        return sl_fail(error, SLUICE_HANDLER, SLUICE_FATAL,
            "cannot begin a transaction: the one that this is called in was ended by a statement "
            "of the service's own, which only the call that began it may do");
    }
    if (sl_store_begin(database->store, error) != 0) {
        return -1;
    }
    transaction->stage = SL_STAGE_OPEN;
    transaction->by = by;
    transaction->thread = sl_this_thread();
    transaction->works = 0;
    transaction->is_doomed = false;
    transaction->is_misused = false;
    return 0;
}

void sl_transaction_rollback(sluice_database *database)
{
    sl_gate_shut(database->gate);
    sl_store_rollback(database->store);
    finish(database, SLUICE_ROLLED_BACK);
}

void sl_transaction_doom(sluice_database *database, const struct sluice_error *reason)
{
    struct sl_transaction *transaction = database->transaction;
    if (!transaction->is_doomed) {
        transaction->is_doomed = true;
        transaction->doom = *reason;
    }
}

int sl_transaction_check_doom(const sluice_database *database, struct sluice_error *error)
{
    const struct sl_transaction *transaction = database->transaction;
    if (!transaction->is_doomed) {
        return 0;
    }
    return sl_fail(error, SLUICE_ROLLBACK_ONLY,
        transaction->doom.reaction == 0 ? SLUICE_REJECT : transaction->doom.reaction,
        "the transaction can only roll back: %s",
        transaction->doom.text[0] == '\0' ? "work inside of it failed and gave no reason"
                                          : transaction->doom.text);
}

int sl_transaction_commit(sluice_database *database, struct sluice_error *error)
{
    struct sluice_error reason = {.code = SLUICE_OK};
    int status = sl_transaction_check_doom(database, &reason);
    if (status == 0) {
        status = sl_listeners_before_commit(database, &reason);
    }
    if (sl_gate_shut(database->gate)) {
        status = sl_fail(&reason, SLUICE_CANCELLED, SLUICE_REJECT, "cancelled before the commit");
    }
    if (status != 0) {
        sl_transaction_rollback(database);
    } else if (sl_store_commit(database->store, &reason) == 0) {
        finish(database, SLUICE_COMMITTED);
        return 0;
    } else {
        finish(
            database, reason.code == SLUICE_OUTCOME_UNKNOWN ? SLUICE_UNKNOWN : SLUICE_ROLLED_BACK);
    }
    if (error != NULL) {
        *error = reason;
    }
    return -1;
}

int sl_transaction_mark(
    sluice_database *database, struct sl_mark *ret_mark, struct sluice_error *error)
{
    if (sl_store_savepoint(database->store, error) != 0) {
        return -1;
    }
    *ret_mark = (struct sl_mark){
        .heard_count = database->transaction->heard_count, .tasks = database->transaction->tasks};
    return 0;
}

int sl_transaction_unmark(
    sluice_database *database, const struct sl_mark *mark, bool is_kept, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    if (sl_store_savepoint_end(database->store, is_kept, error) != 0) {
        return -1;
    }
    if (!is_kept) {
        sl_heard_cut(transaction, mark->heard_count);
        sl_tasks_end(transaction, mark->tasks);
        transaction->is_doomed = false;
        transaction->is_misused = false;
    }
    return 0;
}

/* Somebody wants to end what somebody else has begun. */
static int refuse_end(sluice_database *database, const char *what, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    struct sluice_error reason;
    if (transaction->stage == SL_STAGE_AFTER) {
        return sl_listeners_refuse(database, what, error);
    }
    if (transaction->speaker != NULL) {
        sl_fail(&reason, SLUICE_LISTENER, SLUICE_REJECT,
            "the listener '%s' tried to %s the transaction that it was called in; it can veto by "
            "returning -1",
            transaction->speaker->name, what);
    } else {
        sl_fail(&reason, SLUICE_INVALID, SLUICE_REJECT,
            "cannot %s here: the transaction ends with the %s that it was begun for, by what that "
            "returns",
            what, transaction->by == SL_BY_CONSUMER ? "handler" : "work");
    }
    transaction->is_misused = true;
    sl_transaction_doom(database, &reason);
    if (error != NULL) {
        *error = reason;
    }
    return -1;
}

static bool may_end(const struct sl_transaction *transaction)
{
    return transaction->works == 0 &&
           (transaction->stage == SL_STAGE_IDLE ||
               (transaction->stage == SL_STAGE_OPEN && transaction->by == SL_BY_CALLS));
}

int sluice_begin(sluice_database *database, struct sluice_error *error)
{
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    sl_transaction_settle(database);
    int status =
        database->transaction->stage == SL_STAGE_AFTER
            ? sl_listeners_refuse(database, "begin a transaction of its own by sluice_begin", error)
            : sl_transaction_begin(database, SL_BY_CALLS, error);
    return sl_database_leave(database, status);
}

int sluice_commit(sluice_database *database, struct sluice_error *error)
{
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    sl_transaction_settle(database);
    int status;
    if (!may_end(database->transaction)) {
        status = refuse_end(database, "commit", error);
    } else if (database->transaction->stage == SL_STAGE_IDLE) {
        /* One that the service began itself, or none. */
        status = sl_store_commit(database->store, error);
    } else {
        status = sl_transaction_commit(database, error);
    }
    return sl_database_leave(database, status);
}

int sluice_rollback(sluice_database *database, struct sluice_error *error)
{
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    sl_transaction_settle(database);
    int status = 0;
    if (!may_end(database->transaction)) {
        status = refuse_end(database, "roll back", error);
    } else if (!sl_store_in_transaction(database->store)) {
        status = sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "cannot roll back: no transaction is open on this connection");
    } else if (database->transaction->stage == SL_STAGE_IDLE) {
        sl_store_rollback(database->store);
    } else {
        sl_transaction_rollback(database);
    }
    return sl_database_leave(database, status);
}

int sluice_set_rollback_only(
    sluice_database *database, const char *reason, struct sluice_error *error)
{
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    struct sluice_error doom;
    int status = 0;
    if (!is_ours(database->transaction) || !sl_store_in_transaction(database->store)) {
        status = sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "no transaction is open that sluice has begun and could roll back");
    } else {
        sl_fail(&doom, SLUICE_ROLLBACK_ONLY, SLUICE_REJECT, "%s",
            reason == NULL ? "the service has asked for it, without a reason" : reason);
        sl_transaction_doom(database, &doom);
    }
    return sl_database_leave(database, status);
}
