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
    bool was_read_only; /* before writes were forbidden */
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

/**
 * Begin a transaction unless one is open; `*ret_is_ours` tells which. For operations of several
 * statements.
 */
int sl_store_sqlite_enter(struct sl_sqlite *sqlite, bool *ret_is_ours, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * End what sl_store_sqlite_enter began: commit if `status` is 0, else roll back. Returns the
 * status of the whole.
 */
int sl_store_sqlite_leave(
    struct sl_sqlite *sqlite, bool is_ours, int status, struct sluice_error *error);

/* The members of the vtable, by concept: sqlite_outbox.c, sqlite_inbox.c, sqlite_dead_letter.c. */

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
int sl_sqlite_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_lease(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
    struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_lease_end(struct sl_store *store, const char *holder, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_count_consumed(
    struct sl_store *store, const struct sl_consumed *consumed, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_each_consumer(
    struct sl_store *store, sl_consumer_visit visit, void *context, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_held_due(struct sl_store *store, const struct sl_held_due_query *query,
    sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_each_held(struct sl_store *store, const struct sl_held_filter *filter,
    sl_held_visit visit, void *context, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_each_held_count(
    struct sl_store *store, sl_held_count_visit visit, void *context, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error);
/** See store/store.h. */
int sl_sqlite_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error);

#endif
