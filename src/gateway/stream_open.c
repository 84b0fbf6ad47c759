/*
 * How a stream begins: what its request asks for, and what is answered without one.
 */
#include <string.h>

#include "base/memory.h"
#include "gateway/stream.h"

enum sl_session_id sl_stream_read_id(const struct sl_exchange *exchange, struct sl_event_id *ret_id)
{
    char value[SL_VALUE_SIZE_MAX];
    size_t size;
    struct sl_text text = sl_exchange_header(exchange, "last-event-id");
    if (text.size == 0 &&
        sl_query_find(sl_exchange_request(exchange)->query, SL_TEXT("lastEventId"), value, &size)) {
        text = (struct sl_text) {value, size};
    }
    if (text.size == 0) {
        return SL_SESSION_ID_NONE;
    }
    return sl_event_id_parse(text, ret_id) ? SL_SESSION_ID_PARSED : SL_SESSION_ID_FOREIGN;
}

int sl_stream_expand(const struct sl_compiled_route *route, const struct sl_exchange *exchange,
    const struct sl_claims *claims, const struct sl_template *template, struct sl_buffer *ret_text,
    struct sluice_error *error)
{
    struct sl_match match;
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    if (sl_pattern_match(&route->pattern, request->path, &match) != SL_MATCHES) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the path cannot be used");
    }
    struct sl_values values = {&match, request, claims};
    return sl_template_expand(template, &values, false, ret_text, error);
}

/* Whether text/event-stream is among what the client accepts, with whatever parameters. */
static bool accepts_events(struct sl_text accept)
{
    struct sl_text range;
    struct sl_text type;
    while (sl_text_split(&accept, ',', &range)) {
        if (sl_text_split(&range, ';', &type) &&
            sl_text_equal_nocase(sl_text_trim(type), SL_TEXT("text/event-stream"))) {
            return true;
        }
    }
    return false;
}

static struct sl_stream *add_stream(struct sl_gateway *gateway, struct sl_compiled_route *route,
    struct sl_exchange *exchange, struct sl_token *take_token)
{
    struct sl_stream *stream = sl_allocate(sizeof(*stream));
    if (stream == NULL) {
        sl_token_deinit(take_token);
        sl_exchange_fail(exchange, 503, "the gateway is out of memory");
        return NULL;
    }
    struct sl_text accept = sl_exchange_header(exchange, "accept");
    stream->gateway = gateway;
    stream->route = route;
    stream->exchange = exchange;
    stream->token = *take_token;
    stream->expires_ms = take_token->claims == NULL ? 0 : take_token->expires_s * 1000;
    stream->session.sink = &sl_stream_sink;
    stream->session.queue_size_max = gateway->options.stream_queue_size_max;
    stream->opened_ms = stream->sent_ms = (int64_t) uv_now(gateway->loop);
    stream->is_event_source = accepts_events(accept);
    stream->next = gateway->streams;
    if (stream->next != NULL) {
        stream->next->previous = stream;
    }
    gateway->streams = stream;
    gateway->stats.streams++;
    if (!uv_is_active((uv_handle_t *) &gateway->timer)) {
        uv_timer_again(&gateway->timer);
    }
    int64_t heartbeat_ms = gateway->options.heartbeat_ms;
    sl_stream_enter_slot(stream,
        heartbeat_ms - (int64_t) sl_gateway_jitter(gateway, (uint64_t) heartbeat_ms / 2 + 1));
    sl_exchange_set_handlers(exchange, &sl_stream_exchange_handlers, stream);
    return stream;
}

static bool is_method(const struct sl_exchange *exchange, const char *method)
{
    return sl_text_equal(sl_exchange_request(exchange)->method, sl_text_of(method));
}

/* Whether the client comes back with an id that says that there is nothing more for it here. */
static bool has_heard_the_end(const struct sl_compiled_route *route,
    const struct sl_exchange *exchange, const struct sl_claims *claims)
{
    struct sl_event_id id;
    struct sl_buffer key;
    const struct sl_hub *hub = &route->stream->topic->hub;
    if (sl_stream_read_id(exchange, &id) != SL_SESSION_ID_PARSED ||
        !(id.is_final || id.is_replaced) ||
        memcmp(id.epoch, hub->epoch, SL_EVENT_ID_EPOCH_SIZE) != 0) {
        return false;
    }
    sl_buffer_init(&key, SL_STREAM_KEY_SIZE_MAX);
    bool is_over =
        sl_stream_expand(route, exchange, claims, &route->stream->key, &key, NULL) == 0 &&
        id.place ==
            sl_event_id_place(sl_text_of(hub->topic), (struct sl_text) {key.data, key.size});
    sl_buffer_deinit(&key);
    return is_over;
}

/* Answer what needs no stream. True if the request was answered. */
static bool answer_without_stream(struct sl_gateway *gateway, struct sl_exchange *exchange)
{
    if (sl_cors_answer(gateway, exchange, "GET")) {
        return true;
    }
    if (!is_method(exchange, "GET") && !is_method(exchange, "HEAD")) {
        static const char body[] = "{\"error\": \"a stream is read with GET\"}\n";
        struct sl_http1_header headers[] = {
            {SL_TEXT("Allow"), SL_TEXT("GET, HEAD")},
            {SL_TEXT("Content-Type"), SL_TEXT("application/json")},
        };
        struct sl_http_response response = {.status = 405, .headers = headers, .header_count = 2};
        sl_exchange_respond_with(exchange, &response, body, sizeof(body) - 1);
        return true;
    }
    return false;
}

void sl_stream_open(
    struct sl_gateway *gateway, struct sl_compiled_route *route, struct sl_exchange *exchange)
{
    struct sl_token token = {0};
    if (answer_without_stream(gateway, exchange) ||
        !sl_access_allow(gateway, route, exchange, &token)) {
        return;
    }
    if (has_heard_the_end(route, exchange, token.claims)) {
        sl_token_deinit(&token);
        gateway->stats.refused_over++;
        sl_exchange_respond(exchange, 204, NULL, NULL, 0);
        return;
    }
    struct sl_stream *stream = add_stream(gateway, route, exchange, &token);
    if (stream == NULL) {
        return;
    }
    if (is_method(exchange, "HEAD")) {
        sl_stream_finish(stream, SL_END_BY_CLIENT);
    } else if (gateway->is_stopping) {
        sl_stream_answer_unavailable(stream, "the gateway is stopping");
    } else if (gateway->stats.queued >= gateway->options.queue_budget) {
        gateway->stats.refused_budget++;
        sl_stream_answer_unavailable(stream, "the gateway has no room for more streams");
    } else if (!sl_feed_has_caught_up(gateway->feed)) {
        stream->is_waiting = true;
    } else {
        sl_stream_proceed(stream);
    }
}
