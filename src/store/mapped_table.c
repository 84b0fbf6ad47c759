/* A table of the user's: what its columns are, and the statements that read and mark it. */
#include <stdio.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/mapped.h"

enum { TYPE_SIZE = 40, STATEMENT_SIZE_MAX = 16384, COLUMNS_TEXT_SIZE = 300 };

static const char look_failed[] = "cannot look at the mapped table's columns";

/* What the databases say differently. */
struct speech {
    const char *name;
    char quote;
    const char *columns;     /* ?1 schema or NULL, ?2 table: name, type, three rights */
    const char *is_indexed;  /* ?1, ?2, ?3 column: how many indexes begin with it or are about it */
    const char *text_before; /* a column as text: the same for the same value, always */
    const char *text_after;
    const char *time_before; /* a column of a time as Unix milliseconds */
    const char *time_after;
    const char *now;    /* for a column of a time */
    const char *now_ms; /* for a column of a number */
};

static const struct speech speeches[] = {
    {
        .name = "postgresql",
        .quote = '"',
        .columns =
            "SELECT a.attname::text, format_type(a.atttypid, NULL),"
            " has_table_privilege(a.attrelid, 'SELECT'), has_table_privilege(a.attrelid, 'UPDATE'),"
            " has_table_privilege(a.attrelid, 'DELETE') "
            "FROM pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid ="
            " to_regclass(coalesce(quote_ident(?1::text) || '.', '') || quote_ident(?2::text)) "
            "ORDER BY a.attnum",
        .is_indexed =
            "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "WHERE a.attname = ?3::text AND a.attrelid ="
            " to_regclass(coalesce(quote_ident(?1::text) || '.', '') || quote_ident(?2::text)) "
            "AND (i.indkey[0] = a.attnum"
            " OR pg_get_expr(i.indpred, i.indrelid) LIKE '%' || ?3::text || '%')",
        .text_before = "(",
        .text_after = ")::text COLLATE \"C\"",
        .time_before = "floor(extract(epoch FROM (",
        .time_after = ")::timestamptz) * 1000)::bigint",
        .now = "now()",
        .now_ms = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    },
    {
        .name = "mariadb",
        .quote = '`',
        .columns = "SELECT column_name, data_type, 1, 1, 1 FROM information_schema.columns "
                   "WHERE table_schema = coalesce(?1, database()) AND table_name = ?2 "
                   "ORDER BY ordinal_position",
        .is_indexed = "SELECT count(*) FROM information_schema.statistics "
                      "WHERE table_schema = coalesce(?1, database()) AND table_name = ?2"
                      " AND column_name = ?3 AND seq_in_index = 1",
        .text_before = "CONVERT(",
        .text_after = " USING utf8mb4) COLLATE utf8mb4_nopad_bin",
        .time_before = "CAST(UNIX_TIMESTAMP(",
        .time_after = ") * 1000 AS SIGNED)",
        .now = "NOW(6)",
        .now_ms = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED)",
    },
    {
        .name = "sqlite",
        .quote = '"',
        .columns = "SELECT name, lower(type), 1, 1, 1 FROM pragma_table_info(?2,"
                   " coalesce(?1, 'main')) ORDER BY cid",
        .is_indexed = "SELECT count(*) FROM pragma_index_list(?2, coalesce(?1, 'main')) l"
                      " JOIN pragma_index_info(l.name, coalesce(?1, 'main')) i"
                      " WHERE i.name = ?3 AND i.seqno = 0",
        .text_before = "CAST(",
        .text_after = " AS TEXT)",
        .time_before = "CAST((julianday(",
        .time_after = ") - 2440587.5) * 86400000 AS INTEGER)",
        .now = "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        .now_ms = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    },
};

static const char *const default_names[SL_MAPPED_COLUMN_COUNT] = {
    [SL_MAPPED_ID] = "id",
    [SL_MAPPED_TOPIC] = "aggregatetype",
    [SL_MAPPED_KEY] = "aggregateid",
    [SL_MAPPED_TYPE] = "type",
    [SL_MAPPED_PAYLOAD] = "payload",
};

/* The table while it is described. */
struct table {
    const struct speech *speech;
    const struct sl_mapping *mapping;
    char schema[SL_MAPPING_NAME_SIZE_MAX + 1];
    char name[SL_MAPPING_NAME_SIZE_MAX + 1];
    const char *columns[SL_MAPPED_COLUMN_COUNT]; /* NULL: there is none */
    char types[SL_MAPPED_COLUMN_COUNT][TYPE_SIZE];
    size_t column_count;
    bool is_readable;
    bool is_changeable;
    bool is_deletable;
    struct sl_buffer there; /* the columns that there are, for people */
    struct sl_buffer text;
};

static const struct speech *speech_of(const struct sl_store *store)
{
    for (size_t i = 0; i < sizeof(speeches) / sizeof(speeches[0]); i++) {
        if (strcmp(speeches[i].name, store->dialect->name) == 0) {
            return &speeches[i];
        }
    }
    return NULL;
}

static void keep_column(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct table *table = context;
    struct sl_text name = sl_value_view(&columns[0]);
    (void) column_count;
    table->is_readable = sl_value_number(&columns[2]) != 0;
    table->is_changeable = sl_value_number(&columns[3]) != 0;
    table->is_deletable = sl_value_number(&columns[4]) != 0;
    if (table->there.size + name.size + 2 < COLUMNS_TEXT_SIZE) {
        sl_buffer_append_format(&table->there, "%s%.*s", table->column_count == 0 ? "" : ", ",
            (int) name.size, name.data);
    }
    table->column_count++;
    for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
        if (table->columns[i] != NULL && sl_text_equal(name, sl_text_of(table->columns[i]))) {
            sl_value_copy(&columns[1], table->types[i], TYPE_SIZE);
        }
    }
}

static struct sluice_value schema_of(const struct table *table)
{
    return table->schema[0] == '\0' ? sluice_null() : sluice_text(table->schema);
}

static int read_columns(struct sl_store *store, struct table *table, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = table->speech->columns,
            .what = look_failed,
            SL_SQL_VALUES(schema_of(table), sluice_text(table->name)),
            .visit = keep_column,
            .context = table,
        },
        error);
}

static void name_table(struct table *table, const struct sl_mapping *mapping)
{
    struct sl_text rest = sl_text_of(mapping->table);
    const char *dot = strchr(mapping->table, '.');
    if (dot != NULL) {
        size_t size = (size_t) (dot - mapping->table);
        memcpy(table->schema, mapping->table, size);
        rest = sl_text_of(dot + 1);
    }
    memcpy(table->name, rest.data, rest.size);
    for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
        table->columns[i] = mapping->columns[i] != NULL ? mapping->columns[i] : default_names[i];
    }
    if (mapping->type != NULL) {
        table->columns[SL_MAPPED_TYPE] = NULL;
    }
}

static bool is_integer(const char *type)
{
    return strstr(type, "int") != NULL && strstr(type, "interval") == NULL &&
        strstr(type, "point") == NULL;
}

static bool is_text(const char *type)
{
    return strstr(type, "char") != NULL || strstr(type, "text") != NULL ||
        strcmp(type, "uuid") == 0;
}

/* The relay needs more than those who look. Where the catalogue does not tell, all is allowed. */
static int check_rights(const struct table *table, bool is_relay, struct sluice_error *error)
{
    bool changes = table->columns[SL_MAPPED_STATUS] != NULL;
    bool deletes = table->mapping->deletes_sent;
    bool may_change = table->is_changeable || !changes || !is_relay;
    bool may_delete = table->is_deletable || !deletes || !is_relay;
    if (table->is_readable && may_change && may_delete) {
        return 0;
    }
    return sl_fail(error, SLUICE_INVALID, SLUICE_FATAL,
        "this role may not %s the table '%s' (relay.table); as its owner: GRANT SELECT%s%s ON %s "
        "TO the role",
        !table->is_readable ? "read"
            : may_change    ? "delete rows of"
                            : "change",
        table->mapping->table, changes ? ", UPDATE" : "", deletes ? ", DELETE" : "",
        table->mapping->table);
}

static int check_columns(const struct table *table, bool is_relay, struct sluice_error *error)
{
    const char *name = table->mapping->table;
    if (table->column_count == 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_FATAL,
            "there is no table '%s' (relay.table) that this role can see; name it with its schema, "
            "as in app.outbox_event",
            name);
    }
    for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
        if (table->columns[i] != NULL && table->types[i][0] == '\0') {
            return sl_fail(error, SLUICE_INVALID, SLUICE_FATAL,
                "the table '%s' has no column '%s' (relay.columns.%s%s); it has: %s", name,
                table->columns[i], sl_mapping_word(i),
                i == SL_MAPPED_TYPE ? ", or relay.type for all of its events" : "",
                table->there.data == NULL ? "" : table->there.data);
        }
    }
    const char *id_type = table->types[SL_MAPPED_ID];
    if (!is_integer(id_type) && !is_text(id_type)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_FATAL,
            "the column '%s' of the table '%s' (relay.columns.id) is of the type %s; an id must be "
            "a whole number, a UUID or a text",
            table->columns[SL_MAPPED_ID], name, id_type);
    }
    return check_rights(table, is_relay, error);
}

static void add(struct table *table, const char *text)
{
    sl_buffer_append_text(&table->text, text);
}

/* A name in the database's quotes; names hold no quotes, see sl_mapping_check. */
static void add_name(struct table *table, const char *name)
{
    char quote = table->speech->quote;
    sl_buffer_append_format(&table->text, "%c%s%c", quote, name, quote);
}

static void add_table(struct table *table)
{
    if (table->schema[0] != '\0') {
        add_name(table, table->schema);
        add(table, ".");
    }
    add_name(table, table->name);
}

/* A column of `t` as a text; NULL if there is none. */
static void add_text(struct table *table, enum sl_mapped_column column)
{
    if (table->columns[column] == NULL) {
        add(table, "NULL");
        return;
    }
    add(table, table->speech->text_before);
    add(table, "t.");
    add_name(table, table->columns[column]);
    add(table, table->speech->text_after);
}

/* Bytes as they are, all else as text. */
static void add_payload(struct table *table)
{
    const char *type = table->types[SL_MAPPED_PAYLOAD];
    if (strstr(type, "blob") != NULL || strstr(type, "bytea") != NULL ||
        strstr(type, "binary") != NULL) {
        add(table, "t.");
        add_name(table, table->columns[SL_MAPPED_PAYLOAD]);
    } else {
        add_text(table, SL_MAPPED_PAYLOAD);
    }
}

static void add_time(struct table *table)
{
    const char *name = table->columns[SL_MAPPED_CREATED_AT];
    bool is_number = is_integer(table->types[SL_MAPPED_CREATED_AT]);
    if (name == NULL) {
        add(table, "NULL");
        return;
    }
    add(table, is_number ? "" : table->speech->time_before);
    add(table, "t.");
    add_name(table, name);
    add(table, is_number ? "" : table->speech->time_after);
}

/* " WHERE ...": what has been written and not claimed. */
static void add_unclaimed(struct table *table)
{
    add(table, " FROM ");
    add_table(table);
    add(table, " t WHERE ");
    if (table->columns[SL_MAPPED_STATUS] != NULL) {
        add(table, "t.");
        add_name(table, table->columns[SL_MAPPED_STATUS]);
        add(table, " = 'PENDING' AND ");
    }
    add(table, "NOT EXISTS (SELECT 1 FROM sluice_claim c WHERE c.row_id = ");
    add_text(table, SL_MAPPED_ID);
    add(table, ")");
}

static void add_order(struct table *table)
{
    add(table, " ORDER BY ");
    if (!is_integer(table->types[SL_MAPPED_ID]) && table->columns[SL_MAPPED_CREATED_AT] != NULL) {
        add(table, "t.");
        add_name(table, table->columns[SL_MAPPED_CREATED_AT]);
        add(table, ", ");
    }
    add(table, "t.");
    add_name(table, table->columns[SL_MAPPED_ID]);
}

static void add_group(struct table *table, const char *qualifier)
{
    add(table, qualifier);
    add_name(table, table->columns[SL_MAPPED_ID]);
    add(table, " IN " SL_MAPPED_IDS);
}

static void add_event(struct table *table)
{
    for (int i = SL_MAPPED_TOPIC; i <= SL_MAPPED_HEADERS; i++) {
        if (i == SL_MAPPED_PAYLOAD) {
            add_payload(table);
        } else {
            add_text(table, (enum sl_mapped_column) i);
        }
        add(table, ", ");
    }
}

static void write_reading(struct table *table, enum sl_mapped_statement statement)
{
    switch (statement) {
    case SL_MAPPED_LOOK:
        add(table, "SELECT 1");
        add_unclaimed(table);
        add(table, " LIMIT 1");
        return;
    case SL_MAPPED_CANDIDATES:
        add(table, "SELECT ");
        add_text(table, SL_MAPPED_ID);
        add(table, ", ");
        add_time(table);
        add_unclaimed(table);
        add_order(table);
        add(table, " LIMIT ?1");
        return;
    case SL_MAPPED_ROWS:
        add(table, "SELECT ");
        add_text(table, SL_MAPPED_ID);
        add(table, ", ");
        add_event(table);
        add_time(table);
        add(table, " FROM ");
        add_table(table);
        add(table, " t WHERE ");
        add_group(table, "t.");
        return;
    case SL_MAPPED_UNSENT:
        add(table, "SELECT count(*), min(u.at) FROM (SELECT ");
        add_time(table);
        add(table, " AS at");
        add_unclaimed(table);
        add(table, " LIMIT ?1) u");
        return;
    case SL_MAPPED_FIND:
        add(table, "SELECT c.tick, c.position, c.event_id, ");
        add_event(table);
        add(table, "c.created_at FROM sluice_claim c JOIN ");
        add_table(table);
        add(table, " t ON c.row_id = ");
        add_text(table, SL_MAPPED_ID);
        add(table, " WHERE c.event_id = ?1");
        return;
    case SL_MAPPED_MARK_SENT:
    case SL_MAPPED_MARK_HELD:
    case SL_MAPPED_STATEMENT_COUNT:
        return;
    }
}

/* Every mark is of a row by its id, and only from the status that it must have had. */
static void write_marks(struct table *table, enum sl_mapped_statement statement)
{
    const char *status = table->columns[SL_MAPPED_STATUS];
    const char *sent_at = table->columns[SL_MAPPED_SENT_AT];
    const char *retry_count = table->columns[SL_MAPPED_RETRY_COUNT];
    if (statement == SL_MAPPED_MARK_SENT && table->mapping->deletes_sent) {
        add(table, "DELETE FROM ");
        add_table(table);
        add(table, " WHERE ");
        add_group(table, "");
        if (status != NULL) {
            add(table, " AND ");
            add_name(table, status);
            add(table, " = 'PENDING'");
        }
    } else if (status != NULL) {
        bool is_sent = statement == SL_MAPPED_MARK_SENT;
        add(table, "UPDATE ");
        add_table(table);
        add(table, " SET ");
        add_name(table, status);
        add(table, is_sent ? " = 'SENT'" : " = ?2");
        if (is_sent && sent_at != NULL) {
            add(table, ", ");
            add_name(table, sent_at);
            add(table, " = ");
            add(table,
                is_integer(table->types[SL_MAPPED_SENT_AT]) ? table->speech->now_ms
                                                            : table->speech->now);
        } else if (!is_sent && retry_count != NULL) {
            add(table, ", ");
            add_name(table, retry_count);
            add(table, " = ?3");
        }
        add(table, " WHERE ");
        if (is_sent) {
            add_group(table, "");
        } else {
            add_name(table, table->columns[SL_MAPPED_ID]);
            add(table, " = ?1");
        }
        add(table, " AND ");
        add_name(table, status);
        add(table, is_sent ? " = 'PENDING'" : " IN ('PENDING', 'FAILED_PERMANENTLY')");
        add(table, is_sent || retry_count != NULL ? "" : " AND ?3 IS NOT NULL");
    }
}

static int write_statements(
    struct table *table, struct sl_mapped *mapped, struct sluice_error *error)
{
    for (int i = 0; i < SL_MAPPED_STATEMENT_COUNT; i++) {
        enum sl_mapped_statement statement = (enum sl_mapped_statement) i;
        sl_buffer_clear(&table->text);
        if (statement == SL_MAPPED_MARK_SENT || statement == SL_MAPPED_MARK_HELD) {
            write_marks(table, statement);
        } else {
            write_reading(table, statement);
        }
        if (table->text.is_failed) {
            return sl_fail_memory(error, "the statements of a mapped table");
        }
        if (table->text.size == 0) {
            continue;
        }
        mapped->statements[i] = sl_copy_bytes(table->text.data, table->text.size);
        if (mapped->statements[i] == NULL) {
            return sl_fail_memory(error, "the statements of a mapped table");
        }
    }
    return 0;
}

static void keep_count(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = sl_value_number(&columns[0]);
}

/* Not an error: a small table is read without an index, too. */
static void look_for_index(struct sl_store *store, struct table *table, struct sl_mapped *mapped)
{
    const char *status = table->columns[SL_MAPPED_STATUS];
    const char *name = table->mapping->table;
    struct sluice_error ignored;
    int64_t count = 1;
    if (status == NULL) {
        return;
    }
    int result = sl_sql_run(store,
        &(struct sl_sql) {
            .text = table->speech->is_indexed,
            .what = look_failed,
            SL_SQL_VALUES(schema_of(table), sluice_text(table->name), sluice_text(status)),
            .visit = keep_count,
            .context = &count,
        },
        &ignored);
    if (result == 0 && count == 0) {
        bool is_mariadb = strcmp(table->speech->name, "mariadb") == 0;
        snprintf(mapped->missing_index, sizeof(mapped->missing_index),
            "CREATE INDEX %s_unsent ON %s (%s)%s%s%s", table->name, name,
            is_mariadb ? status : table->columns[SL_MAPPED_ID], is_mariadb ? "" : " WHERE ",
            is_mariadb ? "" : status, is_mariadb ? "" : " = 'PENDING'");
    }
}

int sl_mapped_describe(struct sl_store *store, const struct sl_mapping *mapping, bool is_relay,
    struct sl_mapped *mapped, struct sluice_error *error)
{
    struct table table = {.speech = speech_of(store), .mapping = mapping};
    sl_buffer_init(&table.there, COLUMNS_TEXT_SIZE);
    sl_buffer_init(&table.text, STATEMENT_SIZE_MAX);
    name_table(&table, mapping);
    int status = read_columns(store, &table, error);
    if (status == 0) {
        status = check_columns(&table, is_relay, error);
    }
    if (status == 0) {
        status = write_statements(&table, mapped, error);
    }
    if (status == 0) {
        look_for_index(store, &table, mapped);
    }
    if (mapped->missing_index[0] != '\0' && is_relay) {
        sl_log(SL_LOG_WARN, "each look at the mapped table reads all of it; it needs an index",
            "table=%s create=\"%s\"", mapping->table, mapped->missing_index);
    }
    mapped->has_integer_id = is_integer(table.types[SL_MAPPED_ID]);
    sl_buffer_deinit(&table.there);
    sl_buffer_deinit(&table.text);
    return status;
}
