#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "relay/state.h"
#include "store/look.h"

enum {
    BATCH_SIZE_MAX = 4 << 20,
    LEASE_MS = 10000,
    PAUSE_CHECK_MS = 500,
    LEASE_RENEWAL_MS = 3000 /* the rest is for an append that is on its way */
};

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
 * cannot explain means that one of the two is not what it was: never go on in silence.
 */
static int check_position(
    struct sl_relay *relay, struct sl_position position, const struct sl_outbox_state *outbox)
{
    char here[SL_POSITION_TEXT_SIZE];
    char there[SL_POSITION_TEXT_SIZE];
    sl_position_write(position, here);
    if (sl_position_compare(position, outbox->last) > 0) {
        sl_position_write(outbox->last, there);
        return sl_fail(&relay->failure, SLUICE_CONFLICT, SLUICE_FATAL,
            "the broker has this database's events up to position %s, but its outbox ends at %s: "
            "the database was restored from a backup or replaced; give it a new identity with "
            "`sluice init --new-identity`, then every retained event is sent again and consumers "
            "skip what they have applied",
            here, there);
    }
    if (sl_position_compare(position, outbox->position) >= 0) {
        return 0;
    }
    sl_position_write(outbox->position, there);
    if (sl_position_compare(outbox->retained_after, position) > 0) {
        return sl_fail(&relay->failure, SLUICE_CONFLICT, SLUICE_FATAL,
            "the broker has this database's events up to position %s, but %s were confirmed and "
            "the rows between are no longer retained: the broker's data was lost or replaced; "
            "restore it, or go on without those events with `sluice init --new-identity`",
            here, there);
    }
    sl_log(SL_LOG_WARN, "the broker is behind what was confirmed; sending the retained rows again",
        "broker_position=%s confirmed_position=%s", here, there);
    return 0;
}

/* Take or renew the lease; *ret_is_held is false if another relay has it. */
static int renew_lease(struct sl_relay *relay, bool *ret_is_held, struct sluice_error *error)
{
    int64_t now_ms = sl_clock_monotonic_ms(); /* before the question: the lease runs from here */
    if (sl_store_lease(relay->store, relay->holder, LEASE_MS, ret_is_held, error) != 0) {
        return -1;
    }
    relay->leased_ms = *ret_is_held ? now_ms : 0;
    if (*ret_is_held == relay->is_standby) {
        relay->is_standby = !*ret_is_held;
        sl_log(SL_LOG_INFO,
            *ret_is_held ? "this relay has the lease" : "another relay has the lease", "holder=%s",
            relay->holder);
    }
    return 0;
}

/*
 * Whether this relay may still append. A relay that stood still for longer than its lease finds out
 * here, before it sends what another one may have sent meanwhile.
 */
int sl_relay_check_lease(struct sl_relay *relay, struct sluice_error *error)
{
    if (!sl_broker_needs_lease(relay->broker) ||
        (relay->leased_ms != 0 && sl_clock_monotonic_ms() - relay->leased_ms < LEASE_RENEWAL_MS)) {
        return 0;
    }
    bool is_held = false;
    if (renew_lease(relay, &is_held, error) != 0) {
        return -1;
    }
    return is_held ? 0
                   : sl_fail(error, SLUICE_CONFLICT, SLUICE_RETRY,
                         "another relay has taken the lease meanwhile");
}

/* Look up, now and then, whether a person has paused the relays of this database. */
int sl_relay_check_pause(struct sl_relay *relay)
{
    char by[SL_PAUSE_TEXT_SIZE];
    int64_t now_ms = sl_clock_monotonic_ms();
    if (relay->pause_checked_ms != 0 && now_ms - relay->pause_checked_ms < PAUSE_CHECK_MS) {
        return 0;
    }
    if (sl_store_paused(relay->store, by, &relay->failure) != 0) {
        return -1;
    }
    relay->pause_checked_ms = now_ms;
    if ((by[0] != '\0') != relay->is_paused) {
        relay->is_paused = by[0] != '\0';
        sl_log(SL_LOG_INFO, relay->is_paused ? "the relay is paused" : "the relay is resumed",
            "by=\"%s\"", by);
    }
    return 0;
}

static struct sl_pump_event ask_position(struct sl_relay *relay)
{
    struct sl_position position;
    struct sl_outbox_state outbox;
    bool is_held = true;
    if (sl_relay_check_pause(relay) != 0) {
        return event_of_failure(relay);
    }
    if (relay->is_paused) {
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_STANDBY};
    }
    if (sl_broker_needs_lease(relay->broker)) {
        if (renew_lease(relay, &is_held, &relay->failure) != 0) {
            return event_of_failure(relay);
        }
        if (!is_held) {
            return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_STANDBY};
        }
    }
    if (sl_store_outbox_state(relay->store, &outbox, &relay->failure) != 0) {
        return event_of_failure(relay);
    }
    struct sl_source source = {.id = sl_store_id(relay->store),
        .confirmed = outbox.position,
        .confirmed_ms = outbox.confirmed_ms};
    if (sl_broker_source_position(relay->broker, &source, &position, &relay->failure) != 0) {
        return event_of_failure(relay);
    }
    /* Another relay may have sent what was not there yet when the outbox was looked at. */
    if (sl_position_compare(position, outbox.last) > 0 &&
        sl_store_outbox_state(relay->store, &outbox, &relay->failure) != 0) {
        return event_of_failure(relay);
    }
    if (check_position(relay, position, &outbox) != 0) {
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_FATAL};
    }
    relay->reached_ms = outbox.confirmed_ms;
    return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_POSITION, .position = position};
}

static struct sl_pump_event read_rows(struct sl_relay *relay, struct sl_position position)
{
    struct sl_outbox_batch *batch = &relay->batch;
    if (sl_relay_check_pause(relay) != 0) {
        return event_of_failure(relay);
    }
    if (relay->is_paused) {
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_CONFLICT};
    }
    if (relay->is_ahead && sl_position_compare(relay->ahead_after, position) == 0) {
        struct sl_outbox_batch spent = relay->batch;
        relay->batch = relay->ahead;
        relay->ahead = spent;
    } else if (sl_store_outbox_read(relay->store, position,
                   (size_t) relay->options.batch_events_max, BATCH_SIZE_MAX, batch,
                   &relay->failure) != 0) {
        return event_of_failure(relay);
    }
    relay->is_ahead = false;
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

static void count_published(struct sl_relay *relay, size_t count, struct sl_position position)
{
    struct sl_relay_stats *stats = &relay->stats;
    int64_t now_ms = sl_clock_wall_ms();
    int64_t buckets[SL_RELAY_LATENCY_BUCKETS] = {0};
    int64_t sum_ms = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t latency_ms = now_ms - relay->sending[i].time_ms;
        size_t bucket = 0;
        while (bucket < SL_RELAY_LATENCY_BUCKETS - 1 && latency_ms > latency_bounds_ms[bucket]) {
            bucket++;
        }
        buckets[bucket]++;
        sum_ms += latency_ms > 0 ? latency_ms : 0;
    }
    for (size_t i = 0; i < SL_RELAY_LATENCY_BUCKETS; i++) {
        atomic_fetch_add(&stats->latency_buckets[i], buckets[i]);
    }
    atomic_fetch_add(&stats->latency_sum_ms, sum_ms);
    atomic_fetch_add(&stats->published_total, (int64_t) count);
    atomic_store(&stats->position, position.id);
    atomic_store(&stats->tick, position.tick);
    atomic_store(&stats->progress_ms, sl_clock_monotonic_ms());
}

/* What the end of an append is to the pump. */
static struct sl_pump_event event_of_append(struct sl_relay *relay, int status, size_t rejected)
{
    if (status == 0) {
        count_published(relay, relay->sending_count, relay->pump.batch_position);
        relay->reached_ms = sl_clock_wall_ms();
        relay->published_ms = sl_clock_monotonic_ms();
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_APPENDED};
    }
    if (relay->failure.reaction == SLUICE_REJECT && rejected < relay->sending_count) {
        relay->rejected_row = relay->sending_rows[rejected];
        atomic_fetch_add(&relay->stats.rejected_total, 1);
        return (struct sl_pump_event) {.kind = SL_PUMP_EVENT_REJECTED};
    }
    return event_of_failure(relay);
}

static void on_appended(
    void *context, int status, size_t rejected, const struct sluice_error *error)
{
    struct sl_relay *relay = context;
    relay->is_appending = false;
    if (status != 0) {
        relay->failure = *error;
    }
    sl_relay_drive(relay, event_of_append(relay, status, rejected));
}

/*
 * Read the next batch while this one is on its way. A failure is no matter: the read is done again
 * in its turn, and reports it.
 */
static void read_ahead(struct sl_relay *relay)
{
    struct sluice_error ignored;
    relay->ahead_after = relay->pump.batch_position;
    relay->is_ahead = sl_store_outbox_read(relay->store, relay->ahead_after,
                          (size_t) relay->options.batch_events_max, BATCH_SIZE_MAX, &relay->ahead,
                          &ignored) == 0 &&
        relay->ahead.count > 0;
}

/* False if the end of the append will be told later. */
static bool append(
    struct sl_relay *relay, const struct sl_pump_effect *effect, struct sl_pump_event *ret_event)
{
    size_t count = 0;
    for (size_t i = 0; i < relay->batch.count; i++) {
        if (!relay->is_held[i]) {
            relay->sending[count] = relay->batch.events[i];
            relay->sending_rows[count++] = i;
        }
    }
    relay->sending_count = count;
    struct sl_append append = {
        .events = relay->sending,
        .count = count,
        .source_id = sl_store_id(relay->store),
        .position_before = effect->position,
        .position_after = effect->to,
        .on_done = on_appended,
        .context = relay,
    };
    size_t rejected = SIZE_MAX;
    if (sl_relay_check_lease(relay, &relay->failure) != 0) {
        *ret_event = event_of_failure(relay);
        return true;
    }
    int status = sl_broker_append(relay->broker, &append, &rejected, &relay->failure);
    if (status == SL_APPEND_PENDING) {
        relay->is_appending = true;
        read_ahead(relay);
        return false;
    }
    *ret_event = event_of_append(relay, status, rejected);
    return true;
}

void sl_relay_blame(struct sl_relay *relay, const char *event_id, const struct sluice_error *reason)
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
    if (relay->is_standby || relay->is_paused) {
        return;
    }
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
        return append(relay, effect, ret_event);
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
