#include <sluice/consumer.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/watch.h"
#include "broker/broker.h"
#include "lib/apply.h"
#include "lib/database.h"

enum {
    TOPICS_MAX = 32,
    OUTAGE_REST_FIRST_MS = 20,
    OUTAGE_REST_MAX_MS = 2000,
    LOOK_INTERVAL_MS = 1000, /* how often a server is asked whether something was redriven */
    FLUSH_DELAY_MS = 100,    /* how long a commit of the broker's position may lag */
    FLUSH_AGAIN_MS = 5000,   /* after one that failed */
    RETENTION_INTERVAL_MS = 60000,
    DAY_MS = 86400000
};

struct sluice_consumer {
    struct sl_applier applier;
    struct sl_broker *broker;
    struct sl_reader *reader;
    char *topic_names[TOPICS_MAX];
    size_t batch_events_max;
    int64_t inbox_retention_ms;
    int64_t retained_ms; /* when the inbox was cleaned last, monotonic */
    uv_loop_t loop;
    bool has_loop;
    uv_async_t stop_signal;
    uv_timer_t turn_timer; /* the next turn: at once, after a rest, or when a retry is due */
    uv_timer_t flush_timer;
    struct sl_watch *watch; /* the database: a redrive comes through it */
    _Atomic int is_stopped;
    bool is_failed;
    struct sluice_error failure;
    int outages; /* in a row */
};

static int check_options(const struct sluice_consumer_options *options, struct sluice_error *error)
{
    if (!sl_event_is_consumer(sl_text_of(options->name))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.64s' is no consumer name; use 1 to 60 letters, digits, '.', '_' and '-' (not "
            "'relay')",
            options->name == NULL ? "" : options->name);
    }
    if (options->attempts_max < 0 || options->retry_delay_ms < 0 ||
        options->retry_delay_max_ms < 0 || options->batch_events_max < 0 ||
        options->inbox_retention_ms < 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "an option of the consumer '%s' is negative; 0 means the default", options->name);
    }
    return 0;
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static int start_loop(sluice_consumer *consumer, struct sluice_error *error);

int sluice_consumer_open(const struct sluice_consumer_options *options,
    sluice_consumer **ret_consumer, struct sluice_error *error)
{
    if (check_options(options, error) != 0) {
        return -1;
    }
    sluice_consumer *consumer = sl_allocate(sizeof(*consumer));
    char *name = sl_copy_text(options->name);
    if (consumer == NULL || name == NULL) {
        sl_free(consumer);
        sl_free(name);
        return sl_fail_memory(error, "a consumer");
    }
    consumer->applier.name = name;
    consumer->applier.policy = (struct sl_delivery_policy) {
        .attempts_max = (int) or_default(options->attempts_max, 3),
        .retry_delay_ms = or_default(options->retry_delay_ms, 100),
        .retry_delay_max_ms = or_default(options->retry_delay_max_ms, 30000),
        .on_poison = SL_POISON_PARK,
    };
    consumer->batch_events_max = (size_t) or_default(options->batch_events_max, 256);
    consumer->inbox_retention_ms = or_default(options->inbox_retention_ms, 7LL * DAY_MS);
    if (sluice_database_open(options->database, &consumer->applier.database, error) != 0 ||
        sl_broker_open(options->broker, &consumer->broker, error) != 0 ||
        start_loop(consumer, error) != 0) {
        sluice_consumer_close(consumer);
        return -1;
    }
    *ret_consumer = consumer;
    return 0;
}

int sluice_consumer_subscribe(sluice_consumer *consumer, const char *topic, sluice_handler handler,
    void *context, struct sluice_error *error)
{
    struct sl_applier *applier = &consumer->applier;
    if (!sl_event_is_topic(sl_text_of(topic))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.64s' is no topic name; use 1 to %d letters, digits, '.', '_' and '-'",
            topic == NULL ? "" : topic, SLUICE_TOPIC_SIZE_MAX);
    }
    for (size_t i = 0; i < applier->handler_count; i++) {
        if (strcmp(applier->handlers[i].topic, topic) == 0) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "the topic %s has a handler already; one handler can tell types apart", topic);
        }
    }
    if (applier->handler_count == TOPICS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "a consumer has at most %d topics; open a second one", TOPICS_MAX);
    }
    char *name = sl_copy_text(topic);
    if (name == NULL) {
        return sl_fail_memory(error, "a subscription");
    }
    consumer->topic_names[applier->handler_count] = name;
    applier->handlers[applier->handler_count++] =
        (struct sl_applier_handler) {.topic = name, .handler = handler, .context = context};
    return 0;
}

sluice_database *sluice_consumer_database(sluice_consumer *consumer)
{
    return consumer == NULL ? NULL : consumer->applier.database;
}

static void turn_soon(sluice_consumer *consumer, int64_t delay_ms);

static void on_stop(uv_async_t *signal)
{
    sluice_consumer *consumer = signal->data;
    if (atomic_load(&consumer->is_stopped)) {
        uv_stop(&consumer->loop);
    }
}

static int start_loop(sluice_consumer *consumer, struct sluice_error *error)
{
    int status = uv_loop_init(&consumer->loop);
    if (status != 0) {
        return sl_fail_system(error, status, "cannot start", "an event loop");
    }
    consumer->has_loop = true;
    status = uv_async_init(&consumer->loop, &consumer->stop_signal, on_stop);
    if (status != 0) {
        return sl_fail_system(error, status, "cannot start", "an event loop");
    }
    uv_timer_init(&consumer->loop, &consumer->turn_timer);
    uv_timer_init(&consumer->loop, &consumer->flush_timer);
    consumer->stop_signal.data = consumer;
    consumer->turn_timer.data = consumer;
    consumer->flush_timer.data = consumer;
    return 0;
}

/* An outage: whatever was taken comes again after a rest. A fatal error ends the run. */
static void on_failure(sluice_consumer *consumer, const struct sluice_error *error)
{
    if (error->reaction != SLUICE_RETRY) {
        consumer->is_failed = true;
        consumer->failure = *error;
        uv_stop(&consumer->loop);
        return;
    }
    struct sluice_error ignored;
    int status = sl_reader_rewind(consumer->reader, &ignored);
    (void) status;
    consumer->outages += consumer->outages < 1000 ? 1 : 0;
    turn_soon(consumer,
        sl_delivery_backoff_ms(
            OUTAGE_REST_FIRST_MS, OUTAGE_REST_MAX_MS, consumer->outages, sl_random_u64()));
}

static void on_flush(uv_timer_t *timer)
{
    sluice_consumer *consumer = timer->data;
    struct sluice_error error;
    if (sl_reader_flush(consumer->reader, &error) != 0) {
        /* What was noted is still to be said, though no record comes that would remind of it. */
        uv_timer_start(&consumer->flush_timer, on_flush, FLUSH_AGAIN_MS, 0);
        on_failure(consumer, &error);
    }
}

static int commit_offsets(sluice_consumer *consumer, const struct sl_record *records, size_t count,
    struct sluice_error *error)
{
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        /* Offsets rise within a partition, so the last call for it is the one that counts. */
        status = sl_reader_commit(consumer->reader, records[i].event.topic, records[i].partition,
            records[i].offset + 1, error);
    }
    /* After a failure, too: what was noted before it would wait for the next record. */
    if (count > 0 && !uv_is_active((uv_handle_t *) &consumer->flush_timer)) {
        uv_timer_start(&consumer->flush_timer, on_flush, FLUSH_DELAY_MS, 0);
    }
    return status;
}

static int retain(sluice_consumer *consumer, struct sluice_error *error)
{
    int64_t now_ms = sl_clock_monotonic_ms();
    if (consumer->retained_ms != 0 && now_ms - consumer->retained_ms < RETENTION_INTERVAL_MS) {
        return 0;
    }
    int64_t deleted;
    if (sl_store_inbox_retain(sl_database_store(consumer->applier.database), consumer->applier.name,
            sl_clock_wall_ms() - consumer->inbox_retention_ms, 10000, &deleted, error) != 0) {
        return -1;
    }
    /* A full piece means that there is more: go on with the next turn. */
    consumer->retained_ms = deleted == 10000 ? 0 : now_ms;
    return 0;
}

/*
 * How long a consumer that has nothing to do may sleep: until a retry is due, or for ever (-1) if
 * it is woken by the database's file. A server cannot wake it when somebody redrives an event.
 */
static int64_t delay_until(const sluice_consumer *consumer, int64_t due_ms)
{
    int64_t now_ms = sl_clock_wall_ms();
    int64_t delay_ms = due_ms == INT64_MAX ? -1 : due_ms <= now_ms ? 0 : due_ms - now_ms;
    bool is_woken = sl_store_watch_file(sl_database_store(consumer->applier.database)) != NULL;
    return is_woken || (delay_ms >= 0 && delay_ms < LOOK_INTERVAL_MS) ? delay_ms : LOOK_INTERVAL_MS;
}

static int fail_later(struct sluice_error *error)
{
    return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "the handler asked to retry later");
}

/*
 * Apply what was read. A transaction that took its time ends within it. On a server the next one
 * goes on at once, since reading again costs a round trip to the broker; where there is one writer,
 * the others get their turn first.
 */
static int apply(sluice_consumer *consumer, const struct sl_record *records, size_t count,
    size_t *ret_applied, bool *ret_is_outage, struct sluice_error *error)
{
    bool is_server = sl_store_watch_file(sl_database_store(consumer->applier.database)) == NULL;
    while (*ret_applied < count) {
        size_t more = 0;
        const struct sl_record *rest = records + *ret_applied;
        if (sl_applier_apply(
                &consumer->applier, rest, count - *ret_applied, &more, ret_is_outage, error) != 0 ||
            commit_offsets(consumer, rest, more, error) != 0) {
            return -1;
        }
        *ret_applied += more;
        if (!is_server || *ret_is_outage || atomic_load(&consumer->is_stopped)) {
            break;
        }
    }
    return 0;
}

/* One batch, or one retry that is due. *ret_delay_ms says when to turn again; -1: when woken. */
static int turn(sluice_consumer *consumer, int64_t *ret_delay_ms, struct sluice_error *error)
{
    const struct sl_record *records;
    size_t count;
    int64_t due_ms;
    bool is_held_late = false; /* then the other keys go on all the same */
    bool is_outage = false;
    if (sl_applier_retry_due(&consumer->applier, &due_ms, &is_held_late, error) != 0) {
        return -1;
    }
    if (sl_reader_next(consumer->reader, consumer->batch_events_max, &records, &count, error) !=
        0) {
        return -1;
    }
    size_t applied_count = 0;
    if (apply(consumer, records, count, &applied_count, &is_outage, error) != 0 ||
        retain(consumer, error) != 0) {
        return -1;
    }
    /* What was not applied is to be read again. */
    if (applied_count < count && sl_reader_rewind(consumer->reader, error) != 0) {
        return -1;
    }
    if (is_outage || is_held_late) {
        return fail_later(error);
    }
    consumer->outages = 0;
    *ret_delay_ms =
        count > 0 || consumer->applier.is_retry_next ? 0 : delay_until(consumer, due_ms);
    return 0;
}

static void on_turn(uv_timer_t *timer)
{
    sluice_consumer *consumer = timer->data;
    struct sluice_error error = {.code = SLUICE_OK};
    int64_t delay_ms = -1;
    if (atomic_load(&consumer->is_stopped)) {
        uv_stop(&consumer->loop);
        return;
    }
    if (turn(consumer, &delay_ms, &error) != 0) {
        on_failure(consumer, &error);
    } else if (delay_ms >= 0) {
        turn_soon(consumer, delay_ms);
    }
}

static void turn_soon(sluice_consumer *consumer, int64_t delay_ms)
{
    uv_timer_start(&consumer->turn_timer, on_turn, (uint64_t) delay_ms, 0);
}

/* News in the log. During a rest after an outage it is not looked at before the rest is over. */
static void on_readable(void *context)
{
    sluice_consumer *consumer = context;
    if (consumer->outages == 0) {
        turn_soon(consumer, 0);
    }
}

static bool on_database_change(void *context)
{
    sluice_consumer *consumer = context;
    if (!sl_store_has_changed(sl_database_store(consumer->applier.database))) {
        return false;
    }
    on_readable(consumer);
    return true;
}

static int open_reader(sluice_consumer *consumer, struct sluice_error *error)
{
    const char *topics[TOPICS_MAX];
    for (size_t i = 0; i < consumer->applier.handler_count; i++) {
        topics[i] = consumer->topic_names[i];
    }
    struct sl_reader_options options = {
        .topics = topics,
        .topic_count = consumer->applier.handler_count,
        .start = SL_READ_COMMITTED,
        .consumer = consumer->applier.name,
    };
    return sl_reader_open(consumer->broker, &options, &consumer->loop, on_readable, consumer,
        &consumer->reader, error);
}

static int run(sluice_consumer *consumer, struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(consumer->applier.database);
    if (consumer->reader == NULL && open_reader(consumer, error) != 0) {
        return -1;
    }
    if (consumer->watch == NULL && sl_store_watch_file(store) != NULL &&
        sl_watch_open(&consumer->loop, sl_store_watch_file(store), on_database_change, consumer,
            &consumer->watch, error) != 0) {
        return -1;
    }
    turn_soon(consumer, 0);
    if (!atomic_load(&consumer->is_stopped)) {
        uv_run(&consumer->loop, UV_RUN_DEFAULT);
    }
    uv_timer_stop(&consumer->turn_timer);
    uv_timer_stop(&consumer->flush_timer);
    if (consumer->is_failed) {
        if (error != NULL) {
            *error = consumer->failure;
        }
        return -1;
    }
    /* What cannot be noted now is applied already: the next start skips it by its markers. */
    struct sluice_error ignored;
    int status = sl_reader_flush(consumer->reader, &ignored);
    (void) status;
    return 0;
}

int sluice_consumer_run(sluice_consumer *consumer, struct sluice_error *error)
{
    /* The whole run is one call on the database: no other thread may use it meanwhile. */
    sluice_database *database = consumer->applier.database;
    return sl_database_enter(database, error) != 0
        ? -1
        : sl_database_leave(database, run(consumer, error));
}

void sluice_consumer_stop(sluice_consumer *consumer)
{
    atomic_store(&consumer->is_stopped, 1);
    uv_async_send(&consumer->stop_signal);
}

void sluice_consumer_close(sluice_consumer *consumer)
{
    if (consumer == NULL) {
        return;
    }
    sl_reader_close(consumer->reader);
    sl_watch_close(consumer->watch);
    if (consumer->has_loop) {
        uv_close((uv_handle_t *) &consumer->stop_signal, NULL);
        uv_close((uv_handle_t *) &consumer->turn_timer, NULL);
        uv_close((uv_handle_t *) &consumer->flush_timer, NULL);
        uv_run(&consumer->loop, UV_RUN_DEFAULT);
        uv_loop_close(&consumer->loop);
    }
    sl_broker_close(consumer->broker);
    sluice_database_close(consumer->applier.database);
    for (size_t i = 0; i < consumer->applier.handler_count; i++) {
        sl_free(consumer->topic_names[i]);
    }
    sl_free((void *) consumer->applier.name);
    sl_free(consumer);
}
