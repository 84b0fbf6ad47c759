/* MariaDB behind store/store.h: opening, transactions, and the vtable. */
#include "store/mariadb.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "store/portable.h"

enum {
    TEXT_SIZE_MAX = 1 << 20,
    OUTCOME_WAIT_MS = 10000, /* so long a server that went away during a COMMIT is waited for */
    OUTCOME_PAUSE_MS = 100
};

/* The Unix time in milliseconds; no time zone has a say in it. */
#define NOW "(timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000)"

static struct sl_store_mariadb *mariadb_of(struct sl_store *store)
{
    return (struct sl_store_mariadb *) store;
}

static void close_store(struct sl_store *base)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    sl_mariadb_forget_statements(store);
    if (store->handle != NULL && store->url.memory != NULL) {
        mysql_close(store->handle); /* the server rolls back what is open */
    }
    sl_mariadb_url_deinit(&store->url);
    sl_buffer_deinit(&store->text);
    sl_free(store);
}

static int command(
    struct sl_store_mariadb *store, const char *text, const char *what, struct sluice_error *error)
{
    return sl_mariadb_command(store, text, strlen(text), what, error);
}

static bool in_transaction(const struct sl_store *store)
{
    return sl_mariadb_in_transaction((struct sl_store_mariadb *) store);
}

static int begin(struct sl_store *base, struct sluice_error *error)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    store->is_gone = false;
    store->marker = 0;
    if (sl_mariadb_need(store, error) != 0) {
        return -1;
    }
    if (command(store, "START TRANSACTION", "cannot begin a transaction", error) == 0) {
        return 0;
    }
    /* Nothing has happened yet, so a connection that had died unnoticed can be replaced. */
    return store->is_lost && store->url.memory != NULL && sl_mariadb_need(store, error) == 0
        ? command(store, "START TRANSACTION", "cannot begin a transaction", error)
        : -1;
}

static void rollback(struct sl_store *base)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    struct sluice_error ignored;
    store->is_gone = false;
    store->marker = 0;
    if (sl_mariadb_in_transaction(store) &&
        command(store, "ROLLBACK", "cannot roll back", &ignored) != 0 &&
        store->url.memory != NULL) {
        store->is_lost = true; /* the server rolls back when the connection ends */
    }
    store->is_gone = false;
}

static void pause_ms(int64_t duration_ms)
{
    struct timespec time = {duration_ms / 1000, duration_ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/*
 * The connection was lost between COMMIT and its answer. If the transaction had published an event,
 * its row tells: it was there before the COMMIT, so a read that waits for its lock finds it, if it
 * was committed, or does not, if it was rolled back.
 */
static int find_outcome(struct sl_store_mariadb *store, struct sluice_error *error)
{
    int64_t deadline_ms = sl_clock_monotonic_ms() + OUTCOME_WAIT_MS;
    struct sluice_error reason = store->gone;
    bool is_there = false;
    int status = -1;
    store->is_gone = false;
    if (store->marker != 0 && store->url.memory != NULL) {
        while ((status = sl_mariadb_find_marker(store, &is_there, &reason)) != 0 &&
            reason.reaction == SLUICE_RETRY && sl_clock_monotonic_ms() < deadline_ms) {
            pause_ms(OUTCOME_PAUSE_MS);
        }
    }
    store->marker = 0;
    if (status == 0 && is_there) {
        return 0;
    }
    if (status == 0) {
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
            "the connection to %s was lost before the COMMIT: the transaction was rolled back, "
            "begin it again",
            sl_mariadb_name(store));
    }
    return sl_fail(error, SLUICE_OUTCOME_UNKNOWN, SLUICE_RETRY,
        "the connection to %s was lost between COMMIT and its answer, and %s tells what became of "
        "the transaction: look before doing it again (%.200s)",
        sl_mariadb_name(store), store->url.memory == NULL ? "nothing" : "no event of it",
        reason.text);
}

static int commit(struct sl_store *base, struct sluice_error *error)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    if (store->is_gone) {
        return sl_mariadb_need(store, error);
    }
    int64_t marker = store->marker;
    if (command(store, "COMMIT", "cannot commit", error) == 0) {
        store->marker = 0;
        return 0;
    }
    store->marker = marker;
    if (store->is_lost) {
        return find_outcome(store, error);
    }
    rollback(base);
    return -1;
}

/* A savepoint of the same name would take the place of the one before, so each depth has its own.
 */
static int savepoint_command(
    struct sl_store *base, const char *verb, int depth, struct sluice_error *error)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    char text[64];
    int size = snprintf(text, sizeof(text), "%s event_savepoint_%d", verb, depth);
    return sl_mariadb_need(store, error) != 0
        ? -1
        : sl_mariadb_command(store, text, (size_t) size, "cannot use a savepoint", error);
}

static int savepoint(struct sl_store *base, struct sluice_error *error)
{
    return savepoint_command(base, "SAVEPOINT", base->savepoint_depth, error);
}

static int savepoint_end(struct sl_store *base, bool is_kept, struct sluice_error *error)
{
    int depth = base->savepoint_depth;
    if (!is_kept && savepoint_command(base, "ROLLBACK TO SAVEPOINT", depth, error) != 0) {
        return -1;
    }
    return savepoint_command(base, "RELEASE SAVEPOINT", depth, error);
}

static bool has_changed(struct sl_store *store)
{
    (void) store;
    return true; /* only a look tells */
}

static int explain_rollback(const struct sl_store *base, struct sluice_error *error)
{
    const struct sl_store_mariadb *store = (const struct sl_store_mariadb *) base;
    if (!store->is_gone) {
        return 0;
    }
    if (error != NULL) {
        *error = store->gone;
    }
    return -1;
}

static void keep_flag(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(bool *) context = sl_value_number(&columns[0]) != 0;
}

static int forbid_writes(struct sl_store *base, bool is_forbidden, struct sluice_error *error)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    if (!is_forbidden) {
        /* On somebody else's connection it may have been so before. */
        return store->was_read_only || store->is_lost
            ? 0
            : command(store, "SET SESSION TRANSACTION READ WRITE", "cannot allow writes", error);
    }
    if (sl_sql_run(base,
            &(struct sl_sql) {
                .text = "SELECT @@tx_read_only",
                .what = "cannot look",
                .visit = keep_flag,
                .context = &store->was_read_only,
            },
            error) != 0) {
        return -1;
    }
    return command(store, "SET SESSION TRANSACTION READ ONLY", "cannot forbid writes", error);
}

static bool was_forbidden(struct sl_store *base)
{
    enum { IN_READ_ONLY_TRANSACTION = 1792 };
    struct sl_store_mariadb *store = mariadb_of(base);
    bool was_forbidden = store->last_number == IN_READ_ONLY_TRANSACTION;
    store->last_number = 0; /* asked once */
    return was_forbidden;
}

/* By another connection, since this one is in use by another thread. */
static void interrupt_statement(struct sl_store *base)
{
    struct sl_store_mariadb *store = mariadb_of(base);
    MYSQL other;
    char text[64];
    struct sluice_error ignored;
    if (store->url.memory == NULL ||
        sl_mariadb_connect_handle(&other, &store->url, &ignored) != 0) {
        return;
    }
    int size = snprintf(text, sizeof(text), "KILL QUERY %lu", atomic_load(&store->thread_id));
    mysql_real_query(&other, text, (unsigned long) size); /* nothing runs: nothing happens */
    mysql_close(&other);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* its own savepoints, in place of the portable   \
                                                  */
static const struct sl_store_ops mariadb_ops = {
    SL_PORTABLE_OPS,
    .close = close_store,
    .run = sl_mariadb_run,
    .renew_id = sl_mariadb_renew_id,
    .has_changed = has_changed,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .in_transaction = in_transaction,
    .explain_rollback = explain_rollback,
    .savepoint = savepoint,
    .savepoint_end = savepoint_end,
    .forbid_writes = forbid_writes,
    .was_forbidden = was_forbidden,
    .interrupt = interrupt_statement,
    .outbox_insert = sl_mariadb_outbox_insert,
    .outbox_read = sl_mariadb_outbox_read,
    .outbox_state = sl_mariadb_outbox_state,
    .outbox_retain = sl_mariadb_outbox_retain,
};
#pragma GCC diagnostic pop

static const struct sl_dialect mariadb_dialect = {
    .name = "mariadb",
    .has_row_locks = true,
    /* Both texts have been checked, so there is nothing else that IGNORE could ignore. */
    .inbox_insert =
        "INSERT IGNORE INTO sluice_inbox (consumer, event_id, applied_at) VALUES (?1, ?2, ?3)",
    .count_consumed =
        "INSERT INTO sluice_consumer (name, applied_total, duplicates_total, failures_total,"
        " updated_at) VALUES (?1, ?2, ?3, ?4, ?5) ON DUPLICATE KEY UPDATE"
        " applied_total = applied_total + VALUES(applied_total),"
        " duplicates_total = duplicates_total + VALUES(duplicates_total),"
        " failures_total = failures_total + VALUES(failures_total),"
        " updated_at = VALUES(updated_at)",
    .hold =
        "INSERT INTO sluice_dead_letter (stage, event_id, topic, message_key, type, payload,"
        " headers, created_at, state, attempts, next_attempt_at, held_at, reason, tick, position)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
        " ON DUPLICATE KEY UPDATE number = number",
    .lease = SL_SQL_LEASE(NOW),
    .clock = "SELECT " NOW,
    .outbox_find =
        "SELECT coalesce(tick, 0), position, id, topic, message_key, type, payload,"
        " headers, created_at FROM sluice_outbox WHERE id = ?1 ORDER BY position",
    .open_transactions =
        "SELECT who, age_ms FROM (SELECT if(t.trx_mysql_thread_id = 0,"
        "  'a prepared transaction (XA RECOVER names it)', concat('connection ',"
        "  t.trx_mysql_thread_id, ' of ', coalesce(p.user, '?'), '@', coalesce(p.host, '?'),"
        "  if(p.command = 'Sleep', ' (idle)', ''))) AS who,"
        "  timestampdiff(MICROSECOND, t.trx_started, now(6)) DIV 1000 AS age_ms"
        "  FROM information_schema.innodb_trx t LEFT JOIN information_schema.processlist p"
        "  ON p.id = t.trx_mysql_thread_id WHERE t.trx_rows_modified > 0"
        "  AND coalesce(p.db, database()) = database()) AS open_ones "
        "WHERE age_ms > ?1 ORDER BY age_ms DESC",
};

static struct sl_store_mariadb *make_store(void)
{
    struct sl_store_mariadb *store = sl_allocate(sizeof(*store));
    if (store != NULL) {
        store->base.ops = &mariadb_ops;
        store->base.dialect = &mariadb_dialect;
        sl_buffer_init(&store->text, TEXT_SIZE_MAX);
    }
    return store;
}

static int finish(struct sl_store_mariadb *store, enum sl_store_mode mode,
    struct sl_store **ret_store, struct sluice_error *error)
{
    store->base.mariadb = store->handle;
    if (sl_mariadb_check_tables(store, mode, error) != 0) {
        close_store(&store->base);
        return -1;
    }
    *ret_store = &store->base;
    return 0;
}

int sl_store_mariadb_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error)
{
    struct sl_store_mariadb *store = make_store();
    if (store == NULL) {
        return sl_fail_memory(error, "a store");
    }
    if (sl_mariadb_url_parse(url, &store->url, error) != 0 ||
        sl_mariadb_connect(store, error) != 0) {
        close_store(&store->base);
        return -1;
    }
    return finish(store, mode, ret_store, error);
}

int sl_store_mariadb_adopt(
    struct st_mysql *handle, struct sl_store **ret_store, struct sluice_error *error)
{
    const char *charset = mysql_character_set_name(handle);
    if (charset == NULL || strcmp(charset, "utf8mb4") != 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the caller's connection has the character set %s; call "
            "mysql_set_character_set(handle, \"utf8mb4\") first",
            charset == NULL ? "(none)" : charset);
    }
    struct sl_store_mariadb *store = make_store();
    if (store == NULL) {
        return sl_fail_memory(error, "a store");
    }
    store->handle = handle;
    return finish(store, SL_STORE_EXISTING, ret_store, error);
}
