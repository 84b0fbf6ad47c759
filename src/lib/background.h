/*
 * lib/background.h - a connection with a thread of its own, or a fiber, and the jobs that wait for
 * it.
 */
#ifndef SL_LIB_BACKGROUND_H
#define SL_LIB_BACKGROUND_H

#include "lib/database.h"

/* The most jobs that wait. */
enum { SL_JOBS_MAX = 1024 };

/* What runs there; embedded into something larger. `run` frees or passes on the job. */
struct sl_job {
    struct sl_job *next;
    void (*run)(struct sl_job *job, sluice_database *database);
};

struct sl_background;
struct uv_loop_s;

/**
 * Start a thread that runs jobs on `take_database`, which passes to it on success only. `on_end`
 * (may be NULL) is called on that thread, last of all.
 */
int sl_background_start(sluice_database *take_database, void (*on_end)(void *context),
    void *context, struct sl_background **ret_background, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * As sl_background_start, with a fiber on `loop` instead of a thread. Everything is for the loop's
 * thread then.
 */
int sl_background_start_fiber(sluice_database *take_database, struct uv_loop_s *loop,
    void (*on_end)(void *context), void *context, struct sl_background **ret_background,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Interrupt the statement that runs, from the thread of whoever waits for it.
 */
void sl_background_interrupt(struct sl_background *background);

/**
 * Whether it is a thread.
 */
bool sl_background_has_thread(const struct sl_background *background);

/**
 * Put a job behind the others. False if too many wait, or if it ends; the job stays the caller's.
 */
bool sl_background_put(struct sl_background *background, struct sl_job *job)
    __attribute__((warn_unused_result));

/**
 * Take back a job that has not begun. False if it has.
 */
bool sl_background_take_back(struct sl_background *background, struct sl_job *job)
    __attribute__((warn_unused_result));

/**
 * Let it end once no job is left. Does not wait.
 */
void sl_background_end(struct sl_background *background);

/**
 * Wait for the end, close its database and free it; NULL is fine. A fiber must have ended.
 */
void sl_background_join(struct sl_background *background);

/**
 * The database that its jobs run on.
 */
sluice_database *sl_background_database(struct sl_background *background);

/**
 * Run a detached listener for an event, later, in a transaction of its own.
 */
void sl_detach(
    struct sl_registry *registry, const struct sl_listener *listener, const struct sl_heard *heard);

#endif
