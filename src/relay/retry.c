#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "relay/state.h"
#include "store/held_copy.h"

enum { RETRIES_A_TURN = 64, REST_MS = 200 };

/* Note a failed attempt; a head that is skipped lets its key flow with the same commit. */
static int change(struct sl_relay *relay, const struct sl_held_copy *held,
    const struct sl_decision *decision, const struct sluice_error *reason,
    struct sluice_error *error)
{
    bool is_final = decision->verdict != SL_VERDICT_RETRY;
    if (sl_store_begin(relay->store, error) != 0) {
        return -1;
    }
    int status = sl_store_held_update(relay->store, held->number,
        is_final ? SL_HELD_FAILED : SL_HELD_RETRYING, decision->attempts, decision->retry_at_ms,
        reason->text, error);
    if (status == 0 && is_final && relay->options.policy.on_poison == SL_POISON_SKIP) {
        status = sl_store_held_next(relay->store, held->number, sl_clock_wall_ms(), error);
    }
    if (status == 0) {
        return sl_store_commit(relay->store, error);
    }
    sl_store_rollback(relay->store);
    return -1;
}

/* What becomes of an event that was delivered (`reason` is NULL) or refused. */
static int settle(struct sl_relay *relay, const struct sl_held_copy *held,
    const struct sluice_error *reason, bool *ret_is_halting, struct sluice_error *error)
{
    int64_t now_ms = sl_clock_wall_ms();
    enum sl_answer answer = reason == NULL ? SL_ANSWER_DELIVERED : SL_ANSWER_FAILED;
    struct sl_decision decision =
        sl_delivery_decide(&relay->options.policy, held->attempts, answer, now_ms, sl_random_u64());
    if (decision.verdict == SL_VERDICT_DONE) {
        atomic_fetch_add(&relay->stats.redriven_total, 1);
        return sl_store_held_remove(relay->store, held->number, now_ms, error);
    }
    atomic_fetch_add(&relay->stats.rejected_total, 1);
    bool is_final = decision.verdict != SL_VERDICT_RETRY;
    sl_log(SL_LOG_WARN, "the broker refused an event", "id=%s attempt=%d state=%s reason=\"%s\"",
        held->event.id, decision.attempts,
        sl_held_state_name(is_final ? SL_HELD_FAILED : SL_HELD_RETRYING), reason->text);
    if (change(relay, held, &decision, reason, error) != 0) {
        return -1;
    }
    if (decision.verdict == SL_VERDICT_HALT) {
        sl_relay_blame(relay, held->event.id, reason);
        *ret_is_halting = true;
    }
    return 0;
}

/* What the broker's answer to a held event makes of it; the copy goes. */
static int conclude(struct sl_relay *relay, int status, const struct sluice_error *reason,
    bool *ret_is_halting, struct sluice_error *error)
{
    struct sl_held_copy *held = &relay->retrying;
    if (status == 0) {
        status = settle(relay, held, NULL, ret_is_halting, error);
    } else if (reason->reaction == SLUICE_REJECT) {
        status = settle(relay, held, reason, ret_is_halting, error);
    } else {
        *error = *reason;
    }
    sl_held_copy_deinit(held);
    *held = (struct sl_held_copy) {0};
    relay->is_retrying = false;
    return status;
}

static void on_due(uv_timer_t *timer);

/* After an outage the pump meets the same one and reports it. */
static void rest(struct sl_relay *relay)
{
    uv_timer_start(&relay->retry_timer, on_due, REST_MS, 0);
}

static void on_retried(
    void *context, int status, size_t rejected, const struct sluice_error *reason)
{
    struct sl_relay *relay = context;
    struct sluice_error error;
    bool is_halting = false;
    (void) rejected;
    if (conclude(relay, status, reason, &is_halting, &error) != 0) {
        rest(relay);
    } else if (is_halting) {
        sl_relay_drive(relay, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_FATAL});
    } else {
        uv_timer_start(&relay->retry_timer, on_due, 0, 0);
    }
}

int sl_relay_retry_one(
    struct sl_relay *relay, int64_t *ret_due_ms, bool *ret_is_halting, struct sluice_error *error)
{
    struct sl_held_copy *held = &relay->retrying;
    int64_t now_ms = sl_clock_wall_ms();
    if (sl_store_held_due(relay->store, SL_STAGE_RELAY, relay->pump.position, now_ms,
            sl_held_copy_take, held, ret_due_ms, error) != 0) {
        return -1;
    }
    if (held->is_out_of_memory) {
        *held = (struct sl_held_copy) {0};
        return sl_fail_memory(error, "a held event");
    }
    if (!held->is_due) {
        return 0;
    }
    struct sluice_error reason;
    struct sl_append append = {
        .events = &held->event, .count = 1, .on_done = on_retried, .context = relay};
    int status = sl_relay_check_lease(relay, &reason);
    if (status == 0) {
        status = sl_broker_append_once(relay->broker, &append, &reason);
    }
    if (status == SL_APPEND_PENDING) {
        relay->is_retrying = true;
        return 0;
    }
    return conclude(relay, status, &reason, ret_is_halting, error);
}

static void on_due(uv_timer_t *timer)
{
    sl_relay_retry(timer->data);
}

void sl_relay_retry(struct sl_relay *relay)
{
    struct sluice_error error;
    int64_t due_ms = INT64_MAX;
    bool is_halting = false;
    if (relay->pump.state == SL_PUMP_STOPPED || relay->is_retrying || relay->is_paused) {
        return;
    }
    for (int i = 0; i < RETRIES_A_TURN; i++) {
        if (sl_relay_retry_one(relay, &due_ms, &is_halting, &error) != 0) {
            rest(relay);
            return;
        }
        if (relay->is_retrying) {
            return;
        }
        if (is_halting) {
            sl_relay_drive(relay, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_FATAL});
            return;
        }
        if (due_ms > sl_clock_wall_ms()) {
            break;
        }
    }
    if (due_ms == INT64_MAX) {
        uv_timer_stop(&relay->retry_timer);
        return;
    }
    int64_t delay_ms = due_ms - sl_clock_wall_ms();
    uv_timer_start(&relay->retry_timer, on_due, (uint64_t) (delay_ms > 0 ? delay_ms : 0), 0);
}
