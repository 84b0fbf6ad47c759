/*
 * support/sql.h - a service's statements in one line each, written once for SQLite, PostgreSQL and
 * MariaDB.
 *
 * It sits on sluice/query.h, so everything runs in the transaction that the events commit with.
 * Parameters are ?1, ?2, ...; arguments are bound by a string of letters, one a parameter: 'i' is
 * an int64_t, 't' a text (NULL is SQL's NULL). What the databases say differently is written as
 *
 *     {id}     the type of a column whose numbers the database gives: the table's primary key
 *     {lock}   at the end of a SELECT: nobody else changes these rows before we commit
 *
 * A mistake in SQL or a refused write fills in `error` and is never silent.
 */
#ifndef EXAMPLES_SUPPORT_SQL_H
#define EXAMPLES_SUPPORT_SQL_H

#include <stddef.h>
#include <stdint.h>

#include <sluice/query.h>

struct rows;

/**
 * Run a query; its rows, all of them in memory, so ask for a few. NULL with `error` filled in if it
 * fails. The caller ends them with sql_end.
 */
struct rows *sql_query(sluice_database *database, struct sluice_error *error, const char *sql,
    const char *letters, ...);

/**
 * Go to the next row, at first to the first: 1 if there is one, else 0. Of NULL: 0.
 */
int sql_next(struct rows *rows);

/**
 * A column of the row, from 0: as a number (0 for NULL), as a text ("" for NULL; borrowed until
 * sql_end), whether it is NULL.
 */
int64_t sql_integer(const struct rows *rows, int column);
const char *sql_text(const struct rows *rows, int column);
int sql_is_null(const struct rows *rows, int column);

/**
 * Copy a column's text into `target`; what is too long is cut.
 */
void sql_copy(const struct rows *rows, int column, char *target, size_t target_size);

/**
 * Free the rows; NULL is fine.
 */
void sql_end(struct rows *rows);

/**
 * Run a statement that gives no rows. How many rows it inserted, changed or deleted, or -1 with
 * `error` filled in.
 */
int64_t sql_run(sluice_database *database, struct sluice_error *error, const char *sql,
    const char *letters, ...) __attribute__((warn_unused_result));

/**
 * Run "INSERT INTO table (key, ...) VALUES (...)" unless a row with the same unique key is there: 1
 * if it was inserted, 0 if one is there, -1 with `error` filled in.
 */
int sql_insert_once(sluice_database *database, struct sluice_error *error, const char *sql,
    const char *letters, ...) __attribute__((warn_unused_result));

/**
 * Run each statement of a list that ends with NULL: the service's CREATE TABLE IF NOT EXISTS. Two
 * instances may do it at once.
 */
int sql_make_tables(sluice_database *database, const char *const *statements,
    struct sluice_error *error) __attribute__((warn_unused_result));

#endif
