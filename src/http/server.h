/*
 * http/server.h - an HTTP/1.1 server on a libuv loop.
 *
 * The server reads heads strictly (wire/http1.h), answers what is malformed by itself, and hands
 * each good request over as an exchange: one request and its response. Everything happens on the
 * loop's thread.
 *
 *     static void serve(void *context, struct sl_exchange *exchange)
 *     {
 *         if (sl_exchange_is_path(exchange, "/hello")) {
 *             sl_exchange_respond(exchange, 200, "text/plain", "hello\n", 6);
 *         } else {
 *             sl_exchange_fail(exchange, 404, "there is nothing at this path");
 *         }
 *     }
 *
 * An exchange lives from on_request until its on_close handler returns, or, without handlers, until
 * it is answered. Whoever answers later, streams, or wants the request's body sets handlers with
 * sl_exchange_set_handlers inside on_request. on_close comes exactly once and never from inside of
 * a call on the exchange.
 *
 * Limits, and what happens at them:
 *   - connections_max: a connection beyond it is answered 503 with Retry-After and closed.
 *   - heads: 16 KiB and 100 fields (431), a request line of 8 KiB (414), head_timeout_ms (408).
 *   - body_size_max: a longer body is answered 413, at once if its length is announced.
 *   - queue_size_max: sl_exchange_write refuses while that much is queued; see there.
 *   - write_timeout_ms: a client that takes no byte of what is queued for so long is cut.
 *   - one exchange a connection at a time: a pipelined request waits in the kernel's buffer.
 */
#ifndef SL_HTTP_SERVER_H
#define SL_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "http/frame.h"
#include "wire/http1.h"

struct sl_http_server;
struct sl_exchange;

typedef void (*sl_http_on_request)(void *context, struct sl_exchange *exchange);

struct sl_http_server_options {
    const char *const *addresses; /* "127.0.0.1:8080", "[::1]:0"; borrowed for the call */
    size_t address_count;
    sl_http_on_request on_request;
    void *context;
    /* 0 takes the default that is written behind. */
    size_t connections_max;  /* 20,000, and never more than the limit of open files allows */
    size_t queue_size_max;   /* 256 KiB a response */
    int64_t body_size_max;   /* 64 MiB; -1: no limit */
    int64_t head_timeout_ms; /* 10 s from the first byte of a head to its last */
    int64_t idle_timeout_ms; /* 75 s between two requests */
    int64_t body_timeout_ms; /* 30 s without a byte of an awaited body */
    int64_t write_timeout_ms;        /* 60 s without progress of a queue that is not empty */
    int64_t stream_write_timeout_ms; /* 10 s, for responses that are marked as streams */
};

struct sl_http_server_stats {
    size_t connections;          /* open now */
    uint64_t connections_opened; /* since the start, as are all that follow */
    uint64_t connections_refused;
    uint64_t requests;
    uint64_t requests_malformed;
    uint64_t bytes_received;
    uint64_t bytes_sent;
};

/* Why an exchange is over. */
enum sl_exchange_end {
    SL_EXCHANGE_DONE,        /* the whole response is with the kernel */
    SL_EXCHANGE_CLIENT_GONE, /* the client closed or reset the connection */
    SL_EXCHANGE_TIMEOUT,     /* no body byte, or no write progress, for too long */
    SL_EXCHANGE_ABORTED,     /* sl_exchange_abort */
    SL_EXCHANGE_BAD_BODY,    /* the request's body was malformed or too large; it was answered */
    SL_EXCHANGE_STOPPED      /* the server stopped before the response was complete */
};

/* What an exchange tells its owner; each may be NULL. `data` is borrowed for the call. */
struct sl_exchange_handlers {
    void (*on_body)(void *context, const char *data, size_t size);
    void (*on_body_end)(void *context); /* comes for an empty body, too */
    void (*on_drain)(void *context);    /* the queue, once not empty, is empty again */
    void (*on_close)(void *context, enum sl_exchange_end end); /* the exchange is gone after it */
};

/* What sl_exchange_start sends. Names and values without CR, LF, NUL; all borrowed for the call. */
struct sl_http_response {
    int status;
    const struct sl_http1_header *headers; /* not Connection, Content-Length, Transfer-Encoding */
    size_t header_count;
    int64_t content_length; /* -1: chunked, or until the connection closes for HTTP/1.0 */
};

/**
 * Listen on all addresses.
 *
 * On success `*ret_server` is the caller's, to be ended with sl_http_server_stop. SLUICE_INVALID
 * for an address that cannot be parsed; system errors name the address. Does not block.
 */
int sl_http_server_open(uv_loop_t *loop, const struct sl_http_server_options *options,
    struct sl_http_server **ret_server, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The address really bound for `options.addresses[index]`, as "http://127.0.0.1:38123"; it belongs
 * to the server. NULL for an index past the last.
 */
const char *sl_http_server_url(const struct sl_http_server *server, size_t index);

/**
 * Stop: no new connections from now on, idle ones are closed, running exchanges get up to
 * `grace_ms` to finish and are cut then. `on_stopped` (may be NULL) is called once from the loop;
 * the server has been freed by then.
 */
void sl_http_server_stop(struct sl_http_server *server, int64_t grace_ms,
    void (*on_stopped)(void *context), void *context);

/**
 * Copy the server's counters.
 */
void sl_http_server_stats(const struct sl_http_server *server,
    struct sl_http_server_stats *ret_stats);

/**
 * The request. It belongs to the exchange and is valid until the response's head is sent
 * (sl_exchange_start, _respond or _fail), which frees its memory.
 */
const struct sl_http1_request *sl_exchange_request(const struct sl_exchange *exchange);

/**
 * Whether the request's path (without the query) is exactly `path`. Before the head is sent only.
 */
bool sl_exchange_is_path(const struct sl_exchange *exchange, const char *path);

/**
 * The first value of a request's header, by a name in any case; an absent one has data NULL. As the
 * request, valid until the response's head is sent.
 */
struct sl_text sl_exchange_header(const struct sl_exchange *exchange, const char *name);

/**
 * The client's address as text, without the port; it belongs to the exchange's connection.
 */
const char *sl_exchange_client(const struct sl_exchange *exchange);

/**
 * Be told of the body, of drained queues and of the end. Inside on_request only.
 *
 * `handlers` must outlive the exchange (a const table, usually); NULL returns to none. Without
 * handlers, and when on_body is NULL, the body is read and dropped.
 */
void sl_exchange_set_handlers(struct sl_exchange *exchange,
    const struct sl_exchange_handlers *handlers, void *context);

/**
 * Stop reading the body (the client feels it through TCP), or go on. A piece that is being handed
 * over while it pauses is still handed over whole: at most 64 KiB come after the call.
 */
void sl_exchange_pause_body(struct sl_exchange *exchange, bool is_paused);

/**
 * Answer with a whole response and finish. `content_type` NULL: no such field; `size` may be 0.
 *
 * A HEAD request gets the head only. Calls after the head is sent are a bug and do nothing.
 */
void sl_exchange_respond(struct sl_exchange *exchange, int status, const char *content_type,
    const void *body, size_t size);

/**
 * As sl_exchange_respond, with the fields of `response`; its content_length is not looked at.
 */
void sl_exchange_respond_with(struct sl_exchange *exchange,
    const struct sl_http_response *response, const void *body, size_t size);

/**
 * Answer with `{"error": "..."}` and finish: what happened, why, what to do. `format` is printf's.
 */
void sl_exchange_fail(struct sl_exchange *exchange, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * Send the response's head at once; the body follows by sl_exchange_write, its end by
 * sl_exchange_finish. The request's memory is freed. -1, with nothing sent, if a field holds CR,
 * LF or NUL or names the framing, or without memory: the exchange can still be answered otherwise.
 */
int sl_exchange_start(struct sl_exchange *exchange, const struct sl_http_response *response)
    __attribute__((warn_unused_result));

/**
 * Send a piece of the body: written to the socket at once, and what it does not take is queued.
 *
 * -1, with nothing sent, while queue_size_max bytes are queued (wait for on_drain), when the piece
 * is longer than what the Content-Length leaves, or without memory. A client that is gone is no
 * error here: on_close will tell. `size` 0 does nothing.
 */
int sl_exchange_write(struct sl_exchange *exchange, const void *data, size_t size)
    __attribute__((warn_unused_result));

/**
 * As sl_exchange_write, without a copy: what has to wait holds a reference to the frame.
 */
int sl_exchange_write_frame(struct sl_exchange *exchange, struct sl_frame *frame)
    __attribute__((warn_unused_result));

/**
 * The body is complete. A body shorter than its Content-Length is cut instead.
 */
void sl_exchange_finish(struct sl_exchange *exchange);

/**
 * Cut the connection so that the client can tell that the response is not complete.
 */
void sl_exchange_abort(struct sl_exchange *exchange);

/**
 * How many bytes wait in this response's queue (those in the kernel's buffer do not count).
 */
size_t sl_exchange_queued(const struct sl_exchange *exchange);

/**
 * Drop what is queued but for a frame that is already partly written; returns the bytes dropped.
 * For chunked and until-close responses only, where each written frame stands for itself.
 */
size_t sl_exchange_drop_queued(struct sl_exchange *exchange);

/**
 * Treat the response as a long stream of small events: stream_write_timeout_ms counts instead of
 * write_timeout_ms, and the kernel holds about `send_buffer_size` bytes of it at most, so that what
 * a slow reader costs is known and its queue here begins to show it early.
 */
void sl_exchange_mark_stream(struct sl_exchange *exchange, int send_buffer_size);

#endif
