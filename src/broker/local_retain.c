#include "broker/local.h"

enum { DELETES_MAX = 500 };

/* The partition whose oldest record is the oldest of all. */
struct oldest {
    int64_t partition_id;
    int64_t place;
    int64_t appended_ms;
    bool is_found;
};

static int find_oldest(
    struct sl_local *local, struct oldest *ret_oldest, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT p.id, r.place, r.appended_at FROM partition p JOIN record r ON r.place = ("
        " SELECT place FROM record WHERE place >= p.id << 40 AND place < (p.id + 1) << 40"
        " ORDER BY place LIMIT 1) ORDER BY r.appended_at LIMIT 1",
        error);
    if (statement == NULL) {
        return -1;
    }
    int result = sqlite3_step(statement);
    *ret_oldest = (struct oldest) {0};
    if (result == SQLITE_ROW) {
        *ret_oldest = (struct oldest) {
            .partition_id = sqlite3_column_int64(statement, 0),
            .place = sqlite3_column_int64(statement, 1),
            .appended_ms = sqlite3_column_int64(statement, 2),
            .is_found = true,
        };
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot read the log", error);
}

static int number_of(
    struct sl_sqlite *sqlite, const char *sql, int64_t *ret_number, struct sluice_error *error)
{
    bool is_found;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, sql, error);
    return statement == NULL
        ? -1
        : sl_sqlite_step_number(sqlite, statement, "cannot read", &is_found, ret_number, error);
}

/* How many bytes the log really uses: pages that are free again do not count. */
static int used_size(struct sl_sqlite *sqlite, int64_t *ret_size, struct sluice_error *error)
{
    int64_t page_size = 0;
    int64_t page_count = 0;
    int64_t free_count = 0;
    if (number_of(sqlite, "PRAGMA page_size", &page_size, error) != 0 ||
        number_of(sqlite, "PRAGMA page_count", &page_count, error) != 0 ||
        number_of(sqlite, "PRAGMA freelist_count", &free_count, error) != 0) {
        return -1;
    }
    *ret_size = (page_count - free_count) * page_size;
    return 0;
}

static int delete_from(struct sl_local *local, const struct oldest *oldest, int64_t before_ms,
    int64_t *ret_deleted, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "DELETE FROM record WHERE place IN (SELECT place FROM record "
        " WHERE place >= ?1 AND place < (?2 + 1) << 40 AND appended_at < ?3"
        " ORDER BY place LIMIT ?4)",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, oldest->place);
    sqlite3_bind_int64(statement, 2, oldest->partition_id);
    sqlite3_bind_int64(statement, 3, before_ms);
    sqlite3_bind_int(statement, 4, DELETES_MAX);
    if (sl_sqlite_step_done(sqlite, statement, "cannot clean the log", error) != 0) {
        return -1;
    }
    *ret_deleted = sqlite3_changes64(sqlite->handle);
    statement = sl_sqlite_prepare(sqlite,
        "UPDATE partition SET first_offset = coalesce((SELECT place - (?1 << 40) FROM record"
        " WHERE place >= ?1 << 40 AND place < (?1 + 1) << 40 ORDER BY place LIMIT 1), next_offset)"
        " WHERE id = ?1",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, oldest->partition_id);
    return sl_sqlite_step_done(sqlite, statement, "cannot clean the log", error);
}

static int forget_redriven(
    struct sl_local *local, int64_t before_ms, struct sluice_error *error)
{
    sqlite3_stmt *statement = sl_sqlite_prepare(
        &local->connection, "DELETE FROM redriven WHERE appended_at < ?1", error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, before_ms);
    return sl_sqlite_step_done(&local->connection, statement, "cannot clean the log", error);
}

int sl_local_retain(struct sl_broker *broker, const struct sl_retention *retention,
    int64_t *ret_deleted, struct sluice_error *error)
{
    struct sl_local *local = (struct sl_local *) broker;
    struct sl_sqlite *sqlite = &local->connection;
    struct oldest oldest;
    int64_t size = 0;
    if (find_oldest(local, &oldest, error) != 0 || used_size(sqlite, &size, error) != 0) {
        return -1;
    }
    int64_t before_ms =
        retention->age_ms_max > 0 ? retention->now_ms - retention->age_ms_max : INT64_MIN;
    bool is_too_large = retention->size_max > 0 && size > retention->size_max;
    if (!oldest.is_found || (oldest.appended_ms >= before_ms && !is_too_large)) {
        *ret_deleted = 0;
        return 0;
    }
    if (sl_sqlite_begin(sqlite, error) != 0) {
        return -1;
    }
    int64_t deleted = 0;
    int status =
        delete_from(local, &oldest, is_too_large ? INT64_MAX : before_ms, &deleted, error);
    if (status == 0 && retention->age_ms_max > 0) {
        status = forget_redriven(local, before_ms, error);
    }
    if (status != 0 || sl_sqlite_commit(sqlite, error) != 0) {
        sl_sqlite_rollback(sqlite);
        return -1;
    }
    *ret_deleted = deleted;
    return 0;
}
