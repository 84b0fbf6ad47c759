/*
 * relay_load - what the benchmarks of the relay on PostgreSQL and Kafka need in C.
 *
 *   relay_load floor CONNINFO BROKERS TOPIC PAGE
 *       The least that a relay can do: pages of the outbox straight into an idempotent producer.
 *       No ticks, no retries, no state, no promise: a yardstick. Runs until it is killed.
 *   relay_load latency CONNINFO BROKERS TOPIC RATE SECONDS WRITERS SQL
 *       SQL publishes one event by itself ($1: key, $2: payload), RATE times a second; the time
 *       from the statement's return to the event's arrival at a Kafka consumer. One line of JSON.
 *   relay_load fill BROKERS TOPIC COUNT
 *       COUNT events as a relay sends them, with ids and keys.
 *   relay_load apply CONNINFO BROKERS TOPIC COUNT
 *       A consumer without an inbox: one UPDATE an event, 256 events to a transaction, offsets
 *       after it. One line of JSON.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PARTITIONS_MAX = 64, KEYS = 10000, IDLE_S = 20, BATCH_MAX = 256 };

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void sleep_until(int64_t wanted_us)
{
    int64_t left_us = wanted_us - now_us();
    if (left_us > 0) {
        struct timespec pause = {left_us / 1000000, left_us % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "relay_load: %s: %s\n", what, why);
    exit(1);
}

static PGconn *connect_to(const char *conninfo)
{
    PGconn *connection = PQconnectdb(conninfo);
    if (PQstatus(connection) != CONNECTION_OK) {
        die("cannot connect", PQerrorMessage(connection));
    }
    return connection;
}

static rd_kafka_t *kafka(rd_kafka_type_t type, const char *brokers, const char *const *properties)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, reason, sizeof(reason)) != 0) {
        die(brokers, reason);
    }
    for (size_t i = 0; properties[i] != NULL; i += 2) {
        if (rd_kafka_conf_set(conf, properties[i], properties[i + 1], reason, sizeof(reason)) !=
            0) {
            die(properties[i], reason);
        }
    }
    rd_kafka_t *handle = rd_kafka_new(type, conf, reason, sizeof(reason));
    if (handle == NULL) {
        die("no Kafka client", reason);
    }
    return handle;
}

/* ---- the floor */

static const char page_sql[] =
    "SELECT position, id, aggregateid, type, payload FROM sluice.outbox "
    "WHERE position > $1 ORDER BY position LIMIT $2";

static void produce(rd_kafka_t *producer, rd_kafka_topic_t *topic, const PGresult *page, int row)
{
    while (rd_kafka_producev(producer, RD_KAFKA_V_RKT(topic),
               RD_KAFKA_V_KEY(PQgetvalue(page, row, 2), (size_t) PQgetlength(page, row, 2)),
               RD_KAFKA_V_VALUE(PQgetvalue(page, row, 4), (size_t) PQgetlength(page, row, 4)),
               RD_KAFKA_V_HEADER("id", PQgetvalue(page, row, 1), 16),
               RD_KAFKA_V_HEADER("type", PQgetvalue(page, row, 3), PQgetlength(page, row, 3)),
               RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) != 0) {
        rd_kafka_poll(producer, 5);
    }
}

/* One page from behind `*position`; returns the number of its rows. */
static int send_page(PGconn *connection, rd_kafka_t *producer, rd_kafka_topic_t *topic,
    const char *size, int64_t *position)
{
    char after[24];
    const char *const values[] = {after, size};
    snprintf(after, sizeof(after), "%" PRId64, *position);
    PGresult *page = PQexecParams(connection, page_sql, 2, NULL, values, NULL, NULL, 1);
    if (PQresultStatus(page) != PGRES_TUPLES_OK) {
        die("cannot read the outbox", PQerrorMessage(connection));
    }
    int count = PQntuples(page);
    for (int row = 0; row < count; row++) {
        produce(producer, topic, page, row);
    }
    if (count > 0) {
        uint64_t bits;
        memcpy(&bits, PQgetvalue(page, count - 1, 0), sizeof(bits));
        *position = (int64_t) __builtin_bswap64(bits);
    }
    PQclear(page);
    rd_kafka_poll(producer, 0);
    return count;
}

static void run_floor(char **arguments)
{
    static const char *const properties[] = {"enable.idempotence", "true", "linger.ms", "5",
        "queue.buffering.max.kbytes", "32768", "queue.buffering.max.messages", "100000",
        "partitioner", "murmur2_random", "batch.size", "262144", NULL};
    PGconn *connection = connect_to(arguments[0]);
    rd_kafka_t *producer = kafka(RD_KAFKA_PRODUCER, arguments[1], properties);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, arguments[2], NULL);
    int64_t position = 0;
    for (;;) {
        if (send_page(connection, producer, topic, arguments[3], &position) == 0) {
            rd_kafka_flush(producer, 100);
            rd_kafka_poll(producer, 100);
        }
    }
}

/* ---- latency */

struct run {
    const char *conninfo;
    const char *topic;
    const char *sql;
    double rate;
    int seconds;
    int writers;
    int64_t start_us;
    int64_t count;
    int64_t *committed_us; /* by number; 0: not yet */
    int64_t *arrived_us;
    rd_kafka_t *consumer;
};

struct writer {
    struct run *run;
    int index;
    pthread_t thread;
};

/* About 300 bytes of JSON. */
static void make_payload(char *ret_payload, size_t size, int64_t number)
{
    snprintf(ret_payload, size,
        "{\"seq\": %" PRId64 ", \"items\": \"%0160" PRId64
        "\", \"amount\": %d, \"status\": \"ACCEPTED\", \"currency\": \"KRW\", "
        "\"order_id\": \"%016" PRIx64 "\"}",
        number, number * 7919, (int) (number % 1000000), (uint64_t) number);
}

static void *write_events(void *argument)
{
    const struct writer *writer = argument;
    struct run *run = writer->run;
    PGconn *connection = connect_to(run->conninfo);
    PGresult *result = PQprepare(connection, "publish", run->sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        die("cannot prepare", PQerrorMessage(connection));
    }
    PQclear(result);
    for (int64_t i = writer->index; i < run->count; i += run->writers) {
        char payload[512];
        char key[24];
        const char *const values[] = {key, payload};
        make_payload(payload, sizeof(payload), i);
        snprintf(key, sizeof(key), "%" PRId64, i * 7919 % KEYS);
        sleep_until(run->start_us + (int64_t) ((double) i * 1e6 / run->rate));
        result = PQexecPrepared(connection, "publish", 2, values, NULL, NULL, 0);
        run->committed_us[i] = now_us();
        if (PQresultStatus(result) != PGRES_COMMAND_OK &&
            PQresultStatus(result) != PGRES_TUPLES_OK) {
            die("cannot publish", PQerrorMessage(connection));
        }
        PQclear(result);
    }
    PQfinish(connection);
    return NULL;
}

/* Read from what are the ends now, so that nothing that is written later is missed. */
static void assign_ends(struct run *run)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(run->consumer, run->topic, NULL);
    if (rd_kafka_metadata(run->consumer, 0, topic, &metadata, 10000) != 0) {
        die("no metadata of", run->topic);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
        int64_t low;
        int64_t high;
        if (rd_kafka_query_watermark_offsets(run->consumer, run->topic, i, &low, &high, 10000)) {
            die("no ends of", run->topic);
        }
        rd_kafka_topic_partition_list_add(list, run->topic, i)->offset = high;
    }
    rd_kafka_assign(run->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
}

static void note_arrival(struct run *run, const rd_kafka_message_t *message, int64_t *seen)
{
    int64_t number;
    char text[32] = "";
    const char *place = memmem(message->payload, message->len, "\"seq\": ", 7);
    if (place == NULL) {
        return;
    }
    size_t left = message->len - (size_t) (place + 7 - (const char *) message->payload);
    memcpy(text, place + 7, left < sizeof(text) - 1 ? left : sizeof(text) - 1);
    number = strtoll(text, NULL, 10);
    if (number >= 0 && number < run->count && run->arrived_us[number] == 0) {
        run->arrived_us[number] = now_us();
        (*seen)++;
    }
}

static int64_t read_events(struct run *run)
{
    int64_t seen = 0;
    int64_t last_us = now_us();
    while (seen < run->count && now_us() - last_us < IDLE_S * INT64_C(1000000)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(run->consumer, 200);
        if (message != NULL && message->err == 0) {
            note_arrival(run, message, &seen);
            last_us = now_us();
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
    }
    return seen;
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *) a;
    int64_t right = *(const int64_t *) b;
    return left < right ? -1 : left > right;
}

/* The first fifth of the run warms everything up and is not counted. */
static void print_latencies(const struct run *run, int64_t seen)
{
    int64_t *latency_us = calloc((size_t) run->count, sizeof(int64_t));
    int64_t count = 0;
    int64_t end_us = 0;
    for (int64_t i = run->count / 5; i < run->count; i++) {
        if (run->arrived_us[i] != 0) {
            latency_us[count++] = run->arrived_us[i] - run->committed_us[i];
        }
        end_us = run->committed_us[i] > end_us ? run->committed_us[i] : end_us;
    }
    if (count == 0) {
        die("nothing arrived on", run->topic);
    }
    qsort(latency_us, (size_t) count, sizeof(int64_t), by_value);
    printf("{\"missing\": %" PRId64
           ", \"written_per_s\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f,"
           " \"p999_ms\": %.2f}\n",
        run->count - seen, (double) run->count * 1e6 / (double) (end_us - run->start_us),
        (double) latency_us[count / 2] / 1000, (double) latency_us[count * 99 / 100] / 1000,
        (double) latency_us[count * 999 / 1000] / 1000);
    free(latency_us);
}

static void run_latency(char **arguments)
{
    char group[48];
    struct run run = {.conninfo = arguments[0],
        .topic = arguments[2],
        .sql = arguments[6],
        .rate = strtod(arguments[3], NULL),
        .seconds = (int) strtol(arguments[4], NULL, 10),
        .writers = (int) strtol(arguments[5], NULL, 10)};
    snprintf(group, sizeof(group), "relay_load-%d", (int) getpid());
    const char *const properties[] = {
        "group.id", group, "fetch.wait.max.ms", "100", "enable.auto.commit", "false", NULL};
    run.consumer = kafka(RD_KAFKA_CONSUMER, arguments[1], properties);
    run.count = (int64_t) (run.rate * run.seconds);
    run.committed_us = calloc((size_t) run.count, sizeof(int64_t));
    run.arrived_us = calloc((size_t) run.count, sizeof(int64_t));
    struct writer *writers = calloc((size_t) run.writers, sizeof(*writers));
    assign_ends(&run);
    run.start_us = now_us() + 500000;
    for (int i = 0; i < run.writers; i++) {
        writers[i] = (struct writer) {.run = &run, .index = i};
        pthread_create(&writers[i].thread, NULL, write_events, &writers[i]);
    }
    int64_t seen = read_events(&run);
    for (int i = 0; i < run.writers; i++) {
        pthread_join(writers[i].thread, NULL);
    }
    print_latencies(&run, seen);
    rd_kafka_consumer_close(run.consumer);
    rd_kafka_destroy(run.consumer);
    free(writers);
    free(run.committed_us);
    free(run.arrived_us);
}

/* ---- consumers */

static void run_fill(char **arguments)
{
    static const char *const properties[] = {
        "enable.idempotence", "true", "linger.ms", "5", "partitioner", "murmur2_random", NULL};
    rd_kafka_t *producer = kafka(RD_KAFKA_PRODUCER, arguments[0], properties);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, arguments[1], NULL);
    int64_t count = strtoll(arguments[2], NULL, 10);
    for (int64_t i = 0; i < count; i++) {
        char payload[512];
        char key[24];
        char id[48];
        make_payload(payload, sizeof(payload), i);
        snprintf(key, sizeof(key), "%" PRId64, i * 7919 % KEYS);
        snprintf(id, sizeof(id), "01a20398-f6d2-7d74-8e39-%012" PRIx64, i);
        while (rd_kafka_producev(producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(key, strlen(key)),
                   RD_KAFKA_V_VALUE(payload, strlen(payload)), RD_KAFKA_V_HEADER("id", id, 36),
                   RD_KAFKA_V_HEADER("type", "OrderAccepted", 13),
                   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) != 0) {
            rd_kafka_poll(producer, 5);
        }
    }
    if (rd_kafka_flush(producer, 60000) != 0) {
        die("fill", "not all events were taken");
    }
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
}

static void run_sql(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        die(sql, PQerrorMessage(connection));
    }
    PQclear(result);
}

static void apply_event(PGconn *connection, const rd_kafka_message_t *message)
{
    char key[24];
    const char *const values[] = {key};
    snprintf(key, sizeof(key), "%.*s", (int) message->key_len, (const char *) message->key);
    PGresult *result = PQexecPrepared(connection, "apply", 1, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        die("cannot apply", PQerrorMessage(connection));
    }
    PQclear(result);
}

/* One transaction; returns how many events it holds. */
static int64_t apply_batch(PGconn *connection, rd_kafka_t *consumer, rd_kafka_queue_t *queue)
{
    rd_kafka_message_t *messages[BATCH_MAX];
    int64_t applied = 0;
    ssize_t count = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH_MAX);
    if (count > 0) {
        run_sql(connection, "BEGIN");
    }
    for (ssize_t i = 0; i < count; i++) {
        if (messages[i]->err == 0) {
            apply_event(connection, messages[i]);
            rd_kafka_offset_store(messages[i]->rkt, messages[i]->partition, messages[i]->offset);
            applied++;
        }
        rd_kafka_message_destroy(messages[i]);
    }
    if (count > 0) {
        run_sql(connection, "COMMIT");
        rd_kafka_commit(consumer, NULL, 1);
    }
    return applied;
}

static void run_apply(char **arguments)
{
    static const char *const properties[] = {"group.id", "without-inbox", "enable.auto.commit",
        "false", "enable.auto.offset.store", "false", "auto.offset.reset", "earliest",
        "fetch.wait.max.ms", "100", NULL};
    char name[256];
    PGconn *connection = connect_to(arguments[0]);
    run_sql(connection, "SET application_name = 'sluice bench'");
    PQclear(PQprepare(
        connection, "apply", "UPDATE account SET balance = balance + 1 WHERE id = $1", 0, NULL));
    rd_kafka_t *consumer = kafka(RD_KAFKA_CONSUMER, arguments[1], properties);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    snprintf(name, sizeof(name), "%s", arguments[2]);
    rd_kafka_topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    int64_t count = strtoll(arguments[3], NULL, 10);
    int64_t applied = 0;
    int64_t start_us = 0; /* from the first event: joining the group is no matter here */
    while (applied < count) {
        int64_t more = apply_batch(connection, consumer, queue);
        start_us = start_us == 0 && more > 0 ? now_us() : start_us;
        applied += more;
    }
    int64_t took_us = now_us() - start_us;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"per_s\": %.0f, \"cpu_s\": %.3f}\n", (double) count * 1e6 / (double) took_us,
        (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_queue_destroy(queue);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    PQfinish(connection);
}

int main(int argument_count, char **arguments)
{
    const char *what = argument_count > 1 ? arguments[1] : "";
    if (strcmp(what, "floor") == 0 && argument_count == 6) {
        run_floor(arguments + 2);
    } else if (strcmp(what, "latency") == 0 && argument_count == 9) {
        run_latency(arguments + 2);
        return 0;
    } else if (strcmp(what, "fill") == 0 && argument_count == 5) {
        run_fill(arguments + 2);
        return 0;
    } else if (strcmp(what, "apply") == 0 && argument_count == 6) {
        run_apply(arguments + 2);
        return 0;
    }
    fprintf(
        stderr, "usage: relay_load floor|latency|fill|apply ..., see the head of relay_load.c\n");
    return 2;
}
