#include "rollback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/listener.h>

#define ROLLBACK_TOPIC "pay-rollback-requested.v1"

enum { DETACHED_ATTEMPTS_MAX = 5, DETACHED_PAUSE_US = 20000 };

int payment_undo(sluice_database *database, struct payment *payment, const char *saga_id,
    const char *cause, struct sluice_error *error)
{
    if (strcmp(payment->state, "FAILED") == 0) {
        return 0;
    }
    snprintf(payment->state, sizeof(payment->state), "FAILED");
    snprintf(payment->reason, sizeof(payment->reason), "%.255s", cause);
    return points_give_back(database, saga_id, error) == 0 ? payment_store(database, payment, error)
                                                           : -1;
}

/* The work of all three handlers: undo the payment and tell the others. */
static int roll_back(sluice_database *database, void *context, struct sluice_error *error)
{
    struct payment payment;
    const int64_t *order_id = context;
    int found = payment_load(database, *order_id, 1, &payment, error);
    if (found != 1 || strcmp(payment.state, "FAILED") == 0) {
        return found < 0 ? -1 : 0;
    }
    struct saga_event event = {.phase = "ROLLBACK",
        .type = "PayRollbackEvent",
        .cause = "rolled back on request",
        .pay_id = payment.id,
        .user_id = payment.user_id,
        .order_id = payment.order_id,
        .total_price = payment.price};
    snprintf(event.saga_id, sizeof(event.saga_id), "%s", payment.saga_id);
    return payment_undo(database, &payment, payment.saga_id, event.cause, error) == 0
               ? saga_publish(database, &event, NULL, error)
               : -1;
}

static int64_t order_of(const struct sluice_notice *notice)
{
    return parse_id(notice->event->key);
}

static sluice_task *hand_back_nothing(sluice_database *database, const struct sluice_notice *notice,
    void *context, struct sluice_error *error)
{
    (void)database, (void)notice, (void)context, (void)error;
    return NULL; /* as the handler that builds its work and never returns it */
}

static sluice_task *hand_back_task(sluice_database *database, const struct sluice_notice *notice,
    void *context, struct sluice_error *error)
{
    sluice_task *task = NULL;
    int64_t *order_id = context; /* one transaction at a time on this connection */
    *order_id = order_of(notice);
    return sluice_task_work(database, roll_back, order_id, &task, error) == 0 ? task : NULL;
}

/* On a thread of its own. An outage or a lost race is tried again; what fails is told on stderr. */
static int roll_back_detached(sluice_database *database, const struct sluice_notice *notice,
    void *context, struct sluice_error *error)
{
    (void)context;
    int64_t order_id = order_of(notice);
    for (int attempt = 1;; attempt++) {
        int result = roll_back(database, &order_id, error);
        if (result == 0 || error->reaction != SLUICE_RETRY || attempt == DETACHED_ATTEMPTS_MAX) {
            return result;
        }
        usleep(DETACHED_PAUSE_US);
    }
}

int rollback_listen(sluice_database *database, const char *handler, struct sluice_error *error)
{
    static int64_t order_id;
    struct sluice_listener_options options = {
        .name = "rollback-payment", .topic = ROLLBACK_TOPIC, .context = &order_id};
    if (strcmp(handler, "no-task") == 0) {
        return sluice_listen_async(database, &options, hand_back_nothing, error);
    }
    if (strcmp(handler, "task") == 0) {
        return sluice_listen_async(database, &options, hand_back_task, error);
    }
    if (strcmp(handler, "detached") == 0) {
        return sluice_listen_detached(database, &options, roll_back_detached, error);
    }
    snprintf(error->text, sizeof(error->text),
        "--rollback-handler is no-task, detached or task, not '%s'", handler);
    return -1;
}

static int publish(sluice_database *database, void *context, struct sluice_error *error)
{
    const int64_t *order_id = context;
    return publish_object(database, ROLLBACK_TOPIC, "PayRollbackRequested", *order_id,
        json_pack("{s:I}", "orderId", (json_int_t)*order_id), NULL, error);
}

int rollback_publish(sluice_database *database, int64_t order_id, struct sluice_error *error)
{
    return sluice_transaction(database, SLUICE_REQUIRED, publish, &order_id, error);
}
