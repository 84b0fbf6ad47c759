/*
 * store/store.h - the database of a service: outbox, inbox, dead letters and the relay's position.
 *
 * One const vtable with an implementation a database. A store is one connection and
 * belongs to one thread. Whatever is said to be "in the open transaction" fails with
 * SLUICE_NO_TRANSACTION when there is none; the other functions must not be called inside one that
 * the caller wants to keep small, since they take part in it.
 *
 * After an error that is an outage (reaction SLUICE_RETRY: a full disk, no memory, ...) the open
 * transaction is to be rolled back: the database may have done so by itself, and what consists of
 * several statements may be there in part.
 */
#ifndef SL_STORE_STORE_H
#define SL_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "event/event.h"
#include "event/position.h"
#include "flow/delivery.h"

struct pg_conn;
struct sqlite3;
struct st_mysql;
struct sl_store;

enum sl_store_mode {
    SL_STORE_CREATE,  /* make the file and the tables, or upgrade them */
    SL_STORE_EXISTING /* the tables must be there and of this version */
};

/* The stage of a dead letter: the relay's, or the name of a consumer. */
#define SL_STAGE_RELAY "relay"

enum sl_held_state { SL_HELD_RETRYING, SL_HELD_WAITING, SL_HELD_FAILED };

/* An event that does not flow: a row of the dead-letter table. Views live during the visit. */
struct sl_held {
    int64_t number;              /* rises within a key in the order of its events */
    struct sl_position position; /* in the outbox; 0 at a consumer's stage */
    struct sl_text stage;
    struct sl_event event;
    enum sl_held_state state;
    int attempts;
    int64_t next_attempt_ms; /* retrying: Unix time */
    int64_t held_ms;         /* since when, Unix time */
    struct sl_text reason;
};

/* What to put into the dead-letter table. */
struct sl_hold {
    const char *stage;
    const struct sl_event *event;
    struct sl_position position; /* in the outbox; 0 at a consumer's stage */
    enum sl_held_state state;
    int attempts;
    int64_t next_attempt_ms;
    int64_t now_ms;
    const char *reason;
};

/* Rows of the outbox, in the order of their positions. Owns its memory; reused from read to read.
 */
struct sl_outbox_batch {
    struct sl_event *events;
    struct sl_position *positions;
    size_t count;
    size_t capacity;
    struct sl_bytes bytes;
    void *owned; /* what the events look into, if not `bytes`; freed by `release` */
    void (*release)(void *owned);
};

struct sl_outbox_state {
    struct sl_position position;       /* how far the relay has confirmed */
    struct sl_position retained_after; /* every row behind this one is still there */
    struct sl_position last;           /* behind it nothing has a position yet */
    int64_t confirmed_ms;     /* when everything up to `position` was in the broker (Unix time) */
    int64_t unsent_count;     /* rows behind `position` */
    int64_t oldest_unsent_ms; /* when the first of them was written (Unix time); 0 if none */
};

struct sl_held_count {
    struct sl_text stage;
    int64_t retrying_count;
    int64_t waiting_count;
    int64_t failed_count;
    int64_t held_keys; /* keys that do not flow */
};

struct sl_consumer_count {
    struct sl_text name;
    int64_t applied_total;
    int64_t duplicates_total;
    int64_t failures_total;
    int64_t updated_ms;
};

/* A choice of dead letters; a field that is NULL or 0 does not restrict. */
struct sl_held_filter {
    const char *stage;
    const char *topic;
    const char *key;
    const char *event_id;
    int64_t limit; /* 0: 1,000 */
};

/**
 * Open the store of a URL: "sqlite:FILE" or "postgresql://...". On success `*ret_store` is the
 * caller's.
 *
 * SLUICE_UNSUPPORTED for mariadb: in this version; SLUICE_INVALID for what is no
 * database's URL; SLUICE_NO_SCHEMA if the tables are missing, or newer than this program.
 */
int sl_store_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A store on somebody else's SQLite connection, which must outlive it and is never closed.
 */
int sl_store_adopt_sqlite(struct sqlite3 *handle, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A store on somebody else's PostgreSQL connection (a PGconn), in a transaction or not, which must
 * outlive it and is never closed.
 */
int sl_store_adopt_postgresql(struct pg_conn *connection, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A store on somebody else's MariaDB connection (a MYSQL), in a transaction or not; it must outlive
 * the store and is never closed, and no transaction on it is ended by sl_store_close.
 */
int sl_store_adopt_mariadb(struct st_mysql *handle, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Close and free; NULL is fine. A transaction of ours that is open is rolled back.
 */
void sl_store_close(struct sl_store *store);

/**
 * The SQL that creates the tables of a URL's kind of database, for people to read. Constant.
 */
int sl_store_schema(const char *url, const char **ret_sql, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Which database it is: "sqlite", "postgresql" or "mariadb". Constant.
 */
const char *sl_store_kind(const struct sl_store *store);

/**
 * The SQLite handle under the store; NULL on others. Borrowed.
 */
struct sqlite3 *sl_store_sqlite(struct sl_store *store);

/**
 * The PostgreSQL connection under the store; NULL on others, and while it is lost. Borrowed until
 * the next call of the store outside of a transaction.
 */
struct pg_conn *sl_store_postgresql(struct sl_store *store);

/**
 * The MariaDB handle under the store; NULL on others. Borrowed; a connection that was lost and made
 * anew is behind the same handle.
 */
struct st_mysql *sl_store_mariadb(struct sl_store *store);

/**
 * The database's identity: a UUID that its tables were made with.
 */
const char *sl_store_id(const struct sl_store *store);

/**
 * Give the database a new identity and forget the relay's position: the relay then takes it for a
 * new one and sends every retained row again. The way out after a restore from a backup.
 */
int sl_store_renew_id(struct sl_store *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The file to watch for commits (base/watch.h), or NULL. Borrowed.
 */
const char *sl_store_watch_file(const struct sl_store *store);

/**
 * Whether another connection has committed since the last call. Cheap. True when in doubt.
 */
bool sl_store_has_changed(struct sl_store *store);

/**
 * Begin a transaction that may write. SLUICE_IN_TRANSACTION if one is open.
 */
int sl_store_begin(struct sl_store *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Commit; on failure the transaction is rolled back. SLUICE_NO_TRANSACTION if none is open.
 */
int sl_store_commit(struct sl_store *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Roll back, if a transaction is open.
 */
void sl_store_rollback(struct sl_store *store);

/**
 * Whether a transaction is open on the connection.
 */
bool sl_store_in_transaction(const struct sl_store *store);

/**
 * Whether a statement has failed so that the open transaction takes nothing any more but the end of
 * a savepoint (PostgreSQL).
 */
bool sl_store_is_spoilt(const struct sl_store *store);

/**
 * Why a transaction is gone that nobody ended: -1 and the outage (SLUICE_RETRY) if the database has
 * just rolled it back by itself, for a full disk, for memory or for its file; 0 if it did not.
 * Asked right after the statement that failed.
 */
int sl_store_explain_rollback(const struct sl_store *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Set a savepoint in the open transaction; savepoints nest, the last one set ends first.
 */
int sl_store_savepoint(struct sl_store *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Keep (`is_kept`) or undo what was done since the last savepoint, and remove it. On failure it is
 * still there: where keeping failed, undoing may work.
 */
int sl_store_savepoint_end(struct sl_store *store, bool is_kept, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether the open transaction keeps every other connection from writing (SQLite, once it holds the
 * write lock), so that waiting for one would be waiting for oneself.
 */
bool sl_store_blocks_writers(const struct sl_store *store);

/**
 * From here on, until it is called with false (however often with true), statements that write
 * fail, on a connection on which no transaction is open. For code that would commit by itself what
 * it writes. Where a database cannot do that, nothing happens.
 */
int sl_store_forbid_writes(struct sl_store *store, bool is_forbidden, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether the last statement failed because writes are forbidden, and was not asked about before;
 * false when in doubt.
 */
bool sl_store_was_forbidden(struct sl_store *store);

/**
 * Let a statement that runs on the connection fail soon. The only function that another thread may
 * call meanwhile. Where a database cannot do that, nothing happens.
 */
void sl_store_interrupt(struct sl_store *store);

/**
 * Write a checked event, with its id and time, into the outbox in the open transaction.
 */
int sl_store_outbox_insert(struct sl_store *store, const struct sl_event *event,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Read the committed rows after `position` into `batch`: at most `count_max` rows, and no more once
 * they pass `size_max` bytes of payload.
 *
 * A database with ticks makes the next one here, durably and before its rows are handed out, when
 * the rows of the ones there are have been read and something new has become visible.
 */
int sl_store_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Free a batch's memory. Fine on a zeroed one.
 */
void sl_outbox_batch_deinit(struct sl_outbox_batch *batch);

/**
 * Let the batch keep `take_owned`, which its events look into, and release what it kept before.
 */
void sl_outbox_batch_own(
    struct sl_outbox_batch *batch, void *take_owned, void (*release)(void *owned));

/**
 * How the outbox stands, read from the table itself.
 */
int sl_store_outbox_state(struct sl_store *store, struct sl_outbox_state *ret_state,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Note that everything up to `position` is in the broker or held, since `reached_ms` (Unix time).
 * Never goes back.
 */
int sl_store_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Take or renew the relay's lease for `ttl_ms` by the database's own clock. `holder` is a text of
 * 1 to 60 characters that no other relay has. `*ret_is_held` tells whether it is ours now; if not,
 * another relay's has not run out.
 */
int sl_store_lease(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Give the lease up, if it is `holder`'s, so that another relay need not wait for its end.
 */
int sl_store_lease_end(struct sl_store *store, const char *holder, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Delete confirmed rows written before `before_ms`, at most `count_max` of them.
 */
int sl_store_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error) __attribute__((warn_unused_result));

/* Ids of events, to be marked together. */
struct sl_inbox_ids {
    const char *const *event_ids;
    size_t count;
};

/**
 * Insert the marker (consumer, event id) in the open transaction; `*ret_is_new` tells if it was not
 * there.
 */
int sl_store_inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The same for several events at once, in as few round trips as the database can: `ret_is_new[i]`
 * tells it of `event_ids[i]`. Of an id that is there twice the first is new.
 */
int sl_store_inbox_begin_all(struct sl_store *store, const char *consumer,
    const struct sl_inbox_ids *ids, int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Delete a consumer's markers of events made before `before_ms`, at most `count_max`.
 */
int sl_store_inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Add to a consumer's counters, in the open transaction if there is one.
 */
int sl_store_count_consumed(struct sl_store *store, const char *consumer, int64_t applied,
    int64_t duplicates, int64_t failures, int64_t now_ms, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Visit every consumer's counters.
 */
int sl_store_each_consumer(struct sl_store *store,
    void (*visit)(void *context, const struct sl_consumer_count *count), void *context,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * What is held at a stage of an event's key and stands before `position` (nothing, if the event has
 * no key), and whether the event itself is held there. At a consumer's stage every position is 0:
 * pass SL_POSITION_END for all of the key. What it tells stays so until the open transaction ends.
 */
int sl_store_key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether anything at all is held at a stage: when not, sl_store_key_state can be left out.
 */
int sl_store_has_held(struct sl_store *store, const char *stage, bool *ret_has_held,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Hold an event behind the others of its key. Does nothing if the stage holds this event id
 * already.
 */
int sl_store_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Change a held event after another attempt. `reason` may be NULL: as it was.
 */
int sl_store_held_update(struct sl_store *store, int64_t number, enum sl_held_state state,
    int attempts, int64_t next_attempt_ms, const char *reason, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Take a held event out, and let the next one of its key retry now if it was waiting.
 */
int sl_store_held_remove(struct sl_store *store, int64_t number, int64_t now_ms,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Let the next waiting event of the same key retry now, unless one is retrying already. For a head
 * that failed permanently where the policy is to skip it.
 */
int sl_store_held_next(struct sl_store *store, int64_t number, int64_t now_ms,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Visit the retrying event of a stage that is due first, of those whose position is not behind
 * `position_max`. `*ret_due_ms` is when it is due, or INT64_MAX if there is none; it is visited
 * only if that is not after `now_ms`.
 *
 * The relay asks only for what is not behind its own position: an event must not be sent by a retry
 * while an earlier one of its key, in the same batch, has not been appended yet.
 */
int sl_store_held_due(struct sl_store *store, const char *stage, struct sl_position position_max,
    int64_t now_ms, void (*visit)(void *context, const struct sl_held *held), void *context,
    int64_t *ret_due_ms, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Lock a held event until the open transaction ends: `*ret_is_ours` tells whether it still waits
 * for the attempt after `attempts`, and nobody else is at it, who is not waited for.
 */
int sl_store_held_lock(struct sl_store *store, int64_t number, int attempts, bool *ret_is_ours,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Visit dead letters, by stage, topic, key and number.
 */
int sl_store_each_held(struct sl_store *store, const struct sl_held_filter *filter,
    void (*visit)(void *context, const struct sl_held *held), void *context,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Visit the counts of what is held, by stage.
 */
int sl_store_each_held_count(struct sl_store *store,
    void (*visit)(void *context, const struct sl_held_count *count), void *context,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Redrive: let the failed events that the filter chooses be tried again, the first of each key now
 * and the others in order behind it. `*ret_count` is how many were failed and are no more.
 */
int sl_store_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Drop: delete the failed events that the filter chooses for good; the next of each key retries.
 */
int sl_store_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A state's name as it stands in the table: "RETRYING", "WAITING", "FAILED_PERMANENTLY".
 */
const char *sl_held_state_name(enum sl_held_state state);

#endif
