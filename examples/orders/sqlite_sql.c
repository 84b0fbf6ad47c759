#include "sqlite_sql.h"

#include <stdarg.h>
#include <stdio.h>

static int fail(sqlite3 *database, struct sluice_error *error)
{
    int code = sqlite3_extended_errcode(database);
    int is_outage = (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_FULL;
    *error = (struct sluice_error){
        .code = is_outage ? SLUICE_UNAVAILABLE : SLUICE_INTERNAL,
        .reaction = is_outage ? SLUICE_RETRY : SLUICE_FATAL,
        .library_code = code,
    };
    snprintf(error->text, sizeof(error->text), "database: %s", sqlite3_errmsg(database));
    return -1;
}

static sqlite3_stmt *query(sqlite3 *database, struct sluice_error *error, const char *sql,
    const char *letters, va_list arguments)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        (void)fail(database, error);
        return NULL;
    }
    for (int i = 0; letters[i] != '\0'; i++) {
        int code = letters[i] == 'i'
                       ? sqlite3_bind_int64(statement, i + 1, va_arg(arguments, int64_t))
                       : sqlite3_bind_text(
                             statement, i + 1, va_arg(arguments, const char *), -1, SQLITE_STATIC);
        if (code != SQLITE_OK) {
            (void)fail(database, error);
            sqlite3_finalize(statement);
            return NULL;
        }
    }
    return statement;
}

sqlite3_stmt *sql_query(
    sqlite3 *database, struct sluice_error *error, const char *sql, const char *letters, ...)
{
    va_list arguments;
    va_start(arguments, letters);
    sqlite3_stmt *statement = query(database, error, sql, letters, arguments);
    va_end(arguments);
    return statement;
}

int sql_next(sqlite3_stmt *statement, struct sluice_error *error)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        return code == SQLITE_ROW;
    }
    return fail(sqlite3_db_handle(statement), error);
}

int sql_run(
    sqlite3 *database, struct sluice_error *error, const char *sql, const char *letters, ...)
{
    va_list arguments;
    va_start(arguments, letters);
    sqlite3_stmt *statement = query(database, error, sql, letters, arguments);
    va_end(arguments);
    if (statement == NULL) {
        return -1;
    }
    int result = sql_next(statement, error);
    sqlite3_finalize(statement);
    return result < 0 ? -1 : 0;
}

void sql_text(sqlite3_stmt *statement, int column, char *target, size_t target_size)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    snprintf(target, target_size, "%s", text != NULL ? (const char *)text : "");
}
