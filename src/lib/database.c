#include "lib/database.h"

#include <pthread.h>

#include "base/error.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/memory.h"
#include "event/event.h"
#include "lib/listeners.h"
#include "lib/tasks.h"
#include "lib/transaction.h"

/* JSON text of the most and longest headers, each character escaped. */
enum { HEADERS_SIZE_MAX = SLUICE_HEADER_COUNT_MAX * 6 * (SLUICE_HEADER_VALUE_SIZE_MAX + 256) };

struct sl_store *sl_database_store(sluice_database *database)
{
    return database->store;
}

uintptr_t sl_this_thread(void)
{
    const struct sl_fiber *fiber = sl_fiber_current();
    return fiber == NULL ? (uintptr_t) pthread_self() : (uintptr_t) fiber;
}

/* Make a root of a store. `url` may be NULL. */
static int wrap(struct sl_store *take_store, const char *url, sluice_database **ret_database,
    struct sluice_error *error)
{
    sluice_database *database = sl_allocate(sizeof(*database));
    char *copy = url == NULL ? NULL : sl_copy_text(url);
    if (database == NULL || (url != NULL && copy == NULL)) {
        sl_free(database);
        sl_free(copy);
        sl_store_close(take_store);
        return sl_fail_memory(error, "a database");
    }
    database->store = take_store;
    database->url = copy;
    database->registry = &database->own_registry;
    database->transaction = &database->base;
    sl_buffer_init(&database->headers, HEADERS_SIZE_MAX);
    *ret_database = database;
    return 0;
}

int sluice_database_open(
    const char *url, sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (sl_store_open(url, SL_STORE_CREATE, &store, error) != 0) {
        return -1;
    }
    return wrap(store, url, ret_database, error);
}

int sluice_database_adopt_sqlite(
    struct sqlite3 *handle, sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (sl_store_adopt_sqlite(handle, &store, error) != 0) {
        return -1;
    }
    return wrap(store, NULL, ret_database, error);
}

int sluice_database_adopt_mariadb(
    struct st_mysql *handle, sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (sl_store_adopt_mariadb(handle, &store, error) != 0) {
        return -1;
    }
    return wrap(store, NULL, ret_database, error);
}

int sluice_database_adopt_postgresql(
    struct pg_conn *connection, sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (sl_store_adopt_postgresql(connection, &store, error) != 0) {
        return -1;
    }
    return wrap(store, NULL, ret_database, error);
}

int sl_database_open_further(sluice_database *database, const char *what,
    sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (database->url == NULL) {
        return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_REJECT,
            "%s needs a further connection, and an adopted one does not say where to: call "
            "sluice_database_set_url",
            what);
    }
    if (database->level == SL_COMPANIONS_MAX) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "%s inside of itself, %d deep: each has a connection, and more are not opened", what,
            SL_COMPANIONS_MAX);
    }
    if (sl_store_open(database->url, SL_STORE_EXISTING, &store, error) != 0) {
        return -1;
    }
    sluice_database *further;
    if (wrap(store, database->url, &further, error) != 0) {
        return -1;
    }
    further->level = database->level + 1;
    further->registry = database->registry;
    *ret_database = further;
    return 0;
}

int sluice_database_set_url(sluice_database *database, const char *url, struct sluice_error *error)
{
    if (url == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the URL of a database is NULL");
    }
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    char *copy = sl_copy_text(url);
    if (copy == NULL) {
        return sl_database_leave(database, sl_fail_memory(error, "a URL"));
    }
    sl_free(database->url);
    database->url = copy;
    return sl_database_leave(database, 0);
}

/* A transaction of ours that is open is rolled back; who forgot it should know. */
static void end_open_transaction(sluice_database *database)
{
    sl_transaction_settle(database);
    if (database->transaction->stage == SL_STAGE_IDLE) {
        return; /* what the service began itself on an adopted connection is its own */
    }
    sl_log(SL_LOG_WARN, "a database was closed with an open transaction; it is rolled back",
        "database=%s", sl_store_id(database->store));
    sl_transaction_rollback(database);
}

void sluice_database_close(sluice_database *database)
{
    struct sluice_error error;
    if (database == NULL) {
        return;
    }
    bool is_in = sl_database_enter(database, &error) == 0;
    if (!is_in || database->use_depth > 1) {
        if (is_in) {
            sl_database_leave(database, 0);
        }
        sl_log(SL_LOG_ERROR, "a database was closed while it is in use; it stays open",
            "database=%s", sl_store_id(database->store));
        return;
    }
    end_open_transaction(database);
    sluice_database_close(database->companion);
    if (database->registry == &database->own_registry) {
        sl_registry_deinit(database->registry);
    }
    sl_store_close(database->store);
    sl_gate_unref(database->gate);
    sl_buffer_deinit(&database->headers);
    sl_transaction_deinit(&database->base);
    sl_free(database->url);
    sl_free(database);
}

struct st_mysql *sluice_database_mariadb(sluice_database *database)
{
    return database == NULL ? NULL : sl_store_mariadb(database->store);
}

struct sqlite3 *sluice_database_sqlite(sluice_database *database)
{
    return database == NULL ? NULL : sl_store_sqlite(database->store);
}

struct pg_conn *sluice_database_postgresql(sluice_database *database)
{
    return database == NULL ? NULL : sl_store_postgresql(database->store);
}

int sl_database_leave(sluice_database *database, int status)
{
    if (--database->use_depth == 0) {
        atomic_store_explicit(&database->user, 0, memory_order_release);
    }
    return status;
}

int sl_database_enter(sluice_database *database, struct sluice_error *error)
{
    uintptr_t self = sl_this_thread();
    uintptr_t nobody = 0;
    if (database == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the database is NULL");
    }
    if (atomic_load_explicit(&database->user, memory_order_relaxed) != self &&
        !atomic_compare_exchange_strong_explicit(
            &database->user, &nobody, self, memory_order_acquire, memory_order_relaxed)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the database is in use by another thread at this moment; open one a thread");
    }
    database->use_depth++;
    const struct sl_transaction *transaction = database->transaction;
    if (transaction->stage != SL_STAGE_IDLE && transaction->thread != self) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the open transaction was begun by another thread; open one database a thread, or go "
            "on with it by sluice_database_take_over");
        return sl_database_leave(database, -1);
    }
    if (database->is_suspended) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "this database is suspended while a work runs under SLUICE_REQUIRES_NEW; use the one "
            "that the work was given");
        return sl_database_leave(database, -1);
    }
    return 0;
}

int sluice_database_take_over(sluice_database *database, struct sluice_error *error)
{
    uintptr_t nobody = 0;
    if (database == NULL || !atomic_compare_exchange_strong(&database->user, &nobody, 1)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the database is in use at this moment, so that no other thread can go on with it");
    }
    int status = 0;
    if (database->transaction->stage != SL_STAGE_OPEN) {
        status = sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "there is nothing to go on with: no transaction is open");
    } else {
        database->transaction->thread = sl_this_thread();
    }
    atomic_store(&database->user, 0);
    return status;
}
