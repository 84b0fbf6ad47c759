/*
 * The simulated database's dead letters. What the SQL of store/ does is done here in loops.
 */
#include "base/error.h"
#include "database.h"

static bool has_key_of(const struct db_held *held, int key)
{
    return database.rows[held->row].key == key;
}

static int has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error)
{
    bool is_lost;
    (void) stage;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    *ret_has_held = db_seen_by(store)->held_count > 0;
    return db_leave_store(store, is_lost, error);
}

static int key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error)
{
    bool is_lost;
    (void) stage;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    const struct db_data *data = db_seen_by(store);
    int row = db_row_of(event);
    struct sl_key_state state = {0};
    for (int i = 0; i < data->held_count; i++) {
        const struct db_held *held = &data->held[i];
        state.is_held = state.is_held || held->row == row;
        if (has_key_of(held, database.rows[row].key) &&
            sl_position_compare(held->position, position) < 0) {
            state.failed_count += held->state == SL_HELD_FAILED ? 1 : 0;
            state.pending_count += held->state != SL_HELD_FAILED ? 1 : 0;
        }
    }
    *ret_state = state;
    return db_leave_store(store, is_lost, error);
}

/* Only an answer that condemns the event itself uses up an attempt. */
static void check_attempts(int row, int attempts)
{
    if (attempts > database.rows[row].condemned_count) {
        sim_fail("an attempt of event %d was counted that nobody made", row);
    }
}

static int hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
{
    bool is_lost;
    int row = db_row_of(hold->event);
    if (db_enter_store(store, &is_lost, error) != 0 || db_lock(store, error) != 0) {
        return -1;
    }
    check_attempts(row, hold->attempts);
    struct db_data *data = &database.data;
    bool is_there = false;
    for (int i = 0; i < data->held_count; i++) {
        is_there = is_there || data->held[i].row == row;
    }
    if (!is_there) {
        sim_trace("holds event %d of key %d: %s", row, database.rows[row].key,
            sl_held_state_name(hold->state));
        data->held[data->held_count++] = (struct db_held) {
            .number = ++data->next_number,
            .row = row,
            .position = hold->position,
            .state = hold->state,
            .attempts = hold->attempts,
            .next_attempt_ms = hold->next_attempt_ms,
        };
    }
    return db_leave_store(store, is_lost, error);
}

static struct db_held *find(int64_t number)
{
    for (int i = 0; i < database.data.held_count; i++) {
        if (database.data.held[i].number == number) {
            return &database.data.held[i];
        }
    }
    return NULL;
}

static int held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0 || db_lock(store, error) != 0) {
        return -1;
    }
    struct db_held *held = find(change->number);
    if (held != NULL) {
        check_attempts(held->row, change->attempts);
        sim_trace("event %d: attempt %d, %s", held->row, change->attempts,
            sl_held_state_name(change->state));
        held->state = change->state;
        held->attempts = change->attempts;
        held->next_attempt_ms = change->next_attempt_ms;
    }
    return db_leave_store(store, is_lost, error);
}

/* The first waiting event of a key retries, unless one does already. */
static void release_next(int key, int64_t number, int64_t now_ms)
{
    struct db_held *next = NULL;
    for (int i = 0; i < database.data.held_count; i++) {
        struct db_held *held = &database.data.held[i];
        if (!has_key_of(held, key) || held->number == number) {
            continue;
        }
        if (held->state == SL_HELD_RETRYING) {
            return;
        }
        if (held->state == SL_HELD_WAITING && (next == NULL || held->number < next->number)) {
            next = held;
        }
    }
    if (next != NULL) {
        next->state = SL_HELD_RETRYING;
        next->next_attempt_ms = now_ms;
    }
}

static int held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0 || db_lock(store, error) != 0) {
        return -1;
    }
    struct db_held *held = find(number);
    if (held != NULL) {
        release_next(database.rows[held->row].key, number, now_ms);
    }
    return db_leave_store(store, is_lost, error);
}

static int held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0 || db_lock(store, error) != 0) {
        return -1;
    }
    struct db_held *held = find(number);
    if (held != NULL) {
        int key = database.rows[held->row].key;
        sim_trace("event %d of key %d is no longer held", held->row, key);
        if (!database.rows[held->row].is_sent && !database.data.is_marked[held->row]) {
            sim_fail("event %d is no longer held, and was neither sent nor applied", held->row);
        }
        release_next(key, number, now_ms);
        *held = database.data.held[--database.data.held_count];
    }
    return db_leave_store(store, is_lost, error);
}

static int held_due(struct sl_store *store, const struct sl_held_due_query *query,
    sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0) {
        return -1;
    }
    const struct db_data *data = db_seen_by(store);
    const struct db_held *due = NULL;
    for (int i = 0; i < data->held_count; i++) {
        const struct db_held *held = &data->held[i];
        if (held->state == SL_HELD_RETRYING &&
            sl_position_compare(held->position, query->position_max) <= 0 &&
            (due == NULL || held->next_attempt_ms < due->next_attempt_ms ||
                (held->next_attempt_ms == due->next_attempt_ms && held->number < due->number))) {
            due = held;
        }
    }
    if (db_leave_store(store, is_lost, error) != 0) {
        return -1;
    }
    *ret_due_ms = due == NULL ? INT64_MAX : due->next_attempt_ms;
    if (due != NULL && due->next_attempt_ms <= query->now_ms) {
        struct sl_held view = {.number = due->number,
            .event = database.rows[due->row].event,
            .attempts = due->attempts,
            .state = due->state};
        visit(context, &view);
    }
    return 0;
}

static int held_lock(struct sl_store *store, int64_t number, int attempts, bool *ret_is_ours,
    struct sluice_error *error)
{
    bool is_lost;
    if (db_enter_store(store, &is_lost, error) != 0 || db_lock(store, error) != 0) {
        return -1;
    }
    const struct db_held *held = find(number);
    bool is_ours = held != NULL && held->state == SL_HELD_RETRYING && held->attempts == attempts;
    if (db_leave_store(store, is_lost, error) != 0) {
        return -1;
    }
    *ret_is_ours = is_ours;
    return 0;
}

void db_redrive(bool is_all)
{
    struct db_data *data = &database.data;
    if (database.owner >= 0) {
        return; /* it would wait for the lock */
    }
    for (int i = 0; i < data->held_count; i++) {
        struct db_held *held = &data->held[i];
        struct db_row *row = &database.rows[held->row];
        row->is_mended = row->is_mended || is_all || sim_once_in(2);
        if (held->state == SL_HELD_FAILED) {
            sim_trace("event %d is redriven", held->row);
            held->state = SL_HELD_RETRYING;
            held->attempts = 0;
            held->next_attempt_ms = 0;
        }
    }
    for (int i = 0; i < data->held_count; i++) {
        struct db_held *held = &data->held[i];
        for (int j = 0; j < data->held_count && held->state == SL_HELD_RETRYING; j++) {
            const struct db_held *other = &data->held[j];
            if (other->number < held->number && other->state == SL_HELD_RETRYING &&
                has_key_of(other, database.rows[held->row].key)) {
                held->state = SL_HELD_WAITING;
            }
        }
    }
}

void db_check_parked(void)
{
    for (int i = 0; i < database.data.held_count; i++) {
        const struct db_held *held = &database.data.held[i];
        bool is_parked = held->state == SL_HELD_FAILED && database.rows[held->row].is_poison;
        for (int j = 0; j < database.data.held_count && !is_parked; j++) {
            const struct db_held *other = &database.data.held[j];
            is_parked = other->state == SL_HELD_FAILED && other->number < held->number &&
                database.rows[other->row].key == database.rows[held->row].key;
        }
        if (!is_parked) {
            sim_fail("event %d is held and no poison event of its key stands before it", held->row);
        }
    }
}

const struct sl_store_ops db_dead_letter_ops = {
    .has_held = has_held,
    .key_state = key_state,
    .hold = hold,
    .held_update = held_update,
    .held_remove = held_remove,
    .held_next = held_next,
    .held_due = held_due,
    .held_lock = held_lock,
};
