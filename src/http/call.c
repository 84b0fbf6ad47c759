/* The writing side of a call: its head, its body, and their ends. */
#include "base/memory.h"
#include "http/client_internal.h"

enum { CALL_HEAD_SIZE_MAX = 64 * 1024 };

static int write_head(const struct sl_call_request *request, struct sl_buffer *output)
{
    if (sl_http1_write_request_line(output, request->method, request->target) != 0) {
        return -1;
    }
    for (size_t i = 0; i < request->header_count; i++) {
        if (sl_http1_write_header(
                output, request->headers[i].name, request->headers[i].value) != 0) {
            return -1;
        }
    }
    if (request->content_length > 0) {
        sl_buffer_append_format(
            output, "Content-Length: %lld\r\n", (long long) request->content_length);
    } else if (request->content_length < 0) {
        sl_buffer_append_text(output, "Transfer-Encoding: chunked\r\n");
    } else if (sl_text_equal(request->method, SL_TEXT("POST")) ||
               sl_text_equal(request->method, SL_TEXT("PUT"))) {
        sl_buffer_append_text(output, "Content-Length: 0\r\n");
    }
    return sl_http1_write_head_end(output) != 0 || output->is_failed ? -1 : 0;
}

int sl_call_start(struct sl_http_client *client, const struct sl_call_request *request,
    struct sl_call **ret_call, struct sluice_error *error)
{
    struct sl_upstream *upstream =
        sl_http_client_find_upstream(client, request->host, request->port, error);
    if (upstream == NULL) {
        return -1;
    }
    struct sl_call *call = sl_allocate(sizeof(*call));
    if (call == NULL) {
        return sl_fail_memory(error, "a call");
    }
    sl_buffer_init(&call->output, CALL_HEAD_SIZE_MAX + client->options.queue_size_max + 32);
    if (write_head(request, &call->output) != 0) {
        sl_buffer_deinit(&call->output);
        sl_free(call);
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the request's method, target or a field cannot be sent");
    }
    bool is_safe = sl_text_equal(request->method, SL_TEXT("GET")) ||
                   sl_text_equal(request->method, SL_TEXT("HEAD")) ||
                   sl_text_equal(request->method, SL_TEXT("OPTIONS"));
    call->client = client;
    call->upstream = upstream;
    call->handlers = request->handlers;
    call->context = request->context;
    call->body_left = request->content_length;
    call->is_sent = request->content_length == 0;
    call->can_repeat = is_safe && call->is_sent;
    call->is_head_request = sl_text_equal(request->method, SL_TEXT("HEAD"));
    call->next = client->calls;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    client->calls = call;
    sl_call_defer(call);
    *ret_call = call;
    return 0;
}

/* Send pieces on the connection, or keep them until there is one. */
static int send_pieces(struct sl_call *call, const struct iovec *pieces, size_t count)
{
    if (call->state == SL_CALL_RUNNING) {
        int result = sl_socket_write(&call->connection->socket, pieces, count);
        call->was_queued = call->was_queued || call->connection->socket.first != NULL;
        return result;
    }
    call->was_queued = true;
    for (size_t i = 0; i < count; i++) {
        if (sl_buffer_append(&call->output, pieces[i].iov_base, pieces[i].iov_len) != 0) {
            return -1;
        }
    }
    return 0;
}

size_t sl_call_queued(const struct sl_call *call)
{
    return call->state == SL_CALL_RUNNING ? call->connection->socket.queued_size
                                          : call->output.size;
}

int sl_call_write(struct sl_call *call, const void *data, size_t size)
{
    char line[20];
    if (size == 0) {
        return 0;
    }
    if (call->is_sent || sl_call_queued(call) >= call->client->options.queue_size_max ||
        (call->state != SL_CALL_RUNNING &&
            size + 32 > call->output.maximum - call->output.size)) {
        return -1;
    }
    if (call->body_left < 0) {
        struct iovec pieces[3] = {
            {line, sl_http1_chunk_line(size, line)}, {(void *) data, size}, {"\r\n", 2}};
        return send_pieces(call, pieces, 3);
    }
    if ((uint64_t) call->body_left < size) {
        return -1;
    }
    call->body_left -= (int64_t) size;
    struct iovec piece = {(void *) data, size};
    return send_pieces(call, &piece, 1);
}

void sl_call_finish(struct sl_call *call)
{
    struct iovec last = {"0\r\n\r\n", 5};
    if (call->is_sent) {
        return;
    }
    /* A failed write breaks the socket, and a body cut short lets the upstream wait in vain: both
     * end by on_gone or by the deadline of the answer. */
    int result = call->body_left < 0 ? send_pieces(call, &last, 1) : 0;
    call->is_sent = result == 0 && call->body_left <= 0;
    if (call->state == SL_CALL_RUNNING && !call->connection->has_head) {
        struct sl_http_client *client = call->client;
        sl_deadline_set(
            &call->connection->deadline, &client->heads, (int64_t) uv_now(client->loop));
        sl_http_client_watch_deadlines(client);
    }
}

void sl_call_pause(struct sl_call *call, bool is_paused)
{
    call->is_paused = is_paused;
    if (call->state == SL_CALL_RUNNING) {
        sl_socket_set_reading(&call->connection->socket, !is_paused);
    }
}
