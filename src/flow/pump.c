#include "flow/pump.h"

#include <assert.h>

#include "flow/delivery.h"

/* How often a relay without the lease asks for it. */
enum { STANDBY_REST_MS = 500 };

void sl_pump_init(struct sl_pump *pump, int64_t rest_first_ms, int64_t rest_max_ms)
{
    *pump = (struct sl_pump) {
        .state = SL_PUMP_STOPPED, .rest_first_ms = rest_first_ms, .rest_max_ms = rest_max_ms};
}

static struct sl_pump_effect go(
    struct sl_pump *pump, enum sl_pump_state state, enum sl_pump_effect_kind kind)
{
    pump->state = state;
    return (struct sl_pump_effect) {
        .kind = kind, .position = pump->position, .to = pump->batch_position};
}

static struct sl_pump_effect nothing(void)
{
    return (struct sl_pump_effect) {.kind = SL_PUMP_NONE};
}

/* Events that mean the same in every state but STOPPED. */
static struct sl_pump_effect step_anywhere(
    struct sl_pump *pump, const struct sl_pump_event *event, int64_t now_ms, uint64_t random)
{
    struct sl_pump_effect effect;
    switch (event->kind) {
    case SL_PUMP_EVENT_CONFLICT:
        return go(pump, SL_PUMP_ASKING, SL_PUMP_ASK_POSITION);
    case SL_PUMP_EVENT_OUTAGE:
        pump->outages += pump->outages < 1000 ? 1 : 0;
        effect = go(pump, SL_PUMP_RESTING, SL_PUMP_REST);
        effect.until_ms = now_ms +
            sl_delivery_backoff_ms(pump->rest_first_ms, pump->rest_max_ms, pump->outages, random);
        return effect;
    case SL_PUMP_EVENT_FATAL:
        return go(pump, SL_PUMP_STOPPED, SL_PUMP_HALT);
    default:
        return nothing();
    }
}

static struct sl_pump_effect take_rows(struct sl_pump *pump, const struct sl_pump_event *event)
{
    pump->outages = 0;
    if (event->count == 0) {
        return go(pump, SL_PUMP_IDLE, SL_PUMP_WAIT);
    }
    assert(sl_position_compare(event->position, pump->position) > 0);
    pump->batch_position = event->position;
    return go(pump, SL_PUMP_HOLDING, SL_PUMP_HOLD_WAITING);
}

struct sl_pump_effect sl_pump_step(
    struct sl_pump *pump, const struct sl_pump_event *event, int64_t now_ms, uint64_t random)
{
    enum sl_pump_event_kind kind = event->kind;
    if (pump->state == SL_PUMP_STOPPED) {
        return kind == SL_PUMP_EVENT_START ? go(pump, SL_PUMP_ASKING, SL_PUMP_ASK_POSITION)
                                           : nothing();
    }
    switch (pump->state) {
    case SL_PUMP_ASKING:
        if (kind == SL_PUMP_EVENT_POSITION) {
            pump->position = event->position;
            return go(pump, SL_PUMP_READING, SL_PUMP_READ);
        }
        if (kind == SL_PUMP_EVENT_STANDBY) {
            struct sl_pump_effect effect = go(pump, SL_PUMP_RESTING, SL_PUMP_REST);
            effect.until_ms = now_ms + STANDBY_REST_MS;
            return effect;
        }
        break;
    case SL_PUMP_READING:
        if (kind == SL_PUMP_EVENT_ROWS) {
            return take_rows(pump, event);
        }
        break;
    case SL_PUMP_HOLDING:
        if (kind == SL_PUMP_EVENT_HELD) {
            return go(pump, SL_PUMP_APPENDING, SL_PUMP_APPEND);
        }
        break;
    case SL_PUMP_APPENDING:
        if (kind == SL_PUMP_EVENT_APPENDED) {
            pump->position = pump->batch_position;
            return go(pump, SL_PUMP_READING, SL_PUMP_READ);
        }
        if (kind == SL_PUMP_EVENT_REJECTED) {
            return go(pump, SL_PUMP_JUDGING, SL_PUMP_JUDGE);
        }
        break;
    case SL_PUMP_JUDGING:
        if (kind == SL_PUMP_EVENT_HELD) {
            return go(pump, SL_PUMP_HOLDING, SL_PUMP_HOLD_WAITING);
        }
        break;
    case SL_PUMP_IDLE:
        if (kind == SL_PUMP_EVENT_WAKE) {
            return go(pump, SL_PUMP_READING, SL_PUMP_READ);
        }
        break;
    case SL_PUMP_RESTING:
        if (kind == SL_PUMP_EVENT_TIMER) {
            return go(pump, SL_PUMP_ASKING, SL_PUMP_ASK_POSITION);
        }
        break;
    case SL_PUMP_STOPPED:
        break;
    }
    return step_anywhere(pump, event, now_ms, random);
}

const char *sl_pump_state_name(enum sl_pump_state state)
{
    static const char *const names[] = {
        [SL_PUMP_STOPPED] = "stopped",
        [SL_PUMP_ASKING] = "asking",
        [SL_PUMP_READING] = "reading",
        [SL_PUMP_HOLDING] = "holding",
        [SL_PUMP_APPENDING] = "appending",
        [SL_PUMP_JUDGING] = "judging",
        [SL_PUMP_IDLE] = "idle",
        [SL_PUMP_RESTING] = "resting",
    };
    return names[state];
}
