/*
 * wire/http1.h - HTTP/1.1 heads and chunks: bytes in, values out (RFC 9112).
 *
 * There is no leniency, because request smuggling lives on it: a bare LF or CR, a folded line, a
 * space before a colon, two lengths, a length beside a transfer coding, a control character, an
 * empty line before the request: all refused. No function here reads a descriptor or a clock.
 *
 *     bytes --> sl_http1_scan (finds the head's end, keeps its place between reads)
 *           --> sl_http1_parse_request | _response (views into those bytes)
 *           --> by framing: nothing, a counted body, sl_http1_decode_chunks, until close
 */
#ifndef SL_WIRE_HTTP1_H
#define SL_WIRE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

enum {
    SL_HTTP1_HEAD_SIZE_MAX = 16 * 1024,
    SL_HTTP1_LINE_SIZE_MAX = 8 * 1024, /* of a request's or response's first line */
    SL_HTTP1_HEADERS_MAX = 100,
    SL_HTTP1_CHUNK_LINE_MAX = 256,  /* a chunk's size with its extensions */
    SL_HTTP1_TRAILERS_SIZE_MAX = 4096
};

struct sl_http1_header {
    struct sl_text name;
    struct sl_text value; /* without blanks at its ends */
};

/* How far a head has been looked at; all zero at its start. */
struct sl_http1_scan {
    size_t place;
    size_t line_start;
    size_t line_count;
};

enum sl_http1_result {
    SL_HTTP1_COMPLETE,
    SL_HTTP1_INCOMPLETE, /* more bytes are needed */
    SL_HTTP1_INVALID
};

/* Why something was refused: the status that a server answers, and words for a person. */
struct sl_http1_refusal {
    int status;
    const char *text; /* constant */
};

enum sl_http1_framing {
    SL_HTTP1_NO_BODY,
    SL_HTTP1_LENGTH,
    SL_HTTP1_CHUNKED,
    SL_HTTP1_UNTIL_CLOSE /* responses only */
};

struct sl_http1_request {
    struct sl_text method;
    struct sl_text target; /* in origin form ("/a?b"), or "*" */
    struct sl_text path;   /* the target up to the '?', percent-encoded as it came */
    struct sl_text query;  /* behind the '?'; data is NULL without one */
    struct sl_text host;   /* empty only in HTTP/1.0 */
    int minor_version;     /* 0 or 1 */
    enum sl_http1_framing framing;
    uint64_t content_length; /* SL_HTTP1_LENGTH only */
    bool is_keep_alive;
    bool expects_continue;
    bool wants_upgrade;
    size_t header_count;
    struct sl_http1_header headers[SL_HTTP1_HEADERS_MAX];
};

struct sl_http1_response {
    int status;
    struct sl_text reason;
    int minor_version;
    enum sl_http1_framing framing;
    uint64_t content_length; /* SL_HTTP1_LENGTH only */
    bool is_keep_alive;
    size_t header_count;
    struct sl_http1_header headers[SL_HTTP1_HEADERS_MAX];
};

/* Where a chunked body stands; all zero at its start. */
struct sl_http1_chunks {
    uint8_t state;
    uint8_t digit_count;
    uint16_t line_size;
    uint16_t trailers_size;
    uint64_t left; /* of the current chunk's data */
};

/**
 * Look for the end of a head in all bytes that have come, going on where the last call stopped.
 *
 * SL_HTTP1_COMPLETE sets `*ret_size` to the head's size with its empty line; INVALID fills in
 * `ret_refusal` (400, 414 or 431). The bytes may move between calls, but not change.
 */
enum sl_http1_result sl_http1_scan(struct sl_http1_scan *scan, const char *data, size_t size,
    size_t *ret_size, struct sl_http1_refusal *ret_refusal);

/**
 * Parse a whole request head, as sl_http1_scan found it.
 *
 * The views in `*ret_request` point into `data`. On -1 `ret_refusal` says why (400, 417, 431, 501,
 * 505), and `*ret_request` must not be used.
 */
int sl_http1_parse_request(const char *data, size_t size, struct sl_http1_request *ret_request,
    struct sl_http1_refusal *ret_refusal) __attribute__((warn_unused_result));

/**
 * Parse a whole response head. `is_head_request` tells that no body follows whatever the fields
 * say. As sl_http1_parse_request; the refusal's status is 502.
 */
int sl_http1_parse_response(const char *data, size_t size, bool is_head_request,
    struct sl_http1_response *ret_response, struct sl_http1_refusal *ret_refusal)
    __attribute__((warn_unused_result));

/**
 * The first value of a field, by its name in any case; data is NULL if there is none.
 */
struct sl_text sl_http1_find(const struct sl_http1_header *headers, size_t count,
    struct sl_text name);

/**
 * Whether a comma-separated value ("close, X-Hop") has a member, in any case.
 */
bool sl_http1_has_token(struct sl_text list, struct sl_text token);

/**
 * Decode a piece of a chunked body; call again with what follows.
 *
 * Each call takes bytes up to the end of one run of data, which `*ret_data` is a view of (it may be
 * empty), and sets `*ret_taken` to how many bytes it took. COMPLETE: the last chunk and the
 * trailers, which are dropped, are through; bytes behind them are not taken. INCOMPLETE: goes on
 * with the bytes that were not taken, or, if all were, with the next ones.
 */
enum sl_http1_result sl_http1_decode_chunks(struct sl_http1_chunks *chunks, const char *data,
    size_t size, struct sl_text *ret_data, size_t *ret_taken,
    struct sl_http1_refusal *ret_refusal);

/**
 * Append "METHOD target HTTP/1.1" and a line end. -1, and nothing written, for what is not a
 * token or not a target, and at the buffer's maximum.
 */
int sl_http1_write_request_line(struct sl_buffer *buffer, struct sl_text method,
    struct sl_text target) __attribute__((warn_unused_result));

/**
 * Append "HTTP/1.1 200 OK" and a line end, with the usual reason phrase. -1 for a status outside of
 * 100..599 and at the buffer's maximum.
 */
int sl_http1_write_status_line(struct sl_buffer *buffer, int status)
    __attribute__((warn_unused_result));

/**
 * Append "name: value" and a line end. -1, and nothing written, for a name that is no token, a
 * value with a control character other than a tab, or with a blank at an end.
 */
int sl_http1_write_header(struct sl_buffer *buffer, struct sl_text name, struct sl_text value)
    __attribute__((warn_unused_result));

/**
 * Append the empty line that ends a head.
 */
int sl_http1_write_head_end(struct sl_buffer *buffer) __attribute__((warn_unused_result));

/**
 * Write the size line of a chunk into `ret_line` (at least 20 bytes, not NUL-terminated) and return
 * its length. The data and CRLF follow it; a size of 0 ends the body ("0\r\n", then "\r\n").
 */
size_t sl_http1_chunk_line(uint64_t size, char ret_line[static 20]);

/**
 * The reason phrase of a status, "Unknown" if it has none here.
 */
const char *sl_http1_reason(int status);

/**
 * Whether the bytes are a token (RFC 9110): what a method and a field's name are made of.
 */
bool sl_http1_is_token(struct sl_text text);

#endif
