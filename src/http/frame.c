#include "http/frame.h"

#include <string.h>

#include "base/memory.h"
#include "wire/http1.h"

struct sl_frame *sl_frame_gather(const struct iovec *pieces, size_t count, size_t skip)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += pieces[i].iov_len;
    }
    if (size <= skip || size - skip > SL_FRAME_SIZE_MAX) {
        return NULL;
    }
    size -= skip;
    struct sl_frame *frame = sl_allocate(sizeof(*frame) + size);
    if (frame == NULL) {
        return NULL;
    }
    *frame = (struct sl_frame) {
        .reference_count = 1, .data_size = (uint32_t) size, .size = (uint32_t) size};
    char *end = frame->bytes;
    for (size_t i = 0; i < count; i++) {
        size_t skipped = skip < pieces[i].iov_len ? skip : pieces[i].iov_len;
        size_t left = pieces[i].iov_len - skipped;
        skip -= skipped;
        if (left > 0) {
            memcpy(end, (const char *) pieces[i].iov_base + skipped, left);
        }
        end += left;
    }
    return frame;
}

struct sl_frame *sl_frame_new(const void *data, size_t size)
{
    char line[20];
    if (size == 0 || size > SL_FRAME_DATA_MAX) {
        return NULL;
    }
    struct iovec pieces[3] = {
        {line, sl_http1_chunk_line(size, line)}, {(void *) data, size}, {"\r\n", 2}};
    struct sl_frame *frame = sl_frame_gather(pieces, 3, 0);
    if (frame != NULL) {
        frame->data_offset = (uint32_t) pieces[0].iov_len;
        frame->data_size = (uint32_t) size;
    }
    return frame;
}

struct sl_frame *sl_frame_ref(struct sl_frame *frame)
{
    frame->reference_count++;
    return frame;
}

void sl_frame_unref(struct sl_frame *frame)
{
    if (frame != NULL && --frame->reference_count == 0) {
        sl_free(frame);
    }
}
