/*
 * What becomes of a mapped table's rows: each is marked by its own id, in the transaction that also
 * notes it in its claim.
 */
#include "base/error.h"
#include "store/mapped.h"

enum { GROUPS_A_COMMIT = 16 };

static const char mark_failed[] = "cannot mark the rows of the mapped table";

struct marks {
    struct sl_claim claims[SL_MAPPED_GROUP];
    enum sl_held_state states[SL_MAPPED_GROUP];
    int attempts[SL_MAPPED_GROUP];
    size_t count;
};

static void keep_open(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct marks *marks = context;
    (void) column_count;
    if (marks->count < SL_MAPPED_GROUP) {
        struct sl_claim *claim = &marks->claims[marks->count++];
        sl_value_copy(&columns[0], claim->row_id, sizeof(claim->row_id));
    }
}

static int set_claim(
    struct sl_store *store, const char *row_id, const char *state, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_claim SET state = ?2 WHERE row_id = ?1",
            .what = mark_failed,
            SL_SQL_VALUES(sluice_text(row_id), sluice_text(state)),
        },
        error);
}

/* The broker has these: the rows are sent, the claims done. */
static int mark_sent(struct sl_store *store, const struct marks *marks, struct sluice_error *error)
{
    struct sluice_value values[SL_MAPPED_GROUP];
    const char *text = store->mapped->statements[SL_MAPPED_MARK_SENT];
    sl_mapped_group(store->mapped, marks->claims, marks->count, values);
    if (text != NULL &&
        sl_sql_run(store,
            &(struct sl_sql) {
                .text = text,
                .what = mark_failed,
                .values = values,
                .value_count = SL_MAPPED_GROUP,
            },
            error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < SL_MAPPED_GROUP; i++) {
        values[i] = sluice_text(marks->claims[i < marks->count ? i : marks->count - 1].row_id);
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_claim SET state = 'DONE' WHERE row_id IN " SL_MAPPED_IDS,
            .what = mark_failed,
            .values = values,
            .value_count = SL_MAPPED_GROUP,
        },
        error);
}

/* Mark the next of the rows up to `position`; `*ret_count` of them. */
static int confirm_group(struct sl_store *store, struct sl_position position, size_t *ret_count,
    struct sluice_error *error)
{
    struct marks marks;
    marks.count = 0;
    int status = sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT row_id FROM sluice_claim WHERE state = 'TAKEN'"
                    " AND (tick < ?1 OR (tick = ?1 AND position <= ?2))"
                    " ORDER BY tick, position LIMIT ?3",
            .what = mark_failed,
            SL_SQL_VALUES(sluice_integer(position.tick), sluice_integer(position.id),
                sluice_integer(SL_MAPPED_GROUP)),
            .visit = keep_open,
            .context = &marks,
        },
        error);
    if (status == 0 && marks.count > 0) {
        status = mark_sent(store, &marks, error);
    }
    *ret_count = marks.count;
    return status;
}

/* Some groups share a commit, but not so many that their rows are locked for long. */
static int confirm_some(struct sl_store *store, struct sl_position position, bool *ret_is_over,
    struct sluice_error *error)
{
    size_t count = SL_MAPPED_GROUP;
    int status = 0;
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    for (int i = 0; i < GROUPS_A_COMMIT && status == 0 && count == SL_MAPPED_GROUP; i++) {
        status = confirm_group(store, position, &count, error);
    }
    *ret_is_over = count < SL_MAPPED_GROUP;
    return sl_store_leave(store, is_ours, status, error);
}

int sl_mapped_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error)
{
    bool is_over = false;
    /* The rows first: a position is not confirmed before they say so. */
    while (!is_over) {
        if (confirm_some(store, position, &is_over, error) != 0) {
            return -1;
        }
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_mapping SET tick = ?1, position = ?2, updated_at = ?3 "
                    "WHERE name = 'mapping' AND (tick < ?1 OR (tick = ?1 AND position < ?2))",
            .what = "cannot confirm the position",
            SL_SQL_VALUES(sluice_integer(position.tick), sluice_integer(position.id),
                sluice_integer(reached_ms)),
        },
        error);
}

static void keep_held(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct marks *marks = context;
    struct sl_text state = sl_value_view(&columns[1]);
    (void) column_count;
    if (marks->count == SL_MAPPED_GROUP) {
        return;
    }
    sl_value_copy(&columns[0], marks->claims[marks->count].row_id, SL_ROW_ID_SIZE);
    marks->states[marks->count] =
        sl_text_equal(state, SL_TEXT("FAILED_PERMANENTLY")) ? SL_HELD_FAILED : SL_HELD_RETRYING;
    marks->attempts[marks->count++] = (int) sl_value_number(&columns[2]);
}

/* A held row says so: PENDING while it may still be sent, else FAILED_PERMANENTLY; its attempts. */
static int mark_held(struct sl_store *store, const struct marks *marks, struct sluice_error *error)
{
    const char *text = store->mapped->statements[SL_MAPPED_MARK_HELD];
    for (size_t i = 0; i < marks->count; i++) {
        const char *row_id = marks->claims[i].row_id;
        bool is_failed = marks->states[i] == SL_HELD_FAILED;
        if (text != NULL &&
            sl_sql_run(store,
                &(struct sl_sql) {
                    .text = text,
                    .what = mark_failed,
                    SL_SQL_VALUES(sl_mapped_row_value(store->mapped, row_id),
                        sluice_text(is_failed ? "FAILED_PERMANENTLY" : "PENDING"),
                        sluice_integer(marks->attempts[i])),
                },
                error) != 0) {
            return -1;
        }
        if (set_claim(store, row_id, is_failed ? "FAILED" : "HELD", error) != 0) {
            return -1;
        }
    }
    return 0;
}

#define HELD_ROW                                                                                   \
    "SELECT c.row_id, d.state, d.attempts FROM sluice_dead_letter d"                               \
    " JOIN sluice_claim c ON c.event_id = d.event_id WHERE d.stage = 'relay' AND "

/* Say in the rows what the dead letters say that `text` chooses by `value`, if it needs one. */
static int mark_as_held(struct sl_store *store, const char *text, const struct sluice_value *value,
    struct marks *ret_marks, struct sluice_error *error)
{
    ret_marks->count = 0;
    int status = sl_sql_run(store,
        &(struct sl_sql) {
            .text = text,
            .what = mark_failed,
            .values = value,
            .value_count = value == NULL ? 0 : 1,
            .visit = keep_held,
            .context = ret_marks,
        },
        error);
    return status == 0 ? mark_held(store, ret_marks, error) : -1;
}

int sl_mapped_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
{
    struct marks marks;
    struct sluice_value event_id = sluice_text(hold->event->id);
    bool is_ours;
    if (strcmp(hold->stage, SL_STAGE_RELAY) != 0) {
        return store->mapped->base->hold(store, hold, error);
    }
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = store->mapped->base->hold(store, hold, error);
    if (status == 0) {
        status = mark_as_held(store, HELD_ROW "d.event_id = ?1", &event_id, &marks, error);
    }
    return sl_store_leave(store, is_ours, status, error);
}

int sl_mapped_held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error)
{
    struct marks marks;
    struct sluice_value number = sluice_integer(change->number);
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = store->mapped->base->held_update(store, change, error);
    if (status == 0) {
        status = mark_as_held(store, HELD_ROW "d.number = ?1", &number, &marks, error);
    }
    return sl_store_leave(store, is_ours, status, error);
}

int sl_mapped_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    struct marks marks;
    struct sluice_value value = sluice_integer(number);
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    /* A redrive by a program that does not know the mapping has left the row as it was. */
    int status = mark_as_held(store, HELD_ROW "d.number = ?1", &value, &marks, error);
    if (status == 0 && marks.count > 0) {
        status = mark_sent(store, &marks, error);
    }
    if (status == 0) {
        status = store->mapped->base->held_remove(store, number, now_ms, error);
    }
    return sl_store_leave(store, is_ours, status, error);
}

int sl_mapped_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    struct marks marks = {.count = SL_MAPPED_GROUP};
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = store->mapped->base->redrive(store, filter, now_ms, ret_count, error);
    while (status == 0 && marks.count == SL_MAPPED_GROUP) {
        status = mark_as_held(store,
            HELD_ROW "c.state = 'FAILED' AND d.state <> 'FAILED_PERMANENTLY' LIMIT 32", NULL,
            &marks, error);
    }
    return sl_store_leave(store, is_ours, status, error);
}

int sl_mapped_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error)
{
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = store->mapped->base->drop(store, filter, now_ms, ret_count, error);
    if (status == 0) {
        /* The rows keep FAILED_PERMANENTLY: that is what became of them. */
        status = sl_sql_run(store,
            &(struct sl_sql) {
                .text = "UPDATE sluice_claim SET state = 'DONE' WHERE state = 'FAILED'"
                        " AND NOT EXISTS (SELECT 1 FROM sluice_dead_letter d"
                        " WHERE d.stage = 'relay' AND d.event_id = sluice_claim.event_id)",
                .what = mark_failed,
            },
            error);
    }
    return sl_store_leave(store, is_ours, status, error);
}
