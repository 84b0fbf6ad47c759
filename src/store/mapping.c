#include "store/mapping.h"

#include "base/error.h"
#include "base/memory.h"
#include "event/id.h"
#include "store/mapped.h"

enum { SETTINGS_SIZE_MAX = 2048, STATEMENTS_MAX = 4 };

static const char create_failed[] = "cannot create the tables of a mapping";
static const char note_failed[] = "cannot note the mapping";

/*
 * Made when a table is first mapped. sluice_mapping has one row. claimed_* is the last position
 * that was given, retained_* the last claim that was deleted.
 */
#define MAPPING_COLUMNS                                                                            \
    "tick BIGINT NOT NULL DEFAULT 0, position BIGINT NOT NULL DEFAULT 0,"                          \
    " updated_at BIGINT NOT NULL DEFAULT 0, claimed_tick BIGINT NOT NULL DEFAULT 0,"               \
    " claimed_position BIGINT NOT NULL DEFAULT 0, retained_tick BIGINT NOT NULL DEFAULT 0,"        \
    " retained_position BIGINT NOT NULL DEFAULT 0"

static const struct schema {
    const char *name;
    const char *is_there;
    const char *statements[STATEMENTS_MAX];
} schemas[] = {
    {"postgresql", "SELECT to_regclass('sluice.mapping') IS NOT NULL",
        {"CREATE TABLE IF NOT EXISTS sluice_mapping (name text PRIMARY KEY,"
         " table_name text NOT NULL, source_id text NOT NULL, settings text NOT NULL,"
         " " MAPPING_COLUMNS ") WITH (fillfactor = 50)",
            "CREATE TABLE IF NOT EXISTS sluice_claim (row_id text COLLATE \"C\" PRIMARY KEY,"
            " tick bigint NOT NULL, position bigint NOT NULL,"
            " event_id text COLLATE \"C\" NOT NULL UNIQUE, created_at bigint NOT NULL,"
            " state text COLLATE \"C\" NOT NULL DEFAULT 'TAKEN'"
            " CHECK (state IN ('TAKEN', 'HELD', 'FAILED', 'DONE')), UNIQUE (tick, position))",
            "CREATE INDEX IF NOT EXISTS claim_open ON sluice_claim (tick, position)"
            " WHERE state = 'TAKEN'"}},
    {"mariadb",
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()"
        " AND table_name = 'sluice_mapping'",
        {"CREATE TABLE IF NOT EXISTS sluice_mapping (name VARCHAR(20) PRIMARY KEY,"
         " table_name VARCHAR(140) NOT NULL, source_id CHAR(36) NOT NULL, settings TEXT NOT NULL,"
         " " MAPPING_COLUMNS ") ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
            "CREATE TABLE IF NOT EXISTS sluice_claim (row_id VARCHAR(200) PRIMARY KEY,"
            " tick BIGINT NOT NULL, position BIGINT NOT NULL, event_id CHAR(36) NOT NULL UNIQUE,"
            " created_at BIGINT NOT NULL, state VARCHAR(6) NOT NULL DEFAULT 'TAKEN',"
            " UNIQUE KEY sluice_claim_tick (tick, position),"
            " KEY sluice_claim_state (state, tick, position))"
            " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"}},
    {"sqlite", "SELECT count(*) FROM sqlite_master WHERE name = 'sluice_mapping'",
        {"CREATE TABLE IF NOT EXISTS sluice_mapping (name TEXT PRIMARY KEY,"
         " table_name TEXT NOT NULL, source_id TEXT NOT NULL, settings TEXT NOT NULL,"
         " " MAPPING_COLUMNS ")",
            "CREATE TABLE IF NOT EXISTS sluice_claim (row_id TEXT PRIMARY KEY,"
            " tick INTEGER NOT NULL, position INTEGER NOT NULL, event_id TEXT NOT NULL UNIQUE,"
            " created_at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'TAKEN'"
            " CHECK (state IN ('TAKEN', 'HELD', 'FAILED', 'DONE')), UNIQUE (tick, position))",
            "CREATE INDEX IF NOT EXISTS sluice_claim_state ON sluice_claim"
            " (state, tick, position)"}},
};

static const char *const words[SL_MAPPED_COLUMN_COUNT] = {
    [SL_MAPPED_ID] = "id",
    [SL_MAPPED_TOPIC] = "topic",
    [SL_MAPPED_KEY] = "key",
    [SL_MAPPED_TYPE] = "type",
    [SL_MAPPED_PAYLOAD] = "payload",
    [SL_MAPPED_HEADERS] = "headers",
    [SL_MAPPED_CREATED_AT] = "created_at",
    [SL_MAPPED_STATUS] = "status",
    [SL_MAPPED_RETRY_COUNT] = "retry_count",
    [SL_MAPPED_SENT_AT] = "sent_at",
};

const char *sl_mapping_word(enum sl_mapped_column column)
{
    return words[column];
}

static bool is_name(struct sl_text text)
{
    if (text.size == 0 || text.size > SL_MAPPING_NAME_SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                (i > 0 && (is_digit || c == '$')))) {
            return false;
        }
    }
    return true;
}

int sl_mapping_check(const struct sl_mapping *mapping, struct sluice_error *error)
{
    struct sl_text rest = sl_text_of(mapping->table);
    struct sl_text part;
    int parts = 0;
    bool is_good = true;
    while (sl_text_split(&rest, '.', &part)) {
        is_good = is_good && is_name(part) && ++parts <= 2;
    }
    if (parts == 0 || !is_good || mapping->table[strlen(mapping->table) - 1] == '.') {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.80s' (relay.table) is no table's name; use letters, digits, '_' and '$', with the "
            "schema before a '.' if it is needed",
            mapping->table);
    }
    for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
        if (mapping->columns[i] != NULL && !is_name(sl_text_of(mapping->columns[i]))) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "'%.80s' (relay.columns.%s) is no column's name; use letters, digits, '_' and '$'",
                mapping->columns[i], words[i]);
        }
    }
    struct sl_text type = sl_text_of(mapping->type);
    if (mapping->type != NULL &&
        (type.size == 0 || type.size > SLUICE_TYPE_SIZE_MAX || !sl_text_is_clean_utf8(type))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "relay.type is no event type; use a text of 1 to %d bytes without control characters",
            SLUICE_TYPE_SIZE_MAX);
    }
    if (mapping->type != NULL && mapping->columns[SL_MAPPED_TYPE] != NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "both relay.type and relay.columns.type are set; keep one of them");
    }
    bool has_status = mapping->columns[SL_MAPPED_STATUS] != NULL;
    for (int i = SL_MAPPED_RETRY_COUNT; i <= SL_MAPPED_SENT_AT && !has_status; i++) {
        if (mapping->columns[i] != NULL) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "relay.columns.%s is set, but relay.columns.status is not: only a row with a "
                "status is changed; name that column, too",
                words[i]);
        }
    }
    return 0;
}

/* A mapping as it is noted: a line each; and back. The texts of `mapping` then lie in `place`. */
static int write_settings(
    const struct sl_mapping *mapping, struct sl_buffer *settings, struct sluice_error *error)
{
    sl_buffer_append_format(settings, "table=%s\n", mapping->table);
    for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
        if (mapping->columns[i] != NULL) {
            sl_buffer_append_format(settings, "%s=%s\n", words[i], mapping->columns[i]);
        }
    }
    if (mapping->type != NULL) {
        sl_buffer_append_format(settings, "constant_type=%s\n", mapping->type);
    }
    sl_buffer_append_text(settings, mapping->deletes_sent ? "deletes_sent=1\n" : "");
    return settings->is_failed ? sl_fail_memory(error, "a mapping") : 0;
}

static void read_settings(char *settings, struct sl_mapping *ret_mapping)
{
    struct sl_mapping mapping = {0};
    char *save = NULL;
    for (char *line = strtok_r(settings, "\n", &save); line != NULL;
        line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, '=');
        if (value == NULL) {
            continue;
        }
        *value++ = '\0';
        for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
            mapping.columns[i] = strcmp(line, words[i]) == 0 ? value : mapping.columns[i];
        }
        mapping.table = strcmp(line, "table") == 0 ? value : mapping.table;
        mapping.type = strcmp(line, "constant_type") == 0 ? value : mapping.type;
        mapping.deletes_sent = mapping.deletes_sent || strcmp(line, "deletes_sent") == 0;
    }
    *ret_mapping = mapping;
}

static void keep_flag(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(bool *) context = sl_value_number(&columns[0]) != 0;
}

static const struct schema *schema_of(const struct sl_store *store)
{
    for (size_t i = 0; store->dialect != NULL && i < sizeof(schemas) / sizeof(schemas[0]); i++) {
        if (strcmp(schemas[i].name, store->dialect->name) == 0) {
            return &schemas[i];
        }
    }
    return NULL;
}

static int has_tables(struct sl_store *store, bool *ret_has_tables, struct sluice_error *error)
{
    const struct schema *schema = schema_of(store);
    *ret_has_tables = false;
    if (schema == NULL) {
        return 0;
    }
    return sl_sql_run(store,
        &(struct sl_sql) {.text = schema->is_there,
            .what = "cannot look for a mapping",
            .visit = keep_flag,
            .context = ret_has_tables},
        error);
}

static int create_tables(struct sl_store *store, struct sluice_error *error)
{
    const struct schema *schema = schema_of(store);
    for (size_t i = 0; i < STATEMENTS_MAX && schema->statements[i] != NULL; i++) {
        if (sl_sql_run(store,
                &(struct sl_sql) {.text = schema->statements[i], .what = create_failed},
                error) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The row of sluice_mapping. */
struct noted {
    bool is_there;
    char table[2 * SL_MAPPING_NAME_SIZE_MAX + 2];
    char source_id[SLUICE_EVENT_ID_SIZE];
    char settings[SETTINGS_SIZE_MAX];
    bool has_open_claims;
};

static void keep_noted(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct noted *noted = context;
    (void) column_count;
    noted->is_there = true;
    sl_value_copy(&columns[0], noted->table, sizeof(noted->table));
    sl_value_copy(&columns[1], noted->source_id, sizeof(noted->source_id));
    sl_value_copy(&columns[2], noted->settings, sizeof(noted->settings));
    noted->has_open_claims = sl_value_number(&columns[3]) != 0;
}

static int read_noted(struct sl_store *store, struct noted *noted, struct sluice_error *error)
{
    *noted = (struct noted) {.is_there = false};
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT table_name, source_id, settings,"
                    " EXISTS (SELECT 1 FROM sluice_claim WHERE state <> 'DONE') "
                    "FROM sluice_mapping WHERE name = 'mapping'",
            .what = note_failed,
            .visit = keep_noted,
            .context = noted,
        },
        error);
}

static int write_noted(struct sl_store *store, const struct sl_mapping *mapping,
    const char *settings, struct noted *noted, struct sluice_error *error)
{
    bool is_other = noted->is_there && strcmp(noted->table, mapping->table) != 0;
    if (is_other && noted->has_open_claims) {
        return sl_fail(error, SLUICE_CONFLICT, SLUICE_FATAL,
            "events of the table '%s' are still on their way or held; let the relay finish it with "
            "relay.table=%s, redrive or drop what is held, and then change to '%s'",
            noted->table, noted->table, mapping->table);
    }
    if (noted->is_there && !is_other) {
        return sl_sql_run(store,
            &(struct sl_sql) {
                .text = "UPDATE sluice_mapping SET settings = ?1 WHERE name = 'mapping'",
                .what = note_failed,
                SL_SQL_VALUES(sluice_text(settings)),
            },
            error);
    }
    sl_id_new(noted->source_id);
    if (sl_sql_run(store,
            &(struct sl_sql) {.text = "DELETE FROM sluice_claim", .what = note_failed},
            error) != 0 ||
        sl_sql_run(store,
            &(struct sl_sql) {.text = "DELETE FROM sluice_mapping", .what = note_failed},
            error) != 0) {
        return -1;
    }
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "INSERT INTO sluice_mapping (name, table_name, source_id, settings) "
                    "VALUES ('mapping', ?1, ?2, ?3)",
            .what = note_failed,
            SL_SQL_VALUES(
                sluice_text(mapping->table), sluice_text(noted->source_id), sluice_text(settings)),
        },
        error);
}

static int note(struct sl_store *store, const struct sl_mapping *mapping, struct noted *noted,
    struct sluice_error *error)
{
    struct sl_buffer settings;
    bool is_ours;
    sl_buffer_init(&settings, SETTINGS_SIZE_MAX - 1);
    int status = write_settings(mapping, &settings, error);
    if (status == 0) {
        status = sl_store_enter(store, &is_ours, error);
        if (status == 0) {
            status = read_noted(store, noted, error);
            status = status == 0 ? write_noted(store, mapping, settings.data, noted, error) : -1;
            status = sl_store_leave(store, is_ours, status, error);
        }
    }
    sl_buffer_deinit(&settings);
    return status;
}

static void free_mapped(struct sl_mapped *mapped)
{
    if (mapped != NULL) {
        for (size_t i = 0; i < SL_MAPPED_STATEMENT_COUNT; i++) {
            sl_free(mapped->statements[i]);
        }
        sl_free(mapped->claims.items);
        sl_free(mapped->type);
        sl_free(mapped);
    }
}

static void close_mapped(struct sl_store *store)
{
    struct sl_mapped *mapped = store->mapped;
    mapped->base->close(store); /* its statements point into ours */
    free_mapped(mapped);
}

/* A new identity: every claim that is there is sent again, whatever became of it. */
static int renew_id(struct sl_store *store, struct sluice_error *error)
{
    char id[SLUICE_EVENT_ID_SIZE];
    bool is_ours;
    sl_id_new(id);
    if (sl_store_enter(store, &is_ours, error) != 0) {
        return -1;
    }
    int status = store->mapped->base->renew_id(store, error);
    if (status == 0) {
        status = sl_sql_run(store,
            &(struct sl_sql) {
                .text = "UPDATE sluice_mapping SET source_id = ?1, tick = 0, position = 0,"
                        " updated_at = 0, retained_tick = 0, retained_position = 0",
                .what = note_failed,
                SL_SQL_VALUES(sluice_text(id)),
            },
            error);
    }
    status = sl_store_leave(store, is_ours, status, error);
    memcpy(store->id, status == 0 ? id : store->id, sizeof(store->id));
    return status;
}

/* From here on the store reads the mapped table. */
static void put_on(struct sl_store *store, struct sl_mapped *take_mapped, const char *source_id)
{
    struct sl_mapped *mapped = take_mapped;
    mapped->base = store->ops;
    mapped->ops = *store->ops;
    mapped->ops.close = close_mapped;
    mapped->ops.renew_id = renew_id;
    mapped->ops.outbox_read = sl_mapped_outbox_read;
    mapped->ops.outbox_state = sl_mapped_outbox_state;
    mapped->ops.outbox_retain = sl_mapped_outbox_retain;
    mapped->ops.confirm = sl_mapped_confirm;
    mapped->ops.hold = sl_mapped_hold;
    mapped->ops.held_update = sl_mapped_held_update;
    mapped->ops.held_remove = sl_mapped_held_remove;
    mapped->ops.redrive = sl_mapped_redrive;
    mapped->ops.drop = sl_mapped_drop;
    mapped->dialect = *store->dialect;
    mapped->dialect.outbox_find = mapped->statements[SL_MAPPED_FIND];
    store->mapped = mapped;
    store->ops = &mapped->ops;
    store->dialect = &mapped->dialect;
    memcpy(store->id, source_id, sizeof(store->id));
}

static int map(struct sl_store *store, const struct sl_mapping *mapping, bool is_relay,
    struct noted *noted, struct sluice_error *error)
{
    struct sl_mapped *mapped = sl_allocate(sizeof(*mapped));
    if (mapped != NULL) {
        *mapped = (struct sl_mapped) {
            .type = mapping->type == NULL ? NULL : sl_copy_text(mapping->type),
            .claims.items = sl_allocate(SL_CLAIMS_MAX * sizeof(*mapped->claims.items)),
        };
    }
    if (mapped == NULL || mapped->claims.items == NULL ||
        (mapping->type != NULL && mapped->type == NULL)) {
        free_mapped(mapped);
        return sl_fail_memory(error, "a mapping");
    }
    memcpy(mapped->table, mapping->table, strlen(mapping->table) + 1);
    if (sl_mapped_describe(store, mapping, is_relay, mapped, error) != 0 ||
        (is_relay &&
            (create_tables(store, error) != 0 || note(store, mapping, noted, error) != 0))) {
        free_mapped(mapped);
        return -1;
    }
    put_on(store, mapped, noted->source_id);
    return 0;
}

/* The relay reads sluice's own outbox (again): so do those who look. */
static int forget(struct sl_store *store, struct sluice_error *error)
{
    bool is_there;
    if (has_tables(store, &is_there, error) != 0) {
        return -1;
    }
    return !is_there ? 0
                     : sl_sql_run(store,
                           &(struct sl_sql) {
                               .text = "UPDATE sluice_mapping SET settings = ''",
                               .what = note_failed,
                           },
                           error);
}

int sl_mapping_open(const char *url, const struct sl_mapping *mapping, struct sl_store **ret_store,
    struct sluice_error *error)
{
    struct sl_store *store;
    struct noted noted;
    if ((mapping != NULL && sl_mapping_check(mapping, error) != 0) ||
        sl_store_open(url, SL_STORE_CREATE, &store, error) != 0) {
        return -1;
    }
    int status = mapping == NULL ? forget(store, error) : map(store, mapping, true, &noted, error);
    if (status != 0) {
        sl_store_close(store);
        return -1;
    }
    *ret_store = store;
    return 0;
}

const char *sl_mapping_missing_index(const struct sl_store *store)
{
    const struct sl_mapped *mapped = store->mapped;
    return mapped == NULL || mapped->missing_index[0] == '\0' ? NULL : mapped->missing_index;
}

int sl_mapping_open_noted(const char *url, struct sl_store **ret_store, struct sluice_error *error)
{
    struct sl_store *store;
    struct noted noted;
    struct sl_mapping mapping;
    bool is_there;
    if (sl_store_open(url, SL_STORE_EXISTING, &store, error) != 0) {
        return -1;
    }
    int status = has_tables(store, &is_there, error);
    if (status == 0 && is_there) {
        status = read_noted(store, &noted, error);
        if (status == 0 && noted.is_there && noted.settings[0] != '\0') {
            read_settings(noted.settings, &mapping);
            status = mapping.table == NULL ? sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
                                                 "sluice_mapping names no table: it was changed by "
                                                 "hand; start the relay to write it anew")
                                           : map(store, &mapping, false, &noted, error);
        }
    }
    if (status != 0) {
        sl_store_close(store);
        return -1;
    }
    *ret_store = store;
    return 0;
}
