/*
 * users_naive.c - four ways to register a user and tell Kafka of it that go wrong, so that the
 * checker is seen to find what they lose and make up. Never a model: examples/users is.
 *
 *     users_naive WAY postgresql://... HOST:PORT
 *
 *     WAY              when it sends                 and waits for Kafka's answer
 *     inside           before the COMMIT             no
 *     after            after the COMMIT              no
 *     after-waiting    after the COMMIT              3 s; a failure is logged, it is too late
 *     inside-waiting   before the COMMIT             3 s; a failure rolls the transaction back
 *
 * It has the table `users` and the topic `user-topic` of examples/users, and the event's id stands
 * in the row, too. A request is a line of stdin, `USER_ID USER_NAME`; its answer is a line of
 * stdout, `201 USER_ID` or `500 USER_ID WHY`. A user who is called `Killer` is the last: the
 * process gets SIGKILL right after his COMMIT.
 */
#include <jansson.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MS_MAX = 3000, POLL_MS = 50, LINE_SIZE = 256, WHY_SIZE = 512 };

static const char topic[] = "user-topic";

struct way {
    const char *name;
    bool sends_inside;
    bool waits;
};

static const struct way ways[] = {{"inside", true, false}, {"after", false, false},
    {"after-waiting", false, true}, {"inside-waiting", true, true}};

struct naive {
    const struct way *way;
    PGconn *database;
    rd_kafka_t *producer;
    intptr_t sent_count;     /* the number of the last message; it goes with it as its opaque */
    intptr_t answered_count; /* the number of the last message that Kafka has */
};

struct user {
    const char *id;
    const char *name;
    char event_id[64];
};

static void on_delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void) producer;
    struct naive *naive = opaque;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        naive->answered_count = (intptr_t) message->_private;
    }
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Run a statement with up to three text parameters; its first value goes to `ret_value`. */
static int run(struct naive *naive, const char *sql, const char *const *values, char *ret_value,
    size_t value_size, char why[WHY_SIZE])
{
    int count = 0;
    while (values != NULL && values[count] != NULL) {
        count++;
    }
    PGresult *result = PQexecParams(naive->database, sql, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    int failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
    if (failed) {
        snprintf(why, WHY_SIZE, "%s", PQresultErrorMessage(result));
        why[strcspn(why, "\n")] = '\0';
    } else if (ret_value != NULL) {
        snprintf(ret_value, value_size, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    return failed ? -1 : 0;
}

/* Hand the event to the producer, which is all that an unawaited send is. */
static int send_event(struct naive *naive, const struct user *user, char why[WHY_SIZE])
{
    json_t *event = json_pack("{s:{s:s, s:s}}", "user", "userId", user->id, "userName", user->name);
    char *payload = json_dumps(event, JSON_COMPACT);
    json_decref(event);
    if (payload == NULL) {
        snprintf(why, WHY_SIZE, "the name is no UTF-8");
        return -1;
    }
    rd_kafka_resp_err_t failure = rd_kafka_producev(naive->producer, RD_KAFKA_V_TOPIC(topic),
        RD_KAFKA_V_KEY(user->id, strlen(user->id)), RD_KAFKA_V_VALUE(payload, strlen(payload)),
        RD_KAFKA_V_HEADER("id", user->event_id, -1), RD_KAFKA_V_HEADER("type", "UserCreated", -1),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE((void *) ++naive->sent_count),
        RD_KAFKA_V_END);
    free(payload);
    if (failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(why, WHY_SIZE, "%s", rd_kafka_err2str(failure));
        return -1;
    }
    int64_t deadline_ms = now_ms() + ANSWER_MS_MAX;
    while (naive->way->waits && naive->answered_count < naive->sent_count) {
        if (now_ms() > deadline_ms) {
            snprintf(why, WHY_SIZE, "no answer of Kafka within %d ms", ANSWER_MS_MAX);
            return -1;
        }
        rd_kafka_poll(naive->producer, POLL_MS);
    }
    return 0;
}

static int register_user(struct naive *naive, struct user *user, char why[WHY_SIZE])
{
    if (run(naive, "BEGIN", NULL, NULL, 0, why) != 0 ||
        run(naive,
            "INSERT INTO users (user_id, user_name, event_id, created_at_ms) VALUES"
            " ($1, $2, gen_random_uuid(), 0) RETURNING event_id",
            (const char *const[]) {user->id, user->name, NULL}, user->event_id,
            sizeof(user->event_id), why) != 0 ||
        (naive->way->sends_inside && send_event(naive, user, why) != 0)) {
        char ignored[WHY_SIZE];
        (void) run(naive, "ROLLBACK", NULL, NULL, 0, ignored);
        return -1;
    }
    if (run(naive, "COMMIT", NULL, NULL, 0, why) != 0) {
        return -1;
    }
    if (strcmp(user->name, "Killer") == 0) {
        raise(SIGKILL);
    }
    if (!naive->way->sends_inside && send_event(naive, user, why) != 0) {
        /* The row is committed: nothing can be undone, and nobody asks the listener. */
        fprintf(stderr, "users_naive: the event of %s: %s\n", user->id, why);
    }
    return 0;
}

static int make_table(struct naive *naive)
{
    char why[WHY_SIZE];
    if (run(naive,
            "CREATE TABLE IF NOT EXISTS users ("
            " user_id VARCHAR(60) NOT NULL PRIMARY KEY, user_name VARCHAR(400) NOT NULL,"
            " event_id VARCHAR(36) NOT NULL, created_at_ms BIGINT NOT NULL)",
            NULL, NULL, 0, why) != 0) {
        fprintf(stderr, "users_naive: the table cannot be made: %s\n", why);
        return -1;
    }
    return 0;
}

static int open_all(struct naive *naive, char **arguments)
{
    char why[WHY_SIZE];
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        naive->way = strcmp(arguments[1], ways[i].name) == 0 ? &ways[i] : naive->way;
    }
    if (naive->way == NULL) {
        fprintf(stderr, "users_naive: '%s' is no way of sending\n", arguments[1]);
        return -1;
    }
    naive->database = PQconnectdb(arguments[2]);
    if (PQstatus(naive->database) != CONNECTION_OK) {
        fprintf(stderr, "users_naive: %s", PQerrorMessage(naive->database));
        return -1;
    }
    rd_kafka_conf_t *settings = rd_kafka_conf_new();
    rd_kafka_conf_set_dr_msg_cb(settings, on_delivered);
    rd_kafka_conf_set_opaque(settings, naive);
    if (rd_kafka_conf_set(settings, "bootstrap.servers", arguments[3], why, sizeof(why)) !=
            RD_KAFKA_CONF_OK ||
        (naive->producer = rd_kafka_new(RD_KAFKA_PRODUCER, settings, why, sizeof(why))) == NULL) {
        fprintf(stderr, "users_naive: %s\n", why);
        rd_kafka_conf_destroy(settings);
        return -1;
    }
    return make_table(naive);
}

int main(int argc, char **argv)
{
    struct naive naive = {0};
    char line[LINE_SIZE];
    if (argc != 4) {
        fprintf(stderr, "usage: users_naive WAY postgresql://... HOST:PORT\n");
        return EXIT_FAILURE;
    }
    if (open_all(&naive, argv) != 0) {
        return EXIT_FAILURE;
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char why[WHY_SIZE] = "";
        line[strcspn(line, "\n")] = '\0';
        char *space = strchr(line, ' ');
        if (space == NULL) {
            continue;
        }
        *space = '\0';
        struct user user = {.id = line, .name = space + 1};
        if (register_user(&naive, &user, why) == 0) {
            printf("201 %s\n", user.id);
        } else {
            printf("500 %s %s\n", user.id, why);
        }
        fflush(stdout);
    }
    rd_kafka_flush(naive.producer, ANSWER_MS_MAX);
    rd_kafka_destroy(naive.producer);
    PQfinish(naive.database);
    return EXIT_SUCCESS;
}
