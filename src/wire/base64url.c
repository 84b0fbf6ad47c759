#include "wire/base64url.h"

#include <stdint.h>

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool sl_base64url_decode(struct sl_text text, void *ret_bytes, size_t size_max, size_t *ret_size)
{
    unsigned char *bytes = ret_bytes;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t size = 0;
    if (text.size % 4 == 1) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        int value = value_of(text.data[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count >= 8) {
            if (size == size_max) {
                return false;
            }
            bit_count -= 8;
            bytes[size++] = (unsigned char)(bits >> bit_count);
            bits &= (1U << bit_count) - 1;
        }
    }
    *ret_size = size;
    return bits == 0;
}
