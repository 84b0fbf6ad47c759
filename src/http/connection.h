/*
 * http/connection.h - a server's connection, which carries one exchange at a time.
 *
 * Internal to the server: connection.c reads requests, exchange.c writes responses, server.c
 * listens, counts and keeps the deadlines.
 *
 *   phase      meaning                                  next
 *   HEAD       waits for a request, or for its rest     ACTIVE; LINGER if it is malformed
 *   ACTIVE     a request has been handed over           HEAD, LINGER or closed at its end
 *   LINGER     answered for the last time, FIN sent:    closed at the client's FIN, or after 2 s
 *              reads and drops, so that the client can
 *              read the answer before a reset kills it
 */
#ifndef SL_HTTP_CONNECTION_H
#define SL_HTTP_CONNECTION_H

#include "base/buffer.h"
#include "http/deadline.h"
#include "http/server.h"
#include "http/socket.h"

enum sl_connection_phase { SL_PHASE_HEAD, SL_PHASE_ACTIVE, SL_PHASE_LINGER };

enum { SL_INPUT_SIZE_MAX = SL_SOCKET_READ_SIZE + SL_HTTP1_HEAD_SIZE_MAX + 1 };

/* A request's head with the bytes that it views. */
struct sl_request_head {
    struct sl_http1_request request;
    char bytes[];
};

struct sl_exchange {
    struct sl_socket socket; /* first, so that a socket is its exchange */
    struct sl_http_server *server;
    struct sl_exchange *previous; /* among the server's connections */
    struct sl_exchange *next;
    struct sl_exchange *next_pending;
    struct sl_deadline deadline;
    const struct sl_exchange_handlers *handlers;
    void *context;
    struct sl_request_head *head; /* NULL once the response's head is sent */
    struct sl_buffer input;       /* bytes that came and could not be used yet */
    struct sl_http1_scan scan;
    struct sl_http1_chunks chunks;
    uint64_t body_left; /* of a counted request body */
    int64_t body_taken;
    int64_t response_left; /* of a counted response body; -1: not counted */
    uint8_t phase;         /* enum sl_connection_phase */
    uint8_t body_framing;  /* enum sl_http1_framing */
    uint8_t end;           /* enum sl_exchange_end, if is_over */
    bool is_pending;
    bool is_advancing;
    bool is_body_done;
    bool is_body_paused;
    bool is_body_end_told;
    bool awaits_continue;
    bool is_started; /* the response's head is sent */
    bool is_finished;
    bool is_over; /* the exchange must end for the reason `end` */
    bool is_head_request;
    bool is_http10;
    bool is_stream;
    bool is_chunked;
    bool is_keep_alive;
    bool had_request;
    bool was_queued;
    char client[46];
};

struct sl_listener {
    uv_poll_t poll;
    struct sl_http_server *server;
    int fd;
    char url[80];
};

struct sl_http_server {
    uv_loop_t *loop;
    uv_timer_t timer; /* looks after deadlines, and listeners that ran out of descriptors */
    uv_idle_t idle;   /* runs while connections are pending */
    size_t handle_count;
    struct sl_http_server_options options;
    struct sl_listener *listeners;
    size_t listener_count;
    struct sl_exchange *connections;
    struct sl_exchange *pending;
    struct sl_deadline_list heads;
    struct sl_deadline_list idles;
    struct sl_deadline_list bodies;
    struct sl_deadline_list writes;
    struct sl_deadline_list stream_writes;
    struct sl_deadline_list lingers;
    struct sl_http_server_stats stats;
    char *scratch;
    char date[32];
    int64_t date_second;
    int64_t stop_at_ms;
    bool is_stopping;
    bool are_listeners_paused;
    void (*on_stopped)(void *context);
    void *stop_context;
};

/**
 * Begin to serve a connection that was accepted; the descriptor is taken even on failure.
 */
int sl_connection_open(struct sl_http_server *server, int take_fd, const char *client,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Do what the connection's state asks for: end the exchange, read on, start the next one.
 */
void sl_connection_advance(struct sl_exchange *connection);

/**
 * Have sl_connection_advance called from the loop, soon.
 */
void sl_connection_defer(struct sl_exchange *connection);

/**
 * A deadline has passed.
 */
void sl_connection_expire(struct sl_exchange *connection);

/**
 * The server stops: close what is idle; with `is_cut` everything.
 */
void sl_connection_stop(struct sl_exchange *connection, bool is_cut);

/**
 * Note why the exchange is over; the first reason counts. It ends from the loop.
 */
void sl_exchange_end_as(struct sl_exchange *exchange, enum sl_exchange_end end);

/**
 * Choose the deadline that fits the state; `has_progress` starts it anew.
 */
void sl_connection_set_deadline(struct sl_exchange *connection, bool has_progress);

/**
 * The Date field's value now.
 */
const char *sl_server_date(struct sl_http_server *server);

/**
 * Start the timer that looks after deadlines, if it does not run.
 */
void sl_server_watch_deadlines(struct sl_http_server *server);

/**
 * A handle of the server has been closed; the last one frees a stopping server.
 */
void sl_server_release(struct sl_http_server *server);

/**
 * Format "the error object" that the server answers with.
 */
void sl_http_error_body(struct sl_buffer *buffer, const char *text);

#endif
