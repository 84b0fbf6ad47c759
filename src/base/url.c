#include "base/url.h"

#include "base/parse.h"

static bool parse_port(struct sl_text text, uint16_t *ret_port)
{
    uint64_t port;
    if (!sl_parse_u64(text, &port) || port > 65535) {
        return false;
    }
    *ret_port = (uint16_t) port;
    return true;
}

/* Cut "host", "host:port" or "[v6]:port"; an absent port leaves *ret_port alone. */
static bool parse_authority(struct sl_text text, struct sl_text *ret_host, uint16_t *ret_port)
{
    struct sl_text host = text;
    struct sl_text port = {NULL, 0};
    if (text.size > 0 && text.data[0] == '[') {
        const char *end = memchr(text.data, ']', text.size);
        if (end == NULL) {
            return false;
        }
        host = (struct sl_text) {text.data + 1, (size_t) (end - text.data) - 1};
        port = (struct sl_text) {end + 1, text.size - host.size - 2};
        if (port.size > 0 && port.data[0] != ':') {
            return false;
        }
    } else {
        const char *colon = memchr(text.data, ':', text.size);
        if (colon != NULL) {
            host.size = (size_t) (colon - text.data);
            port = (struct sl_text) {colon, text.size - host.size};
        }
    }
    if (port.size > 0 &&
        !parse_port((struct sl_text) {port.data + 1, port.size - 1}, ret_port)) {
        return false;
    }
    *ret_host = host;
    return true;
}

bool sl_url_parse_http(struct sl_text text, struct sl_http_url *ret_url)
{
    const struct sl_text scheme = SL_TEXT("http://");
    if (text.size <= scheme.size || memcmp(text.data, scheme.data, scheme.size) != 0) {
        return false;
    }
    struct sl_text rest = {text.data + scheme.size, text.size - scheme.size};
    size_t authority_size = 0;
    while (authority_size < rest.size && rest.data[authority_size] != '/') {
        if (memchr("@?#", rest.data[authority_size], 3) != NULL) {
            return false;
        }
        authority_size++;
    }
    struct sl_http_url url = {.port = 80};
    if (!parse_authority((struct sl_text) {rest.data, authority_size}, &url.host, &url.port) ||
        url.host.size == 0 || url.port == 0) {
        return false;
    }
    url.path = (struct sl_text) {rest.data + authority_size, rest.size - authority_size};
    *ret_url = url;
    return true;
}

bool sl_url_parse_address(struct sl_text text, struct sl_text *ret_host, uint16_t *ret_port)
{
    uint16_t port = 0;
    struct sl_text host;
    if (text.size == 0 || memchr(text.data, ':', text.size) == NULL ||
        !parse_authority(text, &host, &port)) {
        return false;
    }
    *ret_host = host.size == 0 ? SL_TEXT("0.0.0.0") : host;
    *ret_port = port;
    return true;
}

bool sl_url_parse_file(struct sl_text text, const char *scheme, struct sl_text *ret_file)
{
    size_t size = strlen(scheme);
    if (text.size <= size + 1 || memcmp(text.data, scheme, size) != 0 || text.data[size] != ':') {
        return false;
    }
    *ret_file = (struct sl_text) {text.data + size + 1, text.size - size - 1};
    return true;
}

bool sl_url_is_origin(struct sl_text text)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(schemes[i]);
        if (text.size > size && memcmp(text.data, schemes[i], size) == 0) {
            for (size_t j = size; j < text.size; j++) {
                unsigned char byte = (unsigned char) text.data[j];
                if (byte <= 0x20 || byte >= 0x7f || memchr("/?#@*\"\\,", byte, 8) != NULL) {
                    return false;
                }
            }
            return true;
        }
    }
    return false;
}
