#include "order_state.h"

#include <stdio.h>
#include <string.h>

#include "live_status.h"
#include "service.h"
#include "sql.h"

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS orders ("
    " order_id {id}, user_id BIGINT NOT NULL, order_lines TEXT NOT NULL,"
    " total_amount BIGINT NOT NULL, status VARCHAR(24) NOT NULL, type VARCHAR(24) NOT NULL,"
    " version BIGINT NOT NULL, failure_reason VARCHAR(255), payment_status VARCHAR(24) NOT NULL,"
    " payment_requested BIGINT NOT NULL, cancel_requested BIGINT NOT NULL,"
    " timed_out BIGINT NOT NULL, expires_at_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS orders_in_process ON orders (status, expires_at_ms)",
    "CREATE TABLE IF NOT EXISTS order_history ("
    " order_id BIGINT NOT NULL, version BIGINT NOT NULL, type VARCHAR(24) NOT NULL,"
    " status VARCHAR(24) NOT NULL, failure_reason VARCHAR(255), event_id VARCHAR(36) NOT NULL"
    " UNIQUE, changed_at_ms BIGINT NOT NULL, PRIMARY KEY (order_id, version))",
    "CREATE TABLE IF NOT EXISTS idempotency_keys ("
    " user_id BIGINT NOT NULL, idempotency_key VARCHAR(255) NOT NULL, request TEXT NOT NULL,"
    " order_id BIGINT NOT NULL, PRIMARY KEY (user_id, idempotency_key))",
    NULL};

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
    return sql_make_tables(database, tables, error);
}

int insert_order(sluice_database *database, struct order *order, int64_t expires_at_ms,
    struct sluice_error *error)
{
    snprintf(order->payment_status, sizeof(order->payment_status), "PENDING");
    struct rows *row = sql_query(database, error,
        "INSERT INTO orders (user_id, order_lines, total_amount, status, type, version,"
        " payment_status, payment_requested, cancel_requested, timed_out, expires_at_ms)"
        " VALUES (?1, ?2, ?3, '', '', 0, ?4, 0, 0, 0, ?5) RETURNING order_id",
        "ititi", order->user_id, order->lines, order->total_amount, order->payment_status,
        expires_at_ms);
    int result = sql_next(row) ? 0 : -1;
    order->id = result == 0 ? sql_integer(row, 0) : 0;
    sql_end(row);
    return result;
}

int load_order(sluice_database *database, int64_t id, struct order *ret_order,
    struct sluice_error *error)
{
    struct rows *row = sql_query(database, error,
        "SELECT order_id, user_id, total_amount, version, payment_requested, cancel_requested,"
        " timed_out, status, type, payment_status, failure_reason, order_lines FROM orders"
        " WHERE order_id = ?1 {lock}",
        "i", id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row);
    if (found == 1) {
        *ret_order = (struct order){.id = sql_integer(row, 0),
            .user_id = sql_integer(row, 1),
            .total_amount = sql_integer(row, 2),
            .version = sql_integer(row, 3),
            .payment_requested = sql_integer(row, 4),
            .cancel_requested = sql_integer(row, 5),
            .timed_out = sql_integer(row, 6)};
        sql_copy(row, 7, ret_order->status, sizeof(ret_order->status));
        sql_copy(row, 8, ret_order->type, sizeof(ret_order->type));
        sql_copy(row, 9, ret_order->payment_status, sizeof(ret_order->payment_status));
        sql_copy(row, 10, ret_order->failure_reason, sizeof(ret_order->failure_reason));
        sql_copy(row, 11, ret_order->lines, sizeof(ret_order->lines));
    }
    sql_end(row);
    return found;
}

int store_order(sluice_database *database, struct order *order, struct sluice_error *error)
{
    const char *status = derive_status(order);
    const char *type = stream_type(status, order->payment_requested);
    int is_visible = order->version == 0 || !is(order->status, status) || !is(order->type, type);
    snprintf(order->status, sizeof(order->status), "%s", status);
    snprintf(order->type, sizeof(order->type), "%s", type);
    order->version += is_visible;
    const char *reason = order->failure_reason[0] != '\0' ? order->failure_reason : NULL;
    if (sql_run(database, error,
            "UPDATE orders SET status = ?1, type = ?2, version = ?3, failure_reason = ?4,"
            " payment_status = ?5, payment_requested = ?6, cancel_requested = ?7, timed_out = ?8"
            " WHERE order_id = ?9",
            "ttittiiii", order->status, order->type, order->version, reason, order->payment_status,
            order->payment_requested, order->cancel_requested, order->timed_out, order->id) < 0) {
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
    return sql_run(database, error,
               "INSERT INTO order_history (order_id, version, type, status, failure_reason,"
               " event_id, changed_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
               "iitttti", order->id, order->version, order->type, order->status, reason, event_id,
               now_ms()) == 1
               ? 0
               : -1;
}
