#include <sluice/inbox.h>
#include <sluice/outbox.h>
#include <sluice/version.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "event/id.h"
#include "lib/database.h"
#include "event/headers.h"

/* JSON text of the most and longest headers, each character escaped. */
enum { HEADERS_SIZE_MAX = SLUICE_HEADER_COUNT_MAX * 6 * (SLUICE_HEADER_VALUE_SIZE_MAX + 256) };

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

struct sl_store *sl_database_store(sluice_database *database)
{
    return database->store;
}

static int wrap(
    struct sl_store *take_store, sluice_database **ret_database, struct sluice_error *error)
{
    sluice_database *database = sl_allocate(sizeof(*database));
    if (database == NULL) {
        sl_store_close(take_store);
        return sl_fail_memory(error, "a database");
    }
    database->store = take_store;
    sl_buffer_init(&database->headers, HEADERS_SIZE_MAX);
    *ret_database = database;
    return 0;
}

int sluice_database_open(
    const char *url, sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (sl_store_open(url, SL_STORE_CREATE, &store, error) != 0) {
        return -1;
    }
    return wrap(store, ret_database, error);
}

int sluice_database_adopt_sqlite(
    struct sqlite3 *handle, sluice_database **ret_database, struct sluice_error *error)
{
    struct sl_store *store;
    if (sl_store_adopt_sqlite(handle, &store, error) != 0) {
        return -1;
    }
    return wrap(store, ret_database, error);
}

void sluice_database_close(sluice_database *database)
{
    if (database == NULL) {
        return;
    }
    sl_store_close(database->store);
    sl_buffer_deinit(&database->headers);
    sl_free(database);
}

struct sqlite3 *sluice_database_sqlite(sluice_database *database)
{
    return sl_store_sqlite(database->store);
}

int sluice_begin(sluice_database *database, struct sluice_error *error)
{
    return sl_store_begin(database->store, error);
}

int sluice_commit(sluice_database *database, struct sluice_error *error)
{
    return sl_store_commit(database->store, error);
}

int sluice_rollback(sluice_database *database, struct sluice_error *error)
{
    if (!sl_store_in_transaction(database->store)) {
        return sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "cannot roll back: no transaction is open on this connection");
    }
    sl_store_rollback(database->store);
    return 0;
}

int sluice_publish(sluice_database *database, const struct sluice_event *event,
    char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
{
    if (sl_event_check(event, error) != 0) {
        return -1;
    }
    struct sl_event row = {
        .topic = sl_text_of(event->topic),
        .has_key = event->key != NULL,
        .key = sl_text_of(event->key),
        .type = sl_text_of(event->type),
        .payload = {event->payload, event->payload_size},
        .headers = SL_TEXT("{}"),
        .time_ms = sl_clock_wall_ms(),
    };
    if (event->header_count > 0) {
        sl_buffer_clear(&database->headers);
        if (sl_headers_write(&database->headers, event->headers, event->header_count) != 0) {
            return sl_fail_memory(error, "the headers of an event");
        }
        row.headers = (struct sl_text) {database->headers.data, database->headers.size};
    }
    sl_id_new(row.id);
    if (sl_store_outbox_insert(database->store, &row, error) != 0) {
        return -1;
    }
    if (ret_id != NULL) {
        memcpy(ret_id, row.id, SLUICE_EVENT_ID_SIZE);
    }
    return 0;
}

int sluice_inbox_begin(sluice_database *database, const char *consumer, const char *event_id,
    int *ret_is_new, struct sluice_error *error)
{
    if (!sl_event_is_consumer(sl_text_of(consumer))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.64s' is no consumer name; use 1 to 60 letters, digits, '.', '_' and '-'",
            consumer == NULL ? "" : consumer);
    }
    if (event_id == NULL || !sl_event_is_id(sl_text_of(event_id))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.40s' is no event id; pass the event's own id, a UUID in lower case",
            event_id == NULL ? "" : event_id);
    }
    bool is_new;
    if (sl_store_inbox_begin(
            database->store, consumer, event_id, sl_clock_wall_ms(), &is_new, error) != 0) {
        return -1;
    }
    *ret_is_new = is_new ? 1 : 0;
    return 0;
}
