/*
 * relay/state.h - what the relay's files share: the relay itself.
 *
 * relay.c opens, wakes and closes it; perform.c carries out the pump's effects; retry.c sends held
 * events that are due.
 */
#ifndef SL_RELAY_STATE_H
#define SL_RELAY_STATE_H

#include "base/watch.h"
#include "broker/broker.h"
#include "relay/relay.h"
#include "store/store.h"

struct sl_relay {
    struct sl_relay_options options; /* the texts are not kept */
    struct sl_store *store;
    struct sl_broker *broker;
    struct sl_pump pump;
    struct sl_outbox_batch batch;
    bool *is_held;            /* of each row of the batch: it does not go with the others */
    struct sl_event *sending; /* the rows that do */
    size_t *sending_rows;     /* their indexes in the batch */
    size_t rejected_row;
    struct sluice_error failure; /* the last one: why it rests, rejected or halted */
    int64_t confirmed_position;
    bool is_resting;
    bool is_closing;
    int open_handles;
    uv_timer_t turn_timer;    /* the next steps, or the end of a rest */
    uv_timer_t retry_timer;   /* a held event is due */
    uv_timer_t confirm_timer; /* the position goes to the store, some time after it moved */
    uv_timer_t retain_timer;
    struct sl_watch *watch;
    sl_relay_on_halt on_halt;
    void *context;
    struct sl_relay_stats stats;
};

/**
 * Take an event and carry out what the pump says, for a bounded number of batches. What is left is
 * done in the loop's next turn.
 */
void sl_relay_drive(struct sl_relay *relay, struct sl_pump_event event);

/**
 * Carry out one effect. True if `*ret_event` is how it went; false if the pump now waits.
 */
bool sl_relay_perform(
    struct sl_relay *relay, const struct sl_pump_effect *effect, struct sl_pump_event *ret_event);

/**
 * Send the held event that is due first, if one is due; `*ret_due_ms` is when it or the next one is
 * due (Unix time), INT64_MAX for none; `*ret_is_halting` becomes true if it failed for good and
 * that stops the relay. -1 for an outage.
 */
int sl_relay_retry_one(struct sl_relay *relay, int64_t *ret_due_ms, bool *ret_is_halting,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Make an event that was refused for good the relay's failure, for whoever hears of the halt.
 */
void sl_relay_blame(
    struct sl_relay *relay, const char *event_id, const struct sluice_error *reason);

/**
 * Send the held events that are due, and set the timer for the next.
 */
void sl_relay_retry(struct sl_relay *relay);

#endif
