/* Sluice's tables in PostgreSQL: made, upgraded, checked; and whose they are. */
#include <stdio.h>

#include "base/error.h"
#include "event/id.h"
#include "store/postgresql.h"

extern const unsigned char sl_sql_postgresql[];

/* The version of the tables that this program makes and understands. */
#define SCHEMA_VERSION "1"

static const char create_failed[] = "cannot create sluice's tables";

const char *sl_store_postgresql_schema(void)
{
    return (const char *) sl_sql_postgresql;
}

/* What is in sluice.meta. */
struct meta {
    char version[16];
    char id[SLUICE_EVENT_ID_SIZE];
    char identity[64];
};

static void keep_meta(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct meta *meta = context;
    struct sl_text name = sl_value_view(&columns[0]);
    (void) column_count;
    if (sl_text_equal(name, SL_TEXT("schema_version"))) {
        sl_value_copy(&columns[1], meta->version, sizeof(meta->version));
    } else if (sl_text_equal(name, SL_TEXT("id"))) {
        sl_value_copy(&columns[1], meta->id, sizeof(meta->id));
    } else if (sl_text_equal(name, SL_TEXT("identity"))) {
        sl_value_copy(&columns[1], meta->identity, sizeof(meta->identity));
    }
}

static int read_meta(
    struct sl_store_postgresql *store, struct meta *ret_meta, struct sluice_error *error)
{
    *ret_meta = (struct meta) {.version = ""};
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT name, value FROM sluice_meta",
            .what = "cannot read sluice.meta",
            .visit = keep_meta,
            .context = ret_meta,
        },
        error);
}

static int write_meta(struct sl_store_postgresql *store, const char *name, const char *value,
    struct sluice_error *error)
{
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "INSERT INTO sluice_meta AS m (name, value) VALUES (?1, ?2)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            .what = "cannot write sluice.meta",
            SL_SQL_VALUES(sluice_text(name), sluice_text(value)),
        },
        error);
}

static void note_true(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(bool *) context = columns[0].integer != 0;
}

static int has_tables(
    struct sl_store_postgresql *store, bool *ret_has_tables, struct sluice_error *error)
{
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n"
                    " ON n.oid = c.relnamespace WHERE n.nspname = 'sluice'"
                    " AND c.relname = 'meta')",
            .what = "cannot look for sluice's tables",
            .visit = note_true,
            .context = ret_has_tables,
        },
        error);
}

static int write_tables(struct sl_store_postgresql *store, struct sluice_error *error)
{
    char id[SLUICE_EVENT_ID_SIZE];
    sl_id_new(id);
    if (sl_postgresql_exec(store, sl_store_postgresql_schema(), create_failed, error) != 0 ||
        write_meta(store, "schema_version", SCHEMA_VERSION, error) != 0 ||
        write_meta(store, "id", id, error) != 0 ||
        write_meta(store, "identity", store->identity, error) != 0) {
        return -1;
    }
    return sl_postgresql_exec(store, "SELECT sluice.maintain()", create_failed, error);
}

static int create_tables(struct sl_store_postgresql *store, struct sluice_error *error)
{
    bool is_there = false;
    if (sl_postgresql_begin(&store->base, error) != 0) {
        return -1;
    }
    /* Another process may make them just now: the one that is later finds them. */
    int status = sl_postgresql_exec(
        store, "SELECT pg_advisory_xact_lock(hashtext('sluice.init'))", create_failed, error);
    status = status == 0 ? has_tables(store, &is_there, error) : -1;
    status = status == 0 && !is_there ? write_tables(store, error) : status;
    if (status == 0) {
        return sl_postgresql_commit(&store->base, error);
    }
    sl_postgresql_rollback(&store->base);
    return -1;
}

static int check_version(
    const struct sl_store_postgresql *store, const struct meta *meta, struct sluice_error *error)
{
    if (strcmp(meta->version, SCHEMA_VERSION) == 0 && meta->id[0] != '\0') {
        return 0;
    }
    if (meta->version[0] == '\0' || meta->id[0] == '\0') {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables in %s have no version or id: they were changed by hand, restore them",
            store->name);
    }
    return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
        "sluice's tables in %s have version %s, this program knows version %s; use the program "
        "that made them, or a newer one",
        store->name, meta->version, SCHEMA_VERSION);
}

int sl_postgresql_check_tables(
    struct sl_store_postgresql *store, enum sl_store_mode mode, struct sluice_error *error)
{
    bool is_there = false;
    struct meta meta;
    if (has_tables(store, &is_there, error) != 0) {
        return -1;
    }
    if (!is_there && mode == SL_STORE_EXISTING) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables are missing in %s; create them with: sluice init --database URL",
            store->name);
    }
    if ((!is_there && create_tables(store, error) != 0) || read_meta(store, &meta, error) != 0 ||
        check_version(store, &meta, error) != 0) {
        return -1;
    }
    memcpy(store->base.id, meta.id, sizeof(meta.id));
    store->is_foreign = strcmp(meta.identity, store->identity) != 0;
    return 0;
}

/*
 * Every retained row becomes a row of this transaction, so that the first tick of the new identity
 * holds all of them, whatever cluster their transaction ids came from.
 */
int sl_postgresql_renew_id(struct sl_store *base, struct sluice_error *error)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    char id[SLUICE_EVENT_ID_SIZE];
    bool is_ours;
    sl_id_new(id);
    if (sl_store_enter(base, &is_ours, error) != 0) {
        return -1;
    }
    int status = sl_postgresql_exec(store,
        "LOCK TABLE sluice.tick; DELETE FROM sluice.tick;"
        "INSERT INTO sluice.tick VALUES (0, '3:3:', 0, 0, 0, 0);"
        "UPDATE sluice.outbox SET xid = pg_current_xact_id();"
        "UPDATE sluice.relay SET tick = 0, position = 0, updated_at = 0, retained_tick = 0,"
        " retained_position = 0",
        "cannot give the database a new identity", error);
    status = status == 0 ? write_meta(store, "id", id, error) : -1;
    status = status == 0 ? write_meta(store, "identity", store->identity, error) : -1;
    status = sl_store_leave(base, is_ours, status, error);
    if (status == 0) {
        memcpy(store->base.id, id, sizeof(id));
        store->is_foreign = false;
        sl_postgresql_forget_tick(&store->tick);
    }
    return status;
}
