/*
 * stream_load - many event streams of one server, and events for all of them.
 *
 *   stream_load PORT STREAMS STREAM-PATH PUBLISH-PATH SECONDS
 *
 * Opens the streams, says so, and waits for a line. Then it posts an event, waits until every
 * stream has got it, and posts the next. An event's end is an empty line, which nothing else on
 * the stream has meanwhile. One line of JSON for each step; ends when its input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS_AN_ADDRESS = 8000, AT_ONCE = 256, EVENTS = 512, SETTLE_MS = 500, STALL_MS = 20000 };

struct stream {
    int descriptor;
    bool is_open;     /* its head has been read */
    int newlines;     /* in a row, at the end of what was read */
    int64_t received; /* events */
};

static int epoll;
static struct stream *streams;
static struct sockaddr_in server = {.sin_family = AF_INET};
static const char *path;
static int open_count;
static int64_t delivered;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "stream_load: %s: %s\n", what, why);
    exit(1);
}

/* One source address has too few ports for all. */
static int connect_from(int number)
{
    int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 9 + (uint32_t) (number / STREAMS_AN_ADDRESS))};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(descriptor, (struct sockaddr *) &source, sizeof(source)) != 0 ||
        connect(descriptor, (struct sockaddr *) &server, sizeof(server)) != 0) {
        die("connect", strerror(errno));
    }
    return descriptor;
}

static void open_stream(int number)
{
    char head[512];
    struct stream *stream = &streams[number];
    stream->descriptor = connect_from(number);
    int size = snprintf(head, sizeof(head),
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n", path,
        ntohs(server.sin_port));
    if (write(stream->descriptor, head, (size_t) size) != size) {
        die("ask", strerror(errno));
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    epoll_ctl(epoll, EPOLL_CTL_ADD, stream->descriptor, &event);
}

static void read_body(struct stream *stream, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n') {
            stream->newlines = 0;
        } else if (++stream->newlines == 2) {
            stream->received++;
            delivered++;
        }
    }
}

static void read_stream(struct stream *stream)
{
    static char data[1 << 16];
    ssize_t size = recv(stream->descriptor, data, sizeof(data) - 1, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) {
        return;
    }
    if (size <= 0) {
        die("a stream", "has ended early");
    }
    data[size] = '\0';
    const char *body = data;
    if (!stream->is_open) {
        body = strstr(data, "\r\n\r\n");
        if (body == NULL || strncmp(data, "HTTP/1.1 200", 12) != 0) {
            die("no stream", data);
        }
        body += 4;
        stream->is_open = true;
        open_count++;
    }
    read_body(stream, body, (size_t) (data + size - body));
}

static int read_all(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < count; i++) {
        read_stream(events[i].data.ptr);
    }
    return count;
}

static void open_all(int count)
{
    int64_t start_ms = now_ms();
    for (int started = 0; open_count < count;) {
        while (started < count && started - open_count < AT_ONCE) {
            open_stream(started++);
        }
        read_all(1000);
    }
    int64_t took_ms = now_ms() - start_ms;
    while (read_all(SETTLE_MS) > 0) {
    }
    printf("{\"per_s\": %.0f}\n", count * 1000.0 / (double) (took_ms > 0 ? took_ms : 1));
    fflush(stdout);
}

static void post(int descriptor, const char *publish_path, int number)
{
    char body[256];
    char request[1024];
    char answer[4096];
    int body_size = snprintf(
        body, sizeof(body), "{\"n\":%d,\"status\":\"moved\",\"pad\":\"%0160d\"}", number, number);
    int size = snprintf(request, sizeof(request),
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        "Content-Length: %d\r\n\r\n%s",
        publish_path, ntohs(server.sin_port), body_size, body);
    if (write(descriptor, request, (size_t) size) != size) {
        die("post", strerror(errno));
    }
    ssize_t got = read(descriptor, answer, sizeof(answer) - 1);
    if (got < 12 || answer[9] != '2') {
        answer[got < 0 ? 0 : got] = '\0';
        die("the event was refused", answer);
    }
}

static void publish_for(const char *publish_path, int count, int seconds)
{
    int descriptor = connect_from(0);
    int64_t start_ms = now_ms();
    int64_t first = delivered;
    int64_t wanted = delivered;
    for (int number = 1; now_ms() - start_ms < seconds * 1000; number++) {
        post(descriptor, publish_path, number);
        wanted += count;
        while (delivered < wanted) {
            if (read_all(STALL_MS) == 0) {
                die("the streams", "did not get an event");
            }
        }
    }
    int64_t took_ms = now_ms() - start_ms;
    for (int i = 0; i < count; i++) {
        if (streams[i].received != streams[0].received) {
            die("the streams", "did not all get the same number of events");
        }
    }
    printf("{\"deliveries\": %" PRId64 ", \"per_s\": %.0f}\n", delivered - first,
        (double) (delivered - first) * 1000 / (double) took_ms);
    fflush(stdout);
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 6) {
        fprintf(stderr, "usage: stream_load PORT STREAMS STREAM-PATH PUBLISH-PATH SECONDS\n");
        return 2;
    }
    char line[16];
    struct rlimit limit;
    int count = (int) strtol(arguments[2], NULL, 10);
    server.sin_port = htons((uint16_t) strtol(arguments[1], NULL, 10));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    path = arguments[3];
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    streams = calloc((size_t) count, sizeof(*streams));
    open_all(count);
    if (fgets(line, sizeof(line), stdin) != NULL) {
        publish_for(arguments[4], count, (int) strtol(arguments[5], NULL, 10));
    }
    while (fgets(line, sizeof(line), stdin) != NULL) {
    }
    return 0;
}
