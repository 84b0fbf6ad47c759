/*
 * wire/base64url.h - base64url without padding (RFC 4648, section 5), as tokens and keys use it.
 */
#ifndef SL_WIRE_BASE64URL_H
#define SL_WIRE_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/**
 * Decode a text into `ret_bytes`, which has room for `size_max`. False, with nothing promised about
 * the bytes, for another character, padding, an impossible length, bits that are left over and not
 * zero (so that a value has one spelling), and where there is not enough room.
 */
bool sl_base64url_decode(struct sl_text text, void *ret_bytes, size_t size_max, size_t *ret_size);

#endif
