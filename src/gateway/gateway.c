/* The gateway as a whole: opening, choosing a route for each request, stopping. */
#include "gateway/gateway.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/parse.h"
#include "base/random.h"
#include "gateway/internal.h"
#include "wire/json_pointer.h"

/* After a restart all clients come back at once: their service must not get them all at once. */
enum { LOG_INTERVAL_MS = 1000, SNAPSHOTS_AT_A_TIME = 64, TICK_MS_MAX = 1000 };

uint64_t sl_gateway_jitter(struct sl_gateway *gateway, uint64_t bound)
{
    /* xorshift64: a few instructions, since each heartbeat asks. */
    uint64_t state = gateway->random_state;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    gateway->random_state = state;
    return bound == 0 ? 0 : state % bound;
}

int64_t sl_gateway_retry_ms(struct sl_gateway *gateway)
{
    int64_t retry_ms = gateway->options.retry_ms;
    return retry_ms / 2 + (int64_t) sl_gateway_jitter(gateway, (uint64_t) retry_ms + 1);
}

bool sl_gateway_may_log(struct sl_gateway *gateway)
{
    int64_t now_ms = (int64_t) uv_now(gateway->loop);
    if (gateway->logged_ms != 0 && now_ms - gateway->logged_ms < LOG_INTERVAL_MS) {
        return false;
    }
    gateway->logged_ms = now_ms;
    return true;
}

void sl_gateway_refuse(const struct sl_gateway *gateway, struct sl_exchange *exchange, int status,
    const struct sl_http1_header *extra, const char *format, ...)
{
    char text[SLUICE_ERROR_TEXT_SIZE];
    struct sl_buffer body;
    struct sl_http1_header headers[SL_CORS_HEADERS_MAX + 2] = {
        {SL_TEXT("Content-Type"), SL_TEXT("application/json")}};
    struct sl_http_response response = {.status = status, .headers = headers, .header_count = 1};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (extra != NULL) {
        headers[response.header_count++] = *extra;
    }
    response.header_count += sl_cors_add(gateway, exchange, &headers[response.header_count]);
    sl_buffer_init(&body, 8 * sizeof(text));
    sl_buffer_append_text(&body, "{\"error\": ");
    (void) !sl_json_append_string(&body, sl_text_of(text));
    sl_buffer_append_text(&body, "}\n");
    sl_exchange_respond_with(
        exchange, &response, body.data == NULL ? "" : body.data, body.is_failed ? 0 : body.size);
    sl_buffer_deinit(&body);
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static void apply_defaults(struct sl_gateway_options *options)
{
    options->heartbeat_ms = or_default(options->heartbeat_ms, 15000);
    options->retry_ms = or_default(options->retry_ms, 2000);
    options->stream_stall_ms = or_default(options->stream_stall_ms, 10000);
    options->snapshot_timeout_ms = or_default(options->snapshot_timeout_ms, 5000);
    options->upstream_timeout_ms = or_default(options->upstream_timeout_ms, 60000);
    options->connect_timeout_ms = or_default(options->connect_timeout_ms, 5000);
    options->replay_events = options->replay_events == 0 ? 65536 : options->replay_events;
    options->replay_bytes =
        options->replay_bytes == 0 ? 64U * 1024 * 1024 : options->replay_bytes;
    options->stream_queue_size_max =
        options->stream_queue_size_max == 0 ? 64U * 1024 : options->stream_queue_size_max;
    options->queue_budget =
        options->queue_budget == 0 ? 64U * 1024 * 1024 : options->queue_budget;
}

/*
 * What is wrong with a path whoever reads it next, or NULL. `is_guarded`: some routes ask for
 * tokens, so a path must not mean one route here and another one's to an upstream that tidies it
 * up.
 */
static const char *fault_of_path(struct sl_text path, bool is_guarded)
{
    char decoded[SL_HTTP1_LINE_SIZE_MAX];
    size_t size = 0;
    bool has_slash = false;
    for (size_t i = 0; i < path.size && size < sizeof(decoded); i++) {
        uint64_t byte = (unsigned char)path.data[i];
        if (byte == '%') {
            if (path.size - i < 3 || !sl_parse_hex((struct sl_text){path.data + i + 1, 2}, &byte)) {
                return "the path has a % without two hexadecimal digits behind it";
            }
            i += 2;
            has_slash = has_slash || byte == '/';
        }
        decoded[size++] = (char)byte;
    }
    if (!sl_text_is_clean_utf8((struct sl_text){decoded, size})) {
        return "the path is no UTF-8, or has control characters in it";
    }
    if (is_guarded &&
        (has_slash || memmem(decoded, size, "//", 2) != NULL ||
            memchr(decoded, '\\', size) != NULL)) {
        return "the path has an empty segment, an encoded / or a \\, which could mean another path "
               "to whoever reads it next";
    }
    return sl_path_has_dots(path) || sl_path_has_dots((struct sl_text) {decoded, size})
        ? "the path has a segment . or .., which could mean another "
          "path to whoever reads it next"
        : NULL;
}

static void on_request(void *context, struct sl_exchange *exchange)
{
    struct sl_gateway *gateway = context;
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    struct sl_match match;
    const char *fault = fault_of_path(request->path, gateway->gate.keys.count > 0);
    if (fault != NULL) {
        sl_exchange_fail(exchange, 400, "%s", fault);
        return;
    }
    for (size_t i = 0; i < gateway->route_count; i++) {
        struct sl_compiled_route *route = &gateway->routes[i];
        enum sl_match_result result = sl_pattern_match(&route->pattern, request->path, &match);
        if (result == SL_MATCHES_NOT) {
            continue;
        }
        if (result == SL_MATCH_REFUSED) {
            sl_exchange_fail(
                exchange, 400, "a part of the path holds a byte that it must not hold");
        } else if (route->stream != NULL) {
            sl_stream_open(gateway, route, exchange);
        } else if (route->publish != NULL) {
            sl_publish_open(gateway, route, exchange);
        } else {
            sl_proxy_open(gateway, route, exchange);
        }
        return;
    }
    sl_exchange_fail(exchange, 404, "no route of this gateway leads there");
}

/* Whether a route has what it needs of the rest of the gateway. */
static int check_route(const struct sl_gateway *gateway, const struct sl_compiled_route *route,
    struct sluice_error *error)
{
    if (route->token != SL_TOKEN_NONE && gateway->gate.keys.count == 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "route %s: it needs tokens, and there is no key to check them with: set "
            "`gateway.token.key_files` or SLUICE_GATEWAY_TOKEN_SECRET",
            route->path);
    }
    return 0;
}

int sl_gateway_check(const struct sl_gateway_options *options, struct sluice_error *error)
{
    struct sl_gateway *gateway = sl_allocate(sizeof(*gateway));
    if (gateway == NULL) {
        return sl_fail_memory(error, "the gateway");
    }
    int result = sl_access_open(gateway, options->token, error);
    result = result == 0 ? sl_cors_open(gateway, options->origins, options->origin_count, error)
                         : result;
    for (size_t i = 0; i < options->route_count && result == 0; i++) {
        struct sl_compiled_route compiled;
        result = sl_route_compile(&options->routes[i], &compiled, error);
        result = result == 0 ? check_route(gateway, &compiled, error) : result;
        sl_route_deinit(&compiled);
    }
    sl_access_close(gateway);
    sl_cors_close(gateway);
    sl_free(gateway);
    return result;
}

/* Give the route a topic: one that another route with the same rules uses, or a new one. */
static int join_topic(struct sl_gateway *gateway, struct sl_compiled_route *route,
    struct sluice_error *error)
{
    struct sl_stream_route *stream = route->stream;
    for (struct sl_topic *each = gateway->topics; each != NULL; each = each->next) {
        if (strcmp(each->name, stream->topic_name) == 0 &&
            sl_payload_rules_equal(&each->rules, &stream->rules)) {
            stream->topic = each;
            return 0;
        }
    }
    struct sl_topic *topic = sl_allocate(sizeof(*topic));
    if (topic == NULL) {
        return sl_fail_memory(error, "a topic");
    }
    topic->name = stream->topic_name;
    topic->rules = stream->rules;
    sl_hub_init(&topic->hub, topic->name, sl_broker_epoch(gateway->broker),
        gateway->options.replay_events, gateway->options.replay_bytes);
    topic->hub.is_sparse = !sl_broker_is_dense(gateway->broker);
    topic->next = gateway->topics;
    gateway->topics = topic;
    stream->topic = topic;
    return 0;
}

static int compile_routes(struct sl_gateway *gateway, const struct sl_gateway_options *options,
    struct sluice_error *error)
{
    gateway->routes = sl_allocate(options->route_count * sizeof(struct sl_compiled_route));
    if (gateway->routes == NULL) {
        return sl_fail_memory(error, "the routes");
    }
    for (size_t i = 0; i < options->route_count; i++) {
        struct sl_compiled_route *route = &gateway->routes[i];
        gateway->route_count = i + 1;
        if (sl_route_compile(&options->routes[i], route, error) != 0) {
            return -1;
        }
        if (route->stream != NULL && gateway->broker == NULL) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "route %s: a stream needs a broker: set `broker`, as local:events.db",
                route->path);
        }
        if (route->publish != NULL && gateway->publisher == NULL) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "route %s: publishing needs a broker: set `broker`, as local:events.db",
                route->path);
        }
        if (check_route(gateway, route, error) != 0) {
            return -1;
        }
        if (route->stream != NULL && join_topic(gateway, route, error) != 0) {
            return -1;
        }
    }
    return 0;
}

static int open_clients(struct sl_gateway *gateway, struct sluice_error *error)
{
    struct sl_http_client_options proxied = {
        .connect_timeout_ms = gateway->options.connect_timeout_ms,
        .head_timeout_ms = gateway->options.upstream_timeout_ms,
    };
    struct sl_http_client_options snapshots = {
        .connect_timeout_ms = gateway->options.connect_timeout_ms,
        .calls_max = SNAPSHOTS_AT_A_TIME,
        .head_timeout_ms = gateway->options.snapshot_timeout_ms,
        .body_timeout_ms = gateway->options.snapshot_timeout_ms,
    };
    if (sl_http_client_open(gateway->loop, &proxied, &gateway->client, error) != 0) {
        return -1;
    }
    return sl_http_client_open(gateway->loop, &snapshots, &gateway->snapshots, error);
}

static int open_server(struct sl_gateway *gateway, const struct sl_gateway_options *options,
    struct sluice_error *error)
{
    size_t queue_size_max = 4 * options->stream_queue_size_max;
    struct sl_http_server_options server = {
        .addresses = options->listen,
        .address_count = options->listen_count,
        .on_request = on_request,
        .context = gateway,
        .connections_max = options->connections_max,
        .queue_size_max = queue_size_max > 256U * 1024 ? queue_size_max : 256U * 1024,
        .stream_write_timeout_ms = options->stream_stall_ms,
        .body_size_max = -1,
    };
    return sl_http_server_open(gateway->loop, &server, &gateway->server, error);
}

static void free_gateway(struct sl_gateway *gateway)
{
    void (*on_stopped)(void *context) = gateway->on_stopped;
    void *context = gateway->stop_context;
    while (gateway->topics != NULL) {
        struct sl_topic *next = gateway->topics->next;
        sl_hub_deinit(&gateway->topics->hub);
        sl_free(gateway->topics);
        gateway->topics = next;
    }
    for (size_t i = 0; i < gateway->route_count; i++) {
        sl_route_deinit(&gateway->routes[i]);
    }
    sl_free(gateway->routes);
    sl_cors_close(gateway);
    sl_access_close(gateway);
    sl_frame_unref(gateway->heartbeat);
    sl_free(gateway);
    if (on_stopped != NULL) {
        on_stopped(context);
    }
}

void sl_gateway_release(struct sl_gateway *gateway)
{
    if (--gateway->handle_count == 0) {
        free_gateway(gateway);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    sl_gateway_release(handle->data);
}

/* The server is gone, and with it all exchanges: let go of the rest. */
static void close_rest(void *context)
{
    struct sl_gateway *gateway = context;
    gateway->server = NULL;
    sl_feed_close(gateway->feed);
    gateway->feed = NULL;
    sl_broker_close(gateway->publisher);
    gateway->publisher = NULL;
    sl_publishes_free(gateway);
    sl_http_client_close(gateway->client);
    sl_http_client_close(gateway->snapshots);
    uv_close((uv_handle_t *) &gateway->timer, on_timer_closed);
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_gateway *gateway = timer->data;
    sl_streams_tick(gateway);
    sl_publishes_tick(gateway);
    if (gateway->streams == NULL && gateway->publishes == NULL) {
        uv_timer_stop(timer);
    }
}

static int start_timer(struct sl_gateway *gateway)
{
    int64_t tick_ms = gateway->options.heartbeat_ms / (SL_WHEEL_SLOTS - 4);
    /* Streams whose token ends are not to wait for a heartbeat. */
    tick_ms = tick_ms < 5 ? 5 : tick_ms > TICK_MS_MAX ? TICK_MS_MAX : tick_ms;
    uv_timer_init(gateway->loop, &gateway->timer);
    gateway->timer.data = gateway;
    gateway->handle_count = 1;
    /* Started and stopped, so that uv_timer_again knows the callback and the interval. */
    uv_timer_start(&gateway->timer, on_tick, (uint64_t) tick_ms, (uint64_t) tick_ms);
    return uv_timer_stop(&gateway->timer);
}

static int open_parts(struct sl_gateway *gateway, const struct sl_gateway_options *options,
    struct sluice_error *error)
{
    gateway->heartbeat = sl_frame_new(":\n\n", 3);
    if (gateway->heartbeat == NULL) {
        return sl_fail_memory(error, "the gateway");
    }
    if (gateway->publisher != NULL &&
        sl_broker_attach(gateway->publisher, gateway->loop, error) != 0) {
        return -1;
    }
    if (sl_cors_open(gateway, options->origins, options->origin_count, error) != 0 ||
        sl_access_open(gateway, options->token, error) != 0 ||
        compile_routes(gateway, options, error) != 0 || open_clients(gateway, error) != 0 ||
        (gateway->topics != NULL && sl_feed_open(gateway, error) != 0)) {
        return -1;
    }
    return open_server(gateway, &gateway->options, error);
}

int sl_gateway_open(uv_loop_t *loop, struct sl_broker *broker, struct sl_broker *take_publisher,
    const struct sl_gateway_options *options, struct sl_gateway **ret_gateway,
    struct sluice_error *error)
{
    struct sl_gateway *gateway = sl_allocate(sizeof(*gateway));
    if (gateway == NULL) {
        sl_broker_close(take_publisher);
        return sl_fail_memory(error, "the gateway");
    }
    gateway->publisher = take_publisher;
    gateway->loop = loop;
    gateway->broker = broker;
    gateway->options = *options;
    gateway->random_state = sl_random_u64() | 1;
    apply_defaults(&gateway->options);
    start_timer(gateway);
    if (open_parts(gateway, options, error) != 0) {
        close_rest(gateway);
        return -1;
    }
    gateway->options.listen = NULL;
    gateway->options.routes = NULL;
    gateway->options.origins = NULL;
    gateway->options.token = NULL;
    *ret_gateway = gateway;
    return 0;
}

const char *sl_gateway_url(const struct sl_gateway *gateway, size_t index)
{
    return sl_http_server_url(gateway->server, index);
}

void sl_gateway_stop(struct sl_gateway *gateway, int64_t grace_ms,
    void (*on_stopped)(void *context), void *context)
{
    gateway->is_stopping = true;
    gateway->on_stopped = on_stopped;
    gateway->stop_context = context;
    sl_streams_drain(gateway);
    sl_http_server_stop(gateway->server, grace_ms, close_rest, gateway);
}

void sl_gateway_stats(const struct sl_gateway *gateway, struct sl_gateway_stats *ret_stats)
{
    *ret_stats = gateway->stats;
    if (gateway->server != NULL) {
        sl_http_server_stats(gateway->server, &ret_stats->server);
    }
}

bool sl_gateway_is_ready(const struct sl_gateway *gateway, char *ret_reason, size_t size)
{
    if (gateway->is_stopping) {
        if (ret_reason != NULL) {
            snprintf(ret_reason, size, "the gateway is stopping");
        }
        return false;
    }
    return gateway->feed == NULL || sl_feed_is_ready(gateway->feed, ret_reason, size);
}

void sl_gateway_each_stream(const struct sl_gateway *gateway,
    bool (*visit)(void *context, const struct sl_stream_info *info), void *context)
{
    sl_streams_each(gateway, visit, context);
}
