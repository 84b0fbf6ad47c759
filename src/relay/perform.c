#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "relay/state.h"

enum { BATCH_SIZE_MAX = 4 << 20 };

static const int64_t latency_bounds_ms[] = SL_RELAY_LATENCY_BOUNDS_MS;

/* What a failure of the store or the broker is to the pump. */
static struct sl_pump_event event_of_failure(struct sl_relay *relay)
{
    const struct sluice_error *error = &relay->failure;
    enum sl_pump_event_kind kind = error->code == SLUICE_CONFLICT ? SL_PUMP_EVENT_CONFLICT
        : error->reaction == SLUICE_RETRY                         ? SL_PUMP_EVENT_OUTAGE
                                                                  : SL_PUMP_EVENT_FATAL;
    return (struct sl_pump_event) {.kind = kind};
}

/*
 * Compare where the broker has this source with the outbox itself. A position that the outbox
 * cannot explain means that one of the two files is not what it was: never go on in silence.
 */
static int check_position(
    struct sl_relay *relay, int64_t position, const struct sl_outbox_state *outbox)
{
    if (position > outbox->last_position) {
        return sl_fail(&relay->failure, SLUICE_CONFLICT, SLUICE_FATAL,
            "the broker has this database's events up to position %lld, but its outbox ends at "
            "%lld: the database was restored from a backup or replaced; give it a new identity "
            "with `sluice init --new-identity`, then every retained event is sent again and "
            "consumers skip what they have applied",
            (long long) position, (long long) outbox->last_position);
    }
    if (position >= outbox->position) {
        return 0;
    }
    if (outbox->first_position > position + 1 || outbox->first_position == 0) {
        return sl_fail(&relay->failure, SLUICE_CONFLICT, SLUICE_FATAL,
            "the broker has this database's events up to position %lld, but %lld were confirmed "
            "and the rows between are no longer retained: the broker's data was lost or replaced; "
            "restore it, or go on without those events with `sluice init --new-identity`",
            (long long) position, (long long) outbox->position);
    }
    sl_log(SL_LOG_WARN, "the broker is behind what was confirmed; sending the retained rows again",
        "broker_position=%lld confirmed_position=%lld", (long long) position,
        (long long) outbox->position);
    return 0;
}

static struct sl_pump_event ask_position(struct sl_relay *relay)
{
    int64_t position;
    struct sl_outbox_state outbox;
    if (sl_store_outbox_state(relay->store, &outbox, &relay->failure) != 0 ||
        sl_broker_source_position(
            relay->broker, sl_store_id(relay->store), &position, &relay->failure) != 0) {
        return event_of_failure(relay);
    }
    if (check_position(relay, position, &outbox) != 0) {
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_FATAL};
    }
    return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_POSITION, .position = position};
}

static struct sl_pump_event read_rows(struct sl_relay *relay, int64_t position)
{
    struct sl_outbox_batch *batch = &relay->batch;
    if (sl_store_outbox_read(relay->store, position, (size_t) relay->options.batch_events_max,
            BATCH_SIZE_MAX, batch, &relay->failure) != 0) {
        return event_of_failure(relay);
    }
    for (size_t i = 0; i < batch->count; i++) {
        relay->is_held[i] = false;
    }
    return (struct sl_pump_event) {
        .kind = SL_PUMP_EVENT_ROWS,
        .count = batch->count,
        .position = batch->count == 0 ? position : batch->positions[batch->count - 1],
    };
}

static int hold(struct sl_relay *relay, size_t row, enum sl_held_state state,
    const struct sl_decision *decision, const char *reason)
{
    struct sl_hold hold = {
        .stage = SL_STAGE_RELAY,
        .event = &relay->batch.events[row],
        .position = relay->batch.positions[row],
        .state = state,
        .attempts = decision == NULL ? 0 : decision->attempts,
        .next_attempt_ms = decision == NULL ? 0 : decision->retry_at_ms,
        .now_ms = sl_clock_wall_ms(),
        .reason = reason,
    };
    if (sl_store_hold(relay->store, &hold, &relay->failure) != 0) {
        return -1;
    }
    relay->is_held[row] = true;
    return 0;
}

static int hold_if_waiting(struct sl_relay *relay, size_t row)
{
    struct sl_key_state key;
    const struct sl_event *event = &relay->batch.events[row];
    if (relay->is_held[row]) {
        return 0;
    }
    /* Only behind what stands before it: an earlier event of the batch may still be on its way. */
    if (sl_store_key_state(relay->store, SL_STAGE_RELAY, event, relay->batch.positions[row], &key,
            &relay->failure) != 0) {
        return -1;
    }
    return sl_delivery_must_wait(&relay->options.policy, &key)
        ? hold(relay, row, SL_HELD_WAITING, NULL, "waits behind an earlier event of its key")
        : 0;
}

static struct sl_pump_event hold_waiting(struct sl_relay *relay)
{
    bool has_held = false;
    int status = sl_store_has_held(relay->store, SL_STAGE_RELAY, &has_held, &relay->failure);
    if (status == 0 && has_held) {
        status = sl_store_begin(relay->store, &relay->failure);
        for (size_t i = 0; i < relay->batch.count && status == 0; i++) {
            status = hold_if_waiting(relay, i);
        }
        if (status == 0) {
            status = sl_store_commit(relay->store, &relay->failure);
        } else {
            sl_store_rollback(relay->store);
        }
    }
    return status == 0 ? (struct sl_pump_event) {.kind = SL_PUMP_EVENT_HELD}
                       : event_of_failure(relay);
}

static void count_published(struct sl_relay *relay, size_t count, int64_t position)
{
    struct sl_relay_stats *stats = &relay->stats;
    int64_t now_ms = sl_clock_wall_ms();
    for (size_t i = 0; i < count; i++) {
        int64_t latency_ms = now_ms - relay->sending[i].time_ms;
        size_t bucket = 0;
        while (bucket < SL_RELAY_LATENCY_BUCKETS - 1 && latency_ms > latency_bounds_ms[bucket]) {
            bucket++;
        }
        atomic_fetch_add(&stats->latency_buckets[bucket], 1);
        atomic_fetch_add(&stats->latency_sum_ms, latency_ms > 0 ? latency_ms : 0);
    }
    atomic_fetch_add(&stats->published_total, (int64_t) count);
    atomic_store(&stats->position, position);
    atomic_store(&stats->progress_ms, sl_clock_monotonic_ms());
}

static struct sl_pump_event append(struct sl_relay *relay, const struct sl_pump_effect *effect)
{
    size_t count = 0;
    for (size_t i = 0; i < relay->batch.count; i++) {
        if (!relay->is_held[i]) {
            relay->sending[count] = relay->batch.events[i];
            relay->sending_rows[count++] = i;
        }
    }
    struct sl_append append = {
        .events = relay->sending,
        .count = count,
        .source_id = sl_store_id(relay->store),
        .position_before = effect->position,
        .position_after = effect->to,
    };
    size_t rejected = SIZE_MAX;
    if (sl_broker_append(relay->broker, &append, &rejected, &relay->failure) == 0) {
        count_published(relay, count, effect->to);
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_APPENDED};
    }
    if (relay->failure.reaction == SLUICE_REJECT && rejected < count) {
        relay->rejected_row = relay->sending_rows[rejected];
        atomic_fetch_add(&relay->stats.rejected_total, 1);
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_REJECTED};
    }
    return event_of_failure(relay);
}

void sl_relay_blame(
    struct sl_relay *relay, const char *event_id, const struct sluice_error *reason)
{
    sl_fail(&relay->failure, SLUICE_CONFLICT, SLUICE_FATAL,
        "stopped at the event %s, which the broker refused (relay.on_poison is halt): %.300s; "
        "mend the cause and redrive it, or drop it, then start the relay again",
        event_id, reason->text);
}

static struct sl_pump_event judge(struct sl_relay *relay)
{
    const struct sl_event *event = &relay->batch.events[relay->rejected_row];
    struct sluice_error reason = relay->failure;
    struct sl_decision decision = sl_delivery_decide(
        &relay->options.policy, 0, SL_ANSWER_FAILED, sl_clock_wall_ms(), sl_random_u64());
    enum sl_held_state state =
        decision.verdict == SL_VERDICT_RETRY ? SL_HELD_RETRYING : SL_HELD_FAILED;
    sl_log(SL_LOG_WARN, "the broker refused an event", "id=%s attempt=%d state=%s reason=\"%s\"",
        event->id, decision.attempts, sl_held_state_name(state), reason.text);
    if (hold(relay, relay->rejected_row, state, &decision, reason.text) != 0) {
        return event_of_failure(relay);
    }
    if (decision.verdict == SL_VERDICT_HALT) {
        sl_relay_blame(relay, event->id, &reason);
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_FATAL};
    }
    return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_HELD};
}

static void rest(struct sl_relay *relay)
{
    atomic_fetch_add(&relay->stats.outages_total, 1);
    if (!relay->is_resting) {
        relay->is_resting = true;
        sl_log(SL_LOG_WARN, "delivery is interrupted; trying again until it works", "error=\"%s\"",
            relay->failure.text);
    }
}

bool sl_relay_perform(
    struct sl_relay *relay, const struct sl_pump_effect *effect, struct sl_pump_event *ret_event)
{
    switch (effect->kind) {
    case SL_PUMP_ASK_POSITION:
        *ret_event = ask_position(relay);
        return true;
    case SL_PUMP_READ:
        *ret_event = read_rows(relay, effect->position);
        return true;
    case SL_PUMP_HOLD_WAITING:
        *ret_event = hold_waiting(relay);
        return true;
    case SL_PUMP_APPEND:
        *ret_event = append(relay, effect);
        return true;
    case SL_PUMP_JUDGE:
        *ret_event = judge(relay);
        return true;
    case SL_PUMP_REST:
        rest(relay);
        return false;
    case SL_PUMP_WAIT:
    case SL_PUMP_HALT:
    case SL_PUMP_NONE:
        break;
    }
    return false;
}
