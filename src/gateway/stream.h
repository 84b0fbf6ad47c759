/*
 * gateway/stream.h - what the two files of streams share: stream.c, the way of one stream, and
 * streams.c, what is done for all of them (heartbeats, draining, looking).
 */
#ifndef SL_GATEWAY_STREAM_H
#define SL_GATEWAY_STREAM_H

#include "gateway/internal.h"

enum sl_stream_end {
    SL_END_BY_CLIENT,
    SL_END_FINAL,
    SL_END_REPLACED,
    SL_END_LOST,
    SL_END_DRAINING,
    SL_END_UNAVAILABLE,
    SL_END_REFUSED
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
