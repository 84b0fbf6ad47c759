/*
 * consumer_simulation - the consumer's real code on a simulated database and broker, from one seed.
 *
 * One or two consumers of one name share partitions, whose records come again and again: the
 * partition changes hands, offsets are lost, relays have sent twice. Consumers are killed between
 * any two calls, so also between the database's commit and the offset's; database and broker fail.
 * Handlers give each of their answers, and have written something each time. What is committed is
 * judged at once: each effect once, in the order of its key; no offset ahead of its effects; no
 * attempt counted that the event did not spoil. Then all faults heal, everything must come to rest,
 * and after a redrive each event must have had its effect.
 */
#include <sluice/consumer.h>

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/error.h"
#include "database.h"
#include "lib/database.h"
#include "records.h"

enum { CONSUMERS_MAX = 2, HEALING_STEPS_MAX = 100000, ROWS_IN_A_RUN = 500 };

struct world {
    int consumer_count;
    sluice_consumer *consumers[CONSUMERS_MAX];
    bool is_healing;
    int64_t starts;
    int64_t effects;
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
    *ret_broker = records_open();
    return 0;
}

/* The effect is written first, so that every answer but the first two must undo it. */
static enum sluice_outcome handle(sluice_database *database_of_consumer,
    const struct sluice_event *event, void *context, struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(database_of_consumer);
    int row = 0;
    bool is_lost;
    (void) context;
    if (sscanf(event->id, "%8d", &row) != 1) {
        sim_fail("'%s' is no id of this world", event->id);
    }
    if (db_enter_store(store, &is_lost, error) != 0) {
        return SLUICE_FAILED; /* the event's fault it is not: the transaction is gone */
    }
    struct db_data *data = &database.data;
    if (data->effect_count == DB_ROWS_MAX) {
        sim_fail("there are more effects than events");
    }
    data->effects[data->effect_count++] = row;
    if (db_leave_store(store, is_lost, error) != 0) {
        return SLUICE_FAILED;
    }
    struct db_row *it = &database.rows[row];
    it->is_applied = false;
    if (database.fault_percent > 0 && sim_once_in(40)) {
        sim_trace("the handler of event %d asks for another time", row);
        return SLUICE_RETRY_LATER;
    }
    if (it->is_poison && !it->is_mended && (it->is_stubborn || it->condemned_count == 0)) {
        it->condemned_count++;
        sim_trace("the handler of event %d fails", row);
        return sim_once_in(4) ? SLUICE_REJECTED : SLUICE_FAILED;
    }
    it->is_applied = true;
    return sim_once_in(20) ? SLUICE_ALREADY_APPLIED : SLUICE_APPLIED;
}

static void start(int process)
{
    struct sluice_error error;
    struct sluice_consumer_options options = {
        .name = "c",
        .database = "simulated",
        .broker = "simulated",
        .attempts_max = 2,
        .retry_delay_ms = 10,
        .retry_delay_max_ms = 400,
        .batch_events_max = 1 + (int) sim_random(12),
    };
    sim_current = process;
    sim_processes[process] =
        (struct sim_process) {.clock_offset_ms = (int64_t) sim_random(600) - 300};
    sim_trace("starts");
    world.starts++;
    sluice_consumer **consumer = &world.consumers[process];
    if (sluice_consumer_open(&options, consumer, &error) != 0 ||
        sluice_consumer_subscribe(*consumer, "t0", handle, NULL, &error) != 0 ||
        sluice_consumer_subscribe(*consumer, "t1", handle, NULL, &error) != 0) {
        sim_fail("the consumer does not start: %s", error.text);
    }
    /* Its loop returns at once; from here on the simulation fires its timers. */
    sim_keeps_timers = true;
    if (sluice_consumer_run(*consumer, &error) != 0) {
        sim_fail("the consumer does not run: %s", error.text);
    }
    sim_keeps_timers = false;
}

static void stop(int process)
{
    sim_current = process;
    sim_trace("is gone");
    sluice_consumer_close(world.consumers[process]);
    sim_finish_closing();
    world.consumers[process] = NULL;
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
    if (world.consumers[process] == NULL) {
        if (world.is_healing || sim_once_in(4)) {
            start(process);
        }
    } else if (sim_processes[process].is_busy) {
        return;
    } else if (sim_processes[process].is_dead) {
        stop(process);
    } else if (sim_can_run(process)) {
        if (sim_once_in(3)) {
            records_wake(process);
        }
        if (!sim_fire_timer(process)) {
            advance_time();
        }
    }
}

/* Mostly short, now and then long. */
static int64_t some_time_ms(void)
{
    static const int64_t longest_ms[] = {10, 100, 1000, 10000};
    return (int64_t) sim_random((uint64_t) longest_ms[sim_random(4)]);
}

static void disturb(void)
{
    int process = (int) sim_random((uint64_t) world.consumer_count);
    sim_current = process;
    switch (sim_random(6)) {
    case 0:
        sim_trace("is killed");
        db_kill(process);
        break;
    case 1:
        sim_trace("is paused");
        sim_processes[process].paused_until_ms = sim_now_ms + some_time_ms();
        break;
    case 2:
        db_crash(sim_now_ms + some_time_ms());
        break;
    case 3:
        sim_now_ms += some_time_ms();
        break;
    case 4:
        records_reassign();
        break;
    default:
        db_redrive(false);
        break;
    }
}

/* The committed effects since the last look: each once, and in its key's order. */
static void judge_effects(void)
{
    static int next_of_key[DB_KEYS];
    static int judged_count;
    const struct db_data *data = db_seen_by(NULL);
    if (data->effect_count == 0) {
        memset(next_of_key, 0, sizeof(next_of_key));
        judged_count = 0;
    }
    for (; judged_count < data->effect_count; judged_count++) {
        const struct db_row *row = &database.rows[data->effects[judged_count]];
        if (!row->is_applied) {
            sim_fail("event %d has an effect though its handler has not done it",
                data->effects[judged_count]);
        }
        if (row->sequence != next_of_key[row->key]) {
            sim_fail("the effect of event %d is number %d of its key %d, but number %d is due",
                data->effects[judged_count], row->sequence, row->key, next_of_key[row->key]);
        }
        next_of_key[row->key]++;
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
    } else if (choice < 30) {
        if (database.row_count < ROWS_IN_A_RUN) {
            records_publish(1 + (int) sim_random(4));
        }
    } else {
        turn((int) sim_random((uint64_t) world.consumer_count));
    }
    judge_effects();
}

static bool is_quiet(void)
{
    for (int i = 0; i < database.data.held_count; i++) {
        if (database.data.held[i].state == SL_HELD_RETRYING) {
            return false;
        }
    }
    return records_are_done();
}

static void come_to_rest(void)
{
    for (int i = 0; !is_quiet(); i++) {
        if (i == HEALING_STEPS_MAX) {
            sim_fail("it does not come to rest after all faults have healed");
        }
        sim_count_step();
        turn((int) sim_random((uint64_t) world.consumer_count));
        judge_effects();
    }
}

static void heal(void)
{
    sim_begin_phase(UINT64_MAX - 2);
    sim_trace("all faults heal");
    world.is_healing = true;
    database.fault_percent = 0;
    database.down_until_ms = 0;
    for (int i = 0; i < world.consumer_count; i++) {
        sim_processes[i].paused_until_ms = 0;
    }
    come_to_rest();
    db_check_parked();
    db_redrive(true);
    come_to_rest();
    if (database.data.held_count > 0) {
        sim_fail("event %d is still held", database.data.held[0].row);
    }
    if (database.data.effect_count != database.row_count) {
        sim_fail("%d events have had %d effects", database.row_count, database.data.effect_count);
    }
    world.effects += database.data.effect_count;
}

static void run(uint64_t seed)
{
    memset(world.consumers, 0, sizeof(world.consumers));
    sim_reset(seed);
    bool is_faulty = !sim_once_in(8);
    db_reset(DB_ONE_WRITER, is_faulty ? (int) sim_random(6) : 0);
    world.consumer_count = sim_once_in(3) ? 1 : CONSUMERS_MAX;
    world.is_healing = false;
    records_reset(world.consumer_count);
    sim_on_step = step;
    judge_effects();
    for (int i = 0; i < world.consumer_count; i++) {
        start(i);
    }
    while (sim_take_step()) {
        step();
    }
    heal();
    for (int i = 0; i < world.consumer_count; i++) {
        stop(i);
    }
}

static const char *figures(void)
{
    static char text[100];
    snprintf(text, sizeof(text), "; %lld effects, %lld starts", (long long) world.effects,
        (long long) world.starts);
    return text;
}

int main(int argument_count, char **arguments)
{
    static const struct sim_program program = {
        .name = "consumer_simulation",
        .promise = "each effect once and in order, no offset ahead, no attempt made up",
        .run = run,
        .figures = figures,
    };
    return sim_main(argument_count, arguments, &program);
}
