/*
 * tests/support/postgresql.h - further connections of a test on PostgreSQL, by libpq itself.
 */
#ifndef TESTS_SUPPORT_POSTGRESQL_H
#define TESTS_SUPPORT_POSTGRESQL_H

#include <check.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static inline void pg_ignore_notice(void *context, const char *text)
{
    (void) context;
    (void) text;
}

/* A connection to the database of a URL. */
static inline PGconn *pg_open(const char *url)
{
    PGconn *connection = PQconnectdb(url);
    ck_assert_msg(PQstatus(connection) == CONNECTION_OK, "%s", PQerrorMessage(connection));
    PQsetNoticeProcessor(connection, pg_ignore_notice, NULL);
    return connection;
}

/* Run a statement that must work; its first value, or "" ("-" for NULL), in a static buffer. */
__attribute__((format(printf, 2, 3))) static inline const char *pg_run(
    PGconn *connection, const char *format, ...)
{
    static char value[400];
    char sql[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sql, sizeof(sql), format, arguments);
    va_end(arguments);
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql,
        PQerrorMessage(connection));
    snprintf(value, sizeof(value), "%s",
        PQntuples(result) == 0          ? ""
            : PQgetisnull(result, 0, 0) ? "-"
                                        : PQgetvalue(result, 0, 0));
    PQclear(result);
    return value;
}

/* Run a statement that must fail; its SQLSTATE. */
static inline const char *pg_fail(PGconn *connection, const char *sql)
{
    static char sqlstate[6];
    PGresult *result = PQexec(connection, sql);
    ck_assert_int_eq(PQresultStatus(result), PGRES_FATAL_ERROR);
    snprintf(sqlstate, sizeof(sqlstate), "%s", PQresultErrorField(result, PG_DIAG_SQLSTATE));
    PQclear(result);
    return sqlstate;
}

#endif
