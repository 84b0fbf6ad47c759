/*
 * rollback.h - undoing a payment by an event within the process, handled in one of three ways.
 *
 * The three are what people write for such a handler, and what each of them means:
 *
 *     no-task    declared to take part in the transaction, and hands back nothing: the publisher's
 *                commit fails at once, with the handler's name. Nothing has happened
 *     detached   in a transaction of its own, after the commit: the publisher does not wait, and a
 *                failure is tried again and told
 *     task       hands back its task: when the commit has returned, the payment is FAILED; if the
 *                task fails, the commit does, too
 */
#ifndef EXAMPLES_PAYMENTS_ROLLBACK_H
#define EXAMPLES_PAYMENTS_ROLLBACK_H

#include "payment.h"

/**
 * Set a payment FAILED, give back what its saga took, and let the other services know if there is a
 * saga that does not know yet. A payment that is FAILED stays as it is. 0, or -1 with `error`.
 */
int payment_undo(sluice_database *database, struct payment *payment, const char *saga_id,
    const char *cause, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Register the handler of that name. 0, or -1 with `error`.
 */
int rollback_listen(sluice_database *database, const char *handler, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Publish PayRollbackRequested for an order's payment, in a transaction of its own. 0, or -1.
 */
int rollback_publish(sluice_database *database, int64_t order_id, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
