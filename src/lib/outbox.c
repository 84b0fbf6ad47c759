#include <sluice/inbox.h>
#include <sluice/outbox.h>
#include <sluice/version.h>

#include "base/clock.h"
#include "base/error.h"
#include "event/headers.h"
#include "event/id.h"
#include "lib/listeners.h"
#include "lib/tasks.h"
#include "lib/transaction.h"

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

/* Write the row, and keep a copy for the listeners. */
static int publish(sluice_database *database, const struct sl_event *row,
    const struct sluice_event *event, struct sluice_error *error)
{
    struct sl_heard *heard;
    if (sl_heard_prepare(database, event, &heard, error) != 0) {
        return -1;
    }
    if (sl_store_outbox_insert(database->store, row, error) != 0) {
        sl_heard_free(heard);
        return -1;
    }
    sl_heard_keep(database, heard);
    return 0;
}

static int check_and_publish(sluice_database *database, const struct sluice_event *event,
    char *ret_id, struct sluice_error *error)
{
    if (database->transaction->stage == SL_STAGE_AFTER) {
        return sl_listeners_refuse(database, "publish", error);
    }
    if (sl_transaction_check_doom(database, error) != 0 ||
        sl_gate_check(database->gate, error) != 0) {
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
    struct sluice_event complete = *event;
    complete.id = row.id;
    complete.time_ms = row.time_ms;
    if (publish(database, &row, &complete, error) != 0) {
        return -1;
    }
    if (ret_id != NULL) {
        memcpy(ret_id, row.id, SLUICE_EVENT_ID_SIZE);
    }
    return 0;
}

int sluice_publish(sluice_database *database, const struct sluice_event *event,
    char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
{
    if (sl_event_check(event, error) != 0 || sl_database_enter(database, error) != 0) {
        return -1;
    }
    return sl_database_leave(database, check_and_publish(database, event, ret_id, error));
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
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    int status = database->transaction->stage == SL_STAGE_AFTER
        ? sl_listeners_refuse(database, "mark an event as applied", error)
        : sl_store_inbox_begin(
              database->store, consumer, event_id, sl_clock_wall_ms(), &is_new, error);
    if (sl_database_leave(database, status) != 0) {
        return -1;
    }
    *ret_is_new = is_new ? 1 : 0;
    return 0;
}
