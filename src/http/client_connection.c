/* A connection to an upstream: sends a call's request, reads its response, waits in the pool. */
#include <unistd.h>

#include "base/memory.h"
#include "http/client_internal.h"

static void on_connect(struct sl_socket *socket, int status);
static void on_data(struct sl_socket *socket, const char *data, size_t size);
static void on_progress(struct sl_socket *socket);
static void on_gone(struct sl_socket *socket);
static void on_closed(struct sl_socket *socket);

static const struct sl_socket_handlers handlers = {
    .on_connect = on_connect,
    .on_data = on_data,
    .on_progress = on_progress,
    .on_gone = on_gone,
    .on_closed = on_closed,
};

int sl_upstream_connection_open(struct sl_call *call, int take_fd, struct sluice_error *error)
{
    struct sl_http_client *client = call->client;
    struct sl_upstream_connection *connection = sl_allocate(sizeof(*connection));
    if (connection == NULL) {
        close(take_fd);
        return sl_fail_memory(error, "a connection");
    }
    if (sl_socket_open(&connection->socket, client->loop, take_fd, &handlers, client->scratch,
            error) != 0) {
        close(take_fd);
        sl_free(connection);
        return -1;
    }
    connection->client = client;
    connection->upstream = call->upstream;
    connection->call = call;
    call->connection = connection;
    sl_buffer_init(&connection->input, SL_SOCKET_READ_SIZE + SL_HTTP1_HEAD_SIZE_MAX + 1);
    connection->next = client->connections;
    if (connection->next != NULL) {
        connection->next->previous = connection;
    }
    client->connections = connection;
    client->connection_count++;
    client->handle_count++;
    sl_socket_await_connect(&connection->socket);
    return 0;
}

static void on_connect(struct sl_socket *socket, int status)
{
    struct sl_upstream_connection *connection = (struct sl_upstream_connection *) socket;
    if (connection->call != NULL) {
        sl_call_on_connect(connection->call, status);
    }
}

static void on_closed(struct sl_socket *socket)
{
    struct sl_upstream_connection *connection = (struct sl_upstream_connection *) socket;
    struct sl_http_client *client = connection->client;
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        client->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    client->connection_count--;
    sl_buffer_deinit(&connection->input);
    sl_free(connection);
    sl_http_client_release(client);
}

void sl_upstream_connection_leave_pool(struct sl_upstream_connection *connection)
{
    struct sl_upstream *upstream = connection->upstream;
    if (!connection->is_idle) {
        return;
    }
    if (connection->idle_previous != NULL) {
        connection->idle_previous->idle_next = connection->idle_next;
    } else {
        upstream->idle_first = connection->idle_next;
    }
    if (connection->idle_next != NULL) {
        connection->idle_next->idle_previous = connection->idle_previous;
    } else {
        upstream->idle_last = connection->idle_previous;
    }
    connection->idle_previous = connection->idle_next = NULL;
    connection->is_idle = false;
    upstream->idle_count--;
    connection->client->idle_count--;
}

void sl_upstream_connection_close(struct sl_upstream_connection *connection)
{
    connection->call = NULL;
    sl_upstream_connection_leave_pool(connection);
    sl_deadline_clear(&connection->deadline);
    sl_socket_close(&connection->socket);
}

/* Keep the connection for a later call; the oldest idle one makes room for it. */
static void join_pool(struct sl_upstream_connection *connection)
{
    struct sl_upstream *upstream = connection->upstream;
    struct sl_http_client *client = connection->client;
    connection->call = NULL;
    connection->is_idle = true;
    connection->idle_next = upstream->idle_first;
    if (upstream->idle_first != NULL) {
        upstream->idle_first->idle_previous = connection;
    } else {
        upstream->idle_last = connection;
    }
    upstream->idle_first = connection;
    upstream->idle_count++;
    client->idle_count++;
    sl_deadline_set(&connection->deadline, &client->idles, (int64_t) uv_now(client->loop));
    sl_http_client_watch_deadlines(client);
    sl_socket_set_reading(&connection->socket, true);
    if (upstream->idle_count > client->options.idle_connections_max) {
        sl_upstream_connection_close(upstream->idle_last);
    }
}

/* Which deadline the call's state asks for. */
static void set_deadline(struct sl_upstream_connection *connection)
{
    struct sl_http_client *client = connection->client;
    struct sl_call *call = connection->call;
    struct sl_deadline_list *list = NULL;
    if (call->is_sent && !connection->has_head) {
        list = &client->heads;
    } else if (connection->has_head && !call->is_paused) {
        list = &client->bodies;
    }
    if (list == NULL || list->duration_ms <= 0) {
        sl_deadline_clear(&connection->deadline);
        return;
    }
    sl_deadline_set(&connection->deadline, list, (int64_t) uv_now(client->loop));
    sl_http_client_watch_deadlines(client);
}

void sl_upstream_connection_use(struct sl_upstream_connection *connection, struct sl_call *call)
{
    sl_upstream_connection_leave_pool(connection);
    connection->call = call;
    connection->scan = (struct sl_http1_scan) {0};
    connection->chunks = (struct sl_http1_chunks) {0};
    connection->has_head = connection->has_input = false;
    call->connection = connection;
    call->state = SL_CALL_RUNNING;
    struct iovec piece = {call->output.data, call->output.size};
    /* A write that fails breaks the socket; on_gone tells of it. */
    if (sl_socket_write(&connection->socket, &piece, 1) != 0) {
        connection->is_reusable = false;
    }
    if (!call->can_repeat) {
        sl_buffer_deinit(&call->output);
    }
    call->was_queued = call->was_queued || connection->socket.first != NULL;
    sl_socket_set_reading(&connection->socket, !call->is_paused);
    set_deadline(connection);
    if (call->was_queued && connection->socket.first == NULL) {
        call->was_queued = false;
        if (call->handlers->on_drain != NULL) {
            call->handlers->on_drain(call->context);
        }
    }
}

/* The response is complete. `has_rest`: bytes follow that belong to no response. */
static void end_response(struct sl_upstream_connection *connection, bool has_rest)
{
    struct sl_call *call = connection->call;
    bool is_kept = connection->is_reusable && call->is_sent && !has_rest &&
                   connection->socket.first == NULL && !connection->client->is_closing;
    call->connection = NULL;
    if (is_kept) {
        join_pool(connection);
    } else {
        sl_upstream_connection_close(connection);
    }
    sl_call_end(call);
}

/* Take body bytes. True while the call goes on and may take more. */
static bool take_body(struct sl_upstream_connection *connection, struct sl_text *input)
{
    struct sl_call *call = connection->call;
    struct sl_text data = *input;
    struct sl_http1_refusal refusal;
    enum sl_http1_result result = SL_HTTP1_INCOMPLETE;
    size_t taken = data.size;
    if (connection->framing == SL_HTTP1_CHUNKED) {
        result = sl_http1_decode_chunks(
            &connection->chunks, input->data, input->size, &data, &taken, &refusal);
    } else if (connection->framing == SL_HTTP1_LENGTH) {
        taken = taken < connection->body_left ? taken : (size_t) connection->body_left;
        connection->body_left -= taken;
        result = connection->body_left == 0 ? SL_HTTP1_COMPLETE : SL_HTTP1_INCOMPLETE;
        data.size = taken;
    }
    if (result == SL_HTTP1_INVALID) {
        sl_call_fail(call, SL_CALL_BAD_RESPONSE, SLUICE_INVALID,
            "the upstream's answer is malformed: %s", refusal.text);
        return false;
    }
    *input = (struct sl_text) {input->data + taken, input->size - taken};
    if (data.size > 0 && call->handlers->on_body != NULL) {
        call->handlers->on_body(call->context, data.data, data.size);
        if (connection->call != call) {
            return false;
        }
    }
    if (result == SL_HTTP1_COMPLETE) {
        end_response(connection, input->size > 0);
        return false;
    }
    return input->size > 0;
}

/* A whole head came. True while the call goes on. */
static bool accept_head(struct sl_upstream_connection *connection, const char *data, size_t size)
{
    struct sl_call *call = connection->call;
    struct sl_http1_response response;
    struct sl_http1_refusal refusal;
    if (sl_http1_parse_response(data, size, call->is_head_request, &response, &refusal) != 0) {
        sl_call_fail(call, SL_CALL_BAD_RESPONSE, SLUICE_INVALID,
            "the upstream's answer is malformed: %s", refusal.text);
        return false;
    }
    connection->scan = (struct sl_http1_scan) {0};
    if (response.status == 101) {
        sl_call_fail(call, SL_CALL_BAD_RESPONSE, SLUICE_INVALID,
            "the upstream switched protocols without being asked to");
        return false;
    }
    if (response.status < 200) {
        return true;
    }
    connection->has_head = true;
    connection->framing = (uint8_t) response.framing;
    connection->body_left = response.content_length;
    connection->is_reusable = response.is_keep_alive;
    call->can_repeat = false;
    sl_buffer_deinit(&call->output);
    if (call->handlers->on_head != NULL) {
        call->handlers->on_head(call->context, &response);
    }
    if (connection->call == call) {
        set_deadline(connection);
        return true;
    }
    return false;
}

/* Take as much of a head as is there. True while there may be more to take. */
static bool take_head(struct sl_upstream_connection *connection, struct sl_text *input)
{
    size_t size;
    struct sl_http1_refusal refusal;
    enum sl_http1_result result =
        sl_http1_scan(&connection->scan, input->data, input->size, &size, &refusal);
    if (result == SL_HTTP1_INVALID) {
        sl_call_fail(connection->call, SL_CALL_BAD_RESPONSE, SLUICE_INVALID,
            "the upstream's answer is malformed: %s", refusal.text);
    }
    if (result != SL_HTTP1_COMPLETE) {
        return false;
    }
    const char *head = input->data;
    *input = (struct sl_text) {input->data + size, input->size - size};
    if (!accept_head(connection, head, size)) {
        return false;
    }
    if (connection->has_head && connection->framing == SL_HTTP1_NO_BODY) {
        end_response(connection, input->size > 0);
        return false;
    }
    return true;
}

static void take_input(struct sl_upstream_connection *connection, struct sl_text *input)
{
    struct sl_call *call = connection->call;
    bool goes_on = true;
    while (goes_on && input->size > 0 && connection->call == call) {
        goes_on = connection->has_head ? take_body(connection, input)
                                       : take_head(connection, input);
    }
}

static void on_data(struct sl_socket *socket, const char *data, size_t size)
{
    struct sl_upstream_connection *connection = (struct sl_upstream_connection *) socket;
    struct sl_call *call = connection->call;
    if (call == NULL) {
        /* An idle connection has nothing to say. */
        sl_upstream_connection_close(connection);
        return;
    }
    connection->has_input = true;
    struct sl_text input = {data, size};
    struct sl_buffer *kept = &connection->input;
    bool is_kept = kept->size > 0;
    if (is_kept) {
        if (sl_buffer_append(kept, data, size) != 0) {
            sl_call_fail(call, SL_CALL_CUT, SLUICE_NO_MEMORY, "out of memory for an answer");
            return;
        }
        input = (struct sl_text) {kept->data, kept->size};
    }
    take_input(connection, &input);
    if (connection->call != call || connection->has_head) {
        sl_buffer_deinit(kept);
    } else if (is_kept) {
        sl_buffer_consume(kept, kept->size - input.size);
    } else if (sl_buffer_append(kept, input.data, input.size) != 0) {
        sl_call_fail(call, SL_CALL_CUT, SLUICE_NO_MEMORY, "out of memory for an answer");
    }
    if (connection->call == call && connection->has_head && !socket->is_closing) {
        set_deadline(connection);
    }
}

static void on_progress(struct sl_socket *socket)
{
    struct sl_upstream_connection *connection = (struct sl_upstream_connection *) socket;
    struct sl_call *call = connection->call;
    if (call == NULL) {
        return;
    }
    set_deadline(connection);
    if (socket->first == NULL && call->was_queued) {
        call->was_queued = false;
        if (call->handlers->on_drain != NULL) {
            call->handlers->on_drain(call->context);
        }
    }
}

static void on_gone(struct sl_socket *socket)
{
    struct sl_upstream_connection *connection = (struct sl_upstream_connection *) socket;
    struct sl_call *call = connection->call;
    if (call == NULL) {
        sl_upstream_connection_close(connection);
    } else if (connection->has_head && connection->framing == SL_HTTP1_UNTIL_CLOSE &&
               !socket->is_reset) {
        end_response(connection, true);
    } else if (call->can_repeat && !connection->has_input && !call->is_repeated) {
        sl_call_repeat(call);
    } else {
        sl_call_fail(call, SL_CALL_CUT, SLUICE_UNAVAILABLE,
            connection->has_head ? "the upstream closed the connection in the middle of its answer"
                                 : "the upstream closed the connection without an answer");
    }
}

void sl_upstream_connection_expire(struct sl_upstream_connection *connection)
{
    if (connection->call == NULL) {
        sl_upstream_connection_close(connection);
    } else {
        sl_call_fail(connection->call, SL_CALL_TIMEOUT, SLUICE_UNAVAILABLE,
            connection->has_head ? "the upstream sent nothing more of its answer in time"
                                 : "the upstream did not answer in time");
    }
}
