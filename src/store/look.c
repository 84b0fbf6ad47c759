#include "store/look.h"

#include "base/clock.h"
#include "base/error.h"
#include "store/ops.h"
#include "store/sql.h"

struct marker_visit {
    sl_marker_visit visit;
    void *context;
};

static void visit_marker(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct marker_visit *visit = context;
    (void) column_count;
    visit->visit(visit->context, sl_value_view(&columns[0]), sl_value_view(&columns[1]),
        sl_value_number(&columns[2]));
}

int sl_store_inbox_read(struct sl_store *store, const char *consumer, const char *after,
    int64_t count_max, sl_marker_visit visit, void *context, struct sluice_error *error)
{
    struct marker_visit visitor = {visit, context};
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT consumer, event_id, applied_at FROM sluice_inbox "
                    "WHERE consumer = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?3",
            .what = "cannot read the inbox",
            SL_SQL_VALUES(sluice_text(consumer), sluice_text(after), sluice_integer(count_max)),
            .visit = visit_marker,
            .context = &visitor,
        },
        error);
}

int sl_store_inbox_find(struct sl_store *store, const char *event_id, sl_marker_visit visit,
    void *context, struct sluice_error *error)
{
    struct marker_visit visitor = {visit, context};
    /* By consumer, whose markers the key begins with: without one, the whole inbox would be read.
     */
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT i.consumer, i.event_id, i.applied_at "
                    "FROM sluice_consumer c JOIN sluice_inbox i ON i.consumer = c.name "
                    "WHERE i.event_id = ?1 ORDER BY i.consumer",
            .what = "cannot read the inbox",
            SL_SQL_VALUES(sluice_text(event_id)),
            .visit = visit_marker,
            .context = &visitor,
        },
        error);
}

struct row_visit {
    sl_row_visit visit;
    void *context;
};

static void visit_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct row_visit *visit = context;
    struct sl_event event = {
        .topic = sl_value_view(&columns[3]),
        .has_key = columns[4].kind != SLUICE_NULL,
        .key = sl_value_view(&columns[4]),
        .type = sl_value_view(&columns[5]),
        .payload = sl_value_view(&columns[6]),
        .headers = sl_value_view(&columns[7]),
        .time_ms = sl_value_number(&columns[8]),
    };
    (void) column_count;
    sl_value_copy(&columns[2], event.id, sizeof(event.id));
    visit->visit(visit->context,
        (struct sl_position) {sl_value_number(&columns[0]), sl_value_number(&columns[1])}, &event);
}

int sl_store_outbox_find(struct sl_store *store, const char *event_id, sl_row_visit visit,
    void *context, struct sluice_error *error)
{
    struct row_visit visitor = {visit, context};
    const char *text = store->dialect->outbox_find;
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = text != NULL ? text
                                 : "SELECT 0, position, id, topic, message_key, type, payload,"
                                   " headers, created_at FROM sluice_outbox WHERE id = ?1"
                                   " ORDER BY position",
            .what = "cannot read the outbox",
            SL_SQL_VALUES(sluice_text(event_id)),
            .visit = visit_row,
            .context = &visitor,
        },
        error);
}

struct transaction_visit {
    sl_transaction_visit visit;
    void *context;
};

static void visit_transaction(
    void *context, const struct sluice_value *columns, size_t column_count)
{
    struct transaction_visit *visit = context;
    (void) column_count;
    visit->visit(visit->context, sl_value_view(&columns[0]), sl_value_number(&columns[1]));
}

int sl_store_open_transactions(struct sl_store *store, int64_t age_ms_min,
    sl_transaction_visit visit, void *context, struct sluice_error *error)
{
    struct transaction_visit visitor = {visit, context};
    if (store->dialect->open_transactions == NULL) {
        return 0;
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = store->dialect->open_transactions,
            .what = "cannot list the open transactions",
            SL_SQL_VALUES(sluice_integer(age_ms_min)),
            .visit = visit_transaction,
            .context = &visitor,
        },
        error);
}

struct relay_row_visit {
    struct sl_relay_row *row;
    bool is_found;
};

static void visit_relay_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct relay_row_visit *visit = context;
    (void) column_count;
    sl_value_copy(&columns[0], visit->row->holder, sizeof(visit->row->holder));
    visit->row->term = sl_value_number(&columns[1]);
    visit->row->lease_ends_ms = sl_value_number(&columns[2]);
    visit->is_found = true;
}

int sl_store_relay_row(
    struct sl_store *store, struct sl_relay_row *ret_row, struct sluice_error *error)
{
    struct relay_row_visit visit = {.row = ret_row};
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = "SELECT holder, term, lease_ends_at FROM sluice_relay WHERE name = 'relay'",
                .what = "cannot read the relay's row",
                .visit = visit_relay_row,
                .context = &visit,
            },
            error) != 0) {
        return -1;
    }
    return visit.is_found
        ? 0
        : sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
              "the row of sluice_relay is missing: the tables were changed by hand; restore them");
}

static void visit_number(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = sl_value_number(&columns[0]);
}

int sl_store_clock(struct sl_store *store, int64_t *ret_clock_ms, struct sluice_error *error)
{
    if (store->dialect->clock == NULL) {
        *ret_clock_ms = sl_clock_wall_ms();
        return 0;
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = store->dialect->clock,
            .what = "cannot read the database's clock",
            .visit = visit_number,
            .context = ret_clock_ms,
        },
        error);
}

static void copy_text(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    sl_value_copy(&columns[0], context, SL_PAUSE_TEXT_SIZE);
}

int sl_store_paused(
    struct sl_store *store, char ret_by[SL_PAUSE_TEXT_SIZE], struct sluice_error *error)
{
    ret_by[0] = '\0';
    if (store->ops->run == NULL) {
        return 0; /* a store without statements, as the simulation has it, cannot be paused */
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT value FROM sluice_meta WHERE name = 'paused'",
            .what = "cannot read whether the relay is paused",
            .visit = copy_text,
            .context = ret_by,
        },
        error);
}

/* Put a value under a name in the place of what was there. */
static int write_meta(
    struct sl_store *store, const char *name, const char *value, struct sluice_error *error)
{
    static const char what[] = "cannot pause or resume the relay";
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = "DELETE FROM sluice_meta WHERE name = ?1",
                .what = what,
                SL_SQL_VALUES(sluice_text(name)),
            },
            error) != 0) {
        return -1;
    }
    return value == NULL ? 0
                         : sl_sql_run(store,
                               &(struct sl_sql) {
                                   .text = "INSERT INTO sluice_meta (name, value) VALUES (?1, ?2)",
                                   .what = what,
                                   SL_SQL_VALUES(sluice_text(name), sluice_text(value)),
                               },
                               error);
}

int sl_store_set_paused(
    struct sl_store *store, bool is_paused, const char *by, struct sluice_error *error)
{
    bool is_ours;
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = write_meta(store, "paused", is_paused ? by : NULL, error);
    status =
        status == 0 ? write_meta(store, is_paused ? "last_pause" : "last_resume", by, error) : -1;
    return sl_store_leave(store, is_ours, status, error);
}
