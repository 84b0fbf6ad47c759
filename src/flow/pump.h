/*
 * flow/pump.h - the relay's state machine: what to do next, so that nothing is lost or overtaken.
 *
 * Pure: (state, event, now) -> effect. The driver carries out the effect and reports how it went as
 * the next event. There is one batch at a time. Its events are appended to the sink together with
 * the position behind it, so "appended" and "position moved" cannot come apart; after anything
 * that leaves that in doubt, the pump asks the sink where it stands and reads again from there.
 *
 *   state      | event     -> next state  (effect)
 *   -----------+--------------------------------------------------------------------------
 *   STOPPED    | START     -> ASKING      (ASK_POSITION)
 *   ASKING     | POSITION  -> READING     (READ after it)
 *   READING    | ROWS 0    -> IDLE        (WAIT)
 *              | ROWS n    -> HOLDING     (HOLD_WAITING: events of held keys go aside, durably)
 *   HOLDING    | HELD      -> APPENDING   (APPEND: the others, and the position behind the batch)
 *   APPENDING  | APPENDED  -> READING     (READ)
 *              | REJECTED  -> JUDGING     (JUDGE: hold that one event, durably)
 *   JUDGING    | HELD      -> HOLDING     (HOLD_WAITING again: its key is held now)
 *   IDLE       | WAKE      -> READING     (READ)
 *   RESTING    | TIMER     -> ASKING      (ASK_POSITION)
 *   ASKING     | STANDBY   -> RESTING     (REST: another relay has the lease)
 *   all but    | CONFLICT  -> ASKING      (ASK_POSITION: another relay was there)
 *   STOPPED    | OUTAGE    -> RESTING     (REST until a time that backs off; no attempt is counted)
 *              | FATAL     -> STOPPED     (HALT)
 *   An event that is not in the row of its state changes nothing (effect NONE).
 */
#ifndef SL_FLOW_PUMP_H
#define SL_FLOW_PUMP_H

#include <stddef.h>
#include <stdint.h>

#include "event/position.h"

enum sl_pump_state {
    SL_PUMP_STOPPED,
    SL_PUMP_ASKING,
    SL_PUMP_READING,
    SL_PUMP_HOLDING,
    SL_PUMP_APPENDING,
    SL_PUMP_JUDGING,
    SL_PUMP_IDLE,
    SL_PUMP_RESTING
};

enum sl_pump_event_kind {
    SL_PUMP_EVENT_START,
    SL_PUMP_EVENT_POSITION,
    SL_PUMP_EVENT_ROWS,
    SL_PUMP_EVENT_HELD,
    SL_PUMP_EVENT_APPENDED,
    SL_PUMP_EVENT_REJECTED,
    SL_PUMP_EVENT_WAKE,
    SL_PUMP_EVENT_TIMER,
    SL_PUMP_EVENT_STANDBY,
    SL_PUMP_EVENT_CONFLICT,
    SL_PUMP_EVENT_OUTAGE,
    SL_PUMP_EVENT_FATAL
};

struct sl_pump_event {
    enum sl_pump_event_kind kind;
    struct sl_position position; /* POSITION: where the sink stands; ROWS: of the last row */
    size_t count;                /* ROWS */
};

enum sl_pump_effect_kind {
    SL_PUMP_NONE,
    SL_PUMP_ASK_POSITION,
    SL_PUMP_READ,         /* rows after `position` */
    SL_PUMP_HOLD_WAITING, /* of the batch, what must wait behind its key */
    SL_PUMP_APPEND,       /* the rest of the batch; the position moves from `position` to `to` */
    SL_PUMP_JUDGE,        /* the event that the sink refused */
    SL_PUMP_WAIT,         /* for a wake-up */
    SL_PUMP_REST,         /* until `until_ms` */
    SL_PUMP_HALT
};

struct sl_pump_effect {
    enum sl_pump_effect_kind kind;
    struct sl_position position;
    struct sl_position to;
    int64_t until_ms;
};

struct sl_pump {
    enum sl_pump_state state;
    struct sl_position position;       /* up to here everything is in the sink or held */
    struct sl_position batch_position; /* the last row of the batch in hand */
    int outages;                       /* in a row */
    int64_t rest_first_ms;
    int64_t rest_max_ms;
};

/**
 * Start a pump in the state STOPPED; pauses after outages run from `rest_first_ms` to
 * `rest_max_ms`.
 */
void sl_pump_init(struct sl_pump *pump, int64_t rest_first_ms, int64_t rest_max_ms);

/**
 * Take one event and say what to do. `random` is any number, for jitter.
 */
struct sl_pump_effect sl_pump_step(
    struct sl_pump *pump, const struct sl_pump_event *event, int64_t now_ms, uint64_t random);

/**
 * A state's name, for logs and status.
 */
const char *sl_pump_state_name(enum sl_pump_state state);

#endif
