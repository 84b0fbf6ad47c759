/*
 * Reading PostgreSQL's outbox: tick by tick, and within a tick in the order of positions.
 *
 * A small tick is found by its transaction ids and sorted. A big one, a backlog of millions
 * perhaps, is read in windows of positions that hold about a page each, so that neither side ever
 * sorts or keeps more than a page, whatever the planner makes of it. Most of a window's rows are
 * behind all that the snapshot before knew, and before all that the other one still awaited: to
 * compare two numbers for them, before the snapshots are asked, makes a page a quarter cheaper.
 */
#include "base/error.h"
#include "base/memory.h"
#include "base/parse.h"
#include "store/batch.h"
#include "store/postgresql.h"

static const int64_t epoch_ms = 946684800000; /* Unix time of 2000-01-01 */

enum {
    SMALL_TICK_ROWS = 4000,    /* up to here a tick is sorted, however its positions lie */
    SPARSE_TICK_ROWS = 100000, /* up to here if most of the positions between are other ticks' */
    SPARSE_FACTOR = 8
};

#define COLUMNS "position, id, created_at, aggregatetype, aggregateid, type, payload, headers"

/* $1 snapshot before, $2 snapshot, $3 after this position, $4 rows */
#define SMALL_PAGE                                                                                 \
    "SELECT o.position, o.id, o.created_at, o.aggregatetype, o.aggregateid, o.type, o.payload,"    \
    " o.headers FROM sluice.ranges($1::pg_snapshot, $2::pg_snapshot) r CROSS JOIN LATERAL ("       \
    "SELECT " COLUMNS                                                                              \
    " FROM sluice.outbox WHERE xid > r.low AND xid < r.high OFFSET 0) o "                          \
    "WHERE o.position > $3 ORDER BY o.position LIMIT $4"

/* The same, and $5 the last position of the window */
#define WINDOW_PAGE                                                                                \
    "SELECT " COLUMNS                                                                              \
    " FROM sluice.outbox WHERE position > $3 AND position <= $5"                                   \
    " AND (xid >= (SELECT pg_snapshot_xmax($1::pg_snapshot))"                                      \
    " OR NOT pg_visible_in_snapshot(xid, (SELECT $1::pg_snapshot)))"                               \
    " AND (xid < (SELECT pg_snapshot_xmin($2::pg_snapshot))"                                       \
    " OR pg_visible_in_snapshot(xid, (SELECT $2::pg_snapshot))) ORDER BY position LIMIT $4"

/* Cut a page by the size of its payloads, $6, before they are sent; $5 is always bound. */
#define CUT(page)                                                                                  \
    "SELECT " COLUMNS                                                                              \
    " FROM (SELECT p.*, sum(octet_length(payload)) OVER (ORDER BY position)"                       \
    " - octet_length(payload) AS size_before FROM (" page                                          \
    ") p) s "                                                                                      \
    "WHERE size_before < $6 AND $5 IS NOT NULL ORDER BY position"

void sl_postgresql_forget_tick(struct sl_postgresql_tick *tick)
{
    sl_free(tick->snapshot);
    sl_free(tick->previous);
    *tick = (struct sl_postgresql_tick) {0};
}

static void keep_tick(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(struct sl_postgresql_tick *) context = (struct sl_postgresql_tick) {
        .number = sl_value_number(&columns[0]),
        .row_count = sl_value_number(&columns[1]),
        .first_position = sl_value_number(&columns[2]),
        .last_position = sl_value_number(&columns[3]),
        .payload_size_max = sl_value_number(&columns[4]),
        .snapshot = sl_copy_bytes(columns[5].data, columns[5].size),
        .previous = columns[6].kind == SLUICE_NULL
            ? sl_copy_text("3:3:")
            : sl_copy_bytes(columns[6].data, columns[6].size),
    };
}

/* Go to the first tick behind `after`, made if need be; the one in hand stays if there is none. */
static int next_tick(struct sl_store_postgresql *store, int64_t after, struct sluice_error *error)
{
    struct sl_postgresql_tick tick = {0};
    if (sl_sql_run(&store->base,
            &(struct sl_sql) {
                .text = "SELECT number, row_count, first_position, last_position, payload_size_max,"
                        " snapshot, previous FROM sluice.next_tick(?1)",
                .what = "cannot make a tick of the outbox",
                SL_SQL_VALUES(sluice_integer(after)),
                .visit = keep_tick,
                .context = &tick,
            },
            error) != 0) {
        sl_postgresql_forget_tick(&tick);
        return -1;
    }
    if (tick.number != 0 && (tick.snapshot == NULL || tick.previous == NULL)) {
        sl_postgresql_forget_tick(&tick);
        return sl_fail_memory(error, "a tick of the outbox");
    }
    if (tick.number != 0) {
        sl_postgresql_forget_tick(&store->tick);
        store->tick = tick;
        return 0;
    }
    return 0;
}

/* What a page is asked for. */
struct page {
    int64_t after;
    int64_t window_end;
    int64_t rows;
    int64_t size_max;
    bool is_window;
    bool is_cut;
};

static PGresult *fetch_page(
    struct sl_store_postgresql *store, const struct page *page, struct sluice_error *error)
{
    static const Oid types[] = {
        SL_OID_TEXT, SL_OID_TEXT, SL_OID_INT8, SL_OID_INT8, SL_OID_INT8, SL_OID_INT8};
    const struct sl_postgresql_tick *tick = &store->tick;
    char numbers[4][8];
    sl_postgresql_put_int64(numbers[0], page->after);
    sl_postgresql_put_int64(numbers[1], page->rows);
    sl_postgresql_put_int64(numbers[2], page->window_end);
    sl_postgresql_put_int64(numbers[3], page->size_max);
    const char *const values[] = {
        tick->previous, tick->snapshot, numbers[0], numbers[1], numbers[2], numbers[3]};
    const int sizes[] = {(int) strlen(tick->previous), (int) strlen(tick->snapshot), 8, 8, 8, 8};
    struct sl_postgresql_parameters parameters = {types, values, sizes, 6};
    const char *sql;
    if (page->is_cut) {
        sql = page->is_window ? CUT(WINDOW_PAGE) : CUT(SMALL_PAGE);
    } else {
        parameters.count = page->is_window ? 5 : 4;
        sql = page->is_window ? WINDOW_PAGE : SMALL_PAGE;
    }
    return sl_postgresql_fetch(store, sql, "cannot read the outbox", &parameters, error);
}

static void write_id(const char *bytes, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_id;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = digits[(unsigned char) bytes[i] >> 4];
        *out++ = digits[bytes[i] & 0xf];
    }
    *out = '\0';
}

static struct sl_text column(const PGresult *result, int row, int index)
{
    return (struct sl_text) {
        PQgetvalue(result, row, index), (size_t) PQgetlength(result, row, index)};
}

static void view_row(const PGresult *result, int row, struct sl_event *event)
{
    write_id(PQgetvalue(result, row, 1), event->id);
    int64_t time_us = sl_postgresql_get_int64(PQgetvalue(result, row, 2));
    event->time_ms = (time_us >= 0 ? time_us / 1000 : (time_us - 999) / 1000) + epoch_ms;
    event->topic = column(result, row, 3);
    event->has_key = !PQgetisnull(result, row, 4);
    event->key = column(result, row, 4);
    event->type = column(result, row, 5);
    event->payload = column(result, row, 6);
    event->headers = PQgetisnull(result, row, 7) ? SL_TEXT("{}") : column(result, row, 7);
}

static void release_result(void *result)
{
    PQclear(result);
}

/* The batch's events look into the result, which it keeps until it is read again. */
static int take_page(struct sl_outbox_batch *batch, PGresult *take_result, int64_t tick,
    size_t size_max, struct sluice_error *error)
{
    size_t row_count = (size_t) PQntuples(take_result);
    sl_outbox_batch_own(batch, take_result, release_result);
    if (sl_outbox_batch_start(batch, row_count) != 0) {
        return sl_fail_memory(error, "a batch of the outbox");
    }
    size_t size = 0;
    for (size_t i = 0; i < row_count && (i == 0 || size < size_max); i++) {
        view_row(take_result, (int) i, &batch->events[i]);
        batch->positions[i] = (struct sl_position) {
            tick, sl_postgresql_get_int64(PQgetvalue(take_result, (int) i, 0))};
        size += batch->events[i].payload.size;
        batch->count++;
    }
    return 0;
}

static bool is_small(const struct sl_postgresql_tick *tick)
{
    int64_t span = tick->last_position - tick->first_position + 1;
    return tick->row_count <= SMALL_TICK_ROWS ||
        (tick->row_count <= SPARSE_TICK_ROWS && span > tick->row_count * SPARSE_FACTOR);
}

/* Read on in the tick in hand, behind `after`; nothing in `batch` means that it is used up. */
static int read_tick(struct sl_store_postgresql *store, int64_t after, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    const struct sl_postgresql_tick *tick = &store->tick;
    int64_t span = tick->last_position - tick->first_position + 1;
    struct page page = {
        .after = after<tick->first_position ? tick->first_position - 1 : after,
            .window_end = tick->last_position, .rows = (int64_t) count_max,
            .size_max = (int64_t) size_max, .is_window = !is_small(tick),
            .is_cut = tick->payload_size_max * (int64_t) count_max>(int64_t) size_max,
    };
    int64_t window = span / tick->row_count * page.rows + page.rows / 8;
    while (batch->count == 0 && page.after < tick->last_position) {
        if (page.is_window) {
            page.window_end = page.after + window < tick->last_position ? page.after + window
                                                                        : tick->last_position;
        }
        PGresult *result = fetch_page(store, &page, error);
        if (result == NULL || take_page(batch, result, tick->number, size_max, error) != 0) {
            return -1;
        }
        page.after = page.window_end;
    }
    return 0;
}

/* Make the tick that holds a position the one in hand, or the next one that there is. */
static int go_to(
    struct sl_store_postgresql *store, struct sl_position position, struct sluice_error *error)
{
    if (store->tick.number == position.tick) {
        return 0;
    }
    sl_postgresql_forget_tick(&store->tick);
    return position.tick == 0 ? 0 : next_tick(store, position.tick - 1, error);
}

static int read_from(struct sl_store_postgresql *store, struct sl_position position,
    size_t count_max, size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    if (go_to(store, position, error) != 0) {
        return -1;
    }
    while (batch->count == 0) {
        if (store->tick.number <= position.tick && position.id >= store->tick.last_position) {
            if (next_tick(store, position.tick, error) != 0) {
                return -1;
            }
            if (store->tick.number <= position.tick) {
                return 0; /* nothing new */
            }
        }
        if (store->tick.number > position.tick) {
            position = (struct sl_position) {store->tick.number, 0};
        }
        if (read_tick(store, position.id, count_max, size_max, batch, error) != 0) {
            return -1;
        }
        position.id = store->tick.last_position;
    }
    return 0;
}

int sl_postgresql_outbox_read(struct sl_store *base, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    batch->count = 0;
    if (sl_postgresql_ensure(store, error) != 0 ||
        sl_postgresql_check_identity(store, error) != 0) {
        return -1;
    }
    if (sl_postgresql_in_transaction(store)) {
        return sl_fail(error, SLUICE_IN_TRANSACTION, SLUICE_REJECT,
            "cannot read the outbox in a transaction: a tick must be committed before its rows are "
            "handed out");
    }
    return read_from(store, position, count_max, size_max, batch, error);
}
