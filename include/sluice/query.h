/*
 * sluice/query.h - a service's own statements, in the transaction that its events commit with.
 *
 *     struct sluice_value values[] = {sluice_text("u1"), sluice_integer(100)};
 *     sluice_execute(database, "INSERT INTO wallet (owner, cents) VALUES (?1, ?2)", values, 2,
 *         NULL, &error);
 *
 * One text serves SQLite, PostgreSQL and MariaDB as long as it is SQL that all of them know: the
 * parameters are written ?1, ?2, ... and may be used more than once. A service that needs more of
 * one database uses its client library on the handle of sluice/outbox.h; both share the connection.
 *
 * A statement is prepared once for each connection and found again by its text. After a statement
 * that failed, roll back: PostgreSQL takes no further statement in that transaction, and what works
 * on one database should work on all.
 */
#ifndef SLUICE_QUERY_H
#define SLUICE_QUERY_H

#include <string.h>

#include <sluice/outbox.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most parameters of a statement. */
#define SLUICE_VALUES_MAX 32

enum sluice_value_kind {
    SLUICE_NULL = 0,
    SLUICE_INTEGER = 1, /* a boolean column gives 0 or 1 */
    SLUICE_TEXT = 2,    /* UTF-8; whatever is neither an integer nor bytes comes as its text */
    SLUICE_BYTES = 3
};

/* A parameter or a column. `data` is borrowed: yours during the call, ours during the visit. */
struct sluice_value {
    enum sluice_value_kind kind;
    int64_t integer;
    const char *data; /* in a column, a NUL follows its `size` bytes */
    size_t size;
};

/**
 * The value NULL.
 */
static inline struct sluice_value sluice_null(void)
{
    struct sluice_value value = {SLUICE_NULL, 0, NULL, 0};
    return value;
}

/**
 * An integer.
 */
static inline struct sluice_value sluice_integer(int64_t integer)
{
    struct sluice_value value = {SLUICE_INTEGER, integer, NULL, 0};
    return value;
}

/**
 * A NUL-terminated text, which must live as long as the value; NULL gives the value NULL.
 */
static inline struct sluice_value sluice_text(const char *text)
{
    struct sluice_value value = {SLUICE_TEXT, 0, text, 0};
    if (text == NULL) {
        value.kind = SLUICE_NULL;
    } else {
        value.size = strlen(text);
    }
    return value;
}

/**
 * Bytes, which must live as long as the value. `data` may be NULL if `size` is 0.
 */
static inline struct sluice_value sluice_bytes(const void *data, size_t size)
{
    struct sluice_value value = {SLUICE_BYTES, 0, (const char *) data, size};
    return value;
}

/**
 * Which database this is: "sqlite", "postgresql" or "mariadb", for the few statements that they say
 * differently.
 *
 * Never fails and never blocks. The text is constant and belongs to the library.
 */
SLUICE_EXPORT const char *sluice_database_kind(const sluice_database *database);

/* Gets the columns of one row; they live until it returns. It must not use the database. */
typedef void (*sluice_row_visitor)(
    void *context, const struct sluice_value *columns, size_t column_count);

/**
 * Run a statement that gives rows, and visit each of them in turn.
 *
 * In the open transaction, or by itself if there is none. `values` are the parameters ?1 to
 * ?value_count, and may be NULL if there are none. Blocks until the database has answered. Fails
 * with SLUICE_INVALID for a statement that the database does not understand, SLUICE_CONSTRAINT,
 * SLUICE_BUSY, SLUICE_CONFLICT (retry: a deadlock or a serialization failure), SLUICE_UNAVAILABLE
 * and the other outages. Rows may have been visited before a failure.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_query(sluice_database *database, const char *text,
    const struct sluice_value *values, size_t value_count, sluice_row_visitor visit, void *context,
    struct sluice_error *error);

/**
 * Run a statement that gives no rows, or whose rows do not matter.
 *
 * As sluice_query. If `ret_affected` is not NULL it receives how many rows were inserted, changed
 * or deleted; a row that is set to what it was counts, on MariaDB only if the library has opened
 * the connection or you have with CLIENT_FOUND_ROWS. MariaDB then counts 1 for an ON DUPLICATE KEY
 * UPDATE that changes nothing, as for an insert: to tell them apart, do a plain INSERT and look for
 * `library_code` 1062. A unique, foreign-key or check constraint that is broken gives
 * SLUICE_CONSTRAINT.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_execute(sluice_database *database, const char *text,
    const struct sluice_value *values, size_t value_count, int64_t *ret_affected,
    struct sluice_error *error);

#ifdef __cplusplus
}
#endif

#endif
