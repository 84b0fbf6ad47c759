/*
 * load - what the benchmark needs in C: the ceiling, the publisher, the consumer and the latency.
 *
 *   load ceiling FILE COUNT BATCH            insert rows like the outbox's, without index or sluice
 *   load publish URL COUNT BATCH             publish events, BATCH to a transaction
 *   load consume URL BROKER COUNT            apply COUNT events of topic "bench"
 *   load apply URL BROKER TOPIC COUNT        the same on tables of the service's own: one UPDATE of
 *                                            the table account an event
 *   load latency URL HOST PORT PATH COUNT RATE    publish one event a commit at RATE/s and take the
 *                                            time from the commit's return to its arrival at PATH
 *
 * Each prints one line of JSON.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <sluice/consumer.h>
#include <sluice/query.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD_SIZE = 200, KEY_COUNT = 1000 };

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static void make_payload(char payload[PAYLOAD_SIZE + 1], int number)
{
    int size =
        snprintf(payload, PAYLOAD_SIZE + 1, "{\"n\":%d,\"status\":\"moved\",\"pad\":\"", number);
    memset(payload + size, 'x', (size_t) (PAYLOAD_SIZE - size - 2));
    memcpy(payload + PAYLOAD_SIZE - 2, "\"}", 3);
}

static void run_sql(sqlite3 *handle, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(handle, sql, NULL, NULL, &text) != SQLITE_OK) {
        die(sql, text);
    }
}

static int ceiling(const char *file, int count, int batch)
{
    sqlite3 *handle;
    sqlite3_stmt *statement;
    char payload[PAYLOAD_SIZE + 1];
    char key[16];
    if (sqlite3_open(file, &handle) != SQLITE_OK) {
        die("cannot open", file);
    }
    run_sql(handle,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE ceiling (position INTEGER PRIMARY KEY, id TEXT, message_key TEXT,"
        " type TEXT, payload BLOB, headers TEXT, created_at INTEGER, at INTEGER)");
    sqlite3_prepare_v2(handle,
        "INSERT INTO ceiling (id, message_key, type, payload, headers, created_at, at) "
        "VALUES (?1, ?2, 'Moved', ?3, '{}', 1, 1)",
        -1, &statement, NULL);
    double start_s = now_s();
    for (int i = 0; i < count; i++) {
        if (i % batch == 0) {
            run_sql(handle, i == 0 ? "BEGIN IMMEDIATE" : "COMMIT; BEGIN IMMEDIATE");
        }
        make_payload(payload, i);
        snprintf(key, sizeof(key), "k%d", i % KEY_COUNT);
        sqlite3_bind_text(statement, 1, "01a20398-f6d2-7d74-8e39-d97973311863", 36, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, key, -1, SQLITE_STATIC);
        sqlite3_bind_blob(statement, 3, payload, PAYLOAD_SIZE, SQLITE_STATIC);
        if (sqlite3_step(statement) != SQLITE_DONE) {
            die("cannot insert", sqlite3_errmsg(handle));
        }
        sqlite3_reset(statement);
    }
    run_sql(handle, "COMMIT");
    printf("{\"per_s\": %.0f}\n", count / (now_s() - start_s));
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return 0;
}

static void publish_one(sluice_database *database, const char *key, int number)
{
    char payload[PAYLOAD_SIZE + 1];
    struct sluice_error error;
    make_payload(payload, number);
    struct sluice_event event = {.topic = "bench",
        .key = key,
        .type = "Moved",
        .payload = payload,
        .payload_size = PAYLOAD_SIZE};
    if (sluice_publish(database, &event, NULL, &error) != 0) {
        die("cannot publish", error.text);
    }
}

static sluice_database *open_database(const char *url)
{
    sluice_database *database;
    struct sluice_error error;
    if (sluice_database_open(url, &database, &error) != 0) {
        die("cannot open", error.text);
    }
    return database;
}

static void begin(sluice_database *database)
{
    struct sluice_error error;
    if (sluice_begin(database, &error) != 0) {
        die("cannot begin", error.text);
    }
}

static void commit(sluice_database *database)
{
    struct sluice_error error;
    if (sluice_commit(database, &error) != 0) {
        die("cannot commit", error.text);
    }
}

static int publish(const char *url, int count, int batch)
{
    sluice_database *database = open_database(url);
    char key[16];
    double start_s = now_s();
    for (int i = 0; i < count;) {
        begin(database);
        for (int j = 0; j < batch && i < count; j++, i++) {
            snprintf(key, sizeof(key), "k%d", i % KEY_COUNT);
            publish_one(database, key, i);
        }
        commit(database);
    }
    printf("{\"per_s\": %.0f}\n", count / (now_s() - start_s));
    sluice_database_close(database);
    return 0;
}

struct consuming {
    sluice_consumer *consumer;
    int left;
    double start_s; /* the first event */
};

static enum sluice_outcome count_down(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    (void) database;
    (void) event;
    (void) error;
    struct consuming *consuming = context;
    if (--consuming->left == 0) {
        sluice_consumer_stop(consuming->consumer);
    }
    return SLUICE_APPLIED;
}

static int consume(const char *url, const char *broker, int count)
{
    struct sluice_consumer_options options = {.name = "bench", .database = url, .broker = broker};
    struct consuming consuming = {.left = count};
    struct sluice_error error;
    if (sluice_consumer_open(&options, &consuming.consumer, &error) != 0 ||
        sluice_consumer_subscribe(consuming.consumer, "bench", count_down, &consuming, &error) !=
            0) {
        die("cannot open the consumer", error.text);
    }
    double start_s = now_s();
    if (sluice_consumer_run(consuming.consumer, &error) != 0) {
        die("cannot consume", error.text);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "{\"per_s\": %.0f, \"memory_kib\": %ld}\n", count / (now_s() - start_s), usage.ru_maxrss);
    sluice_consumer_close(consuming.consumer);
    return 0;
}

/* The handler of a service: one statement. */
static enum sluice_outcome add_up(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    struct consuming *consuming = context;
    struct sluice_value key = sluice_text(event->key);
    consuming->start_s = consuming->start_s == 0 ? now_s() : consuming->start_s;
    if (sluice_execute(database, "UPDATE account SET balance = balance + 1 WHERE id = ?1", &key, 1,
            NULL, error) != 0) {
        return SLUICE_FAILED;
    }
    return count_down(database, event, context, error);
}

static int apply(const char *url, const char *broker, const char *topic, int count)
{
    struct sluice_consumer_options options = {.name = "bench", .database = url, .broker = broker};
    struct consuming consuming = {.left = count};
    struct sluice_error error;
    if (sluice_consumer_open(&options, &consuming.consumer, &error) != 0 ||
        sluice_consumer_subscribe(consuming.consumer, topic, add_up, &consuming, &error) != 0) {
        die("cannot open the consumer", error.text);
    }
    if (sluice_consumer_run(consuming.consumer, &error) != 0) {
        die("cannot consume", error.text);
    }
    double took_s = now_s() - consuming.start_s;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"per_s\": %.0f, \"cpu_s\": %.3f}\n", count / took_s,
        (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    sluice_consumer_close(consuming.consumer);
    return 0;
}

/* One watched stream: what arrives, and when. */
struct watching {
    int socket;
    int count;
    double *arrived_s; /* by number */
    pthread_barrier_t *is_open;
};

static void *watch(void *argument)
{
    struct watching *watching = argument;
    static char text[1 << 16];
    size_t size = 0;
    int is_head_over = 0;
    for (int seen = 0; seen < watching->count;) {
        ssize_t got = read(watching->socket, text + size, sizeof(text) - size - 1);
        double now = now_s();
        if (got <= 0) {
            die("the stream", "ended early");
        }
        size += (size_t) got;
        text[size] = '\0';
        if (!is_head_over && strstr(text, "\r\n\r\n") != NULL) {
            is_head_over = 1;
            pthread_barrier_wait(watching->is_open);
        }
        char *next = text;
        for (char *data; (data = strstr(next, "data: {\"n\":")) != NULL;) {
            char *end = strchr(data, '\n');
            if (end == NULL) {
                break;
            }
            int number = 0;
            if (sscanf(data, "data: {\"n\":%d", &number) == 1 && number >= 0 &&
                number < watching->count && watching->arrived_s[number] == 0) {
                watching->arrived_s[number] = now;
                seen++;
            }
            next = end;
        }
        size = (size_t) (text + size - next);
        memmove(text, next, size + 1);
    }
    return NULL;
}

static int connect_to(const char *host, int port, const char *path)
{
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    if (connect(descriptor, (struct sockaddr *) &address, sizeof(address)) != 0) {
        die("cannot connect to", host);
    }
    char head[512];
    int size = snprintf(head, sizeof(head),
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\n\r\n", path, host, port);
    if (write(descriptor, head, (size_t) size) != size) {
        die("cannot ask", path);
    }
    return descriptor;
}

static int by_value(const void *a, const void *b)
{
    double difference = *(const double *) a - *(const double *) b;
    return difference < 0 ? -1 : difference > 0;
}

static void sleep_until(double wanted_s)
{
    double left_s = wanted_s - now_s();
    if (left_s > 0) {
        time_t seconds = (time_t) left_s;
        struct timespec pause = {seconds, (long) ((left_s - (double) seconds) * 1e9)};
        nanosleep(&pause, NULL);
    }
}

static int latency(char **arguments)
{
    int count = atoi(arguments[4]);
    double rate = atof(arguments[5]);
    sluice_database *database = open_database(arguments[0]);
    pthread_barrier_t is_open;
    pthread_barrier_init(&is_open, NULL, 2);
    struct watching watching = {
        .socket = connect_to(arguments[1], atoi(arguments[2]), arguments[3]),
        .count = count,
        .arrived_s = calloc((size_t) count, sizeof(double)),
        .is_open = &is_open,
    };
    double *committed_s = calloc((size_t) count, sizeof(double));
    pthread_t watcher;
    pthread_create(&watcher, NULL, watch, &watching);
    pthread_barrier_wait(&is_open);
    double start_s = now_s();
    for (int i = 0; i < count; i++) {
        sleep_until(start_s + i / rate);
        begin(database);
        publish_one(database, "watched", i);
        commit(database);
        committed_s[i] = now_s();
    }
    pthread_join(watcher, NULL);
    for (int i = 0; i < count; i++) {
        committed_s[i] = (watching.arrived_s[i] - committed_s[i]) * 1000;
    }
    qsort(committed_s, (size_t) count, sizeof(double), by_value);
    printf("{\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", committed_s[count / 2],
        committed_s[count * 99 / 100], committed_s[count - 1]);
    sluice_database_close(database);
    return 0;
}

int main(int argument_count, char **arguments)
{
    const char *what = argument_count > 1 ? arguments[1] : "";
    if (strcmp(what, "ceiling") == 0 && argument_count == 5) {
        return ceiling(arguments[2], atoi(arguments[3]), atoi(arguments[4]));
    }
    if (strcmp(what, "publish") == 0 && argument_count == 5) {
        return publish(arguments[2], atoi(arguments[3]), atoi(arguments[4]));
    }
    if (strcmp(what, "consume") == 0 && argument_count == 5) {
        return consume(arguments[2], arguments[3], atoi(arguments[4]));
    }
    if (strcmp(what, "apply") == 0 && argument_count == 6) {
        return apply(arguments[2], arguments[3], arguments[4], atoi(arguments[5]));
    }
    if (strcmp(what, "latency") == 0 && argument_count == 8) {
        return latency(arguments + 2);
    }
    fprintf(
        stderr, "usage: load ceiling|publish|consume|apply|latency ..., see the head of load.c\n");
    return 2;
}
