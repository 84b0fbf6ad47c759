/*
 * base/url.h - the URLs that the config knows, taken apart.
 */
#ifndef SL_BASE_URL_H
#define SL_BASE_URL_H

#include <stdint.h>

#include "base/text.h"

/* Parts of "http://host:port/path?query"; views into the text that was parsed. */
struct sl_http_url {
    struct sl_text host; /* without the brackets of an IPv6 address */
    uint16_t port;       /* 80 if none is written */
    struct sl_text path; /* from the first '/' on, with the query; empty if there is none */
};

/**
 * Parse an http: URL. False for another scheme, a user part, an empty host or a bad port.
 */
bool sl_url_parse_http(struct sl_text text, struct sl_http_url *ret_url);

/**
 * Parse "host:port", "[v6]:port" or ":port" (all addresses of this machine: "0.0.0.0").
 */
bool sl_url_parse_address(struct sl_text text, struct sl_text *ret_host, uint16_t *ret_port);

/**
 * If `text` is "SCHEME:FILE" (FILE not empty), set `*ret_file` to FILE and return true.
 */
bool sl_url_parse_file(struct sl_text text, const char *scheme, struct sl_text *ret_file);

/**
 * Whether the text is a web origin: "https://shop.example" or "http://host:port", without a path, a
 * user, a list or a "*".
 */
bool sl_url_is_origin(struct sl_text text);

#endif
