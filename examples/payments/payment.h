/*
 * payment.h - a payment, the buyer's points, and the ledger that says what a saga did to them.
 *
 *     state    | pay, enough points | pay, too few | rollback
 *     ---------+--------------------+--------------+---------------------------
 *     PENDING  | SUCCESS            | FAILED       | FAILED
 *     SUCCESS  | (done already)     |      -       | FAILED, points given back
 *     FAILED   | refused            | refused      | (done already)
 *
 * Points are taken and given back once for each saga: the ledger point_entry has one line PAY and
 * one line REFUND for it at most, and a refund is what its line PAY says, whatever the event says.
 * State, points, ledger and event are one transaction.
 */
#ifndef EXAMPLES_PAYMENTS_PAYMENT_H
#define EXAMPLES_PAYMENTS_PAYMENT_H

#include "saga.h"
#include "sql.h"

enum { STARTING_POINTS = 1000 };

struct payment {
    int64_t id;
    int64_t order_id;
    int64_t user_id;
    int64_t price;
    int64_t version;
    char state[12];
    char saga_id[SLUICE_EVENT_ID_SIZE]; /* "" until its saga has started */
    char reason[REASON_SIZE];           /* FAILED: why */
};

/* For sql_make_tables. */
extern const char *const payment_tables[];

/**
 * What GET, the events and the streams show; the caller's.
 */
json_t *payment_object(const struct payment *payment);

/**
 * Insert a payment, PENDING, unless the order has one: 1, or 0 and that one in `payment`; -1 with
 * `error`.
 */
int payment_insert(sluice_database *database, struct payment *payment, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Read the payment of an order: 1, 0 if there is none, -1 with `error`. With `is_locked` nobody
 * else changes it before the open transaction ends.
 */
int payment_load(sluice_database *database, int64_t order_id, int is_locked,
    struct payment *ret_payment, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Write a payment whose state, saga or reason has changed, as the next version, and tell it on
 * the topic payment.state-changed.v1. 0, or -1 with `error`: SLUICE_CONFLICT if somebody else was
 * first.
 */
int payment_store(sluice_database *database, struct payment *payment, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Take the price for a saga: 1, 0 if the buyer has too few points (said in payment->reason), -1
 * with `error`. A saga that has taken them is 1, and nothing happens.
 */
int points_take(sluice_database *database, struct payment *payment, const char *saga_id,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Give back what the ledger says that a saga took; nothing, if it took nothing or has it back. 0,
 * or -1 with `error`.
 */
int points_give_back(sluice_database *database, const char *saga_id, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * A user's points: 1, 0 if he has no account yet, -1 with `error`.
 */
int points_read(sluice_database *database, int64_t user_id, int64_t *ret_points,
    struct sluice_error *error) __attribute__((warn_unused_result));

#endif
