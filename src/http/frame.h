/*
 * http/frame.h - a piece of a response body that many connections may share.
 *
 * One frame is built per event, and each connection that sends it holds a reference: fan-out copies
 * nothing. The bytes are stored with the chunk size line of HTTP/1.1 before them and CRLF behind,
 * so that a chunked response and one that ends with the connection send slices of the same memory
 * by a single write. Frames belong to the loop's thread: the count is no atomic.
 */
#ifndef SL_HTTP_FRAME_H
#define SL_HTTP_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct sl_frame {
    uint32_t reference_count;
    uint32_t data_offset; /* where the plain bytes begin, behind the chunk size line */
    uint32_t data_size;   /* how many plain bytes there are */
    uint32_t size;        /* all bytes, with the chunk's dress */
    char bytes[];
};

enum {
    SL_FRAME_DATA_MAX = 16 * 1024 * 1024, /* of one frame's plain bytes */
    SL_FRAME_SIZE_MAX = 256 * 1024 * 1024 /* of what is gathered */
};

/**
 * Build a frame from a copy of `size` (1 to SL_FRAME_DATA_MAX) bytes; the caller holds the one
 * reference. NULL if memory has run out, or for a size outside of the limits.
 */
struct sl_frame *sl_frame_new(const void *data, size_t size) __attribute__((warn_unused_result));

/**
 * Build a frame without chunk dress from several pieces, leaving out their first `skip` bytes. As
 * above.
 */
struct sl_frame *sl_frame_gather(const struct iovec *pieces, size_t count, size_t skip)
    __attribute__((warn_unused_result));

/**
 * Take one more reference; returns the frame.
 */
struct sl_frame *sl_frame_ref(struct sl_frame *frame);

/**
 * Give a reference back; the last one frees the frame. NULL is fine.
 */
void sl_frame_unref(struct sl_frame *frame);

#endif
