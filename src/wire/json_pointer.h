/*
 * wire/json_pointer.h - scalar values out of a JSON text by JSON Pointer (RFC 6901).
 *
 * The gateway asks a payload for a few values ("/type", "/version") and passes the payload itself
 * on as it came.
 */
#ifndef SL_WIRE_JSON_POINTER_H
#define SL_WIRE_JSON_POINTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

enum {
    SL_JSON_SIZE_MAX = 4 * 1024 * 1024, /* a longer text is not parsed */
    SL_JSON_POINTER_DEPTH_MAX = 32      /* reference tokens of a pointer */
};

/* A parsed JSON text. */
struct sl_json;

/**
 * Whether the text is a pointer: empty, or '/' and reference tokens with "~0" and "~1" as the only
 * escapes, at most SL_JSON_POINTER_DEPTH_MAX of them.
 */
bool sl_json_is_pointer(struct sl_text pointer);

/**
 * Parse a JSON text whose outermost value is an object or array. Duplicate names are refused.
 *
 * On success `*ret_json` is the caller's, to be given to sl_json_free. SLUICE_INVALID says where
 * the text stops being JSON, SLUICE_NO_MEMORY nothing about it; nesting is bounded by the parser
 * (2048 levels).
 */
int sl_json_parse(struct sl_text text, struct sl_json **ret_json, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Free a parsed text. NULL is fine.
 */
void sl_json_free(struct sl_json *json);

/**
 * Append the value at `pointer` as text to `ret_value`: a string as it is, a number in JSON's
 * notation, true or false as words.
 *
 * -1, and nothing appended, if there is nothing at the pointer, if it is null, an object or an
 * array (SLUICE_NOT_FOUND says which), and at the buffer's maximum (SLUICE_TOO_LARGE).
 */
int sl_json_find_scalar(const struct sl_json *json, struct sl_text pointer,
    struct sl_buffer *ret_value, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Append the text as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. -1 at
 * the buffer's maximum.
 */
int sl_json_append_string(struct sl_buffer *buffer, struct sl_text text)
    __attribute__((warn_unused_result));

#endif
