/*
 * lib/background.h - a thread with a connection of its own, and the jobs that wait for it.
 */
#ifndef SL_LIB_BACKGROUND_H
#define SL_LIB_BACKGROUND_H

#include "lib/database.h"

/* The most jobs that wait. */
enum { SL_JOBS_MAX = 1024 };

/* What runs on the thread; embedded into something larger. `run` frees or passes on the job. */
struct sl_job {
    struct sl_job *next;
    void (*run)(struct sl_job *job, sluice_database *database);
};

struct sl_background;

/**
 * Start a thread that runs jobs on `take_database`, which passes to it on success only. `on_end`
 * (may be NULL) is called on that thread, last of all.
 */
int sl_background_start(sluice_database *take_database, void (*on_end)(void *context),
    void *context, struct sl_background **ret_background, struct sluice_error *error)
    __attribute__((warn_unused_result));

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
 * Wait for the end, close its database and free it; NULL is fine.
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
