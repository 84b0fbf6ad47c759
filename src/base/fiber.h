/*
 * base/fiber.h - straight code that waits without holding up the loop it runs on.
 *
 * A fiber is a function with a stack of its own on a loop's thread. Where it would block, it calls
 * sl_fiber_wait: its stack is left as it is, the loop goes on, and comes back to it when what it
 * waits for is there. Code that may run on a fiber or off one asks sl_fiber_current.
 *
 * Nothing that is held for a moment only (a mutex) may be held while a fiber waits.
 */
#ifndef SL_BASE_FIBER_H
#define SL_BASE_FIBER_H

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

/* Address space, of which only what is used costs memory. A page beneath it catches an overflow. */
enum { SL_FIBER_STACK_SIZE = 1 << 20 };

struct sl_fiber;

enum sl_fiber_reason {
    SL_FIBER_READY = 1,      /* the descriptor is readable or writable, or has failed */
    SL_FIBER_TIMEOUT = 2,    /* the time is over */
    SL_FIBER_WOKEN = 3,      /* sl_fiber_wake, perhaps for something that was seen before */
    SL_FIBER_INTERRUPTED = 4 /* sl_fiber_interrupt: told once */
};

/**
 * A fiber that calls `run(context)`, from the loop's next turn on. It keeps no loop alive.
 *
 * On success `*ret_fiber` is the caller's, to be given to sl_fiber_free once `run` has returned.
 */
int sl_fiber_start(uv_loop_t *loop, void (*run)(void *context), void *context,
    struct sl_fiber **ret_fiber, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Free a fiber whose function has returned. Not on the fiber itself; the loop must turn once more.
 * NULL is fine.
 */
void sl_fiber_free(struct sl_fiber *fiber);

/**
 * The fiber that this runs on; NULL: none.
 */
struct sl_fiber *sl_fiber_current(void);

/**
 * Wait on a fiber until `descriptor` is ready for `events` (UV_READABLE, UV_WRITABLE; no
 * descriptor: -1), `timeout_ms` are over (for ever: -1), or somebody wakes it. What was waited for
 * may not have come: look again. The descriptor may be closed afterwards.
 */
enum sl_fiber_reason sl_fiber_wait(int descriptor, int events, int64_t timeout_ms);

/**
 * Let `work(context)` run on libuv's thread pool, and wait for its end. For what can only block.
 */
void sl_fiber_offload(void (*work)(void *context), void *context);

/**
 * Let the fiber's wait return, or its next one. From any thread, until it is freed.
 */
void sl_fiber_wake(struct sl_fiber *fiber);

/**
 * As sl_fiber_wake, for somebody who wants it to stop what it does.
 */
void sl_fiber_interrupt(struct sl_fiber *fiber);

/**
 * Forget an interrupt of the current fiber that no wait has told of; nothing if there is none.
 */
void sl_fiber_forget_interrupt(void);

#endif
