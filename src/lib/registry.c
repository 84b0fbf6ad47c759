#include <sluice/listener.h>

#include "base/error.h"
#include "base/memory.h"
#include "event/event.h"
#include "lib/background.h"
#include "lib/listeners.h"

void sl_listener_free(struct sl_listener *listener)
{
    if (listener != NULL) {
        sl_free(listener->name);
        sl_free(listener->topic);
        sl_free(listener->type);
        sl_free(listener);
    }
}

void sl_registry_deinit(struct sl_registry *registry)
{
    if (registry->background != NULL) {
        sl_background_end(registry->background);
        sl_background_join(registry->background);
        registry->background = NULL;
    }
    size_t count = atomic_load_explicit(&registry->count, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        sl_listener_free(registry->listeners[i]);
    }
    atomic_store(&registry->count, 0);
}

static int check_texts(const struct sluice_listener_options *options, struct sluice_error *error)
{
    if (options == NULL || !sl_event_is_consumer(sl_text_of(options->name))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.64s' is no name for a listener; use 1 to 60 letters, digits, '.', '_' and '-'",
            options == NULL || options->name == NULL ? "" : options->name);
    }
    if (options->topic != NULL && !sl_event_is_topic(sl_text_of(options->topic))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the listener '%s' asks for '%.64s', which is no topic name", options->name,
            options->topic);
    }
    if (options->task_timeout_ms < 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the listener '%s' has a negative time-out; 0 means the default", options->name);
    }
    return 0;
}

static int check_phase(const struct sl_listener *listener, struct sluice_error *error)
{
    if (listener->phase < SLUICE_BEFORE_COMMIT || listener->phase > SLUICE_AFTER_COMPLETION) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the listener '%s' says no phase; use SLUICE_BEFORE_COMMIT, SLUICE_AFTER_COMMIT, "
            "SLUICE_AFTER_ROLLBACK or SLUICE_AFTER_COMPLETION",
            listener->name);
    }
    if (listener->kind == SL_LISTENER_ASYNC && listener->phase != SLUICE_BEFORE_COMMIT) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the asynchronous listener '%s' takes part in the transaction: its phase is "
            "SLUICE_BEFORE_COMMIT",
            listener->name);
    }
    if (listener->kind == SL_LISTENER_DETACHED && listener->phase != SLUICE_AFTER_COMMIT) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the detached listener '%s' comes after the transaction: its phase is "
            "SLUICE_AFTER_COMMIT",
            listener->name);
    }
    return 0;
}

static int check_place(
    const sluice_database *database, const char *name, struct sluice_error *error)
{
    const struct sl_registry *registry = database->registry;
    size_t count = atomic_load_explicit(&registry->count, memory_order_acquire);
    if (database->level > 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the listener '%s' is registered on a connection that the library opened for itself; "
            "register it on the database that the service opened",
            name);
    }
    if (database->transaction->stage != SL_STAGE_IDLE || sl_store_in_transaction(database->store)) {
        return sl_fail(error, SLUICE_IN_TRANSACTION, SLUICE_REJECT,
            "the listener '%s' is registered in an open transaction, of which it would hear a part "
            "only; register it before",
            name);
    }
    if (count == SLUICE_LISTENERS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "a database has at most %d listeners; one can tell types apart", SLUICE_LISTENERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(registry->listeners[i]->name, name) == 0) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "there is a listener '%s' already; errors could not tell them apart", name);
        }
    }
    return 0;
}

static struct sl_listener *copy_listener(const struct sluice_listener_options *options)
{
    struct sl_listener *listener = sl_allocate(sizeof(*listener));
    if (listener == NULL) {
        return NULL;
    }
    listener->name = sl_copy_text(options->name);
    listener->topic = options->topic == NULL ? NULL : sl_copy_text(options->topic);
    listener->type = options->type == NULL ? NULL : sl_copy_text(options->type);
    if (listener->name == NULL || (options->topic != NULL && listener->topic == NULL) ||
        (options->type != NULL && listener->type == NULL)) {
        sl_listener_free(listener);
        return NULL;
    }
    listener->phase = options->phase;
    listener->task_timeout_ms = options->task_timeout_ms;
    listener->context = options->context;
    return listener;
}

static int start_background(sluice_database *database, struct sluice_error *error)
{
    sluice_database *further;
    struct sl_registry *registry = database->registry;
    if (registry->background != NULL) {
        return 0;
    }
    if (sl_database_open_further(database, "a detached listener", &further, error) != 0) {
        return -1;
    }
    if (sl_background_start(further, NULL, NULL, &registry->background, error) != 0) {
        sluice_database_close(further);
        return -1;
    }
    return 0;
}

static int add(
    sluice_database *database, struct sl_listener *take_listener, struct sluice_error *error)
{
    struct sl_registry *registry = database->registry;
    if (check_phase(take_listener, error) != 0 ||
        check_place(database, take_listener->name, error) != 0 ||
        (take_listener->kind == SL_LISTENER_DETACHED && start_background(database, error) != 0)) {
        sl_listener_free(take_listener);
        return -1;
    }
    size_t count = atomic_load_explicit(&registry->count, memory_order_relaxed);
    registry->listeners[count] = take_listener;
    atomic_store_explicit(&registry->count, count + 1, memory_order_release);
    return 0;
}

/* `kind` and one of the two functions; the phase that the kind has anyway need not be said. */
static int listen(sluice_database *database, const struct sluice_listener_options *options,
    struct sl_listener kind, struct sluice_error *error)
{
    if (check_texts(options, error) != 0) {
        return -1;
    }
    if (kind.listener == NULL && kind.async == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the function of the listener '%s' is NULL", options->name);
    }
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    struct sl_listener *listener = copy_listener(options);
    if (listener == NULL) {
        return sl_database_leave(database, sl_fail_memory(error, "a listener"));
    }
    listener->kind = kind.kind;
    listener->listener = kind.listener;
    listener->async = kind.async;
    if (options->phase == 0) {
        listener->phase = kind.phase;
    }
    return sl_database_leave(database, add(database, listener, error));
}

int sluice_listen(sluice_database *database, const struct sluice_listener_options *options,
    sluice_listener listener, struct sluice_error *error)
{
    struct sl_listener kind = {.kind = SL_LISTENER_PLAIN, .listener = listener};
    return listen(database, options, kind, error);
}

int sluice_listen_async(sluice_database *database, const struct sluice_listener_options *options,
    sluice_async_listener listener, struct sluice_error *error)
{
    struct sl_listener kind = {
        .kind = SL_LISTENER_ASYNC, .async = listener, .phase = SLUICE_BEFORE_COMMIT};
    return listen(database, options, kind, error);
}

int sluice_listen_detached(sluice_database *database, const struct sluice_listener_options *options,
    sluice_listener listener, struct sluice_error *error)
{
    struct sl_listener kind = {
        .kind = SL_LISTENER_DETACHED, .listener = listener, .phase = SLUICE_AFTER_COMMIT};
    return listen(database, options, kind, error);
}

void sluice_on_listener_failure(
    sluice_database *database, sluice_listener_failed failed, void *context)
{
    if (database != NULL) {
        database->registry->failed = failed;
        database->registry->failed_context = context;
    }
}
