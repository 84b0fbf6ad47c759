/*
 * tests/support/gateway_host.c - a gateway in a process of its own, for the process tests.
 *
 * usage: gateway_host LOG.db|kafka://HOST:PORT OPTIONS-AND-ROUTES-AS-JSON
 *
 * The JSON has the numbers of struct sl_gateway_options by their names, "routes", and "token" with
 * the texts of struct sl_token_options, and "key", the contents of a key's file. Prints one line
 * "ready gateway=http://..." and then answers a line of stdin by a line of stdout: event TOPIC KEY
 * PAYLOAD     appends a record ("-" is no key); prints its offset stats prints the counters streams
 * prints the live streams SIGTERM stops it gracefully; so does the end of stdin.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/memory.h"
#include "broker/broker.h"
#include "event/id.h"
#include "gateway/gateway.h"

enum { ROUTES_MAX = 16, FINALS_MAX = 16, LINE_SIZE_MAX = 4 * 1024 * 1024 };

struct host {
    uv_loop_t loop;
    uv_signal_t signal;
    uv_pipe_t input;
    struct sl_broker *broker;
    struct sl_broker *producer; /* appends, as another process would */
    struct sl_gateway *gateway;
    struct sl_buffer line;
    char url[512];
    struct sl_route routes[ROUTES_MAX];
    struct sl_stream_options streams[ROUTES_MAX];
    struct sl_publish_options publishes[ROUTES_MAX];
    bool has_publishes;
    const char *finals[ROUTES_MAX][FINALS_MAX];
    bool is_stopping;
};

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void read_route(struct host *host, size_t index, const json_t *route)
{
    struct sl_stream_options *stream = &host->streams[index];
    const json_t *finals = json_object_get(route, "final");
    host->routes[index].path = text_of(route, "path");
    host->routes[index].upstream = text_of(route, "upstream");
    host->routes[index].subject = text_of(route, "subject");
    host->routes[index].token = (enum sl_token_mode) number_of(route, "token");
    if (json_object_get(route, "publish") != NULL) {
        struct sl_publish_options *publish = &host->publishes[index];
        const json_t *topics = json_object_get(route, "publish");
        publish->size_max = (size_t) number_of(route, "size_max");
        publish->topics = host->finals[index];
        for (size_t i = 0; i < json_array_size(topics) && i < FINALS_MAX; i++) {
            host->finals[index][i] = json_string_value(json_array_get(topics, i));
            publish->topic_count = i + 1;
        }
        host->routes[index].publish = publish;
        host->has_publishes = true;
    }
    if (text_of(route, "topic") == NULL) {
        return;
    }
    *stream = (struct sl_stream_options) {
        .topic = text_of(route, "topic"),
        .key = text_of(route, "key"),
        .snapshot = text_of(route, "snapshot"),
        .event = text_of(route, "event"),
        .version = text_of(route, "version"),
        .owner = text_of(route, "owner"),
        .final_statuses = host->finals[index],
        .final_count = json_array_size(finals),
    };
    for (size_t i = 0; i < stream->final_count && i < FINALS_MAX; i++) {
        host->finals[index][i] = json_string_value(json_array_get(finals, i));
    }
    host->routes[index].stream = stream;
}

static int open_gateway(struct host *host, const json_t *config, struct sluice_error *error)
{
    const char *listen = text_of(config, "listen");
    const json_t *routes = json_object_get(config, "routes");
    const char *origin = text_of(config, "origin");
    listen = listen == NULL ? "127.0.0.1:0" : listen;
    for (size_t i = 0; i < json_array_size(routes) && i < ROUTES_MAX; i++) {
        read_route(host, i, json_array_get(routes, i));
    }
    struct sl_gateway_options options = {
        .listen = &listen,
        .listen_count = 1,
        .routes = host->routes,
        .route_count = json_array_size(routes),
        .origins = &origin,
        .origin_count = origin == NULL ? 0 : 1,
        .connections_max = (size_t) number_of(config, "connections_max"),
        .heartbeat_ms = number_of(config, "heartbeat_ms"),
        .retry_ms = number_of(config, "retry_ms"),
        .replay_events = (size_t) number_of(config, "replay_events"),
        .replay_bytes = (size_t) number_of(config, "replay_bytes"),
        .stream_queue_size_max = (size_t) number_of(config, "stream_queue_size_max"),
        .stream_stall_ms = number_of(config, "stream_stall_ms"),
        .queue_budget = (size_t) number_of(config, "queue_budget"),
        .snapshot_timeout_ms = number_of(config, "snapshot_timeout_ms"),
        .upstream_timeout_ms = number_of(config, "upstream_timeout_ms"),
        .connect_timeout_ms = number_of(config, "connect_timeout_ms"),
    };
    const json_t *token = json_object_get(config, "token");
    struct sl_token_file key = {"key", sl_text_of(text_of(token, "key"))};
    struct sl_token_options tokens = {
        .secret = text_of(token, "secret"),
        .files = &key,
        .file_count = key.contents.size > 0 ? 1 : 0,
        .audience = text_of(token, "audience"),
        .issuer = text_of(token, "issuer"),
        .cookie = text_of(token, "cookie"),
        .subject_header = text_of(token, "subject_header"),
        .leeway_ms = number_of(token, "leeway_ms"),
    };
    options.token = &tokens;
    struct sl_broker *publisher = NULL;
    if (host->has_publishes && sl_broker_open(host->url, &publisher, error) != 0) {
        return -1;
    }
    return sl_gateway_open(&host->loop, host->broker, publisher, &options, &host->gateway, error);
}

static void append_event(struct host *host, struct sl_text rest)
{
    struct sl_text topic;
    struct sl_text key;
    struct sluice_error error;
    struct sl_position position;
    struct sl_source source = {.id = "gateway-host"};
    size_t rejected;
    sl_text_split(&rest, ' ', &topic);
    sl_text_split(&rest, ' ', &key);
    struct sl_event event = {
        .has_key = !sl_text_equal(key, SL_TEXT("-")),
        .topic = topic,
        .key = key,
        .type = SL_TEXT("Test"),
        .payload = rest,
        .headers = SL_TEXT("{}"),
        .time_ms = sl_clock_wall_ms(),
    };
    sl_id_new(event.id);
    event.key = event.has_key ? key : (struct sl_text) {"", 0};
    if (sl_broker_source_position(host->producer, &source, &position, &error) != 0) {
        printf("failed %s\n", error.text);
        return;
    }
    struct sl_append append = {.events = &event,
        .count = 1,
        .source_id = source.id,
        .position_before = position,
        .position_after = {0, position.id + 1}};
    if (sl_broker_append(host->producer, &append, &rejected, &error) != 0) {
        printf("failed %s\n", error.text);
    } else {
        printf("appended %" PRId64 "\n", position.id);
    }
}

static void print_stats(const struct host *host)
{
    struct sl_gateway_stats stats;
    char reason[200] = "";
    sl_gateway_stats(host->gateway, &stats);
    bool is_ready = sl_gateway_is_ready(host->gateway, reason, sizeof(reason));
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"is_ready", is_ready},
        {"connections", stats.server.connections},
        {"requests", stats.server.requests},
        {"malformed", stats.server.requests_malformed},
        {"refused_connections", stats.server.connections_refused},
        {"streams", stats.streams},
        {"queued", stats.queued},
        {"streams_opened", stats.streams_opened},
        {"streams_resumed", stats.streams_resumed},
        {"ended_final", stats.ended_final},
        {"ended_by_client", stats.ended_by_client},
        {"ended_replaced", stats.ended_replaced},
        {"ended_slow", stats.ended_slow},
        {"ended_draining", stats.ended_draining},
        {"ended_unavailable", stats.ended_unavailable},
        {"refused_over", stats.refused_over},
        {"refused_budget", stats.refused_budget},
        {"refused_by_upstream", stats.refused_by_upstream},
        {"events_received", stats.events_received},
        {"events_unusable", stats.events_unusable},
        {"events_delivered", stats.events_delivered},
        {"heartbeats", stats.heartbeats},
        {"lagged", stats.lagged},
        {"resets", stats.resets},
        {"ended_expired", stats.ended_expired},
        {"refused_token", stats.refused_token},
        {"refused_subject", stats.refused_subject},
        {"refused_origin", stats.refused_origin},
        {"published", stats.published},
        {"publish_refused", stats.publish_refused},
        {"publish_failed", stats.publish_failed},
        {"proxied", stats.proxied},
        {"proxy_requests", stats.proxy_requests},
        {"proxy_answered", stats.proxy_answered},
        {"proxy_upstream_failed", stats.proxy_upstream_failed},
        {"proxy_timed_out", stats.proxy_timed_out},
        {"proxy_client_gone", stats.proxy_client_gone},
    };
    printf("{\"reason\": \"%s\"", reason);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        printf(", \"%s\": %" PRIu64, rows[i].name, rows[i].value);
    }
    printf("}\n");
}

static bool print_stream(void *context, const struct sl_stream_info *info)
{
    (void) context;
    printf("%s %.*s %.*s %s %" PRIu64 ";", info->route, (int) info->key.size,
        info->key.size == 0 ? "" : info->key.data, (int) info->owner.size,
        info->owner.size == 0 ? "" : info->owner.data, info->client, info->delivered);
    return true;
}

static void on_stopped(void *context)
{
    struct host *host = context;
    uv_close((uv_handle_t *) &host->signal, NULL);
    uv_close((uv_handle_t *) &host->input, NULL);
}

static void stop(struct host *host)
{
    if (!host->is_stopping) {
        host->is_stopping = true;
        sl_gateway_stop(host->gateway, 2000, on_stopped, host);
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void) number;
    stop(signal->data);
}

static void obey(struct host *host, struct sl_text line)
{
    struct sl_text command;
    sl_text_split(&line, ' ', &command);
    if (sl_text_equal(command, SL_TEXT("event"))) {
        append_event(host, line);
    } else if (sl_text_equal(command, SL_TEXT("stats"))) {
        print_stats(host);
    } else if (sl_text_equal(command, SL_TEXT("streams"))) {
        sl_gateway_each_stream(host->gateway, print_stream, NULL);
        printf("\n");
    } else {
        printf("failed unknown command\n");
    }
    fflush(stdout);
}

static void on_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct host *host = handle->data;
    (void) size;
    buffer->len = 0;
    if (sl_buffer_reserve(&host->line, 4096) == 0) {
        buffer->base = host->line.data + host->line.size;
        buffer->len = 4096;
    }
}

static void on_input(uv_stream_t *input, ssize_t size, const uv_buf_t *buffer)
{
    struct host *host = input->data;
    (void) buffer;
    if (size < 0) {
        uv_read_stop(input);
        stop(host);
        return;
    }
    host->line.size += (size_t) size;
    const char *end;
    while (host->line.size > 0 && (end = memchr(host->line.data, '\n', host->line.size)) != NULL) {
        size_t line_size = (size_t) (end - host->line.data);
        obey(host, (struct sl_text) {host->line.data, line_size});
        sl_buffer_consume(&host->line, line_size + 1);
    }
}

static int run(struct host *host, const char *file, const json_t *config)
{
    struct sluice_error error;
    snprintf(host->url, sizeof(host->url), "%s%s",
        strncmp(file, "kafka:", 6) == 0 ? "" : "local:", file);
    if (sl_broker_open(host->url, &host->broker, &error) != 0 ||
        sl_broker_open(host->url, &host->producer, &error) != 0 ||
        open_gateway(host, config, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        uv_run(&host->loop, UV_RUN_DEFAULT);
        sl_broker_close(host->producer);
        sl_broker_close(host->broker);
        return 1;
    }
    uv_signal_init(&host->loop, &host->signal);
    uv_pipe_init(&host->loop, &host->input, 0);
    host->signal.data = host->input.data = host;
    uv_signal_start(&host->signal, on_signal, SIGTERM);
    uv_pipe_open(&host->input, 0);
    uv_read_start((uv_stream_t *) &host->input, on_allocate, on_input);
    printf("ready gateway=%s\n", sl_gateway_url(host->gateway, 0));
    fflush(stdout);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    sl_broker_close(host->producer);
    sl_broker_close(host->broker);
    return uv_loop_close(&host->loop) == 0 ? 0 : 3;
}

int main(int argument_count, char **arguments)
{
    json_error_t error;
    if (argument_count != 3) {
        fprintf(stderr, "usage: gateway_host LOG.db|kafka://HOST:PORT JSON\n");
        return 2;
    }
    json_t *config = json_loads(arguments[2], 0, &error);
    struct host *host = sl_allocate(sizeof(*host));
    if (config == NULL || host == NULL) {
        fprintf(stderr, "the JSON cannot be read: %s\n", error.text);
        return 2;
    }
    uv_loop_init(&host->loop);
    sl_buffer_init(&host->line, LINE_SIZE_MAX);
    int status = run(host, arguments[1], config);
    sl_buffer_deinit(&host->line);
    sl_free(host);
    json_decref(config);
    return status;
}
