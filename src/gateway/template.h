/*
 * gateway/template.h - texts with values of the request in them: "http://host/orders/{id}".
 *
 * {name} is a parameter of the route's path, {query.x}, {header.x} and {cookie.x} come from the
 * request, {token.sub} and other claims from the token that came with it. Values are clean UTF-8
 * without control characters, and those of the path without '/': nothing that a value holds can end
 * a field, a line or a path's segment.
 */
#ifndef SL_GATEWAY_TEMPLATE_H
#define SL_GATEWAY_TEMPLATE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "wire/http1.h"
#include "wire/jwt.h"

enum { SL_PATTERN_PARAMETERS_MAX = 8, SL_TEMPLATE_PARTS_MAX = 32, SL_VALUE_SIZE_MAX = 1024 };

/* A path pattern; two stars at its end stand for any rest. Its text must outlive it. */
struct sl_pattern {
    struct sl_text text;
    struct sl_text names[SL_PATTERN_PARAMETERS_MAX];
    size_t name_count;
};

/* A path that matched; the values are views into `bytes`. */
struct sl_match {
    struct sl_text values[SL_PATTERN_PARAMETERS_MAX];
    size_t value_count;
    char bytes[SL_PATTERN_PARAMETERS_MAX * SL_VALUE_SIZE_MAX];
};

enum sl_match_result {
    SL_MATCHES,
    SL_MATCHES_NOT,
    SL_MATCH_REFUSED /* it would match, but a parameter holds what it must not */
};

enum sl_template_source {
    SL_FROM_LITERAL,
    SL_FROM_PATH,
    SL_FROM_QUERY,
    SL_FROM_HEADER,
    SL_FROM_COOKIE,
    SL_FROM_TOKEN
};

struct sl_template_part {
    enum sl_template_source source;
    struct sl_text text; /* the literal, or the name */
    size_t index;        /* of a path's parameter */
};

/* A parsed template; its text must outlive it. */
struct sl_template {
    struct sl_template_part parts[SL_TEMPLATE_PARTS_MAX];
    size_t part_count;
};

/* Where a template's values come from; all borrowed. */
struct sl_values {
    const struct sl_match *match;
    const struct sl_http1_request *request;
    const struct sl_claims *claims; /* of a good token; NULL: there is none */
};

/**
 * Read a pattern. SLUICE_INVALID says what is wrong with it.
 */
int sl_pattern_parse(struct sl_text text, struct sl_pattern *ret_pattern,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Match a request's path (percent-encoded, as it came). `ret_match` is filled in on SL_MATCHES.
 * What a byte is encoded as makes no difference: "/%61" is "/a" here, as it is for an upstream.
 */
enum sl_match_result sl_pattern_match(
    const struct sl_pattern *pattern, struct sl_text path, struct sl_match *ret_match);

/**
 * Whether a path has a segment "." or "..", however encoded: what it means depends on who reads it.
 */
bool sl_path_has_dots(struct sl_text path);

/**
 * Read a template whose path parameters are those of `pattern`. SLUICE_INVALID says what is wrong.
 */
int sl_template_parse(struct sl_text text, const struct sl_pattern *pattern,
    struct sl_template *ret_template, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Append the template with the values of a request. `is_url`: values are percent-encoded.
 *
 * -1 if a value is missing, empty or holds what it must not (SLUICE_INVALID names it), or at the
 * buffer's maximum; what was appended until then stays.
 */
int sl_template_expand(const struct sl_template *template, const struct sl_values *values,
    bool is_url, struct sl_buffer *ret_text, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether a template asks for something of a token.
 */
bool sl_template_needs_token(const struct sl_template *template);

/**
 * The decoded value of a name in a query, copied to `ret_value` (SL_VALUE_SIZE_MAX bytes). False if
 * it is absent, too long or not clean.
 */
bool sl_query_find(struct sl_text query, struct sl_text name, char *ret_value, size_t *ret_size);

/**
 * The first cookie of a name, as a view of the request; data is NULL if there is none.
 */
struct sl_text sl_cookie_find(const struct sl_http1_request *request, struct sl_text name);

#endif
