/*
 * One stream's way: a client that hears of one key. Decisions are the session's (session.h); here
 * are the permission (by the snapshot's status) and the exchange; its beginning is in
 * stream_open.c.
 *
 *     request -> token? -> final or replaced id? 204 -> feed ready? -> registered in the hub
 *             -> snapshot's answer: 4xx is passed on, none: `unavailable` -> live -> over
 *
 * A client that resumes gets no snapshot, but the snapshot's URL is asked all the same: it alone
 * knows whether this client may see this key, and an id proves nothing.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "gateway/stream.h"
#include "wire/sse.h"

enum { TARGET_SIZE_MAX = 8192, SEND_BUFFER_SIZE = 64 * 1024 };

static int64_t now_of(const struct sl_gateway *gateway)
{
    return (int64_t) uv_now(gateway->loop);
}

static void count_queued(struct sl_stream *stream, size_t queued)
{
    stream->gateway->stats.queued += queued - stream->queued;
    stream->queued = queued;
}

/* Send the head, and how long to wait before coming back. */
static int start_response(struct sl_stream *stream)
{
    struct sl_http1_header headers[4 + SL_CORS_HEADERS_MAX] = {
        {SL_TEXT("Content-Type"), SL_TEXT("text/event-stream")},
        {SL_TEXT("Cache-Control"), SL_TEXT("no-store, no-transform")},
        {SL_TEXT("X-Accel-Buffering"), SL_TEXT("no")},
        {SL_TEXT("X-Content-Type-Options"), SL_TEXT("nosniff")},
    };
    struct sl_http_response response = {
        .status = 200,
        .headers = headers,
        .header_count = 4,
        .content_length = -1,
    };
    char retry[40];
    if (stream->is_started) {
        return 0;
    }
    response.header_count += sl_cors_add(stream->gateway, stream->exchange, &headers[4]);
    if (sl_exchange_start(stream->exchange, &response) != 0) {
        return -1;
    }
    /* As the request, the claims are not needed any more: a stream is to cost little. */
    sl_token_deinit(&stream->token);
    stream->is_started = true;
    stream->sent_ms = now_of(stream->gateway);
    sl_exchange_mark_stream(stream->exchange, SEND_BUFFER_SIZE);
    int size = snprintf(retry, sizeof(retry), "retry: %lld\n\n",
        (long long) sl_gateway_retry_ms(stream->gateway));
    return sl_exchange_write(stream->exchange, retry, (size_t) size);
}

static int send_frame(struct sl_session *session, struct sl_frame *frame, bool is_event)
{
    struct sl_stream *stream = (struct sl_stream *) session;
    if (start_response(stream) != 0 ||
        sl_exchange_write_frame(stream->exchange, frame) != 0) {
        return -1;
    }
    stream->sent_ms = now_of(stream->gateway);
    if (is_event) {
        stream->delivered++;
        stream->gateway->stats.events_delivered++;
    }
    size_t queued = sl_exchange_queued(stream->exchange);
    if (queued != stream->queued) {
        count_queued(stream, queued);
    }
    return 0;
}

static size_t queued_of(const struct sl_session *session)
{
    return sl_exchange_queued(((const struct sl_stream *) session)->exchange);
}

static void drop_queued(struct sl_session *session)
{
    struct sl_stream *stream = (struct sl_stream *) session;
    sl_exchange_drop_queued(stream->exchange);
    count_queued(stream, sl_exchange_queued(stream->exchange));
}

static void note_lagged(struct sl_session *session)
{
    ((struct sl_stream *) session)->gateway->stats.lagged++;
}

void sl_stream_finish(struct sl_stream *stream, enum sl_stream_end end)
{
    stream->end = (uint8_t) end;
    sl_snapshot_cancel(stream->snapshot);
    stream->snapshot = NULL;
    if (end == SL_END_LOST || start_response(stream) != 0) {
        sl_exchange_abort(stream->exchange);
    } else {
        sl_exchange_finish(stream->exchange);
    }
}

static void end_session(struct sl_session *session, enum sl_session_end end)
{
    static const enum sl_stream_end ends[] = {
        [SL_SESSION_FINAL] = SL_END_FINAL,
        [SL_SESSION_REPLACED] = SL_END_REPLACED,
        [SL_SESSION_LOST] = SL_END_LOST,
    };
    sl_stream_finish((struct sl_stream *) session, ends[end]);
}

const struct sl_session_sink sl_stream_sink = {
    .send = send_frame,
    .queued = queued_of,
    .drop_queued = drop_queued,
    .end = end_session,
    .on_lagged = note_lagged,
};

void sl_stream_end_with(struct sl_stream *stream, const char *name, const char *reason,
    const struct sl_event_id *id, int64_t retry_ms, enum sl_stream_end end)
{
    struct sl_frame *frame = sl_session_control_frame(name, reason, id, retry_ms);
    bool is_sent = frame != NULL && send_frame(&stream->session, frame, false) == 0;
    sl_frame_unref(frame);
    sl_stream_finish(stream, is_sent ? end : SL_END_LOST);
}

/*
 * There is no stream to be had for now. An EventSource takes any status but 200 for the end of
 * all days, so it is told inside of a 200 that ends; others get a status that says what it is.
 */
void sl_stream_answer_unavailable(struct sl_stream *stream, const char *why)
{
    if (stream->is_event_source) {
        sl_stream_end_with(stream, "unavailable", why, NULL, -1, SL_END_UNAVAILABLE);
        return;
    }
    char body[512];
    struct sl_http1_header headers[] = {
        {SL_TEXT("Content-Type"), SL_TEXT("application/json")},
        {SL_TEXT("Retry-After"), SL_TEXT("2")},
    };
    struct sl_http_response response = {.status = 503, .headers = headers, .header_count = 2};
    int size = snprintf(body, sizeof(body), "{\"error\": \"%s\"}\n", why);
    stream->end = SL_END_UNAVAILABLE;
    sl_exchange_respond_with(stream->exchange, &response, body, (size_t) size);
}

/* A newer stream of the owner lives. The mark in the id makes the next reconnect the last. */
static void refuse_replaced(struct sl_stream *stream, const struct sl_event_id *id)
{
    struct sl_event_id marked = *id;
    marked.is_replaced = true;
    sl_stream_end_with(stream, "replaced", "a newer stream of the same owner is open", &marked, -1,
        SL_END_REPLACED);
}

static struct sl_text owner_of(const struct sl_stream *stream)
{
    return sl_text_of(stream->owner);
}

struct sl_text sl_stream_key(const struct sl_stream *stream)
{
    const struct sl_hub_key *key = stream->session.subscription.key;
    return key == NULL ? (struct sl_text) {NULL, 0} : (struct sl_text) {key->text, key->size};
}

/* Take the owner's place. False: a newer stream has it, or memory has run out; it was answered. */
static bool claim_place(struct sl_stream *stream)
{
    struct sl_event_id id = {.partition = -1, .offset = -1, .version = -1};
    void *replaced = NULL;
    uv_timeval64_t now;
    if (stream->owner == NULL) {
        return true;
    }
    bool has_id = sl_stream_read_id(stream->exchange, &id) == SL_SESSION_ID_PARSED &&
        id.place == stream->session.subscription.key->place;
    uv_gettimeofday(&now);
    int64_t now_ms = now.tv_sec * 1000 + now.tv_usec / 1000;
    int result = sl_owners_claim(&stream->route->stream->owners, owner_of(stream),
        sl_stream_key(stream), has_id ? id.generation : 0, now_ms, stream,
        &stream->session.generation, &replaced);
    if (result == 0) {
        refuse_replaced(stream, &id);
        return false;
    }
    if (result < 0) {
        sl_stream_answer_unavailable(stream, "the gateway is out of memory");
        return false;
    }
    stream->is_owner = true;
    if (replaced != NULL) {
        struct sl_stream *older = replaced;
        older->is_owner = false;
        /* The same generation is the client's own connection, which it has given up. */
        if (older->session.generation == stream->session.generation) {
            sl_stream_finish(older, SL_END_REPLACED);
        } else {
            sl_session_replace(&older->session);
        }
    }
    return true;
}

static int ask_snapshot(struct sl_stream *stream);

/* The client may see the key: begin. `snapshot` is NULL if the route has none. */
static void go_live(struct sl_stream *stream, const struct sl_snapshot *snapshot)
{
    struct sl_session *session = &stream->session;
    bool is_done;
    if (!stream->is_owner && !claim_place(stream)) {
        return;
    }
    stream->gateway->stats.streams_opened += stream->attempt_count <= 1 ? 1 : 0;
    if (stream->begin == SL_SESSION_NEEDS_SNAPSHOT) {
        is_done = sl_session_take_snapshot(session, snapshot);
    } else {
        is_done = sl_session_start(session);
        stream->gateway->stats.streams_resumed +=
            is_done && stream->begin == SL_SESSION_RESUMES ? 1 : 0;
        stream->begin = is_done ? stream->begin : SL_SESSION_NEEDS_SNAPSHOT;
    }
    stream->gateway->stats.resets += is_done && session->reset_reason != NULL ? 1 : 0;
    if (!is_done && (stream->attempt_count >= SL_SNAPSHOT_ATTEMPTS_MAX ||
                        ask_snapshot(stream) != 0)) {
        sl_stream_answer_unavailable(stream, "events come faster than the snapshot can be read");
    }
}

static void complain(const struct sl_stream *stream, const char *reason)
{
    if (sl_gateway_may_log(stream->gateway)) {
        sl_log(SL_LOG_WARN, "a snapshot cannot be used", "route=%s reason=\"%s\"",
            stream->route->path, reason);
    }
}

static void take_answer(struct sl_stream *stream, struct sl_text body)
{
    struct sl_buffer scratch;
    struct sl_payload_facts facts;
    struct sluice_error error;
    sl_buffer_init(&scratch, 64 * 1024);
    if (sl_payload_read(&stream->route->stream->rules, body, &scratch, &facts, &error) != 0) {
        complain(stream, error.text);
        sl_stream_answer_unavailable(
            stream, "the service behind this stream gave an unusable answer");
    } else {
        struct sl_snapshot snapshot = {facts.type, body, facts.version, facts.is_final};
        go_live(stream, &snapshot);
    }
    sl_buffer_deinit(&scratch);
}

static void on_answer(void *context, int status, struct sl_text body)
{
    struct sl_stream *stream = context;
    stream->snapshot = NULL;
    if (status >= 200 && status < 300) {
        take_answer(stream, body);
    } else if (status >= 400 && status < 500 && status != 408 && status != 429) {
        stream->end = SL_END_REFUSED;
        sl_exchange_fail(stream->exchange, status, "%s",
            status == 404   ? "there is nothing here that could be streamed"
            : status == 401 ? "this stream needs a login"
            : status == 403 ? "this stream is not yours to see"
                            : "the service behind this stream refuses it");
    } else {
        char reason[40];
        snprintf(reason, sizeof(reason), "the service answered %d", status);
        complain(stream, reason);
        sl_stream_answer_unavailable(stream, "the service behind this stream is not available");
    }
}

static void on_unavailable(void *context, const char *why)
{
    struct sl_stream *stream = context;
    stream->snapshot = NULL;
    complain(stream, why);
    sl_stream_answer_unavailable(stream, "the service behind this stream is not available");
}

static const struct sl_snapshot_handlers snapshot_handlers = {
    .on_answer = on_answer,
    .on_unavailable = on_unavailable,
};

static int ask_snapshot(struct sl_stream *stream)
{
    struct sl_match match;
    struct sl_buffer target;
    struct sluice_error error;
    const struct sl_http1_request *request = sl_exchange_request(stream->exchange);
    const struct sl_stream_route *rules = stream->route->stream;
    struct sl_values values = {&match, request, stream->token.claims};
    if (request == NULL) {
        return -1;
    }
    stream->attempt_count++;
    sl_buffer_init(&target, TARGET_SIZE_MAX);
    int result = -1;
    if (sl_pattern_match(&stream->route->pattern, request->path, &match) == SL_MATCHES &&
        sl_template_expand(&rules->snapshot, &values, true, &target, &error) == 0) {
        struct sl_snapshot_request asked = {
            {target.data, target.size}, request, stream->token.subject};
        result = sl_snapshot_start(stream->gateway, stream->route, &asked, &snapshot_handlers,
            stream, &stream->snapshot, &error);
    }
    sl_buffer_deinit(&target);
    return result;
}

/* The key and the owner of the request. -1 if it lacks a value; it was answered. */
static int read_names(struct sl_stream *stream, struct sl_buffer *key)
{
    struct sl_buffer owner;
    struct sluice_error error;
    const struct sl_stream_route *rules = stream->route->stream;
    const struct sl_claims *claims = stream->token.claims;
    sl_buffer_init(&owner, SL_STREAM_KEY_SIZE_MAX);
    int result =
        sl_stream_expand(stream->route, stream->exchange, claims, &rules->key, key, &error);
    if (result == 0 && rules->owner_text != NULL) {
        result = sl_stream_expand(
            stream->route, stream->exchange, claims, &rules->owner, &owner, &error);
    }
    if (result == 0 && rules->owner_text != NULL) {
        stream->owner = sl_copy_bytes(owner.data, owner.size);
        result = stream->owner == NULL ? sl_fail_memory(&error, "a stream") : 0;
    }
    if (result != 0) {
        stream->end = SL_END_REFUSED;
        sl_exchange_fail(stream->exchange, 400, "%s", error.text);
    }
    sl_buffer_deinit(&owner);
    return result;
}

/* The feed is ready: register, then ask whether and how the client may begin. */
void sl_stream_proceed(struct sl_stream *stream)
{
    struct sl_buffer key;
    struct sl_event_id id;
    enum sl_session_begin begin = SL_SESSION_NEEDS_SNAPSHOT;
    const struct sl_stream_route *rules = stream->route->stream;
    enum sl_session_id id_kind = sl_stream_read_id(stream->exchange, &id);
    stream->is_waiting = false;
    sl_buffer_init(&key, SL_STREAM_KEY_SIZE_MAX);
    if (read_names(stream, &key) != 0) {
        sl_buffer_deinit(&key);
        return;
    }
    struct sl_text key_text = {key.data, key.size};
    int result = sl_session_begin(&stream->session, &rules->topic->hub, key_text, id_kind, &id,
        rules->snapshot_text != NULL, &begin);
    stream->begin = (uint8_t) begin;
    if (result == 0 && stream->owner != NULL && id_kind == SL_SESSION_ID_PARSED &&
        id.place == stream->session.subscription.key->place &&
        sl_owners_would_refuse(&rules->owners, owner_of(stream), key_text, id.generation)) {
        refuse_replaced(stream, &id);
    } else if (result == 0 && rules->snapshot_text == NULL) {
        go_live(stream, NULL);
    } else if (result != 0 || ask_snapshot(stream) != 0) {
        sl_stream_answer_unavailable(stream, "the gateway is out of memory");
    }
    sl_buffer_deinit(&key);
}

static void count_end(const struct sl_stream *stream, enum sl_exchange_end end)
{
    struct sl_gateway_stats *stats = &stream->gateway->stats;
    uint64_t *const counters[] = {
        [SL_END_BY_CLIENT] = &stats->ended_by_client,
        [SL_END_FINAL] = &stats->ended_final,
        [SL_END_REPLACED] = &stats->ended_replaced,
        [SL_END_LOST] = &stats->ended_slow,
        [SL_END_DRAINING] = &stats->ended_draining,
        [SL_END_UNAVAILABLE] = &stats->ended_unavailable,
        [SL_END_REFUSED] = &stats->refused_by_upstream,
        [SL_END_EXPIRED] = &stats->ended_expired,
    };
    if (end == SL_EXCHANGE_TIMEOUT) {
        stats->ended_slow++;
    } else {
        (*counters[stream->end])++;
    }
}

static void on_close(void *context, enum sl_exchange_end end)
{
    struct sl_stream *stream = context;
    struct sl_gateway *gateway = stream->gateway;
    count_end(stream, end);
    count_queued(stream, 0);
    sl_snapshot_cancel(stream->snapshot);
    if (stream->owner != NULL) {
        sl_owners_release(
            &stream->route->stream->owners, owner_of(stream), sl_stream_key(stream), stream);
    }
    sl_session_close(&stream->session);
    sl_stream_leave_slot(stream);
    if (stream->previous != NULL) {
        stream->previous->next = stream->next;
    } else {
        gateway->streams = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->previous = stream->previous;
    }
    gateway->stats.streams--;
    sl_token_deinit(&stream->token);
    sl_free(stream->owner);
    sl_free(stream);
}

static void on_drain(void *context)
{
    struct sl_stream *stream = context;
    count_queued(stream, sl_exchange_queued(stream->exchange));
    sl_session_on_drain(&stream->session);
}

const struct sl_exchange_handlers sl_stream_exchange_handlers = {
    .on_drain = on_drain,
    .on_close = on_close,
};
