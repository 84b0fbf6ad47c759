/*
 * tests/fault/sweep.h - an operation again and again, with another allocation failing each time.
 *
 *     SWEEP(sweep) {
 *         ... make what the operation needs ...
 *         sweep_arm(&sweep);
 *         int status = operation(..., &error);
 *         sweep_disarm(&sweep, status, &error);
 *         ... status is 0: it has happened; -1: nothing has ...
 *     }
 *
 * The loop ends with the first round in which no allocation was left to fail. Single-threaded: the
 * countdown is the process's.
 */
#ifndef TESTS_FAULT_SWEEP_H
#define TESTS_FAULT_SWEEP_H

#include <jansson.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/memory.h"
#include "support/unit.h"

struct sweep {
    long countdown;   /* the allocation that fails in this round */
    long stride;      /* 1: each of them */
    long failed;      /* rounds in which the operation reported it */
    bool is_complete; /* the last round had no failure in it */
};

#define SWEEP_EACH(sweep, every)                                                                   \
    for (struct sweep sweep = {.countdown = 1, .stride = (every)}; !sweep.is_complete;             \
        sweep.countdown += sweep.stride)
#define SWEEP(sweep) SWEEP_EACH(sweep, 1)

static void *sweep_sqlite_allocate(int size)
{
    return sl_allocate((size_t) size);
}

static void *sweep_sqlite_reallocate(void *memory, int size)
{
    return sl_reallocate(memory, (size_t) size);
}

static int sweep_sqlite_size(void *memory)
{
    return memory == NULL ? 0 : (int) malloc_usable_size(memory);
}

static int sweep_sqlite_round(int size)
{
    return (size + 7) & ~7;
}

static int sweep_sqlite_start(void *context)
{
    (void) context;
    return SQLITE_OK;
}

static void sweep_sqlite_stop(void *context)
{
    (void) context;
}

/* Let SQLite and jansson have their memory from us, so that theirs fails, too. Before their use. */
static inline void sweep_take_over(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = sweep_sqlite_allocate,
        .xFree = sl_free,
        .xRealloc = sweep_sqlite_reallocate,
        .xSize = sweep_sqlite_size,
        .xRoundup = sweep_sqlite_round,
        .xInit = sweep_sqlite_start,
        .xShutdown = sweep_sqlite_stop,
    };
    json_set_alloc_funcs(sl_allocate, sl_free);
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK) {
        abort(); /* SQLite was in use before */
    }
}

/* From here on the allocations count. */
static inline void sweep_arm(struct sweep *sweep)
{
    sl_memory_fail_after(sweep->countdown);
}

/*
 * They count no more. A failure must have been reported as an outage (an error that the same call
 * may survive later) or survived; without one the operation must have succeeded.
 */
static inline void sweep_disarm(struct sweep *sweep, int status, const struct sluice_error *error)
{
    sweep->is_complete = sl_memory_fail_after(0) > 0;
    ck_assert_msg(status == 0 || !sweep->is_complete, "fails by itself: %s", error->text);
    if (status != 0) {
        sweep->failed++;
        ck_assert_msg(error->reaction == SLUICE_RETRY, "allocation %ld: %s: %s", sweep->countdown,
            sluice_code_name(error->code), error->text);
    }
}

#define FAULT_MAIN(suite_name, ...)                                                                \
    UNIT_TESTS(suite_name, __VA_ARGS__)                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        sweep_take_over();                                                                         \
        return run_unit_tests();                                                                   \
    }

#endif
