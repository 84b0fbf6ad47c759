/*
 * store/look.h - what operators look up in a database, beside what the daemons need.
 *
 * All of it is the same in every database, written over store/sql.h. Views live during the visit.
 */
#ifndef SL_STORE_LOOK_H
#define SL_STORE_LOOK_H

#include "store/store.h"

/* Sees a marker of the inbox; `applied_ms` is Unix time. */
typedef void (*sl_marker_visit)(
    void *context, struct sl_text consumer, struct sl_text event_id, int64_t applied_ms);

/* The relay's row. */
struct sl_relay_row {
    char holder[64]; /* who has the lease; "" for nobody */
    int64_t term;
    int64_t lease_ends_ms; /* by the database's clock */
};

/**
 * Visit up to `count_max` markers of a consumer, by event id, whose ids come after `after` ("" from
 * the first one on).
 */
int sl_store_inbox_read(struct sl_store *store, const char *consumer, const char *after,
    int64_t count_max, sl_marker_visit visit, void *context, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Visit the markers of an event, by consumer.
 */
int sl_store_inbox_find(struct sl_store *store, const char *event_id, sl_marker_visit visit,
    void *context, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Read the relay's row.
 */
int sl_store_relay_row(struct sl_store *store, struct sl_relay_row *ret_row,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The database's own clock: Unix time in milliseconds.
 */
int sl_store_clock(struct sl_store *store, int64_t *ret_clock_ms, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
