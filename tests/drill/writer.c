/*
 * drill_writer - services that publish, as the drill has them: many at once, and not all of one
 * mind.
 *
 *   drill_writer DATABASE TOPIC KEYS THREADS SEED PACE_MS HOLD_MAX_MS POISON NOTES
 *
 * A transaction makes changes to one to three of KEYS keys. A change takes the key's next number
 * under the lock of its row, publishes an event and leaves a row in the ledger. Of the transactions
 * 10 % are rolled back at their end, 5 % have a part that is undone behind a savepoint, 2 % are
 * held open, some are large. Some events are as large as they may be, and some are poison: too
 * large for the topic, or of a type that the consumer refuses.
 *
 * NOTES gets a line for what begins, what came of it, and each event that must be gone:
 *
 *   begin TX | ok TX EVENTS | fail TX | unknown TX | gone ID
 *
 * On SIGTERM each thread ends its transaction in hand. The exit status is 0 then.
 */
#include <pthread.h>
#include <signal.h>
#include <sluice/query.h>
#include <sluice/transaction.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 32,
    CHANGES_MAX = 200,
    NAME_SIZE = 64,
    NEAR_LIMIT_SIZE = 1000000, /* goes through a topic as it is by default */
    TOO_LARGE_SIZE = 1048576,  /* does not */
    POISON_EVERY = 8           /* of so many keys one is for poison, so that the others flow */
};

struct plan {
    const char *database;
    const char *topic;
    int keys;
    unsigned seed;
    int pace_ms;
    int hold_max_ms;
    int poison;
    FILE *notes;
};

struct writer {
    const struct plan *plan;
    int number;
    unsigned random;
    sluice_database *database;
    char *payload;

    /* the transaction in hand */
    int64_t serial;
    char name[NAME_SIZE];
    char ids[CHANGES_MAX][SLUICE_EVENT_ID_SIZE]; /* of events that the commit would keep */
    size_t id_count;
    int keys[3]; /* rising, so that nobody waits in a circle */
    int key_count;
    int change_count;
    bool is_poisoned;
    bool is_rolled_back;
    int undone_at; /* the change that is undone behind a savepoint; -1: none */
    int hold_ms;
};

struct change {
    struct writer *writer;
    int key;
    bool is_poison;
};

static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
    (void) number;
    is_stopped = 1;
}

static void rest(int ms)
{
    nanosleep(&(struct timespec) {ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static int draw(struct writer *writer, int below)
{
    return rand_r(&writer->random) % below;
}

static bool chance(struct writer *writer, int in_a_thousand)
{
    return draw(writer, 1000) < in_a_thousand;
}

static void note(struct writer *writer, const char *what, const char *name, long count)
{
    flockfile(writer->plan->notes);
    fprintf(writer->plan->notes, count < 0 ? "%s %s\n" : "%s %s %ld\n", what, name, count);
    fflush(writer->plan->notes);
    funlockfile(writer->plan->notes);
}

/* Keys as people have them: what they contain must not matter to anything on their way. */
static void name_key(int number, char name[NAME_SIZE])
{
    static const char *const forms[][2] = {{"key-", ""}, {"schl\u00fcssel \u00e4/", " "},
        {"'", "'; -- \""}, {"\U0001f41f", "%s"}, {"a%20b&c=", "+\\"}};
    const char *const *form = forms[number % 5];
    snprintf(name, NAME_SIZE, "%s%d%s", form[0], number, form[1]);
}

static void take_number(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = columns[0].integer;
}

static const char *choose_kind(struct change *change, int *ret_size)
{
    struct writer *writer = change->writer;
    *ret_size = draw(writer, 300);
    if (change->is_poison) {
        int kind = change->key / POISON_EVERY % 3; /* so that none hides behind another kind */
        *ret_size = kind == 0 ? TOO_LARGE_SIZE : *ret_size;
        return kind == 0 ? "TooLarge" : kind == 1 ? "Rejected" : "Stubborn";
    }
    if (writer->change_count <= 5 && chance(writer, 5)) {
        *ret_size = NEAR_LIMIT_SIZE;
    }
    return "Changed";
}

static void make_payload(char *payload, int64_t number, int size)
{
    int used = snprintf(payload, 64, "{\"seq\":%lld,\"pad\":\"", (long long) number);
    int end = size > used + 2 ? size - 2 : used;
    memset(payload + used, 'x', (size_t) (end - used));
    memcpy(payload + end, "\"}", 3);
}

/* The next number of a key, its event and its row in the ledger. */
static int make_change(sluice_database *database, void *context, struct sluice_error *error)
{
    struct change *change = context;
    struct writer *writer = change->writer;
    char key[NAME_SIZE];
    char odd[NAME_SIZE];
    char *id = writer->ids[writer->id_count];
    int64_t number = 0;
    int size;
    name_key(change->key, key);
    struct sluice_value by_key[] = {sluice_text(key)};
    if (sluice_query(database, "UPDATE drill_key SET seq = seq + 1 WHERE key = ?1 RETURNING seq",
            by_key, 1, take_number, &number, error) != 0) {
        return -1;
    }
    snprintf(odd, sizeof(odd), "gr\u00fcn \"%lld\" \\ %%s ' \U0001f41f", (long long) number);
    const char *kind = choose_kind(change, &size);
    make_payload(writer->payload, number, size);
    struct sluice_header header = {"odd", odd};
    struct sluice_event event = {.topic = writer->plan->topic,
        .key = key,
        .type = kind,
        .payload = writer->payload,
        .payload_size = strlen(writer->payload),
        .headers = &header,
        .header_count = 1};
    if (sluice_publish(database, &event, id, error) != 0) {
        return -1;
    }
    writer->id_count++;
    struct sluice_value row[] = {sluice_text(id), sluice_text(key), sluice_integer(number),
        sluice_text(kind), sluice_text(writer->name), sluice_text(odd)};
    return sluice_execute(database,
        "INSERT INTO ledger (event_id, key, seq, kind, tx, odd) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        row, 6, NULL, error);
}

static int change_mind(struct sluice_error *error)
{
    *error = (struct sluice_error) {.code = SLUICE_CANCELLED, .reaction = SLUICE_REJECT};
    snprintf(error->text, sizeof(error->text), "the writer has changed its mind");
    return -1;
}

static int make_change_and_regret(
    sluice_database *database, void *context, struct sluice_error *error)
{
    return make_change(database, context, error) != 0 ? -1 : change_mind(error);
}

/* A change behind a savepoint that is undone: its event is gone, whatever the transaction does. */
static int undo_one(struct writer *writer, struct change *change, struct sluice_error *error)
{
    size_t before = writer->id_count;
    int status =
        sluice_transaction(writer->database, SLUICE_NESTED, make_change_and_regret, change, error);
    if (status == 0 || error->code != SLUICE_CANCELLED) {
        return -1;
    }
    note(writer, "gone", writer->ids[before], -1);
    writer->id_count = before;
    return 0;
}

static int work(sluice_database *database, void *context, struct sluice_error *error)
{
    struct writer *writer = context;
    for (int i = 0; i < writer->change_count; i++) {
        int key = writer->keys[i * writer->key_count / writer->change_count];
        struct change change = {writer, key, writer->is_poisoned && i == 0};
        if (i == writer->undone_at && undo_one(writer, &change, error) != 0) {
            return -1;
        }
        if (make_change(database, &change, error) != 0) {
            return -1;
        }
    }
    rest(writer->hold_ms);
    return writer->is_rolled_back ? change_mind(error) : 0;
}

static int compare(const void *a, const void *b)
{
    return *(const int *) a - *(const int *) b;
}

static void choose_keys(struct writer *writer)
{
    int keys = writer->plan->keys;
    writer->key_count = writer->is_poisoned ? 1 : 1 + draw(writer, 3);
    for (int i = 0; i < writer->key_count; i++) {
        int key = draw(writer, keys);
        if (writer->is_poisoned) {
            key -= key % POISON_EVERY;
        } else if (key % POISON_EVERY == 0 && !chance(writer, 400)) {
            key = (key + 1) % keys; /* little waits behind poison: it is all sent at the end */
        }
        writer->keys[i] = key;
    }
    qsort(writer->keys, (size_t) writer->key_count, sizeof(writer->keys[0]), compare);
}

static void plan_transaction(struct writer *writer)
{
    writer->serial++;
    snprintf(writer->name, sizeof(writer->name), "c%u-%d-%lld", writer->plan->seed, writer->number,
        (long long) writer->serial);
    writer->id_count = 0;
    writer->is_poisoned = chance(writer, writer->plan->poison);
    writer->change_count = chance(writer, 5) ? CHANGES_MAX - 1 : 1 + draw(writer, 5);
    writer->is_rolled_back = chance(writer, 100);
    writer->undone_at = chance(writer, 50) ? draw(writer, writer->change_count) : -1;
    writer->hold_ms = chance(writer, 20) ? 1000 + draw(writer, writer->plan->hold_max_ms) : 0;
    choose_keys(writer);
}

/* What nobody could tell is looked up later, in the ledger. */
static void run_transaction(struct writer *writer)
{
    struct sluice_error error = {.code = SLUICE_OK};
    note(writer, "begin", writer->name, -1);
    int status = sluice_transaction(writer->database, SLUICE_REQUIRED, work, writer, &error);
    if (status == 0) {
        note(writer, "ok", writer->name, (long) writer->id_count);
        return;
    }
    if (error.code == SLUICE_OUTCOME_UNKNOWN) {
        note(writer, "unknown", writer->name, -1);
        return;
    }
    note(writer, "fail", writer->name, -1);
    for (size_t i = 0; i < writer->id_count; i++) {
        note(writer, "gone", writer->ids[i], -1);
    }
    if (error.code != SLUICE_CANCELLED) {
        fprintf(stderr, "%s: %s: %s\n", writer->name, sluice_code_name(error.code), error.text);
        rest(100);
    }
}

static void *run_writer(void *context)
{
    struct writer *writer = context;
    struct sluice_error error;
    writer->payload = malloc(TOO_LARGE_SIZE + 64);
    while (!is_stopped && writer->payload != NULL) {
        if (writer->database == NULL &&
            sluice_database_open(writer->plan->database, &writer->database, &error) != 0) {
            fprintf(stderr, "writer %d: %s\n", writer->number, error.text);
            rest(200);
            continue;
        }
        plan_transaction(writer);
        run_transaction(writer);
        rest(draw(writer, 2 * writer->plan->pace_ms));
    }
    sluice_database_close(writer->database);
    free(writer->payload);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct writer writers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    if (argc != 10) {
        fprintf(stderr,
            "usage: drill_writer DATABASE TOPIC KEYS THREADS SEED PACE_MS HOLD_MAX_MS "
            "POISON NOTES\n");
        return 2;
    }
    struct plan plan = {.database = argv[1],
        .topic = argv[2],
        .keys = atoi(argv[3]),
        .seed = (unsigned) strtoul(argv[5], NULL, 10),
        .pace_ms = atoi(argv[6]) + 1,
        .hold_max_ms = atoi(argv[7]),
        .poison = atoi(argv[8]),
        .notes = fopen(argv[9], "ae")};
    int count = atoi(argv[4]);
    if (plan.notes == NULL || count < 1 || count > THREADS_MAX || plan.keys < POISON_EVERY) {
        fprintf(stderr, "drill_writer: cannot run so\n");
        return 2;
    }
    sigaction(SIGTERM, &(struct sigaction) {.sa_handler = on_signal}, NULL);
    for (int i = 0; i < count; i++) {
        writers[i] = (struct writer) {
            .plan = &plan, .number = i, .random = plan.seed * 1000u + (unsigned) i};
        if (pthread_create(&threads[i], NULL, run_writer, &writers[i]) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    fclose(plan.notes);
    return 0;
}
