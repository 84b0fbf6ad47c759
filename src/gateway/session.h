/*
 * gateway/session.h - what one stream has to tell its client, decided.
 *
 * Pure: the glue in stream.c gives it requests, snapshots and drained queues, the hub gives it
 * events, and it answers by calls of its sink. The order of the first two steps is the point of
 * it: begin (which registers in the hub) comes before the snapshot is read, and what happens
 * between the two is taken from the hub's ring when the snapshot is there.
 *
 *   state      event                 what is sent, and the next state
 *   (new)      begin, id resumes     the key's events behind the id                     -> LIVE
 *              begin, no snapshots   an id alone (a checkpoint)                         -> LIVE
 *              begin, else           nothing yet                                        -> WAITING
 *   WAITING    event                 nothing: the ring keeps it                         -> WAITING
 *              snapshot              [reset], the snapshot, what is newer in the ring   -> LIVE
 *                                    (the ring has lost some meanwhile: ask again       -> WAITING)
 *   LIVE       event, newer          the event                                          -> LIVE
 *              event, queue full     nothing; what is queued is dropped                 -> LAGGING
 *              final event           the event, `end`                                   -> ENDED
 *   LAGGING    event                 nothing: the key's latest event is kept anyway     -> LAGGING
 *              drained               `lagged`, the key's latest event [, `end`]         -> LIVE
 *   any        replaced              `replaced`                                         -> ENDED
 *              loss                  nothing: the stream is cut, its client comes back  -> ENDED
 */
#ifndef SL_GATEWAY_SESSION_H
#define SL_GATEWAY_SESSION_H

#include "gateway/hub.h"

struct sl_session;

enum sl_session_state {
    SL_SESSION_WAITING,
    SL_SESSION_LIVE,
    SL_SESSION_LAGGING,
    SL_SESSION_ENDED
};

/* How a stream ends. */
enum sl_session_end {
    SL_SESSION_FINAL,
    SL_SESSION_REPLACED,
    SL_SESSION_LOST /* something could not be sent or was lost: cut, without a clean end */
};

/* Where a session sends. Calls do not come back into the session. */
struct sl_session_sink {
    /* -1: it does not go into the queue. `is_event` tells data from control events. */
    int (*send)(struct sl_session *session, struct sl_frame *frame, bool is_event);
    size_t (*queued)(const struct sl_session *session);
    void (*drop_queued)(struct sl_session *session);
    void (*end)(struct sl_session *session, enum sl_session_end end);
    void (*on_lagged)(struct sl_session *session); /* for counting */
};

/* What a snapshot says; borrowed. */
struct sl_snapshot {
    struct sl_text type;
    struct sl_text payload;
    int64_t version; /* -1: none */
    bool is_final;
};

struct sl_session {
    struct sl_subscription subscription; /* first, so that a subscription is its session */
    struct sl_hub *hub;
    const struct sl_session_sink *sink;
    const char *reset_reason; /* to be told before the snapshot; NULL: nothing to tell */
    uint64_t generation;      /* 0: no owner */
    uint64_t loss_count;      /* of the hub, at the registration */
    int64_t offset;           /* what lies at or before it is with the client, or in the snapshot */
    int64_t version;
    size_t queue_size_max;
    int32_t partition;
    uint8_t state; /* enum sl_session_state */
    bool has_snapshots;
};

enum sl_session_begin {
    SL_SESSION_RESUMES,
    SL_SESSION_NEEDS_SNAPSHOT,
    SL_SESSION_STARTS_LIVE
};

enum sl_session_id {
    SL_SESSION_ID_NONE,    /* the client has none: it starts */
    SL_SESSION_ID_FOREIGN, /* it has one that is none of ours */
    SL_SESSION_ID_PARSED
};

/**
 * Register in the hub and decide how the stream starts. Sends nothing: see sl_session_start.
 *
 * `session` is zeroed memory with sink, generation and queue_size_max set; `hub` is borrowed until
 * sl_session_close. `id` is read only for SL_SESSION_ID_PARSED. -1 without memory.
 */
int sl_session_begin(struct sl_session *session, struct sl_hub *hub, struct sl_text key,
    enum sl_session_id id_kind, const struct sl_event_id *id, bool has_snapshots,
    enum sl_session_begin *ret_begin) __attribute__((warn_unused_result));

/**
 * Send what a stream that resumes or starts live begins with; it is live then, or has ended. False:
 * the ring has lost events since sl_session_begin, so that it cannot resume: ask for a snapshot.
 */
bool sl_session_start(struct sl_session *session);

/**
 * Take the snapshot that was asked for after sl_session_begin. False: the ring has lost events
 * since the registration, which was renewed: ask for the snapshot again.
 */
bool sl_session_take_snapshot(struct sl_session *session, const struct sl_snapshot *snapshot);

/**
 * The queue has become empty.
 */
void sl_session_on_drain(struct sl_session *session);

/**
 * A newer stream of the same owner lives: say so and end.
 */
void sl_session_replace(struct sl_session *session);

/**
 * Unregister. Of a session that never began, or again: nothing happens.
 */
void sl_session_close(struct sl_session *session);

/**
 * Build a control event, `event: NAME` with `{"reason": "..."}`. `id` (may be NULL) is its id; the
 * reason is a constant of ours. The caller's to unref; NULL without memory.
 */
struct sl_frame *sl_session_control_frame(const char *name, const char *reason,
    const struct sl_event_id *id, int64_t retry_ms) __attribute__((warn_unused_result));

#endif
