/*
 * sluice/consumer.h - an idempotent consumer: the handler's effect happens exactly once per event.
 *
 * Each event's handler runs inside a database transaction that holds the inbox marker too. What
 * the handler writes, the marker and any event that it publishes commit together or not at all.
 * A handler that fails has its work undone, its attempt counted, and is called again after a
 * back-off; after the last attempt the event goes to the dead-letter table with the reason. While
 * an event waits or has failed, later events of its key wait behind it; other keys flow.
 */
#ifndef SLUICE_CONSUMER_H
#define SLUICE_CONSUMER_H

#include <sluice/outbox.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_consumer sluice_consumer;

/* What a handler answers. */
enum sluice_outcome {
    SLUICE_APPLIED = 0,         /* done: commit it */
    SLUICE_ALREADY_APPLIED = 1, /* was done before (the wallet exists): commit, a duplicate */
    SLUICE_RETRY_LATER = 2,     /* something else is away: try again, use up no attempt */
    SLUICE_FAILED = 3,          /* undo the work, count an attempt, try again after a back-off */
    SLUICE_REJECTED = 4         /* this event can never work: dead letter at once */
};

/*
 * Called for each event inside an open transaction of `database`, which it must neither commit nor
 * roll back. `event` is borrowed for the call. For any answer but the first two the handler's
 * writes are undone; it may say why in `error->text`, which is kept with the dead letter.
 *
 * It may be called again for an event whose work was undone with that of others, so what it does
 * outside of `database` must bear that.
 */
typedef enum sluice_outcome (*sluice_handler)(sluice_database *database,
    const struct sluice_event *event, void *context, struct sluice_error *error);

/* Zero in a number means its default. All memory is borrowed for sluice_consumer_open only. */
struct sluice_consumer_options {
    const char *name;     /* the inbox key: [A-Za-z0-9._-], at most 60; never shared by two */
    const char *database; /* as sluice_database_open has it */
    const char *broker;   /* "local:FILE" or "kafka://host:port[,host:port...]" */
    int attempts_max;     /* default 3 */
    int retry_delay_ms;   /* before the second attempt, doubled each time; default 100 */
    int retry_delay_max_ms;     /* default 30,000 */
    int batch_events_max;       /* events that share one commit; default 256, 1 = a commit each */
    int64_t inbox_retention_ms; /* how long a marker is kept; default 7 days */
};

/**
 * Open a consumer: its database connection and its place in the broker's topics.
 *
 * A consumer that is new begins at the start of each topic. On Kafka its name is that of a group:
 * consumers of one name share the partitions, and a partition that goes to another one in the
 * middle of its events loses and repeats nothing, as long as they share the database, too.
 *
 * On success `*ret_consumer` is the caller's. Blocks as sluice_database_open does. Fails as that
 * does, and with SLUICE_INVALID for an option.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_consumer_open(const struct sluice_consumer_options *options,
    sluice_consumer **ret_consumer, struct sluice_error *error);

/**
 * Let `handler` have the events of `topic`. Before sluice_consumer_run only.
 *
 * A topic that does not exist yet is waited for. `context` is passed to the handler and stays the
 * caller's. SLUICE_INVALID for a topic name, a second handler for a topic, or more than 32 topics.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_consumer_subscribe(sluice_consumer *consumer,
    const char *topic, sluice_handler handler, void *context, struct sluice_error *error);

/**
 * The consumer's database, for listeners (sluice/listener.h) on what its handlers publish.
 *
 * Borrowed: it lives as long as the consumer. Before sluice_consumer_run only. Its before-commit
 * listeners are called when a handler has returned, as if each event had a commit of its own: a
 * veto fails that event's handler and nothing else.
 */
SLUICE_EXPORT sluice_database *sluice_consumer_database(sluice_consumer *consumer);

/**
 * Apply events until sluice_consumer_stop; the handlers run on this thread.
 *
 * An outage (a lock, a full disk) is waited out and uses up nobody's attempts. Returns 0 after a
 * stop, when everything taken is committed or rolled back; -1 for what a person must mend.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_consumer_run(
    sluice_consumer *consumer, struct sluice_error *error);

/**
 * Ask sluice_consumer_run to return after the event in hand.
 *
 * May be called from any thread and from a signal handler, before, during and after the run.
 */
SLUICE_EXPORT void sluice_consumer_stop(sluice_consumer *consumer);

/**
 * Close and free a consumer that does not run; NULL is fine.
 */
SLUICE_EXPORT void sluice_consumer_close(sluice_consumer *consumer);

#ifdef __cplusplus
}
#endif

#endif
