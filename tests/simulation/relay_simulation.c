/*
 * relay_simulation - the relay's real code on a simulated database and broker, from one seed.
 *
 *   relay_simulation STEPS [SEED]      runs seeds from SEED (default 1) on until STEPS are done
 *
 * A run has one or two relays, whose steps are interleaved; any call may fail before or after its
 * effect, any relay may be killed between two calls, events may be poison. After every step the log
 * must have each key in order and nothing twice; at the end, when all faults have healed, it must
 * have everything. A failing seed is printed: running it again does the same again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "relay/state.h"
#include "world.h"

enum { STEPS_A_SEED = 2000, HEALING_STEPS_MAX = 100000, BATCH_EVENTS_MAX = 8 };

/* A relay without its loop: the driver here turns it. */
struct actor {
    struct sl_relay relay;
    struct sl_pump_effect effect; /* to be carried out next */
    bool is_waiting;
};

static struct world world;
static struct actor actors[2];

static void start(struct actor *actor)
{
    struct sl_relay *relay = &actor->relay;
    sl_outbox_batch_deinit(&relay->batch);
    sl_free(relay->is_held);
    sl_free(relay->sending);
    sl_free(relay->sending_rows);
    memset(actor, 0, sizeof(*actor));
    relay->options.policy = (struct sl_delivery_policy) {
        .attempts_max = 2, .retry_delay_ms = 1, .retry_delay_max_ms = 4};
    relay->options.batch_events_max = 1 + (int64_t) world_random(&world, BATCH_EVENTS_MAX);
    relay->store = &world.store;
    relay->broker = &world.broker;
    relay->is_held = sl_allocate(BATCH_EVENTS_MAX * sizeof(*relay->is_held));
    relay->sending = sl_allocate(BATCH_EVENTS_MAX * sizeof(*relay->sending));
    relay->sending_rows = sl_allocate(BATCH_EVENTS_MAX * sizeof(*relay->sending_rows));
    relay->is_resting = true; /* an outage is no news here: keep the log quiet */
    sl_pump_init(&relay->pump, 1, 4);
    struct sl_pump_event begin = {.kind = SL_PUMP_EVENT_START};
    actor->effect = sl_pump_step(&relay->pump, &begin, 0, 0);
}

/* One step of one relay: an effect, a wake-up, the end of a rest, a retry or a confirmation. */
static void turn(struct actor *actor)
{
    struct sl_relay *relay = &actor->relay;
    struct sl_pump_event event;
    struct sluice_error ignored;
    uint64_t choice = world_random(&world, 8);
    bool is_between_batches =
        relay->pump.state == SL_PUMP_IDLE || relay->pump.state == SL_PUMP_READING;
    if (choice == 0 && is_between_batches) {
        int64_t due_ms;
        bool is_halting;
        int status = sl_relay_retry_one(relay, &due_ms, &is_halting, &ignored);
        (void) status; /* an outage: another time */
        return;
    }
    if (choice == 1) {
        int status = sl_store_confirm(&world.store, relay->pump.position, 0, &ignored);
        (void) status;
        return;
    }
    if (actor->is_waiting) {
        event.kind =
            relay->pump.state == SL_PUMP_RESTING ? SL_PUMP_EVENT_TIMER : SL_PUMP_EVENT_WAKE;
        actor->is_waiting = false;
    } else if (!sl_relay_perform(relay, &actor->effect, &event)) {
        actor->is_waiting = true;
        return;
    }
    actor->effect = sl_pump_step(&relay->pump, &event, world.now_ms, world_random(&world, 1000));
    if (relay->pump.state == SL_PUMP_STOPPED) {
        printf("the relay stopped: %s\n", relay->failure.text);
        exit(1);
    }
}

static void fail(uint64_t seed, int64_t step, const char *what)
{
    printf("seed %" PRIu64 ", step %" PRId64 ": %s\n", seed, step, what);
    printf("run it again with: relay_simulation 1 %" PRIu64 "\n", seed);
    exit(1);
}

/* Nothing is left to do: every relay is at the end, and what is held waits for a person. */
static bool is_quiet(int actor_count)
{
    for (int i = 0; i < actor_count; i++) {
        if (actors[i].relay.pump.state != SL_PUMP_IDLE ||
            actors[i].relay.pump.position.id != world.row_count) {
            return false;
        }
    }
    for (int i = 0; i < world.held_count; i++) {
        if (world.held[i].state == SL_HELD_RETRYING) {
            return false;
        }
    }
    return true;
}

/* Turn the relays, without new faults, until all is quiet. */
static int64_t rest(uint64_t seed, int64_t step, int actor_count)
{
    int64_t turns = 0;
    for (; !is_quiet(actor_count); turns++) {
        if (turns == HEALING_STEPS_MAX) {
            fail(seed, step + turns, "it does not come to rest after all faults have healed");
        }
        turn(&actors[world_random(&world, (uint64_t) actor_count)]);
    }
    return turns;
}

static int64_t run(uint64_t seed)
{
    world_init(&world, seed);
    int actor_count = 1 + (int) world_random(&world, 2);
    uint64_t crash_every = 50 + world_random(&world, 400);
    int64_t step = 0;
    for (int i = 0; i < actor_count; i++) {
        start(&actors[i]);
    }
    for (; step < STEPS_A_SEED; step++) {
        struct actor *actor = &actors[world_random(&world, (uint64_t) actor_count)];
        world.now_ms++;
        if (world_random(&world, 3) == 0) {
            world_commit_events(&world);
        }
        if (world_random(&world, crash_every) == 0) {
            world_crash(&world);
            start(actor);
        }
        turn(actor);
        const char *wrong = step % 64 == 0 ? world_judge(&world, false) : NULL;
        if (wrong != NULL) {
            fail(seed, step, wrong);
        }
    }
    world.fault_percent = 0;
    step += rest(seed, step, actor_count);
    world_redrive(&world);
    step += rest(seed, step, actor_count);
    const char *wrong = world_judge(&world, true);
    if (wrong != NULL) {
        fail(seed, step, wrong);
    }
    return step;
}

int main(int argument_count, char **arguments)
{
    int64_t steps_max = argument_count > 1 ? strtoll(arguments[1], NULL, 10) : 1000000;
    uint64_t first_seed = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    int64_t steps = 0;
    uint64_t seed = first_seed;
    int64_t appended = 0;
    sl_log_set_level(SL_LOG_ERROR);
    for (; steps < steps_max; seed++) {
        steps += run(seed);
        appended += world.log_count;
    }
    for (int i = 0; i < 2; i++) {
        sl_outbox_batch_deinit(&actors[i].relay.batch);
        sl_free(actors[i].relay.is_held);
        sl_free(actors[i].relay.sending);
        sl_free(actors[i].relay.sending_rows);
    }
    printf("%" PRId64 " steps from %" PRIu64 " seeds, %" PRId64
           " events, nothing lost, doubled or "
           "overtaken\n",
        steps, seed - first_seed, appended);
    return 0;
}
