/* Statements of store/sql.h on PostgreSQL: prepared once, found again by text and types. */
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/parse.h"
#include "store/postgresql.h"

enum { NAME_SIZE = 40 };

/* A text's type is left to the server, which makes it what stands there: uuid, jsonb, a time. */
static const Oid types[] = {
    [SLUICE_NULL] = 0,
    [SLUICE_INTEGER] = SL_OID_INT8,
    [SLUICE_TEXT] = 0,
    [SLUICE_BYTES] = SL_OID_BYTEA,
};

void sl_postgresql_put_int64(char ret_bytes[8], int64_t number)
{
    uint64_t bits = (uint64_t) number;
    for (int i = 7; i >= 0; i--) {
        ret_bytes[i] = (char) (bits & 0xff);
        bits >>= 8;
    }
}

int64_t sl_postgresql_get_int64(const char *bytes)
{
    uint64_t bits;
    memcpy(&bits, bytes, sizeof(bits));
    return (int64_t) __builtin_bswap64(bits);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash;
}

static void name_of(
    const struct sl_store_postgresql *store, unsigned number, char ret_name[NAME_SIZE])
{
    snprintf(ret_name, NAME_SIZE, "%s_%u", store->prefix, number);
}

static void deallocate(
    struct sl_store_postgresql *store, const struct sl_postgresql_statement *statement)
{
    char name[NAME_SIZE];
    char sql[NAME_SIZE + 20];
    PGTransactionStatusType status = PQtransactionStatus(store->connection);
    if (status == PQTRANS_IDLE || status == PQTRANS_INTRANS) {
        name_of(store, statement->number, name);
        snprintf(sql, sizeof(sql), "DEALLOCATE %s", name);
        PQclear(sl_postgresql_query(store, sql));
    }
}

void sl_postgresql_forget_statements(struct sl_store_postgresql *store)
{
    for (size_t i = 0; i < store->statement_count; i++) {
        if (store->is_adopted) {
            deallocate(store, &store->statements[i]);
        }
        sl_free(store->statements[i].text);
    }
    store->statement_count = 0;
}

/* What a statement is found by; `wanted` has no copy of the text yet. */
static struct sl_postgresql_statement *find(
    struct sl_store_postgresql *store, const struct sl_postgresql_statement *wanted)
{
    for (size_t i = 0; i < store->statement_count; i++) {
        struct sl_postgresql_statement *statement = &store->statements[i];
        if (statement->hash == wanted->hash && statement->is_theirs == wanted->is_theirs &&
            statement->kind_count == wanted->kind_count &&
            memcmp(statement->kinds, wanted->kinds, wanted->kind_count) == 0 &&
            strcmp(statement->text, wanted->text) == 0) {
            return statement;
        }
    }
    return NULL;
}

static struct sl_postgresql_statement *place_for_one_more(struct sl_store_postgresql *store)
{
    if (store->statement_count < SL_POSTGRESQL_STATEMENTS_MAX) {
        return &store->statements[store->statement_count++];
    }
    struct sl_postgresql_statement *oldest = &store->statements[0];
    for (size_t i = 1; i < store->statement_count; i++) {
        oldest = store->statements[i].used_at < oldest->used_at ? &store->statements[i] : oldest;
    }
    deallocate(store, oldest);
    sl_free(oldest->text);
    return oldest;
}

/* Prepare `sql` on the server under `wanted`'s name, and keep it. */
static struct sl_postgresql_statement *prepare(struct sl_store_postgresql *store,
    struct sl_postgresql_statement *wanted, const char *sql, const Oid *wanted_types,
    const char *what, struct sluice_error *error)
{
    char name[NAME_SIZE];
    wanted->number = ++store->statement_number;
    wanted->text = sl_copy_text(wanted->text);
    if (wanted->text == NULL) {
        sl_fail_memory(error, "a statement");
        return NULL;
    }
    name_of(store, wanted->number, name);
    bool was_in_transaction = sl_postgresql_in_transaction(store);
    PGresult *result =
        sl_postgresql_prepare(store, name, sql, (int) wanted->kind_count, wanted_types);
    int status =
        sl_postgresql_check(store, result, was_in_transaction, what, wanted->is_theirs, error);
    PQclear(result);
    if (status != 0) {
        sl_free(wanted->text);
        return NULL;
    }
    struct sl_postgresql_statement *place = place_for_one_more(store);
    *place = *wanted;
    return place;
}

static struct sl_postgresql_statement *prepare_sql(
    struct sl_store_postgresql *store, const struct sl_sql *sql, struct sluice_error *error)
{
    struct sl_postgresql_statement wanted = {
        .text = (char *) sql->text,
        .is_theirs = sql->is_theirs,
        .kind_count = sql->value_count,
        .hash = 14695981039346656037u,
    };
    for (size_t i = 0; i < sql->value_count; i++) {
        wanted.kinds[i] = (unsigned char) sql->values[i].kind;
    }
    wanted.hash = hash_bytes(wanted.hash, wanted.kinds, wanted.kind_count);
    wanted.hash = hash_bytes(wanted.hash, sql->text, strlen(sql->text));
    struct sl_postgresql_statement *found = find(store, &wanted);
    if (found != NULL) {
        return found;
    }
    struct sl_sql_rewrite rewrite = {.placeholder = SL_PLACEHOLDER_DOLLAR, .is_schema = true};
    if (sl_sql_rewrite(&rewrite, sql, &store->text, error) != 0) {
        return NULL;
    }
    Oid oids[SLUICE_VALUES_MAX];
    for (size_t i = 0; i < sql->value_count; i++) {
        oids[i] = types[sql->values[i].kind];
    }
    return prepare(
        store, &wanted, store->text.size == 0 ? "" : store->text.data, oids, sql->what, error);
}

/* The values as libpq wants them. A text must end with a NUL there, so it is copied. */
struct parameters {
    const char *values[SLUICE_VALUES_MAX];
    int sizes[SLUICE_VALUES_MAX];
    int formats[SLUICE_VALUES_MAX];
};

static int write_parameters(struct sl_store_postgresql *store, const struct sl_sql *sql,
    struct parameters *parameters, struct sluice_error *error)
{
    size_t places[SLUICE_VALUES_MAX];
    struct sl_buffer *buffer = &store->values;
    sl_buffer_clear(buffer);
    for (size_t i = 0; i < sql->value_count; i++) {
        const struct sluice_value *value = &sql->values[i];
        char number[8];
        places[i] = buffer->size;
        parameters->formats[i] = value->kind != SLUICE_TEXT;
        parameters->sizes[i] = (int) value->size;
        if (value->kind == SLUICE_INTEGER) {
            sl_postgresql_put_int64(number, value->integer);
            sl_buffer_append(buffer, number, sizeof(number));
            parameters->sizes[i] = sizeof(number);
        } else if (value->kind == SLUICE_TEXT) {
            if (value->size > 0 && memchr(value->data, '\0', value->size) != NULL) {
                return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                    "%s: the text of ?%zu holds a NUL, which PostgreSQL cannot keep", sql->what,
                    i + 1);
            }
            sl_buffer_append(buffer, value->data, value->size);
            sl_buffer_append(buffer, "", 1);
        }
    }
    if (buffer->is_failed) {
        return sl_fail_memory(error, "the values of a statement");
    }
    for (size_t i = 0; i < sql->value_count; i++) {
        const struct sluice_value *value = &sql->values[i];
        parameters->values[i] = value->kind == SLUICE_NULL ? NULL
            : value->kind == SLUICE_BYTES ? (value->data == NULL ? "" : value->data)
                                          : buffer->data + places[i];
    }
    return 0;
}

static int digit_of(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Turn bytea's text into its bytes, in place, with a NUL after them; returns their number. */
static size_t decode_bytes(char *text, size_t size)
{
    size_t written = 0;
    if (size >= 2 && text[0] == '\\' && text[1] == 'x') {
        for (size_t i = 2; i + 1 < size; i += 2) {
            text[written++] = (char) (digit_of(text[i]) << 4 | digit_of(text[i + 1]));
        }
    } else { /* bytea_output = escape, on a connection that is not ours */
        for (size_t i = 0; i < size; i++) {
            if (text[i] != '\\') {
                text[written++] = text[i];
            } else if (i + 1 < size && text[i + 1] == '\\') {
                text[written++] = text[++i];
            } else if (i + 3 < size) {
                text[written++] = (char) ((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
                    (text[i + 3] - '0'));
                i += 3;
            }
        }
    }
    text[written] = '\0';
    return written;
}

static struct sluice_value column_value(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return sluice_null();
    }
    char *text = PQgetvalue(result, row, column);
    size_t size = (size_t) PQgetlength(result, row, column);
    int64_t number = 0;
    switch (PQftype(result, column)) {
    case SL_OID_INT2:
    case SL_OID_INT4:
    case SL_OID_INT8:
    case SL_OID_OID:
        sl_parse_i64((struct sl_text) {text, size}, &number);
        return sluice_integer(number);
    case SL_OID_BOOL:
        return sluice_integer(text[0] == 't');
    case SL_OID_BYTEA:
        return sluice_bytes(text, decode_bytes(text, size));
    default:
        return (struct sluice_value) {SLUICE_TEXT, 0, text, size};
    }
}

static void visit_rows(const PGresult *result, const struct sl_sql *sql)
{
    struct sluice_value columns[SL_SQL_COLUMNS_MAX];
    int count = PQnfields(result);
    count = count > SL_SQL_COLUMNS_MAX ? SL_SQL_COLUMNS_MAX : count;
    for (int row = 0; row < PQntuples(result); row++) {
        for (int i = 0; i < count; i++) {
            columns[i] = column_value(result, row, i);
        }
        sql->visit(sql->context, columns, (size_t) count);
    }
}

static int64_t affected_by(PGresult *result)
{
    int64_t affected = 0;
    const char *command = PQcmdStatus(result);
    if (strncmp(command, "SELECT", 6) == 0) {
        return 0;
    }
    return sl_parse_i64(sl_text_of(PQcmdTuples(result)), &affected) ? affected : 0;
}

/* The server has forgotten what was prepared (DISCARD ALL, a pooler): so do we. */
static void notice_forgotten(struct sl_store_postgresql *store, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate != NULL && strcmp(sqlstate, "26000") == 0) {
        for (size_t i = 0; i < store->statement_count; i++) {
            sl_free(store->statements[i].text);
        }
        store->statement_count = 0;
    }
}

int sl_postgresql_run_sql(
    struct sl_store *base, const struct sl_sql *sql, struct sluice_error *error)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    struct parameters parameters;
    char name[NAME_SIZE];
    if (sl_postgresql_ensure(store, error) != 0) {
        return -1;
    }
    struct sl_postgresql_statement *statement = prepare_sql(store, sql, error);
    if (statement == NULL || write_parameters(store, sql, &parameters, error) != 0) {
        return -1;
    }
    statement->used_at = ++store->use_count;
    name_of(store, statement->number, name);
    bool was_in_transaction = sl_postgresql_in_transaction(store);
    struct sl_postgresql_arguments arguments = {
        (int) sql->value_count, parameters.values, parameters.sizes, parameters.formats};
    PGresult *result = sl_postgresql_execute(store, name, &arguments, 0);
    int status =
        sl_postgresql_check(store, result, was_in_transaction, sql->what, sql->is_theirs, error);
    if (status != 0) {
        notice_forgotten(store, result);
    } else {
        if (sql->visit != NULL) {
            visit_rows(result, sql);
        }
        if (sql->ret_affected != NULL) {
            *sql->ret_affected = affected_by(result);
        }
    }
    PQclear(result);
    return status;
}

PGresult *sl_postgresql_fetch(struct sl_store_postgresql *store, const char *sql, const char *what,
    const struct sl_postgresql_parameters *parameters, struct sluice_error *error)
{
    static const int binary[SLUICE_VALUES_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct sl_postgresql_statement wanted = {.text = (char *) sql};
    char name[NAME_SIZE];
    if (sl_postgresql_ensure(store, error) != 0) {
        return NULL;
    }
    wanted.hash = (uint64_t) (uintptr_t) sql; /* a literal: its address will do */
    struct sl_postgresql_statement *statement = find(store, &wanted);
    if (statement == NULL) {
        wanted.kind_count = parameters->count;
        statement = prepare(store, &wanted, sql, parameters->types, what, error);
        if (statement == NULL) {
            return NULL;
        }
        statement->kind_count = 0;
    }
    statement->used_at = ++store->use_count;
    name_of(store, statement->number, name);
    bool was_in_transaction = sl_postgresql_in_transaction(store);
    struct sl_postgresql_arguments arguments = {
        (int) parameters->count, parameters->values, parameters->sizes, binary};
    PGresult *result = sl_postgresql_execute(store, name, &arguments, 1);
    if (sl_postgresql_check(store, result, was_in_transaction, what, false, error) != 0) {
        notice_forgotten(store, result);
        PQclear(result);
        return NULL;
    }
    return result;
}
