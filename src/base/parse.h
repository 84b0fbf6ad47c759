/*
 * base/parse.h - numbers, sizes and durations out of text, strictly: the whole text or nothing.
 */
#ifndef SL_BASE_PARSE_H
#define SL_BASE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/**
 * A decimal integer with an optional '-'. False on anything else, and on overflow.
 */
bool sl_parse_i64(struct sl_text text, int64_t *ret_number);

/**
 * A decimal integer without a sign. False on anything else, and on overflow.
 */
bool sl_parse_u64(struct sl_text text, uint64_t *ret_number);

/**
 * A hexadecimal integer of at most 16 digits. False on anything else.
 */
bool sl_parse_hex(struct sl_text text, uint64_t *ret_number);

/**
 * A duration with its unit: "250ms", "30s", "5m", "12h", "7d". False on anything else.
 */
bool sl_parse_duration_ms(struct sl_text text, int64_t *ret_duration_ms);

/**
 * A size with an optional unit: "512", "64KiB", "10MiB", "2GiB". False on anything else.
 */
bool sl_parse_size(struct sl_text text, int64_t *ret_size);

#endif
