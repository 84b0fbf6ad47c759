/* The tables: made, upgraded, checked. DDL commits by itself, so a lock keeps two from it at once.
 */
#include <stdio.h>

#include "base/error.h"
#include "base/parse.h"
#include "event/id.h"
#include "store/mariadb.h"

extern const unsigned char sl_sql_mariadb[];

/* The version of the tables that this program makes and understands. */
enum { SCHEMA_VERSION = 1, INIT_WAIT_S = 30 };

static const char create_failed[] = "cannot create sluice's tables";

const char *sl_store_mariadb_schema(void)
{
    return (const char *) sl_sql_mariadb;
}

struct text_place {
    char *text;
    size_t size;
    bool is_there;
};

static void keep_text(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct text_place *place = context;
    (void) column_count;
    sl_value_copy(&columns[0], place->text, place->size);
    place->is_there = columns[0].kind != SLUICE_NULL;
}

static void keep_number(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = sl_value_number(&columns[0]);
}

static int read_meta(struct sl_store_mariadb *store, const char *name, struct text_place *place,
    struct sluice_error *error)
{
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT value FROM sluice_meta WHERE name = ?1",
            .what = "cannot read sluice's tables",
            SL_SQL_VALUES(sluice_text(name)),
            .visit = keep_text,
            .context = place,
        },
        error);
}

static int write_meta(struct sl_store_mariadb *store, const char *text, const char *name,
    const char *value, struct sluice_error *error)
{
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = text,
            .what = "cannot write sluice_meta",
            SL_SQL_VALUES(sluice_text(name), sluice_text(value)),
        },
        error);
}

/* The version of the tables that are there; 0 if there are none, or not all of them. */
static int read_version(
    struct sl_store_mariadb *store, int64_t *ret_version, struct sluice_error *error)
{
    char text[24] = "";
    struct text_place place = {text, sizeof(text), false};
    struct sluice_error own = {0};
    *ret_version = 0;
    if (read_meta(store, "schema_version", &place, &own) != 0) {
        if (own.code == SLUICE_NO_SCHEMA) {
            return 0;
        }
        if (error != NULL) {
            *error = own;
        }
        return -1;
    }
    if (place.is_there && !sl_parse_i64(sl_text_of(text), ret_version)) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables in %s have the version '%s': they were changed by hand, restore them",
            sl_mariadb_name(store), text);
    }
    return 0;
}

/* Run one statement of the script, without the separator at its end. */
static int run_piece(
    struct sl_store_mariadb *store, const char *text, size_t size, struct sluice_error *error)
{
    while (size > 0 && strchr(" \r\n", text[size - 1]) != NULL) {
        size--;
    }
    return size == 0 ? 0 : sl_mariadb_command(store, text, size, create_failed, error);
}

static bool is_blank(const char *line)
{
    return strncmp(line, "--", 2) == 0 || line[strspn(line, " \r")] == '\n';
}

/*
 * Run the script as MariaDB's own program does: a statement ends with a line that ends with the
 * separator, which a line DELIMITER changes. Lines of comment between statements are left out.
 */
static int run_script(struct sl_store_mariadb *store, struct sluice_error *error)
{
    char separator[8] = ";";
    const char *start = NULL;
    const char *line = sl_store_mariadb_schema();
    for (const char *end; *line != '\0'; line = end + 1) {
        end = line + strcspn(line, "\n");
        if (start == NULL && is_blank(line)) {
            continue;
        }
        if (start == NULL && sscanf(line, "DELIMITER %7s", separator) == 1) {
            continue;
        }
        start = start == NULL ? line : start;
        size_t size = strlen(separator);
        if ((size_t) (end - line) >= size && strncmp(end - size, separator, size) == 0) {
            if (run_piece(store, start, (size_t) (end - size - start), error) != 0) {
                return -1;
            }
            start = NULL;
        }
    }
    return 0;
}

static int create_tables(struct sl_store_mariadb *store, struct sluice_error *error)
{
    char id[SLUICE_EVENT_ID_SIZE];
    char version[24];
    int64_t found = 0;
    /* Another process may have made them while this one waited for the lock. */
    if (read_version(store, &found, error) != 0) {
        return -1;
    }
    if (found >= SCHEMA_VERSION) {
        return 0;
    }
    sl_id_new(id);
    snprintf(version, sizeof(version), "%d", SCHEMA_VERSION);
    /* The version comes last: without it the tables are not there, and are made again. */
    if (run_script(store, error) != 0 ||
        write_meta(store, "INSERT IGNORE INTO sluice_meta (name, value) VALUES (?1, ?2)", "id", id,
            error) != 0) {
        return -1;
    }
    return write_meta(store, "REPLACE INTO sluice_meta (name, value) VALUES (?1, ?2)",
        "schema_version", version, error);
}

static int create_alone(struct sl_store_mariadb *store, struct sluice_error *error)
{
    int64_t is_locked = 0;
    if (sl_sql_run(&store->base,
            &(struct sl_sql) {
                .text = "SELECT get_lock(left(concat('sluice.', database()), 64), ?1)",
                .what = create_failed,
                SL_SQL_VALUES(sluice_integer(INIT_WAIT_S)),
                .visit = keep_number,
                .context = &is_locked,
            },
            error) != 0) {
        return -1;
    }
    if (is_locked != 1) {
        return sl_fail(error, SLUICE_BUSY, SLUICE_RETRY,
            "%s in %s: another process has been doing so for %d seconds; try again", create_failed,
            sl_mariadb_name(store), INIT_WAIT_S);
    }
    int status = create_tables(store, error);
    struct sluice_error ignored;
    int released = sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT release_lock(left(concat('sluice.', database()), 64))",
            .what = create_failed,
        },
        &ignored);
    (void) released; /* it ends with the connection */
    return status;
}

int sl_mariadb_check_tables(
    struct sl_store_mariadb *store, enum sl_store_mode mode, struct sluice_error *error)
{
    int64_t version = 0;
    if (read_version(store, &version, error) != 0) {
        return -1;
    }
    if (version < SCHEMA_VERSION && mode == SL_STORE_CREATE) {
        if (create_alone(store, error) != 0 || read_version(store, &version, error) != 0) {
            return -1;
        }
    }
    if (version == 0) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables are missing in %s; create them with: sluice init --database URL",
            sl_mariadb_name(store));
    }
    if (version != SCHEMA_VERSION) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice's tables in %s have version %lld, this program knows version %d; %s",
            sl_mariadb_name(store), (long long) version, SCHEMA_VERSION,
            version > SCHEMA_VERSION ? "use the program that made them, or a newer one"
                                     : "upgrade them with: sluice init --database URL");
    }
    struct text_place place = {store->base.id, sizeof(store->base.id), false};
    if (read_meta(store, "id", &place, error) != 0) {
        return -1;
    }
    return place.is_there
        ? 0
        : sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
              "sluice's tables in %s have no id: they were changed by hand, restore them",
              sl_mariadb_name(store));
}

int sl_mariadb_renew_id(struct sl_store *base, struct sluice_error *error)
{
    struct sl_store_mariadb *store = (struct sl_store_mariadb *) base;
    char id[SLUICE_EVENT_ID_SIZE];
    bool is_ours;
    sl_id_new(id);
    if (sl_store_enter(base, &is_ours, error) != 0) {
        return -1;
    }
    int status = write_meta(
        store, "REPLACE INTO sluice_meta (name, value) VALUES (?1, ?2)", "id", id, error);
    if (status == 0) {
        status = sl_sql_run(base,
            &(struct sl_sql) {
                .text = "UPDATE sluice_relay SET tick = 0, position = 0, updated_at = 0",
                .what = "cannot reset the position",
            },
            error);
    }
    status = sl_store_leave(base, is_ours, status, error);
    if (status == 0) {
        memcpy(base->id, id, sizeof(id));
    }
    return status;
}
