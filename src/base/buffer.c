#include "base/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

void sl_buffer_init(struct sl_buffer *buffer, size_t maximum)
{
    *buffer = (struct sl_buffer) {.maximum = maximum};
}

void sl_buffer_deinit(struct sl_buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    sl_free(buffer->data);
    sl_buffer_init(buffer, buffer->maximum);
}

void sl_buffer_clear(struct sl_buffer *buffer)
{
    buffer->size = 0;
    buffer->is_failed = false;
    if (buffer->data != NULL) {
        buffer->data[0] = '\0';
    }
}

int sl_buffer_reserve(struct sl_buffer *buffer, size_t size)
{
    assert(buffer->size <= buffer->maximum);
    if (size > buffer->maximum - buffer->size) {
        buffer->is_failed = true;
        return -1;
    }
    size_t wanted = buffer->size + size;
    if (buffer->data != NULL && wanted <= buffer->capacity) {
        return 0;
    }
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    capacity = capacity > buffer->maximum ? buffer->maximum : capacity;
    char *data = sl_reallocate(buffer->data, capacity + 1);
    if (data == NULL) {
        buffer->is_failed = true;
        return -1;
    }
    data[buffer->size] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int sl_buffer_append(struct sl_buffer *buffer, const void *data, size_t size)
{
    if (sl_buffer_reserve(buffer, size) != 0) {
        return -1;
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
    }
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 0;
}

int sl_buffer_append_text(struct sl_buffer *buffer, const char *text)
{
    return sl_buffer_append(buffer, text, strlen(text));
}

int sl_buffer_append_format(struct sl_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0 || sl_buffer_reserve(buffer, (size_t) size) != 0) {
        buffer->is_failed = true;
        return -1;
    }
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->size, (size_t) size + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t) size;
    return 0;
}

void sl_buffer_consume(struct sl_buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    if (size == 0) {
        return;
    }
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
    buffer->data[buffer->size] = '\0';
}
