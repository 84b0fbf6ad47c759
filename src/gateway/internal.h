/*
 * gateway/internal.h - what the gateway's own files share.
 */
#ifndef SL_GATEWAY_INTERNAL_H
#define SL_GATEWAY_INTERNAL_H

#include "gateway/gateway.h"
#include "gateway/hub.h"
#include "gateway/route.h"
#include "gateway/session.h"
#include "gateway/token.h"
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
struct sl_publish;
struct sl_snapshot_call;

/* A topic as routes with the same rules see it. */
struct sl_topic {
    struct sl_topic *next;
    const char *name; /* of the first route that uses it */
    struct sl_payload_rules rules;
    struct sl_hub hub;
};

/* How tokens are checked; texts are its own. */
struct sl_token_gate {
    struct sl_token_keys keys; /* none: no tokens are taken */
    struct sl_token_rules rules;
    char *audience;
    char *issuer;         /* or NULL */
    char *cookie;         /* or NULL */
    char *subject_header; /* always set */
};

struct sl_gateway {
    uv_loop_t *loop;
    struct sl_broker *broker;
    struct sl_broker *publisher; /* owned; or NULL */
    struct sl_token_gate gate;
    struct sl_publish *publishes; /* whose events are with the broker */
    size_t publish_bytes;
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
 * Answer with `{"error": "..."}` and what lets a page of another origin read it. `extra` (may be
 * NULL) is one more field.
 */
void sl_gateway_refuse(const struct sl_gateway *gateway, struct sl_exchange *exchange, int status,
    const struct sl_http1_header *extra, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/**
 * Take the keys and rules of tokens; `options` may be NULL: none are taken.
 */
int sl_access_open(struct sl_gateway *gateway, const struct sl_token_options *options,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Forget them. Fine on a gateway that never had any.
 */
void sl_access_close(struct sl_gateway *gateway);

/**
 * Whether the request may use the route: its token is good where one is needed, the token's subject
 * is the one that the route asks for, and no foreign page is behind a cookie. False: the request
 * was answered, 401 or 403. On true `ret_token` is the caller's to deinit; it may be none.
 */
bool sl_access_allow(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    struct sl_exchange *exchange, struct sl_token *ret_token);

/**
 * Whether a field is the one that tells an upstream whose token it is, which no client may send.
 * A '_' for a '-' makes no difference, as it makes none to many upstreams.
 */
bool sl_access_is_subject_field(const struct sl_gateway *gateway, struct sl_text name);

/**
 * Answer a request to a publish route.
 */
void sl_publish_open(
    struct sl_gateway *gateway, struct sl_compiled_route *route, struct sl_exchange *exchange);

/**
 * Answer the requests whose events are with the broker for too long.
 */
void sl_publishes_tick(struct sl_gateway *gateway);

/**
 * The broker is closed: forget what is left.
 */
void sl_publishes_free(struct sl_gateway *gateway);

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
 * Answer a preflight for `method`, or refuse a page of a foreign origin. True if the request was
 * answered.
 */
bool sl_cors_answer(
    const struct sl_gateway *gateway, struct sl_exchange *exchange, const char *method);

/**
 * Whether a page of the gateway's own origin, or of one that is named, has sent the request.
 * `is_sure`: what does not say where it comes from has not.
 */
bool sl_cors_is_known(
    const struct sl_gateway *gateway, const struct sl_exchange *exchange, bool is_sure);

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

/* What is asked for, and for whom; borrowed for the call. */
struct sl_snapshot_request {
    struct sl_text target;
    const struct sl_http1_request *request;
    struct sl_text subject; /* of the client's token; empty: none */
};

/**
 * Ask the route's snapshot URL for the present state, on behalf of a request.
 *
 * On success `*ret_call` is valid until a handler is called or it is cancelled.
 */
int sl_snapshot_start(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    const struct sl_snapshot_request *request, const struct sl_snapshot_handlers *handlers,
    void *context, struct sl_snapshot_call **ret_call, struct sluice_error *error)
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
 * Whether the feed has once read what was there when it began: streams can be opened. They stay,
 * and new ones begin with what is known, while the broker cannot be reached.
 */
bool sl_feed_has_caught_up(const struct sl_feed *feed);

/**
 * Whether the feed has caught up and can read on; else say how far it is.
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
