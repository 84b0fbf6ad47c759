/*
 * cli/relay_thread.h - the relays of a process, each on a thread and a loop of its own.
 *
 * A relay waits for disks and servers; neither the gateway's streams nor the relay of another
 * database must wait with it. A thread opens, drives and closes its relay; others see only its
 * counters, which are atomic, and why it is away or has halted.
 *
 *   state  | opened  | server away | mistake, or fatal     | stop
 *   -------+---------+-------------+-----------------------+--------
 *   first  | running | away        | the start fails       |
 *   away   | running | away; tried | halted                | stopped
 *          |         | again       |                       |
 *   running|         | (the relay waits by itself) | halted| stopped
 */
#ifndef SL_CLI_RELAY_THREAD_H
#define SL_CLI_RELAY_THREAD_H

#include "console/console.h"
#include "relay/relay.h"

enum { SL_RELAY_THREAD_RELAYS_MAX = 16 };

struct sl_relay_thread;

/**
 * Start a thread with a relay for each of `options`; returns when each has been opened or its
 * server found away. A mistake (a reaction that is not SLUICE_RETRY) of any of them fails: then
 * none is left.
 *
 * `loop` is the caller's; `on_halt` is called on it, once for each relay that halts, with the
 * error. `options` and its texts are copied, but for a mapping, which must outlive the threads. On
 * success `*ret_thread` is the caller's, to be ended with sl_relay_thread_stop.
 */
int sl_relay_thread_start(uv_loop_t *loop, const struct sl_relay_options *options, size_t count,
    void (*on_halt)(void *context, const struct sluice_error *error), void *context,
    struct sl_relay_thread **ret_thread, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Let the relays confirm and close; `on_stopped` is called once on the caller's loop, when the
 * threads have ended and the object is freed. No source of it may be asked after this call.
 */
void sl_relay_thread_stop(
    struct sl_relay_thread *thread, void (*on_stopped)(void *context), void *context);

/**
 * The relays' metrics and states, for the console. The thread must outlive it.
 */
struct sl_console_source sl_relay_thread_source(struct sl_relay_thread *thread);

#endif
