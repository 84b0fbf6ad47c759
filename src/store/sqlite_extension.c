/*
 * The loadable SQLite extension: publishing and the inbox for any language, by SQL, in the caller's
 * own transaction.
 *
 *     SELECT sluice_publish(topic, key, payload, type);             the event's id
 *     SELECT sluice_publish(topic, key, payload, type, headers);    headers: a JSON object's text
 *     SELECT sluice_inbox_begin(consumer, event_id);                1: do the work; 0: it was done
 *
 * It calls SQLite only through the pointers that the program which loads it hands over, since that
 * program may have a SQLite of its own.
 */
#include <sqlite3ext.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "event/event.h"
#include "event/id.h"
#include "store/sqlite_sql.h"

SQLITE_EXTENSION_INIT1

static void fail(sqlite3_context *context, const struct sluice_error *error)
{
    char *text = sqlite3_mprintf("%s: %s", sluice_code_name(error->code), error->text);
    sqlite3_result_error(context, text == NULL ? "out of memory" : text, -1);
    sqlite3_free(text);
}

static int need_transaction(sqlite3_context *context, const char *what)
{
    if (sqlite3_get_autocommit(sqlite3_context_db_handle(context)) == 0) {
        return 0;
    }
    struct sluice_error error;
    sl_fail(&error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
        "cannot %s: no transaction is open on this connection; BEGIN one, so that it commits or "
        "rolls back with the data that it belongs to",
        what);
    fail(context, &error);
    return -1;
}

static struct sl_text text_of(sqlite3_value *value)
{
    const void *data = sqlite3_value_type(value) == SQLITE_BLOB
        ? sqlite3_value_blob(value)
        : (const void *) sqlite3_value_text(value);
    return (struct sl_text) {data, data == NULL ? 0 : (size_t) sqlite3_value_bytes(value)};
}

static void bind(sqlite3_stmt *statement, int index, struct sl_text text)
{
    sqlite3_bind_text(statement, index, text.data == NULL ? "" : text.data, (int) text.size,
        SQLITE_STATIC);
}

/* Run an INSERT that is prepared; *ret_changes is what it inserted. */
static int run(sqlite3_context *context, sqlite3_stmt *statement, int *ret_changes)
{
    sqlite3 *database = sqlite3_context_db_handle(context);
    int result = sqlite3_step(statement);
    *ret_changes = sqlite3_changes(database);
    sqlite3_finalize(statement);
    if (result != SQLITE_DONE) {
        sqlite3_result_error(context, sqlite3_errmsg(database), -1);
        sqlite3_result_error_code(context, result);
        return -1;
    }
    return 0;
}

static sqlite3_stmt *prepare(sqlite3_context *context, const char *sql)
{
    sqlite3 *database = sqlite3_context_db_handle(context);
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) == SQLITE_OK) {
        return statement;
    }
    char *text = sqlite3_mprintf("%s; create sluice's tables with: sluice init --database "
                                 "sqlite:FILE",
        sqlite3_errmsg(database));
    sqlite3_result_error(context, text == NULL ? "out of memory" : text, -1);
    sqlite3_free(text);
    return NULL;
}

static void publish(sqlite3_context *context, int argument_count, sqlite3_value **arguments)
{
    struct sluice_error error;
    struct sl_event event = {
        .topic = text_of(arguments[0]),
        .has_key = sqlite3_value_type(arguments[1]) != SQLITE_NULL,
        .key = text_of(arguments[1]),
        .payload = text_of(arguments[2]),
        .type = text_of(arguments[3]),
        .headers = SL_TEXT("{}"),
        .time_ms = sl_clock_wall_ms(),
    };
    if (argument_count == 5 && sqlite3_value_type(arguments[4]) != SQLITE_NULL) {
        event.headers = text_of(arguments[4]);
    }
    sl_id_new(event.id);
    if (need_transaction(context, "publish an event") != 0) {
        return;
    }
    if (sl_event_check_row(&event, &error) != 0) {
        fail(context, &error);
        return;
    }
    sqlite3_stmt *statement = prepare(context, SL_SQL_OUTBOX_INSERT);
    if (statement == NULL) {
        return;
    }
    bind(statement, 1, sl_text_of(event.id));
    bind(statement, 2, event.topic);
    if (event.has_key) {
        bind(statement, 3, event.key);
    }
    bind(statement, 4, event.type);
    sqlite3_bind_blob(statement, 5, event.payload.data == NULL ? "" : event.payload.data,
        (int) event.payload.size, SQLITE_STATIC);
    bind(statement, 6, event.headers);
    sqlite3_bind_int64(statement, 7, event.time_ms);
    int changes;
    if (run(context, statement, &changes) == 0) {
        sqlite3_result_text(context, event.id, -1, SQLITE_TRANSIENT);
    }
}

static void inbox_begin(sqlite3_context *context, int argument_count, sqlite3_value **arguments)
{
    (void) argument_count;
    struct sluice_error error;
    struct sl_text consumer = text_of(arguments[0]);
    struct sl_text event_id = text_of(arguments[1]);
    if (need_transaction(context, "mark an event as applied") != 0) {
        return;
    }
    if (!sl_event_is_consumer(consumer) || !sl_event_is_id(event_id)) {
        sl_fail(&error, SLUICE_INVALID, SLUICE_REJECT,
            "sluice_inbox_begin takes a consumer name (1 to 60 letters, digits, '.', '_', '-') and "
            "an event's id (a UUID in lower case)");
        fail(context, &error);
        return;
    }
    sqlite3_stmt *statement = prepare(context, SL_SQL_INBOX_INSERT);
    if (statement == NULL) {
        return;
    }
    bind(statement, 1, consumer);
    bind(statement, 2, event_id);
    sqlite3_bind_int64(statement, 3, sl_clock_wall_ms());
    int changes;
    if (run(context, statement, &changes) == 0) {
        sqlite3_result_int(context, changes);
    }
}

int sqlite3_sluicesqlite_init(
    sqlite3 *database, char **ret_error, const sqlite3_api_routines *routines);

__attribute__((visibility("default"))) int sqlite3_sluicesqlite_init(
    sqlite3 *database, char **ret_error, const sqlite3_api_routines *routines)
{
    SQLITE_EXTENSION_INIT2(routines);
    (void) ret_error;
    static const struct {
        const char *name;
        int argument_count;
        void (*function)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = {
        {"sluice_publish", 4, publish},
        {"sluice_publish", 5, publish},
        {"sluice_inbox_begin", 2, inbox_begin},
    };
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        int result = sqlite3_create_function_v2(database, functions[i].name,
            functions[i].argument_count, SQLITE_UTF8, NULL, functions[i].function, NULL, NULL,
            NULL);
        if (result != SQLITE_OK) {
            return result;
        }
    }
    return SQLITE_OK;
}
