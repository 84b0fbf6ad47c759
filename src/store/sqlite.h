/*
 * store/sqlite.h - the SQLite store's own parts: opening it, and what its files share.
 */
#ifndef SL_STORE_SQLITE_H
#define SL_STORE_SQLITE_H

#include "sqlite/connection.h"
#include "store/ops.h"

struct sl_store_sqlite {
    struct sl_store base;
    struct sl_sqlite connection;
    int64_t data_version;
    bool is_forbidding; /* writes are forbidden, or it was tried */
    bool was_read_only; /* before that */
    char *watch_file;
};

/**
 * See sl_store_open; `file` is a path.
 */
int sl_store_sqlite_open(const char *file, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * See sl_store_adopt_sqlite.
 */
int sl_store_sqlite_adopt(struct sqlite3 *handle, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The SQL of the tables. Constant.
 */
const char *sl_store_sqlite_schema(void);

/**
 * The connection under a store that is a SQLite one.
 */
struct sl_sqlite *sl_store_sqlite_connection(struct sl_store *store);

/* Members of the vtable: sqlite_run.c and sqlite_outbox.c. */

/**
 * See sl_sql_run.
 */
int sl_sqlite_run_sql(
    struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error);

/**
 * See store/store.h, as for all below.
 */
int sl_sqlite_outbox_insert(
    struct sl_store *store, const struct sl_event *event, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error);

#endif
