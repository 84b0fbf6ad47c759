/*
 * Pages of other origins: who may read streams, told to browsers. Origins are exact, since with
 * cookies nothing else is safe. Where any are named, a page of an origin that is not named is
 * refused even if it does not want to read: its stream could replace an owner's.
 */
#include "base/memory.h"
#include "base/url.h"
#include "gateway/internal.h"

enum { ORIGINS_MAX = 64 };

int sl_cors_open(struct sl_gateway *gateway, const char *const *origins, size_t count,
    struct sluice_error *error)
{
    if (count > ORIGINS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "at most %d origins", ORIGINS_MAX);
    }
    gateway->origins = sl_allocate((count + 1) * sizeof(char *));
    if (gateway->origins == NULL) {
        return sl_fail_memory(error, "the origins");
    }
    for (size_t i = 0; i < count; i++) {
        if (!sl_url_is_origin(sl_text_of(origins[i]))) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "\"%s\" is no origin like https://shop.example: scheme, host and port, no *",
                origins[i]);
        }
        gateway->origins[i] = sl_copy_text(origins[i]);
        if (gateway->origins[i] == NULL) {
            return sl_fail_memory(error, "the origins");
        }
    }
    return 0;
}

void sl_cors_close(struct sl_gateway *gateway)
{
    for (size_t i = 0; gateway->origins != NULL && gateway->origins[i] != NULL; i++) {
        sl_free(gateway->origins[i]);
    }
    sl_free(gateway->origins);
    gateway->origins = NULL;
}

static bool is_named(const struct sl_gateway *gateway, struct sl_text origin)
{
    for (size_t i = 0; gateway->origins[i] != NULL; i++) {
        if (sl_text_equal(origin, sl_text_of(gateway->origins[i]))) {
            return true;
        }
    }
    return false;
}

/* A page of our own host, by whatever scheme: TLS may end before us. */
static bool is_own(struct sl_text origin, struct sl_text host)
{
    const char *slashes = memmem(origin.data, origin.size, "://", 3);
    if (slashes == NULL) {
        return false;
    }
    size_t skipped = (size_t) (slashes - origin.data) + 3;
    return sl_text_equal_nocase(
        (struct sl_text) {origin.data + skipped, origin.size - skipped}, host);
}

size_t sl_cors_add(const struct sl_gateway *gateway, const struct sl_exchange *exchange,
    struct sl_http1_header headers[SL_CORS_HEADERS_MAX])
{
    struct sl_text origin = sl_exchange_header(exchange, "origin");
    size_t count = 0;
    if (gateway->origins[0] == NULL) {
        return 0;
    }
    headers[count++] = (struct sl_http1_header) {SL_TEXT("Vary"), SL_TEXT("Origin")};
    if (origin.size > 0 && is_named(gateway, origin)) {
        headers[count++] =
            (struct sl_http1_header) {SL_TEXT("Access-Control-Allow-Origin"), origin};
        headers[count++] = (struct sl_http1_header) {
            SL_TEXT("Access-Control-Allow-Credentials"), SL_TEXT("true")};
    }
    return count;
}

static void answer_preflight(
    const struct sl_gateway *gateway, struct sl_exchange *exchange, const char *method)
{
    struct sl_http1_header headers[SL_CORS_HEADERS_MAX + 3];
    size_t count = sl_cors_add(gateway, exchange, headers);
    headers[count++] =
        (struct sl_http1_header) {SL_TEXT("Access-Control-Allow-Methods"), sl_text_of(method)};
    headers[count++] = (struct sl_http1_header) {SL_TEXT("Access-Control-Allow-Headers"),
        SL_TEXT("Last-Event-ID, Authorization, Cache-Control, Content-Type, Idempotency-Key")};
    headers[count++] =
        (struct sl_http1_header) {SL_TEXT("Access-Control-Max-Age"), SL_TEXT("600")};
    struct sl_http_response response = {
        .status = 204, .headers = headers, .header_count = count};
    sl_exchange_respond_with(exchange, &response, NULL, 0);
}

bool sl_cors_answer(
    const struct sl_gateway *gateway, struct sl_exchange *exchange, const char *method)
{
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    struct sl_text origin = sl_exchange_header(exchange, "origin");
    if (gateway->origins[0] == NULL || origin.data == NULL) {
        return false;
    }
    if (!is_named(gateway, origin)) {
        if (is_own(origin, request->host)) {
            return false;
        }
        sl_exchange_fail(exchange, 403, "pages of this origin may not ask here");
        return true;
    }
    if (sl_text_equal(request->method, SL_TEXT("OPTIONS"))) {
        answer_preflight(gateway, exchange, method);
        return true;
    }
    return false;
}

bool sl_cors_is_known(
    const struct sl_gateway *gateway, const struct sl_exchange *exchange, bool is_sure)
{
    struct sl_text origin = sl_exchange_header(exchange, "origin");
    struct sl_text site = sl_exchange_header(exchange, "sec-fetch-site");
    if (origin.data != NULL && is_named(gateway, origin)) {
        return true;
    }
    /* The browser knows better than we what its page's own origin is: schemes count for it. */
    if (site.data != NULL) {
        return sl_text_equal(site, SL_TEXT("same-origin")) || sl_text_equal(site, SL_TEXT("none"));
    }
    if (origin.data != NULL) {
        return is_own(origin, sl_exchange_request(exchange)->host);
    }
    return !is_sure;
}
