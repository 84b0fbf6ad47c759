/*
 * sqlite/connection.h - SQLite as the store and the local log both use it.
 *
 * Every file of ours is in WAL mode with synchronous=FULL: a commit that was reported is on the
 * disk. Statements are prepared once and found again by their text.
 */
#ifndef SL_SQLITE_CONNECTION_H
#define SL_SQLITE_CONNECTION_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    SL_SQLITE_STATEMENTS_MAX = 96,
    SL_SQLITE_THEIRS_MAX = 64, /* of the user's: beyond it the one unused for longest goes */
    SL_SQLITE_BUSY_TIMEOUT_MS = 5000
};

/* A connection and its prepared statements. Used by one thread at a time. */
struct sl_sqlite {
    sqlite3 *handle;
    bool is_adopted; /* the handle is somebody else's: never closed, never set up by us */
    const char *name; /* the file, for error texts; owned */
    struct {
        const char *sql; /* lives as long as the connection: found by its address */
        sqlite3_stmt *statement;
    } statements[SL_SQLITE_STATEMENTS_MAX];
    size_t statement_count;
    struct sl_sqlite_theirs {
        char *sql; /* a copy: found by its text */
        sqlite3_stmt *statement;
        uint64_t used_at; /* of the connection's uses */
    } theirs[SL_SQLITE_THEIRS_MAX];
    size_t theirs_count;
    uint64_t use_count;
};

enum sl_sqlite_mode { SL_SQLITE_CREATE, SL_SQLITE_EXISTING };

/**
 * Open a file in WAL mode with synchronous=FULL. Waits up to five seconds for a lock.
 *
 * Errors name the file, the cause and the remedy.
 */
int sl_sqlite_open(struct sl_sqlite *ret_sqlite, const char *file, enum sl_sqlite_mode mode,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Use a connection that belongs to somebody else.
 */
int sl_sqlite_adopt(struct sl_sqlite *ret_sqlite, sqlite3 *handle, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Finalize the statements, close the connection unless it is adopted. Fine on a zeroed struct.
 */
void sl_sqlite_close(struct sl_sqlite *sqlite);

/**
 * Fill in `error` from the connection's last failure, whose result code is `result`: `what` was
 * tried, for example "cannot read the outbox". Returns -1.
 */
int sl_sqlite_fail(const struct sl_sqlite *sqlite, int result, const char *what,
    struct sluice_error *error);

/**
 * Run statements without parameters or results.
 */
int sl_sqlite_run(struct sl_sqlite *sqlite, const char *sql, const char *what,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The prepared statement of `sql`, reset and without bindings; NULL on failure (`error` is filled
 * in). `sql` must be a literal. The statement stays the connection's.
 */
sqlite3_stmt *sl_sqlite_prepare(struct sl_sqlite *sqlite, const char *sql,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * As sl_sqlite_prepare for a text of the user's, which need not be a literal. SLUICE_INVALID for
 * what SQLite does not understand, and for more than one statement.
 */
sqlite3_stmt *sl_sqlite_prepare_theirs(struct sl_sqlite *sqlite, const char *sql, const char *what,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Step a statement that gives no rows, then reset it.
 */
int sl_sqlite_step_done(struct sl_sqlite *sqlite, sqlite3_stmt *statement, const char *what,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Step a statement that gives at most one row of which the first column is an integer, then reset
 * it. `*ret_found` tells if there was a row; `*ret_number` is untouched if not.
 */
int sl_sqlite_step_number(struct sl_sqlite *sqlite, sqlite3_stmt *statement, const char *what,
    bool *ret_found, int64_t *ret_number, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Bind a text (not copied: it must live until the statement is reset).
 */
void sl_sqlite_bind_text(sqlite3_stmt *statement, int index, struct sl_text text);

/**
 * Bind bytes as a blob (not copied).
 */
void sl_sqlite_bind_bytes(sqlite3_stmt *statement, int index, struct sl_text bytes);

/**
 * A column's bytes, valid until the statement is stepped or reset.
 */
struct sl_text sl_sqlite_column(sqlite3_stmt *statement, int index);

/**
 * Copy a column into `ret_text` with a NUL after it; what does not fit into `size` bytes is cut.
 */
void sl_sqlite_copy_column(sqlite3_stmt *statement, int index, char *ret_text, size_t size);

/**
 * Whether a transaction is open on the connection.
 */
bool sl_sqlite_in_transaction(const struct sl_sqlite *sqlite);

/**
 * Begin a transaction that may write: BEGIN IMMEDIATE, so that no lock is asked for later.
 */
int sl_sqlite_begin(struct sl_sqlite *sqlite, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Commit. On failure the transaction is rolled back.
 */
int sl_sqlite_commit(struct sl_sqlite *sqlite, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Roll back if a transaction is open; cannot fail in a way that matters.
 */
void sl_sqlite_rollback(struct sl_sqlite *sqlite);

/**
 * A number that changes when another connection has committed to the file. -1 on failure.
 */
int64_t sl_sqlite_data_version(struct sl_sqlite *sqlite);

#endif
