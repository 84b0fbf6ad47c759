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
#include "event/position.h"
#include "relay/relay.h"
#include "store/held_copy.h"
#include "store/store.h"

struct sl_relay {
    struct sl_relay_options options; /* the texts are not kept */
    struct sl_store *store;
    struct sl_broker *broker;
    struct sl_pump pump;
    struct sl_outbox_batch batch;
    struct sl_outbox_batch ahead; /* the next batch, read while this one is on its way */
    struct sl_position ahead_after;
    bool is_ahead;
    bool *is_held;            /* of each row of the batch: it does not go with the others */
    struct sl_event *sending; /* the rows that do */
    size_t *sending_rows;     /* their indexes in the batch */
    size_t sending_count;
    size_t rejected_row;
    struct sluice_error failure; /* the last one: why it rests, rejected or halted */
    struct sl_position confirmed_position;
    int64_t reached_ms; /* when the pump reached its position (Unix time) */
    int64_t leased_ms;  /* monotonic: when the lease was last asked for and given; 0: never */
    char holder[SLUICE_EVENT_ID_SIZE]; /* who this relay is to the lease */
    bool is_standby;
    bool is_paused;           /* a person asked for it: nothing is sent */
    int64_t pause_checked_ms; /* monotonic: when that was last looked up */
    bool is_appending; /* the append in hand is pending */
    bool is_retrying;  /* a held event is on its way: */
    struct sl_held_copy retrying;
    bool is_resting;
    bool is_closing;
    int open_handles;
    uv_timer_t turn_timer;    /* the next steps, or the end of a rest */
    uv_timer_t retry_timer;   /* a held event is due */
    uv_timer_t confirm_timer; /* the position goes to the store, some time after it moved */
    uv_timer_t retain_timer;
    uv_timer_t poll_timer; /* of a database that cannot wake us */
    int64_t published_ms;  /* monotonic: when something was last appended */
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
 * Look up, at most twice a second, whether a person has paused the relays of this database, and set
 * is_paused. -1 for an outage, which is the relay's failure then.
 */
int sl_relay_check_pause(struct sl_relay *relay) __attribute__((warn_unused_result));

/**
 * Fail with SLUICE_CONFLICT if this relay must not append, because another one has the lease.
 */
int sl_relay_check_lease(struct sl_relay *relay, struct sluice_error *error)
    __attribute__((warn_unused_result));

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
