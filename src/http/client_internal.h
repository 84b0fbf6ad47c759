/*
 * http/client_internal.h - what the client's two files share: calls, connections, pools.
 *
 * call.c writes requests; client.c finds each call a connection: its turn, the pool, names,
 * addresses; client_connection.c reads responses. A call's way:
 *
 *   state       meaning                                       next
 *   STARTING    waits for the loop, or for its turn           RESOLVING, CONNECTING, RUNNING
 *   RESOLVING   the name is being looked up                   CONNECTING
 *   CONNECTING  one address after the other is tried          RUNNING
 *   RUNNING     the request goes out, the response comes in   gone after on_end
 * on_fail ends each of them; STARTING follows RUNNING once, for a pooled connection that was dead.
 */
#ifndef SL_HTTP_CLIENT_INTERNAL_H
#define SL_HTTP_CLIENT_INTERNAL_H

#include <netdb.h>

#include "base/buffer.h"
#include "base/table.h"
#include "http/client.h"
#include "http/deadline.h"
#include "http/socket.h"

struct sl_upstream;

struct sl_upstream_connection {
    struct sl_socket socket; /* first, so that a socket is its connection */
    struct sl_http_client *client;
    struct sl_upstream *upstream;
    struct sl_upstream_connection *previous; /* among the client's */
    struct sl_upstream_connection *next;
    struct sl_upstream_connection *idle_previous; /* among the upstream's idle ones */
    struct sl_upstream_connection *idle_next;
    struct sl_deadline deadline;
    struct sl_call *call; /* NULL while idle or closing */
    struct sl_buffer input;
    struct sl_http1_scan scan;
    struct sl_http1_chunks chunks;
    uint64_t body_left;
    uint8_t framing;
    bool has_head;
    bool has_input; /* a byte of the current response came */
    bool is_idle;
    bool is_reusable;
};

/* Calls that wait for something, the oldest first. */
struct sl_call_queue {
    struct sl_call *first;
    struct sl_call *last;
};

/* A host and port, with its idle connections: the latest used first. */
struct sl_upstream {
    struct sl_upstream_connection *idle_first;
    struct sl_upstream_connection *idle_last;
    size_t idle_count;
    struct sl_call_queue waiting; /* for their turn */
    size_t running_count;
    uint16_t port;
    char host[256];
};

enum sl_call_state { SL_CALL_STARTING, SL_CALL_RESOLVING, SL_CALL_CONNECTING, SL_CALL_RUNNING };

struct sl_lookup {
    uv_getaddrinfo_t request; /* first */
    struct sl_call *call;     /* NULL if it was cancelled */
};

struct sl_call {
    struct sl_http_client *client;
    struct sl_call *previous;
    struct sl_call *next;
    struct sl_call_queue *queue; /* the one that it is in, or NULL */
    struct sl_call *queue_previous;
    struct sl_call *queue_next;
    struct sl_upstream *upstream;
    struct sl_upstream_connection *connection;
    struct sl_lookup *lookup;
    struct addrinfo *addresses;
    struct addrinfo *next_address;
    struct sl_deadline deadline; /* of look-up and connect */
    const struct sl_call_handlers *handlers;
    void *context;
    struct sl_buffer output; /* head, and body that came before the connection */
    int64_t body_left;       /* of a counted request body; -1: chunked */
    int last_status;         /* why the last address did not answer */
    uint8_t state;
    bool is_running; /* counted in its upstream's running_count */
    bool is_head_request;
    bool can_repeat;
    bool is_repeated;
    bool is_sent; /* the request is complete */
    bool is_paused;
    bool was_queued;
};

struct sl_http_client {
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_idle_t idle;
    struct sl_http_client_options options;
    struct sl_table upstreams;
    struct sl_upstream_connection *connections;
    struct sl_call *calls;
    struct sl_call_queue deferred; /* to the loop */
    struct sl_deadline_list connects; /* of calls; the others are of connections */
    struct sl_deadline_list heads;
    struct sl_deadline_list bodies;
    struct sl_deadline_list idles;
    size_t connection_count;
    size_t idle_count;
    size_t handle_count; /* of connections, look-ups and our own two */
    bool is_closing;
    char *scratch;
};

/**
 * Have the call begun, or begun again, from the loop.
 */
void sl_call_defer(struct sl_call *call);

/**
 * Find or make the record of a host and port. NULL, with the error filled in, for a host that is
 * none, or without memory. It lives as long as the client.
 */
struct sl_upstream *sl_http_client_find_upstream(struct sl_http_client *client,
    struct sl_text host, uint16_t port, struct sluice_error *error);

/**
 * End a call with on_fail. The call is gone afterwards, its connection closed.
 */
void sl_call_fail(struct sl_call *call, enum sl_call_failure failure, enum sluice_code code,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/**
 * End a call with on_end. The call is gone afterwards.
 */
void sl_call_end(struct sl_call *call);

/**
 * Start a call again on a new connection; the old one is closed.
 */
void sl_call_repeat(struct sl_call *call);

/**
 * A connection for `call` around a connecting descriptor, which is taken even on failure.
 */
int sl_upstream_connection_open(struct sl_call *call, int take_fd, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Give a connected or pooled connection to the call and send what the call has so far.
 */
void sl_upstream_connection_use(struct sl_upstream_connection *connection, struct sl_call *call);

/**
 * Take a connection out of its pool, if it is in it.
 */
void sl_upstream_connection_leave_pool(struct sl_upstream_connection *connection);

/**
 * Close a connection that has no call any more.
 */
void sl_upstream_connection_close(struct sl_upstream_connection *connection);

/**
 * A deadline of a connection has passed.
 */
void sl_upstream_connection_expire(struct sl_upstream_connection *connection);

/**
 * The end of a connect: go on with this connection, or with the next address.
 */
void sl_call_on_connect(struct sl_call *call, int status);

/**
 * Start the timer that looks after deadlines, if it does not run.
 */
void sl_http_client_watch_deadlines(struct sl_http_client *client);

/**
 * A handle of the client has been closed; the last one frees a closing client.
 */
void sl_http_client_release(struct sl_http_client *client);

#endif
