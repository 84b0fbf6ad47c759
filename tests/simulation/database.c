#include "database.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

struct connection {
    struct sl_store store; /* first, so that one is the other */
    int process;
    bool is_used;
    bool is_open; /* as far as the client knows: it has begun a transaction */
};

struct database database;

static struct connection connections[DB_CONNECTIONS];

static struct connection *of(const struct sl_store *store)
{
    return (struct connection *) (uintptr_t) store;
}

static int number_of(const struct sl_store *store)
{
    return (int) (of(store) - connections);
}

int db_row_of(const struct sl_event *event)
{
    int row = -1;
    return sscanf(event->id, "%8d", &row) == 1 ? row : -1;
}

struct sl_position db_position_of(int row)
{
    return (struct sl_position) {database.rows[row].tick, row + 1};
}

static void copy_data(struct db_data *to, const struct db_data *from)
{
    to->held_count = from->held_count;
    to->effect_count = from->effect_count;
    to->next_number = from->next_number;
    memcpy(to->held, from->held, (size_t) from->held_count * sizeof(from->held[0]));
    memcpy(to->is_marked, from->is_marked, (size_t) database.row_count);
    memcpy(to->effects, from->effects, (size_t) from->effect_count * sizeof(from->effects[0]));
}

static void undo(void)
{
    if (database.owner >= 0) {
        copy_data(&database.data, &database.undo[0]);
        database.owner = -1;
        database.depth = 0;
    }
}

static int outage(const char *what, struct sluice_error *error)
{
    return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "simulated: %s", what);
}

void db_kill(int process)
{
    sim_processes[process].is_dead = true;
    if (database.owner >= 0 && connections[database.owner].process == process) {
        undo();
    }
}

int db_enter(int process, bool *ret_is_lost, struct sluice_error *error)
{
    *ret_is_lost = false;
    if (!sim_processes[process].is_dead && sim_maybe_pause()) {
        database.fault_count++;
    }
    if (sim_processes[process].is_dead) {
        return outage("the process is dead", error);
    }
    if (sim_random(100) >= (uint64_t) database.fault_percent) {
        return 0;
    }
    database.fault_count++;
    switch (sim_random(8)) {
    case 0:
        sim_trace("dies in a call");
        db_kill(process);
        return outage("the process is dead", error);
    case 1:
    case 2:
    case 3:
        sim_trace("the answer to a call gets lost");
        *ret_is_lost = true;
        return 0;
    default:
        sim_trace("a call fails");
        return outage("no connection", error);
    }
}

/* A connection that broke takes its transaction with it. */
static void disconnect(struct sl_store *store)
{
    of(store)->is_open = false;
    if (database.owner == number_of(store)) {
        undo();
    }
}

int db_enter_store(struct sl_store *store, bool *ret_is_lost, struct sluice_error *error)
{
    if (db_enter(of(store)->process, ret_is_lost, error) != 0) {
        disconnect(store);
        return -1;
    }
    if (sim_now_ms < database.down_until_ms ||
        (of(store)->is_open && database.owner != number_of(store))) {
        disconnect(store);
        return outage("the database is away, or was", error);
    }
    return 0;
}

int db_leave_store(struct sl_store *store, bool is_lost, struct sluice_error *error)
{
    if (!is_lost) {
        return 0;
    }
    disconnect(store);
    return outage("the answer was lost", error);
}

const struct db_data *db_seen_by(struct sl_store *store)
{
    return database.owner >= 0 && (store == NULL || database.owner != number_of(store))
        ? &database.undo[0]
        : &database.data;
}

int db_lock(struct sl_store *store, struct sluice_error *error)
{
    return database.owner >= 0 && database.owner != number_of(store)
        ? outage("another transaction has the lock", error)
        : 0;
}

static void close_connection(struct sl_store *store)
{
    disconnect(store);
    of(store)->is_used = false;
}

static int begin(struct sl_store *store, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0 || db_lock(store, error) != 0) {
        return -1;
    }
    copy_data(&database.undo[0], &database.data);
    of(store)->is_open = true;
    database.owner = number_of(store);
    database.depth = 1;
    return db_leave_store(store, is_lost, error);
}

static int commit(struct sl_store *store, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    of(store)->is_open = false;
    database.owner = -1;
    database.depth = 0;
    return db_leave_store(store, is_lost, error);
}

static void rollback(struct sl_store *store)
{
    disconnect(store);
}

static bool in_transaction(const struct sl_store *store)
{
    return of(store)->is_open;
}

static int explain_rollback(const struct sl_store *store, struct sluice_error *error)
{
    (void) store;
    return outage("the connection broke", error);
}

static int savepoint(struct sl_store *store, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (database.depth == DB_DEPTH) {
        sim_fail("more than %d savepoints", DB_DEPTH);
    }
    copy_data(&database.undo[database.depth++], &database.data);
    return db_leave_store(store, is_lost, error);
}

static int savepoint_end(struct sl_store *store, bool is_kept, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (database.depth < 2) {
        sim_fail("a savepoint is ended that was not set");
    }
    database.depth--;
    if (!is_kept) {
        copy_data(&database.data, &database.undo[database.depth]);
    }
    return db_leave_store(store, is_lost, error);
}

static int outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    *ret_state = (struct sl_outbox_state) {
        .position = database.confirmed,
        .confirmed_ms = database.confirmed_ms,
        .last = database.order_count == 0
            ? SL_POSITION_START
            : db_position_of(database.order[database.order_count - 1]),
    };
    return db_leave_store(store, is_lost, error);
}

/* What has become visible since the last tick becomes the next one. */
static void make_tick(void)
{
    int first_open = database.row_count;
    int before = database.order_count;
    for (int i = database.first_without_tick; i < database.row_count; i++) {
        struct db_row *row = &database.rows[i];
        if (row->state == ROW_COMMITTED && row->tick == 0) {
            row->tick = database.last_tick + 1;
            database.order[database.order_count++] = i;
        } else if (row->state == ROW_OPEN && i < first_open) {
            first_open = i;
        }
    }
    database.first_without_tick = first_open;
    database.last_tick += database.order_count > before ? 1 : 0;
}

/* The first row in the order that stands behind the position. */
static int find_after(struct sl_position position)
{
    int i = database.order_count;
    while (i > 0 && sl_position_compare(db_position_of(database.order[i - 1]), position) > 0) {
        i--;
    }
    return i;
}

static int outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    bool is_lost;
    (void) size_max;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (batch->capacity < count_max) {
        batch->events = sl_reallocate(batch->events, count_max * sizeof(*batch->events));
        batch->positions = sl_reallocate(batch->positions, count_max * sizeof(*batch->positions));
        batch->capacity = count_max;
    }
    int at = find_after(position);
    if (at == database.order_count && database.kind == DB_TICKS) {
        make_tick();
    }
    batch->count = 0;
    while (at < database.order_count && batch->count < count_max) {
        int row = database.order[at++];
        batch->events[batch->count] = database.rows[row].event;
        batch->positions[batch->count++] = db_position_of(row);
    }
    return db_leave_store(store, is_lost, error);
}

bool db_is_held(int row)
{
    const struct db_data *data = db_seen_by(NULL);
    for (int i = 0; i < data->held_count; i++) {
        if (data->held[i].row == row) {
            return true;
        }
    }
    return false;
}

void db_check_covered(struct sl_position position, const char *what)
{
    while (database.covered_count < database.order_count) {
        int row = database.order[database.covered_count];
        if (sl_position_compare(db_position_of(row), position) > 0) {
            return;
        }
        if (!database.rows[row].is_sent && !db_is_held(row)) {
            sim_fail("%s, but an event before it is neither in the broker nor held", what);
        }
        database.covered_count++;
    }
}

static int confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (sl_position_compare(position, database.confirmed) > 0) {
        sim_trace("confirms %lld.%lld", (long long) position.tick, (long long) position.id);
        db_check_covered(position, "a position was confirmed");
        database.confirmed = position;
        database.confirmed_ms = reached_ms;
    }
    return db_leave_store(store, is_lost, error);
}

static int lease(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
    struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (strcmp(database.lease_holder, holder) == 0 || database.lease_ends_ms <= sim_now_ms) {
        snprintf(database.lease_holder, sizeof(database.lease_holder), "%s", holder);
        database.lease_ends_ms = sim_now_ms + ttl_ms;
    }
    *ret_is_held = strcmp(database.lease_holder, holder) == 0;
    return db_leave_store(store, is_lost, error);
}

static int lease_end(struct sl_store *store, const char *holder, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (strcmp(database.lease_holder, holder) == 0) {
        database.lease_ends_ms = 0;
    }
    return db_leave_store(store, is_lost, error);
}

static int inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
{
    bool is_lost;
    int row = -1;
    (void) consumer;
    (void) now_ms;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    if (sscanf(event_id, "%8d", &row) != 1) {
        sim_fail("'%s' is no id of this world", event_id);
    }
    *ret_is_new = !database.data.is_marked[row];
    database.data.is_marked[row] = true;
    return db_leave_store(store, is_lost, error);
}

static int inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error)
{
    bool is_lost;
    (void) consumer;
    (void) before_ms;
    (void) count_max;
    *ret_deleted = 0;
    return db_enter_store(store, &is_lost, error) == 0 ? db_leave_store(store, is_lost, error) : -1;
}

static int count_consumed(
    struct sl_store *store, const struct sl_consumed *consumed, struct sluice_error *error)
{
    bool is_lost;
    (void) consumed;
    return db_enter_store(store, &is_lost, error) == 0 ? db_leave_store(store, is_lost, error) : -1;
}

static bool has_changed(struct sl_store *store)
{
    (void) store;
    return true;
}

struct sl_store *db_open(void)
{
    static struct sl_store_ops ops;
    ops = db_dead_letter_ops;
    ops.close = close_connection;
    ops.has_changed = has_changed;
    ops.begin = begin;
    ops.commit = commit;
    ops.rollback = rollback;
    ops.in_transaction = in_transaction;
    ops.explain_rollback = explain_rollback;
    ops.savepoint = savepoint;
    ops.savepoint_end = savepoint_end;
    ops.outbox_state = outbox_state;
    ops.outbox_read = outbox_read;
    ops.confirm = confirm;
    ops.lease = lease;
    ops.lease_end = lease_end;
    ops.inbox_begin = inbox_begin;
    ops.inbox_retain = inbox_retain;
    ops.count_consumed = count_consumed;
    for (int i = 0; i < DB_CONNECTIONS; i++) {
        if (!connections[i].is_used) {
            connections[i] = (struct connection) {
                .store = {.ops = &ops, .id = "source"}, .process = sim_current, .is_used = true};
            return &connections[i].store;
        }
    }
    sim_fail("more than %d connections", DB_CONNECTIONS);
}

void db_reset(enum db_kind kind, int fault_percent)
{
    memset(&database, 0, offsetof(struct database, data));
    database.kind = kind;
    database.fault_percent = fault_percent;
    memset(&database.data, 0, sizeof(database.data));
    for (int i = 0; i < DB_DEPTH; i++) {
        memset(database.undo[i].is_marked, 0, sizeof(database.undo[i].is_marked));
    }
    database.depth = 0;
    database.owner = -1;
    memset(connections, 0, sizeof(connections));
    memset(database.key_writer, -1, sizeof(database.key_writer));
    for (int i = 0; i < DB_KEYS; i++) {
        snprintf(database.keys[i], sizeof(database.keys[i]), "k%d", i);
    }
}
