/*
 * lib/apply.h - apply events to a database, each exactly once.
 *
 * The marker is inserted first, then the handler runs behind a savepoint, so that a failed handler
 * leaves nothing but its counted attempt. Events that succeed need no savepoint of their own: a
 * chunk of them shares one, and one statement for all markers. If anything in it is not as it
 * should be, all of the chunk is undone and done again event by event. Several events share one
 * transaction: they commit together, which costs one disk sync, and if that commit fails none of
 * them has happened.
 */
#ifndef SL_LIB_APPLY_H
#define SL_LIB_APPLY_H

#include <sluice/consumer.h>

#include "broker/broker.h"
#include "flow/delivery.h"
#include "store/store.h"

struct sl_applier_handler {
    const char *topic;
    sluice_handler handler;
    void *context;
};

struct sl_applier {
    const char *name;
    sluice_database *database;
    struct sl_delivery_policy policy;
    struct sl_applier_handler handlers[32];
    size_t handler_count;
    size_t chunk_size;  /* how many events are marked together; 0: as 1 */
    size_t streak;      /* events in a row that went well */
    bool is_retry_next; /* after sl_applier_retry_due: there was one, so look again at once */
};

/**
 * Apply records in order, as many as one transaction should hold, and commit.
 *
 * `*ret_done` is how many are committed: applied, skipped as applied before, or held. With
 * `*ret_is_outage` the handler of the next one asked to retry later. -1: nothing was committed.
 */
int sl_applier_apply(struct sl_applier *applier, const struct sl_record *records, size_t count,
    size_t *ret_done, bool *ret_is_outage, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Try the held event that is due first, if one is due and no other consumer of the name is at it.
 *
 * `*ret_due_ms` is when the next one is due (Unix time), INT64_MAX for none. With `*ret_is_outage`
 * the handler asked to retry later.
 */
int sl_applier_retry_due(struct sl_applier *applier, int64_t *ret_due_ms, bool *ret_is_outage,
    struct sluice_error *error) __attribute__((warn_unused_result));

#endif
