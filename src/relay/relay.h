/*
 * relay/relay.h - brings the committed events of one database to the broker.
 *
 * A relay is one source, one sink, and the pump of flow/ between them, driven by a libuv loop. It
 * starts where the broker says this source stands, so that a restart neither loses nor repeats.
 * Several relays may serve the same database: one wins each append, the others see it and go on
 * from there.
 */
#ifndef SL_RELAY_RELAY_H
#define SL_RELAY_RELAY_H

#include <sluice/error.h>
#include <stdatomic.h>
#include <stdint.h>
#include <uv.h>

#include "flow/delivery.h"
#include "flow/pump.h"

struct sl_mapping;
struct sl_relay;

struct sl_relay_options {
    const char *database; /* borrowed for the open */
    const char *broker;
    const struct sl_mapping *mapping; /* of a table to read in place of the outbox; or NULL */
    struct sl_delivery_policy policy;
    int64_t batch_events_max;    /* rows that are appended at once; at least 1 */
    int64_t poll_interval_ms;    /* how often a server is asked for news; 0: 5 */
    int64_t retention_ms;        /* how long sent rows stay in the outbox; 0: for ever */
    int64_t broker_retention_ms; /* the local log's age limit; 0: for ever */
    int64_t broker_size_max;     /* the local log's size limit in bytes; 0: none */
};

/* The upper bounds of the latency histogram's buckets, in milliseconds; the last is unbounded. */
#define SL_RELAY_LATENCY_BOUNDS_MS {1, 2, 5, 10, 25, 50, 100, 250, 1000, 10000}
enum { SL_RELAY_LATENCY_BUCKETS = 11 };

/* Counters that any thread may read while the relay runs. */
struct sl_relay_stats {
    _Atomic int64_t published_total;
    _Atomic int64_t redriven_total;
    _Atomic int64_t rejected_total; /* attempts that condemned an event */
    _Atomic int64_t outages_total;
    _Atomic int64_t conflicts_total;
    _Atomic int64_t position;
    _Atomic int64_t tick;
    _Atomic int pump_state;      /* enum sl_pump_state */
    _Atomic bool is_standby;     /* another relay has the lease */
    _Atomic bool is_paused;      /* a person asked for it */
    _Atomic int64_t progress_ms; /* monotonic: when it last was idle or appended something */
    _Atomic int64_t latency_buckets[SL_RELAY_LATENCY_BUCKETS]; /* commit to acknowledgement */
    _Atomic int64_t latency_sum_ms;
};

/* Called once, on the loop's thread, when the relay has halted: a person must mend `error`. */
typedef void (*sl_relay_on_halt)(void *context, const struct sluice_error *error);

/**
 * Open source and sink and start on `loop`. The schema is created if it is missing.
 *
 * On success `*ret_relay` is the caller's. Blocks for disk access. Fails with what the store or the
 * broker says.
 */
int sl_relay_open(const struct sl_relay_options *options, uv_loop_t *loop, sl_relay_on_halt on_halt,
    void *context, struct sl_relay **ret_relay, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Confirm what is done and stop. No callback comes after this; the memory is freed when the loop
 * has turned once more. NULL is fine.
 */
void sl_relay_close(struct sl_relay *relay);

/**
 * The relay's counters; they live until sl_relay_close.
 */
const struct sl_relay_stats *sl_relay_stats(const struct sl_relay *relay);

#endif
