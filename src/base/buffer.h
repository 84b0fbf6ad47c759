/*
 * base/buffer.h - bytes that grow, up to a maximum that the owner states.
 *
 * Invariants: size <= capacity <= maximum; data[size] is a NUL whenever data is not NULL. An append
 * that would pass the maximum changes nothing and fails. A failed append sets is_failed, so that a
 * run of appends can be checked once, at its end.
 */
#ifndef SL_BASE_BUFFER_H
#define SL_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct sl_buffer {
    char *data;
    size_t size;
    size_t capacity;
    size_t maximum;
    bool is_failed;
};

/**
 * Start an empty buffer that may grow to `maximum` bytes. Allocates nothing yet.
 */
void sl_buffer_init(struct sl_buffer *buffer, size_t maximum);

/**
 * Free what the buffer holds; the buffer is empty and usable again. NULL is fine.
 */
void sl_buffer_deinit(struct sl_buffer *buffer);

/**
 * Forget the contents, keep the memory, clear is_failed.
 */
void sl_buffer_clear(struct sl_buffer *buffer);

/**
 * Append bytes: 0, or -1 if the maximum would be passed or memory has run out.
 */
int sl_buffer_append(struct sl_buffer *buffer, const void *data, size_t size);

/**
 * Append a NUL-terminated text (without its NUL).
 */
int sl_buffer_append_text(struct sl_buffer *buffer, const char *text);

/**
 * Append formatted text.
 */
int sl_buffer_append_format(struct sl_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/**
 * Make room for `size` more bytes at the end; the place to write them is data + size. 0 or -1.
 */
int sl_buffer_reserve(struct sl_buffer *buffer, size_t size);

/**
 * Take `size` bytes away from the front; `size` is at most the buffer's.
 */
void sl_buffer_consume(struct sl_buffer *buffer, size_t size);

#endif
