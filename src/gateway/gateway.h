/*
 * gateway/gateway.h - the public door: a reverse proxy that never buffers, and live streams out of
 * topics.
 *
 * Requests go to the first route whose path matches. A route either forwards to an upstream
 * (proxy.c) or is a stream: the gateway reads a topic, and each client of the route hears of one
 * key (stream.c). Everything runs on the given loop's thread, without locks:
 *
 *     broker --> feed --> hub (rings, keys, owners) --> session --> stream --> exchange
 *                                     snapshot by the HTTP client --^
 *
 * Invariants, each with its limit below:
 *   - a stream is registered in the hub before its snapshot is asked for, so nothing falls between;
 *   - a client hears of each event of its key exactly once and in order, or hears `reset` or
 *     `lagged` and the latest state: never silence;
 *   - no client can make another one wait, and no memory grows without a stated maximum.
 */
#ifndef SL_GATEWAY_GATEWAY_H
#define SL_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"
#include "broker/broker.h"
#include "http/server.h"

struct sl_gateway;

/*
 * What a stream route tells. Templates: {name} of the path, {query.x}, {header.x}, {cookie.x}, and
 * {token.sub} or another claim of the token.
 */
struct sl_stream_options {
    const char *topic;
    const char *key;      /* template: which key the client hears of */
    const char *snapshot; /* template of a URL: where the present state is read; NULL: start live */
    const char *event;    /* JSON pointer to the event's name (its status); NULL: "message" */
    const char *version;  /* JSON pointer to a growing integer; NULL: positions alone decide */
    const char *const *final_statuses; /* names that end a stream */
    size_t final_count;
    const char *owner; /* template; NULL: any number of viewers */
};

/* What a publish route takes: the topic is the path's parameter {topic}, or the only one. */
struct sl_publish_options {
    const char *const *topics; /* those that may be published to */
    size_t topic_count;
    size_t size_max; /* of a payload; 0: 256 KiB */
};

/* Whether requests of a route need a token. */
enum sl_token_mode {
    SL_TOKEN_BY_KIND, /* required where it is published, or where a template asks for it; else none
                       */
    SL_TOKEN_NONE,
    SL_TOKEN_OPTIONAL, /* one that is there must be good */
    SL_TOKEN_REQUIRED
};

struct sl_route {
    const char *path; /* "/orders/{id}/stream"; a last segment of two stars is any rest */
    const char *upstream; /* "http://host:port" with an optional prefix, or NULL */
    const struct sl_stream_options *stream;   /* or NULL */
    const struct sl_publish_options *publish; /* or NULL; exactly one of the three */
    enum sl_token_mode token;
    const char *subject; /* template: the subject that the token must have; NULL: any */
};

/* A key's file, read. */
struct sl_token_file {
    const char *name; /* for messages */
    struct sl_text contents;
};

/* How tokens are checked; see gateway/token.h. */
struct sl_token_options {
    const char *secret; /* of HS256; NULL: none */
    const struct sl_token_file *files;
    size_t file_count;
    const char *audience;       /* must be set */
    const char *issuer;         /* NULL: any */
    const char *cookie;         /* which cookie may bring a token; NULL: none */
    const char *subject_header; /* tells upstreams whose token it is; NULL: "Sluice-Subject" */
    int64_t leeway_ms;
};

/* All borrowed for the call of sl_gateway_open. 0 takes the default that is written behind. */
struct sl_gateway_options {
    const char *const *listen; /* "127.0.0.1:8080" */
    size_t listen_count;
    const struct sl_route *routes;
    size_t route_count;
    const char *const *origins; /* "https://shop.example": whose pages may read streams; may be */
    size_t origin_count;        /* none, then only pages of the gateway's own origin can */
    size_t connections_max;       /* 20,000; see http/server.h */
    int64_t heartbeat_ms;         /* 15 s of silence before a comment is sent */
    int64_t retry_ms;             /* 2 s: clients come back after this, give or take a half */
    size_t replay_events;         /* 65,536 a topic: what a client can resume from */
    size_t replay_bytes;          /* 64 MiB a topic */
    size_t stream_queue_size_max; /* 64 KiB: a stream with more hears `lagged` */
    int64_t stream_stall_ms;      /* 10 s without progress of a full queue: the stream is cut */
    size_t queue_budget;          /* 64 MiB queued over all streams: no new streams beyond it */
    int64_t snapshot_timeout_ms;  /* 5 s */
    int64_t upstream_timeout_ms;  /* 60 s from a request's end to its answer's head */
    int64_t connect_timeout_ms;   /* 5 s */
    const struct sl_token_options *token; /* NULL: no tokens are taken */
};

struct sl_gateway_stats {
    struct sl_http_server_stats server;
    size_t streams; /* live now */
    size_t queued;  /* bytes queued over all streams now */
    /* Since the start, as are all that follow. */
    uint64_t streams_opened;
    uint64_t streams_resumed;  /* without a snapshot */
    uint64_t ended_final;      /* after a final status */
    uint64_t ended_by_client;
    uint64_t ended_replaced;
    uint64_t ended_slow;
    uint64_t ended_draining;
    uint64_t ended_unavailable; /* the snapshot could not be had */
    uint64_t refused_over;      /* 204: the client had heard the end */
    uint64_t refused_budget;
    uint64_t refused_by_upstream; /* 401, 403, 404 and the like */
    uint64_t ended_expired;       /* the token's time was over */
    uint64_t refused_token;       /* 401, on any route */
    uint64_t refused_subject;     /* 403: the token is another's */
    uint64_t refused_origin;      /* 403: a foreign page with a cookie's token */
    uint64_t published;           /* 202: the event is in the broker */
    uint64_t publish_refused;     /* 4xx */
    uint64_t publish_failed;      /* 503 */
    uint64_t events_received;     /* records of the topics */
    uint64_t events_unusable;     /* records without key, pointer or JSON */
    uint64_t events_delivered;    /* summed over the streams */
    uint64_t heartbeats;
    uint64_t lagged;
    uint64_t resets;
    size_t proxied; /* running now */
    uint64_t proxy_requests;
    uint64_t proxy_answered;
    uint64_t proxy_upstream_failed; /* 502 and cut answers */
    uint64_t proxy_timed_out;       /* 504 */
    uint64_t proxy_client_gone;
};

/* A live stream, for whoever looks at it. Everything is valid during the visit. */
struct sl_stream_info {
    const char *route; /* its path pattern */
    struct sl_text key;
    struct sl_text owner;
    const char *client;
    int64_t age_ms;
    size_t queued;
    uint64_t delivered;
    bool is_lagging;
};

/**
 * Open a gateway: check the routes, listen, begin to read the topics.
 *
 * `broker` is borrowed until the gateway has stopped; it may be NULL if no route is a stream.
 * `take_publisher` is another one, which events that are published here go to, and is closed by the
 * gateway; NULL if no route publishes. On
 * success `*ret_gateway` is the caller's, to be ended with sl_gateway_stop. SLUICE_INVALID names
 * the route and what is wrong with it; else as listening and the broker answer. After a failure the
 * loop must turn once more, to close what had been opened.
 */
int sl_gateway_open(uv_loop_t *loop, struct sl_broker *broker, struct sl_broker *take_publisher,
    const struct sl_gateway_options *options, struct sl_gateway **ret_gateway,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Check routes, origins and keys as sl_gateway_open does, without opening anything. For `config
 * lint`.
 */
int sl_gateway_check(const struct sl_gateway_options *options, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The address bound for `options.listen[index]`, as "http://127.0.0.1:8080"; the gateway's. NULL
 * for an index past the last.
 */
const char *sl_gateway_url(const struct sl_gateway *gateway, size_t index);

/**
 * Stop: no new connections; streams hear `draining` with a spread-out `retry:` and end; other
 * requests get up to `grace_ms`. `on_stopped` (may be NULL) is called from the loop when the
 * gateway is gone; the broker may be closed then.
 */
void sl_gateway_stop(struct sl_gateway *gateway, int64_t grace_ms,
    void (*on_stopped)(void *context), void *context);

/**
 * Copy the counters.
 */
void sl_gateway_stats(const struct sl_gateway *gateway, struct sl_gateway_stats *ret_stats);

/**
 * Whether the feeds have read what the broker held at the start. If not, `ret_reason` (may be NULL)
 * gets up to `size` bytes of text that says how far they are.
 */
bool sl_gateway_is_ready(const struct sl_gateway *gateway, char *ret_reason, size_t size);

/**
 * Visit live streams until `visit` returns false. The gateway must not be called meanwhile.
 */
void sl_gateway_each_stream(const struct sl_gateway *gateway,
    bool (*visit)(void *context, const struct sl_stream_info *info), void *context);

#endif
