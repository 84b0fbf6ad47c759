/*
 * Claiming rows of a mapped table.
 *
 * Which rows these are is asked of one statement, so of one snapshot, that locks nothing: who sees
 * a row sees all rows whose commit its writer had seen. In it they stand in the order of their ids.
 * What a writer commits later gets a later tick, however small its id is. One claim at a time: the
 * row of sluice_mapping is locked first, and the statement behind it sees all earlier claims.
 */
#include "base/clock.h"
#include "base/error.h"
#include "event/id.h"
#include "store/mapped.h"

/* Rows of one INSERT: 4 parameters each, and 1 for all. */
enum { ROWS_A_STATEMENT = 7, TRIES_MAX = 5 };

static const char claim_failed[] = "cannot claim the mapped table's rows";

#define INSERT_CLAIM                                                                               \
    "INSERT INTO sluice_claim (tick, position, row_id, event_id, created_at) VALUES "

static void note_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) columns;
    (void) column_count;
    *(bool *) context = true;
}

static void keep_tick(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = sl_value_number(&columns[0]) + 1;
}

struct candidates {
    struct sl_mapped *mapped;
    const char *source_id;
    int64_t tick;
    int64_t now_ms;
    size_t too_long; /* ids that are longer than they may be */
};

static void name_event(const struct candidates *candidates, struct sl_claim *claim, int64_t number)
{
    char *id = claim->event_id;
    if (candidates->mapped->has_integer_id) {
        sl_id_of_number(candidates->source_id, number, id);
        return;
    }
    size_t size = strlen(claim->row_id);
    if (size == SLUICE_EVENT_ID_SIZE - 1) {
        for (size_t i = 0; i <= size; i++) {
            char c = claim->row_id[i];
            id[i] = c >= 'A' && c <= 'F' ? (char) (c - 'A' + 'a') : c;
        }
        if (sl_event_is_id(sl_text_of(id))) {
            return;
        }
    }
    sl_id_of_text(candidates->source_id, claim->row_id, id);
}

static void keep_candidate(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct candidates *candidates = context;
    struct sl_claims *claims = &candidates->mapped->claims;
    int64_t number = sl_value_number(&columns[0]);
    int64_t time_ms = sl_value_number(&columns[1]);
    (void) column_count;
    if (claims->count == SL_CLAIMS_MAX) {
        return;
    }
    if (columns[0].size >= SL_ROW_ID_SIZE) {
        candidates->too_long++;
        return;
    }
    struct sl_claim *claim = &claims->items[claims->count++];
    sl_value_copy(&columns[0], claim->row_id, sizeof(claim->row_id));
    claim->position = (struct sl_position) {
        candidates->tick, candidates->mapped->has_integer_id ? number : (int64_t) claims->count};
    claim->time_ms = time_ms > 0 ? time_ms : candidates->now_ms;
    name_event(candidates, claim, number);
}

static int find_rows(
    struct sl_store *store, struct candidates *candidates, struct sluice_error *error)
{
    if (strcmp(store->dialect->name, "postgresql") == 0 &&
        sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT set_config('synchronous_commit', 'on', true)"
                        " WHERE current_setting('synchronous_commit') IN ('off', 'local')",
                .what = claim_failed,
            },
            error) != 0) {
        return -1;
    }
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = store->dialect->has_row_locks
                    ? "SELECT claimed_tick FROM sluice_mapping WHERE name = 'mapping' FOR UPDATE"
                    : "SELECT claimed_tick FROM sluice_mapping WHERE name = 'mapping'",
                .what = claim_failed,
                .visit = keep_tick,
                .context = &candidates->tick,
            },
            error) != 0) {
        return -1;
    }
    if (candidates->tick == 0) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "the row of sluice_mapping is missing: it was removed by hand; start the relay again");
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = store->mapped->statements[SL_MAPPED_CANDIDATES],
            .what = claim_failed,
            SL_SQL_VALUES(sluice_integer(SL_CLAIMS_MAX)),
            .visit = keep_candidate,
            .context = candidates,
        },
        error);
}

static int insert_claims(
    struct sl_store *store, const struct sl_claims *claims, struct sluice_error *error)
{
    for (size_t i = 0; i < claims->count;) {
        struct sluice_value values[1 + 4 * ROWS_A_STATEMENT];
        bool is_full = claims->count - i >= ROWS_A_STATEMENT;
        size_t count = 0;
        values[count++] = sluice_integer(claims->items[i].position.tick);
        for (size_t end = i + (is_full ? ROWS_A_STATEMENT : 1); i < end; i++) {
            const struct sl_claim *claim = &claims->items[i];
            values[count++] = sluice_integer(claim->position.id);
            values[count++] = sluice_text(claim->row_id);
            values[count++] = sluice_text(claim->event_id);
            values[count++] = sluice_integer(claim->time_ms);
        }
        struct sl_sql sql = {
            .text = is_full ? INSERT_CLAIM
                "(?1, ?2, ?3, ?4, ?5), (?1, ?6, ?7, ?8, ?9),"
                " (?1, ?10, ?11, ?12, ?13), (?1, ?14, ?15, ?16, ?17),"
                " (?1, ?18, ?19, ?20, ?21), (?1, ?22, ?23, ?24, ?25),"
                " (?1, ?26, ?27, ?28, ?29)"
                            : INSERT_CLAIM "(?1, ?2, ?3, ?4, ?5)",
            .what = claim_failed,
            .values = values,
            .value_count = count,
        };
        if (sl_sql_run(store, &sql, error) != 0) {
            return -1;
        }
    }
    const struct sl_claim *last = &claims->items[claims->count - 1];
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_mapping SET claimed_tick = ?1, claimed_position = ?2 "
                    "WHERE name = 'mapping'",
            .what = claim_failed,
            SL_SQL_VALUES(sluice_integer(last->position.tick), sluice_integer(last->position.id)),
        },
        error);
}

static int claim_once(struct sl_store *store, struct sluice_error *error)
{
    struct sl_claims *claims = &store->mapped->claims;
    struct candidates candidates = {
        .mapped = store->mapped, .source_id = store->id, .now_ms = sl_clock_wall_ms()};
    bool is_ours;
    claims->count = 0;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = find_rows(store, &candidates, error);
    if (status == 0 && candidates.too_long > 0) {
        status = sl_fail(error, SLUICE_INVALID, SLUICE_FATAL,
            "the table '%s' has a row whose id has more than %d bytes; give it a shorter one, or "
            "name another column with relay.columns.id",
            store->mapped->table, SL_ROW_ID_SIZE - 1);
    }
    if (status == 0 && claims->count > 0) {
        status = insert_claims(store, claims, error);
    }
    return sl_store_leave(store, is_ours, status, error);
}

int sl_mapped_claim(struct sl_store *store, bool *ret_is_claimed, struct sluice_error *error)
{
    struct sluice_error own = {0};
    int status = -1;
    *ret_is_claimed = false;
    /* Most looks find nothing, and cost this. */
    bool is_there = false;
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = store->mapped->statements[SL_MAPPED_LOOK],
                .what = claim_failed,
                .visit = note_row,
                .context = &is_there,
            },
            error) != 0) {
        return -1;
    }
    if (!is_there) {
        return 0;
    }
    for (int tries = 0; tries < TRIES_MAX && status != 0; tries++) {
        status = claim_once(store, &own);
        if (status != 0 && own.code != SLUICE_CONFLICT) {
            break;
        }
    }
    if (status != 0 && error != NULL) {
        *error = own;
    }
    *ret_is_claimed = status == 0 && store->mapped->claims.count > 0;
    return status;
}
