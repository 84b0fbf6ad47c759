/*
 * A COMMIT whose answer never comes: what became of it. With a proxy that can be told to pass on
 * one more request, and no answer.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "unit/store/mariadb_place.h"

START_TEST(a_commit_that_never_arrived_is_told_as_rolled_back)
{
    set_up();
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    publish(1);
    kill_connection();
    ck_assert_int_eq(sl_store_commit(store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_ptr_nonnull(strstr(error.text, "was rolled back"));
    ck_assert(!sl_store_in_transaction(store));
    ck_assert_int_eq(number("SELECT count(*) FROM sluice_outbox"), 0);
    tear_down();
}
END_TEST

/* Between the store and the server. */
struct proxy {
    int listener;
    int port;
    int server_port;
    atomic_bool is_deaf;
    atomic_bool is_ended;
    pthread_t thread;
};

static int pass(int from, int to)
{
    char data[65536];
    ssize_t size = recv(from, data, sizeof(data), 0);
    return size > 0 && send(to, data, (size_t) size, MSG_NOSIGNAL) == size ? 0 : -1;
}

static void serve(struct proxy *proxy, int client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t) proxy->server_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(server, (struct sockaddr *) &address, sizeof(address)), 0);
    struct pollfd ends[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    while (!atomic_load(&proxy->is_ended) && poll(ends, 2, 50) >= 0) {
        if (ends[0].revents != 0 && pass(client, server) != 0) {
            break;
        }
        if (ends[1].revents != 0 && (atomic_load(&proxy->is_deaf) || pass(server, client) != 0)) {
            break; /* the answer has come, and nobody hears it */
        }
    }
    close(server);
    close(client);
}

static void *run_proxy(void *context)
{
    struct proxy *proxy = context;
    struct pollfd end = {proxy->listener, POLLIN, 0};
    while (!atomic_load(&proxy->is_ended)) {
        if (poll(&end, 1, 50) > 0) {
            serve(proxy, accept(proxy->listener, NULL, NULL));
            atomic_store(&proxy->is_deaf, false);
        }
    }
    return NULL;
}

static void start_proxy(struct proxy *proxy)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    memset(proxy, 0, sizeof(*proxy));
    ck_assert_int_eq(sscanf(url, "mariadb://root@127.0.0.1:%d/", &proxy->server_port), 1);
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(proxy->listener, (struct sockaddr *) &address, size), 0);
    ck_assert_int_eq(listen(proxy->listener, 4), 0);
    ck_assert_int_eq(getsockname(proxy->listener, (struct sockaddr *) &address, &size), 0);
    proxy->port = ntohs(address.sin_port);
    ck_assert_int_eq(pthread_create(&proxy->thread, NULL, run_proxy, proxy), 0);
}

static void stop_proxy(struct proxy *proxy)
{
    atomic_store(&proxy->is_ended, true);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
}

/* Open the store anew, through the proxy. */
static void open_through(const struct proxy *proxy)
{
    char through[256];
    snprintf(through, sizeof(through), "mariadb://root@127.0.0.1:%d/%s", proxy->port, database());
    sl_store_close(store);
    int status = sl_store_open(through, SL_STORE_EXISTING, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

START_TEST(a_commit_whose_answer_was_lost_is_found_out_by_the_event_that_it_published)
{
    struct proxy proxy;
    set_up();
    start_proxy(&proxy);
    open_through(&proxy);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    publish(1);
    atomic_store(&proxy.is_deaf, true);
    int status = sl_store_commit(store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(number("SELECT count(*) FROM sluice_outbox"), 1);
    sl_store_close(store);
    store = NULL;
    stop_proxy(&proxy);
    tear_down();
}
END_TEST

START_TEST(a_commit_whose_answer_was_lost_and_that_published_nothing_is_told_as_unknown)
{
    struct proxy proxy;
    set_up();
    do_on(other, "CREATE TABLE t (x INT PRIMARY KEY)");
    start_proxy(&proxy);
    open_through(&proxy);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), 0);
    atomic_store(&proxy.is_deaf, true);
    ck_assert_int_eq(sl_store_commit(store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_OUTCOME_UNKNOWN);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 1);
    sl_store_close(store);
    store = NULL;
    stop_proxy(&proxy);
    tear_down();
}
END_TEST

UNIT_TESTS("mariadb_commit", a_commit_that_never_arrived_is_told_as_rolled_back,
    a_commit_whose_answer_was_lost_is_found_out_by_the_event_that_it_published,
    a_commit_whose_answer_was_lost_and_that_published_nothing_is_told_as_unknown)

int main(void)
{
    return getenv("SLUICE_TEST_MARIADB") == NULL ? 77 : run_unit_tests();
}
