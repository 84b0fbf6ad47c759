/*
 * orders/sqlite_sql.h - SQLite statements in one line each, for the examples.
 *
 * Arguments are bound by a string of letters, one a `?`: 'i' is an int64_t, 't' a text (NULL is
 * SQL's NULL). A mistake in SQL or a refused write fills in `error` and is never silent.
 */
#ifndef EXAMPLES_ORDERS_SQLITE_SQL_H
#define EXAMPLES_ORDERS_SQLITE_SQL_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/error.h>

/**
 * A statement ready for sql_next; NULL with `error` filled in if it cannot be made.
 *
 * The caller ends it with sqlite3_finalize. Texts are borrowed until then.
 */
sqlite3_stmt *sql_query(
    sqlite3 *database, struct sluice_error *error, const char *sql, const char *letters, ...);

/**
 * Go to the next row: 1 if there is one, 0 after the last, -1 with `error` filled in.
 */
int sql_next(sqlite3_stmt *statement, struct sluice_error *error);

/**
 * Run a statement that gives no rows. 0, or -1 with `error` filled in.
 */
int sql_run(sqlite3 *database, struct sluice_error *error, const char *sql, const char *letters,
    ...) __attribute__((warn_unused_result));

/**
 * Copy a column's text into `target`; NULL becomes "", and what is too long is cut.
 */
void sql_text(sqlite3_stmt *statement, int column, char *target, size_t target_size);

#endif
