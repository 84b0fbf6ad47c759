#include "base/bytes.h"

#include <stdint.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 16384 };

int sl_bytes_add(struct sl_bytes *bytes, struct sl_text text, struct sl_text *ret_place)
{
    size_t needed = bytes->size + text.size;
    if (needed > bytes->capacity) {
        size_t capacity = bytes->capacity == 0 ? FIRST_CAPACITY : bytes->capacity;
        while (capacity < needed) {
            capacity *= 2;
        }
        char *grown = sl_reallocate(bytes->data, capacity);
        if (grown == NULL) {
            return -1;
        }
        bytes->data = grown;
        bytes->capacity = capacity;
    }
    if (text.size > 0) {
        memcpy(bytes->data + bytes->size, text.data, text.size);
    }
    *ret_place = (struct sl_text) {(const char *) (uintptr_t) bytes->size, text.size};
    bytes->size = needed;
    return 0;
}

void sl_bytes_settle(const struct sl_bytes *bytes, struct sl_text *place)
{
    /* Texts may all be empty, and then there is no block. */
    place->data = bytes->data == NULL ? "" : bytes->data + (uintptr_t) place->data;
}

void sl_bytes_deinit(struct sl_bytes *bytes)
{
    sl_free(bytes->data);
    *bytes = (struct sl_bytes) {0};
}
