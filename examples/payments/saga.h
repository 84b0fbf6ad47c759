/*
 * saga.h - the one topic by which payments, orders and stock agree: pay-saga, key = the order.
 *
 *     phase     type                from       what it says
 *     START     PayConfirmEvent     payments   the buyer wants to pay
 *     JOIN      PayConfirmEvent     payments   paid, the points are taken
 *     COMMIT    OrderConfirmEvent   orders     the order stands, take the goods out of stock
 *     ROLLBACK  PayRollbackEvent    payments   it cannot be paid
 *               PayCancelEvent      orders, stock   it cannot be had: undo the payment
 *
 * The saga's id is the id of its START event; the others carry it in the header saga-id, and the
 * phase in the header phase. One key means one partition: everybody hears of an order in one order.
 */
#ifndef EXAMPLES_PAYMENTS_SAGA_H
#define EXAMPLES_PAYMENTS_SAGA_H

#include "answers.h"

#define SAGA_TOPIC "pay-saga"

enum { REASON_SIZE = 256 };

/* An event of the saga, whichever it is; what its type does not have is 0. */
struct saga_event {
    char saga_id[SLUICE_EVENT_ID_SIZE];
    char phase[12];
    char type[24];
    char cause[REASON_SIZE]; /* ROLLBACK: why */
    int64_t pay_id;
    int64_t user_id;
    int64_t order_id;
    int64_t product_id;
    int64_t quantity;
    int64_t total_price; /* for people; what was taken stands in the ledger of payments */
};

/**
 * Read an event of the topic. 0, or -1 with `error`: then it can never be used.
 */
int saga_read(const struct sluice_event *event, struct saga_event *ret_event,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Whether it is the event of this phase and type.
 */
int saga_is(const struct saga_event *event, const char *phase, const char *type);

/**
 * Whether it is one of the table above: any other is a mistake somewhere, not news for others.
 */
int saga_is_known(const struct saga_event *event);

/**
 * Publish an event of the saga with the open transaction. `ret_id` may be NULL.
 */
int saga_publish(sluice_database *database, const struct saga_event *event,
    char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The answer to an event: publish the same saga in another phase and type, with a cause (or NULL).
 */
int saga_answer(sluice_database *database, const struct saga_event *event, const char *phase,
    const char *type, const char *cause, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
