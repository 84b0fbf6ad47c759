/*
 * stream_floor - the least that a server of event streams can do: one write() for each delivery.
 *
 *   GET /sub      holds the connection as a stream
 *   POST /pub     the body becomes an event of every stream
 *
 * One thread, epoll; no keys, no history, no time-outs. A stream that cannot take a frame at once
 * is closed. It takes a free port and prints "ready port=N".
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 1 << 20, EVENTS = 256, BODY_MAX = 4096 };

static int streams[DESCRIPTORS_MAX];
static int places[DESCRIPTORS_MAX]; /* of a descriptor among the streams, plus 1 */
static int stream_count;
static unsigned long number;

static void leave(int descriptor)
{
    if (places[descriptor] != 0) {
        int last = streams[--stream_count];
        streams[places[descriptor] - 1] = last;
        places[last] = places[descriptor];
        places[descriptor] = 0;
    }
    close(descriptor);
}

static void send_text(int descriptor, const char *text, size_t size)
{
    if (write(descriptor, text, size) != (ssize_t) size) {
        leave(descriptor);
    }
}

static void publish(const char *body, size_t size)
{
    char frame[BODY_MAX + 64];
    int head = snprintf(frame, sizeof(frame), "id: %lu\ndata: ", ++number);
    memcpy(frame + head, body, size);
    memcpy(frame + head + size, "\n\n", 2);
    for (int i = stream_count - 1; i >= 0; i--) {
        send_text(streams[i], frame, (size_t) head + size + 2);
    }
}

/* A request arrives whole here: it is small, and sent by one write. */
static void serve(int descriptor)
{
    static const char stream_head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static char text[65536];
    ssize_t size = read(descriptor, text, sizeof(text) - 1);
    if (size <= 0) {
        leave(descriptor);
        return;
    }
    text[size] = '\0';
    const char *body = strstr(text, "\r\n\r\n");
    if (body == NULL) {
        leave(descriptor);
    } else if (strncmp(text, "GET /sub", 8) == 0 && places[descriptor] == 0) {
        streams[stream_count++] = descriptor;
        places[descriptor] = stream_count;
        send_text(descriptor, stream_head, sizeof(stream_head) - 1);
    } else if (strncmp(text, "POST /pub", 9) == 0 && text + size - body - 4 <= BODY_MAX) {
        publish(body + 4, (size_t) (text + size - body - 4));
        send_text(descriptor, answer, sizeof(answer) - 1);
    } else {
        leave(descriptor);
    }
}

static void watch(int epoll, int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

static void take_connections(int epoll, int listener)
{
    int one = 1;
    int descriptor;
    while ((descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        watch(epoll, descriptor);
    }
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *) &address, size) != 0 || listen(listener, 4096) != 0) {
        perror("stream_floor: listen");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *) &address, &size);
    printf("ready port=%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(void)
{
    struct rlimit limit;
    struct epoll_event events[EVENTS];
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listen_anywhere();
    int epoll = epoll_create1(0);
    watch(epoll, listener);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                take_connections(epoll, listener);
            } else {
                serve(events[i].data.fd);
            }
        }
    }
}
