#include "brokers.h"

#include <string.h>

#include "base/error.h"
#include "database.h"

struct broker_counts broker_counts;

static enum broker_kind kind;
static int next_of_key[DB_KEYS];

void brokers_reset(enum broker_kind the_kind)
{
    kind = the_kind;
    memset(next_of_key, 0, sizeof(next_of_key));
    local_log_reset();
    kafka_reset();
}

struct sl_broker *broker_open(void)
{
    return kind == BROKER_LOG ? local_log_open() : kafka_open();
}

void broker_step(void)
{
    if (kind == BROKER_KAFKA) {
        kafka_step();
    }
}

bool broker_serve(int process)
{
    return kind == BROKER_KAFKA && kafka_serve(process);
}

void broker_leave(int64_t until_ms)
{
    sim_trace("the broker is away for %lld ms", (long long) (until_ms - sim_now_ms));
    kafka_leave(until_ms);
}

bool broker_is_quiet(void)
{
    return kind == BROKER_LOG || kafka_is_quiet();
}

bool broker_condemns(int row)
{
    struct db_row *it = &database.rows[row];
    bool is_refused =
        it->is_poison && !it->is_mended && (it->is_stubborn || it->condemned_count == 0);
    it->condemned_count += is_refused ? 1 : 0;
    return is_refused;
}

void judge_arrival(int row, const char *explanation)
{
    struct db_row *it = &database.rows[row];
    sim_trace("event %d (key %d, number %d) arrives%s", row, it->key, it->sequence,
        it->is_sent ? " again" : "");
    if (it->state != ROW_COMMITTED) {
        sim_fail("event %d is in the broker, and its transaction was not committed", row);
    }
    if (it->is_sent) {
        if (explanation == NULL) {
            sim_fail("event %d is in the broker twice, and nothing explains it", row);
        }
        return;
    }
    if (it->sequence != next_of_key[it->key]) {
        sim_fail("event %d is number %d of its key %d, but number %d is due", row, it->sequence,
            it->key, next_of_key[it->key]);
    }
    next_of_key[it->key]++;
    it->is_sent = true;
    broker_counts.sent++;
}

/* The local log: appending and moving the position are one transaction. */

struct log_client {
    struct sl_broker broker; /* first, so that one is the other */
    int process;
    bool is_used;
};

static struct log_client clients[2 * SIM_PROCESSES];
static struct sl_position source_position;
static bool is_redriven[DB_ROWS_MAX];
static int64_t faults_then[DB_ROWS_MAX];
static bool was_held_then[DB_ROWS_MAX]; /* by another relay, which the broker had refused it to */

static bool is_one_of_several(void)
{
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        if (clients[i].is_used && clients[i].process != sim_current &&
            !sim_processes[clients[i].process].is_dead) {
            return true;
        }
    }
    return false;
}

static int log_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
{
    bool is_lost;
    (void) source;
    if (db_enter(((struct log_client *) (void *) broker)->process, &is_lost, error) != 0) {
        return -1;
    }
    *ret_position = source_position;
    return 0;
}

static int lost(bool is_lost, struct sluice_error *error)
{
    return is_lost ? sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "simulated: answer lost") : 0;
}

static int log_append(struct sl_broker *broker, const struct sl_append *append,
    size_t *ret_rejected, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter(((struct log_client *) (void *) broker)->process, &is_lost, error) != 0) {
        return -1;
    }
    if (sl_position_compare(append->position_before, source_position) != 0) {
        return sl_fail(error, SLUICE_CONFLICT, SLUICE_RETRY, "another relay was faster");
    }
    for (size_t i = 0; i < append->count; i++) {
        if (broker_condemns(db_row_of(&append->events[i]))) {
            *ret_rejected = i;
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "poison");
        }
    }
    for (size_t i = 0; i < append->count; i++) {
        int row = db_row_of(&append->events[i]);
        judge_arrival(row, NULL);
        faults_then[row] = database.fault_count;
        was_held_then[row] = is_one_of_several() && db_is_held(row);
    }
    source_position = append->position_after;
    db_check_covered(source_position, "the source's position moved");
    return lost(is_lost, error);
}

static int log_append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error)
{
    bool is_lost;
    int row = db_row_of(append->events);
    if (db_enter(((struct log_client *) (void *) broker)->process, &is_lost, error) != 0) {
        return -1;
    }
    if (broker_condemns(row)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "poison");
    }
    if (!is_redriven[row]) {
        /* A relay that stood still may hold an event that another one has sent meanwhile, or send
           one that another one has held since it was read: the double fault of decision 0004. */
        bool is_repeated = database.rows[row].is_sent &&
            (database.fault_count > faults_then[row] || was_held_then[row]);
        broker_counts.repeats += is_repeated ? 1 : 0;
        is_redriven[row] = true;
        judge_arrival(row, is_repeated ? "held by a relay that had stood still" : NULL);
    }
    return lost(is_lost, error);
}

static void log_close(struct sl_broker *broker)
{
    ((struct log_client *) (void *) broker)->is_used = false;
}

void local_log_reset(void)
{
    memset(clients, 0, sizeof(clients));
    memset(is_redriven, 0, sizeof(is_redriven));
    source_position = SL_POSITION_START;
}

struct sl_broker *local_log_open(void)
{
    static const struct sl_broker_ops ops = {
        .append = log_append,
        .append_once = log_append_once,
        .source_position = log_source_position,
        .close = log_close,
    };
    struct log_client *client = clients;
    while (client->is_used) {
        client++;
    }
    *client = (struct log_client) {
        .broker = {.ops = &ops, .is_dense = true}, .process = sim_current, .is_used = true};
    return &client->broker;
}
