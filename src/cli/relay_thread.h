/*
 * cli/relay_thread.h - the relays of a process, on a thread and a loop of their own.
 *
 * A relay waits for disks; the gateway's streams must not wait with it. The thread opens, drives
 * and closes the relays; others see only their counters, which are atomic, and why one has halted.
 */
#ifndef SL_CLI_RELAY_THREAD_H
#define SL_CLI_RELAY_THREAD_H

#include "console/console.h"
#include "relay/relay.h"

enum { SL_RELAY_THREAD_RELAYS_MAX = 16 };

struct sl_relay_thread;

/**
 * Start the thread and open a relay for each of `options`; returns when all are open or one has
 * failed (then none is left).
 *
 * `loop` is the caller's; `on_halt` is called on it, once for each relay that halts, with the
 * error. On success `*ret_thread` is the caller's, to be ended with sl_relay_thread_stop.
 */
int sl_relay_thread_start(uv_loop_t *loop, const struct sl_relay_options *options, size_t count,
    void (*on_halt)(void *context, const struct sluice_error *error), void *context,
    struct sl_relay_thread **ret_thread, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Let the relays confirm and close; `on_stopped` is called once on the caller's loop, when the
 * thread has ended and the object is freed. No source of it may be asked after this call.
 */
void sl_relay_thread_stop(
    struct sl_relay_thread *thread, void (*on_stopped)(void *context), void *context);

/**
 * The relays' metrics and states, for the console. The thread must outlive it.
 */
struct sl_console_source sl_relay_thread_source(struct sl_relay_thread *thread);

#endif
