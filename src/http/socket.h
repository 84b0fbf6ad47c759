/*
 * http/socket.h - a TCP connection on the loop: bytes in by callback, bytes out with a queue.
 *
 * Writing is tried at once, by one system call; only what the kernel does not take is queued, as
 * references to frames. The poll handle shows a peer that is gone (EPOLLRDHUP) even while nothing
 * is read. Used by the server and by the client; knows nothing of HTTP.
 */
#ifndef SL_HTTP_SOCKET_H
#define SL_HTTP_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uv.h>

#include "base/error.h"
#include "http/frame.h"

enum { SL_SOCKET_READ_SIZE = 64 * 1024 };

struct sl_socket;
struct sl_socket_piece;

/* None comes from inside of a call on the socket. After sl_socket_close only on_closed comes. */
struct sl_socket_handlers {
    void (*on_connect)(struct sl_socket *socket, int status); /* of sl_socket_connect; else NULL */
    void (*on_data)(struct sl_socket *socket, const char *data, size_t size);
    void (*on_progress)(struct sl_socket *socket); /* some or all of the queue went out */
    void (*on_gone)(struct sl_socket *socket);     /* the peer closed, or an error; close it */
    void (*on_closed)(struct sl_socket *socket);   /* the memory may be freed now */
};

struct sl_socket {
    uv_poll_t poll;
    const struct sl_socket_handlers *handlers;
    char *scratch; /* SL_SOCKET_READ_SIZE bytes that all sockets of an owner share */
    struct sl_socket_piece *first;
    struct sl_socket_piece *last;
    size_t queued_size;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    int fd;
    uint8_t interest;
    bool is_reading;
    bool is_connecting;
    bool notices_hangup; /* whether a peer's half-close counts while not reading */
    bool is_broken;      /* a write failed; on_gone is on its way */
    bool is_reset;       /* reading ended with an error, not with the peer's FIN */
    bool is_closing;
};

/**
 * Take over a connected or connecting descriptor, which is closed with the socket. Fails without
 * taking it. `socket` is zeroed memory of the caller, freed not before on_closed.
 */
int sl_socket_open(struct sl_socket *socket, uv_loop_t *loop, int take_fd,
    const struct sl_socket_handlers *handlers, char *scratch, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Begin to wait for the end of a connect that was begun; on_connect tells its result.
 */
void sl_socket_await_connect(struct sl_socket *socket);

/**
 * Read, or stop reading.
 */
void sl_socket_set_reading(struct sl_socket *socket, bool is_reading);

/**
 * Send some pieces in order: at once as far as the kernel takes them, the rest is copied and
 * queued. -1 without memory; the stream of bytes is broken then and on_gone follows.
 */
int sl_socket_write(struct sl_socket *socket, const struct iovec *pieces, size_t count)
    __attribute__((warn_unused_result));

/**
 * Send `size` bytes of a frame from `offset` on, as above but without a copy.
 */
int sl_socket_write_frame(struct sl_socket *socket, struct sl_frame *frame, uint32_t offset,
    uint32_t size) __attribute__((warn_unused_result));

/**
 * Drop what is queued, but keep a piece that is partly out; returns the bytes dropped.
 */
size_t sl_socket_drop_queued(struct sl_socket *socket);

/**
 * Tell the peer that nothing more comes (FIN). The queue must be empty.
 */
void sl_socket_shutdown(struct sl_socket *socket);

/**
 * Close at once, whatever is queued. on_closed comes from the loop. Again: nothing happens.
 */
void sl_socket_close(struct sl_socket *socket);

#endif
