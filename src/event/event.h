/*
 * event/event.h - an event inside our own code: views of the public struct's parts, and its rules.
 *
 * Between the outbox row and the broker an event's headers stay the JSON text that the row holds
 * (an object of strings); only a consumer's handler gets them as names and values.
 */
#ifndef SL_EVENT_EVENT_H
#define SL_EVENT_EVENT_H

#include <sluice/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct sl_headers;

/* All views belong to whoever made the event: a batch, a row, a caller. */
struct sl_event {
    char id[SLUICE_EVENT_ID_SIZE];
    bool has_key;
    struct sl_text topic;
    struct sl_text key; /* empty without a key */
    struct sl_text type;
    struct sl_text payload;
    struct sl_text headers; /* JSON object text, "{}" at least */
    int64_t time_ms;
};

/**
 * Check a publisher's event against the limits of sluice/event.h.
 *
 * Pure. SLUICE_INVALID or SLUICE_TOO_LARGE, naming the field, the limit and what was found.
 */
int sl_event_check(const struct sluice_event *event, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Check an event that comes out of a table, into which anybody may have written: the same limits.
 *
 * Pure. The reaction is SLUICE_REJECT: the event is condemned, not the table; or SLUICE_RETRY
 * (SLUICE_NO_MEMORY), which says nothing about it.
 */
int sl_event_check_row(const struct sl_event *event, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The same, and keep the headers, which must be read for it anyway: `*ret_headers` is to be given
 * to sl_headers_deinit. It may be written, but owns nothing, when this fails.
 */
int sl_event_read_row(const struct sl_event *event, struct sl_headers *ret_headers,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Whether the text is a legal topic name: 1 to 249 of [A-Za-z0-9._-], not "." or "..".
 */
bool sl_event_is_topic(struct sl_text text);

/**
 * Whether the text is a legal consumer name: 1 to 60 of [A-Za-z0-9._-], and not "relay", which
 * names the relay's own stage.
 */
bool sl_event_is_consumer(struct sl_text text);

/**
 * Whether the text is an event id: a UUID in 36 lower-case characters.
 */
bool sl_event_is_id(struct sl_text text);

#endif
