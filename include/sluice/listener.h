/*
 * sluice/listener.h - functions of the service that hear of its own events, by phase.
 *
 * A listener hears each event that was published on its database with sluice_publish, in the order
 * of publishing. It is called by the call that ends the transaction (sluice_commit,
 * sluice_rollback, sluice_transaction), on its thread:
 *
 *     before commit     in the transaction. May write, publish and veto. What it publishes is
 *                       heard, too, before the commit
 *     after commit      the data is durable
 *     after rollback    nothing of it is there
 *     after completion  after either of them, or when nobody can know (SLUICE_OUTCOME_UNKNOWN)
 *
 * Events of a savepoint that was rolled back are not heard. After-phases cannot change what has
 * happened and have no transaction: a write or a publish there fails with the listener's name,
 * unless it runs in sluice_transaction(SLUICE_REQUIRES_NEW). What fails there does not fail the
 * commit; it is told to sluice_on_listener_failure. What must happen after a commit, even after a
 * crash, belongs into a consumer (sluice/consumer.h).
 *
 * Events that an SQL statement publishes, without this library, are not heard.
 */
#ifndef SLUICE_LISTENER_H
#define SLUICE_LISTENER_H

#include <sluice/task.h>
#include <sluice/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most listeners of a database, and of events that listeners publish about events. */
#define SLUICE_LISTENERS_MAX 64
#define SLUICE_LISTENER_DEPTH_MAX 16

/* A transaction whose events are heard publishes at most so many of them, and bytes. */
#define SLUICE_HEARD_EVENTS_MAX 65536
#define SLUICE_HEARD_SIZE_MAX (64 << 20)

enum sluice_phase {
    SLUICE_BEFORE_COMMIT = 1,
    SLUICE_AFTER_COMMIT = 2,
    SLUICE_AFTER_ROLLBACK = 3,
    SLUICE_AFTER_COMPLETION = 4
};

/* How the transaction ended. */
enum sluice_completion {
    SLUICE_OPEN = 0, /* before commit */
    SLUICE_COMMITTED = 1,
    SLUICE_ROLLED_BACK = 2,
    SLUICE_UNKNOWN = 3 /* the answer to COMMIT never came, or others ended the transaction */
};

/* What a listener is called for. Borrowed for the call. */
struct sluice_notice {
    enum sluice_phase phase;
    enum sluice_completion completion;
    const struct sluice_event *event; /* with its id and time */
};

/* All memory but `context` is copied. */
struct sluice_listener_options {
    const char *name;        /* stands in every error: [A-Za-z0-9._-], at most 60; unique */
    const char *topic;       /* NULL: every topic */
    const char *type;        /* NULL: every type */
    enum sluice_phase phase; /* must be set, but for asynchronous and detached listeners */
    int task_timeout_ms;     /* how long a commit waits for a task; 0: 30,000 */
    void *context;           /* passed to every call; must live as long as the database */
};

/*
 * 0: done. -1 with the reason in `error`: before commit, a veto: the commit fails with
 * SLUICE_LISTENER and everything is rolled back. `database` is the one of the transaction.
 */
typedef int (*sluice_listener)(sluice_database *database, const struct sluice_notice *notice,
    void *context, struct sluice_error *error);

/*
 * Begins something that takes its time, and hands back its task (sluice/task.h), made for this
 * `database`. NULL with a reason in `error` is a veto.
 */
typedef sluice_task *(*sluice_async_listener)(sluice_database *database,
    const struct sluice_notice *notice, void *context, struct sluice_error *error);

/*
 * Told of a listener that failed after the commit or the rollback. `listener`, `event` and `error`
 * are borrowed. Called on the thread that the listener ran on: a detached one has its own.
 */
typedef void (*sluice_listener_failed)(const char *listener, const struct sluice_event *event,
    const struct sluice_error *error, void *context);

/**
 * Let `listener` hear events in one phase.
 *
 * Listeners are called in the order in which they were registered. Does not block. SLUICE_INVALID
 * for an option, a name that is taken, more than SLUICE_LISTENERS_MAX, or a database that a work or
 * a listener was given; SLUICE_IN_TRANSACTION while one is open, whose events would be heard in
 * part.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_listen(sluice_database *database,
    const struct sluice_listener_options *options, sluice_listener listener,
    struct sluice_error *error);

/**
 * Let an asynchronous `listener` take part in the transaction: the commit waits for its task.
 *
 * The phase is before commit. A listener that hands back no task, or begins one and hands back
 * another, fails loudly, and the transaction is rolled back; so does a task that is not done within
 * the time-out. Fails as sluice_listen does.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_listen_async(sluice_database *database,
    const struct sluice_listener_options *options, sluice_async_listener listener,
    struct sluice_error *error);

/**
 * Let a detached `listener` hear events after the commit, in a transaction of its own, on a thread
 * and a connection of its own.
 *
 * The commit does not wait for it and does not know how it ends; its failure is told to
 * sluice_on_listener_failure. It is lost with the process. At most 1,024 calls wait; one more is
 * refused and told as a failure. sluice_database_close waits for them. The events that it publishes
 * are heard as any others, on its thread. Blocks to open the connection, once. Fails as
 * sluice_listen and sluice_database_open do, and with SLUICE_UNSUPPORTED where there is no URL to
 * open a connection by (sluice_database_set_url).
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_listen_detached(sluice_database *database,
    const struct sluice_listener_options *options, sluice_listener listener,
    struct sluice_error *error);

/**
 * Be told of listeners that fail after the end of the transaction; NULL: a line on stderr again.
 *
 * Does not block; before the first transaction. `context` must live as long as the database.
 */
SLUICE_EXPORT void sluice_on_listener_failure(
    sluice_database *database, sluice_listener_failed failed, void *context);

#ifdef __cplusplus
}
#endif

#endif
