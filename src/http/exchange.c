/* The writing side of an exchange: heads, bodies, and their ends. */
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "http/connection.h"

enum { RESPONSE_HEAD_SIZE_MAX = 64 * 1024, ERROR_TEXT_SIZE = 512 };

const struct sl_http1_request *sl_exchange_request(const struct sl_exchange *exchange)
{
    return exchange->head == NULL ? NULL : &exchange->head->request;
}

bool sl_exchange_is_path(const struct sl_exchange *exchange, const char *path)
{
    return exchange->head != NULL &&
           sl_text_equal(exchange->head->request.path, sl_text_of(path));
}

struct sl_text sl_exchange_header(const struct sl_exchange *exchange, const char *name)
{
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    if (request == NULL) {
        return (struct sl_text) {NULL, 0};
    }
    return sl_http1_find(request->headers, request->header_count, sl_text_of(name));
}

const char *sl_exchange_client(const struct sl_exchange *exchange)
{
    return exchange->client;
}

void sl_exchange_set_handlers(struct sl_exchange *exchange,
    const struct sl_exchange_handlers *handlers, void *context)
{
    exchange->handlers = handlers;
    exchange->context = context;
}

void sl_exchange_end_as(struct sl_exchange *exchange, enum sl_exchange_end end)
{
    if (!exchange->is_over) {
        exchange->is_over = true;
        exchange->end = (uint8_t) end;
    }
    sl_connection_defer(exchange);
}

void sl_exchange_pause_body(struct sl_exchange *exchange, bool is_paused)
{
    if (exchange->is_body_paused != is_paused) {
        exchange->is_body_paused = is_paused;
        sl_connection_defer(exchange);
    }
}

static bool is_framing_field(struct sl_text name)
{
    static const char *const names[] = {"connection", "content-length", "transfer-encoding",
        "keep-alive", "upgrade", "trailer", "te", "proxy-connection"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (sl_text_equal_nocase(name, sl_text_of(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool has_body(const struct sl_exchange *exchange, int status)
{
    return !exchange->is_head_request && status != 204 && status != 304;
}

/* Append the fields that frame the body and tell what becomes of the connection. */
static void append_framing(
    struct sl_exchange *exchange, int status, int64_t content_length, struct sl_buffer *head)
{
    exchange->is_chunked = false;
    exchange->response_left = -1;
    if (exchange->server->is_stopping) {
        exchange->is_keep_alive = false;
    }
    if (status == 204 || status == 304) {
        exchange->response_left = 0;
    } else if (content_length >= 0) {
        exchange->response_left = content_length;
        sl_buffer_append_format(head, "Content-Length: %lld\r\n", (long long) content_length);
    } else if (exchange->is_http10) {
        exchange->is_keep_alive = false;
    } else {
        exchange->is_chunked = true;
        sl_buffer_append_text(head, "Transfer-Encoding: chunked\r\n");
    }
    if (!exchange->is_keep_alive) {
        sl_buffer_append_text(head, "Connection: close\r\n");
    }
    sl_buffer_append_text(head, "\r\n");
}

static int build_head(struct sl_exchange *exchange, const struct sl_http_response *response,
    int64_t content_length, struct sl_buffer *head)
{
    struct sl_text date = SL_TEXT("date");
    if (sl_http1_write_status_line(head, response->status) != 0) {
        return -1;
    }
    for (size_t i = 0; i < response->header_count; i++) {
        const struct sl_http1_header *header = &response->headers[i];
        if (is_framing_field(header->name) ||
            sl_http1_write_header(head, header->name, header->value) != 0) {
            return -1;
        }
    }
    if (sl_http1_find(response->headers, response->header_count, date).data == NULL) {
        sl_buffer_append_format(head, "Date: %s\r\n", sl_server_date(exchange->server));
    }
    append_framing(exchange, response->status, content_length, head);
    return head->is_failed ? -1 : 0;
}

/* Send pieces and note whether some of them had to wait. */
static int send_pieces(struct sl_exchange *exchange, const struct iovec *pieces, size_t count)
{
    int result = sl_socket_write(&exchange->socket, pieces, count);
    if (exchange->socket.first != NULL) {
        exchange->was_queued = true;
        sl_connection_set_deadline(exchange, false);
    }
    return result;
}

/* Send the head and, with it, a first piece of the body. */
static int send_head(struct sl_exchange *exchange, const struct sl_http_response *response,
    int64_t content_length, const void *body, size_t size)
{
    struct sl_buffer head;
    if (exchange->is_started) {
        return -1;
    }
    sl_buffer_init(&head, RESPONSE_HEAD_SIZE_MAX);
    if (build_head(exchange, response, content_length, &head) != 0) {
        sl_buffer_deinit(&head);
        return -1;
    }
    struct iovec pieces[2] = {{head.data, head.size}, {(void *) body, size}};
    int result = send_pieces(exchange, pieces, size > 0 ? 2 : 1);
    sl_buffer_deinit(&head);
    if (result != 0) {
        return -1;
    }
    exchange->is_started = true;
    if (exchange->response_left > 0 && !exchange->is_head_request) {
        exchange->response_left -= (int64_t) size;
    }
    sl_free(exchange->head);
    exchange->head = NULL;
    return 0;
}

int sl_exchange_start(struct sl_exchange *exchange, const struct sl_http_response *response)
{
    return send_head(exchange, response, response->content_length, NULL, 0);
}

void sl_exchange_respond_with(struct sl_exchange *exchange,
    const struct sl_http_response *response, const void *body, size_t size)
{
    if (exchange->is_started) {
        return;
    }
    bool is_with_body = has_body(exchange, response->status);
    if (send_head(exchange, response, (int64_t) size, body, is_with_body ? size : 0) != 0) {
        sl_exchange_end_as(exchange, SL_EXCHANGE_ABORTED);
        return;
    }
    exchange->is_finished = true;
    sl_connection_defer(exchange);
}

void sl_exchange_respond(struct sl_exchange *exchange, int status, const char *content_type,
    const void *body, size_t size)
{
    struct sl_http1_header header = {SL_TEXT("Content-Type"), sl_text_of(content_type)};
    struct sl_http_response response = {
        .status = status, .headers = &header, .header_count = content_type == NULL ? 0 : 1};
    sl_exchange_respond_with(exchange, &response, body, size);
}

void sl_exchange_fail(struct sl_exchange *exchange, int status, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    struct sl_buffer body;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    sl_buffer_init(&body, 4 * ERROR_TEXT_SIZE);
    sl_http_error_body(&body, text);
    sl_exchange_respond(
        exchange, status, "application/json", body.data, body.is_failed ? 0 : body.size);
    sl_buffer_deinit(&body);
}

/* Whether a piece of `size` bytes may be sent now. 1: yes, 0: it is dropped, -1: no. */
static int check_write(struct sl_exchange *exchange, size_t size)
{
    if (!exchange->is_started || exchange->is_finished) {
        return -1;
    }
    if (size == 0 || exchange->is_over || exchange->is_head_request) {
        return 0;
    }
    if (exchange->socket.queued_size >= exchange->server->options.queue_size_max) {
        return -1;
    }
    if (exchange->response_left >= 0) {
        if ((uint64_t) exchange->response_left < size) {
            return -1;
        }
        exchange->response_left -= (int64_t) size;
    }
    return 1;
}

int sl_exchange_write(struct sl_exchange *exchange, const void *data, size_t size)
{
    char line[20];
    int check = check_write(exchange, size);
    if (check <= 0) {
        return check;
    }
    if (!exchange->is_chunked) {
        struct iovec piece = {(void *) data, size};
        return send_pieces(exchange, &piece, 1);
    }
    struct iovec pieces[3] = {
        {line, sl_http1_chunk_line(size, line)}, {(void *) data, size}, {"\r\n", 2}};
    return send_pieces(exchange, pieces, 3);
}

int sl_exchange_write_frame(struct sl_exchange *exchange, struct sl_frame *frame)
{
    int check = check_write(exchange, frame->data_size);
    if (check <= 0) {
        return check;
    }
    uint32_t offset = exchange->is_chunked ? 0 : frame->data_offset;
    uint32_t size = exchange->is_chunked ? frame->size : frame->data_size;
    int result = sl_socket_write_frame(&exchange->socket, frame, offset, size);
    if (exchange->socket.first != NULL) {
        exchange->was_queued = true;
        sl_connection_set_deadline(exchange, false);
    }
    return result;
}

void sl_exchange_finish(struct sl_exchange *exchange)
{
    struct iovec last = {"0\r\n\r\n", 5};
    if (!exchange->is_started || exchange->is_finished) {
        return;
    }
    bool is_short = exchange->response_left > 0 && !exchange->is_head_request;
    bool needs_end = exchange->is_chunked && !exchange->is_head_request && !exchange->is_over;
    if (is_short || (needs_end && send_pieces(exchange, &last, 1) != 0)) {
        sl_exchange_abort(exchange);
        return;
    }
    exchange->is_finished = true;
    sl_connection_defer(exchange);
}

void sl_exchange_abort(struct sl_exchange *exchange)
{
    exchange->is_finished = false;
    sl_exchange_end_as(exchange, SL_EXCHANGE_ABORTED);
}

size_t sl_exchange_queued(const struct sl_exchange *exchange)
{
    return exchange->socket.queued_size;
}

size_t sl_exchange_drop_queued(struct sl_exchange *exchange)
{
    return sl_socket_drop_queued(&exchange->socket);
}

void sl_exchange_mark_stream(struct sl_exchange *exchange, int send_buffer_size)
{
    /* The kernel doubles the number for its own needs. A refusal leaves the default. */
    int half = send_buffer_size / 2;
    setsockopt(exchange->socket.fd, SOL_SOCKET, SO_SNDBUF, &half, sizeof(half));
    exchange->is_stream = true;
    sl_connection_set_deadline(exchange, false);
}
