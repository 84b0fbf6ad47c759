#include "lib/background.h"

#include <pthread.h>
#include <signal.h>
#include <uv.h>

#include "base/error.h"
#include "base/fiber.h"
#include "base/memory.h"
#include "lib/listeners.h"
#include "lib/transaction.h"

struct sl_background {
    sluice_database *database;
    pthread_t thread;
    struct sl_fiber *fiber; /* instead of the thread, or NULL */
    uv_mutex_t mutex;
    uv_cond_t changed;
    struct sl_job *first;
    struct sl_job **last;
    size_t waiting;
    bool is_ending;
    void (*on_end)(void *context);
    void *context;
};

/* Wait for something to change; behind the mutex. */
static void wait_for_change(struct sl_background *background)
{
    if (background->fiber == NULL) {
        uv_cond_wait(&background->changed, &background->mutex);
        return;
    }
    uv_mutex_unlock(&background->mutex);
    sl_fiber_wait(-1, 0, -1);
    uv_mutex_lock(&background->mutex);
}

/* The other side of it, behind the mutex, too. */
static void tell_change(struct sl_background *background)
{
    if (background->fiber == NULL) {
        uv_cond_signal(&background->changed);
    } else {
        sl_fiber_wake(background->fiber);
    }
}

static struct sl_job *next_job(struct sl_background *background)
{
    uv_mutex_lock(&background->mutex);
    while (background->first == NULL && !background->is_ending) {
        wait_for_change(background);
    }
    struct sl_job *job = background->first;
    if (job != NULL) {
        background->first = job->next;
        background->waiting--;
        if (background->first == NULL) {
            background->last = &background->first;
        }
    }
    uv_mutex_unlock(&background->mutex);
    return job;
}

static void run_jobs(void *context)
{
    struct sl_background *background = context;
    struct sl_job *job;
    while ((job = next_job(background)) != NULL) {
        job->run(job, background->database);
    }
    if (background->on_end != NULL) {
        background->on_end(background->context);
    }
}

static void *run_thread(void *context)
{
    run_jobs(context);
    return NULL;
}

/* The thread takes no signals: they are the service's, whose threads may be chosen for them. */
static int start_thread(struct sl_background *background)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&background->thread, NULL, run_thread, background);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static void free_background(struct sl_background *background)
{
    uv_cond_destroy(&background->changed);
    uv_mutex_destroy(&background->mutex);
    sl_free(background);
}

/* All but what runs the jobs. */
static int make(sluice_database *database, void (*on_end)(void *context), void *context,
    struct sl_background **ret_background, struct sluice_error *error)
{
    struct sl_background *background = sl_allocate(sizeof(*background));
    if (background == NULL) {
        return sl_fail_memory(error, "a thread");
    }
    int result = uv_mutex_init(&background->mutex);
    if (result != 0) {
        sl_free(background);
        return sl_fail_system(error, result, "cannot start", "a thread");
    }
    result = uv_cond_init(&background->changed);
    if (result != 0) {
        uv_mutex_destroy(&background->mutex);
        sl_free(background);
        return sl_fail_system(error, result, "cannot start", "a thread");
    }
    background->database = database;
    background->last = &background->first;
    background->on_end = on_end;
    background->context = context;
    *ret_background = background;
    return 0;
}

int sl_background_start(sluice_database *take_database, void (*on_end)(void *context),
    void *context, struct sl_background **ret_background, struct sluice_error *error)
{
    struct sl_background *background;
    if (make(take_database, on_end, context, &background, error) != 0) {
        return -1;
    }
    int result = start_thread(background);
    if (result != 0) {
        free_background(background);
        return sl_fail_system(error, result, "cannot start", "a thread");
    }
    *ret_background = background;
    return 0;
}

int sl_background_start_fiber(sluice_database *take_database, struct uv_loop_s *loop,
    void (*on_end)(void *context), void *context, struct sl_background **ret_background,
    struct sluice_error *error)
{
    struct sl_background *background;
    if (make(take_database, on_end, context, &background, error) != 0) {
        return -1;
    }
    if (sl_fiber_start(loop, run_jobs, background, &background->fiber, error) != 0) {
        free_background(background);
        return -1;
    }
    *ret_background = background;
    return 0;
}

void sl_background_interrupt(struct sl_background *background)
{
    if (background->fiber == NULL) {
        sl_store_interrupt(background->database->store);
    } else {
        sl_fiber_interrupt(background->fiber);
    }
}

bool sl_background_has_thread(const struct sl_background *background)
{
    return background->fiber == NULL;
}

bool sl_background_put(struct sl_background *background, struct sl_job *job)
{
    uv_mutex_lock(&background->mutex);
    bool is_taken = background->waiting < SL_JOBS_MAX;
    if (is_taken) {
        job->next = NULL;
        *background->last = job;
        background->last = &job->next;
        background->waiting++;
        tell_change(background);
    }
    uv_mutex_unlock(&background->mutex);
    return is_taken;
}

bool sl_background_take_back(struct sl_background *background, struct sl_job *job)
{
    uv_mutex_lock(&background->mutex);
    struct sl_job **place = &background->first;
    while (*place != NULL && *place != job) {
        place = &(*place)->next;
    }
    bool is_found = *place != NULL;
    if (is_found) {
        *place = job->next;
        background->waiting--;
        if (background->last == &job->next) {
            background->last = place;
        }
    }
    uv_mutex_unlock(&background->mutex);
    return is_found;
}

void sl_background_end(struct sl_background *background)
{
    uv_mutex_lock(&background->mutex);
    background->is_ending = true;
    tell_change(background);
    uv_mutex_unlock(&background->mutex);
}

void sl_background_join(struct sl_background *background)
{
    if (background == NULL) {
        return;
    }
    if (background->fiber == NULL) {
        pthread_join(background->thread, NULL);
    } else {
        sl_fiber_free(background->fiber);
    }
    sluice_database_close(background->database);
    free_background(background);
}

sluice_database *sl_background_database(struct sl_background *background)
{
    return background->database;
}

/* One call of a detached listener. */
struct detached {
    struct sl_job job;
    struct sl_registry *registry;
    const struct sl_listener *listener;
    struct sl_heard *heard;
};

static int call_detached(sluice_database *database, void *context, struct sluice_error *error)
{
    struct detached *detached = context;
    struct sluice_notice notice = {.phase = SLUICE_AFTER_COMMIT,
        .completion = SLUICE_COMMITTED,
        .event = &detached->heard->event};
    database->transaction->speaker = detached->listener;
    int status =
        detached->listener->listener(database, &notice, detached->listener->context, error);
    database->transaction->speaker = NULL;
    return status;
}

static void report(struct detached *detached, const struct sluice_error *reason)
{
    struct sluice_error error;
    sl_fail(&error, SLUICE_LISTENER, reason->reaction, "the detached listener '%s' failed: %s",
        detached->listener->name, reason->text);
    sl_listeners_report(detached->registry, detached->listener, &detached->heard->event, &error);
}

static void run_detached(struct sl_job *job, sluice_database *database)
{
    struct detached *detached = (struct detached *)job;
    struct sluice_error error;
    int status = sl_database_enter(database, &error);
    if (status == 0) {
        database->base.generation = detached->heard->generation + 1;
        status = sl_transaction_run(database, SLUICE_REQUIRED, call_detached, detached, &error);
        sl_database_leave(database, status);
    }
    if (status != 0) {
        report(detached, &error);
    }
    sl_heard_free(detached->heard);
    sl_free(detached);
}

void sl_detach(
    struct sl_registry *registry, const struct sl_listener *listener, const struct sl_heard *heard)
{
    struct sluice_error error;
    struct detached *detached = sl_allocate(sizeof(*detached));
    struct sl_heard *copy = sl_heard_copy(&heard->event, heard->generation);
    if (detached != NULL && copy != NULL) {
        *detached = (struct detached){
            .job.run = run_detached, .registry = registry, .listener = listener, .heard = copy};
        if (sl_background_put(registry->background, &detached->job)) {
            return;
        }
        sl_fail(&error, SLUICE_BUSY, SLUICE_RETRY,
            "the detached listener '%s' is not called: %d calls wait already; let it do less, or "
            "make it a consumer",
            listener->name, SL_JOBS_MAX);
    } else {
        sl_fail_memory(&error, "a call of a detached listener");
    }
    sl_free(detached);
    sl_heard_free(copy);
    sl_listeners_report(registry, listener, &heard->event, &error);
}
