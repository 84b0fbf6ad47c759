/*
 * event/headers.h - an event's headers as the JSON text that a row holds: {"name": "value"}.
 *
 * Pure. The text is an object whose values are strings; anything else is refused.
 */
#ifndef SL_EVENT_HEADERS_H
#define SL_EVENT_HEADERS_H

#include <sluice/event.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

/* Headers taken out of their JSON text. */
struct sl_headers {
    struct sluice_header items[SLUICE_HEADER_COUNT_MAX]; /* point into the document */
    size_t count;
    void *document;
};

/**
 * Append the headers, whose names differ (sl_event_check), to `buffer` as JSON text. -1 if the
 * buffer cannot take it: at its maximum, or without memory.
 */
int sl_headers_write(struct sl_buffer *buffer, const struct sluice_header *headers,
    size_t header_count) __attribute__((warn_unused_result));

/**
 * Parse JSON text into `*ret_headers`, to be given to sl_headers_deinit.
 *
 * SLUICE_INVALID (reject) if the text is no object of strings, or has a name twice;
 * SLUICE_TOO_LARGE for more than SLUICE_HEADER_COUNT_MAX; SLUICE_NO_MEMORY (retry), which says
 * nothing about the text. The limits on each name and value are the event layer's.
 */
int sl_headers_parse(struct sl_text text, struct sl_headers *ret_headers,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Free what sl_headers_parse made.
 */
void sl_headers_deinit(struct sl_headers *headers);

#endif
