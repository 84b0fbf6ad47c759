#include "order_state.h"

#include <stdio.h>
#include <string.h>

#include "live_status.h"
#include "service.h"
#include "sqlite_sql.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS orders("
    "  order_id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL,"
    "  lines TEXT NOT NULL, total_amount INTEGER NOT NULL, status TEXT NOT NULL,"
    "  type TEXT NOT NULL, version INTEGER NOT NULL, failure_reason TEXT,"
    "  payment_status TEXT NOT NULL, payment_requested INTEGER NOT NULL,"
    "  cancel_requested INTEGER NOT NULL, timed_out INTEGER NOT NULL,"
    "  expires_at_ms INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS orders_in_process"
    "  ON orders(expires_at_ms) WHERE status = 'PROCESSING';"
    "CREATE TABLE IF NOT EXISTS order_history("
    "  order_id INTEGER NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL,"
    "  status TEXT NOT NULL, failure_reason TEXT, event_id TEXT NOT NULL UNIQUE,"
    "  changed_at_ms INTEGER NOT NULL, PRIMARY KEY(order_id, version)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS idempotency_keys("
    "  idempotency_key TEXT PRIMARY KEY, request TEXT NOT NULL, order_id INTEGER NOT NULL"
    ") WITHOUT ROWID;";

int is(const char *text, const char *other)
{
    return strcmp(text, other) == 0;
}

int is_final(const struct order *order)
{
    return is(order->status, "COMPLETED") || is(order->status, "FAILED") ||
           is(order->status, "CANCELLED") || is(order->status, "TIMED_OUT") ||
           is(order->status, "COMPENSATION_FAILED");
}

/* What the facts amount to; the first rule that matches wins. */
static const char *derive_status(const struct order *order)
{
    if (order->timed_out) {
        return "TIMED_OUT"; /* the client was told so; a refund goes on beside it */
    }
    if (is(order->payment_status, "COMPENSATION_FAILED")) {
        return "COMPENSATION_FAILED";
    }
    if (order->cancel_requested) {
        return is(order->payment_status, "SUCCEEDED") ? "COMPENSATING"
               : is(order->payment_status, "PENDING") && order->payment_requested
                   ? "CANCEL_REQUESTED"
                   : "CANCELLED";
    }
    return is(order->payment_status, "SUCCEEDED") ? "COMPLETED"
           : is(order->payment_status, "FAILED")  ? "FAILED"
                                                  : "PROCESSING";
}

static const char *stream_type(const char *status, int64_t payment_requested)
{
    static const char *const types[][2] = {{"COMPLETED", "completed"}, {"FAILED", "failed"},
        {"CANCEL_REQUESTED", "cancel_requested"}, {"COMPENSATING", "cancel_requested"},
        {"CANCELLED", "cancelled"}, {"TIMED_OUT", "timed_out"}, {"COMPENSATION_FAILED", "failed"}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (is(types[i][0], status)) {
            return types[i][1];
        }
    }
    return payment_requested ? "payment_requested" : "order_accepted";
}

json_t *order_object(const struct order *order)
{
    return status_object(
        order->id, order->type, order->status, order->version, order->failure_reason);
}

int orders_make_tables(sluice_database *database, struct sluice_error *error)
{
    sqlite3 *sqlite = sluice_database_sqlite(database);
    if (sqlite3_exec(sqlite, schema, NULL, NULL, NULL) != SQLITE_OK) {
        snprintf(error->text, sizeof(error->text), "cannot make the tables of orders: %s",
            sqlite3_errmsg(sqlite));
        return -1;
    }
    return 0;
}

int insert_order(
    sqlite3 *sqlite, struct order *order, int64_t expires_at_ms, struct sluice_error *error)
{
    snprintf(order->payment_status, sizeof(order->payment_status), "PENDING");
    if (sql_run(sqlite, error,
            "INSERT INTO orders(user_id, lines, total_amount, status, type, version,"
            " payment_status, payment_requested, cancel_requested, timed_out, expires_at_ms)"
            " VALUES (?, ?, ?, '', '', 0, ?, 0, 0, 0, ?)",
            "ititi", order->user_id, order->lines, order->total_amount, order->payment_status,
            expires_at_ms) != 0) {
        return -1;
    }
    order->id = sqlite3_last_insert_rowid(sqlite);
    return 0;
}

int load_order(sqlite3 *sqlite, int64_t id, struct order *ret_order, struct sluice_error *error)
{
    sqlite3_stmt *row = sql_query(sqlite, error,
        "SELECT order_id, user_id, total_amount, version, payment_requested, cancel_requested,"
        " timed_out, status, type, payment_status, failure_reason, lines FROM orders WHERE "
        "order_id = ?",
        "i", id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row, error);
    if (found == 1) {
        *ret_order = (struct order){.id = sqlite3_column_int64(row, 0),
            .user_id = sqlite3_column_int64(row, 1),
            .total_amount = sqlite3_column_int64(row, 2),
            .version = sqlite3_column_int64(row, 3),
            .payment_requested = sqlite3_column_int64(row, 4),
            .cancel_requested = sqlite3_column_int64(row, 5),
            .timed_out = sqlite3_column_int64(row, 6)};
        sql_text(row, 7, ret_order->status, sizeof(ret_order->status));
        sql_text(row, 8, ret_order->type, sizeof(ret_order->type));
        sql_text(row, 9, ret_order->payment_status, sizeof(ret_order->payment_status));
        sql_text(row, 10, ret_order->failure_reason, sizeof(ret_order->failure_reason));
        sql_text(row, 11, ret_order->lines, sizeof(ret_order->lines));
    }
    sqlite3_finalize(row);
    return found;
}

int store_order(sluice_database *database, struct order *order, struct sluice_error *error)
{
    sqlite3 *sqlite = sluice_database_sqlite(database);
    const char *status = derive_status(order);
    const char *type = stream_type(status, order->payment_requested);
    int is_visible = order->version == 0 || !is(order->status, status) || !is(order->type, type);
    snprintf(order->status, sizeof(order->status), "%s", status);
    snprintf(order->type, sizeof(order->type), "%s", type);
    order->version += is_visible;
    const char *reason = order->failure_reason[0] != '\0' ? order->failure_reason : NULL;
    if (sql_run(sqlite, error,
            "UPDATE orders SET status = ?, type = ?, version = ?, failure_reason = ?,"
            " payment_status = ?, payment_requested = ?, cancel_requested = ?, timed_out = ?"
            " WHERE order_id = ?",
            "ttittiiii", order->status, order->type, order->version, reason, order->payment_status,
            order->payment_requested, order->cancel_requested, order->timed_out, order->id) != 0) {
        return -1;
    }
    if (!is_visible) {
        return 0;
    }
    char event_id[SLUICE_EVENT_ID_SIZE];
    if (publish_object(database, "order.status-changed.v1", "OrderStatusChanged", order->id,
            order_object(order), event_id, error) != 0) {
        return -1;
    }
    return sql_run(sqlite, error, "INSERT INTO order_history VALUES (?, ?, ?, ?, ?, ?, ?)",
        "iitttti", order->id, order->version, order->type, order->status, reason, event_id,
        now_ms());
}
