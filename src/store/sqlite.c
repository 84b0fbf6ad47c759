#include "store/sqlite.h"

#include <stdio.h>

#include "base/memory.h"
#include "event/id.h"
#include "store/portable.h"
#include "store/sqlite_sql.h"

extern const unsigned char sl_sql_sqlite[];

/* The version of the tables that this program makes and understands. */
#define SCHEMA_VERSION "2"

const char *sl_store_sqlite_schema(void)
{
    return (const char *) sl_sql_sqlite;
}

struct sl_sqlite *sl_store_sqlite_connection(struct sl_store *store)
{
    return &((struct sl_store_sqlite *) store)->connection;
}

static void close_store(struct sl_store *store)
{
    struct sl_store_sqlite *sqlite = (struct sl_store_sqlite *) store;
    sl_sqlite_close(&sqlite->connection);
    sl_free(sqlite->watch_file);
    sl_free(sqlite);
}

static int read_meta(struct sl_sqlite *sqlite, const char *name, char *ret_value, size_t size,
    struct sluice_error *error)
{
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "SELECT value FROM sluice_meta WHERE name = ?", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(name));
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        snprintf(ret_value, size, "%s", (const char *) sqlite3_column_text(statement, 0));
    }
    sqlite3_reset(statement);
    if (result == SQLITE_DONE) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables in %s have no %s: they were changed by hand, restore them",
            sqlite->name, name);
    }
    return result == SQLITE_ROW ? 0
                                : sl_sqlite_fail(sqlite, result, "cannot read sluice_meta", error);
}

static int write_new_id(struct sl_sqlite *sqlite, const char *id, struct sluice_error *error)
{
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "INSERT OR REPLACE INTO sluice_meta VALUES ('id', ?)", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(id));
    return sl_sqlite_step_done(sqlite, statement, "cannot write sluice_meta", error);
}

static int has_tables(struct sl_sqlite *sqlite, bool *ret_has_tables, struct sluice_error *error)
{
    int64_t number;
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "SELECT 1 FROM sqlite_master WHERE name = 'sluice_meta'", error);
    return statement == NULL
        ? -1
        : sl_sqlite_step_number(sqlite, statement, "cannot read", ret_has_tables, &number, error);
}

static int create_tables(struct sl_sqlite *sqlite, struct sluice_error *error)
{
    bool is_there = false;
    if (sl_sqlite_begin(sqlite, error) != 0) {
        return -1;
    }
    /* Another process may have made them while this one waited for the lock. */
    int status = has_tables(sqlite, &is_there, error);
    if (status == 0 && !is_there) {
        char id[SLUICE_EVENT_ID_SIZE];
        sl_id_new(id);
        status =
            sl_sqlite_run(sqlite, sl_store_sqlite_schema(), "cannot create sluice's tables", error);
        if (status == 0) {
            status = sl_sqlite_run(sqlite,
                "INSERT INTO sluice_meta VALUES ('schema_version', '" SCHEMA_VERSION "')",
                "cannot create sluice's tables", error);
        }
        status = status == 0 ? write_new_id(sqlite, id, error) : -1;
    }
    if (status == 0) {
        return sl_sqlite_commit(sqlite, error);
    }
    sl_sqlite_rollback(sqlite);
    return -1;
}

/* What version 2 added. */
static const char from_version_1[] =
    "ALTER TABLE sluice_dead_letter ADD COLUMN tick INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sluice_relay ADD COLUMN tick INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sluice_relay ADD COLUMN holder TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE sluice_relay ADD COLUMN term INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sluice_relay ADD COLUMN lease_ends_at INTEGER NOT NULL DEFAULT 0;"
    "UPDATE sluice_meta SET value = '2' WHERE name = 'schema_version'";

static int upgrade_tables(struct sl_sqlite *sqlite, struct sluice_error *error)
{
    char version[16];
    if (sl_sqlite_begin(sqlite, error) != 0) {
        return -1;
    }
    /* Another process may have upgraded them while this one waited for the lock. */
    int status = read_meta(sqlite, "schema_version", version, sizeof(version), error);
    if (status == 0 && strcmp(version, "1") == 0) {
        status = sl_sqlite_run(sqlite, from_version_1, "cannot upgrade sluice's tables", error);
    }
    if (status == 0) {
        return sl_sqlite_commit(sqlite, error);
    }
    sl_sqlite_rollback(sqlite);
    return -1;
}

static int check_version(
    struct sl_sqlite *sqlite, enum sl_store_mode mode, struct sluice_error *error)
{
    char version[16];
    if (read_meta(sqlite, "schema_version", version, sizeof(version), error) != 0) {
        return -1;
    }
    if (strcmp(version, SCHEMA_VERSION) == 0) {
        return 0;
    }
    if (strcmp(version, "1") != 0) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables in %s have version %s, this program knows version %s; use the program "
            "that made them, or a newer one",
            sqlite->name, version, SCHEMA_VERSION);
    }
    if (mode == SL_STORE_EXISTING) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables in %s have version %s, older than this program's %s; upgrade them "
            "with: sluice init --database sqlite:%s",
            sqlite->name, version, SCHEMA_VERSION, sqlite->name);
    }
    return upgrade_tables(sqlite, error);
}

static int check_tables(
    struct sl_store_sqlite *store, enum sl_store_mode mode, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &store->connection;
    bool is_there = false;
    if (has_tables(sqlite, &is_there, error) != 0) {
        return -1;
    }
    if (!is_there && mode == SL_STORE_EXISTING) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables are missing in %s; create them with: sluice init --database sqlite:%s",
            sqlite->name, sqlite->name);
    }
    if (!is_there && create_tables(sqlite, error) != 0) {
        return -1;
    }
    if (check_version(sqlite, mode, error) != 0) {
        return -1;
    }
    return read_meta(sqlite, "id", store->base.id, sizeof(store->base.id), error);
}

static int renew_id(struct sl_store *store, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    char id[SLUICE_EVENT_ID_SIZE];
    sl_id_new(id);
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = write_new_id(sqlite, id, error);
    if (status == 0) {
        status = sl_sqlite_run(sqlite, "UPDATE sluice_relay SET position = 0, updated_at = 0",
            "cannot reset the position", error);
    }
    status = sl_store_leave(store, is_ours, status, error);
    if (status == 0) {
        memcpy(store->id, id, sizeof(id));
    }
    return status;
}

static bool has_changed(struct sl_store *store)
{
    struct sl_store_sqlite *sqlite = (struct sl_store_sqlite *) store;
    int64_t version = sl_sqlite_data_version(&sqlite->connection);
    if (version != -1 && version == sqlite->data_version) {
        return false;
    }
    sqlite->data_version = version;
    return true;
}

static int begin(struct sl_store *store, struct sluice_error *error)
{
    return sl_sqlite_begin(sl_store_sqlite_connection(store), error);
}

static int commit(struct sl_store *store, struct sluice_error *error)
{
    return sl_sqlite_commit(sl_store_sqlite_connection(store), error);
}

static void rollback(struct sl_store *store)
{
    sl_sqlite_rollback(sl_store_sqlite_connection(store));
}

static bool in_transaction(const struct sl_store *store)
{
    return sl_sqlite_in_transaction(&((const struct sl_store_sqlite *) store)->connection);
}

static int explain_rollback(const struct sl_store *store, struct sluice_error *error)
{
    const struct sl_sqlite *sqlite = &((const struct sl_store_sqlite *) store)->connection;
    int result = sqlite3_extended_errcode(sqlite->handle);
    switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
        return sl_sqlite_fail(sqlite, result, "the transaction was rolled back", error);
    default:
        return 0;
    }
}

static bool blocks_writers(const struct sl_store *store)
{
    return sqlite3_txn_state(store->sqlite, NULL) == SQLITE_TXN_WRITE;
}

/* On somebody else's connection writes may be forbidden already: then they stay so. */
static int note_forbidden(struct sl_store_sqlite *store, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &store->connection;
    bool is_found;
    int64_t before = 0;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, "PRAGMA query_only", error);
    if (statement == NULL ||
        sl_sqlite_step_number(sqlite, statement, "cannot look", &is_found, &before, error) != 0) {
        return -1;
    }
    store->was_read_only = before != 0;
    store->is_forbidding = true;
    return 0;
}

static int forbid_writes(struct sl_store *base, bool is_forbidden, struct sluice_error *error)
{
    struct sl_store_sqlite *store = (struct sl_store_sqlite *) base;
    if (is_forbidden) {
        return !store->is_forbidding && note_forbidden(store, error) != 0
            ? -1
            : sl_sqlite_run(
                  &store->connection, "PRAGMA query_only = 1", "cannot forbid writes", error);
    }
    if (store->is_forbidding && !store->was_read_only &&
        sl_sqlite_run(&store->connection, "PRAGMA query_only = 0", "cannot allow writes", error) !=
            0) {
        return -1;
    }
    store->is_forbidding = false;
    return 0;
}

static bool was_forbidden(struct sl_store *store)
{
    if ((sqlite3_errcode(store->sqlite) & 0xff) != SQLITE_READONLY) {
        return false;
    }
    /* Asked once: an empty statement sets the code back. */
    sqlite3_exec(store->sqlite, "", NULL, NULL, NULL);
    return true;
}

static void interrupt_statement(struct sl_store *store)
{
    sqlite3_interrupt(store->sqlite);
}

static const struct sl_store_ops sqlite_ops = {
    SL_PORTABLE_OPS,
    .close = close_store,
    .run = sl_sqlite_run_sql,
    .renew_id = renew_id,
    .has_changed = has_changed,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .in_transaction = in_transaction,
    .explain_rollback = explain_rollback,
    .blocks_writers = blocks_writers,
    .forbid_writes = forbid_writes,
    .was_forbidden = was_forbidden,
    .interrupt = interrupt_statement,
    .outbox_insert = sl_sqlite_outbox_insert,
    .outbox_read = sl_sqlite_outbox_read,
    .outbox_state = sl_sqlite_outbox_state,
    .outbox_retain = sl_sqlite_outbox_retain,
};

static const struct sl_dialect sqlite_dialect = {
    .name = "sqlite",
    .inbox_insert = SL_SQL_INBOX_INSERT,
    .count_consumed = SL_SQL_COUNT_CONSUMED,
    .hold = SL_SQL_HOLD,
    /* The machine's clock is the database's: all who open the file share it. */
    .lease = SL_SQL_LEASE("CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)"),
};

/* Finish a store whose connection is set; on failure everything is freed. */
static int finish(struct sl_store_sqlite *store, enum sl_store_mode mode,
    struct sl_store **ret_store, struct sluice_error *error)
{
    store->base.ops = &sqlite_ops;
    store->base.dialect = &sqlite_dialect;
    store->base.sqlite = store->connection.handle;
    store->data_version = -1;
    if (check_tables(store, mode, error) != 0) {
        close_store(&store->base);
        return -1;
    }
    store->watch_file = sl_copy_text(store->connection.name);
    if (store->watch_file == NULL) {
        close_store(&store->base);
        return sl_fail_memory(error, "a store");
    }
    store->base.watch_file = store->watch_file;
    *ret_store = &store->base;
    return 0;
}

int sl_store_sqlite_open(const char *file, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error)
{
    struct sl_store_sqlite *store = sl_allocate(sizeof(*store));
    if (store == NULL) {
        return sl_fail_memory(error, "a store");
    }
    enum sl_sqlite_mode open_mode = mode == SL_STORE_CREATE ? SL_SQLITE_CREATE : SL_SQLITE_EXISTING;
    if (sl_sqlite_open(&store->connection, file, open_mode, error) != 0) {
        sl_free(store);
        return -1;
    }
    return finish(store, mode, ret_store, error);
}

int sl_store_sqlite_adopt(
    struct sqlite3 *handle, struct sl_store **ret_store, struct sluice_error *error)
{
    struct sl_store_sqlite *store = sl_allocate(sizeof(*store));
    if (store == NULL) {
        return sl_fail_memory(error, "a store");
    }
    if (sl_sqlite_adopt(&store->connection, handle, error) != 0) {
        sl_free(store);
        return -1;
    }
    return finish(store, SL_STORE_EXISTING, ret_store, error);
}
