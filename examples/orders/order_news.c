#include "order_news.h"

#include <inttypes.h>
#include <stdio.h>

#include "live_status.h"
#include "order_state.h"

/* What one piece of news does to its order; 0, or -1 with `error`. */
typedef int (*order_change)(
    sluice_database *database, struct order *order, const json_t *news, struct sluice_error *error);

/* order.requested.v1: have it paid, unless it was cancelled or ran out of time before we came. */
static int request_payment(
    sluice_database *database, struct order *order, const json_t *news, struct sluice_error *error)
{
    (void)news;
    if (!is(order->status, "PROCESSING") || order->payment_requested) {
        return 0;
    }
    order->payment_requested = 1;
    json_t *payload = json_pack("{s:I, s:I, s:{s:I}, s:o}", "order_id", (json_int_t)order->id,
        "user_id", (json_int_t)order->user_id, "payment", "total_amount",
        (json_int_t)order->total_amount, "items", json_loads(order->lines, 0, NULL));
    if (publish_object(database, "order.payment-requested.v1", "PaymentRequested", order->id,
            payload, NULL, error) != 0) {
        return -1;
    }
    return store_order(database, order, error);
}

/* payment.completed.v1: done; or, if nobody wants it any more, give the points back. */
static int payment_completed(
    sluice_database *database, struct order *order, const json_t *news, struct sluice_error *error)
{
    if (!is(order->payment_status, "PENDING")) {
        return 0;
    }
    snprintf(order->payment_status, sizeof(order->payment_status), "SUCCEEDED");
    if (order->cancel_requested || order->timed_out) {
        json_t *payload = json_pack("{s:I, s:I, s:O?, s:O?}", "order_id", (json_int_t)order->id,
            "user_id", (json_int_t)order->user_id, "payment_log_id",
            json_object_get(news, "payment_log_id"), "points_used",
            json_object_get(news, "points_used"));
        if (publish_object(database, "order.payment-compensation-requested.v1",
                "PaymentCompensationRequested", order->id, payload, NULL, error) != 0) {
            return -1;
        }
    }
    return store_order(database, order, error);
}

static int move_payment(sluice_database *database, struct order *order, const char *expected,
    const char *payment_status, const json_t *news, struct sluice_error *error)
{
    if (!is(order->payment_status, expected)) {
        return 0;
    }
    snprintf(order->payment_status, sizeof(order->payment_status), "%s", payment_status);
    const char *reason = json_string_value(json_object_get(news, "reason"));
    if (reason != NULL && order->failure_reason[0] == '\0') { /* the first reason wins */
        snprintf(order->failure_reason, sizeof(order->failure_reason), "%s", reason);
    }
    return store_order(database, order, error);
}

static int payment_failed(
    sluice_database *database, struct order *order, const json_t *news, struct sluice_error *error)
{
    return move_payment(database, order, "PENDING", "FAILED", news, error);
}

static int payment_compensated(
    sluice_database *database, struct order *order, const json_t *news, struct sluice_error *error)
{
    return move_payment(database, order, "SUCCEEDED", "COMPENSATED", news, error);
}

static int compensation_failed(
    sluice_database *database, struct order *order, const json_t *news, struct sluice_error *error)
{
    return move_payment(database, order, "SUCCEEDED", "COMPENSATION_FAILED", news, error);
}

static const struct {
    const char *topic;
    order_change change;
} changes[] = {
    {"order.requested.v1", request_payment},
    {"payment.completed.v1", payment_completed},
    {"payment.failed.v1", payment_failed},
    {"payment.compensated.v1", payment_compensated},
    {"payment.compensation-failed.v1", compensation_failed},
};

/* All topics come here; the context is the live streams. It is called inside a transaction that
 * holds the inbox marker. */
static enum sluice_outcome on_news(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    live_statuses_watch(context, database);
    json_t *news = event_object(event, error);
    if (news == NULL) {
        return SLUICE_REJECTED;
    }
    order_change change = NULL;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        change = is(changes[i].topic, event->topic) ? changes[i].change : change;
    }
    struct order order;
    int64_t id = json_integer_value(json_object_get(news, "order_id"));
    int result = load_order(database, id, &order, error);
    if (result == 0) {
        snprintf(error->text, sizeof(error->text), "there is no order %" PRId64, id);
        json_decref(news);
        return SLUICE_REJECTED;
    }
    result = result < 0 ? -1 : change(database, &order, news, error);
    json_decref(news);
    return result == 0 ? SLUICE_APPLIED : outcome_of(error);
}

const struct subscription order_news[ORDER_NEWS_COUNT] = {
    {"order-requested", "order.requested.v1", on_news},
    {"order-payment-completed", "payment.completed.v1", on_news},
    {"order-payment-failed", "payment.failed.v1", on_news},
    {"order-payment-compensated", "payment.compensated.v1", on_news},
    {"order-payment-compensation-failed", "payment.compensation-failed.v1", on_news},
};
