/*
 * cli/relay_thread_internal.h - what the threads (relay_thread.c) and their report to the console
 * (relay_report.c) share.
 */
#ifndef SL_CLI_RELAY_THREAD_INTERNAL_H
#define SL_CLI_RELAY_THREAD_INTERNAL_H

#include <pthread.h>

#include "cli/relay_thread.h"

/* One relay and its thread. */
struct sl_relay_member {
    struct sl_relay_thread *group;
    pthread_t handle;
    uv_loop_t loop; /* the thread's, as all handles on it */
    uv_async_t stop;
    uv_timer_t tick;
    uv_timer_t reopen; /* while the server is away */
    int64_t reopen_delay_ms;
    struct sl_relay *relay;
    struct sl_relay_options options;
    char *database; /* the options' texts */
    char *broker;
    char *name; /* the database, for people: without its password */
    const char *sink;
    int result;                                   /* of the first opening; with `failure` */
    _Atomic(const struct sl_relay_stats *) stats; /* never NULL */
    _Atomic int64_t turned_ms;                    /* monotonic: when the loop last turned */
    pthread_mutex_t lock;                         /* of `away` */
    struct sluice_error away;                     /* why; SLUICE_OK if it is not */
    struct sluice_error failure; /* written by the thread before is_halted, and never after */
    atomic_bool is_halted;
    atomic_bool has_ended;
    bool is_started;
    bool is_joined;
    bool is_told; /* the caller's loop: on_halt was called */
};

struct sl_relay_thread {
    uv_async_t notice; /* the caller's loop: a relay has halted, or a thread has ended */
    uv_sem_t opened;   /* posted once by each thread */
    struct sl_relay_member members[SL_RELAY_THREAD_RELAYS_MAX];
    size_t count;
    bool is_stopping;
    void (*on_halt)(void *context, const struct sluice_error *error);
    void *halt_context;
    void (*on_stopped)(void *context);
    void *stop_context;
};

#endif
