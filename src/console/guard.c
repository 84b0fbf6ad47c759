#include "console/guard.h"

/* The host of "host:port" or "[v6]:port", without brackets. */
static struct sl_text host_of(struct sl_text text)
{
    if (text.size > 0 && text.data[0] == '[') {
        const char *end = memchr(text.data, ']', text.size);
        return end == NULL
            ? (struct sl_text) {NULL, 0}
            : (struct sl_text) {text.data + 1, (size_t) (end - text.data) - 1};
    }
    const char *colon = text.size == 0 ? NULL : memchr(text.data, ':', text.size);
    return colon == NULL ? text : (struct sl_text) {text.data, (size_t) (colon - text.data)};
}

/* Whether a host is this machine by an address or by the one name that nobody else can give. */
static bool is_own_host(struct sl_text host)
{
    bool is_number = host.size > 0;
    bool has_colon = false;
    for (size_t i = 0; i < host.size; i++) {
        char c = host.data[i];
        has_colon = has_colon || c == ':';
        is_number = is_number && ((c >= '0' && c <= '9') || c == '.');
    }
    return is_number || has_colon || sl_text_equal_nocase(host, SL_TEXT("localhost"));
}

/* Whether Origin is "http://" or "https://" and our Host. */
static bool is_same_origin(struct sl_text origin, struct sl_text host)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        struct sl_text scheme = sl_text_of(schemes[i]);
        if (origin.size > scheme.size && memcmp(origin.data, scheme.data, scheme.size) == 0) {
            struct sl_text rest = {origin.data + scheme.size, origin.size - scheme.size};
            return sl_text_equal_nocase(rest, host);
        }
    }
    return false;
}

const char *sl_guard_refusal(const struct sl_guard_request *request)
{
    if (request->is_loopback && !is_own_host(host_of(request->host))) {
        return "the console listens on this machine only, and the Host header names another; open "
               "it by its address, as in http://127.0.0.1:9090";
    }
    if (!request->is_change) {
        return NULL;
    }
    if (!sl_text_equal(request->console_header, SL_TEXT("1"))) {
        return "a change needs the header 'X-Sluice-Console: 1', which other sites' pages cannot "
               "send";
    }
    if (request->origin.size > 0 && !is_same_origin(request->origin, request->host)) {
        return "the request comes from a page of another origin";
    }
    if (request->fetch_site.size > 0 &&
        !sl_text_equal(request->fetch_site, SL_TEXT("same-origin")) &&
        !sl_text_equal(request->fetch_site, SL_TEXT("none"))) {
        return "the request comes from a page of another site";
    }
    return NULL;
}
