/* The reading side of a server's connection: heads, bodies, and what comes after an exchange. */
#include "http/connection.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

static void on_data(struct sl_socket *socket, const char *data, size_t size);
static void on_progress(struct sl_socket *socket);
static void on_gone(struct sl_socket *socket);
static void on_closed(struct sl_socket *socket);

static const struct sl_socket_handlers handlers = {
    .on_data = on_data,
    .on_progress = on_progress,
    .on_gone = on_gone,
    .on_closed = on_closed,
};

int sl_connection_open(struct sl_http_server *server, int take_fd, const char *client,
    struct sluice_error *error)
{
    struct sl_exchange *connection = sl_allocate(sizeof(*connection));
    if (connection == NULL) {
        close(take_fd);
        return sl_fail_memory(error, "a connection");
    }
    if (sl_socket_open(&connection->socket, server->loop, take_fd, &handlers, server->scratch,
            error) != 0) {
        close(take_fd);
        sl_free(connection);
        return -1;
    }
    connection->server = server;
    connection->socket.notices_hangup = true;
    sl_buffer_init(&connection->input, SL_INPUT_SIZE_MAX);
    snprintf(connection->client, sizeof(connection->client), "%s", client);
    connection->next = server->connections;
    if (connection->next != NULL) {
        connection->next->previous = connection;
    }
    server->connections = connection;
    server->handle_count++;
    server->stats.connections++;
    server->stats.connections_opened++;
    sl_connection_set_deadline(connection, true);
    sl_socket_set_reading(&connection->socket, true);
    return 0;
}

static void close_connection(struct sl_exchange *connection)
{
    sl_deadline_clear(&connection->deadline);
    sl_socket_close(&connection->socket);
}

static void on_closed(struct sl_socket *socket)
{
    struct sl_exchange *connection = (struct sl_exchange *) socket;
    struct sl_http_server *server = connection->server;
    struct sl_exchange **link = &server->pending;
    while (connection->is_pending && *link != connection) {
        link = &(*link)->next_pending;
    }
    if (connection->is_pending) {
        *link = connection->next_pending;
    }
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        server->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    server->stats.connections--;
    server->stats.bytes_received += socket->bytes_received;
    server->stats.bytes_sent += socket->bytes_sent;
    sl_free(connection->head);
    sl_buffer_deinit(&connection->input);
    sl_free(connection);
    sl_server_release(server);
}

/* Say goodbye in order: FIN first, then read and drop until the client has closed, too. */
static void linger(struct sl_exchange *connection)
{
    connection->phase = SL_PHASE_LINGER;
    sl_buffer_deinit(&connection->input);
    if (connection->socket.first == NULL) {
        sl_socket_shutdown(&connection->socket);
    }
    sl_socket_set_reading(&connection->socket, true);
    sl_connection_set_deadline(connection, true);
}

void sl_http_error_body(struct sl_buffer *buffer, const char *text)
{
    sl_buffer_append_text(buffer, "{\"error\": \"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            sl_buffer_append(buffer, "\\", 1);
        }
        sl_buffer_append(buffer, (unsigned char) *text < 0x20 ? " " : text, 1);
    }
    sl_buffer_append_text(buffer, "\"}\n");
}

/* Answer a request that never became an exchange, for the last time on this connection. */
static void refuse(struct sl_exchange *connection, const struct sl_http1_refusal *refusal)
{
    struct sl_buffer body;
    struct sl_buffer answer;
    sl_buffer_init(&body, 1024);
    sl_buffer_init(&answer, 2048);
    sl_http_error_body(&body, refusal->text);
    sl_buffer_append_format(&answer,
        "HTTP/1.1 %d %s\r\nDate: %s\r\n%sContent-Type: application/json\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
        refusal->status, sl_http1_reason(refusal->status), sl_server_date(connection->server),
        refusal->status == 405 ? "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" : "",
        body.size, body.data == NULL ? "" : body.data);
    struct iovec piece = {answer.data, answer.size};
    if (answer.is_failed || sl_socket_write(&connection->socket, &piece, 1) != 0) {
        close_connection(connection);
    } else {
        linger(connection);
    }
    sl_buffer_deinit(&answer);
    sl_buffer_deinit(&body);
}

static void refuse_malformed(
    struct sl_exchange *connection, const struct sl_http1_refusal *refusal)
{
    connection->server->stats.requests_malformed++;
    refuse(connection, refusal);
}

/* Reset what belongs to one exchange. */
static void begin_exchange(struct sl_exchange *connection, struct sl_request_head *take_head)
{
    const struct sl_http1_request *request = &take_head->request;
    connection->head = take_head;
    connection->scan = (struct sl_http1_scan) {0};
    connection->chunks = (struct sl_http1_chunks) {0};
    connection->phase = SL_PHASE_ACTIVE;
    connection->handlers = NULL;
    connection->context = NULL;
    connection->body_framing = (uint8_t) request->framing;
    connection->body_left = request->content_length;
    connection->body_taken = 0;
    connection->response_left = -1;
    connection->is_body_done = request->framing == SL_HTTP1_NO_BODY;
    connection->is_body_paused = false;
    connection->is_body_end_told = false;
    connection->awaits_continue = request->expects_continue;
    connection->is_started = connection->is_finished = connection->is_over = false;
    connection->is_head_request = sl_text_equal(request->method, SL_TEXT("HEAD"));
    connection->is_http10 = request->minor_version == 0;
    connection->is_chunked = false;
    connection->is_stream = false;
    connection->is_keep_alive = request->is_keep_alive;
    connection->had_request = true;
    connection->server->stats.requests++;
}

/* What the server does not do for anybody. 0, or -1 after answering. */
static int check_service(
    struct sl_exchange *connection, const struct sl_http1_request *request)
{
    const struct sl_http_server *server = connection->server;
    struct sl_text upgrade =
        sl_http1_find(request->headers, request->header_count, SL_TEXT("upgrade"));
    struct sl_http1_refusal refusal = {0, NULL};
    if (sl_text_equal(request->method, SL_TEXT("TRACE"))) {
        /* Its answer would show a page what it must not see: cookies and tokens. */
        refusal = (struct sl_http1_refusal){405, "this method is not served here"};
    } else if (request->wants_upgrade && sl_http1_has_token(upgrade, SL_TEXT("websocket"))) {
        refusal = (struct sl_http1_refusal) {
            501, "WebSocket is not served here: use an event stream (text/event-stream)"};
    } else if (request->framing == SL_HTTP1_LENGTH && server->options.body_size_max >= 0 &&
               request->content_length > (uint64_t) server->options.body_size_max) {
        refusal = (struct sl_http1_refusal) {413, "the request's body is too large"};
    }
    if (refusal.text == NULL) {
        return 0;
    }
    refuse(connection, &refusal);
    return -1;
}

/* Look for a head in what is there; hand the request over if it is whole. */
static void take_head(struct sl_exchange *connection, struct sl_text *input)
{
    size_t size;
    struct sl_http1_refusal refusal;
    bool is_first_look = connection->scan.place == 0;
    if (input->size == 0) {
        return;
    }
    enum sl_http1_result result =
        sl_http1_scan(&connection->scan, input->data, input->size, &size, &refusal);
    if (result == SL_HTTP1_INCOMPLETE) {
        if (is_first_look) {
            sl_connection_set_deadline(connection, true);
        }
        return;
    }
    if (result == SL_HTTP1_INVALID) {
        refuse_malformed(connection, &refusal);
        return;
    }
    struct sl_request_head *head = sl_allocate(sizeof(*head) + size);
    if (head == NULL) {
        refusal = (struct sl_http1_refusal) {503, "out of memory for the request"};
        refuse(connection, &refusal);
        return;
    }
    memcpy(head->bytes, input->data, size);
    *input = (struct sl_text) {input->data + size, input->size - size};
    if (sl_http1_parse_request(head->bytes, size, &head->request, &refusal) != 0) {
        sl_free(head);
        refuse_malformed(connection, &refusal);
        return;
    }
    if (check_service(connection, &head->request) != 0) {
        sl_free(head);
        return;
    }
    begin_exchange(connection, head);
    connection->server->options.on_request(connection->server->options.context, connection);
}

static void end_body(struct sl_exchange *connection)
{
    connection->is_body_done = true;
    if (!connection->is_body_end_told) {
        connection->is_body_end_told = true;
        if (connection->handlers != NULL && connection->handlers->on_body_end != NULL) {
            connection->handlers->on_body_end(connection->context);
        }
    }
}

/* The body breaks the rules: answer if nothing has been answered, and end. */
static void refuse_body(struct sl_exchange *connection, int status, const char *text)
{
    connection->is_keep_alive = false;
    connection->is_body_done = true;
    connection->server->stats.requests_malformed++;
    if (!connection->is_started) {
        sl_exchange_fail(connection, status, "%s", text);
    }
    connection->is_over = false;
    sl_exchange_end_as(connection, SL_EXCHANGE_BAD_BODY);
}

static void hand_body(struct sl_exchange *connection, struct sl_text data)
{
    int64_t size_max = connection->server->options.body_size_max;
    connection->body_taken += (int64_t) data.size;
    if (size_max >= 0 && connection->body_taken > size_max) {
        refuse_body(connection, 413, "the request's body is too large");
        return;
    }
    if (data.size > 0 && connection->handlers != NULL && connection->handlers->on_body != NULL) {
        connection->handlers->on_body(connection->context, data.data, data.size);
    }
}

/* Take one run of body bytes off the input. False if none could be taken. */
static bool take_body_run(struct sl_exchange *connection, struct sl_text *input)
{
    struct sl_text data = *input;
    size_t taken;
    if (connection->body_framing == SL_HTTP1_LENGTH) {
        data.size = data.size < connection->body_left ? data.size : (size_t) connection->body_left;
        connection->body_left -= data.size;
        *input = (struct sl_text) {input->data + data.size, input->size - data.size};
        connection->is_body_done = connection->body_left == 0;
        hand_body(connection, data);
        return true;
    }
    struct sl_http1_refusal refusal;
    enum sl_http1_result result = sl_http1_decode_chunks(
        &connection->chunks, input->data, input->size, &data, &taken, &refusal);
    if (result == SL_HTTP1_INVALID) {
        refuse_body(connection, refusal.status, refusal.text);
        return false;
    }
    *input = (struct sl_text) {input->data + taken, input->size - taken};
    connection->is_body_done = result == SL_HTTP1_COMPLETE;
    hand_body(connection, data);
    return true;
}

static void take_body(struct sl_exchange *connection, struct sl_text *input)
{
    while (!connection->is_over && !connection->is_body_done && !connection->is_body_paused &&
           input->size > 0) {
        if (!take_body_run(connection, input)) {
            return;
        }
    }
    if (!connection->is_over && connection->is_body_done && !connection->is_body_paused) {
        end_body(connection);
    }
}

/* Ask the client for the body that it announced and holds back. */
static void send_continue(struct sl_exchange *connection)
{
    static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct iovec piece = {(void *) answer, sizeof(answer) - 1};
    connection->awaits_continue = false;
    if (sl_socket_write(&connection->socket, &piece, 1) != 0) {
        sl_exchange_end_as(connection, SL_EXCHANGE_ABORTED);
    }
}

/* The exchange is over: tell its owner, then go on with the connection or close it. */
static void end_exchange(struct sl_exchange *connection)
{
    const struct sl_exchange_handlers *owner = connection->handlers;
    enum sl_exchange_end end = (enum sl_exchange_end) connection->end;
    bool is_body_read = connection->is_body_done && !connection->awaits_continue;
    connection->handlers = NULL;
    sl_free(connection->head);
    connection->head = NULL;
    if (owner != NULL && owner->on_close != NULL) {
        owner->on_close(connection->context, end);
    }
    if (!connection->is_finished || connection->socket.first != NULL) {
        close_connection(connection);
    } else if (end != SL_EXCHANGE_DONE || !connection->is_keep_alive || !is_body_read ||
               connection->server->is_stopping) {
        linger(connection);
    } else {
        connection->phase = SL_PHASE_HEAD;
        connection->scan = (struct sl_http1_scan) {0};
        sl_connection_set_deadline(connection, true);
    }
}

/* One step of an active exchange. True if it ended and the connection may take another one. */
static bool advance_exchange(struct sl_exchange *connection, struct sl_text *input)
{
    if (!connection->is_over && connection->awaits_continue && !connection->is_started &&
        !connection->is_body_paused) {
        send_continue(connection);
    }
    if (!connection->is_body_end_told) {
        take_body(connection, input);
    }
    if (!connection->is_over && connection->is_finished && connection->socket.first == NULL) {
        sl_exchange_end_as(connection, SL_EXCHANGE_DONE);
    }
    if (!connection->is_over) {
        return false;
    }
    end_exchange(connection);
    return connection->phase == SL_PHASE_HEAD && !connection->socket.is_closing;
}

/* Use the input as far as it goes. The input's bytes stay where they are meanwhile. */
static void advance(struct sl_exchange *connection, struct sl_text *input)
{
    connection->is_advancing = true;
    for (;;) {
        if (connection->phase == SL_PHASE_HEAD && !connection->socket.is_closing) {
            take_head(connection, input);
        }
        if (connection->phase != SL_PHASE_ACTIVE || !advance_exchange(connection, input)) {
            break;
        }
    }
    connection->is_advancing = false;
}

/* Stop reading while nobody can use what comes; what has come already is kept in `input`. */
static void settle_reading(struct sl_exchange *connection)
{
    bool is_wanted = connection->phase != SL_PHASE_ACTIVE ||
                     (connection->is_body_end_told ? connection->input.size == 0
                                                   : !connection->is_body_paused);
    if (connection->input.size == 0) {
        sl_buffer_deinit(&connection->input);
    }
    if (is_wanted != connection->socket.is_reading) {
        sl_socket_set_reading(&connection->socket, is_wanted);
    }
}

void sl_connection_advance(struct sl_exchange *connection)
{
    struct sl_text input = {connection->input.data, connection->input.size};
    if (connection->is_advancing || connection->socket.is_closing) {
        return;
    }
    advance(connection, &input);
    if (connection->socket.is_closing) {
        return;
    }
    if (connection->input.size > input.size) {
        sl_buffer_consume(&connection->input, connection->input.size - input.size);
    }
    settle_reading(connection);
    sl_connection_set_deadline(connection, false);
}

static void on_data(struct sl_socket *socket, const char *data, size_t size)
{
    struct sl_exchange *connection = (struct sl_exchange *) socket;
    struct sl_text input = {data, size};
    if (connection->phase == SL_PHASE_LINGER) {
        return;
    }
    if (connection->input.size > 0) {
        if (sl_buffer_append(&connection->input, data, size) != 0) {
            on_gone(socket);
            return;
        }
        sl_connection_advance(connection);
    } else {
        advance(connection, &input);
        if (socket->is_closing || connection->phase == SL_PHASE_LINGER) {
            return;
        }
        if (input.size > 0 &&
            sl_buffer_append(&connection->input, input.data, input.size) != 0) {
            on_gone(socket);
            return;
        }
        settle_reading(connection);
    }
    if (!socket->is_closing) {
        sl_connection_set_deadline(connection, !connection->is_body_done);
    }
}

static void on_progress(struct sl_socket *socket)
{
    struct sl_exchange *connection = (struct sl_exchange *) socket;
    sl_connection_set_deadline(connection, true);
    if (socket->first != NULL) {
        return;
    }
    if (connection->phase == SL_PHASE_LINGER) {
        sl_socket_shutdown(socket);
        return;
    }
    if (connection->was_queued && !connection->is_finished && connection->handlers != NULL &&
        connection->handlers->on_drain != NULL) {
        connection->was_queued = false;
        connection->handlers->on_drain(connection->context);
    }
    connection->was_queued = false;
    sl_connection_advance(connection);
}

static void on_gone(struct sl_socket *socket)
{
    struct sl_exchange *connection = (struct sl_exchange *) socket;
    if (connection->phase == SL_PHASE_ACTIVE) {
        connection->is_over = true;
        connection->end = SL_EXCHANGE_CLIENT_GONE;
        end_exchange(connection);
    }
    close_connection(connection);
}

void sl_connection_expire(struct sl_exchange *connection)
{
    static const struct sl_http1_refusal late = {
        408, "the request's head did not come in time"};
    if (connection->phase == SL_PHASE_HEAD && connection->scan.place > 0) {
        refuse(connection, &late);
    } else if (connection->phase == SL_PHASE_ACTIVE) {
        if (!connection->is_started) {
            sl_exchange_fail(connection, 408, "the request's body did not come in time");
        } else {
            connection->is_finished = false;
        }
        connection->is_over = true;
        connection->end = SL_EXCHANGE_TIMEOUT;
        end_exchange(connection);
    } else {
        close_connection(connection);
    }
}

void sl_connection_stop(struct sl_exchange *connection, bool is_cut)
{
    if (connection->socket.is_closing) {
        return;
    }
    if (connection->phase != SL_PHASE_ACTIVE) {
        close_connection(connection);
    } else if (is_cut) {
        sl_exchange_end_as(connection, SL_EXCHANGE_STOPPED);
    } else {
        connection->is_keep_alive = false;
    }
}

void sl_connection_set_deadline(struct sl_exchange *connection, bool has_progress)
{
    struct sl_http_server *server = connection->server;
    struct sl_deadline_list *list = NULL;
    if (connection->socket.is_closing) {
        return;
    }
    if (connection->phase == SL_PHASE_LINGER) {
        list = &server->lingers;
    } else if (connection->phase == SL_PHASE_HEAD) {
        bool is_idle = connection->had_request && connection->scan.place == 0;
        list = is_idle ? &server->idles : &server->heads;
        has_progress = has_progress && connection->deadline.list != &server->heads;
    } else if (connection->socket.first != NULL) {
        list = connection->is_stream ? &server->stream_writes : &server->writes;
    } else if (!connection->is_body_done && !connection->is_body_paused) {
        list = &server->bodies;
    }
    if (list == NULL) {
        sl_deadline_clear(&connection->deadline);
    } else if (has_progress || connection->deadline.list != list) {
        sl_deadline_set(&connection->deadline, list, (int64_t) uv_now(server->loop));
        sl_server_watch_deadlines(server);
    }
}
