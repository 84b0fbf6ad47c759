#include "relay/relay.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "event/id.h"
#include "relay/state.h"
#include "store/mapping.h"

enum {
    REST_FIRST_MS = 20,
    REST_MAX_MS = 5000,
    CONFIRM_DELAY_MS = 100, /* the store learns the position this much later: one write for many */
    RETAIN_INTERVAL_MS = 1000,
    RETAIN_TIME_MAX_MS = 100,
    OUTBOX_DELETES_MAX = 1000,
    POLL_INTERVAL_MS = 5,
    POLL_FAST_MS = 1000, /* so long after the last event a server is asked at the full rate */
    POLL_SLOWER = 10,
    STEPS_A_TURN = 64, /* then the loop gets its turn, so that a stop is heard under load */
    TURN_PAUSE_MS = 1
};

static void on_confirm(uv_timer_t *timer)
{
    struct sl_relay *relay = timer->data;
    struct sluice_error error;
    struct sl_position position = relay->pump.position;
    if (sl_store_confirm(relay->store, position, relay->reached_ms, &error) == 0) {
        relay->confirmed_position = position;
    } else {
        uv_timer_start(&relay->confirm_timer, on_confirm, CONFIRM_DELAY_MS, 0);
    }
}

static void on_turn(uv_timer_t *timer);

static void on_poll(uv_timer_t *timer)
{
    struct sl_relay *relay = timer->data;
    if (relay->pump.state == SL_PUMP_IDLE) {
        sl_relay_drive(relay, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_WAKE});
    }
}

/* A server cannot wake us: look again soon, and less often once it has been quiet for a while. */
static void poll_later(struct sl_relay *relay)
{
    if (sl_store_watch_file(relay->store) != NULL) {
        return;
    }
    int64_t quiet_ms = sl_clock_monotonic_ms() - relay->published_ms;
    int64_t interval_ms =
        relay->options.poll_interval_ms * (quiet_ms > POLL_FAST_MS ? POLL_SLOWER : 1);
    uv_timer_start(&relay->poll_timer, on_poll, (uint64_t) interval_ms, 0);
}

/* What the relay's state has become after some steps: tell the world, set the timers. */
static void settle(struct sl_relay *relay)
{
    enum sl_pump_state state = relay->pump.state;
    atomic_store(&relay->stats.pump_state, (int) state);
    if (state == SL_PUMP_IDLE || relay->is_standby || relay->is_paused) {
        atomic_store(&relay->stats.progress_ms, sl_clock_monotonic_ms());
    }
    atomic_store(&relay->stats.is_standby, relay->is_standby);
    atomic_store(&relay->stats.is_paused, relay->is_paused);
    if (state == SL_PUMP_IDLE) {
        poll_later(relay);
    }
    if (state != SL_PUMP_RESTING && state != SL_PUMP_STOPPED && relay->is_resting) {
        relay->is_resting = false;
        char position[SL_POSITION_TEXT_SIZE];
        sl_position_write(relay->pump.position, position);
        sl_log(SL_LOG_INFO, "delivery goes on", "position=%s", position);
    }
    if (sl_position_compare(relay->pump.position, relay->confirmed_position) > 0 &&
        !uv_is_active((uv_handle_t *) &relay->confirm_timer)) {
        uv_timer_start(&relay->confirm_timer, on_confirm, CONFIRM_DELAY_MS, 0);
    }
    if (state == SL_PUMP_IDLE || state == SL_PUMP_READING) {
        sl_relay_retry(relay);
    }
}

static void halt(struct sl_relay *relay)
{
    sl_log(SL_LOG_ERROR, "the relay has stopped", "error=\"%s\"", relay->failure.text);
    relay->on_halt(relay->context, &relay->failure);
}

void sl_relay_drive(struct sl_relay *relay, struct sl_pump_event event)
{
    for (int steps = 0;; steps++) {
        struct sl_pump_effect effect =
            sl_pump_step(&relay->pump, &event, sl_clock_monotonic_ms(), sl_random_u64());
        if (effect.kind == SL_PUMP_READ && steps > STEPS_A_TURN) {
            /*
             * Between batches nothing is half done; the pump waits in READING for the rows. Not at
             * once: libuv runs a timer of 0 ms again and again before it looks at anything else.
             */
            uv_timer_start(&relay->turn_timer, on_turn, TURN_PAUSE_MS, 0);
            break;
        }
        if (!sl_relay_perform(relay, &effect, &event)) {
            if (effect.kind == SL_PUMP_REST) {
                int64_t delay_ms = effect.until_ms - sl_clock_monotonic_ms();
                uv_timer_start(
                    &relay->turn_timer, on_turn, (uint64_t) (delay_ms > 0 ? delay_ms : 0), 0);
            }
            if (effect.kind == SL_PUMP_HALT) {
                settle(relay);
                halt(relay);
                return;
            }
            break;
        }
    }
    settle(relay);
}

static void on_turn(uv_timer_t *timer)
{
    struct sl_relay *relay = timer->data;
    if (relay->pump.state == SL_PUMP_READING) {
        struct sl_pump_effect effect = {.kind = SL_PUMP_READ, .position = relay->pump.position};
        struct sl_pump_event event;
        sl_relay_perform(relay, &effect, &event);
        sl_relay_drive(relay, event);
        return;
    }
    sl_relay_drive(relay, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_TIMER});
}

static void on_start(uv_timer_t *timer)
{
    sl_relay_drive(timer->data, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_START});
}

static bool on_change(void *context)
{
    struct sl_relay *relay = context;
    if (!sl_store_has_changed(relay->store)) {
        return false;
    }
    if (relay->pump.state == SL_PUMP_IDLE) {
        sl_relay_drive(relay, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_WAKE});
    }
    return true;
}

/* In small transactions, and for a small part of the time: yet as many rows go as come. */
static void clean_outbox(struct sl_relay *relay, int64_t before_ms)
{
    struct sluice_error error;
    int64_t deleted = 0;
    int64_t end_ms = sl_clock_monotonic_ms() + RETAIN_TIME_MAX_MS;
    do {
        if (sl_store_outbox_retain(
                relay->store, before_ms, OUTBOX_DELETES_MAX, &deleted, &error) != 0) {
            sl_log(SL_LOG_WARN, "the outbox could not be cleaned", "error=\"%s\"", error.text);
            return;
        }
    } while (deleted >= OUTBOX_DELETES_MAX && sl_clock_monotonic_ms() < end_ms);
}

static void on_retain(uv_timer_t *timer)
{
    struct sl_relay *relay = timer->data;
    const struct sl_relay_options *options = &relay->options;
    struct sluice_error error;
    int64_t now_ms = sl_clock_wall_ms();
    int64_t deleted = 0;
    if (relay->pump.state == SL_PUMP_IDLE && sl_relay_check_pause(relay) == 0 &&
        relay->is_paused) {
        /* Nothing comes that would show it: go and see. */
        sl_relay_drive(relay, (struct sl_pump_event) {.kind = SL_PUMP_EVENT_WAKE});
    }
    if (options->retention_ms > 0) {
        clean_outbox(relay, now_ms - options->retention_ms);
    }
    if ((options->broker_retention_ms > 0 || options->broker_size_max > 0) &&
        sl_broker_retain(relay->broker, now_ms, options->broker_retention_ms,
            options->broker_size_max, &deleted, &error) != 0) {
        sl_log(SL_LOG_WARN, "the log could not be cleaned", "error=\"%s\"", error.text);
    }
}

static void free_relay(struct sl_relay *relay)
{
    sl_store_close(relay->store);
    sl_broker_close(relay->broker);
    sl_outbox_batch_deinit(&relay->batch);
    sl_free(relay->is_held);
    sl_free(relay->sending);
    sl_free(relay->sending_rows);
    sl_outbox_batch_deinit(&relay->ahead);
    sl_held_copy_deinit(&relay->retrying);
    sl_free(relay);
}

static void on_closed(uv_handle_t *handle)
{
    struct sl_relay *relay = handle->data;
    if (--relay->open_handles == 0) {
        free_relay(relay);
    }
}

static void start_timers(struct sl_relay *relay, uv_loop_t *loop)
{
    uv_timer_t *timers[] = {&relay->turn_timer, &relay->retry_timer, &relay->confirm_timer,
        &relay->retain_timer, &relay->poll_timer};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = relay;
        relay->open_handles++;
    }
    uv_timer_start(&relay->retain_timer, on_retain, RETAIN_INTERVAL_MS, RETAIN_INTERVAL_MS);
}

static int allocate_batch(struct sl_relay *relay)
{
    size_t count = (size_t) relay->options.batch_events_max;
    relay->is_held = sl_allocate(count * sizeof(*relay->is_held));
    relay->sending = sl_allocate(count * sizeof(*relay->sending));
    relay->sending_rows = sl_allocate(count * sizeof(*relay->sending_rows));
    return relay->is_held == NULL || relay->sending == NULL || relay->sending_rows == NULL ? -1 : 0;
}

int sl_relay_open(const struct sl_relay_options *options, uv_loop_t *loop, sl_relay_on_halt on_halt,
    void *context, struct sl_relay **ret_relay, struct sluice_error *error)
{
    if (options->batch_events_max < 1 || options->policy.attempts_max < 1) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "a relay needs at least 1 event a batch and 1 attempt");
    }
    struct sl_relay *relay = sl_allocate(sizeof(*relay));
    if (relay == NULL) {
        return sl_fail_memory(error, "a relay");
    }
    relay->options = *options;
    relay->on_halt = on_halt;
    relay->context = context;
    sl_pump_init(&relay->pump, REST_FIRST_MS, REST_MAX_MS);
    if (allocate_batch(relay) != 0) {
        free_relay(relay);
        return sl_fail_memory(error, "a relay");
    }
    if (sl_mapping_open(options->database, options->mapping, &relay->store, error) != 0 ||
        sl_broker_open(options->broker, &relay->broker, error) != 0) {
        free_relay(relay);
        return -1;
    }
    relay->options.database = NULL;
    relay->options.broker = NULL;
    relay->options.mapping = NULL;
    if (relay->options.poll_interval_ms <= 0) {
        relay->options.poll_interval_ms = POLL_INTERVAL_MS;
    }
    sl_id_new(relay->holder);
    start_timers(relay, loop);
    if (sl_broker_attach(relay->broker, loop, error) != 0) {
        sl_relay_close(relay);
        return -1;
    }
    if (sl_store_watch_file(relay->store) != NULL &&
        sl_watch_open(
            loop, sl_store_watch_file(relay->store), on_change, relay, &relay->watch, error) != 0) {
        sl_relay_close(relay);
        return -1;
    }
    /* From the loop, so that a halt at the start comes after the caller has the relay. */
    atomic_store(&relay->stats.progress_ms, sl_clock_monotonic_ms());
    uv_timer_start(&relay->turn_timer, on_start, 0, 0);
    *ret_relay = relay;
    return 0;
}

void sl_relay_close(struct sl_relay *relay)
{
    if (relay == NULL || relay->is_closing) {
        return;
    }
    relay->is_closing = true;
    struct sluice_error ignored;
    int status = sl_store_confirm(relay->store, relay->pump.position, relay->reached_ms, &ignored);
    (void) status; /* the next start finds out from the broker */
    if (relay->leased_ms != 0) {
        status = sl_store_lease_end(relay->store, relay->holder, &ignored);
        (void) status; /* it ends by itself */
    }
    sl_watch_close(relay->watch);
    /* Now, while the loop turns: what is on its way must not find the relay gone. */
    sl_broker_close(relay->broker);
    relay->broker = NULL;
    uv_close((uv_handle_t *) &relay->turn_timer, on_closed);
    uv_close((uv_handle_t *) &relay->retry_timer, on_closed);
    uv_close((uv_handle_t *) &relay->confirm_timer, on_closed);
    uv_close((uv_handle_t *) &relay->retain_timer, on_closed);
    uv_close((uv_handle_t *) &relay->poll_timer, on_closed);
}

const struct sl_relay_stats *sl_relay_stats(const struct sl_relay *relay)
{
    return &relay->stats;
}
