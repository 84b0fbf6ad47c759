#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

static struct world *of_store(struct sl_store *store)
{
    return (struct world *) (void *) ((char *) store - offsetof(struct world, store));
}

static struct world *of_broker(struct sl_broker *broker)
{
    return (struct world *) (void *) ((char *) broker - offsetof(struct world, broker));
}

/* SplitMix64: the whole run follows from the seed. */
uint64_t world_random(struct world *world, uint64_t bound)
{
    uint64_t z = (world->random_state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return (z ^ z >> 31) % bound;
}

static bool is_failing(struct world *world)
{
    world->calls++;
    return world_random(world, 100) < (uint64_t) world->fault_percent;
}

static int outage(struct sluice_error *error)
{
    return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "simulated outage");
}

void world_commit_events(struct world *world)
{
    for (uint64_t i = world_random(world, 4); i > 0 && world->row_count < WORLD_EVENTS_MAX; i--) {
        struct world_row *row = &world->rows[world->row_count++];
        row->key = (int) world_random(world, WORLD_KEYS);
        row->sequence = world->next_sequence[row->key]++;
        row->is_poison = world_random(world, 20) == 0;
        row->event = (struct sl_event) {
            .has_key = true,
            .topic = SL_TEXT("t"),
            .key = sl_text_of(world->keys[row->key]),
            .type = SL_TEXT("T"),
            .headers = SL_TEXT("{}"),
            .time_ms = world->now_ms,
        };
        snprintf(row->event.id, sizeof(row->event.id), "%d", world->row_count - 1);
    }
}

void world_crash(struct world *world)
{
    if (world->is_open) {
        memcpy(world->held, world->held_before, sizeof(world->held));
        world->held_count = world->held_count_before;
        world->is_open = false;
    }
}

static int begin(struct sl_store *store, struct sluice_error *error)
{
    struct world *world = of_store(store);
    if (is_failing(world)) {
        return outage(error);
    }
    memcpy(world->held_before, world->held, sizeof(world->held));
    world->held_count_before = world->held_count;
    world->is_open = true;
    return 0;
}

static int commit(struct sl_store *store, struct sluice_error *error)
{
    struct world *world = of_store(store);
    if (is_failing(world)) {
        if (world_random(world, 2) == 0) {
            world->is_open = false; /* committed, and the answer lost */
        }
        world_crash(world);
        return outage(error);
    }
    world->is_open = false;
    return 0;
}

static void rollback(struct sl_store *store)
{
    world_crash(of_store(store));
}

static bool in_transaction(const struct sl_store *store)
{
    return of_store((struct sl_store *) (uintptr_t) store)->is_open;
}

static int outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    struct world *world = of_store(store);
    if (is_failing(world)) {
        return outage(error);
    }
    *ret_state = (struct sl_outbox_state) {
        .position = {0, world->confirmed_position},
        .last = {0, world->row_count},
    };
    return 0;
}

static int outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
{
    struct world *world = of_store(store);
    (void) size_max;
    if (is_failing(world)) {
        return outage(error);
    }
    if (batch->capacity < count_max) {
        batch->events = sl_reallocate(batch->events, count_max * sizeof(*batch->events));
        batch->positions = sl_reallocate(batch->positions, count_max * sizeof(*batch->positions));
        batch->capacity = count_max;
    }
    batch->count = 0;
    for (int64_t i = position.id; i < world->row_count && batch->count < count_max; i++) {
        batch->events[batch->count] = world->rows[i].event;
        batch->positions[batch->count++] = (struct sl_position) {0, i + 1};
    }
    return 0;
}

static int confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error)
{
    struct world *world = of_store(store);
    (void) reached_ms;
    if (is_failing(world)) {
        return outage(error);
    }
    world->confirmed_position =
        position.id > world->confirmed_position ? position.id : world->confirmed_position;
    return 0;
}

static int has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error)
{
    struct world *world = of_store(store);
    (void) stage;
    if (is_failing(world)) {
        return outage(error);
    }
    *ret_has_held = world->held_count > 0;
    return 0;
}

static int row_of(const struct sl_event *event)
{
    return atoi(event->id);
}

static int key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error)
{
    struct world *world = of_store(store);
    (void) stage;
    if (is_failing(world)) {
        return outage(error);
    }
    struct sl_key_state state = {0};
    for (int i = 0; i < world->held_count; i++) {
        state.is_held |= world->held[i].row == row_of(event);
        if (world->rows[world->held[i].row].key == world->rows[row_of(event)].key &&
            world->held[i].row + 1 < position.id) {
            state.failed_count += world->held[i].state == SL_HELD_FAILED ? 1 : 0;
            state.pending_count += world->held[i].state != SL_HELD_FAILED ? 1 : 0;
        }
    }
    *ret_state = state;
    return 0;
}

static int hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
{
    struct world *world = of_store(store);
    if (is_failing(world)) {
        return outage(error);
    }
    int row = row_of(hold->event);
    for (int i = 0; i < world->held_count; i++) {
        if (world->held[i].row == row) {
            return 0;
        }
    }
    world->held[world->held_count++] = (struct world_held) {
        .number = ++world->next_number,
        .row = row,
        .state = hold->state,
        .attempts = hold->attempts,
        .next_attempt_ms = hold->next_attempt_ms,
    };
    return 0;
}

static struct world_held *find_held(struct world *world, int64_t number)
{
    for (int i = 0; i < world->held_count; i++) {
        if (world->held[i].number == number) {
            return &world->held[i];
        }
    }
    return NULL;
}

static int held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error)
{
    struct world *world = of_store(store);
    if (is_failing(world)) {
        return outage(error);
    }
    struct world_held *held = find_held(world, change->number);
    if (held != NULL) {
        held->state = change->state;
        held->attempts = change->attempts;
        held->next_attempt_ms = change->next_attempt_ms;
    }
    return 0;
}

/* The first waiting event of a key retries, unless one does already. */
static void release_next(struct world *world, int key)
{
    struct world_held *next = NULL;
    for (int i = 0; i < world->held_count; i++) {
        struct world_held *held = &world->held[i];
        if (world->rows[held->row].key != key) {
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
        next->next_attempt_ms = 0;
    }
}

static int held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    struct world *world = of_store(store);
    (void) now_ms;
    if (is_failing(world)) {
        return outage(error);
    }
    struct world_held *held = find_held(world, number);
    if (held != NULL) {
        int key = world->rows[held->row].key;
        *held = world->held[--world->held_count];
        release_next(world, key);
    }
    return 0;
}

static int held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error)
{
    (void) store;
    (void) number;
    (void) now_ms;
    (void) error;
    return 0; /* only for the policy skip, which has no order to judge */
}

static int held_due(struct sl_store *store, const struct sl_held_due_query *query,
    sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error)
{
    struct world *world = of_store(store);
    if (is_failing(world)) {
        return outage(error);
    }
    const struct world_held *due = NULL;
    for (int i = 0; i < world->held_count; i++) {
        const struct world_held *held = &world->held[i];
        if (held->state == SL_HELD_RETRYING && held->row + 1 <= query->position_max.id &&
            (due == NULL || held->next_attempt_ms < due->next_attempt_ms)) {
            due = held;
        }
    }
    *ret_due_ms = due == NULL ? INT64_MAX : 0;
    if (due != NULL) {
        struct sl_held view = {.number = due->number,
            .event = world->rows[due->row].event,
            .attempts = due->attempts,
            .state = due->state};
        visit(context, &view);
    }
    return 0;
}

static int append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error)
{
    struct world *world = of_broker(broker);
    bool is_lost = is_failing(world);
    if (is_lost && world_random(world, 2) == 0) {
        return outage(error);
    }
    if (append->position_before.id != world->source_position) {
        return sl_fail(error, SLUICE_CONFLICT, SLUICE_RETRY, "another relay was faster");
    }
    for (size_t i = 0; i < append->count; i++) {
        if (world->rows[row_of(&append->events[i])].is_poison) {
            *ret_rejected = i;
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "poison");
        }
    }
    for (size_t i = 0; i < append->count; i++) {
        int row = row_of(&append->events[i]);
        world->log[world->log_count++] = row;
    }
    world->source_position = append->position_after.id;
    return is_lost ? outage(error) : 0;
}

static int append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error)
{
    struct world *world = of_broker(broker);
    int row = row_of(append->events);
    bool is_lost = is_failing(world);
    if (is_lost && world_random(world, 2) == 0) {
        return outage(error);
    }
    if (world->rows[row].is_poison) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "poison");
    }
    if (!world->is_redriven[row]) {
        world->is_redriven[row] = true;
        world->log[world->log_count++] = row;
    }
    return is_lost ? outage(error) : 0;
}

static int source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
{
    struct world *world = of_broker(broker);
    (void) source;
    if (is_failing(world)) {
        return outage(error);
    }
    *ret_position = (struct sl_position) {0, world->source_position};
    return 0;
}

static const struct sl_store_ops store_ops = {
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .in_transaction = in_transaction,
    .outbox_state = outbox_state,
    .outbox_read = outbox_read,
    .confirm = confirm,
    .has_held = has_held,
    .key_state = key_state,
    .hold = hold,
    .held_update = held_update,
    .held_remove = held_remove,
    .held_next = held_next,
    .held_due = held_due,
};

static const struct sl_broker_ops broker_ops = {
    .append = append,
    .append_once = append_once,
    .source_position = source_position,
};

void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->store.ops = &store_ops;
    world->broker.ops = &broker_ops;
    world->random_state = seed;
    world->fault_percent = (int) world_random(world, 12);
    for (int i = 0; i < WORLD_KEYS; i++) {
        snprintf(world->keys[i], sizeof(world->keys[i]), "k%d", i);
    }
}

void world_redrive(struct world *world)
{
    for (int i = 0; i < world->row_count; i++) {
        world->rows[i].is_poison = false;
    }
    for (int i = 0; i < world->held_count; i++) {
        if (world->held[i].state == SL_HELD_FAILED) {
            world->held[i].state = SL_HELD_RETRYING;
            world->held[i].attempts = 0;
        }
        world->held[i].next_attempt_ms = 0;
    }
}

const char *world_judge(const struct world *world, bool is_complete)
{
    static int times[WORLD_EVENTS_MAX];
    int last_sequence[WORLD_KEYS];
    memset(times, 0, sizeof(times));
    memset(last_sequence, -1, sizeof(last_sequence));
    for (int i = 0; i < world->log_count; i++) {
        const struct world_row *row = &world->rows[world->log[i]];
        if (times[world->log[i]]++ > 0) {
            return "an event is in the log twice";
        }
        if (row->sequence <= last_sequence[row->key]) {
            return "an event was overtaken by a later one of its key";
        }
        last_sequence[row->key] = row->sequence;
    }
    for (int i = 0; is_complete && i < world->row_count; i++) {
        if (times[i] == 0) {
            return "a committed event is not in the log";
        }
    }
    return is_complete && world->held_count > 0 ? "an event is still held" : NULL;
}
