/*
 * gateway/stream.h - what the files of streams share: stream_open.c, how one begins; stream.c, the
 * way of one stream; streams.c, what is done for all of them (heartbeats, draining, looking).
 */
#ifndef SL_GATEWAY_STREAM_H
#define SL_GATEWAY_STREAM_H

#include "gateway/internal.h"

enum { SL_STREAM_KEY_SIZE_MAX = 4096 };

enum sl_stream_end {
    SL_END_BY_CLIENT,
    SL_END_FINAL,
    SL_END_REPLACED,
    SL_END_LOST,
    SL_END_DRAINING,
    SL_END_UNAVAILABLE,
    SL_END_REFUSED,
    SL_END_EXPIRED
};

struct sl_stream {
    struct sl_session session; /* first, so that a session is its stream */
    struct sl_gateway *gateway;
    struct sl_compiled_route *route;
    struct sl_exchange *exchange;
    struct sl_snapshot_call *snapshot;
    struct sl_stream *previous;
    struct sl_stream *next;
    struct sl_stream *slot_previous;
    struct sl_stream *slot_next;
    char *owner; /* NULL without one */
    struct sl_token token; /* until the head is sent; none on routes without tokens */
    int64_t expires_ms;    /* Unix time at which the token ends; 0: never */
    int64_t opened_ms;
    int64_t sent_ms;
    uint64_t delivered;
    size_t queued; /* as it was last counted into the gateway's sum */
    uint8_t slot;
    uint8_t begin; /* enum sl_session_begin */
    uint8_t end;   /* enum sl_stream_end */
    uint8_t attempt_count;
    bool is_waiting; /* for the feed */
    bool is_started; /* the head is sent */
    bool is_event_source;
    bool is_owner;
};

/* What a stream is to its session and its exchange. */
extern const struct sl_session_sink sl_stream_sink;
extern const struct sl_exchange_handlers sl_stream_exchange_handlers;

/**
 * Read where the client stands: the header, else the query.
 */
enum sl_session_id sl_stream_read_id(
    const struct sl_exchange *exchange, struct sl_event_id *ret_id);

/**
 * Append what a template of the route makes of the request and its token's claims (or NULL).
 */
int sl_stream_expand(const struct sl_compiled_route *route, const struct sl_exchange *exchange,
    const struct sl_claims *claims, const struct sl_template *template, struct sl_buffer *ret_text,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * End the stream: the last thing that this side does with the exchange, but for what its on_close
 * does.
 */
void sl_stream_finish(struct sl_stream *stream, enum sl_stream_end end);

/**
 * Put the stream where it is looked at in about `delay_ms`, at most one turn of the wheel ahead.
 */
void sl_stream_enter_slot(struct sl_stream *stream, int64_t delay_ms);

/**
 * Take the stream out of the wheel.
 */
void sl_stream_leave_slot(struct sl_stream *stream);

/**
 * The feed is ready: register the stream, then ask whether and how its client may begin.
 */
void sl_stream_proceed(struct sl_stream *stream);

/**
 * There is no stream to be had for now: say so in a way that lets the client come back.
 */
void sl_stream_answer_unavailable(struct sl_stream *stream, const char *why);

/**
 * Send a control event that is no business of the session's, and end.
 */
void sl_stream_end_with(struct sl_stream *stream, const char *name, const char *reason,
    const struct sl_event_id *id, int64_t retry_ms, enum sl_stream_end end);

/**
 * The key that the stream tells of; data is NULL before it is registered.
 */
struct sl_text sl_stream_key(const struct sl_stream *stream);

#endif
