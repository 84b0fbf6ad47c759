#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "lib/listeners.h"
#include "lib/transaction.h"

/* Copy a text behind what is in a piece of memory already; NULL stays NULL. */
static const char *put_text(char **end, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*end, text, size);
    *end += size;
    return copy;
}

static size_t text_size(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static size_t size_of(const struct sluice_event *event)
{
    size_t size = sizeof(struct sl_heard) + event->header_count * sizeof(struct sluice_header) +
                  text_size(event->topic) + text_size(event->key) + text_size(event->type) +
                  text_size(event->id) + event->payload_size + 1;
    for (size_t i = 0; i < event->header_count; i++) {
        size += text_size(event->headers[i].name) + text_size(event->headers[i].value);
    }
    return size;
}

struct sl_heard *sl_heard_copy(const struct sluice_event *event, int generation)
{
    size_t size = size_of(event);
    struct sl_heard *heard = sl_allocate(size);
    if (heard == NULL) {
        return NULL;
    }
    struct sluice_header *headers = (struct sluice_header *)(heard + 1);
    char *end = (char *)(headers + event->header_count);
    for (size_t i = 0; i < event->header_count; i++) {
        headers[i].name = put_text(&end, event->headers[i].name);
        headers[i].value = put_text(&end, event->headers[i].value);
    }
    heard->event = (struct sluice_event){
        .topic = put_text(&end, event->topic),
        .key = put_text(&end, event->key),
        .type = put_text(&end, event->type),
        .payload_size = event->payload_size,
        .headers = event->header_count == 0 ? NULL : headers,
        .header_count = event->header_count,
        .id = put_text(&end, event->id),
        .time_ms = event->time_ms,
    };
    /* The NUL behind the payload is there already: memory comes zeroed. */
    heard->event.payload = end;
    if (event->payload_size > 0) {
        memcpy(end, event->payload, event->payload_size);
    }
    heard->generation = generation;
    heard->size = size;
    return heard;
}

void sl_heard_free(struct sl_heard *heard)
{
    sl_free(heard);
}

void sl_heard_cut(struct sl_transaction *transaction, size_t count)
{
    while (transaction->heard_count > count) {
        struct sl_heard *last = transaction->heard[--transaction->heard_count];
        transaction->heard_size -= last->size;
        sl_heard_free(last);
    }
    if (transaction->told_count > count) {
        transaction->told_count = count;
    }
}

/* Room for one more, so that keeping it cannot fail once its row is written. */
static int reserve(struct sl_transaction *transaction, size_t size, struct sluice_error *error)
{
    if (transaction->heard_count == SLUICE_HEARD_EVENTS_MAX ||
        transaction->heard_size + size > SLUICE_HEARD_SIZE_MAX) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "a transaction whose events are heard by listeners has at most %d events and %d MB of "
            "them; commit in pieces",
            SLUICE_HEARD_EVENTS_MAX, SLUICE_HEARD_SIZE_MAX >> 20);
    }
    if (transaction->heard_count < transaction->heard_capacity) {
        return 0;
    }
    size_t capacity = transaction->heard_capacity == 0 ? 8 : 2 * transaction->heard_capacity;
    struct sl_heard **heard =
        sl_reallocate(transaction->heard, capacity * sizeof(struct sl_heard *));
    if (heard == NULL) {
        return sl_fail_memory(error, "the events of a transaction");
    }
    transaction->heard = heard;
    transaction->heard_capacity = capacity;
    return 0;
}

/* Events of events of events: somewhere a listener publishes what itself hears. */
static int check_depth(sluice_database *database, struct sluice_error *error)
{
    const struct sl_transaction *transaction = database->transaction;
    if (transaction->generation <= SLUICE_LISTENER_DEPTH_MAX) {
        return 0;
    }
    return sl_fail(error, SLUICE_LISTENER, SLUICE_REJECT,
        "the listener '%s' publishes events about events %d deep: it, or one that it listens to, "
        "publishes what it hears itself",
        transaction->speaker == NULL ? "(detached)" : transaction->speaker->name,
        SLUICE_LISTENER_DEPTH_MAX);
}

int sl_heard_prepare(sluice_database *database, const struct sluice_event *event,
    struct sl_heard **ret_heard, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    const struct sl_listener *listener = sl_listeners_first(database->registry, event);
    if (listener == NULL) {
        *ret_heard = NULL;
        return 0;
    }
    if (transaction->stage == SL_STAGE_IDLE && sl_store_in_transaction(database->store)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the listener '%s' could not be told how this transaction ends, since a statement of "
            "the service's own has begun it: begin it with sluice_begin or sluice_transaction",
            listener->name);
    }
    struct sluice_error depth;
    if (check_depth(database, &depth) != 0) {
        sl_transaction_doom(database, &depth);
        if (error != NULL) {
            *error = depth;
        }
        return -1;
    }
    if (reserve(transaction, size_of(event), error) != 0) {
        return -1;
    }
    struct sl_heard *heard = sl_heard_copy(event, transaction->generation);
    if (heard == NULL) {
        return sl_fail_memory(error, "an event for its listeners");
    }
    *ret_heard = heard;
    return 0;
}

void sl_heard_keep(sluice_database *database, struct sl_heard *take_heard)
{
    struct sl_transaction *transaction = database->transaction;
    if (take_heard != NULL) {
        transaction->heard[transaction->heard_count++] = take_heard;
        transaction->heard_size += take_heard->size;
    }
}
