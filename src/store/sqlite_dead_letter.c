#include "store/sqlite.h"

/* The rows of the same key as the row `d`: none, if it has no key. */
#define SAME_KEY "o.stage = d.stage AND o.topic = d.topic AND o.message_key = d.message_key"

#define HELD_COLUMNS                                                                               \
    "number, stage, event_id, topic, message_key, type, payload, headers, created_at, state, "     \
    "attempts, next_attempt_at, held_at, reason, position"

/* A filter's parameters are 1 to 4, and its limit 5. */
#define CHOSEN                                                                                     \
    "(?1 IS NULL OR stage = ?1) AND (?2 IS NULL OR topic = ?2)"                                    \
    " AND (?3 IS NULL OR message_key = ?3) AND (?4 IS NULL OR event_id = ?4)"

static enum sl_held_state state_of(struct sl_text name)
{
    return sl_text_equal(name, SL_TEXT("RETRYING")) ? SL_HELD_RETRYING
        : sl_text_equal(name, SL_TEXT("WAITING"))   ? SL_HELD_WAITING
                                                    : SL_HELD_FAILED;
}

static void read_row(sqlite3_stmt *statement, struct sl_held *ret_held)
{
    struct sl_held held = {
        .number = sqlite3_column_int64(statement, 0),
        .stage = sl_sqlite_column(statement, 1),
        .event.topic = sl_sqlite_column(statement, 3),
        .event.has_key = sqlite3_column_type(statement, 4) != SQLITE_NULL,
        .event.key = sl_sqlite_column(statement, 4),
        .event.type = sl_sqlite_column(statement, 5),
        .event.payload = sl_sqlite_column(statement, 6),
        .event.headers = sl_sqlite_column(statement, 7),
        .event.time_ms = sqlite3_column_int64(statement, 8),
        .state = state_of(sl_sqlite_column(statement, 9)),
        .attempts = sqlite3_column_int(statement, 10),
        .next_attempt_ms = sqlite3_column_int64(statement, 11),
        .held_ms = sqlite3_column_int64(statement, 12),
        .reason = sl_sqlite_column(statement, 13),
        .position = {0, sqlite3_column_int64(statement, 14)},
    };
    sl_sqlite_copy_column(statement, 2, held.event.id, sizeof(held.event.id));
    *ret_held = held;
}

static void bind_key(sqlite3_stmt *statement, int index, const struct sl_event *event)
{
    if (event->has_key) {
        sl_sqlite_bind_text(statement, index, event->key);
    } else {
        sqlite3_bind_null(statement, index);
    }
}

int sl_sqlite_key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT count(*) FILTER (WHERE state <> 'FAILED_PERMANENTLY'),"
        " count(*) FILTER (WHERE state = 'FAILED_PERMANENTLY'),"
        " EXISTS (SELECT 1 FROM sluice_dead_letter WHERE stage = ?1 AND event_id = ?5) FROM ("
        "  SELECT state FROM sluice_dead_letter"
        "  WHERE stage = ?1 AND topic = ?2 AND message_key = ?3 AND position < ?4"
        "  LIMIT 16)",
        error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(stage));
    sl_sqlite_bind_text(statement, 2, event->topic);
    bind_key(statement, 3, event);
    sqlite3_bind_int64(statement, 4, position.id);
    sl_sqlite_bind_text(statement, 5, sl_text_of(event->id));
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        *ret_state = (struct sl_key_state) {
            .pending_count = sqlite3_column_int64(statement, 0),
            .failed_count = sqlite3_column_int64(statement, 1),
            .is_held = sqlite3_column_int(statement, 2) != 0,
        };
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot read the dead letters", error);
}

int sl_sqlite_has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(
        sqlite, "SELECT 1 FROM sluice_dead_letter WHERE stage = ?1 LIMIT 1", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(stage));
    int64_t number;
    return sl_sqlite_step_number(
        sqlite, statement, "cannot read the dead letters", ret_has_held, &number, error);
}

int sl_sqlite_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "INSERT INTO sluice_dead_letter (stage, event_id, topic, message_key, type, payload,"
        " headers, created_at, state, attempts, next_attempt_at, held_at, reason, position) VALUES "
        "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
        error);
    if (statement == NULL) {
        return -1;
    }
    const struct sl_event *event = hold->event;
    sl_sqlite_bind_text(statement, 1, sl_text_of(hold->stage));
    sl_sqlite_bind_text(statement, 2, sl_text_of(event->id));
    sl_sqlite_bind_text(statement, 3, event->topic);
    bind_key(statement, 4, event);
    sl_sqlite_bind_text(statement, 5, event->type);
    sl_sqlite_bind_bytes(statement, 6, event->payload);
    sl_sqlite_bind_text(statement, 7, event->headers);
    sqlite3_bind_int64(statement, 8, event->time_ms);
    sl_sqlite_bind_text(statement, 9, sl_text_of(sl_held_state_name(hold->state)));
    sqlite3_bind_int(statement, 10, hold->attempts);
    sqlite3_bind_int64(statement, 11, hold->next_attempt_ms);
    sqlite3_bind_int64(statement, 12, hold->now_ms);
    sl_sqlite_bind_text(statement, 13, sl_text_of(hold->reason));
    sqlite3_bind_int64(statement, 14, hold->position.id);
    return sl_sqlite_step_done(sqlite, statement, "cannot hold an event", error);
}

int sl_sqlite_held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "UPDATE sluice_dead_letter SET state = ?2, attempts = ?3, next_attempt_at = ?4,"
        " reason = coalesce(?5, reason) WHERE number = ?1",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, change->number);
    sl_sqlite_bind_text(statement, 2, sl_text_of(sl_held_state_name(change->state)));
    sqlite3_bind_int(statement, 3, change->attempts);
    sqlite3_bind_int64(statement, 4, change->next_attempt_ms);
    if (change->reason == NULL) {
        sqlite3_bind_null(statement, 5);
    } else {
        sl_sqlite_bind_text(statement, 5, sl_text_of(change->reason));
    }
    return sl_sqlite_step_done(sqlite, statement, "cannot change a held event", error);
}

int sl_sqlite_held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "UPDATE sluice_dead_letter SET state = 'RETRYING', next_attempt_at = ?2 WHERE number = ("
        " SELECT min(o.number) FROM sluice_dead_letter d, sluice_dead_letter o"
        " WHERE d.number = ?1 AND " SAME_KEY
        " AND o.number <> d.number AND o.state = 'WAITING')"
        "AND NOT EXISTS (SELECT 1 FROM sluice_dead_letter d, sluice_dead_letter o"
        " WHERE d.number = ?1 AND " SAME_KEY " AND o.number <> d.number AND o.state = 'RETRYING')",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, number);
    sqlite3_bind_int64(statement, 2, now_ms);
    return sl_sqlite_step_done(sqlite, statement, "cannot release a held event", error);
}

int sl_sqlite_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    bool is_ours;
    if (sl_store_sqlite_enter(sqlite, &is_ours, error) != 0) {
        return -1;
    }
    int status = sl_sqlite_held_next(store, number, now_ms, error);
    sqlite3_stmt *statement = status != 0
        ? NULL
        : sl_sqlite_prepare(sqlite, "DELETE FROM sluice_dead_letter WHERE number = ?1", error);
    if (statement == NULL) {
        return sl_store_sqlite_leave(sqlite, is_ours, -1, error);
    }
    sqlite3_bind_int64(statement, 1, number);
    status = sl_sqlite_step_done(sqlite, statement, "cannot remove a held event", error);
    return sl_store_sqlite_leave(sqlite, is_ours, status, error);
}

int sl_sqlite_held_due(struct sl_store *store, const struct sl_held_due_query *query,
    sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT " HELD_COLUMNS
        " FROM sluice_dead_letter WHERE stage = ?1 AND state = 'RETRYING' "
        "AND position <= ?2 ORDER BY next_attempt_at, number LIMIT 1",
        error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(query->stage));
    sqlite3_bind_int64(statement, 2, query->position_max.id);
    int result = sqlite3_step(statement);
    int64_t due_ms = INT64_MAX;
    if (result == SQLITE_ROW) {
        struct sl_held held;
        read_row(statement, &held);
        due_ms = held.next_attempt_ms;
        if (due_ms <= query->now_ms) {
            visit(context, &held);
        }
    }
    sqlite3_reset(statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        return sl_sqlite_fail(sqlite, result, "cannot read the dead letters", error);
    }
    *ret_due_ms = due_ms;
    return 0;
}

static void bind_or_null(sqlite3_stmt *statement, int index, const char *text)
{
    if (text == NULL) {
        sqlite3_bind_null(statement, index);
    } else {
        sl_sqlite_bind_text(statement, index, sl_text_of(text));
    }
}

static void bind_filter(sqlite3_stmt *statement, const struct sl_held_filter *filter)
{
    bind_or_null(statement, 1, filter->stage);
    bind_or_null(statement, 2, filter->topic);
    bind_or_null(statement, 3, filter->key);
    bind_or_null(statement, 4, filter->event_id);
}

int sl_sqlite_each_held(struct sl_store *store, const struct sl_held_filter *filter,
    sl_held_visit visit, void *context, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT " HELD_COLUMNS " FROM sluice_dead_letter WHERE " CHOSEN
        " ORDER BY stage, topic, message_key, number LIMIT ?5",
        error);
    if (statement == NULL) {
        return -1;
    }
    bind_filter(statement, filter);
    sqlite3_bind_int64(statement, 5, filter->limit == 0 ? 1000 : filter->limit);
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct sl_held held;
        read_row(statement, &held);
        visit(context, &held);
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot read the dead letters", error);
}

int sl_sqlite_each_held_count(
    struct sl_store *store, sl_held_count_visit visit, void *context, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT stage, count(*) FILTER (WHERE state = 'RETRYING'),"
        " count(*) FILTER (WHERE state = 'WAITING'),"
        " count(*) FILTER (WHERE state = 'FAILED_PERMANENTLY'),"
        " count(DISTINCT topic || char(10) || message_key) "
        "FROM sluice_dead_letter GROUP BY stage ORDER BY stage",
        error);
    if (statement == NULL) {
        return -1;
    }
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct sl_held_count count = {
            .stage = sl_sqlite_column(statement, 0),
            .retrying_count = sqlite3_column_int64(statement, 1),
            .waiting_count = sqlite3_column_int64(statement, 2),
            .failed_count = sqlite3_column_int64(statement, 3),
            .held_keys = sqlite3_column_int64(statement, 4),
        };
        visit(context, &count);
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot read the dead letters", error);
}

/* Run a filtered change; ?5 is the time. */
static int change_chosen(struct sl_sqlite *sqlite, const char *sql,
    const struct sl_held_filter *filter, int64_t now_ms, int64_t *ret_count,
    struct sluice_error *error)
{
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, sql, error);
    if (statement == NULL) {
        return -1;
    }
    bind_filter(statement, filter);
    sqlite3_bind_int64(statement, 5, now_ms);
    if (sl_sqlite_step_done(sqlite, statement, "cannot change the dead letters", error) != 0) {
        return -1;
    }
    *ret_count = sqlite3_changes64(sqlite->handle);
    return 0;
}

int sl_sqlite_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    bool is_ours;
    int64_t count;
    if (sl_store_sqlite_enter(sqlite, &is_ours, error) != 0) {
        return -1;
    }
    int status = change_chosen(sqlite,
        "UPDATE sluice_dead_letter SET state = 'RETRYING', attempts = 0, next_attempt_at = ?5 "
        "WHERE state = 'FAILED_PERMANENTLY' AND " CHOSEN,
        filter, now_ms, &count, error);
    if (status == 0) {
        /* Of each key only the first goes now; the others wait behind it, in order. */
        status = sl_sqlite_run(sqlite,
            "UPDATE sluice_dead_letter AS d SET state = 'WAITING' WHERE state = 'RETRYING'"
            " AND EXISTS (SELECT 1 FROM sluice_dead_letter o WHERE " SAME_KEY
            " AND o.number < d.number AND o.state = 'RETRYING')",
            "cannot change the dead letters", error);
    }
    status = sl_store_sqlite_leave(sqlite, is_ours, status, error);
    if (status == 0) {
        *ret_count = count;
    }
    return status;
}

int sl_sqlite_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    bool is_ours;
    int64_t count;
    int64_t released;
    if (sl_store_sqlite_enter(sqlite, &is_ours, error) != 0) {
        return -1;
    }
    int status = change_chosen(sqlite,
        "DELETE FROM sluice_dead_letter WHERE state = 'FAILED_PERMANENTLY' AND ?5 > 0 AND " CHOSEN,
        filter, now_ms, &count, error);
    if (status == 0) {
        static const struct sl_held_filter everything = {0};
        /* A waiting event that nothing stands before any more is the head of its key. */
        status = change_chosen(sqlite,
            "UPDATE sluice_dead_letter AS d SET state = 'RETRYING', next_attempt_at = ?5 "
            "WHERE state = 'WAITING' AND " CHOSEN
            " AND NOT EXISTS (SELECT 1 FROM sluice_dead_letter o WHERE " SAME_KEY
            " AND o.number < d.number)",
            &everything, now_ms, &released, error);
    }
    status = sl_store_sqlite_leave(sqlite, is_ours, status, error);
    if (status == 0) {
        *ret_count = count;
    }
    return status;
}
