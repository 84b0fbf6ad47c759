/*
 * base/bytes.h - one block that many texts are copied into, for a batch that is reused.
 *
 * While texts are added the block may move, so each is given out as its place in the block; once
 * all are there, sl_bytes_settle turns the place into a view.
 */
#ifndef SL_BASE_BYTES_H
#define SL_BASE_BYTES_H

#include "base/text.h"

struct sl_bytes {
    char *data;
    size_t size;
    size_t capacity;
};

/**
 * Copy a text to the end; `*ret_place` must go through sl_bytes_settle before it is read. -1
 * without memory.
 */
int sl_bytes_add(struct sl_bytes *bytes, struct sl_text text, struct sl_text *ret_place)
    __attribute__((warn_unused_result));

/**
 * Turn a place into a view, which lives until the next change of the block.
 */
void sl_bytes_settle(const struct sl_bytes *bytes, struct sl_text *place);

/**
 * Free the block. Fine on a zeroed one.
 */
void sl_bytes_deinit(struct sl_bytes *bytes);

#endif
