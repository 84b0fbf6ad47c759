#include "store/store.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/url.h"
#include "store/mariadb.h"
#include "store/ops.h"
#include "store/postgresql.h"
#include "store/sql.h"
#include "store/sqlite.h"

static bool has_scheme(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

static bool is_postgresql(const char *url)
{
    return has_scheme(url, "postgresql://") || has_scheme(url, "postgres://");
}

static int fail_url(const char *url, struct sluice_error *error)
{
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "'%.*s...' is no database URL; use sqlite:FILE, postgresql://USER@HOST/DATABASE or "
        "mariadb://USER@HOST/DATABASE",
        (int) strcspn(url, ":@"), url);
}

int sl_store_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error)
{
    struct sl_text file;
    if (url != NULL && sl_url_parse_file(sl_text_of(url), "sqlite", &file)) {
        return sl_store_sqlite_open(file.data, mode, ret_store, error);
    }
    if (url != NULL && is_postgresql(url)) {
        return sl_store_postgresql_open(url, mode, ret_store, error);
    }
    if (url != NULL && sl_mariadb_is_url(url)) {
        return sl_store_mariadb_open(url, mode, ret_store, error);
    }
    return fail_url(url == NULL ? "" : url, error);
}

int sl_store_schema(const char *url, const char **ret_sql, struct sluice_error *error)
{
    struct sl_text file;
    if (url != NULL && sl_url_parse_file(sl_text_of(url), "sqlite", &file)) {
        *ret_sql = sl_store_sqlite_schema();
        return 0;
    }
    if (url != NULL && is_postgresql(url)) {
        *ret_sql = sl_store_postgresql_schema();
        return 0;
    }
    if (url != NULL && sl_mariadb_is_url(url)) {
        *ret_sql = sl_store_mariadb_schema();
        return 0;
    }
    return fail_url(url == NULL ? "" : url, error);
}

int sl_store_adopt_sqlite(
    struct sqlite3 *handle, struct sl_store **ret_store, struct sluice_error *error)
{
    return sl_store_sqlite_adopt(handle, ret_store, error);
}

int sl_store_adopt_postgresql(
    struct pg_conn *connection, struct sl_store **ret_store, struct sluice_error *error)
{
    return sl_store_postgresql_adopt(connection, ret_store, error);
}

int sl_store_adopt_mariadb(
    struct st_mysql *handle, struct sl_store **ret_store, struct sluice_error *error)
{
    return sl_store_mariadb_adopt(handle, ret_store, error);
}

void sl_store_close(struct sl_store *store)
{
    if (store != NULL) {
        store->ops->close(store);
    }
}

const char *sl_store_kind(const struct sl_store *store)
{
    return store->dialect->name;
}

struct sqlite3 *sl_store_sqlite(struct sl_store *store)
{
    return store->sqlite;
}

struct pg_conn *sl_store_postgresql(struct sl_store *store)
{
    return store->postgresql;
}

struct st_mysql *sl_store_mariadb(struct sl_store *store)
{
    return store->mariadb;
}

const char *sl_store_id(const struct sl_store *store)
{
    return store->id;
}

int sl_store_renew_id(struct sl_store *store, struct sluice_error *error)
{
    return store->ops->renew_id(store, error);
}

const char *sl_store_watch_file(const struct sl_store *store)
{
    return store->watch_file;
}

bool sl_store_has_changed(struct sl_store *store)
{
    return store->ops->has_changed(store);
}

static int need_transaction(
    const struct sl_store *store, const char *what, struct sluice_error *error)
{
    if (store->ops->in_transaction(store)) {
        return 0;
    }
    return sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
        "cannot %s: no transaction is open on this connection; begin one, so that it commits or "
        "rolls back with the data that it belongs to",
        what);
}

int sl_store_begin(struct sl_store *store, struct sluice_error *error)
{
    if (store->ops->in_transaction(store)) {
        return sl_fail(error, SLUICE_IN_TRANSACTION, SLUICE_REJECT,
            "cannot begin a transaction: one is open on this connection; commit it or roll it back "
            "first");
    }
    store->savepoint_depth = 0;
    return store->ops->begin(store, error);
}

int sl_store_commit(struct sl_store *store, struct sluice_error *error)
{
    return need_transaction(store, "commit", error) != 0 ? -1 : store->ops->commit(store, error);
}

void sl_store_rollback(struct sl_store *store)
{
    store->ops->rollback(store);
}

bool sl_store_in_transaction(const struct sl_store *store)
{
    return store->ops->in_transaction(store);
}

bool sl_store_is_spoilt(const struct sl_store *store)
{
    return store->ops->is_spoilt != NULL && store->ops->is_spoilt(store);
}

int sl_store_explain_rollback(const struct sl_store *store, struct sluice_error *error)
{
    return store->ops->explain_rollback(store, error);
}

int sl_store_savepoint(struct sl_store *store, struct sluice_error *error)
{
    if (need_transaction(store, "set a savepoint", error) != 0) {
        return -1;
    }
    store->savepoint_depth++;
    int status = store->ops->savepoint(store, error);
    store->savepoint_depth -= status == 0 ? 0 : 1;
    return status;
}

int sl_store_savepoint_end(struct sl_store *store, bool is_kept, struct sluice_error *error)
{
    int status = store->ops->savepoint_end(store, is_kept, error);
    store->savepoint_depth -= status == 0 && store->savepoint_depth > 0 ? 1 : 0;
    return status;
}

bool sl_store_blocks_writers(const struct sl_store *store)
{
    return store->ops->blocks_writers != NULL && store->ops->blocks_writers(store);
}

int sl_store_forbid_writes(struct sl_store *store, bool is_forbidden, struct sluice_error *error)
{
    return store->ops->forbid_writes == NULL
        ? 0
        : store->ops->forbid_writes(store, is_forbidden, error);
}

bool sl_store_was_forbidden(struct sl_store *store)
{
    return store->ops->was_forbidden != NULL && store->ops->was_forbidden(store);
}

void sl_store_interrupt(struct sl_store *store)
{
    if (store->ops->interrupt != NULL) {
        store->ops->interrupt(store);
    }
}

int sl_store_outbox_insert(
    struct sl_store *store, const struct sl_event *event, struct sluice_error *error)
{
    return need_transaction(store, "publish an event", error) != 0
        ? -1
        : store->ops->outbox_insert(store, event, error);
}

int sl_store_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    return store->ops->outbox_read(store, position, count_max, size_max, batch, error);
}

void sl_outbox_batch_deinit(struct sl_outbox_batch *batch)
{
    sl_free(batch->events);
    sl_free(batch->positions);
    sl_bytes_deinit(&batch->bytes);
    sl_outbox_batch_own(batch, NULL, NULL);
    *batch = (struct sl_outbox_batch) {0};
}

void sl_outbox_batch_own(
    struct sl_outbox_batch *batch, void *take_owned, void (*release)(void *owned))
{
    if (batch->release != NULL) {
        batch->release(batch->owned);
    }
    batch->owned = take_owned;
    batch->release = release;
}

int sl_store_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    return store->ops->outbox_state(store, ret_state, error);
}

int sl_store_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error)
{
    return store->ops->confirm(store, position, reached_ms, error);
}

int sl_store_lease(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
    struct sluice_error *error)
{
    return store->ops->lease(store, holder, ttl_ms, ret_is_held, error);
}

int sl_store_lease_end(struct sl_store *store, const char *holder, struct sluice_error *error)
{
    return store->ops->lease_end(store, holder, error);
}

int sl_store_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error)
{
    return store->ops->outbox_retain(store, before_ms, count_max, ret_deleted, error);
}

int sl_store_inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
{
    return need_transaction(store, "mark an event as applied", error) != 0
        ? -1
        : store->ops->inbox_begin(store, consumer, event_id, now_ms, ret_is_new, error);
}

int sl_store_inbox_begin_all(struct sl_store *store, const char *consumer,
    const struct sl_inbox_ids *ids, int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
{
    if (need_transaction(store, "mark events as applied", error) != 0) {
        return -1;
    }
    if (store->ops->inbox_begin_all != NULL) {
        return store->ops->inbox_begin_all(store, consumer, ids, now_ms, ret_is_new, error);
    }
    for (size_t i = 0; i < ids->count; i++) {
        if (store->ops->inbox_begin(
                store, consumer, ids->event_ids[i], now_ms, &ret_is_new[i], error) != 0) {
            return -1;
        }
    }
    return 0;
}

int sl_store_inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error)
{
    return store->ops->inbox_retain(store, consumer, before_ms, count_max, ret_deleted, error);
}

int sl_store_count_consumed(struct sl_store *store, const char *consumer, int64_t applied,
    int64_t duplicates, int64_t failures, int64_t now_ms, struct sluice_error *error)
{
    struct sl_consumed consumed = {
        .consumer = consumer,
        .applied = applied,
        .duplicates = duplicates,
        .failures = failures,
        .now_ms = now_ms,
    };
    return store->ops->count_consumed(store, &consumed, error);
}

int sl_store_each_consumer(
    struct sl_store *store, sl_consumer_visit visit, void *context, struct sluice_error *error)
{
    return store->ops->each_consumer(store, visit, context, error);
}

int sl_store_key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error)
{
    return store->ops->key_state(store, stage, event, position, ret_state, error);
}

int sl_store_has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error)
{
    return store->ops->has_held(store, stage, ret_has_held, error);
}

int sl_store_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
{
    return store->ops->hold(store, hold, error);
}

int sl_store_held_update(struct sl_store *store, int64_t number, enum sl_held_state state,
    int attempts, int64_t next_attempt_ms, const char *reason, struct sluice_error *error)
{
    struct sl_held_change change = {
        .number = number,
        .state = state,
        .attempts = attempts,
        .next_attempt_ms = next_attempt_ms,
        .reason = reason,
    };
    return store->ops->held_update(store, &change, error);
}

int sl_store_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    return store->ops->held_remove(store, number, now_ms, error);
}

int sl_store_held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    return store->ops->held_next(store, number, now_ms, error);
}

int sl_store_held_due(struct sl_store *store, const char *stage, struct sl_position position_max,
    int64_t now_ms, sl_held_visit visit, void *context, int64_t *ret_due_ms,
    struct sluice_error *error)
{
    struct sl_held_due_query query = {
        .stage = stage, .position_max = position_max, .now_ms = now_ms};
    return store->ops->held_due(store, &query, visit, context, ret_due_ms, error);
}

int sl_store_held_lock(struct sl_store *store, int64_t number, int attempts, bool *ret_is_ours,
    struct sluice_error *error)
{
    return store->ops->held_lock(store, number, attempts, ret_is_ours, error);
}

int sl_store_each_held(struct sl_store *store, const struct sl_held_filter *filter,
    sl_held_visit visit, void *context, struct sluice_error *error)
{
    return store->ops->each_held(store, filter, visit, context, error);
}

int sl_store_each_held_count(
    struct sl_store *store, sl_held_count_visit visit, void *context, struct sluice_error *error)
{
    return store->ops->each_held_count(store, visit, context, error);
}

int sl_store_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    return store->ops->redrive(store, filter, now_ms, ret_count, error);
}

int sl_store_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    return store->ops->drop(store, filter, now_ms, ret_count, error);
}

const char *sl_held_state_name(enum sl_held_state state)
{
    switch (state) {
    case SL_HELD_RETRYING:
        return "RETRYING";
    case SL_HELD_WAITING:
        return "WAITING";
    case SL_HELD_FAILED:
        break;
    }
    return "FAILED_PERMANENTLY";
}
