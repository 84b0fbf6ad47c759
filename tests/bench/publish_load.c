/*
 * publish_load - transactions of a C service with and without an event.
 *
 *   publish_load URL CLIENTS SECONDS none|publish
 *
 * Each client is a thread with a connection of libsluice's: begin, insert an order on the PGconn,
 * make the event's payload, publish it or not, commit. Prints one line of JSON.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <sluice/outbox.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static void die(const char *what, const char *why)
{
    fprintf(stderr, "publish_load: %s: %s\n", what, why);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

struct client {
    const char *url;
    bool is_publishing;
    unsigned number; /* of random numbers, the next */
    double end_s;
    int64_t count;
    pthread_t thread;
};

static void check(int status, const struct sluice_error *error)
{
    if (status != 0) {
        die("a transaction failed", error->text);
    }
}

static void insert_order(PGconn *connection, const char *customer, const char *amount)
{
    const char *const values[] = {customer, amount};
    PGresult *result = PQexecPrepared(connection, "order", 2, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        die("cannot insert an order", PQerrorMessage(connection));
    }
    PQclear(result);
}

/* As long as what pgbench's scripts make: 300 bytes. */
static void make_payload(char *ret_payload, size_t size, const char *customer, const char *amount)
{
    snprintf(ret_payload, size,
        "{\"order_id\":%s,\"customer\":%s,\"status\":\"ACCEPTED\",\"items\":\"%0192d\","
        "\"currency\":\"KRW\"}",
        amount, customer, 7);
}

static void publish(sluice_database *database, const char *customer, const char *payload)
{
    struct sluice_error error;
    struct sluice_event event = {.topic = "order",
        .key = customer,
        .type = "OrderAccepted",
        .payload = payload,
        .payload_size = strlen(payload)};
    check(sluice_publish(database, &event, NULL, &error), &error);
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    sluice_database *database;
    struct sluice_error error;
    check(sluice_database_open(client->url, &database, &error), &error);
    PGconn *connection = sluice_database_postgresql(database);
    PQclear(PQprepare(connection, "order",
        "INSERT INTO orders (customer, amount, status) VALUES ($1, $2, 'ACCEPTED')", 0, NULL));
    while (now_s() < client->end_s) {
        char customer[16];
        char amount[16];
        char payload[400];
        snprintf(customer, sizeof(customer), "%d", rand_r(&client->number) % 10000);
        snprintf(amount, sizeof(amount), "%d", rand_r(&client->number) % 1000000000);
        make_payload(payload, sizeof(payload), customer, amount);
        check(sluice_begin(database, &error), &error);
        insert_order(connection, customer, amount);
        if (client->is_publishing) {
            publish(database, customer, payload);
        }
        check(sluice_commit(database, &error), &error);
        client->count++;
    }
    sluice_database_close(database);
    return NULL;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 5) {
        die("usage", "publish_load URL CLIENTS SECONDS none|publish");
    }
    size_t client_count = strtoul(arguments[2], NULL, 10);
    struct client *clients = calloc(client_count, sizeof(*clients));
    double start_s = now_s();
    for (size_t i = 0; i < client_count; i++) {
        clients[i] = (struct client) {.url = arguments[1],
            .is_publishing = strcmp(arguments[4], "publish") == 0,
            .number = (unsigned) i,
            .end_s = start_s + strtod(arguments[3], NULL)};
        pthread_create(&clients[i].thread, NULL, run_client, &clients[i]);
    }
    int64_t count = 0;
    for (size_t i = 0; i < client_count; i++) {
        pthread_join(clients[i].thread, NULL);
        count += clients[i].count;
    }
    printf(
        "{\"count\": %" PRId64 ", \"tps\": %.1f}\n", count, (double) count / (now_s() - start_s));
    free(clients);
    return 0;
}
