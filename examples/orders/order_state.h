/*
 * order_state.h - what an order is, and how it changes: always with its history and its event.
 *
 * The facts of an order are what was asked for, how its payment stands, and whether it was
 * cancelled or ran out of time. The status is derived from them, so no two rules can disagree about
 * it.
 */
#ifndef EXAMPLES_ORDERS_ORDER_STATE_H
#define EXAMPLES_ORDERS_ORDER_STATE_H

#include <jansson.h>
#include <stdint.h>

#include <sluice/outbox.h>

#include "wish.h"


struct order {
    int64_t id;
    int64_t user_id;
    int64_t total_amount;
    int64_t version;
    int64_t payment_requested;
    int64_t cancel_requested;
    int64_t timed_out;
    char status[24];         /* derived from the other facts */
    char type[24];           /* the status as the streams name it */
    char payment_status[24]; /* PENDING, SUCCEEDED, FAILED, COMPENSATED, COMPENSATION_FAILED */
    char failure_reason[256];
    char lines[LINES_SIZE]; /* the items as JSON, one line an item */
};

/**
 * Make the tables of orders if they are missing. 0, or -1 with `error`.
 */
int orders_make_tables(sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether two texts are equal.
 */
int is(const char *text, const char *other);

/**
 * Whether clients will hear no more of the order.
 */
int is_final(const struct order *order);

/**
 * The object that GET, the events and the streams show; the caller's.
 */
json_t *order_object(const struct order *order);

/**
 * Insert a new order, not yet visible: store_order gives it its first version. 0, or -1.
 */
int insert_order(sluice_database *database, struct order *order, int64_t expires_at_ms,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Read an order: 1 found, 0 there is none, -1 with `error`.
 */
int load_order(sluice_database *database, int64_t id, struct order *ret_order,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Write an order whose facts have changed, in the open transaction.
 *
 * If that changes what clients see, the order gets the next version, a line of history and its
 * event in the same transaction. 0, or -1 with `error`: then the transaction is to be rolled back.
 */
int store_order(sluice_database *database, struct order *order, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
