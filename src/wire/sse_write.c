#include "wire/sse.h"

static bool is_line(struct sl_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* Each line of the text behind `name`; an empty text is one empty line. */
static void append_lines(struct sl_buffer *buffer, const char *name, struct sl_text text)
{
    size_t start = 0;
    for (;;) {
        size_t end = start;
        while (end < text.size && text.data[end] != '\r' && text.data[end] != '\n') {
            end++;
        }
        sl_buffer_append_text(buffer, name);
        sl_buffer_append(buffer, text.data == NULL ? "" : text.data + start, end - start);
        sl_buffer_append(buffer, "\n", 1);
        if (end >= text.size) {
            return;
        }
        bool is_pair = text.data[end] == '\r' && end + 1 < text.size && text.data[end + 1] == '\n';
        start = end + (is_pair ? 2 : 1);
    }
}

/* Take back what was appended since `size` if any of it failed. */
static int settle(struct sl_buffer *buffer, size_t size, bool was_failed)
{
    if (!buffer->is_failed) {
        buffer->is_failed = was_failed;
        return 0;
    }
    buffer->size = size;
    if (buffer->data != NULL) {
        buffer->data[size] = '\0';
    }
    return -1;
}

int sl_sse_write(struct sl_buffer *buffer, const struct sl_sse_event *event)
{
    if (!is_line(event->id) || !is_line(event->type)) {
        return -1;
    }
    size_t size = buffer->size;
    bool was_failed = buffer->is_failed;
    buffer->is_failed = false;
    if (event->retry_ms >= 0) {
        sl_buffer_append_format(buffer, "retry: %lld\n", (long long) event->retry_ms);
    }
    if (event->id.data != NULL) {
        append_lines(buffer, "id: ", event->id);
    }
    if (event->type.size > 0) {
        append_lines(buffer, "event: ", event->type);
    }
    if (event->data.data != NULL) {
        append_lines(buffer, "data: ", event->data);
    }
    sl_buffer_append(buffer, "\n", 1);
    return settle(buffer, size, was_failed);
}

int sl_sse_write_comment(struct sl_buffer *buffer, struct sl_text comment)
{
    size_t size = buffer->size;
    bool was_failed = buffer->is_failed;
    buffer->is_failed = false;
    append_lines(buffer, comment.size == 0 ? ":" : ": ", comment);
    sl_buffer_append(buffer, "\n", 1);
    return settle(buffer, size, was_failed);
}
