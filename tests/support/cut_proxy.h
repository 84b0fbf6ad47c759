/*
 * tests/support/cut_proxy.h - a proxy that cuts the connection to PostgreSQL at COMMIT: before the
 * server gets it, or before its answer.
 */
#ifndef TESTS_SUPPORT_CUT_PROXY_H
#define TESTS_SUPPORT_CUT_PROXY_H

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "support/database.h"

static struct {
    int listener;
    int server_port;
    atomic_bool is_cutting;
    bool is_passed_on;
    atomic_bool is_ending;
    pthread_t thread;
    char url[256];
} proxy;

static inline bool pass_on(int from, int to, bool is_from_client, bool *ret_is_cut)
{
    char bytes[16384];
    ssize_t size = recv(from, bytes, sizeof(bytes), 0);
    if (size <= 0) {
        return false;
    }
    if (is_from_client && atomic_load(&proxy.is_cutting) &&
        memmem(bytes, (size_t) size, "COMMIT", 6) != NULL) {
        atomic_store(&proxy.is_cutting, false);
        *ret_is_cut = true;
        if (proxy.is_passed_on) {
            ck_assert_int_eq(send(to, bytes, (size_t) size, 0), size);
            ck_assert_int_gt(recv(to, bytes, sizeof(bytes), 0), 0); /* it has committed */
        }
        return false;
    }
    return send(to, bytes, (size_t) size, MSG_NOSIGNAL) == size;
}

static inline void serve(int client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t) proxy.server_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(server, (struct sockaddr *) &address, sizeof(address)), 0);
    struct pollfd both[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    bool is_cut = false;
    bool is_open = true;
    while (is_open && !atomic_load(&proxy.is_ending)) {
        if (poll(both, 2, 50) <= 0) {
            continue;
        }
        if (both[0].revents != 0) {
            is_open = pass_on(client, server, true, &is_cut);
        }
        if (is_open && both[1].revents != 0) {
            is_open = pass_on(server, client, false, &is_cut);
        }
    }
    close(server);
    close(client);
}

static inline void *run_proxy(void *argument)
{
    (void) argument;
    while (!atomic_load(&proxy.is_ending)) {
        struct pollfd one = {proxy.listener, POLLIN, 0};
        if (poll(&one, 1, 50) > 0) {
            serve(accept(proxy.listener, NULL, NULL));
        }
    }
    return NULL;
}

/* Start it before the server of a database; returns the database's URL through it. */
static inline const char *proxy_start(const struct test_database *place)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    PGconn *server = test_database_server();
    proxy.server_port = (int) strtol(PQport(server), NULL, 10);
    PQfinish(server);
    atomic_store(&proxy.is_cutting, false);
    atomic_store(&proxy.is_ending, false);
    proxy.listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(proxy.listener, (struct sockaddr *) &address, size), 0);
    ck_assert_int_eq(listen(proxy.listener, 5), 0);
    ck_assert_int_eq(getsockname(proxy.listener, (struct sockaddr *) &address, &size), 0);
    ck_assert_int_eq(pthread_create(&proxy.thread, NULL, run_proxy, NULL), 0);
    snprintf(proxy.url, sizeof(proxy.url), "postgresql://postgres@127.0.0.1:%d/%s?sslmode=disable",
        ntohs(address.sin_port), test_database_name(place));
    return proxy.url;
}

/* Let the next COMMIT be the end of its connection. */
static inline void proxy_cut_at_commit(bool is_passed_on)
{
    proxy.is_passed_on = is_passed_on;
    atomic_store(&proxy.is_cutting, true);
}

/* Whether it has been. */
static inline bool proxy_has_cut(void)
{
    return !atomic_load(&proxy.is_cutting);
}

static inline void proxy_stop(void)
{
    atomic_store(&proxy.is_ending, true);
    pthread_join(proxy.thread, NULL);
    close(proxy.listener);
}

#endif
