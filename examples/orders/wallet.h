/*
 * wallet.h - everybody's points: what is in a wallet, and what comes in beside payments.
 *
 *     GET  /wallet/point               200 {"point": 9400}; 400 if there is no wallet
 *     POST /wallet/charge              {"amount": 500}, with an Idempotency-Key: 200 {"point"}, and
 *                                      the same answer, once charged, however often it is sent
 *
 * With members, both are about the user whom the gateway names, a wallet is made with 0 points when
 * its owner registers (consumer point-initializer-v1), and charging fills it. Without, GET takes
 * ?user_id=7, a wallet has 10,000 points when it is first needed, and nobody charges.
 *
 * Whoever changes a wallet locks it first, so that no two see the same points; and whatever adds to
 * it has a line in charge_log with a key that cannot be there twice.
 */
#ifndef EXAMPLES_ORDERS_WALLET_H
#define EXAMPLES_ORDERS_WALLET_H

#include "service.h"

enum { POINTS_OF_STRANGERS = 10000, CHARGE_MAX = 1000000 };

struct wallet_rules {
    int64_t starting_points; /* of a wallet that is made */
    int has_members;
};

/* Points of a payment that go back. */
struct refund {
    int64_t payment_log_id;
    int64_t user_id;
    int64_t amount;
    const char *event_id; /* of the event that asks */
};

/**
 * Make the tables of wallets if they are missing. 0, or -1 with `error`.
 */
int wallet_make_tables(sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The points of a wallet that is made if need be, and nobody else's until the commit. 0, or -1.
 */
int wallet_lock(sluice_database *database, const struct wallet_rules *rules, int64_t user_id,
    int64_t *ret_points, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Write the points of a locked wallet. 0, or -1.
 */
int wallet_write(sluice_database *database, int64_t user_id, int64_t points,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Give the points of a payment back in the open transaction, if they were not given back before.
 * 0, or -1.
 */
int wallet_refund(sluice_database *database, const struct wallet_rules *rules,
    const struct refund *refund, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The handler of member.registered.v1: makes the wallet. One that is there counts as done.
 */
enum sluice_outcome wallet_on_member_registered(sluice_database *database,
    const struct sluice_event *event, void *context, struct sluice_error *error);

/**
 * Answer a request for /wallet/...
 */
enum MHD_Result wallet_answer(
    sluice_database *database, const struct wallet_rules *rules, const struct request *request);

#endif
