#include "base/error.h"
#include "store/batch.h"
#include "store/mariadb.h"

/* A count of what is unsent stops here: it costs as much as there is. */
enum { UNSENT_COUNT_MAX = 1000000 };

/* The rows behind a position. Both halves are ranges of the index. */
#define BEHIND "((tick = ?1 AND position > ?2) OR tick > ?1)"

static const char read_failed[] = "cannot read the outbox";
static const char clean_failed[] = "cannot clean the outbox";

int sl_mariadb_outbox_insert(
    struct sl_store *base, const struct sl_event *event, struct sluice_error *error)
{
    struct sl_store_mariadb *store = (struct sl_store_mariadb *) base;
    if (sl_sql_run(base,
            &(struct sl_sql) {
                .text = "INSERT INTO sluice_outbox (id, topic, message_key, type, payload, headers,"
                        " created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                .what = "cannot write the outbox",
                SL_SQL_VALUES(sluice_text(event->id), sl_value_text(event->topic),
                    event->has_key ? sl_value_text(event->key) : sluice_null(),
                    sl_value_text(event->type),
                    sluice_bytes(event->payload.data, event->payload.size),
                    sl_value_text(event->headers), sluice_integer(event->time_ms)),
            },
            error) != 0) {
        return -1;
    }
    store->marker = (int64_t) mysql_insert_id(store->handle);
    memcpy(store->marker_id, event->id, sizeof(store->marker_id));
    return 0;
}

static void note_same_id(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(bool *) context = sl_value_number(&columns[0]) != 0;
}

int sl_mariadb_find_marker(
    struct sl_store_mariadb *store, bool *ret_is_there, struct sluice_error *error)
{
    *ret_is_there = false;
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT id = ?2 FROM sluice_outbox WHERE position = ?1 LOCK IN SHARE MODE",
            .what = read_failed,
            SL_SQL_VALUES(sluice_integer(store->marker), sluice_text(store->marker_id)),
            .visit = note_same_id,
            .context = ret_is_there,
        },
        error);
}

struct reader {
    struct sl_outbox_batch *batch;
    size_t size_max;
    bool is_out_of_memory;
};

static void keep_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct reader *reader = context;
    struct sl_outbox_batch *batch = reader->batch;
    (void) column_count;
    if (reader->is_out_of_memory || batch->bytes.size >= reader->size_max) {
        return;
    }
    struct sl_event event = {
        .topic = sl_value_view(&columns[3]),
        .has_key = columns[4].kind != SLUICE_NULL,
        .key = sl_value_view(&columns[4]),
        .type = sl_value_view(&columns[5]),
        .payload = sl_value_view(&columns[6]),
        .headers = sl_value_view(&columns[7]),
        .time_ms = sl_value_number(&columns[8]),
    };
    sl_value_copy(&columns[2], event.id, sizeof(event.id));
    struct sl_position position = {sl_value_number(&columns[0]), sl_value_number(&columns[1])};
    reader->is_out_of_memory = sl_outbox_batch_add(batch, &event, position) != 0;
}

/*
 * How many rows to ask for: the server sends all of them, so not many more than `size_max` takes,
 * going by the rows read last.
 */
static size_t rows_to_ask_for(
    const struct sl_store_mariadb *store, size_t count_max, size_t size_max)
{
    size_t count = store->row_size == 0 ? count_max : 2 * size_max / store->row_size + 1;
    return count < count_max ? count : count_max;
}

static int read_claimed(struct sl_store_mariadb *store, struct sl_position position,
    size_t count_max, struct reader *reader, struct sluice_error *error)
{
    size_t asked = rows_to_ask_for(store, count_max, reader->size_max);
    reader->batch->count = 0;
    reader->batch->bytes.size = 0;
    if (sl_sql_run(&store->base,
            &(struct sl_sql) {
                .text = "SELECT tick, position, id, topic, message_key, type, payload, headers,"
                        " created_at FROM sluice_outbox FORCE INDEX (sluice_outbox_tick) "
                        "WHERE " BEHIND " ORDER BY tick, position LIMIT ?3",
                .what = read_failed,
                SL_SQL_VALUES(sluice_integer(position.tick), sluice_integer(position.id),
                    sluice_integer((int64_t) asked)),
                .visit = keep_row,
                .context = reader,
            },
            error) != 0) {
        return -1;
    }
    if (reader->is_out_of_memory) {
        return sl_fail_memory(error, "a batch of the outbox");
    }
    if (reader->batch->count > 0) {
        store->row_size = reader->batch->bytes.size / reader->batch->count + 1;
    }
    return 0;
}

static void note_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) columns;
    (void) column_count;
    *(bool *) context = true;
}

/* Most looks find nothing, and cost this. */
static int has_unclaimed(
    struct sl_store_mariadb *store, bool *ret_has_unclaimed, struct sluice_error *error)
{
    *ret_has_unclaimed = false;
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT 1 FROM sluice_outbox WHERE tick IS NULL LIMIT 1",
            .what = read_failed,
            .visit = note_row,
            .context = ret_has_unclaimed,
        },
        error);
}

int sl_mariadb_outbox_read(struct sl_store *base, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    struct sl_store_mariadb *store = (struct sl_store_mariadb *) base;
    struct reader reader = {batch, size_max, false};
    if (sl_outbox_batch_start(batch, count_max) != 0) {
        return sl_fail_memory(error, "a batch of the outbox");
    }
    int status = read_claimed(store, position, count_max, &reader, error);
    if (status == 0 && batch->count == 0) {
        bool is_claimed = false;
        status = has_unclaimed(store, &is_claimed, error);
        if (status == 0 && is_claimed) {
            status = sl_mariadb_claim(store, &is_claimed, error);
        }
        if (status == 0 && is_claimed) {
            status = read_claimed(store, position, count_max, &reader, error);
        }
    }
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

static int read_relay_row(struct sl_store *base, const char *text, const char *what,
    struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    return sl_sql_run(base,
        &(struct sl_sql) {.text = text, .what = what, .visit = keep_state, .context = ret_state},
        error);
}

#define RELAY_ROW                                                                                  \
    "SELECT tick, position, updated_at, claimed_tick, claimed_position, retained_tick,"            \
    " retained_position FROM sluice_relay WHERE name = 'relay'"

static void keep_unsent(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct sl_outbox_state *state = context;
    (void) column_count;
    int64_t claimed_ms = sl_value_number(&columns[2]);
    int64_t unclaimed_ms = sl_value_number(&columns[3]);
    state->unsent_count = sl_value_number(&columns[0]) + sl_value_number(&columns[1]);
    state->oldest_unsent_ms = claimed_ms == 0 || (unclaimed_ms != 0 && unclaimed_ms < claimed_ms)
        ? unclaimed_ms
        : claimed_ms;
}

int sl_mariadb_outbox_state(
    struct sl_store *base, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    struct sl_outbox_state state = {0};
    if (read_relay_row(base, RELAY_ROW, read_failed, &state, error) != 0 ||
        sl_sql_run(base,
            &(struct sl_sql) {
                .text = "SELECT"
                        " (SELECT count(*) FROM (SELECT 1 FROM sluice_outbox WHERE " BEHIND
                        "  LIMIT ?3) AS claimed),"
                        " (SELECT count(*) FROM (SELECT 1 FROM sluice_outbox WHERE tick IS NULL"
                        "  LIMIT ?3) AS unclaimed),"
                        " (SELECT created_at FROM sluice_outbox WHERE " BEHIND
                        "  ORDER BY tick, position LIMIT 1),"
                        " (SELECT created_at FROM sluice_outbox WHERE tick IS NULL"
                        "  ORDER BY position LIMIT 1)",
                .what = read_failed,
                SL_SQL_VALUES(sluice_integer(state.position.tick),
                    sluice_integer(state.position.id), sluice_integer(UNSENT_COUNT_MAX)),
                .visit = keep_unsent,
                .context = &state,
            },
            error) != 0) {
        return -1;
    }
    *ret_state = state;
    return 0;
}

/* The rows that may go: from the oldest position on, up to the first one that is too young. */
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
    expired->is_ended = expired->is_ended || sl_value_number(&columns[2]) >= expired->before_ms;
    if (!expired->is_ended) {
        expired->last =
            (struct sl_position) {sl_value_number(&columns[0]), sl_value_number(&columns[1])};
        expired->count++;
    }
}

static int find_expired(struct sl_store *base, struct sl_position position, int64_t count_max,
    struct expired *expired, struct sluice_error *error)
{
    return sl_sql_run(base,
        &(struct sl_sql) {
            .text = "SELECT tick, position, created_at FROM sluice_outbox "
                    "WHERE tick < ?1 OR (tick = ?1 AND position <= ?2) "
                    "ORDER BY tick, position LIMIT ?3",
            .what = clean_failed,
            SL_SQL_VALUES(sluice_integer(position.tick), sluice_integer(position.id),
                sluice_integer(count_max)),
            .visit = keep_expired,
            .context = expired,
        },
        error);
}

static int delete_expired(
    struct sl_store *base, const struct expired *expired, struct sluice_error *error)
{
    if (sl_sql_run(base,
            &(struct sl_sql) {
                .text = "DELETE FROM sluice_outbox "
                        "WHERE tick < ?1 OR (tick = ?1 AND position <= ?2) "
                        "ORDER BY tick, position LIMIT ?3",
                .what = clean_failed,
                SL_SQL_VALUES(sluice_integer(expired->last.tick), sluice_integer(expired->last.id),
                    sluice_integer(expired->count)),
            },
            error) != 0) {
        return -1;
    }
    return sl_sql_run(base,
        &(struct sl_sql) {
            .text = "UPDATE sluice_relay SET retained_tick = ?1, retained_position = ?2 "
                    "WHERE name = 'relay'",
            .what = clean_failed,
            SL_SQL_VALUES(sluice_integer(expired->last.tick), sluice_integer(expired->last.id)),
        },
        error);
}

int sl_mariadb_outbox_retain(struct sl_store *base, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error)
{
    struct expired expired = {.before_ms = before_ms};
    struct sl_outbox_state state = {0};
    bool is_ours;
    if (sl_store_enter(base, &is_ours, error) != 0) {
        return -1;
    }
    int status = read_relay_row(base, RELAY_ROW " FOR UPDATE", clean_failed, &state, error);
    if (status == 0) {
        status = find_expired(base, state.position, count_max, &expired, error);
    }
    if (status == 0 && expired.count > 0) {
        status = delete_expired(base, &expired, error);
    }
    status = sl_store_leave(base, is_ours, status, error);
    if (status == 0) {
        *ret_deleted = expired.count;
    }
    return status;
}
