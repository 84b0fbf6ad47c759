#include "lib/listeners.h"

#include "base/error.h"
#include "base/log.h"
#include "lib/background.h"
#include "lib/tasks.h"
#include "lib/transaction.h"

static bool hears(const struct sl_listener *listener, const struct sluice_event *event)
{
    return (listener->topic == NULL || strcmp(listener->topic, event->topic) == 0) &&
           (listener->type == NULL || strcmp(listener->type, event->type) == 0);
}

const struct sl_listener *sl_listeners_first(
    const struct sl_registry *registry, const struct sluice_event *event)
{
    size_t count = atomic_load_explicit(&registry->count, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        if (hears(registry->listeners[i], event)) {
            return registry->listeners[i];
        }
    }
    return NULL;
}

/* A listener's own reason, in its name. */
static int fail_for(const struct sl_listener *listener, const char *did,
    const struct sluice_error *reason, struct sluice_error *error)
{
    enum sluice_reaction reaction = reason->reaction == 0 ? SLUICE_REJECT : reason->reaction;
    return sl_fail(error, SLUICE_LISTENER, reaction, "the listener '%s' %s: %s", listener->name,
        did, reason->text[0] == '\0' ? "it gave no reason" : reason->text);
}

static int call_async(sluice_database *database, const struct sl_listener *listener,
    const struct sluice_notice *notice, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    struct sluice_error reason = {.code = SLUICE_OK};
    struct sluice_task *before = transaction->tasks;
    struct sluice_task *task = listener->async(database, notice, listener->context, &reason);
    if (task == NULL && reason.text[0] != '\0') {
        return fail_for(listener, "refused the commit", &reason, error);
    }
    if (task == NULL) {
        return sl_fail(error, SLUICE_LISTENER, SLUICE_REJECT,
            "the asynchronous listener '%s' handed back no task, so that the commit cannot wait "
            "for what it began: return the task, or register it with sluice_listen_detached",
            listener->name);
    }
    if (!sl_task_hand_back(database, task, listener)) {
        return sl_fail(error, SLUICE_LISTENER, SLUICE_REJECT,
            "the asynchronous listener '%s' handed back a task of another transaction: make it "
            "for the database that the listener is given",
            listener->name);
    }
    return sl_tasks_check(transaction, before, error);
}

/* What a listener may have broken without saying so. */
static int check_after_call(
    sluice_database *database, const struct sl_listener *listener, struct sluice_error *error)
{
    if (!sl_store_in_transaction(database->store)) {
        return sl_store_explain_rollback(database->store, error) != 0
                   ? -1
                   : sl_fail(error, SLUICE_LISTENER, SLUICE_FATAL,
                         "the listener '%s' ended the transaction that it was called in; it must "
                         "neither "
                         "commit nor roll back",
                         listener->name);
    }
    return sl_transaction_check_doom(database, error);
}

static int call_before_commit(sluice_database *database, const struct sl_listener *listener,
    const struct sl_heard *heard, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    struct sluice_notice notice = {.phase = SLUICE_BEFORE_COMMIT, .event = &heard->event};
    struct sluice_error reason = {.code = SLUICE_OK};
    int status;
    transaction->speaker = listener;
    transaction->subject = heard;
    transaction->generation = heard->generation + 1;
    if (listener->kind == SL_LISTENER_ASYNC) {
        status = call_async(database, listener, &notice, error);
    } else if (listener->listener(database, &notice, listener->context, &reason) != 0) {
        status = fail_for(listener, "refused the commit", &reason, error);
    } else {
        status = 0;
    }
    transaction->speaker = NULL;
    transaction->subject = NULL;
    return status != 0 ? -1 : check_after_call(database, listener, error);
}

/* Tell every event that has not been told, those that are published meanwhile too. */
static int tell_before_commit(sluice_database *database, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    const struct sl_registry *registry = database->registry;
    size_t count = atomic_load_explicit(&registry->count, memory_order_acquire);
    while (transaction->told_count < transaction->heard_count) {
        const struct sl_heard *heard = transaction->heard[transaction->told_count++];
        for (size_t i = 0; i < count; i++) {
            const struct sl_listener *listener = registry->listeners[i];
            if (listener->phase == SLUICE_BEFORE_COMMIT && hears(listener, &heard->event) &&
                call_before_commit(database, listener, heard, error) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

int sl_listeners_before_commit(sluice_database *database, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    int generation = transaction->generation;
    int status;
    transaction->stage = SL_STAGE_BEFORE_COMMIT;
    do {
        status = tell_before_commit(database, error);
        if (status == 0) {
            /* Tasks run in the transaction, too, and may publish. */
            status = sl_tasks_await_all(database, error);
        }
    } while (status == 0 && transaction->told_count < transaction->heard_count);
    transaction->generation = generation;
    transaction->stage = SL_STAGE_OPEN;
    return status;
}

void sl_listeners_report(struct sl_registry *registry, const struct sl_listener *listener,
    const struct sluice_event *event, const struct sluice_error *error)
{
    if (registry->failed != NULL) {
        registry->failed(listener->name, event, error, registry->failed_context);
        return;
    }
    sl_log(SL_LOG_WARN, "a listener failed", "listener=%s event=%s code=%s error=\"%s\"",
        listener->name, event->id, sluice_code_name(error->code), error->text);
}

int sl_listeners_refuse(sluice_database *database, const char *what, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    sl_fail(&transaction->speaker_error, SLUICE_LISTENER, SLUICE_REJECT,
        "the listener '%s' cannot %s after the end of the transaction: none is open, so that it "
        "would commit by itself; do it before the commit, or in sluice_transaction with "
        "SLUICE_REQUIRES_NEW",
        transaction->speaker == NULL ? "(unknown)" : transaction->speaker->name, what);
    transaction->has_speaker_failed = true;
    if (error != NULL) {
        *error = transaction->speaker_error;
    }
    return -1;
}

static void call_after(sluice_database *database, const struct sl_listener *listener,
    const struct sl_heard *heard, const struct sluice_notice *notice)
{
    struct sl_transaction *transaction = database->transaction;
    struct sluice_error reason = {.code = SLUICE_OK};
    struct sluice_error error;
    transaction->speaker = listener;
    transaction->subject = heard;
    transaction->has_speaker_failed = false;
    (void)sl_store_was_forbidden(database->store); /* what another one tried is not its fault */
    int status = listener->listener(database, notice, listener->context, &reason);
    if (!transaction->has_speaker_failed && sl_store_was_forbidden(database->store)) {
        sl_listeners_refuse(database, "write", &error);
    }
    transaction->speaker = NULL;
    transaction->subject = NULL;
    if (transaction->has_speaker_failed) {
        sl_listeners_report(
            database->registry, listener, &heard->event, &transaction->speaker_error);
    } else if (status != 0) {
        fail_for(listener, "failed", &reason, &error);
        sl_listeners_report(database->registry, listener, &heard->event, &error);
    }
    if (sl_store_in_transaction(database->store)) {
        sl_fail(&error, SLUICE_LISTENER, SLUICE_REJECT,
            "the listener '%s' left a transaction open that a statement of its own had begun; it "
            "is rolled back",
            listener->name);
        sl_listeners_report(database->registry, listener, &heard->event, &error);
        sl_store_rollback(database->store);
    }
}

static void tell_phase(
    sluice_database *database, enum sluice_phase phase, enum sluice_completion completion)
{
    struct sl_transaction *transaction = database->transaction;
    const struct sl_registry *registry = database->registry;
    size_t count = atomic_load_explicit(&registry->count, memory_order_acquire);
    for (size_t i = 0; i < transaction->heard_count; i++) {
        const struct sl_heard *heard = transaction->heard[i];
        struct sluice_notice notice = {
            .phase = phase, .completion = completion, .event = &heard->event};
        for (size_t j = 0; j < count; j++) {
            const struct sl_listener *listener = registry->listeners[j];
            if (listener->phase != phase || !hears(listener, &heard->event)) {
                continue;
            }
            if (listener->kind == SL_LISTENER_DETACHED) {
                sl_detach(database->registry, listener, heard);
            } else {
                call_after(database, listener, heard, &notice);
            }
        }
    }
}

/* Whether a listener will be called that could write. */
static bool is_anyone_told(const sluice_database *database)
{
    const struct sl_registry *registry = database->registry;
    size_t count = atomic_load_explicit(&registry->count, memory_order_acquire);
    for (size_t i = 0; i < count && database->transaction->heard_count > 0; i++) {
        if (registry->listeners[i]->phase != SLUICE_BEFORE_COMMIT &&
            registry->listeners[i]->kind == SL_LISTENER_PLAIN) {
            return true;
        }
    }
    return false;
}

void sl_listeners_after(sluice_database *database, enum sluice_completion completion)
{
    struct sluice_error ignored;
    bool is_told = is_anyone_told(database);
    database->transaction->stage = SL_STAGE_AFTER;
    if (is_told) {
        /* Where that fails, an SQL statement of a listener's own commits by itself. */
        database->is_write_forbidden = true;
        int status = sl_store_forbid_writes(database->store, true, &ignored);
        (void)status;
    }
    if (completion == SLUICE_COMMITTED) {
        tell_phase(database, SLUICE_AFTER_COMMIT, completion);
    } else if (completion == SLUICE_ROLLED_BACK) {
        tell_phase(database, SLUICE_AFTER_ROLLBACK, completion);
    }
    tell_phase(database, SLUICE_AFTER_COMPLETION, completion);
    if (is_told && sl_store_forbid_writes(database->store, false, &ignored) == 0) {
        database->is_write_forbidden = false;
    }
}
