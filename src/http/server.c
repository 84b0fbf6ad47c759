/* Listening, counting, deadlines, and the server's end. */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/url.h"
#include "http/connection.h"

enum {
    TICK_MS = 200,
    LINGER_MS = 2000,
    ACCEPTS_PER_TURN = 64,
    DESCRIPTORS_RESERVED = 64,
    OWN_HANDLES = 2, /* the timer and the idle handle */
    BACKLOG = 4096
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static void on_tick(uv_timer_t *timer);
static void on_idle(uv_idle_t *idle);
static void on_acceptable(uv_poll_t *poll, int status, int events);

void sl_connection_defer(struct sl_exchange *connection)
{
    struct sl_http_server *server = connection->server;
    if (connection->is_pending || connection->is_advancing || connection->socket.is_closing) {
        return;
    }
    connection->is_pending = true;
    connection->next_pending = server->pending;
    server->pending = connection;
    if (!uv_is_active((uv_handle_t *) &server->idle)) {
        uv_idle_start(&server->idle, on_idle);
    }
}

static void on_idle(uv_idle_t *idle)
{
    struct sl_http_server *server = idle->data;
    while (server->pending != NULL) {
        struct sl_exchange *connection = server->pending;
        server->pending = connection->next_pending;
        connection->is_pending = false;
        sl_connection_advance(connection);
    }
    uv_idle_stop(idle);
}

const char *sl_server_date(struct sl_http_server *server)
{
    time_t now = time(NULL);
    if (now != server->date_second) {
        struct tm parts;
        server->date_second = now;
        gmtime_r(&now, &parts);
        strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return server->date;
}

void sl_server_watch_deadlines(struct sl_http_server *server)
{
    if (!uv_is_active((uv_handle_t *) &server->timer)) {
        uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS);
    }
}

static void watch_listeners(struct sl_http_server *server, bool is_watched)
{
    server->are_listeners_paused = !is_watched;
    for (size_t i = 0; i < server->listener_count; i++) {
        uv_poll_t *poll = &server->listeners[i].poll;
        if (server->listeners[i].fd >= 0 && is_watched) {
            uv_poll_start(poll, UV_READABLE, on_acceptable);
        } else if (server->listeners[i].fd >= 0) {
            uv_poll_stop(poll);
        }
    }
}

static bool expire(struct sl_http_server *server)
{
    struct sl_deadline_list *lists[] = {&server->heads, &server->idles, &server->bodies,
        &server->writes, &server->stream_writes, &server->lingers};
    int64_t now_ms = (int64_t) uv_now(server->loop);
    bool has_any = false;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct sl_deadline *deadline;
        while ((deadline = sl_deadline_expired(lists[i], now_ms)) != NULL) {
            sl_connection_expire((struct sl_exchange *) ((char *) deadline -
                                                         offsetof(struct sl_exchange, deadline)));
        }
        has_any = has_any || lists[i]->first != NULL;
    }
    return has_any;
}

static void stop_connections(struct sl_http_server *server, bool is_cut)
{
    struct sl_exchange *next;
    for (struct sl_exchange *each = server->connections; each != NULL; each = next) {
        next = each->next;
        sl_connection_stop(each, is_cut);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_http_server *server = timer->data;
    bool has_any = expire(server);
    if (server->is_stopping && (int64_t) uv_now(server->loop) >= server->stop_at_ms) {
        stop_connections(server, true);
    }
    if (server->are_listeners_paused && !server->is_stopping) {
        watch_listeners(server, true);
    }
    if (!has_any && !server->is_stopping) {
        uv_timer_stop(timer);
    }
}

static void format_address(const union address *address, char *ret_text, socklen_t size)
{
    const void *bytes = address->any.sa_family == AF_INET6 ? (const void *) &address->v6.sin6_addr
                                                           : (const void *) &address->v4.sin_addr;
    if (inet_ntop(address->any.sa_family, bytes, ret_text, size) == NULL) {
        ret_text[0] = '\0';
    }
}

/* One connection too many: say so as far as the kernel takes it without waiting, and close. */
static void refuse_connection(struct sl_http_server *server, int fd)
{
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Retry-After: 1\r\nContent-Length: 64\r\nConnection: close\r\n\r\n"
        "{\"error\": \"this server has as many connections as it may have\"}\n";
    server->stats.connections_refused++;
    send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

/* Accept one connection; false if there is none to accept. */
static bool accept_one(struct sl_listener *listener)
{
    struct sl_http_server *server = listener->server;
    union address address;
    socklen_t size = sizeof(address);
    char client[INET6_ADDRSTRLEN];
    struct sluice_error error;
    int fd = accept4(listener->fd, &address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            sl_log(SL_LOG_WARN, "cannot accept a connection for now", "reason=\"%s\"",
                strerror(errno));
            watch_listeners(server, false);
            sl_server_watch_deadlines(server);
            return false;
        }
        return errno != EAGAIN && errno != EWOULDBLOCK;
    }
    if (server->stats.connections >= server->options.connections_max) {
        refuse_connection(server, fd);
        return true;
    }
    format_address(&address, client, sizeof(client));
    if (sl_connection_open(server, fd, client, &error) != 0) {
        sl_log(SL_LOG_WARN, "cannot serve a connection", "reason=\"%s\"", error.text);
    }
    return true;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct sl_listener *listener = poll->data;
    (void) events;
    if (status < 0) {
        sl_log(SL_LOG_ERROR, "a listening socket failed", "url=%s reason=\"%s\"", listener->url,
            uv_strerror(status));
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(listener); i++) {
    }
}

static int parse_address(const char *text, union address *ret_address, struct sluice_error *error)
{
    struct sl_text host;
    uint16_t port;
    char name[INET6_ADDRSTRLEN];
    *ret_address = (union address) {0};
    if (sl_url_parse_address(sl_text_of(text), &host, &port) && host.size < sizeof(name)) {
        if (sl_text_equal(host, SL_TEXT("localhost"))) {
            host = SL_TEXT("127.0.0.1");
        }
        snprintf(name, sizeof(name), "%.*s", (int) host.size, host.data);
        if (inet_pton(AF_INET, name, &ret_address->v4.sin_addr) == 1) {
            ret_address->v4.sin_family = AF_INET;
            ret_address->v4.sin_port = htons(port);
            return 0;
        }
        if (inet_pton(AF_INET6, name, &ret_address->v6.sin6_addr) == 1) {
            ret_address->v6.sin6_family = AF_INET6;
            ret_address->v6.sin6_port = htons(port);
            return 0;
        }
    }
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "cannot listen on \"%s\": write a numeric address and a port, as 127.0.0.1:8080 or "
        "[::1]:8080; port 0 takes a free one", text);
}

static void describe_listener(struct sl_listener *listener, const union address *bound)
{
    char host[INET6_ADDRSTRLEN];
    bool is_v6 = bound->any.sa_family == AF_INET6;
    format_address(bound, host, sizeof(host));
    snprintf(listener->url, sizeof(listener->url), is_v6 ? "http://[%s]:%u" : "http://%s:%u", host,
        ntohs(is_v6 ? bound->v6.sin6_port : bound->v4.sin_port));
}

static int open_listener(struct sl_http_server *server, const char *text,
    struct sl_listener *listener, struct sluice_error *error)
{
    union address address;
    int one = 1;
    if (parse_address(text, &address, error) != 0) {
        return -1;
    }
    socklen_t size =
        address.any.sa_family == AF_INET6 ? sizeof(address.v6) : sizeof(address.v4);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return sl_fail_system(error, errno, "cannot listen on", text);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (address.any.sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (bind(fd, &address.any, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &address.any, &size) != 0) {
        int number = errno;
        close(fd);
        return sl_fail_system(error, number, "cannot listen on", text);
    }
    int result = uv_poll_init(server->loop, &listener->poll, fd);
    if (result != 0) {
        close(fd);
        return sl_fail_system(error, result, "cannot listen on", text);
    }
    server->handle_count++;
    listener->poll.data = listener;
    listener->server = server;
    listener->fd = fd;
    describe_listener(listener, &address);
    return 0;
}

static void free_server(struct sl_http_server *server)
{
    void (*on_stopped)(void *context) = server->on_stopped;
    void *context = server->stop_context;
    sl_free(server->listeners);
    sl_free(server->scratch);
    sl_free(server);
    if (on_stopped != NULL) {
        on_stopped(context);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_http_server *server = handle->data;
    if (--server->handle_count == 0) {
        free_server(server);
    }
}

/* The timer and the idle handle are the last to go: connections need them to the end. */
static void close_if_last(struct sl_http_server *server)
{
    if (server->is_stopping && server->handle_count == OWN_HANDLES &&
        !uv_is_closing((uv_handle_t *) &server->timer)) {
        uv_close((uv_handle_t *) &server->timer, on_handle_closed);
        uv_close((uv_handle_t *) &server->idle, on_handle_closed);
    }
}

void sl_server_release(struct sl_http_server *server)
{
    server->handle_count--;
    close_if_last(server);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct sl_listener *listener = handle->data;
    sl_server_release(listener->server);
}

static void close_listeners(struct sl_http_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].fd >= 0) {
            uv_close((uv_handle_t *) &server->listeners[i].poll, on_listener_closed);
            close(server->listeners[i].fd);
            server->listeners[i].fd = -1;
        }
    }
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value == 0 ? fallback : value;
}

static void apply_defaults(struct sl_http_server *server)
{
    struct sl_http_server_options *options = &server->options;
    struct rlimit limit;
    size_t most = 20000;
    if (options->connections_max > 0) {
        most = options->connections_max;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur > DESCRIPTORS_RESERVED && most > limit.rlim_cur - DESCRIPTORS_RESERVED) {
        most = (size_t) limit.rlim_cur - DESCRIPTORS_RESERVED;
    }
    options->connections_max = most;
    options->queue_size_max = options->queue_size_max == 0 ? 256 * 1024 : options->queue_size_max;
    options->body_size_max = or_default(options->body_size_max, 64 * 1024 * 1024);
    server->heads.duration_ms = or_default(options->head_timeout_ms, 10000);
    server->idles.duration_ms = or_default(options->idle_timeout_ms, 75000);
    server->bodies.duration_ms = or_default(options->body_timeout_ms, 30000);
    server->writes.duration_ms = or_default(options->write_timeout_ms, 60000);
    server->stream_writes.duration_ms = or_default(options->stream_write_timeout_ms, 10000);
    server->lingers.duration_ms = LINGER_MS;
    options->addresses = NULL;
}

static int open_listeners(struct sl_http_server *server, const char *const *addresses,
    struct sluice_error *error)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        server->listeners[i].fd = -1;
    }
    for (size_t i = 0; i < server->listener_count; i++) {
        if (open_listener(server, addresses[i], &server->listeners[i], error) != 0) {
            return -1;
        }
    }
    return 0;
}

int sl_http_server_open(uv_loop_t *loop, const struct sl_http_server_options *options,
    struct sl_http_server **ret_server, struct sluice_error *error)
{
    struct sl_http_server *server = sl_allocate(sizeof(*server));
    if (server == NULL) {
        return sl_fail_memory(error, "a server");
    }
    server->loop = loop;
    server->options = *options;
    server->listener_count = options->address_count;
    server->listeners = sl_allocate(options->address_count * sizeof(struct sl_listener));
    server->scratch = sl_allocate(SL_SOCKET_READ_SIZE);
    apply_defaults(server);
    if (server->listeners == NULL || server->scratch == NULL) {
        sl_free(server->listeners);
        sl_free(server->scratch);
        sl_free(server);
        return sl_fail_memory(error, "a server");
    }
    uv_timer_init(loop, &server->timer);
    uv_idle_init(loop, &server->idle);
    server->timer.data = server->idle.data = server;
    server->handle_count = OWN_HANDLES;
    if (open_listeners(server, options->addresses, error) != 0) {
        sl_http_server_stop(server, 0, NULL, NULL);
        return -1;
    }
    watch_listeners(server, true);
    *ret_server = server;
    return 0;
}

const char *sl_http_server_url(const struct sl_http_server *server, size_t index)
{
    return index < server->listener_count ? server->listeners[index].url : NULL;
}

void sl_http_server_stop(struct sl_http_server *server, int64_t grace_ms,
    void (*on_stopped)(void *context), void *context)
{
    server->is_stopping = true;
    server->on_stopped = on_stopped;
    server->stop_context = context;
    server->stop_at_ms = (int64_t) uv_now(server->loop) + grace_ms;
    close_listeners(server);
    stop_connections(server, grace_ms <= 0);
    sl_server_watch_deadlines(server);
    close_if_last(server);
}

void sl_http_server_stats(const struct sl_http_server *server,
    struct sl_http_server_stats *ret_stats)
{
    *ret_stats = server->stats;
    for (const struct sl_exchange *each = server->connections; each != NULL; each = each->next) {
        ret_stats->bytes_received += each->socket.bytes_received;
        ret_stats->bytes_sent += each->socket.bytes_sent;
    }
}
