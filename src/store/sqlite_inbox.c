#include "event/id.h"
#include "store/sqlite.h"
#include "store/sqlite_sql.h"

int sl_sqlite_inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, SL_SQL_INBOX_INSERT, error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(consumer));
    sl_sqlite_bind_text(statement, 2, sl_text_of(event_id));
    sqlite3_bind_int64(statement, 3, now_ms);
    if (sl_sqlite_step_done(sqlite, statement, "cannot write the inbox", error) != 0) {
        return -1;
    }
    *ret_is_new = sqlite3_changes64(sqlite->handle) == 1;
    return 0;
}

int sl_sqlite_inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    /* Ids sort by the time they were made, so the primary key finds the old ones. */
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "DELETE FROM sluice_inbox WHERE consumer = ?1 AND event_id IN ("
        " SELECT event_id FROM sluice_inbox WHERE consumer = ?1 AND event_id < ?2"
        " AND applied_at < ?3 ORDER BY event_id LIMIT ?4)",
        error);
    if (statement == NULL) {
        return -1;
    }
    char floor[SLUICE_EVENT_ID_SIZE];
    sl_id_floor(before_ms, floor);
    sl_sqlite_bind_text(statement, 1, sl_text_of(consumer));
    sl_sqlite_bind_text(statement, 2, sl_text_of(floor));
    sqlite3_bind_int64(statement, 3, before_ms);
    sqlite3_bind_int64(statement, 4, count_max);
    if (sl_sqlite_step_done(sqlite, statement, "cannot clean the inbox", error) != 0) {
        return -1;
    }
    *ret_deleted = sqlite3_changes64(sqlite->handle);
    return 0;
}

int sl_sqlite_count_consumed(
    struct sl_store *store, const struct sl_consumed *consumed, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "INSERT INTO sluice_consumer VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET"
        " applied_total = applied_total + ?2, duplicates_total = duplicates_total + ?3,"
        " failures_total = failures_total + ?4, updated_at = ?5",
        error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(consumed->consumer));
    sqlite3_bind_int64(statement, 2, consumed->applied);
    sqlite3_bind_int64(statement, 3, consumed->duplicates);
    sqlite3_bind_int64(statement, 4, consumed->failures);
    sqlite3_bind_int64(statement, 5, consumed->now_ms);
    return sl_sqlite_step_done(sqlite, statement, "cannot count", error);
}

int sl_sqlite_each_consumer(
    struct sl_store *store, sl_consumer_visit visit, void *context, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT name, applied_total, duplicates_total, failures_total, updated_at "
        "FROM sluice_consumer ORDER BY name",
        error);
    if (statement == NULL) {
        return -1;
    }
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct sl_consumer_count count = {
            .name = sl_sqlite_column(statement, 0),
            .applied_total = sqlite3_column_int64(statement, 1),
            .duplicates_total = sqlite3_column_int64(statement, 2),
            .failures_total = sqlite3_column_int64(statement, 3),
            .updated_ms = sqlite3_column_int64(statement, 4),
        };
        visit(context, &count);
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot read the consumers", error);
}
