#include "cli/relay_thread.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"

enum { TICK_INTERVAL_MS = 1000, STILL_MAX_MS = 30000 };

/* One relay; `failure` is written by the thread before is_halted, and never after. */
struct member {
    struct sl_relay_thread *thread;
    struct sl_relay *relay;
    const struct sl_relay_stats *stats;
    char *name; /* the database, for people */
    struct sluice_error failure;
    atomic_bool is_halted;
    bool is_told; /* the caller's loop: on_halt was called */
};

struct sl_relay_thread {
    pthread_t handle;
    uv_loop_t loop; /* the thread's */
    uv_async_t stop;
    uv_timer_t tick;
    uv_sem_t opened;
    uv_async_t notice; /* the caller's loop: a relay has halted, or the thread has ended */
    atomic_bool has_ended;
    _Atomic int64_t turned_ms;              /* monotonic: when the thread's loop last turned */
    const struct sl_relay_options *options; /* until opened */
    struct member members[SL_RELAY_THREAD_RELAYS_MAX];
    size_t count;
    int result;
    struct sluice_error error;
    void (*on_halt)(void *context, const struct sluice_error *error);
    void *halt_context;
    void (*on_stopped)(void *context);
    void *stop_context;
};

static void on_relay_halt(void *context, const struct sluice_error *error)
{
    struct member *member = context;
    member->failure = *error;
    atomic_store(&member->is_halted, true);
    uv_async_send(&member->thread->notice);
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_relay_thread *thread = timer->data;
    atomic_store(&thread->turned_ms, sl_clock_monotonic_ms());
}

static void close_relays(struct sl_relay_thread *thread)
{
    for (size_t i = 0; i < thread->count; i++) {
        sl_relay_close(thread->members[i].relay);
        thread->members[i].relay = NULL;
    }
}

static void on_stop(uv_async_t *async)
{
    struct sl_relay_thread *thread = async->data;
    close_relays(thread);
    uv_close((uv_handle_t *) &thread->tick, NULL);
    uv_close((uv_handle_t *) &thread->stop, NULL);
}

static void open_relays(struct sl_relay_thread *thread)
{
    for (size_t i = 0; i < thread->count && thread->result == 0; i++) {
        struct member *member = &thread->members[i];
        thread->result = sl_relay_open(&thread->options[i], &thread->loop, on_relay_halt, member,
            &member->relay, &thread->error);
        if (thread->result == 0) {
            member->stats = sl_relay_stats(member->relay);
        }
    }
}

static void *run_thread(void *context)
{
    struct sl_relay_thread *thread = context;
    open_relays(thread);
    uv_timer_start(&thread->tick, on_tick, 0, TICK_INTERVAL_MS);
    if (thread->result != 0) {
        on_stop(&thread->stop);
    }
    atomic_store(&thread->turned_ms, sl_clock_monotonic_ms());
    uv_sem_post(&thread->opened);
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    atomic_store(&thread->has_ended, true);
    uv_async_send(&thread->notice);
    return NULL;
}

static void on_notice_closed(uv_handle_t *handle)
{
    struct sl_relay_thread *thread = handle->data;
    void (*on_stopped)(void *) = thread->on_stopped;
    void *context = thread->stop_context;
    uv_loop_close(&thread->loop);
    uv_sem_destroy(&thread->opened);
    for (size_t i = 0; i < thread->count; i++) {
        sl_free(thread->members[i].name);
    }
    sl_free(thread);
    if (on_stopped != NULL) {
        on_stopped(context);
    }
}

static void on_notice(uv_async_t *async)
{
    struct sl_relay_thread *thread = async->data;
    for (size_t i = 0; i < thread->count; i++) {
        struct member *member = &thread->members[i];
        if (atomic_load(&member->is_halted) && !member->is_told) {
            member->is_told = true;
            if (thread->on_halt == NULL) {
                continue;
            }
            thread->on_halt(thread->halt_context, &member->failure);
        }
    }
    if (atomic_load(&thread->has_ended)) {
        pthread_join(thread->handle, NULL);
        uv_close((uv_handle_t *) &thread->notice, on_notice_closed);
    }
}

static struct sl_relay_thread *prepare(
    uv_loop_t *loop, const struct sl_relay_options *options, size_t count)
{
    struct sl_relay_thread *thread = sl_allocate(sizeof(*thread));
    if (thread == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        thread->members[i].thread = thread;
        thread->members[i].name = sl_copy_text(options[i].database);
        if (thread->members[i].name == NULL) {
            while (i > 0) {
                sl_free(thread->members[--i].name);
            }
            sl_free(thread);
            return NULL;
        }
    }
    thread->count = count;
    thread->options = options;
    uv_sem_init(&thread->opened, 0);
    uv_loop_init(&thread->loop);
    uv_async_init(&thread->loop, &thread->stop, on_stop);
    uv_timer_init(&thread->loop, &thread->tick);
    uv_async_init(loop, &thread->notice, on_notice);
    thread->stop.data = thread->tick.data = thread->notice.data = thread;
    return thread;
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
    struct sl_relay_thread *thread = prepare(loop, options, count);
    if (thread == NULL) {
        return sl_fail_memory(error, "the relay's thread");
    }
    thread->on_halt = on_halt;
    thread->halt_context = context;
    int number = pthread_create(&thread->handle, NULL, run_thread, thread);
    if (number != 0) {
        on_stop(&thread->stop);
        uv_run(&thread->loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *) &thread->notice, on_notice_closed);
        return sl_fail_system(error, number, "cannot start a thread", "for the relay");
    }
    uv_sem_wait(&thread->opened);
    thread->options = NULL;
    if (thread->result != 0) {
        /* The thread ends by itself; its notice, on the caller's loop, joins and frees it. */
        *error = thread->error;
        thread->on_halt = NULL;
        return -1;
    }
    *ret_thread = thread;
    return 0;
}

void sl_relay_thread_stop(
    struct sl_relay_thread *thread, void (*on_stopped)(void *context), void *context)
{
    thread->on_stopped = on_stopped;
    thread->stop_context = context;
    uv_async_send(&thread->stop);
}

static const char *state_name(const struct member *member)
{
    static const char *const names[] = {[SL_PUMP_STOPPED] = "stopped",
        [SL_PUMP_ASKING] = "asking",
        [SL_PUMP_READING] = "reading",
        [SL_PUMP_HOLDING] = "holding",
        [SL_PUMP_APPENDING] = "appending",
        [SL_PUMP_JUDGING] = "judging",
        [SL_PUMP_IDLE] = "idle",
        [SL_PUMP_RESTING] = "resting"};
    int state = atomic_load(&member->stats->pump_state);
    if (atomic_load(&member->is_halted)) {
        return "halted";
    }
    if (atomic_load(&member->stats->is_standby)) {
        return "standby";
    }
    return state >= 0 && (size_t) state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

/* 0: closed, events flow; 1: open, an outage is waited out; 2: halted until a person acts. */
static int64_t breaker_of(const struct member *member)
{
    return atomic_load(&member->is_halted)                                 ? 2
        : atomic_load(&member->stats->is_standby)                          ? 0
        : atomic_load(&member->stats->pump_state) == (int) SL_PUMP_RESTING ? 1
                                                                           : 0;
}

static int64_t read_position(const struct member *member)
{
    return atomic_load(&member->stats->position);
}

static int64_t read_redriven(const struct member *member)
{
    return atomic_load(&member->stats->redriven_total);
}

static int64_t read_conflicts(const struct member *member)
{
    return atomic_load(&member->stats->conflicts_total);
}

static void write_family(struct sl_relay_thread *thread, struct sl_metrics *metrics,
    const char *name, enum sl_metrics_type type, const char *help,
    int64_t (*read)(const struct member *member))
{
    sl_metrics_begin(metrics, name, type, help);
    for (size_t i = 0; i < thread->count; i++) {
        struct sl_metrics_label labels[] = {
            {"database", sl_text_of(thread->members[i].name)}, {"sink", SL_TEXT("local")}};
        sl_metrics_number(metrics, labels, 2, read(&thread->members[i]));
    }
}

static void write_published(struct sl_relay_thread *thread, struct sl_metrics *metrics)
{
    sl_metrics_begin(metrics, "relay_publish_total", SL_METRICS_COUNTER,
        "Events given to the sink, by how it went: ok, rejected (an attempt that condemned the "
        "event), outage (a try that says nothing about the event).");
    for (size_t i = 0; i < thread->count; i++) {
        const struct sl_relay_stats *stats = thread->members[i].stats;
        const struct {
            struct sl_text result;
            int64_t value;
        } rows[] = {{SL_TEXT("ok"), atomic_load(&stats->published_total)},
            {SL_TEXT("rejected"), atomic_load(&stats->rejected_total)},
            {SL_TEXT("outage"), atomic_load(&stats->outages_total)}};
        for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
            struct sl_metrics_label labels[] = {{"database", sl_text_of(thread->members[i].name)},
                {"sink", SL_TEXT("local")}, {"result", rows[j].result}};
            sl_metrics_number(metrics, labels, 3, rows[j].value);
        }
    }
}

static void write_latency(struct sl_relay_thread *thread, struct sl_metrics *metrics)
{
    static const int64_t bounds_ms[] = SL_RELAY_LATENCY_BOUNDS_MS;
    sl_metrics_begin(metrics, "relay_commit_to_ack_seconds", SL_METRICS_HISTOGRAM,
        "Time from the event's writing to the sink's acknowledgement.");
    for (size_t i = 0; i < thread->count; i++) {
        const struct sl_relay_stats *stats = thread->members[i].stats;
        int64_t counts[SL_RELAY_LATENCY_BUCKETS];
        for (size_t j = 0; j < SL_RELAY_LATENCY_BUCKETS; j++) {
            counts[j] = atomic_load(&stats->latency_buckets[j]);
        }
        struct sl_metrics_label label = {"database", sl_text_of(thread->members[i].name)};
        struct sl_metrics_histogram histogram = {
            bounds_ms, counts, SL_RELAY_LATENCY_BUCKETS, atomic_load(&stats->latency_sum_ms)};
        sl_metrics_buckets(metrics, &label, 1, &histogram);
    }
}

static void add_reason(json_t *reasons, const char *name, const char *text)
{
    char line[SLUICE_ERROR_TEXT_SIZE + 300];
    snprintf(line, sizeof(line), "relay of %.200s: %s", name, text);
    json_array_append_new(reasons, json_string(line));
}

static void describe(struct sl_relay_thread *thread, struct sl_console_writer *writer)
{
    json_t *relays = json_array();
    for (size_t i = 0; i < thread->count; i++) {
        struct member *member = &thread->members[i];
        const struct sl_relay_stats *stats = member->stats;
        bool is_halted = atomic_load(&member->is_halted);
        json_array_append_new(relays,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s?}", "database", member->name,
                "state", state_name(member), "position", (json_int_t) atomic_load(&stats->position),
                "tick", (json_int_t) atomic_load(&stats->tick), "published_total",
                (json_int_t) atomic_load(&stats->published_total), "rejected_total",
                (json_int_t) atomic_load(&stats->rejected_total), "redriven_total",
                (json_int_t) atomic_load(&stats->redriven_total), "outages_total",
                (json_int_t) atomic_load(&stats->outages_total), "error",
                is_halted ? member->failure.text : NULL));
        sl_console_add_total(writer, "published", atomic_load(&stats->published_total));
        if (is_halted) {
            add_reason(writer->not_ready, member->name, member->failure.text);
        } else if (breaker_of(member) != 0) {
            add_reason(writer->not_ready, member->name,
                "the broker or the database does not "
                "answer; it is tried again");
        }
    }
    json_object_set_new(writer->state, "relays", relays);
}

static void collect(void *context, struct sl_console_writer *writer)
{
    struct sl_relay_thread *thread = context;
    struct sl_metrics *metrics = writer->metrics;
    int64_t still_ms = sl_clock_monotonic_ms() - atomic_load(&thread->turned_ms);
    write_published(thread, metrics);
    write_latency(thread, metrics);
    write_family(thread, metrics, "relay_breaker_state", SL_METRICS_GAUGE,
        "0: events flow; 1: an outage is waited out; 2: halted until a person acts.", breaker_of);
    write_family(thread, metrics, "relay_position", SL_METRICS_GAUGE,
        "Position up to which events are in the sink or held.", read_position);
    write_family(thread, metrics, "relay_redriven_total", SL_METRICS_COUNTER,
        "Held events that went out after a retry or redrive.", read_redriven);
    write_family(thread, metrics, "relay_conflicts_total", SL_METRICS_COUNTER,
        "Times that another relay of the same database was first.", read_conflicts);
    describe(thread, writer);
    if (still_ms > STILL_MAX_MS) {
        char text[100];
        snprintf(text, sizeof(text), "the relay's loop has not turned for %lld s",
            (long long) (still_ms / 1000));
        json_array_append_new(writer->not_alive, json_string(text));
    }
}

struct sl_console_source sl_relay_thread_source(struct sl_relay_thread *thread)
{
    return (struct sl_console_source) {.context = thread, .is_blocking = false, .collect = collect};
}
