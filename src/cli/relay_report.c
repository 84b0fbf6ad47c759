/* What the console gets to know of the relays. */
#include <stdio.h>

#include "base/clock.h"
#include "cli/relay_thread_internal.h"

enum { STILL_MAX_MS = 30000 };

static const struct sl_relay_stats *stats_of(const struct sl_relay_member *member)
{
    return atomic_load(&member->stats);
}

/* Why the relay could not be opened yet; false if it is open. */
static bool read_away(struct sl_relay_member *member, struct sluice_error *ret_error)
{
    pthread_mutex_lock(&member->lock);
    *ret_error = member->away;
    pthread_mutex_unlock(&member->lock);
    return ret_error->code != SLUICE_OK;
}

static const char *state_name(struct sl_relay_member *member)
{
    static const char *const names[] = {[SL_PUMP_STOPPED] = "stopped",
        [SL_PUMP_ASKING] = "asking",
        [SL_PUMP_READING] = "reading",
        [SL_PUMP_HOLDING] = "holding",
        [SL_PUMP_APPENDING] = "appending",
        [SL_PUMP_JUDGING] = "judging",
        [SL_PUMP_IDLE] = "idle",
        [SL_PUMP_RESTING] = "resting"};
    int state = atomic_load(&stats_of(member)->pump_state);
    struct sluice_error away;
    if (atomic_load(&member->is_halted)) {
        return "halted";
    }
    if (read_away(member, &away)) {
        return "away";
    }
    if (atomic_load(&stats_of(member)->is_paused)) {
        return "paused";
    }
    if (atomic_load(&stats_of(member)->is_standby)) {
        return "standby";
    }
    return state >= 0 && (size_t) state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

/* 0: closed, events flow; 1: open, an outage is waited out; 2: halted until a person acts. */
static int64_t breaker_of(struct sl_relay_member *member)
{
    struct sluice_error away;
    const struct sl_relay_stats *stats = stats_of(member);
    bool is_resting = atomic_load(&stats->pump_state) == (int) SL_PUMP_RESTING &&
        !atomic_load(&stats->is_standby) && !atomic_load(&stats->is_paused);
    return atomic_load(&member->is_halted) ? 2 : is_resting || read_away(member, &away) ? 1 : 0;
}

static int64_t read_position(struct sl_relay_member *member)
{
    return atomic_load(&stats_of(member)->position);
}

static int64_t read_tick(struct sl_relay_member *member)
{
    return atomic_load(&stats_of(member)->tick);
}

static int64_t read_standby(struct sl_relay_member *member)
{
    return atomic_load(&stats_of(member)->is_standby) ? 1 : 0;
}

static int64_t read_paused(struct sl_relay_member *member)
{
    return atomic_load(&stats_of(member)->is_paused) ? 1 : 0;
}

static int64_t read_redriven(struct sl_relay_member *member)
{
    return atomic_load(&stats_of(member)->redriven_total);
}

static int64_t read_conflicts(struct sl_relay_member *member)
{
    return atomic_load(&stats_of(member)->conflicts_total);
}

static void write_family(struct sl_relay_thread *thread, struct sl_metrics *metrics,
    const char *name, enum sl_metrics_type type, const char *help,
    int64_t (*read)(struct sl_relay_member *member))
{
    sl_metrics_begin(metrics, name, type, help);
    for (size_t i = 0; i < thread->count; i++) {
        struct sl_metrics_label labels[] = {{"database", sl_text_of(thread->members[i].name)},
            {"sink", sl_text_of(thread->members[i].sink)}};
        sl_metrics_number(metrics, labels, 2, read(&thread->members[i]));
    }
}

static void write_published(struct sl_relay_thread *thread, struct sl_metrics *metrics)
{
    sl_metrics_begin(metrics, "relay_publish_total", SL_METRICS_COUNTER,
        "Events given to the sink, by how it went: ok, rejected (an attempt that condemned the "
        "event), outage (a try that says nothing about the event).");
    for (size_t i = 0; i < thread->count; i++) {
        const struct sl_relay_stats *stats = stats_of(&thread->members[i]);
        const struct {
            struct sl_text result;
            int64_t value;
        } rows[] = {{SL_TEXT("ok"), atomic_load(&stats->published_total)},
            {SL_TEXT("rejected"), atomic_load(&stats->rejected_total)},
            {SL_TEXT("outage"), atomic_load(&stats->outages_total)}};
        for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
            struct sl_metrics_label labels[] = {{"database", sl_text_of(thread->members[i].name)},
                {"sink", sl_text_of(thread->members[i].sink)}, {"result", rows[j].result}};
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
        const struct sl_relay_stats *stats = stats_of(&thread->members[i]);
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
        struct sl_relay_member *member = &thread->members[i];
        const struct sl_relay_stats *stats = stats_of(member);
        bool is_halted = atomic_load(&member->is_halted);
        struct sluice_error away;
        bool is_away = read_away(member, &away);
        json_array_append_new(relays,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s?}", "database", member->name,
                "state", state_name(member), "position", (json_int_t) atomic_load(&stats->position),
                "tick", (json_int_t) atomic_load(&stats->tick), "published_total",
                (json_int_t) atomic_load(&stats->published_total), "rejected_total",
                (json_int_t) atomic_load(&stats->rejected_total), "redriven_total",
                (json_int_t) atomic_load(&stats->redriven_total), "outages_total",
                (json_int_t) atomic_load(&stats->outages_total), "error",
                is_halted     ? member->failure.text
                    : is_away ? away.text
                              : NULL));
        sl_console_add_total(writer, "published", atomic_load(&stats->published_total));
        if (is_halted) {
            add_reason(writer->not_ready, member->name, member->failure.text);
        } else if (is_away) {
            add_reason(writer->not_ready, member->name, away.text);
        } else if (breaker_of(member) != 0) {
            add_reason(writer->not_ready, member->name,
                "the broker or the database does not "
                "answer; it is tried again");
        }
    }
    json_object_set_new(writer->state, "relays", relays);
}

static void add_still(struct sl_relay_thread *thread, json_t *not_alive)
{
    for (size_t i = 0; i < thread->count; i++) {
        struct sl_relay_member *member = &thread->members[i];
        int64_t still_ms = sl_clock_monotonic_ms() - atomic_load(&member->turned_ms);
        if (still_ms > STILL_MAX_MS) {
            char text[100];
            snprintf(text, sizeof(text), "the loop has not turned for %lld s",
                (long long) (still_ms / 1000));
            add_reason(not_alive, member->name, text);
        }
    }
}

static void collect(void *context, struct sl_console_writer *writer)
{
    struct sl_relay_thread *thread = context;
    struct sl_metrics *metrics = writer->metrics;
    write_published(thread, metrics);
    write_latency(thread, metrics);
    write_family(thread, metrics, "relay_breaker_state", SL_METRICS_GAUGE,
        "0: events flow; 1: an outage is waited out; 2: halted until a person acts.", breaker_of);
    write_family(thread, metrics, "relay_standby", SL_METRICS_GAUGE,
        "1 while another relay of the same database has the lease.", read_standby);
    write_family(thread, metrics, "relay_paused", SL_METRICS_GAUGE,
        "1 while a person has paused it with `sluice pause`.", read_paused);
    write_family(thread, metrics, "relay_position", SL_METRICS_GAUGE,
        "Position up to which events are in the sink or held.", read_position);
    write_family(thread, metrics, "relay_tick", SL_METRICS_GAUGE,
        "Tick of that position; 0 on SQLite, which needs none.", read_tick);
    write_family(thread, metrics, "relay_redriven_total", SL_METRICS_COUNTER,
        "Held events that went out after a retry or redrive.", read_redriven);
    write_family(thread, metrics, "relay_conflicts_total", SL_METRICS_COUNTER,
        "Times that another relay of the same database was first.", read_conflicts);
    describe(thread, writer);
    add_still(thread, writer->not_alive);
}

struct sl_console_source sl_relay_thread_source(struct sl_relay_thread *thread)
{
    return (struct sl_console_source) {.context = thread, .is_blocking = false, .collect = collect};
}
