/* Held events and dead letters, the same in every database. */
#include "store/portable.h"

/* The rows of the same key as the row `d`: none, if it has no key. */
#define SAME_KEY "o.stage = d.stage AND o.topic = d.topic AND o.message_key = d.message_key"

#define HELD_COLUMNS                                                                               \
    "number, stage, event_id, topic, message_key, type, payload, headers, created_at, state, "     \
    "attempts, next_attempt_at, held_at, reason, tick, position"

/* A filter's parameters are 1 to 4. The comparison comes first: it gives the parameter its type. */
#define CHOSEN                                                                                     \
    "(stage = ?1 OR ?1 IS NULL) AND (topic = ?2 OR ?2 IS NULL)"                                    \
    " AND (message_key = ?3 OR ?3 IS NULL) AND (event_id = ?4 OR ?4 IS NULL)"

#define FILTER_VALUES(filter)                                                                      \
    sluice_text((filter)->stage), sluice_text((filter)->topic), sluice_text((filter)->key),        \
        sluice_text((filter)->event_id)

static const char read_failed[] = "cannot read the dead letters";
static const char change_failed[] = "cannot change the dead letters";

static enum sl_held_state state_of(struct sl_text name)
{
    return sl_text_equal(name, SL_TEXT("RETRYING")) ? SL_HELD_RETRYING
        : sl_text_equal(name, SL_TEXT("WAITING"))   ? SL_HELD_WAITING
                                                    : SL_HELD_FAILED;
}

static void read_row(const struct sluice_value *columns, struct sl_held *ret_held)
{
    struct sl_held held = {
        .number = sl_value_number(&columns[0]),
        .stage = sl_value_view(&columns[1]),
        .event.topic = sl_value_view(&columns[3]),
        .event.has_key = columns[4].kind != SLUICE_NULL,
        .event.key = sl_value_view(&columns[4]),
        .event.type = sl_value_view(&columns[5]),
        .event.payload = sl_value_view(&columns[6]),
        .event.headers = sl_value_view(&columns[7]),
        .event.time_ms = sl_value_number(&columns[8]),
        .state = state_of(sl_value_view(&columns[9])),
        .attempts = (int) sl_value_number(&columns[10]),
        .next_attempt_ms = sl_value_number(&columns[11]),
        .held_ms = sl_value_number(&columns[12]),
        .reason = sl_value_view(&columns[13]),
        .position = {sl_value_number(&columns[14]), sl_value_number(&columns[15])},
    };
    sl_value_copy(&columns[2], held.event.id, sizeof(held.event.id));
    *ret_held = held;
}

static struct sluice_value key_of(const struct sl_event *event)
{
    return event->has_key ? sl_value_text(event->key) : sluice_null();
}

static void keep_key_state(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(struct sl_key_state *) context = (struct sl_key_state) {
        .pending_count = sl_value_number(&columns[0]),
        .failed_count = sl_value_number(&columns[1]),
        .is_held = sl_value_number(&columns[2]) != 0,
    };
}

/*
 * Whoever holds an event because of what it sees here must not be overtaken by the end of that: the
 * head of the key would be taken out, see nobody waiting, and leave for ever what begins to wait.
 * So the rows are locked until the transaction ends, where others can write beside it.
 */
#define KEY_STATE(lock)                                                                            \
    "SELECT count(CASE WHEN state <> 'FAILED_PERMANENTLY' THEN 1 END),"                            \
    " count(CASE WHEN state = 'FAILED_PERMANENTLY' THEN 1 END),"                                   \
    " EXISTS (SELECT 1 FROM sluice_dead_letter WHERE stage = ?1 AND event_id = ?6) "               \
    "FROM (SELECT state FROM sluice_dead_letter"                                                   \
    "  WHERE stage = ?1 AND topic = ?2 AND message_key = ?3"                                       \
    "  AND (tick < ?4 OR (tick = ?4 AND position < ?5))"                                           \
    "  ORDER BY number LIMIT 16" lock ") AS earlier"

int sl_sql_key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = store->dialect->has_row_locks ? KEY_STATE(" FOR UPDATE") : KEY_STATE(""),
            .what = read_failed,
            SL_SQL_VALUES(sluice_text(stage), sl_value_text(event->topic), key_of(event),
                sluice_integer(position.tick), sluice_integer(position.id), sluice_text(event->id)),
            .visit = keep_key_state,
            .context = ret_state,
        },
        error);
}

static void note_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) columns;
    (void) column_count;
    *(bool *) context = true;
}

int sl_sql_has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error)
{
    bool has_held = false;
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT 1 FROM sluice_dead_letter WHERE stage = ?1 LIMIT 1",
                .what = read_failed,
                SL_SQL_VALUES(sluice_text(stage)),
                .visit = note_row,
                .context = &has_held,
            },
            error) != 0) {
        return -1;
    }
    *ret_has_held = has_held;
    return 0;
}

int sl_sql_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
{
    const struct sl_event *event = hold->event;
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = store->dialect->hold,
            .what = "cannot hold an event",
            SL_SQL_VALUES(sluice_text(hold->stage), sluice_text(event->id),
                sl_value_text(event->topic), key_of(event), sl_value_text(event->type),
                sluice_bytes(event->payload.data, event->payload.size),
                sl_value_text(event->headers), sluice_integer(event->time_ms),
                sluice_text(sl_held_state_name(hold->state)), sluice_integer(hold->attempts),
                sluice_integer(hold->next_attempt_ms), sluice_integer(hold->now_ms),
                sluice_text(hold->reason == NULL ? "" : hold->reason),
                sluice_integer(hold->position.tick), sluice_integer(hold->position.id)),
        },
        error);
}

int sl_sql_held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_dead_letter SET state = ?2, attempts = ?3, next_attempt_at = ?4,"
                    " reason = coalesce(?5, reason) WHERE number = ?1",
            .what = "cannot change a held event",
            SL_SQL_VALUES(sluice_integer(change->number),
                sluice_text(sl_held_state_name(change->state)), sluice_integer(change->attempts),
                sluice_integer(change->next_attempt_ms), sluice_text(change->reason)),
        },
        error);
}

int sl_sql_held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_dead_letter SET state = 'RETRYING', next_attempt_at = ?2 "
                    "WHERE number = (SELECT min(o.number) FROM sluice_dead_letter d,"
                    "  sluice_dead_letter o WHERE d.number = ?1 AND " SAME_KEY
                    "  AND o.number <> d.number AND o.state = 'WAITING') "
                    "AND NOT EXISTS (SELECT 1 FROM sluice_dead_letter d, sluice_dead_letter o"
                    "  WHERE d.number = ?1 AND " SAME_KEY
                    "  AND o.number <> d.number AND o.state = 'RETRYING')",
            .what = "cannot release a held event",
            SL_SQL_VALUES(sluice_integer(number), sluice_integer(now_ms)),
        },
        error);
}

int sl_sql_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = 0;
    if (store->dialect->has_row_locks) {
        /* First, so that what begins to wait behind it is seen; see KEY_STATE. */
        status = sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT 1 FROM sluice_dead_letter WHERE number = ?1 FOR UPDATE",
                .what = "cannot remove a held event",
                SL_SQL_VALUES(sluice_integer(number)),
            },
            error);
    }
    if (status == 0) {
        status = sl_sql_held_next(store, number, now_ms, error);
    }
    if (status == 0) {
        status = sl_sql_run(store,
            &(struct sl_sql) {
                .text = "DELETE FROM sluice_dead_letter WHERE number = ?1",
                .what = "cannot remove a held event",
                SL_SQL_VALUES(sluice_integer(number)),
            },
            error);
    }
    return sl_store_leave(store, is_ours, status, error);
}

struct held_visit {
    sl_held_visit visit;
    void *context;
    int64_t due_ms;   /* of the row, or INT64_MAX */
    int64_t until_ms; /* rows that are due later are not shown */
};

static void visit_held(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct held_visit *visit = context;
    struct sl_held held;
    (void) column_count;
    read_row(columns, &held);
    visit->due_ms = held.next_attempt_ms;
    if (held.next_attempt_ms <= visit->until_ms) {
        visit->visit(visit->context, &held);
    }
}

int sl_sql_held_due(struct sl_store *store, const struct sl_held_due_query *query,
    sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error)
{
    struct held_visit visitor = {visit, context, INT64_MAX, query->now_ms};
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT " HELD_COLUMNS " FROM sluice_dead_letter "
                        "WHERE stage = ?1 AND state = 'RETRYING' "
                        "AND (tick < ?2 OR (tick = ?2 AND position <= ?3)) "
                        "ORDER BY next_attempt_at, number LIMIT 1",
                .what = read_failed,
                SL_SQL_VALUES(sluice_text(query->stage), sluice_integer(query->position_max.tick),
                    sluice_integer(query->position_max.id)),
                .visit = visit_held,
                .context = &visitor,
            },
            error) != 0) {
        return -1;
    }
    *ret_due_ms = visitor.due_ms;
    return 0;
}

/* By its number alone: a lock on more would keep others from holding events beside it. */
#define HELD_ROW                                                                                   \
    "SELECT 1 FROM sluice_dead_letter WHERE number = ?1 AND attempts = ?2 AND state = 'RETRYING'"

int sl_sql_held_lock(struct sl_store *store, int64_t number, int attempts, bool *ret_is_ours,
    struct sluice_error *error)
{
    bool is_ours = false;
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text =
                    store->dialect->has_row_locks ? HELD_ROW " FOR UPDATE SKIP LOCKED" : HELD_ROW,
                .what = read_failed,
                SL_SQL_VALUES(sluice_integer(number), sluice_integer(attempts)),
                .visit = note_row,
                .context = &is_ours,
            },
            error) != 0) {
        return -1;
    }
    *ret_is_ours = is_ours;
    return 0;
}

int sl_sql_each_held(struct sl_store *store, const struct sl_held_filter *filter,
    sl_held_visit visit, void *context, struct sluice_error *error)
{
    struct held_visit visitor = {visit, context, 0, INT64_MAX};
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT " HELD_COLUMNS " FROM sluice_dead_letter WHERE " CHOSEN
                    " ORDER BY stage, topic, message_key IS NOT NULL, message_key, number LIMIT ?5",
            .what = read_failed,
            SL_SQL_VALUES(
                FILTER_VALUES(filter), sluice_integer(filter->limit == 0 ? 1000 : filter->limit)),
            .visit = visit_held,
            .context = &visitor,
        },
        error);
}

struct count_visit {
    sl_held_count_visit visit;
    void *context;
};

static void visit_count(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct count_visit *visit = context;
    (void) column_count;
    struct sl_held_count count = {
        .stage = sl_value_view(&columns[0]),
        .retrying_count = sl_value_number(&columns[1]),
        .waiting_count = sl_value_number(&columns[2]),
        .failed_count = sl_value_number(&columns[3]),
        .held_keys = sl_value_number(&columns[4]),
    };
    visit->visit(visit->context, &count);
}

int sl_sql_each_held_count(
    struct sl_store *store, sl_held_count_visit visit, void *context, struct sluice_error *error)
{
    struct count_visit visitor = {visit, context};
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT stage, sum(retrying), sum(waiting), sum(failed), count(message_key) "
                    "FROM (SELECT stage, topic, message_key,"
                    "  count(CASE WHEN state = 'RETRYING' THEN 1 END) AS retrying,"
                    "  count(CASE WHEN state = 'WAITING' THEN 1 END) AS waiting,"
                    "  count(CASE WHEN state = 'FAILED_PERMANENTLY' THEN 1 END) AS failed"
                    "  FROM sluice_dead_letter GROUP BY stage, topic, message_key) AS by_key "
                    "GROUP BY stage ORDER BY stage",
            .what = read_failed,
            .visit = visit_count,
            .context = &visitor,
        },
        error);
}

int sl_sql_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    bool is_ours;
    int64_t count = 0;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_dead_letter SET state = 'RETRYING', attempts = 0,"
                    " next_attempt_at = ?5 WHERE state = 'FAILED_PERMANENTLY' AND " CHOSEN,
            .what = change_failed,
            SL_SQL_VALUES(FILTER_VALUES(filter), sluice_integer(now_ms)),
            .ret_affected = &count,
        },
        error);
    if (status == 0) {
        /* Of each key only the first goes now; the others wait behind it, in order. */
        status = sl_sql_run(store,
            &(struct sl_sql) {
                .text = "UPDATE sluice_dead_letter AS d SET state = 'WAITING' "
                        "WHERE state = 'RETRYING'"
                        " AND EXISTS (SELECT 1 FROM sluice_dead_letter o WHERE " SAME_KEY
                        " AND o.number < d.number AND o.state = 'RETRYING')",
                .what = change_failed,
            },
            error);
    }
    status = sl_store_leave(store, is_ours, status, error);
    if (status == 0) {
        *ret_count = count;
    }
    return status;
}

int sl_sql_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    bool is_ours;
    int64_t count = 0;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = sl_sql_run(store,
        &(struct sl_sql) {
            .text = "DELETE FROM sluice_dead_letter WHERE state = 'FAILED_PERMANENTLY' AND " CHOSEN,
            .what = change_failed,
            SL_SQL_VALUES(FILTER_VALUES(filter)),
            .ret_affected = &count,
        },
        error);
    if (status == 0) {
        /* A waiting event that nothing stands before any more is the head of its key. */
        status = sl_sql_run(store,
            &(struct sl_sql) {
                .text = "UPDATE sluice_dead_letter AS d SET state = 'RETRYING',"
                        " next_attempt_at = ?1 WHERE state = 'WAITING'"
                        " AND NOT EXISTS (SELECT 1 FROM sluice_dead_letter o WHERE " SAME_KEY
                        " AND o.number < d.number)",
                .what = change_failed,
                SL_SQL_VALUES(sluice_integer(now_ms)),
            },
            error);
    }
    status = sl_store_leave(store, is_ours, status, error);
    if (status == 0) {
        *ret_count = count;
    }
    return status;
}
