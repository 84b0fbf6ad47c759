#include "cli/relay_thread.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/relay_thread_internal.h"
#include "console/state.h"

enum { TICK_INTERVAL_MS = 1000, REOPEN_FIRST_MS = 250, REOPEN_MAX_MS = 5000 };

static const struct sl_relay_stats no_stats;

static void notify(struct sl_relay_member *member)
{
    uv_async_send(&member->group->notice);
}

static void on_relay_halt(void *context, const struct sluice_error *error)
{
    struct sl_relay_member *member = context;
    member->failure = *error;
    atomic_store(&member->is_halted, true);
    notify(member);
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_relay_member *member = timer->data;
    atomic_store(&member->turned_ms, sl_clock_monotonic_ms());
}

static void close_handles(struct sl_relay_member *member)
{
    uv_close((uv_handle_t *) &member->tick, NULL);
    uv_close((uv_handle_t *) &member->reopen, NULL);
    uv_close((uv_handle_t *) &member->stop, NULL);
}

static void on_stop(uv_async_t *async)
{
    struct sl_relay_member *member = async->data;
    sl_relay_close(member->relay);
    member->relay = NULL;
    close_handles(member);
}

/* Whether to wait for it: a server that is away, and not a mistake that a person must mend. */
static bool is_away(const struct sluice_error *error)
{
    return error->reaction == SLUICE_RETRY && error->code == SLUICE_UNAVAILABLE;
}

static void set_away(struct sl_relay_member *member, const struct sluice_error *error)
{
    pthread_mutex_lock(&member->lock);
    if (error == NULL) {
        member->away = (struct sluice_error) {.code = SLUICE_OK};
    } else {
        member->away = *error;
    }
    pthread_mutex_unlock(&member->lock);
}

static void on_reopen(uv_timer_t *timer);

/* Open the relay; 0 if it is open or its server is away, and the timer set to try again. */
static int open_relay(struct sl_relay_member *member, struct sluice_error *error)
{
    if (sl_relay_open(
            &member->options, &member->loop, on_relay_halt, member, &member->relay, error) == 0) {
        atomic_store(&member->stats, sl_relay_stats(member->relay));
        set_away(member, NULL);
        if (member->reopen_delay_ms > 0) {
            sl_log(SL_LOG_INFO, "the relay's database is back", "database=%s", member->name);
        }
        return 0;
    }
    if (!is_away(error)) {
        return -1;
    }
    if (member->reopen_delay_ms == 0) {
        member->reopen_delay_ms = REOPEN_FIRST_MS;
        sl_log(SL_LOG_WARN, "the relay cannot start yet; trying again until it works",
            "database=%s error=\"%s\"", member->name, error->text);
    } else {
        member->reopen_delay_ms *= 2;
    }
    member->reopen_delay_ms =
        member->reopen_delay_ms > REOPEN_MAX_MS ? REOPEN_MAX_MS : member->reopen_delay_ms;
    set_away(member, error);
    uv_timer_start(&member->reopen, on_reopen, (uint64_t) member->reopen_delay_ms, 0);
    return 0;
}

static void on_reopen(uv_timer_t *timer)
{
    struct sl_relay_member *member = timer->data;
    struct sluice_error error;
    if (open_relay(member, &error) != 0) {
        set_away(member, NULL);
        sl_log(SL_LOG_ERROR, "the relay cannot start", "database=%s error=\"%s\"", member->name,
            error.text);
        on_relay_halt(member, &error);
    }
}

static void *run_thread(void *context)
{
    struct sl_relay_member *member = context;
    atomic_store(&member->turned_ms, sl_clock_monotonic_ms());
    member->result = open_relay(member, &member->failure);
    if (member->result == 0) {
        uv_timer_start(&member->tick, on_tick, 0, TICK_INTERVAL_MS);
    } else {
        close_handles(member);
    }
    uv_sem_post(&member->group->opened);
    uv_run(&member->loop, UV_RUN_DEFAULT);
    atomic_store(&member->has_ended, true);
    notify(member);
    return NULL;
}

static void free_member(struct sl_relay_member *member)
{
    pthread_mutex_destroy(&member->lock);
    sl_free(member->database);
    sl_free(member->broker);
    sl_free(member->name);
}

static void on_notice_closed(uv_handle_t *handle)
{
    struct sl_relay_thread *group = handle->data;
    void (*on_stopped)(void *) = group->on_stopped;
    void *context = group->stop_context;
    for (size_t i = 0; i < group->count; i++) {
        free_member(&group->members[i]);
    }
    uv_sem_destroy(&group->opened);
    sl_free(group);
    if (on_stopped != NULL) {
        on_stopped(context);
    }
}

/* Join the threads that have ended; true if there is none left. */
static bool join_ended(struct sl_relay_thread *group)
{
    bool is_over = true;
    for (size_t i = 0; i < group->count; i++) {
        struct sl_relay_member *member = &group->members[i];
        if (member->is_started && !member->is_joined && atomic_load(&member->has_ended)) {
            pthread_join(member->handle, NULL);
            uv_loop_close(&member->loop);
            member->is_joined = true;
        }
        is_over = is_over && (!member->is_started || member->is_joined);
    }
    return is_over;
}

static void on_notice(uv_async_t *async)
{
    struct sl_relay_thread *group = async->data;
    for (size_t i = 0; i < group->count; i++) {
        struct sl_relay_member *member = &group->members[i];
        if (atomic_load(&member->is_halted) && !member->is_told) {
            member->is_told = true;
            if (group->on_halt != NULL) {
                group->on_halt(group->halt_context, &member->failure);
            }
        }
    }
    if (group->is_stopping && join_ended(group) && !uv_is_closing((uv_handle_t *) async)) {
        uv_close((uv_handle_t *) async, on_notice_closed);
    }
}

static int prepare_member(struct sl_relay_member *member, const struct sl_relay_options *options)
{
    member->options = *options;
    member->database = sl_copy_text(options->database);
    member->broker = sl_copy_text(options->broker);
    member->name = sl_state_name(options->database);
    member->options.database = member->database;
    member->options.broker = member->broker;
    member->sink = strncmp(options->broker, "kafka:", 6) == 0 ? "kafka" : "local";
    atomic_store(&member->stats, &no_stats);
    pthread_mutex_init(&member->lock, NULL);
    return member->database == NULL || member->broker == NULL || member->name == NULL ? -1 : 0;
}

static struct sl_relay_thread *prepare(
    uv_loop_t *loop, const struct sl_relay_options *options, size_t count)
{
    struct sl_relay_thread *group = sl_allocate(sizeof(*group));
    if (group == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        group->members[i].group = group;
        group->count++;
        if (prepare_member(&group->members[i], &options[i]) != 0) {
            for (size_t j = 0; j < group->count; j++) {
                free_member(&group->members[j]);
            }
            sl_free(group);
            return NULL;
        }
    }
    uv_sem_init(&group->opened, 0);
    uv_async_init(loop, &group->notice, on_notice);
    group->notice.data = group;
    return group;
}

static int start_member(struct sl_relay_member *member)
{
    uv_loop_init(&member->loop);
    uv_async_init(&member->loop, &member->stop, on_stop);
    uv_timer_init(&member->loop, &member->tick);
    uv_timer_init(&member->loop, &member->reopen);
    member->stop.data = member->tick.data = member->reopen.data = member;
    int number = pthread_create(&member->handle, NULL, run_thread, member);
    if (number != 0) {
        close_handles(member);
        uv_run(&member->loop, UV_RUN_DEFAULT);
        uv_loop_close(&member->loop);
        return number;
    }
    member->is_started = true;
    return 0;
}

void sl_relay_thread_stop(
    struct sl_relay_thread *thread, void (*on_stopped)(void *context), void *context)
{
    thread->on_stopped = on_stopped;
    thread->stop_context = context;
    thread->is_stopping = true;
    for (size_t i = 0; i < thread->count; i++) {
        /* One that failed at the start has closed its handles, and ends by itself. */
        if (thread->members[i].is_started && thread->members[i].result == 0) {
            uv_async_send(&thread->members[i].stop);
        }
    }
    uv_async_send(&thread->notice);
}

int sl_relay_thread_start(uv_loop_t *loop, const struct sl_relay_options *options, size_t count,
    void (*on_halt)(void *context, const struct sluice_error *error), void *context,
    struct sl_relay_thread **ret_thread, struct sluice_error *error)
{
    if (count > SL_RELAY_THREAD_RELAYS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "a process serves at most %d databases; start another for the rest",
            SL_RELAY_THREAD_RELAYS_MAX);
    }
    struct sl_relay_thread *group = prepare(loop, options, count);
    if (group == NULL) {
        return sl_fail_memory(error, "the relays");
    }
    int status = 0;
    size_t started = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        int number = start_member(&group->members[i]);
        started += number == 0 ? 1 : 0;
        status =
            number == 0 ? 0 : sl_fail_system(error, number, "cannot start a thread", "for a relay");
    }
    for (size_t i = 0; i < started; i++) {
        uv_sem_wait(&group->opened);
    }
    for (size_t i = 0; i < started && status == 0; i++) {
        if (group->members[i].result != 0) {
            *error = group->members[i].failure;
            status = -1;
        }
    }
    if (status != 0) {
        /* The threads end by themselves; the notice, on the caller's loop, joins and frees them. */
        sl_relay_thread_stop(group, NULL, NULL);
        return -1;
    }
    group->on_halt = on_halt;
    group->halt_context = context;
    *ret_thread = group;
    return 0;
}
