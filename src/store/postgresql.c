#include "store/postgresql.h"

#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "store/portable.h"
#include "store/sqlite_sql.h"

static struct sl_store_postgresql *of(struct sl_store *store)
{
    return (struct sl_store_postgresql *) store;
}

static void close_store(struct sl_store *base)
{
    struct sl_store_postgresql *store = of(base);
    if (!store->is_adopted) {
        sl_postgresql_rollback(base);
    }
    sl_postgresql_disconnect(store);
    sl_postgresql_forget_tick(&store->tick);
    sl_buffer_deinit(&store->text);
    sl_buffer_deinit(&store->values);
    sl_buffer_deinit(&store->ids);
    sl_free(store->url);
    sl_free(store);
}

/* Nothing cheap tells: the reader looks for itself. */
static bool has_changed(struct sl_store *store)
{
    (void) store;
    return true;
}

static bool is_spoilt(const struct sl_store *store)
{
    const struct sl_store_postgresql *postgresql = (const struct sl_store_postgresql *) store;
    return PQtransactionStatus(postgresql->connection) == PQTRANS_INERROR;
}

static bool in_transaction(const struct sl_store *store)
{
    return sl_postgresql_in_transaction((const struct sl_store_postgresql *) store);
}

/* PostgreSQL never ends a transaction by itself: it fails, and waits for its end. */
static int explain_rollback(const struct sl_store *store, struct sluice_error *error)
{
    (void) store;
    (void) error;
    return 0;
}

static int forbid_writes(struct sl_store *store, bool is_forbidden, struct sluice_error *error)
{
    return is_forbidden ? sl_postgresql_exec(of(store), "SET default_transaction_read_only = on",
                              "cannot forbid writes", error)
                        : sl_postgresql_exec(of(store), "RESET default_transaction_read_only",
                              "cannot allow writes", error);
}

static bool was_forbidden(struct sl_store *store)
{
    bool was_forbidden = of(store)->was_forbidden;
    of(store)->was_forbidden = false; /* asked once */
    return was_forbidden;
}

static void interrupt_statement(struct sl_store *store)
{
    char ignored[256];
    if (of(store)->cancel != NULL) {
        PQcancel(of(store)->cancel, ignored, sizeof(ignored));
    }
}

static const struct sl_store_ops postgresql_ops = {
    SL_PORTABLE_OPS,
    .close = close_store,
    .run = sl_postgresql_run_sql,
    .renew_id = sl_postgresql_renew_id,
    .has_changed = has_changed,
    .begin = sl_postgresql_begin,
    .commit = sl_postgresql_commit,
    .rollback = sl_postgresql_rollback,
    .in_transaction = in_transaction,
    .is_spoilt = is_spoilt,
    .explain_rollback = explain_rollback,
    .forbid_writes = forbid_writes,
    .was_forbidden = was_forbidden,
    .interrupt = interrupt_statement,
    .inbox_begin_all = sl_postgresql_inbox_begin_all,
    .outbox_insert = sl_postgresql_outbox_insert,
    .outbox_read = sl_postgresql_outbox_read,
    .outbox_state = sl_postgresql_outbox_state,
    .outbox_retain = sl_postgresql_outbox_retain,
};

#define CLOCK "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

static const struct sl_dialect postgresql_dialect = {
    .name = "postgresql",
    .has_row_locks = true,
    .inbox_insert = SL_SQL_INBOX_INSERT,
    .count_consumed = SL_SQL_COUNT_CONSUMED,
    .hold = SL_SQL_HOLD,
    .lease = SL_SQL_LEASE(CLOCK),
    .clock = "SELECT " CLOCK,
    .outbox_find =
        "SELECT (SELECT min(t.number) FROM sluice_tick t"
        "  WHERE pg_visible_in_snapshot(o.xid, t.snapshot)), o.position, o.id, o.aggregatetype,"
        " o.aggregateid, o.type, o.payload, coalesce(o.headers::text, '{}'),"
        " floor(extract(epoch FROM o.created_at) * 1000)::bigint "
        "FROM sluice_outbox o WHERE o.id = ?1 ORDER BY o.position",
    .open_transactions =
        "SELECT who, age_ms FROM (SELECT 'pid ' || pid || ' of ' || coalesce(usename, '?')"
        "  || ' (' || coalesce(nullif(application_name, ''), 'no name') || ', '"
        "  || coalesce(state, '?') || ')' || CASE datname WHEN current_database() THEN ''"
        "  ELSE ' in the database ' || datname END AS who,"
        "  floor(extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint AS age_ms"
        "  FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        " UNION ALL SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || owner"
        "  || CASE database WHEN current_database() THEN '' ELSE ' in the database ' || database"
        "  END, floor(extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint"
        "  FROM pg_prepared_xacts) AS open "
        "WHERE age_ms > ?1 ORDER BY age_ms DESC",
};

/* Open what is set in `take_store`; on failure everything is freed. */
static int open_store(struct sl_store_postgresql *take_store, enum sl_store_mode mode,
    struct sl_store **ret_store, struct sluice_error *error)
{
    take_store->base.ops = &postgresql_ops;
    take_store->base.dialect = &postgresql_dialect;
    snprintf(take_store->name, sizeof(take_store->name), "the database");
    sl_buffer_init(&take_store->text, SL_POSTGRESQL_TEXT_SIZE_MAX);
    sl_buffer_init(&take_store->values, (size_t) 64 << 20);
    sl_buffer_init(&take_store->ids, (size_t) 1 << 20);
    if (sl_postgresql_connect(take_store, error) != 0 ||
        sl_postgresql_check_tables(take_store, mode, error) != 0) {
        close_store(&take_store->base);
        return -1;
    }
    *ret_store = &take_store->base;
    return 0;
}

int sl_store_postgresql_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error)
{
    struct sl_store_postgresql *store = sl_allocate(sizeof(*store));
    char *copy = sl_copy_text(url);
    if (store == NULL || copy == NULL) {
        sl_free(store);
        sl_free(copy);
        return sl_fail_memory(error, "a store");
    }
    store->url = copy;
    return open_store(store, mode, ret_store, error);
}

int sl_store_postgresql_adopt(
    PGconn *connection, struct sl_store **ret_store, struct sluice_error *error)
{
    struct sl_store_postgresql *store = sl_allocate(sizeof(*store));
    if (store == NULL) {
        return sl_fail_memory(error, "a store");
    }
    store->is_adopted = true;
    store->connection = connection;
    return open_store(store, SL_STORE_EXISTING, ret_store, error);
}
