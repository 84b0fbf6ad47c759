/* Statements of store/sql.h on SQLite, which takes them as they are written. */
#include "base/error.h"
#include "store/sqlite.h"

static void bind(sqlite3_stmt *statement, int index, const struct sluice_value *value)
{
    switch (value->kind) {
    case SLUICE_NULL:
        sqlite3_bind_null(statement, index);
        return;
    case SLUICE_INTEGER:
        sqlite3_bind_int64(statement, index, value->integer);
        return;
    case SLUICE_TEXT:
        sl_sqlite_bind_text(statement, index, sl_value_view(value));
        return;
    case SLUICE_BYTES:
        sl_sqlite_bind_bytes(statement, index, sl_value_view(value));
        return;
    }
}

static struct sluice_value column_value(sqlite3_stmt *statement, int index)
{
    switch (sqlite3_column_type(statement, index)) {
    case SQLITE_NULL:
        return sluice_null();
    case SQLITE_INTEGER:
        return sluice_integer(sqlite3_column_int64(statement, index));
    case SQLITE_BLOB: {
        struct sl_text bytes = sl_sqlite_column(statement, index);
        return sluice_bytes(bytes.data == NULL ? "" : bytes.data, bytes.size);
    }
    default: {
        const char *text = (const char *) sqlite3_column_text(statement, index);
        return (struct sluice_value) {
            SLUICE_TEXT, 0, text, (size_t) sqlite3_column_bytes(statement, index)};
    }
    }
}

/* -1 if a text could not be had for lack of memory: it must not be taken for an empty one. */
static int visit_row(sqlite3_stmt *statement, const struct sl_sql *sql)
{
    struct sluice_value columns[SL_SQL_COLUMNS_MAX];
    int count = sqlite3_column_count(statement);
    count = count > SL_SQL_COLUMNS_MAX ? SL_SQL_COLUMNS_MAX : count;
    for (int i = 0; i < count; i++) {
        columns[i] = column_value(statement, i);
        if (columns[i].kind == SLUICE_TEXT && columns[i].data == NULL) {
            return -1;
        }
    }
    sql->visit(sql->context, columns, (size_t) count);
    return 0;
}

static sqlite3_stmt *prepare(
    struct sl_sqlite *sqlite, const struct sl_sql *sql, struct sluice_error *error)
{
    sqlite3_stmt *statement = sql->is_theirs
        ? sl_sqlite_prepare_theirs(sqlite, sql->text, sql->what, error)
        : sl_sqlite_prepare(sqlite, sql->text, error);
    if (statement != NULL &&
        (size_t) sqlite3_bind_parameter_count(statement) > sql->value_count) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "%s: the statement has a parameter ?%d, but %zu values were passed", sql->what,
            sqlite3_bind_parameter_count(statement), sql->value_count);
        return NULL;
    }
    return statement;
}

int sl_sqlite_run_sql(
    struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = sl_store_sqlite_connection(store);
    sqlite3_stmt *statement = prepare(sqlite, sql, error);
    if (statement == NULL) {
        return -1;
    }
    int parameter_count = sqlite3_bind_parameter_count(statement);
    for (int i = 0; i < parameter_count; i++) {
        bind(statement, i + 1, &sql->values[i]);
    }
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (sql->visit != NULL && visit_row(statement, sql) != 0) {
            sqlite3_reset(statement);
            return sl_fail_memory(error, "a row");
        }
    }
    int status = result == SQLITE_DONE ? 0 : sl_sqlite_fail(sqlite, result, sql->what, error);
    if (status == 0 && sql->ret_affected != NULL) {
        *sql->ret_affected =
            sqlite3_stmt_readonly(statement) ? 0 : sqlite3_changes64(sqlite->handle);
    }
    sqlite3_reset(statement);
    return status;
}
