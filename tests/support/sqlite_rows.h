/*
 * tests/support/sqlite_rows.h - what a test writes into a SQLite file by itself, and counts there.
 */
#ifndef TESTS_SUPPORT_SQLITE_ROWS_H
#define TESTS_SUPPORT_SQLITE_ROWS_H

#include <check.h>
#include <sqlite3.h>
#include <stdint.h>

static inline void run_sql(sqlite3 *handle, const char *sql)
{
    char *text = NULL;
    int result = sqlite3_exec(handle, sql, NULL, NULL, &text);
    ck_assert_msg(result == SQLITE_OK, "%s: %s", sql, text);
}

/* The first column of the first row. */
static inline int64_t number_of(sqlite3 *handle, const char *sql)
{
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

#endif
