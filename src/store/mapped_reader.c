/* Reading a mapped table: the claims behind a position, and the rows that they are of. */
#include "base/clock.h"
#include "base/error.h"
#include "store/batch.h"
#include "store/mapped.h"

enum { UNSENT_COUNT_MAX = 100000 };

#define BEHIND "((tick = ?1 AND position > ?2) OR tick > ?1)"

static const char read_failed[] = "cannot read the mapped table";
static const char clean_failed[] = "cannot clean the claims of the mapped table";

static void keep_claim(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct sl_claims *claims = context;
    (void) column_count;
    if (claims->count == SL_CLAIMS_MAX) {
        return;
    }
    struct sl_claim *claim = &claims->items[claims->count++];
    claim->position =
        (struct sl_position) {sl_value_number(&columns[0]), sl_value_number(&columns[1])};
    sl_value_copy(&columns[2], claim->row_id, sizeof(claim->row_id));
    sl_value_copy(&columns[3], claim->event_id, sizeof(claim->event_id));
    claim->time_ms = sl_value_number(&columns[4]);
}

static int read_claims(struct sl_store *store, struct sl_position position, size_t count_max,
    struct sluice_error *error)
{
    struct sl_claims *claims = &store->mapped->claims;
    claims->count = 0;
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT tick, position, row_id, event_id, created_at FROM sluice_claim"
                    " WHERE " BEHIND " ORDER BY tick, position LIMIT ?3",
            .what = read_failed,
            SL_SQL_VALUES(sluice_integer(position.tick), sluice_integer(position.id),
                sluice_integer((int64_t) count_max)),
            .visit = keep_claim,
            .context = claims,
        },
        error);
}

/* The rows of a group of claims, which come in any order, each into its claim's place. */
struct group {
    struct sl_outbox_batch *batch;
    const struct sl_mapped *mapped;
    const struct sl_claim *claims;
    size_t start; /* the place of the first one */
    size_t count;
    bool is_found[SL_MAPPED_GROUP];
    bool is_out_of_memory;
};

static void keep_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct group *group = context;
    struct sl_text row_id = sl_value_view(&columns[0]);
    size_t i = 0;
    (void) column_count;
    while (i < group->count && !sl_text_equal(row_id, sl_text_of(group->claims[i].row_id))) {
        i++;
    }
    if (i == group->count || group->is_found[i] || group->is_out_of_memory) {
        return;
    }
    struct sl_event event = {
        .topic = sl_value_view(&columns[1]),
        .has_key = columns[2].kind != SLUICE_NULL,
        .key = sl_value_view(&columns[2]),
        .type = group->mapped->type == NULL ? sl_value_view(&columns[3])
                                            : sl_text_of(group->mapped->type),
        .payload = sl_value_view(&columns[4]),
        .headers = columns[5].kind == SLUICE_NULL ? SL_TEXT("{}") : sl_value_view(&columns[5]),
        .time_ms = group->claims[i].time_ms,
    };
    memcpy(event.id, group->claims[i].event_id, sizeof(event.id));
    group->batch->count = group->start + i;
    group->is_out_of_memory =
        sl_outbox_batch_add(group->batch, &event, group->claims[i].position) != 0;
    group->is_found[i] = true;
}

void sl_mapped_group(const struct sl_mapped *mapped, const struct sl_claim *claims, size_t count,
    struct sluice_value ret_values[SL_MAPPED_GROUP])
{
    for (size_t i = 0; i < SL_MAPPED_GROUP; i++) {
        const char *row_id = claims[i < count ? i : count - 1].row_id;
        ret_values[i] = sl_mapped_row_value(mapped, row_id);
    }
}

struct sluice_value sl_mapped_row_value(const struct sl_mapped *mapped, const char *row_id)
{
    struct sluice_value text = sluice_text(row_id);
    return mapped->has_integer_id ? sluice_integer(sl_value_number(&text)) : text;
}

/* Read a group's rows behind the `kept` ones of the batch; returns by how many they have grown. */
static int read_group(struct sl_store *store, struct group *group, size_t kept, size_t *ret_count,
    struct sluice_error *error)
{
    struct sluice_value values[SL_MAPPED_GROUP];
    sl_mapped_group(store->mapped, group->claims, group->count, values);
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = store->mapped->statements[SL_MAPPED_ROWS],
                .what = read_failed,
                .values = values,
                .value_count = SL_MAPPED_GROUP,
                .visit = keep_row,
                .context = group,
            },
            error) != 0) {
        return -1;
    }
    if (group->is_out_of_memory) {
        return sl_fail_memory(error, "a batch of the mapped table");
    }
    /* A row that its owner has deleted leaves no gap. */
    size_t count = 0;
    for (size_t i = 0; i < group->count; i++) {
        if (group->is_found[i]) {
            group->batch->events[kept + count] = group->batch->events[group->start + i];
            group->batch->positions[kept + count] = group->batch->positions[group->start + i];
            count++;
        }
    }
    *ret_count = count;
    return 0;
}

static int read_rows(struct sl_store *store, size_t size_max, struct sl_outbox_batch *batch,
    struct sluice_error *error)
{
    const struct sl_claims *claims = &store->mapped->claims;
    size_t kept = 0;
    for (size_t i = 0; i < claims->count && batch->bytes.size < size_max; i += SL_MAPPED_GROUP) {
        size_t left = claims->count - i;
        size_t count = 0;
        struct group group = {
            .batch = batch,
            .mapped = store->mapped,
            .claims = &claims->items[i],
            .start = kept,
            .count = left < SL_MAPPED_GROUP ? left : SL_MAPPED_GROUP,
        };
        int status = read_group(store, &group, kept, &count, error);
        kept += status == 0 ? count : 0;
        batch->count = kept;
        if (status != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_from(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    const struct sl_claims *claims = &store->mapped->claims;
    size_t asked = count_max < SL_CLAIMS_MAX ? count_max : SL_CLAIMS_MAX;
    bool may_claim = true;
    while (batch->count == 0) {
        if (read_claims(store, position, asked, error) != 0) {
            return -1;
        }
        if (claims->count > 0) {
            position = claims->items[claims->count - 1].position;
            if (read_rows(store, size_max, batch, error) != 0) {
                return -1;
            }
        } else {
            bool is_claimed = false;
            if (may_claim && sl_mapped_claim(store, &is_claimed, error) != 0) {
                return -1;
            }
            if (!is_claimed) {
                return 0; /* nothing new */
            }
            may_claim = false;
        }
    }
    return 0;
}

int sl_mapped_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    if (store->ops->in_transaction(store)) {
        return sl_fail(error, SLUICE_IN_TRANSACTION, SLUICE_REJECT,
            "cannot read the mapped table in a transaction: a claim must be committed before its "
            "rows are handed out");
    }
    sl_outbox_batch_own(batch, NULL, NULL);
    if (sl_outbox_batch_start(batch, count_max) != 0) {
        return sl_fail_memory(error, "a batch of the mapped table");
    }
    int status = read_from(store, position, count_max, size_max, batch, error);
    sl_outbox_batch_settle(batch);
    return status;
}

static void keep_state(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(struct sl_outbox_state *) context = (struct sl_outbox_state) {
        .position = {sl_value_number(&columns[0]), sl_value_number(&columns[1])},
        .confirmed_ms = sl_value_number(&columns[2]),
        .last = {sl_value_number(&columns[3]), sl_value_number(&columns[4])},
        .retained_after = {sl_value_number(&columns[5]), sl_value_number(&columns[6])},
    };
}

static int read_row(struct sl_store *store, const char *text, struct sl_outbox_state *ret_state,
    struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = text, .what = read_failed, .visit = keep_state, .context = ret_state},
        error);
}

#define MAPPING_ROW                                                                                \
    "SELECT tick, position, updated_at, claimed_tick, claimed_position, retained_tick,"            \
    " retained_position FROM sluice_mapping WHERE name = 'mapping'"

static void add_unsent(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct sl_outbox_state *state = context;
    int64_t count = sl_value_number(&columns[0]);
    int64_t oldest_ms = sl_value_number(&columns[1]);
    (void) column_count;
    if (count > 0) {
        /* Without a column of the time, what nobody has claimed is as good as new. */
        oldest_ms = oldest_ms > 0 ? oldest_ms : sl_clock_wall_ms();
        state->oldest_unsent_ms = state->unsent_count == 0 || oldest_ms < state->oldest_unsent_ms
            ? oldest_ms
            : state->oldest_unsent_ms;
        state->unsent_count += count;
    }
}

int sl_mapped_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    struct sl_outbox_state state = {0};
    if (read_row(store, MAPPING_ROW, &state, error) != 0 ||
        sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT count(*), min(u.created_at) FROM (SELECT created_at"
                        " FROM sluice_claim WHERE " BEHIND " LIMIT ?3) u",
                .what = read_failed,
                SL_SQL_VALUES(sluice_integer(state.position.tick),
                    sluice_integer(state.position.id), sluice_integer(UNSENT_COUNT_MAX)),
                .visit = add_unsent,
                .context = &state,
            },
            error) != 0 ||
        sl_sql_run(store,
            &(struct sl_sql) {
                .text = store->mapped->statements[SL_MAPPED_UNSENT],
                .what = read_failed,
                SL_SQL_VALUES(sluice_integer(UNSENT_COUNT_MAX)),
                .visit = add_unsent,
                .context = &state,
            },
            error) != 0) {
        return -1;
    }
    *ret_state = state;
    return 0;
}

/* The claims that may go: from the oldest one on, up to the first that is open or too young. */
struct expired {
    int64_t before_ms;
    struct sl_position last;
    int64_t count;
    bool is_ended;
};

static void keep_expired(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct expired *expired = context;
    (void) column_count;
    expired->is_ended = expired->is_ended || sl_value_number(&columns[2]) >= expired->before_ms ||
        !sl_text_equal(sl_value_view(&columns[3]), SL_TEXT("DONE"));
    if (!expired->is_ended) {
        expired->last =
            (struct sl_position) {sl_value_number(&columns[0]), sl_value_number(&columns[1])};
        expired->count++;
    }
}

static int delete_expired(
    struct sl_store *store, int64_t count_max, struct expired *expired, struct sluice_error *error)
{
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT tick, position, created_at, state FROM sluice_claim"
                        " ORDER BY tick, position LIMIT ?1",
                .what = clean_failed,
                SL_SQL_VALUES(sluice_integer(count_max)),
                .visit = keep_expired,
                .context = expired,
            },
            error) != 0) {
        return -1;
    }
    if (expired->count == 0) {
        return 0;
    }
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = "DELETE FROM sluice_claim WHERE tick < ?1"
                        " OR (tick = ?1 AND position <= ?2)",
                .what = clean_failed,
                SL_SQL_VALUES(sluice_integer(expired->last.tick), sluice_integer(expired->last.id)),
            },
            error) != 0) {
        return -1;
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_mapping SET retained_tick = ?1, retained_position = ?2"
                    " WHERE name = 'mapping'",
            .what = clean_failed,
            SL_SQL_VALUES(sluice_integer(expired->last.tick), sluice_integer(expired->last.id)),
        },
        error);
}

/*
 * Only claims are deleted; the rows are their owner's. Where nothing else says that a row has been
 * sent, its claim stays as long as the table is mapped.
 */
int sl_mapped_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error)
{
    struct expired expired = {.before_ms = before_ms};
    struct sl_outbox_state state = {0};
    bool is_ours;
    if (store->mapped->statements[SL_MAPPED_MARK_SENT] == NULL) {
        *ret_deleted = 0;
        return 0;
    }
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = read_row(store,
        store->dialect->has_row_locks ? MAPPING_ROW " FOR UPDATE" : MAPPING_ROW, &state, error);
    if (status == 0) {
        status = delete_expired(store, count_max, &expired, error);
    }
    status = sl_store_leave(store, is_ours, status, error);
    if (status == 0) {
        *ret_deleted = expired.count;
    }
    return status;
}
