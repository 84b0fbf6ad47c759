/*
 * Forwarding: a request to its upstream and the answer back, both as they come. Nothing is held
 * back: each read of one side is written to the other at once, an event stream like anything else.
 * Where a side is slow, the other one is not read: at most SL_PROXY_QUEUE_SIZE and one read wait.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"
#include "gateway/internal.h"

enum { TARGET_SIZE_MAX = 16 * 1024, HEADERS_MAX = SL_HTTP1_HEADERS_MAX + 8 };

struct sl_proxy {
    struct sl_gateway *gateway;
    struct sl_exchange *exchange;
    struct sl_call *call; /* NULL once it has ended */
    bool is_started;
    bool is_answered;
};

static bool is_one_of(struct sl_text name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sl_text_equal_nocase(name, sl_text_of(names[i]))) {
            return true;
        }
    }
    return false;
}

bool sl_proxy_is_hop_field(
    const struct sl_http1_header *headers, size_t count, struct sl_text name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
        "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "http2-settings", "content-length"};
    if (is_one_of(name, names, sizeof(names) / sizeof(names[0]))) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (sl_text_equal_nocase(headers[i].name, SL_TEXT("connection")) &&
            sl_http1_has_token(headers[i].value, name)) {
            return true;
        }
    }
    return false;
}

/* Fields that say who asks: a client's own are not believed, and Connection cannot strip ours. */
static bool is_ours(struct sl_text name)
{
    static const char *const names[] = {"host", "expect", "forwarded", "x-forwarded-for",
        "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"};
    return is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

/* What is said to the upstream: the route, the request, who sends it. */
struct forward {
    const struct sl_compiled_route *route;
    const struct sl_http1_request *request;
    const char *client;
    struct sl_text subject; /* of its token; empty: none */
};

static size_t collect_headers(const struct sl_gateway *gateway, const struct forward *forward,
    struct sl_http1_header *headers)
{
    const struct sl_compiled_route *route = forward->route;
    const struct sl_http1_request *request = forward->request;
    size_t count = 0;
    headers[count++] =
        (struct sl_http1_header) {SL_TEXT("Host"), sl_text_of(route->target.authority)};
    for (size_t i = 0; i < request->header_count; i++) {
        struct sl_text name = request->headers[i].name;
        if (!is_ours(name) && !sl_access_is_subject_field(gateway, name) &&
            !sl_proxy_is_hop_field(request->headers, request->header_count, name)) {
            headers[count++] = request->headers[i];
        }
    }
    headers[count++] =
        (struct sl_http1_header) {SL_TEXT("X-Forwarded-For"), sl_text_of(forward->client)};
    headers[count++] = (struct sl_http1_header) {SL_TEXT("X-Forwarded-Proto"), SL_TEXT("http")};
    if (forward->subject.size > 0) {
        headers[count++] =
            (struct sl_http1_header) {sl_text_of(gateway->gate.subject_header), forward->subject};
    }
    if (request->host.size > 0) {
        headers[count++] = (struct sl_http1_header) {SL_TEXT("X-Forwarded-Host"), request->host};
    }
    return count;
}

static void on_body(void *context, const char *data, size_t size)
{
    struct sl_proxy *proxy = context;
    if (proxy->call == NULL) {
        return;
    }
    if (sl_call_write(proxy->call, data, size) != 0) {
        sl_call_cancel(proxy->call);
        proxy->call = NULL;
        proxy->gateway->stats.proxy_upstream_failed++;
        if (proxy->is_started) {
            sl_exchange_abort(proxy->exchange);
        } else {
            sl_exchange_fail(
                proxy->exchange, 502, "the upstream does not take the request's body");
        }
        return;
    }
    if (sl_call_queued(proxy->call) > SL_PROXY_QUEUE_SIZE) {
        sl_exchange_pause_body(proxy->exchange, true);
    }
}

static void on_body_end(void *context)
{
    struct sl_proxy *proxy = context;
    if (proxy->call != NULL) {
        sl_call_finish(proxy->call);
    }
}

static void on_client_drain(void *context)
{
    struct sl_proxy *proxy = context;
    if (proxy->call != NULL) {
        sl_call_pause(proxy->call, false);
    }
}

static void on_close(void *context, enum sl_exchange_end end)
{
    struct sl_proxy *proxy = context;
    struct sl_gateway_stats *stats = &proxy->gateway->stats;
    if (proxy->call != NULL) {
        sl_call_cancel(proxy->call);
        stats->proxy_client_gone++;
    } else if (proxy->is_answered && end == SL_EXCHANGE_DONE) {
        stats->proxy_answered++;
    } else if (end == SL_EXCHANGE_CLIENT_GONE || end == SL_EXCHANGE_TIMEOUT) {
        stats->proxy_client_gone++;
    }
    stats->proxied--;
    sl_free(proxy);
}

static const struct sl_exchange_handlers exchange_handlers = {
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_drain = on_client_drain,
    .on_close = on_close,
};

/* The length to announce: -1 where the upstream announced none. */
static int64_t length_of(const struct sl_http1_response *response)
{
    struct sl_text length = sl_http1_find(
        response->headers, response->header_count, SL_TEXT("content-length"));
    if (response->framing == SL_HTTP1_LENGTH ||
        (response->framing == SL_HTTP1_NO_BODY && length.data != NULL)) {
        return (int64_t) response->content_length;
    }
    return -1;
}

static void on_head(void *context, const struct sl_http1_response *response)
{
    struct sl_proxy *proxy = context;
    struct sl_http1_header headers[SL_HTTP1_HEADERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < response->header_count; i++) {
        if (!sl_proxy_is_hop_field(
                response->headers, response->header_count, response->headers[i].name)) {
            headers[count++] = response->headers[i];
        }
    }
    struct sl_http_response out = {
        .status = response->status,
        .headers = headers,
        .header_count = count,
        .content_length = length_of(response),
    };
    if (sl_exchange_start(proxy->exchange, &out) != 0) {
        sl_call_cancel(proxy->call);
        proxy->call = NULL;
        proxy->gateway->stats.proxy_upstream_failed++;
        sl_exchange_fail(proxy->exchange, 502, "the upstream's answer cannot be passed on");
        return;
    }
    proxy->is_started = true;
}

static void on_upstream_body(void *context, const char *data, size_t size)
{
    struct sl_proxy *proxy = context;
    if (sl_exchange_write(proxy->exchange, data, size) != 0) {
        sl_call_cancel(proxy->call);
        proxy->call = NULL;
        sl_exchange_abort(proxy->exchange);
        return;
    }
    if (sl_exchange_queued(proxy->exchange) > SL_PROXY_QUEUE_SIZE) {
        sl_call_pause(proxy->call, true);
    }
}

static void on_upstream_drain(void *context)
{
    struct sl_proxy *proxy = context;
    sl_exchange_pause_body(proxy->exchange, false);
}

static void on_upstream_end(void *context)
{
    struct sl_proxy *proxy = context;
    proxy->call = NULL;
    proxy->is_answered = true;
    sl_exchange_pause_body(proxy->exchange, false);
    sl_exchange_finish(proxy->exchange);
}

static void on_upstream_fail(
    void *context, enum sl_call_failure failure, const struct sluice_error *error)
{
    struct sl_proxy *proxy = context;
    struct sl_gateway_stats *stats = &proxy->gateway->stats;
    bool is_late = failure == SL_CALL_TIMEOUT;
    proxy->call = NULL;
    if (is_late) {
        stats->proxy_timed_out++;
    } else {
        stats->proxy_upstream_failed++;
    }
    if (sl_gateway_may_log(proxy->gateway)) {
        sl_log(SL_LOG_WARN, "a request could not be forwarded", "reason=\"%s\"", error->text);
    }
    if (proxy->is_started) {
        /* The client must be able to tell that this is not all. */
        sl_exchange_abort(proxy->exchange);
    } else {
        sl_exchange_fail(proxy->exchange, is_late ? 504 : 502, "%s", error->text);
    }
}

static const struct sl_call_handlers call_handlers = {
    .on_head = on_head,
    .on_body = on_upstream_body,
    .on_drain = on_upstream_drain,
    .on_end = on_upstream_end,
    .on_fail = on_upstream_fail,
};

static int start_call(
    struct sl_proxy *proxy, const struct forward *forward, struct sluice_error *error)
{
    const struct sl_compiled_route *route = forward->route;
    const struct sl_http1_request *request = forward->request;
    struct sl_http1_header headers[HEADERS_MAX];
    struct sl_buffer target;
    size_t count = collect_headers(proxy->gateway, forward, headers);
    int64_t body_length = request->framing == SL_HTTP1_CHUNKED ? -1
                          : request->framing == SL_HTTP1_LENGTH
                              ? (int64_t) request->content_length
                              : 0;
    sl_buffer_init(&target, TARGET_SIZE_MAX);
    if (request->target.data[0] != '*') {
        sl_buffer_append_text(&target, route->target.prefix);
    }
    sl_buffer_append(&target, request->target.data, request->target.size);
    struct sl_call_request call = {
        .host = sl_text_of(route->target.host),
        .port = route->target.port,
        .method = request->method,
        .target = {target.data, target.is_failed ? 0 : target.size},
        .headers = headers,
        .header_count = count,
        .content_length = body_length,
        .handlers = &call_handlers,
        .context = proxy,
    };
    int result = sl_call_start(proxy->gateway->client, &call, &proxy->call, error);
    sl_buffer_deinit(&target);
    return result;
}

void sl_proxy_open(struct sl_gateway *gateway, struct sl_compiled_route *route,
    struct sl_exchange *exchange)
{
    struct sluice_error error;
    struct sl_token token = {0};
    if (!sl_access_allow(gateway, route, exchange, &token)) {
        return;
    }
    struct sl_proxy *proxy = sl_allocate(sizeof(*proxy));
    if (proxy == NULL) {
        sl_token_deinit(&token);
        sl_exchange_fail(exchange, 503, "out of memory for the request");
        return;
    }
    proxy->gateway = gateway;
    proxy->exchange = exchange;
    gateway->stats.proxied++;
    gateway->stats.proxy_requests++;
    sl_exchange_set_handlers(exchange, &exchange_handlers, proxy);
    struct forward forward = {
        route, sl_exchange_request(exchange), sl_exchange_client(exchange), token.subject};
    if (start_call(proxy, &forward, &error) != 0) {
        gateway->stats.proxy_upstream_failed++;
        sl_exchange_fail(exchange, 502, "%s", error.text);
    }
    sl_token_deinit(&token);
}
