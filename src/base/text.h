/*
 * base/text.h - a view of bytes that belong to somebody else.
 */
#ifndef SL_BASE_TEXT_H
#define SL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct sl_text {
    const char *data; /* not NUL-terminated; may be NULL if size is 0 */
    size_t size;
};

/* A view of a string literal. */
#define SL_TEXT(literal) ((struct sl_text) {(literal), sizeof(literal) - 1})

/**
 * A view of a NUL-terminated text; of NULL, an empty one.
 */
static inline struct sl_text sl_text_of(const char *text)
{
    return (struct sl_text) {text, text == NULL ? 0 : strlen(text)};
}

/**
 * Whether both hold the same bytes.
 */
bool sl_text_equal(struct sl_text a, struct sl_text b);

/**
 * Whether both are the same but for the case of ASCII letters.
 */
bool sl_text_equal_nocase(struct sl_text a, struct sl_text b);

/**
 * Cut `rest` at the first `separator`: `*ret_part` becomes what stands before it and `rest` what
 * stands after it. False when `rest` is used up (its data is NULL then).
 */
bool sl_text_split(struct sl_text *rest, char separator, struct sl_text *ret_part);

/**
 * The text without spaces and tabs at both ends.
 */
struct sl_text sl_text_trim(struct sl_text text);

/**
 * Whether the bytes are valid UTF-8 (no surrogates, nothing overlong) without control characters
 * (below 0x20, and 0x7f).
 */
bool sl_text_is_clean_utf8(struct sl_text text);

/**
 * How many insertions, deletions, changes and swaps of neighbours turn one into the other; texts
 * over 64 bytes count as far apart (64). For "did you mean".
 */
size_t sl_text_distance(struct sl_text a, struct sl_text b);

#endif
