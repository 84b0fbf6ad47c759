#include "base/error.h"
#include "store/batch.h"
#include "store/sqlite.h"
#include "store/sqlite_sql.h"

int sl_sqlite_outbox_insert(
    struct sl_store *store, const struct sl_event *event, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, SL_SQL_OUTBOX_INSERT, error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(event->id));
    sl_sqlite_bind_text(statement, 2, event->topic);
    if (event->has_key) {
        sl_sqlite_bind_text(statement, 3, event->key);
    } else {
        sqlite3_bind_null(statement, 3);
    }
    sl_sqlite_bind_text(statement, 4, event->type);
    sl_sqlite_bind_bytes(statement, 5, event->payload);
    sl_sqlite_bind_text(statement, 6, event->headers);
    sqlite3_bind_int64(statement, 7, event->time_ms);
    return sl_sqlite_step_done(sqlite, statement, "cannot write the outbox", error);
}

static int keep_row(struct sl_outbox_batch *batch, sqlite3_stmt *statement)
{
    struct sl_event event = {
        .has_key = sqlite3_column_type(statement, 3) != SQLITE_NULL,
        .topic = sl_sqlite_column(statement, 2),
        .key = sl_sqlite_column(statement, 3),
        .type = sl_sqlite_column(statement, 4),
        .payload = sl_sqlite_column(statement, 5),
        .headers = sl_sqlite_column(statement, 6),
        .time_ms = sqlite3_column_int64(statement, 7),
    };
    sl_sqlite_copy_column(statement, 1, event.id, sizeof(event.id));
    return sl_outbox_batch_add(
        batch, &event, (struct sl_position) {0, sqlite3_column_int64(statement, 0)});
}

int sl_sqlite_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT position, id, topic, message_key, type, payload, headers, created_at "
        "FROM sluice_outbox WHERE position > ?1 ORDER BY position LIMIT ?2",
        error);
    if (statement == NULL) {
        return -1;
    }
    if (sl_outbox_batch_start(batch, count_max) != 0) {
        return sl_fail_memory(error, "a batch of the outbox");
    }
    sqlite3_bind_int64(statement, 1, position.id);
    sqlite3_bind_int64(statement, 2, (int64_t) count_max);
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (keep_row(batch, statement) != 0) {
            sqlite3_reset(statement);
            return sl_fail_memory(error, "a batch of the outbox");
        }
        if (batch->bytes.size >= size_max) {
            result = SQLITE_DONE;
            break;
        }
    }
    int status =
        result == SQLITE_DONE ? 0 : sl_sqlite_fail(sqlite, result, "cannot read the outbox", error);
    sqlite3_reset(statement);
    sl_outbox_batch_settle(batch);
    return status;
}

int sl_sqlite_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    /* Positions have no gaps (a rollback gives them back), so a difference counts the rows. */
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT r.position,"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'sluice_outbox'), 0),"
        " coalesce((SELECT created_at FROM sluice_outbox WHERE position > r.position"
        "           ORDER BY position LIMIT 1), 0),"
        " coalesce((SELECT max(position) FROM sluice_outbox), 0),"
        " coalesce((SELECT min(position) FROM sluice_outbox) - 1,"
        "   (SELECT seq FROM sqlite_sequence WHERE name = 'sluice_outbox'), 0),"
        " r.updated_at "
        "FROM sluice_relay r WHERE r.name = 'relay'",
        error);
    if (statement == NULL) {
        return -1;
    }
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        int64_t position = sqlite3_column_int64(statement, 0);
        int64_t newest = sqlite3_column_int64(statement, 3);
        *ret_state = (struct sl_outbox_state) {
            .position = {0, position},
            .retained_after = {0, sqlite3_column_int64(statement, 4)},
            .last = {0, sqlite3_column_int64(statement, 1)},
            .confirmed_ms = sqlite3_column_int64(statement, 5),
            .oldest_unsent_ms = sqlite3_column_int64(statement, 2),
            .unsent_count = newest > position ? newest - position : 0,
        };
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW ? 0
                                : sl_sqlite_fail(sqlite, result, "cannot read the outbox", error);
}

int sl_sqlite_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "DELETE FROM sluice_outbox WHERE created_at < ?1"
        " AND position <= (SELECT position FROM sluice_relay WHERE name = 'relay')"
        " AND position < (SELECT min(position) FROM sluice_outbox) + ?2",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, before_ms);
    sqlite3_bind_int64(statement, 2, count_max);
    if (sl_sqlite_step_done(sqlite, statement, "cannot clean the outbox", error) != 0) {
        return -1;
    }
    *ret_deleted = sqlite3_changes64(sqlite->handle);
    return 0;
}
