/*
 * sluice/inbox.h - apply an event once, in a transaction of one's own.
 *
 * sluice/consumer.h does this by itself. This is for a service that gets its events by other means.
 */
#ifndef SLUICE_INBOX_H
#define SLUICE_INBOX_H

#include <sluice/outbox.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Put the marker (consumer, event id) into the inbox, first thing in the transaction that does the
 * work.
 *
 * `*ret_is_new` becomes 1 if the work is to be done in this transaction and 0 if a committed
 * transaction has done it; a second copy that arrives meanwhile waits for the first. Fails with
 * SLUICE_NO_TRANSACTION outside of a transaction, SLUICE_INVALID for a bad name or id.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_inbox_begin(sluice_database *database, const char *consumer,
    const char *event_id, int *ret_is_new, struct sluice_error *error);

#ifdef __cplusplus
}
#endif

#endif
