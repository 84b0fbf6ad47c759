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

/* Before the id of any event. */
#define SL_MARKER_START "00000000-0000-0000-0000-000000000000"

/* A row of the outbox that was looked for; the event's views live during the visit. */
typedef void (*sl_row_visit)(
    void *context, struct sl_position position, const struct sl_event *event);

/* A transaction that has been open for long; `who` is for people. */
typedef void (*sl_transaction_visit)(void *context, struct sl_text who, int64_t age_ms);

/**
 * Visit up to `count_max` markers of a consumer, by event id, whose ids come after `after`, which
 * is an id or SL_MARKER_START.
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
 * Visit the rows of the outbox that have an event id (one, unless somebody wrote it twice). A tick
 * of 0 on a database with ticks means that it has none yet. May read the whole table.
 */
int sl_store_outbox_find(struct sl_store *store, const char *event_id, sl_row_visit visit,
    void *context, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Visit the transactions that have written and are open for longer than `age_ms_min`: their events
 * wait for their commit. Nothing is visited where the database cannot tell.
 */
int sl_store_open_transactions(struct sl_store *store, int64_t age_ms_min,
    sl_transaction_visit visit, void *context, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Read the relay's row.
 */
int sl_store_relay_row(struct sl_store *store, struct sl_relay_row *ret_row,
    struct sluice_error *error) __attribute__((warn_unused_result));

/* Who asked the relays of a database to rest, and when: for people. */
enum { SL_PAUSE_TEXT_SIZE = 200 };

/**
 * Read who has paused the relays of this database; "" if they are not.
 */
int sl_store_paused(struct sl_store *store, char ret_by[SL_PAUSE_TEXT_SIZE],
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Pause the relays of this database until they are resumed, whatever restarts meanwhile; `by` says
 * who and when, and is kept. With `is_paused` false, resume them.
 */
int sl_store_set_paused(struct sl_store *store, bool is_paused, const char *by,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The database's own clock: Unix time in milliseconds.
 */
int sl_store_clock(struct sl_store *store, int64_t *ret_clock_ms, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
