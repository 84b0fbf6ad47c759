/*
 * tests/simulation/world.h - a database and a broker in memory, which fail when a seed says so.
 *
 * Both are implementations of the product's own vtables (store/ops.h, broker/ops.h), so that the
 * relay's real code runs on them. Each call may fail before it has an effect, or after it (the
 * answer is lost), or condemn a poison event; a crash is the driver's: it forgets the relay. What
 * was committed, in which order, stays known to the world, which judges the log at the end.
 */
#ifndef TESTS_SIMULATION_WORLD_H
#define TESTS_SIMULATION_WORLD_H

#include "broker/ops.h"
#include "store/ops.h"

enum { WORLD_EVENTS_MAX = 4000, WORLD_KEYS = 7 };

struct world_row {
    struct sl_event event;
    int key;
    int sequence; /* of the key, in commit order */
    bool is_poison;
};

struct world_held {
    int64_t number;
    int row;
    enum sl_held_state state;
    int attempts;
    int64_t next_attempt_ms;
};

struct world {
    struct sl_store store;
    struct sl_broker broker;
    uint64_t random_state;
    int fault_percent; /* of calls that fail; 0: all is well */
    int64_t now_ms;
    struct world_row rows[WORLD_EVENTS_MAX]; /* position = index + 1 */
    int row_count;
    int next_sequence[WORLD_KEYS];
    char keys[WORLD_KEYS][8];
    int64_t confirmed_position;
    struct world_held held[WORLD_EVENTS_MAX];
    int held_count;
    int64_t next_number;
    struct world_held held_before[WORLD_EVENTS_MAX]; /* the open transaction's undo */
    int held_count_before;
    bool is_open;
    int log[2 * WORLD_EVENTS_MAX]; /* rows, in the order of their appending */
    int log_count;
    bool is_redriven[WORLD_EVENTS_MAX];
    int64_t source_position;
    int64_t calls;
};

/**
 * Start a world from a seed.
 */
void world_init(struct world *world, uint64_t seed);

/**
 * A random number below `bound`.
 */
uint64_t world_random(struct world *world, uint64_t bound);

/**
 * Commit a few events, some of them poison.
 */
void world_commit_events(struct world *world);

/**
 * What happens to a connection whose process is killed: an open transaction is rolled back.
 */
void world_crash(struct world *world);

/**
 * Mend all poison and redrive what failed, as a person would.
 */
void world_redrive(struct world *world);

/**
 * NULL if every committed event is in the log once and in the order of its key and nothing is held;
 * otherwise what is wrong. With `is_complete` false only order and repetition are judged.
 */
const char *world_judge(const struct world *world, bool is_complete);

#endif
