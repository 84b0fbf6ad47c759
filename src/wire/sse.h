/*
 * wire/sse.h - events of text/event-stream: writing, and reading for those who check what was
 * written (tests, fuzzers). The two share no code, so that one cannot hide the other's mistake.
 *
 * Lines are written with LF only; data is split at CR, LF and CRLF, since a browser ends a line at
 * each of them. An id or event name with a line end or NUL is refused, never stripped: it would
 * let whoever chose it write events of their own.
 */
#ifndef SL_WIRE_SSE_H
#define SL_WIRE_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

struct sl_sse_event {
    struct sl_text id;   /* data NULL: no id field; an empty one clears the reader's */
    struct sl_text type; /* empty: no event field, which readers call "message" */
    struct sl_text data; /* data NULL: no data field, so that nothing fires but the id counts */
    int64_t retry_ms;    /* -1: no retry field */
};

/**
 * Append an event with its empty line. -1, and nothing appended, for an id or type with CR, LF or
 * NUL, and at the buffer's maximum.
 */
int sl_sse_write(struct sl_buffer *buffer, const struct sl_sse_event *event)
    __attribute__((warn_unused_result));

/**
 * Append a comment, line by line, and an empty line. -1, and nothing appended, at the buffer's
 * maximum.
 */
int sl_sse_write_comment(struct sl_buffer *buffer, struct sl_text comment)
    __attribute__((warn_unused_result));

/* A reader as the standard describes it. The maxima of its buffers are those of the init call. */
struct sl_sse_parser {
    struct sl_buffer line;
    struct sl_buffer data;
    struct sl_buffer type;
    struct sl_buffer id;
    int64_t retry_ms; /* the last one that came, -1 before */
    bool has_started; /* the place of a byte order mark is past */
    bool was_cr;
    bool is_failed;
    size_t comment_count;
};

/* An event as a page would see it. Its views are valid during the call. */
struct sl_sse_dispatch {
    struct sl_text type; /* "message" if the stream named none */
    struct sl_text data;
    struct sl_text id; /* the last id that came, possibly with an earlier event */
};

typedef void (*sl_sse_on_event)(void *context, const struct sl_sse_dispatch *event);

/**
 * Start a parser whose lines and events have at most `size_max` bytes.
 */
void sl_sse_parser_init(struct sl_sse_parser *parser, size_t size_max);

/**
 * Free what the parser holds. NULL is fine.
 */
void sl_sse_parser_deinit(struct sl_sse_parser *parser);

/**
 * Take the next bytes of the stream and call `on_event` for each event that is complete.
 *
 * -1 if a line or event is longer than size_max or memory has run out; the parser is of no more
 * use then.
 */
int sl_sse_parser_take(struct sl_sse_parser *parser, const char *data, size_t size,
    sl_sse_on_event on_event, void *context) __attribute__((warn_unused_result));

#endif
