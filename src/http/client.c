/* Finding each call a connection: its turn, the pool, names, addresses; and the end of calls. */
#include "http/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "http/client_internal.h"

enum { TICK_MS = 200, OWN_HANDLES = 2 };

static void on_tick(uv_timer_t *timer);
static void on_idle(uv_idle_t *idle);

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value == 0 ? fallback : value;
}

int sl_http_client_open(uv_loop_t *loop, const struct sl_http_client_options *options,
    struct sl_http_client **ret_client, struct sluice_error *error)
{
    struct sl_http_client *client = sl_allocate(sizeof(*client));
    char *scratch = sl_allocate(SL_SOCKET_READ_SIZE);
    if (client == NULL || scratch == NULL) {
        sl_free(client);
        sl_free(scratch);
        return sl_fail_memory(error, "an HTTP client");
    }
    client->loop = loop;
    client->scratch = scratch;
    if (options != NULL) {
        client->options = *options;
    }
    if (client->options.idle_connections_max == 0) {
        client->options.idle_connections_max = 64;
    }
    if (client->options.queue_size_max == 0) {
        client->options.queue_size_max = 256 * 1024;
    }
    client->idles.duration_ms = or_default(client->options.idle_timeout_ms, 15000);
    client->connects.duration_ms = or_default(client->options.connect_timeout_ms, 5000);
    client->heads.duration_ms = or_default(client->options.head_timeout_ms, 60000);
    client->bodies.duration_ms = client->options.body_timeout_ms;
    sl_table_init(&client->upstreams);
    uv_timer_init(loop, &client->timer);
    uv_idle_init(loop, &client->idle);
    client->timer.data = client->idle.data = client;
    client->handle_count = OWN_HANDLES;
    *ret_client = client;
    return 0;
}

void sl_http_client_watch_deadlines(struct sl_http_client *client)
{
    if (!uv_is_active((uv_handle_t *) &client->timer) && !client->is_closing) {
        uv_timer_start(&client->timer, on_tick, TICK_MS, TICK_MS);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_http_client *client = timer->data;
    struct sl_deadline_list *lists[] = {&client->heads, &client->bodies, &client->idles};
    int64_t now_ms = (int64_t) uv_now(client->loop);
    struct sl_deadline *deadline;
    bool has_any = client->connects.first != NULL;
    while ((deadline = sl_deadline_expired(&client->connects, now_ms)) != NULL) {
        struct sl_call *call =
            (struct sl_call *) ((char *) deadline - offsetof(struct sl_call, deadline));
        sl_call_fail(call, SL_CALL_TIMEOUT, SLUICE_UNAVAILABLE,
            "no connection to %s port %u in time", call->upstream->host, call->upstream->port);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        while ((deadline = sl_deadline_expired(lists[i], now_ms)) != NULL) {
            sl_upstream_connection_expire(
                (struct sl_upstream_connection *) ((char *) deadline -
                                                   offsetof(struct sl_upstream_connection,
                                                       deadline)));
        }
        has_any = has_any || lists[i]->first != NULL;
    }
    if (!has_any) {
        uv_timer_stop(timer);
    }
}

static bool free_upstream(void *context, struct sl_text key, void *value)
{
    (void) context;
    (void) key;
    sl_free(value);
    return true;
}

void sl_http_client_release(struct sl_http_client *client)
{
    if (--client->handle_count > 0 || !client->is_closing) {
        return;
    }
    sl_table_each(&client->upstreams, free_upstream, NULL);
    sl_table_deinit(&client->upstreams);
    sl_free(client->scratch);
    sl_free(client);
}

static void on_handle_closed(uv_handle_t *handle)
{
    sl_http_client_release(handle->data);
}

void sl_http_client_close(struct sl_http_client *client)
{
    if (client == NULL) {
        return;
    }
    client->is_closing = true;
    while (client->calls != NULL) {
        sl_call_cancel(client->calls);
    }
    struct sl_upstream_connection *next;
    for (struct sl_upstream_connection *each = client->connections; each != NULL; each = next) {
        next = each->next;
        sl_upstream_connection_close(each);
    }
    uv_close((uv_handle_t *) &client->timer, on_handle_closed);
    uv_close((uv_handle_t *) &client->idle, on_handle_closed);
}

struct sl_upstream *sl_http_client_find_upstream(struct sl_http_client *client,
    struct sl_text host, uint16_t port, struct sluice_error *error)
{
    char key[300];
    struct sl_upstream *upstream;
    if (host.size == 0 || host.size >= sizeof(upstream->host) ||
        memchr(host.data, '\0', host.size) != NULL) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "an upstream's host has 1 to 255 bytes");
        return NULL;
    }
    int size = snprintf(key, sizeof(key), "%u/%.*s", port, (int) host.size, host.data);
    struct sl_text name = {key, (size_t) size};
    upstream = sl_table_get(&client->upstreams, name);
    if (upstream != NULL) {
        return upstream;
    }
    upstream = sl_allocate(sizeof(*upstream));
    if (upstream == NULL || sl_table_put(&client->upstreams, name, upstream) != 0) {
        sl_free(upstream);
        sl_fail_memory(error, "an upstream");
        return NULL;
    }
    memcpy(upstream->host, host.data, host.size);
    upstream->port = port;
    return upstream;
}

static void unlink_call(struct sl_call *call)
{
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        call->client->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
}

static void enter_queue(struct sl_call_queue *queue, struct sl_call *call)
{
    call->queue = queue;
    call->queue_previous = queue->last;
    call->queue_next = NULL;
    if (queue->last != NULL) {
        queue->last->queue_next = call;
    } else {
        queue->first = call;
    }
    queue->last = call;
}

static void leave_queue(struct sl_call *call)
{
    struct sl_call_queue *queue = call->queue;
    if (queue == NULL) {
        return;
    }
    if (call->queue_previous != NULL) {
        call->queue_previous->queue_next = call->queue_next;
    } else {
        queue->first = call->queue_next;
    }
    if (call->queue_next != NULL) {
        call->queue_next->queue_previous = call->queue_previous;
    } else {
        queue->last = call->queue_previous;
    }
    call->queue = NULL;
}

void sl_call_defer(struct sl_call *call)
{
    struct sl_http_client *client = call->client;
    call->state = SL_CALL_STARTING;
    enter_queue(&client->deferred, call);
    if (!uv_is_active((uv_handle_t *) &client->idle)) {
        uv_idle_start(&client->idle, on_idle);
    }
}

/* Take a turn; false if the call has to wait for it. */
static bool take_turn(struct sl_call *call)
{
    struct sl_upstream *upstream = call->upstream;
    size_t calls_max = call->client->options.calls_max;
    if (!call->is_running && calls_max > 0 && upstream->running_count >= calls_max) {
        enter_queue(&upstream->waiting, call);
        return false;
    }
    upstream->running_count += call->is_running ? 0 : 1;
    call->is_running = true;
    return true;
}

/* The call gives up its turn, or its place in a queue; the first that waits comes next. */
static void leave_upstream(struct sl_call *call)
{
    struct sl_upstream *upstream = call->upstream;
    leave_queue(call);
    if (!call->is_running) {
        return;
    }
    call->is_running = false;
    upstream->running_count--;
    struct sl_call *next = upstream->waiting.first;
    if (next != NULL) {
        leave_queue(next);
        sl_call_defer(next);
    }
}

/* Let go of everything a call holds but its connection, and of the call. */
static void free_call(struct sl_call *call)
{
    leave_upstream(call);
    if (call->lookup != NULL) {
        call->lookup->call = NULL;
        uv_cancel((uv_req_t *) &call->lookup->request);
    }
    if (call->addresses != NULL) {
        uv_freeaddrinfo(call->addresses);
    }
    sl_deadline_clear(&call->deadline);
    unlink_call(call);
    sl_buffer_deinit(&call->output);
    sl_free(call);
}

void sl_call_cancel(struct sl_call *call)
{
    if (call == NULL) {
        return;
    }
    if (call->connection != NULL) {
        sl_upstream_connection_close(call->connection);
    }
    free_call(call);
}

void sl_call_fail(struct sl_call *call, enum sl_call_failure failure, enum sluice_code code,
    const char *format, ...)
{
    struct sluice_error error;
    char text[SLUICE_ERROR_TEXT_SIZE];
    const struct sl_call_handlers *handlers = call->handlers;
    void *context = call->context;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    sl_fail(&error, code, SLUICE_RETRY, "%s", text);
    sl_call_cancel(call);
    if (handlers->on_fail != NULL) {
        handlers->on_fail(context, failure, &error);
    }
}

void sl_call_end(struct sl_call *call)
{
    const struct sl_call_handlers *handlers = call->handlers;
    void *context = call->context;
    free_call(call);
    if (handlers->on_end != NULL) {
        handlers->on_end(context);
    }
}

/* Begin to connect to the next address, or fail if there is none left. */
static void connect_next(struct sl_call *call)
{
    struct sluice_error error;
    while (call->next_address != NULL) {
        struct addrinfo *address = call->next_address;
        call->next_address = address->ai_next;
        int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            call->last_status = -errno;
            continue;
        }
        if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
            call->last_status = -errno;
            close(fd);
            continue;
        }
        call->state = SL_CALL_CONNECTING;
        if (sl_upstream_connection_open(call, fd, &error) == 0) {
            return;
        }
        call->last_status = -ENOMEM;
    }
    sl_call_fail(call, SL_CALL_CONNECT, SLUICE_UNAVAILABLE, "cannot connect to %s port %u: %s",
        call->upstream->host, call->upstream->port, uv_strerror(call->last_status));
}

void sl_call_on_connect(struct sl_call *call, int status)
{
    if (status != 0) {
        sl_upstream_connection_close(call->connection);
        call->connection = NULL;
        call->last_status = status;
        connect_next(call);
        return;
    }
    sl_deadline_clear(&call->deadline);
    if (call->addresses != NULL) {
        uv_freeaddrinfo(call->addresses);
        call->addresses = NULL;
    }
    sl_upstream_connection_use(call->connection, call);
}

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct sl_lookup *lookup = (struct sl_lookup *) request;
    struct sl_call *call = lookup->call;
    struct sl_http_client *client = request->data;
    sl_free(lookup);
    if (call == NULL) {
        uv_freeaddrinfo(addresses);
    } else {
        call->lookup = NULL;
        call->addresses = call->next_address = addresses;
        if (status != 0) {
            sl_call_fail(call, SL_CALL_CONNECT, SLUICE_UNAVAILABLE,
                "the name %s cannot be looked up: %s", call->upstream->host, uv_strerror(status));
        } else {
            connect_next(call);
        }
    }
    sl_http_client_release(client);
}

/* A numeric address needs no look-up, and so no thread. */
static bool connect_numeric(struct sl_call *call)
{
    struct sockaddr_storage storage;
    struct addrinfo address = {.ai_addr = (struct sockaddr *) &storage};
    const struct sl_upstream *upstream = call->upstream;
    if (uv_ip4_addr(upstream->host, upstream->port, (struct sockaddr_in *) &storage) == 0) {
        address.ai_family = AF_INET;
        address.ai_addrlen = sizeof(struct sockaddr_in);
    } else if (uv_ip6_addr(upstream->host, upstream->port, (struct sockaddr_in6 *) &storage) ==
               0) {
        address.ai_family = AF_INET6;
        address.ai_addrlen = sizeof(struct sockaddr_in6);
    } else {
        return false;
    }
    call->next_address = &address;
    connect_next(call);
    return true;
}

static void look_up(struct sl_call *call)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct sl_http_client *client = call->client;
    struct sl_lookup *lookup = sl_allocate(sizeof(*lookup));
    snprintf(service, sizeof(service), "%u", call->upstream->port);
    if (sl_text_equal(sl_text_of(call->upstream->host), SL_TEXT("localhost"))) {
        hints.ai_flags = 0;
    }
    if (lookup == NULL || uv_getaddrinfo(client->loop, &lookup->request, on_looked_up,
                              call->upstream->host, service, &hints) != 0) {
        sl_free(lookup);
        sl_call_fail(call, SL_CALL_CONNECT, SLUICE_NO_MEMORY, "out of memory for a look-up");
        return;
    }
    client->handle_count++;
    lookup->request.data = client;
    lookup->call = call;
    call->lookup = lookup;
    call->state = SL_CALL_RESOLVING;
}

static void begin(struct sl_call *call)
{
    struct sl_http_client *client = call->client;
    leave_queue(call);
    if (call->deadline.list == NULL) {
        sl_deadline_set(&call->deadline, &client->connects, (int64_t) uv_now(client->loop));
        sl_http_client_watch_deadlines(client);
    }
    if (!take_turn(call)) {
        return;
    }
    struct sl_upstream_connection *idle = call->upstream->idle_first;
    if (idle != NULL && !call->is_repeated) {
        sl_deadline_clear(&call->deadline);
        sl_upstream_connection_use(idle, call);
        return;
    }
    if (!connect_numeric(call)) {
        look_up(call);
    }
}

static void on_idle(uv_idle_t *idle)
{
    struct sl_http_client *client = idle->data;
    while (client->deferred.first != NULL) {
        begin(client->deferred.first);
    }
    uv_idle_stop(idle);
}

void sl_call_repeat(struct sl_call *call)
{
    sl_upstream_connection_close(call->connection);
    call->connection = NULL;
    call->is_repeated = true;
    sl_call_defer(call);
}

void sl_http_client_counts(const struct sl_http_client *client, size_t *ret_open,
    size_t *ret_idle)
{
    *ret_open = client->connection_count;
    *ret_idle = client->idle_count;
}
