#include "cli/gateway_part.h"

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/parse.h"
#include "console/state.h"

/* As many live streams as a page can show; the counts are of all. */
enum { STREAMS_SHOWN_MAX = 100, REASON_SIZE = 200, KEY_FILE_SIZE_MAX = 64 * 1024 };

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
    struct sl_publish_options *publishes;
    bool has_streams;
    bool has_publishes;
};

/* The token's options, and the files that they name. */
struct tokens {
    struct sl_token_options options;
    struct sl_token_file files[SL_OPTION_ITEMS_MAX];
    char *contents[SL_OPTION_ITEMS_MAX];
};

static enum sl_token_mode mode_of(const char *word)
{
    struct sl_text text = sl_text_of(word);
    return sl_text_equal(text, SL_TEXT("required")) ? SL_TOKEN_REQUIRED
        : sl_text_equal(text, SL_TEXT("optional"))  ? SL_TOKEN_OPTIONAL
        : sl_text_equal(text, SL_TEXT("none"))      ? SL_TOKEN_NONE
                                                    : SL_TOKEN_BY_KIND;
}

static void free_converted(struct converted *converted)
{
    sl_free(converted->routes);
    sl_free(converted->streams);
    sl_free(converted->publishes);
}

static int convert(const struct sl_config_routes *from, struct converted *ret)
{
    struct converted converted = {.routes = sl_allocate(from->count * sizeof(struct sl_route)),
        .streams = sl_allocate(from->count * sizeof(struct sl_stream_options)),
        .publishes = sl_allocate(from->count * sizeof(struct sl_publish_options))};
    if (converted.routes == NULL || converted.streams == NULL || converted.publishes == NULL) {
        free_converted(&converted);
        return -1;
    }
    for (size_t i = 0; i < from->count; i++) {
        const struct sl_config_route *route = &from->routes[i];
        converted.routes[i] = (struct sl_route) {.path = route->path,
            .upstream = route->upstream,
            .subject = route->subject,
            .token = mode_of(route->token)};
        if (route->publish_count > 0) {
            int64_t size_max = 0;
            if (route->size_max != NULL && !sl_parse_size(sl_text_of(route->size_max), &size_max)) {
                size_max = 0;
            }
            converted.publishes[i] =
                (struct sl_publish_options) {.topics = (const char *const *) route->publish,
                    .topic_count = route->publish_count,
                    .size_max = (size_t) size_max};
            converted.routes[i].publish = &converted.publishes[i];
            converted.has_publishes = true;
        }
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

static const char *text_of(const struct sl_config *config, enum sl_option_id id)
{
    return sl_config_text(config, id);
}

static int read_key_file(
    const char *name, char **ret_contents, struct sl_text *ret_text, struct sluice_error *error)
{
    FILE *stream = fopen(name, "re");
    char *contents = sl_allocate(KEY_FILE_SIZE_MAX + 1);
    size_t size =
        stream == NULL || contents == NULL ? 0 : fread(contents, 1, KEY_FILE_SIZE_MAX + 1, stream);
    int number = stream == NULL || ferror(stream) ? errno : 0;
    if (stream != NULL) {
        fclose(stream);
    }
    if (contents == NULL) {
        return sl_fail_memory(error, "a key");
    }
    *ret_contents = contents;
    *ret_text = (struct sl_text) {contents, size};
    if (number != 0) {
        return sl_fail_system(error, number, "cannot read the key file", name);
    }
    return size <= KEY_FILE_SIZE_MAX
        ? 0
        : sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
              "the key file %s is longer than %d bytes; name a file with keys only", name,
              KEY_FILE_SIZE_MAX);
}

static int read_tokens(
    const struct sl_config *config, struct tokens *tokens, struct sluice_error *error)
{
    const struct sl_config_value *names = &config->values[SL_OPTION_GATEWAY_TOKEN_KEY_FILES];
    for (size_t i = 0; i < names->item_count; i++) {
        tokens->files[i].name = names->items[i];
        if (read_key_file(
                names->items[i], &tokens->contents[i], &tokens->files[i].contents, error) != 0) {
            return -1;
        }
    }
    tokens->options = (struct sl_token_options) {
        .secret = text_of(config, SL_OPTION_GATEWAY_TOKEN_SECRET),
        .files = tokens->files,
        .file_count = names->item_count,
        .audience = text_of(config, SL_OPTION_GATEWAY_TOKEN_AUDIENCE),
        .issuer = text_of(config, SL_OPTION_GATEWAY_TOKEN_ISSUER),
        .cookie = text_of(config, SL_OPTION_GATEWAY_TOKEN_COOKIE),
        .subject_header = text_of(config, SL_OPTION_GATEWAY_TOKEN_SUBJECT_HEADER),
        .leeway_ms = sl_config_number(config, SL_OPTION_GATEWAY_TOKEN_LEEWAY),
    };
    return 0;
}

static void free_tokens(struct tokens *tokens)
{
    for (size_t i = 0; i < SL_OPTION_ITEMS_MAX; i++) {
        if (tokens->contents[i] != NULL) {
            explicit_bzero(tokens->contents[i], KEY_FILE_SIZE_MAX + 1);
        }
        sl_free(tokens->contents[i]);
    }
}

/* Open the broker, once to read and once to publish, and the gateway on them. */
static int open_parts(uv_loop_t *loop, const struct sl_config *config,
    const struct converted *converted, const struct sl_gateway_options *options,
    struct sl_gateway_part *part, struct sluice_error *error)
{
    const char *url = text_of(config, SL_OPTION_BROKER);
    struct sl_broker *publisher = NULL;
    if (converted->has_streams && sl_broker_open(url, &part->broker, error) != 0) {
        return -1;
    }
    if (converted->has_publishes && sl_broker_open(url, &publisher, error) != 0) {
        return -1;
    }
    return sl_gateway_open(loop, part->broker, publisher, options, &part->gateway, error);
}

static int open_both(uv_loop_t *loop, const struct sl_config *config,
    const struct converted *converted, struct sl_gateway_part *part, struct sluice_error *error)
{
    struct tokens tokens = {0};
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
    int result = read_tokens(config, &tokens, error);
    options.token = &tokens.options;
    if (result == 0) {
        result = open_parts(loop, config, converted, &options, part, error);
    }
    free_tokens(&tokens);
    return result;
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
    struct tokens tokens = {0};
    if (convert(&config->routes, &converted) != 0) {
        return sl_fail_memory(error, "the routes");
    }
    struct sl_gateway_options options = {
        .token = &tokens.options, .routes = converted.routes, .route_count = config->routes.count};
    int result = read_tokens(config, &tokens, error);
    result = result == 0 ? sl_gateway_check(&options, error) : result;
    free_tokens(&tokens);
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
        {"unavailable", stats->ended_unavailable}, {"expired", stats->ended_expired}};
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

static void write_access(struct sl_metrics *metrics, const struct sl_gateway_stats *stats)
{
    const struct counted refused[] = {{"token", stats->refused_token},
        {"subject", stats->refused_subject}, {"origin", stats->refused_origin}};
    const struct counted published[] = {{"accepted", stats->published},
        {"refused", stats->publish_refused}, {"failed", stats->publish_failed}};
    write_counted(metrics, "gateway_access_refused_total",
        "Requests without a good token, with another's, or from a foreign page with a cookie.",
        "reason", refused, sizeof(refused) / sizeof(refused[0]));
    write_counted(metrics, "gateway_published_total",
        "Requests to publish an event, by how they ended.", "result", published,
        sizeof(published) / sizeof(published[0]));
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
    write_access(writer->metrics, &stats);
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
