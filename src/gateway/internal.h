/*
 * gateway/internal.h - what the gateway's own files share.
 */
#ifndef SL_GATEWAY_INTERNAL_H
#define SL_GATEWAY_INTERNAL_H

#include "gateway/gateway.h"
#include "gateway/hub.h"
#include "gateway/route.h"
#include "gateway/session.h"
#include "http/client.h"

enum {
    SL_WHEEL_SLOTS = 64,
    SL_CORS_HEADERS_MAX = 3,
    SL_SNAPSHOT_SIZE_MAX = 1024 * 1024,
    SL_SNAPSHOT_ATTEMPTS_MAX = 3,
    SL_FEED_WAIT_MS = 10000, /* how long a stream waits for a feed that is not ready */
    SL_PROXY_QUEUE_SIZE = 64 * 1024
};

struct sl_feed;
struct sl_stream;
struct sl_snapshot_call;

/* A topic as routes with the same rules see it. */
struct sl_topic {
    struct sl_topic *next;
    const char *name; /* of the first route that uses it */
    struct sl_payload_rules rules;
    struct sl_hub hub;
};

struct sl_gateway {
    uv_loop_t *loop;
    struct sl_broker *broker;
    struct sl_gateway_options options; /* with defaults; its lists are not kept */
    struct sl_http_server *server;
    struct sl_http_client *client;    /* of the proxy */
    struct sl_http_client *snapshots; /* with a shorter patience */
    struct sl_compiled_route *routes;
    size_t route_count;
    char **origins; /* ends with NULL */
    struct sl_topic *topics;
    struct sl_feed *feed; /* NULL without stream routes */
    struct sl_stream *streams;
    struct sl_stream *slots[SL_WHEEL_SLOTS]; /* by when they want to be looked at */
    size_t slot;
    struct sl_frame *heartbeat;
    struct sl_gateway_stats stats;
    uint64_t random_state;
    int64_t logged_ms; /* when a client's or upstream's failure was last logged */
    uv_timer_t timer; /* turns the wheel */
    size_t handle_count;
    bool is_stopping;
    void (*on_stopped)(void *context);
    void *stop_context;
};

/**
 * A number from 0 to `bound` - 1 that nobody needs to be unable to guess: for jitter.
 */
uint64_t sl_gateway_jitter(struct sl_gateway *gateway, uint64_t bound);

/**
 * How long a client should wait before it comes back: retry_ms, give or take a half.
 */
int64_t sl_gateway_retry_ms(struct sl_gateway *gateway);

/**
 * Whether a failure of one request may be logged now: one a second, since an outage fails all of
 * them. The counters have every one.
 */
bool sl_gateway_may_log(struct sl_gateway *gateway);

/**
 * Answer a request to a stream route.
 */
void sl_stream_open(struct sl_gateway *gateway, struct sl_compiled_route *route,
    struct sl_exchange *exchange);

/**
 * Check and keep the origins whose pages may read streams.
 */
int sl_cors_open(struct sl_gateway *gateway, const char *const *origins, size_t count,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Forget them. Of a gateway that never had any: nothing happens.
 */
void sl_cors_close(struct sl_gateway *gateway);

/**
 * Answer a preflight, or refuse a page of a foreign origin. True if the request was answered.
 */
bool sl_cors_answer(const struct sl_gateway *gateway, struct sl_exchange *exchange);

/**
 * Fill in the fields that let the request's page read the answer; returns how many. Their values
 * are views of the request.
 */
size_t sl_cors_add(const struct sl_gateway *gateway, const struct sl_exchange *exchange,
    struct sl_http1_header headers[SL_CORS_HEADERS_MAX]);

/**
 * Look at the streams whose time has come: heartbeats, and feeds waited for in vain.
 */
void sl_streams_tick(struct sl_gateway *gateway);

/**
 * The feed is ready: open the streams that wait for it.
 */
void sl_streams_on_feed_ready(struct sl_gateway *gateway);

/**
 * Tell all streams that the gateway stops, and end them.
 */
void sl_streams_drain(struct sl_gateway *gateway);

/**
 * Visit live streams, see sl_gateway_each_stream.
 */
void sl_streams_each(const struct sl_gateway *gateway,
    bool (*visit)(void *context, const struct sl_stream_info *info), void *context);

/* What a snapshot's reader hears, exactly one of them, never from inside of the start. */
struct sl_snapshot_handlers {
    void (*on_answer)(void *context, int status, struct sl_text body); /* borrowed */
    void (*on_unavailable)(void *context, const char *why);
};

/**
 * Ask the route's snapshot URL for the present state, on behalf of a request.
 *
 * `target` and `request` are borrowed for the call. On success `*ret_call` is valid until a handler
 * is called or it is cancelled.
 */
int sl_snapshot_start(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    struct sl_text target, const struct sl_http1_request *request,
    const struct sl_snapshot_handlers *handlers, void *context,
    struct sl_snapshot_call **ret_call, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Give a snapshot up; no handler is called. NULL is fine.
 */
void sl_snapshot_cancel(struct sl_snapshot_call *call);

/**
 * Forward a request to the route's upstream.
 */
void sl_proxy_open(struct sl_gateway *gateway, struct sl_compiled_route *route,
    struct sl_exchange *exchange);

/**
 * Whether a field is for one connection only: by its name, or because Connection names it.
 */
bool sl_proxy_is_hop_field(
    const struct sl_http1_header *headers, size_t count, struct sl_text name);

/**
 * Begin to feed the topics of all routes from the broker.
 */
int sl_feed_open(struct sl_gateway *gateway, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether the feed has read what was there when it began; else say how far it is.
 */
bool sl_feed_is_ready(const struct sl_feed *feed, char *ret_reason, size_t size);

/**
 * Stop reading. Its memory is freed by the loop. NULL is fine.
 */
void sl_feed_close(struct sl_feed *feed);

/**
 * A handle that the gateway owns has been closed.
 */
void sl_gateway_release(struct sl_gateway *gateway);

#endif
