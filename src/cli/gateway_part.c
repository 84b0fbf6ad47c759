#include "cli/gateway_part.h"

#include <stdio.h>

#include "base/memory.h"
#include "console/state.h"

/* As many live streams as a page can show; the counts are of all. */
enum { STREAMS_SHOWN_MAX = 100, REASON_SIZE = 200 };

struct sl_gateway_part {
    struct sl_gateway *gateway;
    struct sl_broker *broker;
    void (*on_stopped)(void *context);
    void *context;
};

/* The config's routes in the gateway's form; views into the config. */
struct converted {
    struct sl_route *routes;
    struct sl_stream_options *streams;
    bool has_streams;
};

static int convert(const struct sl_config_routes *from, struct converted *ret)
{
    struct converted converted = {
        .routes = sl_allocate(from->count * sizeof(struct sl_route)),
        .streams = sl_allocate(from->count * sizeof(struct sl_stream_options))};
    if (converted.routes == NULL || converted.streams == NULL) {
        sl_free(converted.routes);
        sl_free(converted.streams);
        return -1;
    }
    for (size_t i = 0; i < from->count; i++) {
        const struct sl_config_route *route = &from->routes[i];
        converted.routes[i] = (struct sl_route) {.path = route->path, .upstream = route->upstream};
        if (route->topic != NULL) {
            converted.streams[i] = (struct sl_stream_options) {.topic = route->topic,
                .key = route->key, .snapshot = route->snapshot, .event = route->event,
                .version = route->version,
                .final_statuses = (const char *const *) route->finals,
                .final_count = route->final_count, .owner = route->owner};
            converted.routes[i].stream = &converted.streams[i];
            converted.has_streams = true;
        }
    }
    *ret = converted;
    return 0;
}

static void free_converted(struct converted *converted)
{
    sl_free(converted->routes);
    sl_free(converted->streams);
}

static int open_both(uv_loop_t *loop, const struct sl_config *config,
    const struct converted *converted, struct sl_gateway_part *part, struct sluice_error *error)
{
    const struct sl_config_value *listen = &config->values[SL_OPTION_GATEWAY_LISTEN];
    const struct sl_config_value *origins = &config->values[SL_OPTION_GATEWAY_ORIGINS];
    struct sl_gateway_options options = {
        .origins = (const char *const *) origins->items,
        .origin_count = origins->item_count,
        .listen = (const char *const *) listen->items,
        .listen_count = listen->item_count,
        .routes = converted->routes,
        .route_count = config->routes.count,
        .connections_max = (size_t) sl_config_number(config, SL_OPTION_GATEWAY_CONNECTIONS_MAX),
        .heartbeat_ms = sl_config_number(config, SL_OPTION_GATEWAY_HEARTBEAT),
        .replay_events = (size_t) sl_config_number(config, SL_OPTION_GATEWAY_REPLAY_EVENTS),
        .replay_bytes = (size_t) sl_config_number(config, SL_OPTION_GATEWAY_REPLAY_SIZE),
        .stream_queue_size_max =
            (size_t) sl_config_number(config, SL_OPTION_GATEWAY_STREAM_QUEUE_SIZE),
        .stream_stall_ms = sl_config_number(config, SL_OPTION_GATEWAY_STREAM_QUEUE_AGE),
        .queue_budget = (size_t) sl_config_number(config, SL_OPTION_GATEWAY_QUEUE_BUDGET),
        .retry_ms = sl_config_number(config, SL_OPTION_GATEWAY_RETRY),
        .connect_timeout_ms = sl_config_number(config, SL_OPTION_GATEWAY_CONNECT_TIMEOUT),
        .snapshot_timeout_ms = sl_config_number(config, SL_OPTION_GATEWAY_SNAPSHOT_TIMEOUT),
        .upstream_timeout_ms = sl_config_number(config, SL_OPTION_GATEWAY_UPSTREAM_TIMEOUT),
    };
    if (converted->has_streams &&
        sl_broker_open(sl_config_text(config, SL_OPTION_BROKER), &part->broker, error) != 0) {
        return -1;
    }
    return sl_gateway_open(loop, part->broker, &options, &part->gateway, error);
}

int sl_gateway_part_open(uv_loop_t *loop, const struct sl_config *config,
    struct sl_gateway_part **ret_part, struct sluice_error *error)
{
    struct converted converted;
    struct sl_gateway_part *part = sl_allocate(sizeof(*part));
    if (part == NULL || convert(&config->routes, &converted) != 0) {
        sl_free(part);
        return sl_fail_memory(error, "the gateway");
    }
    int result = open_both(loop, config, &converted, part, error);
    free_converted(&converted);
    if (result != 0) {
        /* What the gateway had opened on the broker closes when the loop turns. */
        uv_run(loop, UV_RUN_NOWAIT);
        sl_broker_close(part->broker);
        sl_free(part);
        return -1;
    }
    *ret_part = part;
    return 0;
}

int sl_gateway_part_check(const struct sl_config *config, struct sluice_error *error)
{
    struct converted converted;
    if (convert(&config->routes, &converted) != 0) {
        return sl_fail_memory(error, "the routes");
    }
    int result = sl_gateway_check_routes(converted.routes, config->routes.count, error);
    free_converted(&converted);
    return result;
}

const char *sl_gateway_part_url(const struct sl_gateway_part *part)
{
    return sl_gateway_url(part->gateway, 0);
}

static void on_gateway_stopped(void *context)
{
    struct sl_gateway_part *part = context;
    void (*on_stopped)(void *) = part->on_stopped;
    void *stop_context = part->context;
    sl_broker_close(part->broker);
    sl_free(part);
    on_stopped(stop_context);
}

void sl_gateway_part_stop(struct sl_gateway_part *part, int64_t grace_ms,
    void (*on_stopped)(void *context), void *context)
{
    part->on_stopped = on_stopped;
    part->context = context;
    sl_gateway_stop(part->gateway, grace_ms, on_gateway_stopped, part);
}

/* One family with a sample for each result of something. */
struct counted {
    const char *label;
    uint64_t value;
};

static void write_counted(struct sl_metrics *metrics, const char *name, const char *help,
    const char *label_name, const struct counted *rows, size_t count)
{
    sl_metrics_begin(metrics, name, SL_METRICS_COUNTER, help);
    for (size_t i = 0; i < count; i++) {
        struct sl_metrics_label label = {label_name, sl_text_of(rows[i].label)};
        sl_metrics_number(metrics, &label, 1, (int64_t) rows[i].value);
    }
}

static void write_simple(struct sl_metrics *metrics, const char *name, enum sl_metrics_type type,
    const char *help, uint64_t value)
{
    sl_metrics_begin(metrics, name, type, help);
    sl_metrics_number(metrics, NULL, 0, (int64_t) value);
}

static void write_streams(struct sl_metrics *metrics, const struct sl_gateway_stats *stats)
{
    const struct counted ended[] = {{"final", stats->ended_final},
        {"client", stats->ended_by_client}, {"replaced", stats->ended_replaced},
        {"slow", stats->ended_slow}, {"draining", stats->ended_draining},
        {"unavailable", stats->ended_unavailable}};
    const struct counted refused[] = {{"over", stats->refused_over},
        {"budget", stats->refused_budget}, {"upstream", stats->refused_by_upstream}};
    write_simple(metrics, "gateway_streams", SL_METRICS_GAUGE, "Live streams.", stats->streams);
    write_simple(metrics, "gateway_stream_queued_bytes", SL_METRICS_GAUGE,
        "Bytes that wait for slow readers of streams.", stats->queued);
    write_simple(metrics, "gateway_streams_opened_total", SL_METRICS_COUNTER,
        "Streams that were opened.", stats->streams_opened);
    write_simple(metrics, "gateway_streams_resumed_total", SL_METRICS_COUNTER,
        "Streams that went on where the client had stopped, without a snapshot.",
        stats->streams_resumed);
    write_counted(metrics, "gateway_streams_ended_total", "Streams that ended, by reason.",
        "reason", ended, sizeof(ended) / sizeof(ended[0]));
    write_counted(metrics, "gateway_streams_refused_total",
        "Streams that were not opened, by reason.", "reason", refused,
        sizeof(refused) / sizeof(refused[0]));
    write_simple(metrics, "gateway_events_received_total", SL_METRICS_COUNTER,
        "Events read from the topics.", stats->events_received);
    write_simple(metrics, "gateway_events_unusable_total", SL_METRICS_COUNTER,
        "Events of the topics without a key, the pointed-at value, or JSON.",
        stats->events_unusable);
    write_simple(metrics, "gateway_events_delivered_total", SL_METRICS_COUNTER,
        "Events written to streams, summed over them.", stats->events_delivered);
    write_simple(metrics, "gateway_heartbeats_total", SL_METRICS_COUNTER,
        "Comments sent to silent streams.", stats->heartbeats);
    write_simple(metrics, "gateway_streams_lagged_total", SL_METRICS_COUNTER,
        "Times that a slow reader was told 'lagged'.", stats->lagged);
    write_simple(metrics, "gateway_streams_reset_total", SL_METRICS_COUNTER,
        "Times that a stream could not resume and began anew.", stats->resets);
}

static void write_requests(struct sl_metrics *metrics, const struct sl_gateway_stats *stats)
{
    const struct counted results[] = {{"answered", stats->proxy_answered},
        {"upstream_failed", stats->proxy_upstream_failed}, {"timed_out", stats->proxy_timed_out},
        {"client_gone", stats->proxy_client_gone}};
    const struct counted bytes[] = {
        {"received", stats->server.bytes_received}, {"sent", stats->server.bytes_sent}};
    write_counted(metrics, "gateway_proxy_requests_total",
        "Requests passed to an upstream, by how they ended.", "result", results,
        sizeof(results) / sizeof(results[0]));
    write_simple(metrics, "gateway_proxy_running", SL_METRICS_GAUGE,
        "Requests that are with an upstream now.", stats->proxied);
    write_simple(metrics, "gateway_connections", SL_METRICS_GAUGE, "Open connections.",
        stats->server.connections);
    write_simple(metrics, "gateway_connections_refused_total", SL_METRICS_COUNTER,
        "Connections refused because there were too many.", stats->server.connections_refused);
    write_simple(metrics, "gateway_requests_total", SL_METRICS_COUNTER, "Requests.",
        stats->server.requests);
    write_simple(metrics, "gateway_requests_malformed_total", SL_METRICS_COUNTER,
        "Requests that broke HTTP's rules.", stats->server.requests_malformed);
    write_counted(metrics, "gateway_bytes_total", "Bytes over the gateway's connections.",
        "direction", bytes, sizeof(bytes) / sizeof(bytes[0]));
}

static bool add_stream(void *context, const struct sl_stream_info *info)
{
    json_t *streams = context;
    json_array_append_new(streams,
        json_pack("{s:s, s:o, s:o, s:s?, s:I, s:I, s:I, s:b}", "route", info->route, "key",
            sl_state_text(info->key), "owner",
            info->owner.size == 0 ? json_null() : sl_state_text(info->owner), "client",
            info->client, "age_ms", (json_int_t) info->age_ms, "queued_bytes",
            (json_int_t) info->queued, "delivered", (json_int_t) info->delivered, "is_lagging",
            info->is_lagging));
    return json_array_size(streams) < STREAMS_SHOWN_MAX;
}

static void collect(void *context, struct sl_console_writer *writer)
{
    struct sl_gateway_part *part = context;
    struct sl_gateway_stats stats;
    char reason[REASON_SIZE] = "";
    json_t *streams = json_array();
    sl_gateway_stats(part->gateway, &stats);
    write_streams(writer->metrics, &stats);
    write_requests(writer->metrics, &stats);
    sl_gateway_each_stream(part->gateway, add_stream, streams);
    sl_console_add_total(writer, "delivered", (int64_t) stats.events_delivered);
    bool is_ready = sl_gateway_is_ready(part->gateway, reason, sizeof(reason));
    if (!is_ready) {
        char text[REASON_SIZE + 20];
        snprintf(text, sizeof(text), "gateway: %s", reason);
        json_array_append_new(writer->not_ready, json_string(text));
    }
    json_object_set_new(writer->state, "gateway",
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "url",
            sl_gateway_part_url(part), "is_ready", is_ready, "streams", (json_int_t) stats.streams,
            "queued_bytes", (json_int_t) stats.queued, "delivered_total",
            (json_int_t) stats.events_delivered, "received_total",
            (json_int_t) stats.events_received, "unusable_total",
            (json_int_t) stats.events_unusable, "lagged_total", (json_int_t) stats.lagged,
            "resets_total", (json_int_t) stats.resets, "connections",
            (json_int_t) stats.server.connections, "live", streams));
}

struct sl_console_source sl_gateway_part_source(struct sl_gateway_part *part)
{
    return (struct sl_console_source) {.context = part, .is_blocking = false, .collect = collect};
}
