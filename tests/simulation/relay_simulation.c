/*
 * relay_simulation - the relay's real code on simulated databases and brokers, from one seed.
 *
 * The seed chooses the database (one writer at a time, or ticks) and the broker (the local log, or
 * one like Kafka), and one or two relays. Publishers write; relays are killed between calls and
 * inside of them, stand still for longer than their lease, are stopped and started; database and
 * broker go away for long; events are poison; a person mends and redrives. Each event is judged as
 * it arrives (brokers.c), each confirmed position when it is noted (database.c). Then all faults
 * heal: everything must come to rest by itself, all that is held must be held for a poison event
 * of its key, and after a redrive nothing may be held or missing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "brokers.h"
#include "database.h"
#include "relay/state.h"

enum { RELAYS_MAX = 2, HEALING_STEPS_MAX = 100000, ROWS_IN_A_RUN = 600 };

struct world {
    int relay_count;
    struct sl_relay *relays[RELAYS_MAX];
    uv_loop_t loop; /* only its address is of use: timers are the simulation's */
    bool is_healing;
    int64_t restarts;
};

static struct world world;

int __wrap_sl_store_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error);
int __wrap_sl_broker_open(
    const char *url, struct sl_broker **ret_broker, struct sluice_error *error);

int __wrap_sl_store_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error)
{
    (void) url;
    (void) mode;
    (void) error;
    *ret_store = db_open();
    return 0;
}

int __wrap_sl_broker_open(
    const char *url, struct sl_broker **ret_broker, struct sluice_error *error)
{
    (void) url;
    (void) error;
    *ret_broker = broker_open();
    return 0;
}

static void on_halt(void *context, const struct sluice_error *error)
{
    (void) context;
    sim_fail("the relay halted: %s", error->text);
}

static void start(int process)
{
    struct sluice_error error;
    struct sl_relay_options options = {
        .database = "simulated",
        .broker = "simulated",
        .policy = {.attempts_max = 2, .retry_delay_ms = 10, .retry_delay_max_ms = 400},
        .batch_events_max = 1 + (int64_t) sim_random(10),
    };
    sim_current = process;
    sim_processes[process] =
        (struct sim_process) {.clock_offset_ms = (int64_t) sim_random(600) - 300};
    sim_trace("starts");
    world.restarts++;
    if (sl_relay_open(&options, &world.loop, on_halt, NULL, &world.relays[process], &error) != 0) {
        sim_fail("the relay does not start: %s", error.text);
    }
}

/* Stopped in good order, or what is left of a killed one goes away. */
static void stop(int process)
{
    sim_current = process;
    sim_trace(sim_processes[process].is_dead ? "is gone" : "stops");
    sl_relay_close(world.relays[process]);
    sim_finish_closing();
    world.relays[process] = NULL;
    db_kill(process);
}

static void advance_time(void)
{
    int64_t due_ms = sim_next_due_ms();
    if (due_ms > sim_now_ms && due_ms != INT64_MAX && !sim_once_in(4)) {
        sim_now_ms = due_ms;
    } else {
        sim_now_ms += 1 + (int64_t) sim_random(4);
    }
}

static void turn(int process)
{
    if (world.relays[process] == NULL) {
        if (world.is_healing || sim_once_in(4)) {
            start(process);
        }
        return;
    }
    if (sim_processes[process].is_busy) {
        return;
    }
    if (sim_processes[process].is_dead) {
        stop(process);
        return;
    }
    if (!sim_can_run(process)) {
        return;
    }
    if (sim_once_in(2) && broker_serve(process)) {
        return;
    }
    if (!sim_fire_timer(process) && !broker_serve(process)) {
        advance_time();
    }
}

/* Mostly short, now and then longer than any time-out. */
static int64_t some_time_ms(void)
{
    static const int64_t longest_ms[] = {10, 100, 1000, 3000, 15000, 60000};
    return (int64_t) sim_random((uint64_t) longest_ms[sim_random(6)]);
}

/* Rare things, each of which a relay must live through. */
static void disturb(void)
{
    int process = (int) sim_random((uint64_t) world.relay_count);
    sim_current = process;
    database.fault_count++;
    switch (sim_random(7)) {
    case 0:
        sim_trace("is killed");
        db_kill(process);
        break;
    case 1:
        sim_trace("is paused");
        sim_processes[process].paused_until_ms = sim_now_ms + some_time_ms();
        break;
    case 2:
        if (world.relays[process] != NULL && sim_can_run(process)) {
            stop(process);
        }
        break;
    case 3:
        db_crash(sim_now_ms + some_time_ms());
        break;
    case 4:
        broker_leave(sim_now_ms + 3 * some_time_ms());
        break;
    case 5:
        sim_now_ms += some_time_ms();
        break;
    default:
        db_redrive(false);
        break;
    }
}

static void step(void)
{
    uint64_t choice = sim_random(100);
    sim_now_ms += (int64_t) sim_random(3);
    if (choice < 2) {
        if (database.fault_percent > 0) {
            disturb();
        }
    } else if (choice < 25) {
        if (database.row_count < ROWS_IN_A_RUN) {
            db_write();
        }
    } else if (choice < 45) {
        broker_step();
    } else {
        turn((int) sim_random((uint64_t) world.relay_count));
    }
}

/* Nothing is left to do but for a person. */
static bool is_quiet(void)
{
    if (!broker_is_quiet()) {
        return false;
    }
    struct sl_position last = database.order_count == 0
        ? SL_POSITION_START
        : db_position_of(database.order[database.order_count - 1]);
    for (int i = 0; i < database.row_count; i++) {
        const struct db_row *row = &database.rows[i];
        if (row->state == ROW_COMMITTED && !row->is_sent && !db_is_held(i)) {
            return false;
        }
    }
    for (int i = 0; i < database.data.held_count; i++) {
        if (database.data.held[i].state == SL_HELD_RETRYING) {
            return false;
        }
    }
    bool is_leader_idle = false;
    for (int i = 0; i < world.relay_count; i++) {
        if (world.relays[i] == NULL || sim_processes[i].is_dead) {
            return false;
        }
        const struct sl_pump *pump = &world.relays[i]->pump;
        is_leader_idle = is_leader_idle ||
            (pump->state == SL_PUMP_IDLE && sl_position_compare(pump->position, last) == 0);
    }
    return is_leader_idle;
}

static void come_to_rest(void)
{
    for (int i = 0; !is_quiet(); i++) {
        if (i == HEALING_STEPS_MAX) {
            sim_fail("it does not come to rest after all faults have healed");
        }
        sim_count_step();
        broker_step();
        turn((int) sim_random((uint64_t) world.relay_count));
    }
}

static void check_complete(void)
{
    for (int i = 0; i < database.row_count; i++) {
        if (database.rows[i].state == ROW_COMMITTED && !database.rows[i].is_sent) {
            sim_fail("event %d was committed and is not in the broker", i);
        }
    }
    if (database.data.held_count > 0) {
        sim_fail("event %d is still held", database.data.held[0].row);
    }
}

static void heal(void)
{
    sim_begin_phase(UINT64_MAX - 2);
    sim_trace("all faults heal");
    world.is_healing = true;
    database.fault_percent = 0;
    database.down_until_ms = 0;
    broker_leave(0);
    db_finish_writers();
    for (int i = 0; i < world.relay_count; i++) {
        sim_processes[i].paused_until_ms = 0;
    }
    come_to_rest();
    db_check_parked();
    db_redrive(true);
    come_to_rest();
    check_complete();
    /* And once more from the start: nothing is to be sent again. */
    for (int i = 0; i < world.relay_count; i++) {
        db_kill(i);
    }
    come_to_rest();
    check_complete();
}

static void run(uint64_t seed)
{
    for (int i = 0; i < RELAYS_MAX; i++) {
        world.relays[i] = NULL;
    }
    sim_reset(seed);
    bool is_faulty = !sim_once_in(8);
    db_reset(sim_once_in(3) ? DB_ONE_WRITER : DB_TICKS, is_faulty ? (int) sim_random(6) : 0);
    brokers_reset(sim_once_in(3) ? BROKER_LOG : BROKER_KAFKA);
    world.relay_count = sim_once_in(3) ? 1 : RELAYS_MAX;
    world.is_healing = false;
    sim_on_step = step;
    for (int i = 0; i < world.relay_count; i++) {
        start(i);
    }
    while (sim_take_step()) {
        step();
    }
    heal();
    database.fault_percent = 0;
    for (int i = 0; i < world.relay_count; i++) {
        stop(i);
    }
}

static const char *figures(void)
{
    static char text[200];
    snprintf(text, sizeof(text),
        "; %" PRId64 " events, %" PRId64 " starts, %" PRId64 " late copies, %" PRId64
        " copies after a fault",
        broker_counts.sent, world.restarts, broker_counts.late, broker_counts.repeats);
    return text;
}

int main(int argument_count, char **arguments)
{
    static const struct sim_program program = {
        .name = "relay_simulation",
        .promise = "nothing lost, overtaken, made up, or doubled without a reason",
        .run = run,
        .figures = figures,
    };
    return sim_main(argument_count, arguments, &program);
}
