#include "http/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

enum { PIECES_PER_CALL = 64, USER_TIMEOUT_MS = 60000 };

struct sl_socket_piece {
    struct sl_socket_piece *next;
    struct sl_frame *frame;
    uint32_t offset;
    uint32_t end;
    bool is_kept; /* partly out, or no frame of its own: never dropped */
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* Register with the kernel what is of interest now, if that changed. */
static void update_interest(struct sl_socket *socket)
{
    int interest = 0;
    if (socket->is_closing) {
        return;
    }
    if (socket->is_reading && !socket->is_connecting) {
        interest |= UV_READABLE;
    }
    if (socket->notices_hangup || socket->is_broken) {
        interest |= UV_DISCONNECT;
    }
    if (socket->first != NULL || socket->is_connecting) {
        interest |= UV_WRITABLE;
    }
    if (interest == socket->interest) {
        return;
    }
    socket->interest = (uint8_t) interest;
    if (interest == 0) {
        uv_poll_stop(&socket->poll);
    } else {
        /* Fails for a closing handle only. */
        uv_poll_start(&socket->poll, interest, on_poll);
    }
}

int sl_socket_open(struct sl_socket *socket, uv_loop_t *loop, int take_fd,
    const struct sl_socket_handlers *handlers, char *scratch, struct sluice_error *error)
{
    int result = uv_poll_init(loop, &socket->poll, take_fd);
    if (result != 0) {
        return sl_fail_system(error, result, "cannot watch", "a connection");
    }
    int one = 1;
    int user_timeout_ms = USER_TIMEOUT_MS;
    /* Both only make things better: a socket that refuses them works all the same. */
    setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(take_fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    socket->fd = take_fd;
    socket->handlers = handlers;
    socket->scratch = scratch;
    return 0;
}

void sl_socket_await_connect(struct sl_socket *socket)
{
    socket->is_connecting = true;
    update_interest(socket);
}

void sl_socket_set_reading(struct sl_socket *socket, bool is_reading)
{
    socket->is_reading = is_reading;
    update_interest(socket);
}

static void pop_piece(struct sl_socket *socket)
{
    struct sl_socket_piece *piece = socket->first;
    socket->first = piece->next;
    socket->last = socket->first == NULL ? NULL : socket->last;
    sl_frame_unref(piece->frame);
    sl_free(piece);
}

static void drop_all(struct sl_socket *socket)
{
    while (socket->first != NULL) {
        pop_piece(socket);
    }
    socket->queued_size = 0;
}

/* A write failed: nothing more can be sent. Shutting down makes the poll tell of it. */
static void mark_broken(struct sl_socket *socket)
{
    socket->is_broken = true;
    drop_all(socket);
    shutdown(socket->fd, SHUT_RDWR);
    update_interest(socket);
}

static int enqueue(
    struct sl_socket *socket, struct sl_frame *take_frame, uint32_t offset, uint32_t end)
{
    struct sl_socket_piece *piece =
        take_frame == NULL ? NULL : sl_allocate(sizeof(struct sl_socket_piece));
    if (piece == NULL) {
        sl_frame_unref(take_frame);
        mark_broken(socket);
        return -1;
    }
    *piece = (struct sl_socket_piece) {.frame = take_frame, .offset = offset, .end = end};
    if (socket->last != NULL) {
        socket->last->next = piece;
    } else {
        socket->first = piece;
    }
    socket->last = piece;
    socket->queued_size += end - offset;
    update_interest(socket);
    return 0;
}

/* How many bytes the kernel took: 0 if its buffer is full, -1 if the connection is broken. */
static ssize_t send_now(struct sl_socket *socket, const struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *) pieces, .msg_iovlen = count};
    ssize_t sent;
    do {
        /* One piece is the usual case, and the cheaper call. */
        sent = count == 1 ? send(socket->fd, pieces->iov_base, pieces->iov_len,
                                MSG_NOSIGNAL | MSG_DONTWAIT)
                          : sendmsg(socket->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    if (sent < 0) {
        mark_broken(socket);
        return -1;
    }
    socket->bytes_sent += (uint64_t) sent;
    return sent;
}

int sl_socket_write(struct sl_socket *socket, const struct iovec *pieces, size_t count)
{
    size_t sent = 0;
    if (socket->is_closing || socket->is_broken) {
        return 0;
    }
    if (socket->first == NULL && !socket->is_connecting) {
        ssize_t result = send_now(socket, pieces, count);
        if (result < 0) {
            return 0;
        }
        sent = (size_t) result;
    }
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += pieces[i].iov_len;
    }
    if (sent == size) {
        return 0;
    }
    struct sl_frame *rest = sl_frame_gather(pieces, count, sent);
    if (enqueue(socket, rest, 0, (uint32_t) (size - sent)) != 0) {
        return -1;
    }
    socket->last->is_kept = true;
    return 0;
}

int sl_socket_write_frame(
    struct sl_socket *socket, struct sl_frame *frame, uint32_t offset, uint32_t size)
{
    size_t sent = 0;
    if (socket->is_closing || socket->is_broken) {
        return 0;
    }
    if (socket->first == NULL && !socket->is_connecting) {
        struct iovec piece = {frame->bytes + offset, size};
        ssize_t result = send_now(socket, &piece, 1);
        if (result < 0 || (size_t) result == size) {
            return 0;
        }
        sent = (size_t) result;
    }
    if (enqueue(socket, sl_frame_ref(frame), offset + (uint32_t) sent, offset + size) != 0) {
        return -1;
    }
    socket->last->is_kept = sent > 0;
    return 0;
}

size_t sl_socket_drop_queued(struct sl_socket *socket)
{
    struct sl_socket_piece *kept_last = NULL;
    size_t kept_size = 0;
    size_t before = socket->queued_size;
    struct sl_socket_piece *piece = socket->first;
    for (; piece != NULL && piece->is_kept; piece = piece->next) {
        kept_last = piece;
        kept_size += piece->end - piece->offset;
    }
    while (piece != NULL) {
        struct sl_socket_piece *next = piece->next;
        sl_frame_unref(piece->frame);
        sl_free(piece);
        piece = next;
    }
    if (kept_last == NULL) {
        socket->first = NULL;
    } else {
        kept_last->next = NULL;
    }
    socket->last = kept_last;
    socket->queued_size = kept_size;
    update_interest(socket);
    return before - kept_size;
}

/* Note that the kernel took `sent` bytes off the queue's front. */
static void settle(struct sl_socket *socket, size_t sent)
{
    socket->queued_size -= sent;
    while (sent > 0) {
        struct sl_socket_piece *piece = socket->first;
        size_t size = piece->end - piece->offset;
        if (sent < size) {
            piece->offset += (uint32_t) sent;
            piece->is_kept = true;
            return;
        }
        sent -= size;
        pop_piece(socket);
    }
}

static void flush_queue(struct sl_socket *socket)
{
    bool has_progress = false;
    while (socket->first != NULL) {
        struct iovec pieces[PIECES_PER_CALL];
        size_t count = 0;
        size_t size = 0;
        for (struct sl_socket_piece *piece = socket->first;
             piece != NULL && count < PIECES_PER_CALL; piece = piece->next) {
            pieces[count] = (struct iovec) {piece->frame->bytes + piece->offset,
                piece->end - piece->offset};
            size += pieces[count++].iov_len;
        }
        ssize_t sent = send_now(socket, pieces, count);
        if (sent < 0) {
            return;
        }
        settle(socket, (size_t) sent);
        has_progress = has_progress || sent > 0;
        if ((size_t) sent < size) {
            break;
        }
    }
    update_interest(socket);
    if (has_progress && socket->handlers->on_progress != NULL) {
        socket->handlers->on_progress(socket);
    }
}

/* Read once: a socket that has more is readable again in the loop's next turn. */
static void read_some(struct sl_socket *socket)
{
    ssize_t size;
    do {
        size = recv(socket->fd, socket->scratch, SL_SOCKET_READ_SIZE, MSG_DONTWAIT);
    } while (size < 0 && errno == EINTR);
    if (size > 0) {
        socket->bytes_received += (uint64_t) size;
        socket->handlers->on_data(socket, socket->scratch, (size_t) size);
    } else if (size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
        socket->is_reset = size < 0;
        socket->handlers->on_gone(socket);
    }
}

static void end_connect(struct sl_socket *socket)
{
    int status = 0;
    socklen_t size = sizeof(status);
    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &status, &size) != 0) {
        status = errno;
    }
    socket->is_connecting = false;
    update_interest(socket);
    socket->handlers->on_connect(socket, -status);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sl_socket *socket = (struct sl_socket *) poll;
    if (status < 0) {
        /* The loop has stopped watching after an error: read what came before it, to its end. */
        socket->interest = 0;
        events = UV_READABLE | UV_DISCONNECT;
    }
    if (socket->is_connecting) {
        end_connect(socket);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && !socket->is_broken) {
        flush_queue(socket);
    }
    if (socket->is_closing) {
        return;
    }
    if (socket->is_broken && (events & UV_DISCONNECT) != 0) {
        socket->is_reset = true;
        socket->handlers->on_gone(socket);
    } else if (socket->is_reading && (events & (UV_READABLE | UV_DISCONNECT)) != 0) {
        read_some(socket);
    } else if ((events & UV_DISCONNECT) != 0) {
        socket->handlers->on_gone(socket);
    }
    update_interest(socket);
}

void sl_socket_shutdown(struct sl_socket *socket)
{
    shutdown(socket->fd, SHUT_WR);
}

static void on_closed(uv_handle_t *handle)
{
    struct sl_socket *socket = (struct sl_socket *) handle;
    socket->handlers->on_closed(socket);
}

void sl_socket_close(struct sl_socket *socket)
{
    if (socket->is_closing) {
        return;
    }
    socket->is_closing = true;
    drop_all(socket);
    uv_close((uv_handle_t *) &socket->poll, on_closed);
    close(socket->fd);
}
