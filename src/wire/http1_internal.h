/*
 * wire/http1_internal.h - what the files of the HTTP/1.1 codec share.
 */
#ifndef SL_WIRE_HTTP1_INTERNAL_H
#define SL_WIRE_HTTP1_INTERNAL_H

#include "wire/http1.h"

/**
 * Fill in the refusal and return -1.
 */
int sl_http1_refuse(struct sl_http1_refusal *ret_refusal, int status, const char *text);

/**
 * Whether a byte may stand in a token.
 */
bool sl_http1_is_token_char(unsigned char byte);

/**
 * Whether a field's value has no control character but tabs, and no blank at its ends.
 */
bool sl_http1_is_value(struct sl_text value);

/**
 * Whether the text can be sent as a request's target: a path in visible ASCII, or "*".
 */
bool sl_http1_is_target(struct sl_text target);

/* What the fields say about the body and the connection, before it is known whose head it is. */
struct sl_http1_fields {
    size_t length_count;
    size_t coding_count;
    size_t host_count;
    uint64_t content_length;
    struct sl_text coding;
    struct sl_text host;
    struct sl_text expect;
    bool has_expect;
    bool has_upgrade;
    bool says_close;
};

/**
 * Parse the field lines from `rest` up to the empty line. The refusal's status is for a server.
 */
int sl_http1_parse_fields(struct sl_text rest, struct sl_http1_header *headers,
    size_t *ret_count, struct sl_http1_fields *ret_fields, struct sl_http1_refusal *ret_refusal)
    __attribute__((warn_unused_result));

/**
 * Cut the first line (without CRLF) off the front of a head. False if there is none.
 */
bool sl_http1_cut_line(struct sl_text *rest, struct sl_text *ret_line);

#endif
