/*
 * http/client.h - an HTTP/1.1 client on a libuv loop, with a bounded pool of idle connections.
 *
 * A call is one request and its response. Its handlers come on the loop's thread and never from
 * inside of a call of these functions. Exactly one of on_end and on_fail ends a call, and the call
 * is gone when it returns; after sl_call_cancel none comes.
 *
 * Calls beyond calls_max to one upstream wait for their turn, in order, and fail like a connect
 * that takes too long; without that limit whoever makes calls for clients is bounded by the
 * clients. A pooled connection that turns out to be dead before a byte of the answer came is
 * replaced by a new one, once, and only if the method is GET, HEAD or OPTIONS and has no body.
 */
#ifndef SL_HTTP_CLIENT_H
#define SL_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"
#include "wire/http1.h"

struct sl_http_client;
struct sl_call;

struct sl_http_client_options {
    /* 0 takes the default that is written behind. */
    size_t idle_connections_max; /* 64 a host and port; the oldest is closed for a newer one */
    size_t calls_max;            /* running at a time to one host and port; no limit by default */
    size_t queue_size_max;       /* 256 KiB of a request's body */
    int64_t idle_timeout_ms;     /* 15 s */
    int64_t connect_timeout_ms;  /* 5 s, with the waiting for a turn and the name's look-up */
    int64_t head_timeout_ms;     /* 60 s from the request's end to the response's head */
    int64_t body_timeout_ms;     /* none by default: streams are silent for long */
};

/* Why a call failed; the error's text says it in words. */
enum sl_call_failure {
    SL_CALL_CONNECT,      /* no connection: refused, unreachable, unknown name */
    SL_CALL_TIMEOUT,      /* no connection, no head or no body in time */
    SL_CALL_BAD_RESPONSE, /* the answer breaks HTTP's rules */
    SL_CALL_CUT           /* the connection ended in the middle */
};

struct sl_call_handlers {
    /* The response's head; borrowed for the call. May be NULL, as on_body and on_drain may be. */
    void (*on_head)(void *context, const struct sl_http1_response *response);
    void (*on_body)(void *context, const char *data, size_t size);
    void (*on_drain)(void *context); /* the request body's queue is empty again */
    void (*on_end)(void *context);
    void (*on_fail)(void *context, enum sl_call_failure failure, const struct sluice_error *error);
};

/* A request; everything is borrowed for the call but the handlers, which outlive the call. */
struct sl_call_request {
    struct sl_text host; /* a name or an address without brackets */
    uint16_t port;
    struct sl_text method;
    struct sl_text target;                 /* from the '/' on, with the query, percent-encoded */
    const struct sl_http1_header *headers; /* with Host; without the framing's fields */
    size_t header_count;
    int64_t content_length; /* of the body that sl_call_write will bring; 0: none, -1: chunked */
    const struct sl_call_handlers *handlers;
    void *context;
};

/**
 * Make a client; it opens nothing yet. `options` may be NULL. `*ret_client` is the caller's.
 */
int sl_http_client_open(uv_loop_t *loop, const struct sl_http_client_options *options,
    struct sl_http_client **ret_client, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Cancel all calls without a word to their owners and close all connections. The loop must turn
 * until its handles are closed. NULL is fine.
 */
void sl_http_client_close(struct sl_http_client *client);

/**
 * Start a call. On success `*ret_call` is valid until it ends. -1 for a host, target or field that
 * cannot be sent (SLUICE_INVALID), and without memory or descriptors.
 */
int sl_call_start(struct sl_http_client *client, const struct sl_call_request *request,
    struct sl_call **ret_call, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Send a piece of the request's body. -1, with nothing sent, while queue_size_max bytes wait, when
 * it is longer than what content_length leaves, or without memory.
 */
int sl_call_write(struct sl_call *call, const void *data, size_t size)
    __attribute__((warn_unused_result));

/**
 * The request's body is complete. Not needed where content_length is 0.
 */
void sl_call_finish(struct sl_call *call);

/**
 * How many bytes of the request wait to be taken by the kernel.
 */
size_t sl_call_queued(const struct sl_call *call);

/**
 * Stop reading the response (the upstream feels it through TCP), or go on. At most 64 KiB still
 * come after a pause.
 */
void sl_call_pause(struct sl_call *call, bool is_paused);

/**
 * Give the call up: its connection is closed at once, no handler comes any more. NULL is fine.
 */
void sl_call_cancel(struct sl_call *call);

/**
 * How many connections are open, and how many of them idle.
 */
void sl_http_client_counts(const struct sl_http_client *client, size_t *ret_open,
    size_t *ret_idle);

#endif
