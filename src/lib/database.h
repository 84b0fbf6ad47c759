/*
 * lib/database.h - what is behind a `sluice_database`.
 *
 * One connection, the transaction that is open on it as far as sluice began it, and the listeners.
 * The database that a user opened is a root; the further connections that it opens for itself (for
 * SLUICE_REQUIRES_NEW, for detached listeners) have databases of their own that share the root's
 * listeners.
 */
#ifndef SL_LIB_DATABASE_H
#define SL_LIB_DATABASE_H

#include <sluice/listener.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "store/store.h"

struct sl_gate;
struct sl_background;

/* How deep SLUICE_REQUIRES_NEW may go: each is a connection. */
enum { SL_COMPANIONS_MAX = 8 };

enum sl_listener_kind { SL_LISTENER_PLAIN, SL_LISTENER_ASYNC, SL_LISTENER_DETACHED };

/* Never changes once it is registered. */
struct sl_listener {
    char *name;
    char *topic; /* NULL: every one, as below */
    char *type;
    enum sluice_phase phase;
    enum sl_listener_kind kind;
    int task_timeout_ms;
    sluice_listener listener;    /* plain and detached */
    sluice_async_listener async; /* asynchronous */
    void *context;
};

/*
 * The listeners of a root. Other threads read it (detached listeners publish, too): entries are
 * only added, and `count` is raised after the entry is there.
 */
struct sl_registry {
    struct sl_listener *listeners[SLUICE_LISTENERS_MAX];
    _Atomic size_t count;
    struct sl_background *background; /* the detached ones' thread; set before the first of them */
    sluice_listener_failed failed;
    void *failed_context;
};

/* An event that a listener will hear: a copy in one piece of memory. */
struct sl_heard {
    struct sluice_event event;
    int generation; /* 0: published by the service; n + 1: by a listener that heard one of n */
    size_t size;
};

/*
 *              begin    event heard        commit                       rollback
 * idle         -> open  -                  -                            -
 * open         refused  kept               -> before commit             -> after
 * before commit refused kept, told in turn -> after, once all are told  -> after (a veto)
 * after        refused  refused            -                            -> idle, once all are told
 */
enum sl_stage { SL_STAGE_IDLE, SL_STAGE_OPEN, SL_STAGE_BEFORE_COMMIT, SL_STAGE_AFTER };

enum sl_begun_by {
    SL_BY_CALLS,   /* sluice_begin: ends with sluice_commit or sluice_rollback */
    SL_BY_WORK,    /* sluice_transaction: ends with the work */
    SL_BY_CONSUMER /* a consumer: ends with the batch */
};

struct sl_transaction {
    enum sl_stage stage;
    enum sl_begun_by by;
    uintptr_t thread; /* whose it is */
    int works;        /* works on the stack that run in it */
    int generation;   /* of events that are published now */
    bool is_doomed;   /* it can only roll back, for the reason below */
    bool is_misused;  /* somebody inside tried to end it */
    struct sluice_error doom;
    struct sl_heard **heard; /* in the order of publishing */
    size_t heard_count;
    size_t heard_capacity;
    size_t heard_size;
    size_t told_count;                 /* how many of them the before-commit listeners have heard */
    struct sluice_task *tasks;         /* the newest first */
    const struct sl_listener *speaker; /* who is being called */
    const struct sl_heard *subject;    /* about what */
    bool has_speaker_failed;           /* it did in an after-phase what cannot be done there */
    struct sluice_error speaker_error;
};

struct sluice_database {
    struct sl_store *store;
    struct sl_buffer headers;   /* JSON text of the event in hand */
    char *url;                  /* where to open a further connection; NULL: nowhere */
    int level;                  /* 0: a root; n: opened for itself by one of n - 1 */
    sluice_database *companion; /* for SLUICE_REQUIRES_NEW; NULL until it is needed */
    bool is_suspended;          /* the companion works */
    bool is_write_forbidden;    /* allowing writes again has failed: to be tried again */
    struct sl_registry own_registry;
    struct sl_registry *registry; /* the root's */
    struct sl_gate *gate;         /* NULL until there is a task */
    struct sl_transaction base;
    struct sl_transaction *transaction; /* `base`, or one in an after-phase of it */
    _Atomic uintptr_t user;             /* the thread that is in a call, or 0 */
    int use_depth;                      /* calls of it on the stack */
};

/**
 * The store under a database; it stays the database's.
 */
struct sl_store *sl_database_store(sluice_database *database);

/**
 * Begin a call: -1 if another thread is in one, if the open transaction is another thread's, or if
 * a work under SLUICE_REQUIRES_NEW is under way. A database that is NULL is refused, too.
 */
int sl_database_enter(sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * End a call that sl_database_enter let in. Returns `status`.
 */
int sl_database_leave(sluice_database *database, int status);

/**
 * Open a further connection for the same database, with its listeners. SLUICE_UNSUPPORTED, for what
 * `what` says, if there is no URL.
 */
int sl_database_open_further(sluice_database *database, const char *what,
    sluice_database **ret_database, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * This thread, or the fiber that runs on it, as `user` and `thread` have it.
 */
uintptr_t sl_this_thread(void);

#endif
