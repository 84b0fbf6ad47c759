/*
 * Publishing over HTTP: a request's body becomes an event, and the answer comes when the broker has
 * it.
 *
 *     request -> token, topic, key and type -> body -> broker -> 202 with the event's id
 *
 * There is no database and so no transaction here: an event is there if the answer was 202, and may
 * be there if no answer came. Who wants to be sure sends an id of its own (Idempotency-Key) and
 * sends it again until it is answered.
 *
 * An event that is with the broker outlives its request: the client may go, the broker must not
 * find the memory gone.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "event/event.h"
#include "event/headers.h"
#include "event/id.h"
#include "gateway/internal.h"

enum {
    WAIT_MS = 10000, /* for the broker; then the client is told that nobody knows */
    BYTES_MAX = 64 * 1024 * 1024,
    HEADERS_SIZE_MAX = 8192,
    ID_AGE_MS_MAX = 24 * 3600 * 1000,
    ID_AHEAD_MS_MAX = 5 * 60 * 1000
};

struct sl_publish {
    struct sl_publish *previous; /* among those that are with the broker */
    struct sl_publish *next;
    struct sl_gateway *gateway;
    struct sl_exchange *exchange; /* NULL: answered, or its client is gone */
    size_t size_max;
    size_t counted; /* into the gateway's sum */
    int64_t asked_ms;
    struct sl_buffer payload;
    struct sl_buffer texts; /* key, type and headers, one behind the other */
    struct sl_event event;
    struct sl_append append;
    bool is_closed; /* the exchange is gone */
    bool is_with_broker;
    bool is_answered;
};

static int64_t now_of(const struct sl_gateway *gateway)
{
    return (int64_t) uv_now(gateway->loop);
}

static void count_bytes(struct sl_publish *publish)
{
    size_t bytes = publish->payload.capacity + publish->texts.capacity;
    publish->gateway->publish_bytes += bytes - publish->counted;
    publish->counted = bytes;
}

static void free_publish(struct sl_publish *publish)
{
    publish->gateway->publish_bytes -= publish->counted;
    sl_buffer_deinit(&publish->payload);
    sl_buffer_deinit(&publish->texts);
    sl_free(publish);
}

static void free_if_done(struct sl_publish *publish)
{
    if (publish->is_closed && !publish->is_with_broker) {
        free_publish(publish);
    }
}

static void refuse(struct sl_publish *publish, int status, const char *text)
{
    const struct sl_http1_header later = {SL_TEXT("Retry-After"), SL_TEXT("2")};
    struct sl_gateway *gateway = publish->gateway;
    if (status >= 500) {
        gateway->stats.publish_failed++;
    } else {
        gateway->stats.publish_refused++;
    }
    publish->is_answered = true;
    if (publish->exchange != NULL) {
        sl_gateway_refuse(
            gateway, publish->exchange, status, status == 503 ? &later : NULL, "%s", text);
    }
}

static void accept_event(struct sl_publish *publish)
{
    char body[80];
    struct sl_http1_header headers[SL_CORS_HEADERS_MAX + 1] = {
        {SL_TEXT("Content-Type"), SL_TEXT("application/json")}};
    struct sl_http_response response = {.status = 202, .headers = headers, .header_count = 1};
    publish->gateway->stats.published++;
    publish->is_answered = true;
    if (publish->exchange != NULL) {
        response.header_count += sl_cors_add(publish->gateway, publish->exchange, &headers[1]);
        int size = snprintf(body, sizeof(body), "{\"id\": \"%s\"}\n", publish->event.id);
        sl_exchange_respond_with(publish->exchange, &response, body, (size_t) size);
    }
}

/* The broker has answered. */
static void take_outcome(struct sl_publish *publish, int status, const struct sluice_error *error)
{
    struct sl_gateway *gateway = publish->gateway;
    if (status != 0 && sl_gateway_may_log(gateway)) {
        sl_log(SL_LOG_WARN, "an event could not be published", "topic=%.*s reason=\"%s\"",
            (int) publish->event.topic.size, publish->event.topic.data, error->text);
    }
    if (publish->is_answered) {
        return; /* it took too long */
    }
    if (status == 0) {
        accept_event(publish);
    } else if (error->code == SLUICE_TOO_LARGE) {
        refuse(publish, 413, "the event is larger than the broker takes it");
    } else if (error->reaction == SLUICE_REJECT) {
        refuse(publish, 400, "the broker refuses this event");
    } else if (error->code == SLUICE_OUTCOME_UNKNOWN) {
        refuse(publish, 503,
            "the broker did not answer: whether it has the event is not known; "
            "send it again with the same Idempotency-Key");
    } else {
        refuse(publish, 503, "the broker is not available, the event was not stored; try again");
    }
}

static void leave_broker(struct sl_publish *publish)
{
    if (publish->previous != NULL) {
        publish->previous->next = publish->next;
    } else {
        publish->gateway->publishes = publish->next;
    }
    if (publish->next != NULL) {
        publish->next->previous = publish->previous;
    }
    publish->is_with_broker = false;
}

static void on_done(void *context, int status, size_t rejected, const struct sluice_error *error)
{
    struct sl_publish *publish = context;
    (void) rejected;
    leave_broker(publish);
    take_outcome(publish, status, error);
    free_if_done(publish);
}

/* The body is there: hand the event over. */
static void append(struct sl_publish *publish)
{
    struct sluice_error error = {0};
    struct sl_gateway *gateway = publish->gateway;
    publish->event.payload = (struct sl_text) {
        publish->payload.data == NULL ? "" : publish->payload.data, publish->payload.size};
    publish->event.time_ms = sl_clock_wall_ms();
    if (sl_event_check_row(&publish->event, &error) != 0) {
        refuse(publish, error.code == SLUICE_TOO_LARGE ? 413 : 400, error.text);
        return;
    }
    publish->append = (struct sl_append) {
        .events = &publish->event, .count = 1, .on_done = on_done, .context = publish};
    publish->asked_ms = now_of(gateway);
    int status = sl_broker_append_once(gateway->publisher, &publish->append, &error);
    if (status != SL_APPEND_PENDING) {
        take_outcome(publish, status, &error);
        return;
    }
    publish->is_with_broker = true;
    publish->next = gateway->publishes;
    if (publish->next != NULL) {
        publish->next->previous = publish;
    }
    gateway->publishes = publish;
    if (!uv_is_active((uv_handle_t *) &gateway->timer)) {
        uv_timer_again(&gateway->timer);
    }
}

static void on_body(void *context, const char *data, size_t size)
{
    struct sl_publish *publish = context;
    struct sl_gateway *gateway = publish->gateway;
    if (publish->is_answered) {
        return;
    }
    if (publish->payload.size + size > publish->size_max) {
        refuse(publish, 413, "the body is larger than this route takes it");
    } else if (gateway->publish_bytes + size > BYTES_MAX) {
        refuse(publish, 503, "too many events are on their way at once; try again");
    } else if (sl_buffer_append(&publish->payload, data, size) != 0) {
        refuse(publish, 503, "the gateway is out of memory, the event was not stored");
    }
    count_bytes(publish);
}

static void on_body_end(void *context)
{
    struct sl_publish *publish = context;
    if (!publish->is_answered) {
        append(publish);
    }
}

static void on_close(void *context, enum sl_exchange_end end)
{
    struct sl_publish *publish = context;
    (void) end;
    publish->exchange = NULL;
    publish->is_closed = true;
    free_if_done(publish);
}

static const struct sl_exchange_handlers handlers = {
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_close = on_close,
};

/* Copy a value behind the texts; the place is a view once all are there. */
static int add_text(struct sl_publish *publish, const char *data, size_t size, size_t *ret_start)
{
    *ret_start = publish->texts.size;
    return sl_buffer_append(&publish->texts, data, size);
}

/* Whose event it is stands in its headers, where consumers can see it. */
static int write_headers(struct sl_text subject, struct sl_buffer *buffer)
{
    char value[SL_TOKEN_SUBJECT_SIZE_MAX + 1];
    struct sluice_header header = {"subject", value};
    snprintf(
        value, sizeof(value), "%.*s", (int) subject.size, subject.data == NULL ? "" : subject.data);
    return sl_headers_write(buffer, &header, subject.size > 0 ? 1 : 0);
}

/* Read key, type and headers into the event. -1 if they cannot be used; `ret_fault` says why. */
static int read_texts(struct sl_publish *publish, const struct sl_http1_request *request,
    const struct sl_token *token, const char **ret_fault)
{
    char value[SL_VALUE_SIZE_MAX];
    size_t key_start, type_start, headers_start;
    size_t key_size = 0;
    size_t type_size = 0;
    bool has_key = false;
    struct sl_event *event = &publish->event;
    struct sl_text unused;
    struct sl_text rest = request->query;
    for (size_t keys = 0, types = 0; sl_text_split(&rest, '&', &unused);) {
        keys += unused.size >= 4 && memcmp(unused.data, "key=", 4) == 0 ? 1 : 0;
        types += unused.size >= 5 && memcmp(unused.data, "type=", 5) == 0 ? 1 : 0;
        has_key = keys > 0;
        if (keys > 1 || types > 1) {
            *ret_fault = "the query names key or type twice";
            return -1;
        }
    }
    event->has_key = sl_query_find(request->query, SL_TEXT("key"), value, &key_size);
    if (has_key && (!event->has_key || key_size == 0)) {
        *ret_fault =
            "the key is empty, too long, or no UTF-8 without control characters; leave it "
            "out for an event without a key";
        return -1;
    }
    int result = add_text(publish, value, key_size, &key_start);
    if (!sl_query_find(request->query, SL_TEXT("type"), value, &type_size) || type_size == 0) {
        *ret_fault =
            "the query must name the event's type, as in ?key=o1&type=OrderPlaced, in "
            "UTF-8 without control characters";
        return -1;
    }
    result |= add_text(publish, value, type_size, &type_start);
    headers_start = publish->texts.size;
    result |= write_headers(token->subject, &publish->texts);
    if (result != 0) {
        *ret_fault = NULL;
        return -1;
    }
    const char *texts = publish->texts.data;
    event->key = (struct sl_text) {texts + key_start, key_size};
    event->type = (struct sl_text) {texts + type_start, type_size};
    event->headers = (struct sl_text) {texts + headers_start, publish->texts.size - headers_start};
    return 0;
}

/*
 * The client's own id, if it sends one: then the same event again is the same event. Inboxes forget
 * ids by the time in them, so it must be a UUIDv7 of about now.
 */
static int read_id(struct sl_event *event, struct sl_text given)
{
    char floor[SLUICE_EVENT_ID_SIZE];
    char ceiling[SLUICE_EVENT_ID_SIZE];
    int64_t now_ms = sl_clock_wall_ms();
    if (given.data == NULL) {
        sl_id_new(event->id);
        return 0;
    }
    if (given.size != SLUICE_EVENT_ID_SIZE - 1) {
        return -1;
    }
    for (size_t i = 0; i < given.size; i++) {
        char c = given.data[i];
        event->id[i] = c >= 'A' && c <= 'F' ? (char) (c - 'A' + 'a') : c;
    }
    event->id[given.size] = '\0';
    sl_id_floor(now_ms - ID_AGE_MS_MAX, floor);
    sl_id_floor(now_ms + ID_AHEAD_MS_MAX, ceiling);
    return sl_event_is_id(sl_text_of(event->id)) && event->id[14] == '7' &&
            strcmp(event->id, floor) >= 0 && strcmp(event->id, ceiling) <= 0
        ? 0
        : -1;
}

/* The topic that the request names, as the route's own text; NULL if it is none of the route's. */
static const char *find_topic(
    const struct sl_compiled_route *route, const struct sl_http1_request *request)
{
    struct sl_match match;
    const struct sl_publish_route *rules = route->publish;
    if (!rules->has_parameter) {
        return rules->topics[0];
    }
    if (sl_pattern_match(&route->pattern, request->path, &match) != SL_MATCHES) {
        return NULL;
    }
    for (size_t i = 0; i < rules->topic_count; i++) {
        if (sl_text_equal(sl_text_of(rules->topics[i]), match.values[rules->topic_index])) {
            return rules->topics[i];
        }
    }
    return NULL;
}

/* What is wrong with a request for whatever event. True if it was answered. */
static bool answer_without_event(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    struct sl_exchange *exchange, const char *topic)
{
    const struct sl_http1_header allow = {SL_TEXT("Allow"), SL_TEXT("POST")};
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    if (!sl_text_equal(request->method, SL_TEXT("POST"))) {
        sl_gateway_refuse(gateway, exchange, 405, &allow, "an event is published with POST");
    } else if (topic == NULL) {
        sl_gateway_refuse(
            gateway, exchange, 404, NULL, "there is no topic of this name to publish to");
    } else if (request->framing == SL_HTTP1_LENGTH &&
        request->content_length > route->publish->size_max) {
        sl_gateway_refuse(gateway, exchange, 413, NULL, "the body has %llu bytes; at most %zu",
            (unsigned long long) request->content_length, route->publish->size_max);
    } else {
        return false;
    }
    gateway->stats.publish_refused++;
    return true;
}

/* Make the event of a request, but for its payload. False: it was answered. */
static bool begin(struct sl_publish *publish, const char *topic, const struct sl_token *token)
{
    const char *fault = NULL;
    const struct sl_http1_request *request = sl_exchange_request(publish->exchange);
    publish->event.topic = sl_text_of(topic);
    if (read_id(&publish->event, sl_exchange_header(publish->exchange, "idempotency-key")) != 0) {
        refuse(publish, 400,
            "Idempotency-Key is the event's id: a UUIDv7 that was made not longer "
            "than a day ago");
    } else if (read_texts(publish, request, token, &fault) != 0) {
        refuse(publish, fault == NULL ? 503 : 400,
            fault == NULL ? "the gateway is out of memory, the event was not stored" : fault);
    } else {
        return true;
    }
    return false;
}

void sl_publish_open(
    struct sl_gateway *gateway, struct sl_compiled_route *route, struct sl_exchange *exchange)
{
    struct sl_token token = {0};
    if (sl_cors_answer(gateway, exchange, "POST") ||
        !sl_access_allow(gateway, route, exchange, &token)) {
        return;
    }
    const char *topic = find_topic(route, sl_exchange_request(exchange));
    if (answer_without_event(gateway, route, exchange, topic)) {
        sl_token_deinit(&token);
        return;
    }
    struct sl_publish *publish = sl_allocate(sizeof(*publish));
    if (publish == NULL) {
        sl_token_deinit(&token);
        sl_gateway_refuse(gateway, exchange, 503, NULL, "the gateway is out of memory");
        return;
    }
    publish->gateway = gateway;
    publish->exchange = exchange;
    publish->size_max = route->publish->size_max;
    sl_buffer_init(&publish->payload, publish->size_max);
    sl_buffer_init(&publish->texts, 4 * SL_VALUE_SIZE_MAX + HEADERS_SIZE_MAX);
    sl_exchange_set_handlers(exchange, &handlers, publish);
    if (begin(publish, topic, &token)) {
        count_bytes(publish);
    }
    sl_token_deinit(&token);
}

void sl_publishes_tick(struct sl_gateway *gateway)
{
    for (struct sl_publish *each = gateway->publishes; each != NULL; each = each->next) {
        if (!each->is_answered && now_of(gateway) - each->asked_ms >= WAIT_MS) {
            refuse(each, 503,
                "the broker does not answer: whether it has the event is not known; "
                "send it again with the same Idempotency-Key");
        }
    }
}

void sl_publishes_free(struct sl_gateway *gateway)
{
    while (gateway->publishes != NULL) {
        struct sl_publish *next = gateway->publishes->next;
        free_publish(gateway->publishes);
        gateway->publishes = next;
    }
}
