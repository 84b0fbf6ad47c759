/*
 * drill_applier - a service that applies what drill_writer publishes, and notes each effect.
 *
 *   drill_applier NAME DATABASE BROKER TOPIC HEALED
 *
 * An effect is a row with the event's id, its key and number, and the number of the key that was
 * applied before it: what is wrong is found afterwards, and nothing is put right here. Until the
 * file HEALED exists, events of the type Rejected are rejected, and those of the type Stubborn
 * fail.
 */
#include <signal.h>
#include <sluice/consumer.h>
#include <sluice/query.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static sluice_consumer *running;
static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
    (void) number;
    is_stopped = 1;
    if (running != NULL) {
        sluice_consumer_stop(running);
    }
}

static void take_number(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = columns[0].integer;
}

/* The first half of the work: the key has come to this number. *ret_before is where it was. */
static int move_key(sluice_database *database, const char *key, int64_t number, int64_t *ret_before,
    struct sluice_error *error)
{
    struct sluice_value now[] = {sluice_text(key), sluice_integer(number)};
    *ret_before = 0;
    if (sluice_query(database, "SELECT seq FROM applied WHERE key = ?1", now, 1, take_number,
            ret_before, error) != 0) {
        return -1;
    }
    const char *text = *ret_before == 0 ? "INSERT INTO applied (key, seq) VALUES (?1, ?2)"
                                        : "UPDATE applied SET seq = ?2 WHERE key = ?1";
    return sluice_execute(database, text, now, 2, NULL, error);
}

static int note_effect(sluice_database *database, const struct sluice_event *event, int64_t number,
    int64_t before, struct sluice_error *error)
{
    struct sluice_value row[] = {sluice_text(event->id), sluice_text(event->key),
        sluice_integer(number), sluice_integer(before)};
    return sluice_execute(database,
        "INSERT INTO effect (event_id, key, seq, before) VALUES (?1, ?2, ?3, ?4)", row, 4, NULL,
        error);
}

static enum sluice_outcome apply(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    long long number = 0;
    int64_t before;
    char start[40];
    const char *healed = context;
    bool is_healed = access(healed, F_OK) == 0;
    if (strcmp(event->type, "Rejected") == 0 && !is_healed) {
        snprintf(error->text, sizeof(error->text), "of a type that nobody knows yet");
        return SLUICE_REJECTED;
    }
    snprintf(
        start, sizeof(start), "%.*s", (int) event->payload_size, (const char *) event->payload);
    if (sscanf(start, "{\"seq\":%lld", &number) != 1) {
        snprintf(error->text, sizeof(error->text), "the payload has no number");
        return SLUICE_REJECTED;
    }
    /* As most services would do it, whatever has failed. */
    if (move_key(database, event->key, number, &before, error) != 0) {
        return SLUICE_FAILED;
    }
    if (strcmp(event->type, "Stubborn") == 0 && !is_healed) {
        snprintf(error->text, sizeof(error->text), "not today");
        return SLUICE_FAILED; /* and what it has written is gone */
    }
    return note_effect(database, event, number, before, error) == 0 ? SLUICE_APPLIED
                                                                    : SLUICE_FAILED;
}

static int run(const struct sluice_consumer_options *options, const char *topic, char *healed)
{
    struct sluice_error error;
    if (sluice_consumer_open(options, &running, &error) != 0) {
        fprintf(stderr, "drill_applier: %s\n", error.text);
        nanosleep(&(struct timespec) {.tv_nsec = 200000000}, NULL);
        return error.reaction == SLUICE_RETRY ? 0 : 1;
    }
    if (is_stopped) {
        sluice_consumer_stop(running);
    }
    int status = 0;
    if (sluice_consumer_subscribe(running, topic, apply, healed, &error) != 0 ||
        sluice_consumer_run(running, &error) != 0) {
        fprintf(stderr, "drill_applier: %s\n", error.text);
        status = 1;
    }
    sluice_consumer *ended = running;
    running = NULL;
    sluice_consumer_close(ended);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: drill_applier NAME DATABASE BROKER TOPIC HEALED\n");
        return 2;
    }
    struct sluice_consumer_options options = {
        .name = argv[1], .database = argv[2], .broker = argv[3], .batch_events_max = 50};
    sigaction(SIGTERM, &(struct sigaction) {.sa_handler = on_signal}, NULL);
    int status = 0;
    while (!is_stopped && status == 0) {
        status = run(&options, argv[4], argv[5]);
    }
    return status;
}
