/* Statements of store/sql.h on MariaDB: prepared once a connection, rows fetched one by one. */
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "store/mariadb.h"

enum {
    COLUMN_SIZE = 128, /* of a text, before it is known */
    PACKET_OVERHEAD = 1024
};

static void free_columns(struct sl_mariadb_statement *statement)
{
    for (size_t i = 0; i < statement->column_count; i++) {
        sl_free(statement->columns[i].data);
    }
    sl_free(statement->columns);
    statement->columns = NULL;
    statement->column_count = 0;
}

static void free_statement(struct sl_mariadb_statement *statement)
{
    free_columns(statement);
    mysql_stmt_close(statement->handle);
    if (statement->is_theirs) {
        sl_free((void *) statement->text);
    }
    *statement = (struct sl_mariadb_statement) {0};
}

void sl_mariadb_forget_statements(struct sl_store_mariadb *store)
{
    for (size_t i = 0; i < store->statement_count; i++) {
        free_statement(&store->statements[i]);
    }
    store->statement_count = 0;
}

static struct sl_mariadb_statement *find_statement(
    struct sl_store_mariadb *store, const struct sl_sql *sql)
{
    for (size_t i = 0; i < store->statement_count; i++) {
        struct sl_mariadb_statement *statement = &store->statements[i];
        if (statement->is_theirs == sql->is_theirs &&
            (sql->is_theirs ? strcmp(statement->text, sql->text) == 0
                            : statement->text == sql->text)) {
            return statement;
        }
    }
    return NULL;
}

/* A place for one more statement: a new one, or that of the statement unused for longest. */
static struct sl_mariadb_statement *make_place(struct sl_store_mariadb *store)
{
    if (store->statement_count < SL_MARIADB_STATEMENTS_MAX) {
        return &store->statements[store->statement_count++];
    }
    struct sl_mariadb_statement *oldest = &store->statements[0];
    for (size_t i = 1; i < store->statement_count; i++) {
        oldest = store->statements[i].used_at < oldest->used_at ? &store->statements[i] : oldest;
    }
    free_statement(oldest);
    return oldest;
}

static int prepare(struct sl_store_mariadb *store, const struct sl_sql *sql,
    bool was_in_transaction, struct sl_mariadb_statement **ret_statement,
    struct sluice_error *error)
{
    struct sl_sql_rewrite rewrite = {.placeholder = SL_PLACEHOLDER_QUESTION};
    if (sl_sql_rewrite(&rewrite, sql, &store->text, error) != 0) {
        return -1;
    }
    struct sl_mariadb_statement statement = {
        .text = sql->is_theirs ? sl_copy_text(sql->text) : sql->text,
        .is_theirs = sql->is_theirs,
        .order_count = rewrite.order_count,
        .handle = mysql_stmt_init(store->handle),
    };
    memcpy(statement.order, rewrite.order, rewrite.order_count);
    if (statement.text == NULL || statement.handle == NULL) {
        if (statement.handle != NULL) {
            mysql_stmt_close(statement.handle);
        }
        return sl_fail_memory(error, "a statement");
    }
    if (mysql_stmt_prepare(statement.handle, store->text.data, store->text.size) != 0) {
        sl_mariadb_fail(store, statement.handle, was_in_transaction, sql->what, error);
        free_statement(&statement);
        return -1;
    }
    *ret_statement = make_place(store);
    **ret_statement = statement;
    return 0;
}

static MYSQL_BIND bind_of(const struct sluice_value *value)
{
    switch (value->kind) {
    case SLUICE_INTEGER:
        return (MYSQL_BIND) {
            .buffer_type = MYSQL_TYPE_LONGLONG, .buffer = (void *) &value->integer};
    case SLUICE_TEXT:
    case SLUICE_BYTES:
        return (MYSQL_BIND) {
            .buffer_type = value->kind == SLUICE_TEXT ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB,
            .buffer = (void *) (value->data == NULL ? "" : value->data),
            .buffer_length = value->size,
        };
    case SLUICE_NULL:
        break;
    }
    return (MYSQL_BIND) {.buffer_type = MYSQL_TYPE_NULL};
}

static int execute(struct sl_store_mariadb *store, struct sl_mariadb_statement *statement,
    const struct sl_sql *sql, bool was_in_transaction, struct sluice_error *error)
{
    MYSQL_BIND binds[sizeof(statement->order)];
    uint64_t size = PACKET_OVERHEAD;
    for (size_t i = 0; i < statement->order_count; i++) {
        const struct sluice_value *value = &sql->values[statement->order[i]];
        binds[i] = bind_of(value);
        size += value->size;
    }
    if (store->packet_size_max != 0 && size > store->packet_size_max) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "%s in %s: the statement has %llu bytes, more than the server's max_allowed_packet of "
            "%llu; raise it",
            sql->what, sl_mariadb_name(store), (unsigned long long) size,
            (unsigned long long) store->packet_size_max);
    }
    if ((statement->order_count > 0 && mysql_stmt_bind_param(statement->handle, binds) != 0) ||
        mysql_stmt_execute(statement->handle) != 0) {
        return sl_mariadb_fail(store, statement->handle, was_in_transaction, sql->what, error);
    }
    return 0;
}

static bool is_integer(const MYSQL_FIELD *field)
{
    switch (field->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        return true;
    default:
        return false;
    }
}

static bool is_bytes(const MYSQL_FIELD *field)
{
    enum { BINARY = 63 }; /* the number of the character set that is none */
    switch (field->type) {
    case MYSQL_TYPE_BIT:
    case MYSQL_TYPE_GEOMETRY:
        return true;
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_STRING:
    case MYSQL_TYPE_VAR_STRING:
    case MYSQL_TYPE_VARCHAR:
        return field->charsetnr == BINARY;
    default:
        return false;
    }
}

static int grow(struct sl_mariadb_column *column, size_t size)
{
    if (column->capacity > size) {
        return 0;
    }
    char *data = sl_reallocate(column->data, size + 1);
    if (data == NULL) {
        return -1;
    }
    column->data = data;
    column->capacity = size + 1;
    return 0;
}

/* The buffers that rows are fetched into. */
static int bind_columns(
    struct sl_mariadb_statement *statement, const MYSQL_FIELD *fields, size_t count)
{
    MYSQL_BIND binds[SL_SQL_COLUMNS_MAX];
    if (statement->column_count != count) {
        free_columns(statement);
        statement->columns = sl_allocate(count * sizeof(*statement->columns));
        if (statement->columns == NULL) {
            return -1;
        }
        statement->column_count = count;
    }
    for (size_t i = 0; i < count; i++) {
        struct sl_mariadb_column *column = &statement->columns[i];
        if (is_integer(&fields[i])) {
            binds[i] = (MYSQL_BIND) {.buffer_type = MYSQL_TYPE_LONGLONG,
                .buffer = &column->integer,
                .is_unsigned = (fields[i].flags & UNSIGNED_FLAG) != 0};
        } else if (grow(column, COLUMN_SIZE) == 0) {
            binds[i] = (MYSQL_BIND) {
                .buffer_type = is_bytes(&fields[i]) ? MYSQL_TYPE_BLOB : MYSQL_TYPE_STRING,
                .buffer = column->data,
                .buffer_length = column->capacity - 1};
        } else {
            return -1;
        }
        binds[i].length = &column->size;
        binds[i].is_null = &column->is_null;
    }
    return mysql_stmt_bind_result(statement->handle, binds) == 0 ? 0 : -1;
}

/* A column that was longer than its buffer is fetched again into one that holds it. */
static int complete(struct sl_mariadb_statement *statement, size_t index, char **ret_data)
{
    struct sl_mariadb_column *column = &statement->columns[index];
    char *data = sl_allocate(column->size + 1);
    MYSQL_BIND bind = {
        .buffer_type = MYSQL_TYPE_BLOB, .buffer = data, .buffer_length = column->size};
    if (data == NULL ||
        mysql_stmt_fetch_column(statement->handle, &bind, (unsigned int) index, 0) != 0) {
        sl_free(data);
        return -1;
    }
    *ret_data = data;
    return 0;
}

/* An unsigned number that no int64_t holds comes as its text. */
static struct sluice_value value_of_integer(
    struct sl_mariadb_column *column, const MYSQL_FIELD *field)
{
    if ((field->flags & UNSIGNED_FLAG) == 0 || column->integer >= 0 ||
        grow(column, COLUMN_SIZE) != 0) {
        return sluice_integer(column->integer);
    }
    snprintf(column->data, column->capacity, "%llu", (unsigned long long) column->integer);
    return sluice_text(column->data);
}

static int visit_row(
    struct sl_mariadb_statement *statement, const MYSQL_FIELD *fields, const struct sl_sql *sql)
{
    struct sluice_value values[SL_SQL_COLUMNS_MAX];
    char *longer[SL_SQL_COLUMNS_MAX];
    size_t longer_count = 0;
    int status = 0;
    for (size_t i = 0; i < statement->column_count && status == 0; i++) {
        struct sl_mariadb_column *column = &statement->columns[i];
        if (column->is_null) {
            values[i] = sluice_null();
            continue;
        }
        if (is_integer(&fields[i])) {
            values[i] = value_of_integer(column, &fields[i]);
            continue;
        }
        char *data = column->data;
        if (column->size >= column->capacity) {
            status = complete(statement, i, &data);
            longer[longer_count] = data;
            longer_count += status == 0 ? 1 : 0;
        }
        if (status == 0) {
            data[column->size] = '\0';
            values[i] = (struct sluice_value) {
                is_bytes(&fields[i]) ? SLUICE_BYTES : SLUICE_TEXT, 0, data, column->size};
        }
    }
    if (status == 0 && sql->visit != NULL) {
        sql->visit(sql->context, values, statement->column_count);
    }
    for (size_t i = 0; i < longer_count; i++) {
        sl_free(longer[i]);
    }
    return status;
}

static int fetch(struct sl_store_mariadb *store, struct sl_mariadb_statement *statement,
    const struct sl_sql *sql, bool was_in_transaction, struct sluice_error *error)
{
    size_t count = mysql_stmt_field_count(statement->handle);
    MYSQL_RES *metadata = mysql_stmt_result_metadata(statement->handle);
    if (metadata == NULL || count > SL_SQL_COLUMNS_MAX ||
        bind_columns(statement, mysql_fetch_fields(metadata), count) != 0) {
        if (metadata != NULL) {
            mysql_free_result(metadata);
        }
        return count > SL_SQL_COLUMNS_MAX
            ? sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "%s: %zu columns; at most %d",
                  sql->what, count, SL_SQL_COLUMNS_MAX)
            : sl_fail_memory(error, "the rows of a statement");
    }
    int status = 0;
    int result = 0;
    while (status == 0 &&
        ((result = mysql_stmt_fetch(statement->handle)) == 0 || result == MYSQL_DATA_TRUNCATED)) {
        if (visit_row(statement, mysql_fetch_fields(metadata), sql) != 0) {
            status = sl_fail_memory(error, "a row");
        }
    }
    mysql_free_result(metadata);
    return result == 1
        ? sl_mariadb_fail(store, statement->handle, was_in_transaction, sql->what, error)
        : status;
}

static int run(struct sl_store_mariadb *store, const struct sl_sql *sql, struct sluice_error *error)
{
    if (sl_mariadb_need(store, error) != 0) {
        return -1;
    }
    store->last_number = 0;
    bool was_in_transaction = sl_mariadb_in_transaction(store);
    struct sl_mariadb_statement *statement = find_statement(store, sql);
    if (statement == NULL && prepare(store, sql, was_in_transaction, &statement, error) != 0) {
        return -1;
    }
    statement->used_at = ++store->use_count;
    int status = execute(store, statement, sql, was_in_transaction, error);
    if (status == 0 && mysql_stmt_field_count(statement->handle) > 0) {
        status = fetch(store, statement, sql, was_in_transaction, error);
        mysql_stmt_free_result(statement->handle);
    }
    if (status == 0 && sql->ret_affected != NULL) {
        *sql->ret_affected = mysql_stmt_field_count(statement->handle) > 0
            ? 0
            : (int64_t) mysql_stmt_affected_rows(statement->handle);
    }
    return status;
}

int sl_mariadb_run(struct sl_store *base, const struct sl_sql *sql, struct sluice_error *error)
{
    struct sl_store_mariadb *store = (struct sl_store_mariadb *) base;
    store->is_theirs = sql->is_theirs;
    int status = run(store, sql, error);
    store->is_theirs = false;
    return status;
}
