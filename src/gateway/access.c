/*
 * Who may: the token of a request, whose it is, and what page is behind it.
 *
 * A token comes by `Authorization: Bearer` or by the cookie that the config names; never by the
 * URL, which ends up in histories, logs and Referer fields. What comes by Authorization counts,
 * since a page cannot make a browser send it by accident; a cookie can be sent by any page that the
 * browser has open, so with one the page must be ours where the request changes something.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/internal.h"

enum { CHALLENGE_SIZE = 256, SUBJECT_TEXT_SIZE_MAX = 4096 };

static int copy(const char *text, char **ret_copy, struct sluice_error *error)
{
    if (text == NULL) {
        return 0;
    }
    *ret_copy = sl_copy_text(text);
    return *ret_copy == NULL ? sl_fail_memory(error, "the tokens' rules") : 0;
}

static int add_keys(
    struct sl_token_keys *keys, const struct sl_token_options *options, struct sluice_error *error)
{
    if (options->secret != NULL &&
        sl_token_keys_add_secret(keys, sl_text_of(options->secret), error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < options->file_count; i++) {
        const struct sl_token_file *file = &options->files[i];
        if (sl_token_keys_add_file(keys, file->name, file->contents, error) != 0) {
            return -1;
        }
    }
    return 0;
}

int sl_access_open(
    struct sl_gateway *gateway, const struct sl_token_options *options, struct sluice_error *error)
{
    static const struct sl_token_options none = {0};
    struct sl_token_gate *gate = &gateway->gate;
    options = options == NULL ? &none : options;
    const char *header =
        options->subject_header == NULL ? "Sluice-Subject" : options->subject_header;
    if (!sl_http1_is_token(sl_text_of(header))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "\"%s\" is no field's name, as in Sluice-Subject", header);
    }
    if (options->cookie != NULL && !sl_http1_is_token(sl_text_of(options->cookie))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "\"%s\" is no cookie's name, as in session", options->cookie);
    }
    if (copy(header, &gate->subject_header, error) != 0 ||
        copy(options->audience, &gate->audience, error) != 0 ||
        copy(options->issuer, &gate->issuer, error) != 0 ||
        copy(options->cookie, &gate->cookie, error) != 0 ||
        add_keys(&gate->keys, options, error) != 0) {
        return -1;
    }
    if (gate->keys.count > 0 && (gate->audience == NULL || gate->audience[0] == '\0')) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "tokens need an audience: the aud that says that a token is for this service");
    }
    gate->rules = (struct sl_token_rules) {
        .audience = gate->audience, .issuer = gate->issuer, .leeway_s = options->leeway_ms / 1000};
    return 0;
}

void sl_access_close(struct sl_gateway *gateway)
{
    struct sl_token_gate *gate = &gateway->gate;
    sl_token_keys_deinit(&gate->keys);
    sl_free(gate->audience);
    sl_free(gate->issuer);
    sl_free(gate->cookie);
    sl_free(gate->subject_header);
    *gate = (struct sl_token_gate) {0};
}

bool sl_access_is_subject_field(const struct sl_gateway *gateway, struct sl_text name)
{
    struct sl_text ours = sl_text_of(gateway->gate.subject_header);
    if (name.size != ours.size) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        struct sl_text a = {name.data[i] == '_' ? "-" : name.data + i, 1};
        struct sl_text b = {ours.data[i] == '_' ? "-" : ours.data + i, 1};
        if (!sl_text_equal_nocase(a, b)) {
            return false;
        }
    }
    return true;
}

/* What a request brings. */
struct bearer {
    struct sl_text token; /* data is NULL: none */
    bool is_cookie;
    const char *fault; /* what is wrong before anything is read; NULL: nothing */
};

static size_t count_fields(const struct sl_http1_request *request, struct sl_text name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        count += sl_text_equal_nocase(request->headers[i].name, name) ? 1 : 0;
    }
    return count;
}

/* How often a cookie is there, over all fields of the request. */
static size_t count_cookies(const struct sl_http1_request *request, struct sl_text name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        struct sl_text rest = request->headers[i].value;
        struct sl_text pair;
        if (!sl_text_equal_nocase(request->headers[i].name, SL_TEXT("cookie"))) {
            continue;
        }
        while (sl_text_split(&rest, ';', &pair)) {
            struct sl_text value = sl_text_trim(pair);
            struct sl_text found;
            count += sl_text_split(&value, '=', &found) && sl_text_equal(found, name) ? 1 : 0;
        }
    }
    return count;
}

/* Find the token. Two of a kind are refused: we and the upstream could look at different ones. */
static struct bearer find_token(
    const struct sl_gateway *gateway, const struct sl_http1_request *request)
{
    struct bearer bearer = {{NULL, 0}, false, NULL};
    struct sl_text authorization =
        sl_http1_find(request->headers, request->header_count, SL_TEXT("authorization"));
    struct sl_text scheme;
    if (count_fields(request, SL_TEXT("authorization")) > 1) {
        bearer.fault = "there is more than one Authorization field";
        return bearer;
    }
    if (authorization.data != NULL && sl_text_split(&authorization, ' ', &scheme) &&
        sl_text_equal_nocase(scheme, SL_TEXT("Bearer"))) {
        bearer.token = sl_text_trim(authorization);
        bearer.token.data = bearer.token.data == NULL ? "" : bearer.token.data;
        return bearer;
    }
    struct sl_text name = sl_text_of(gateway->gate.cookie);
    size_t count = name.size == 0 ? 0 : count_cookies(request, name);
    if (count > 1) {
        bearer.fault = "the token's cookie is there twice";
    } else if (count == 1) {
        bearer.token = sl_cookie_find(request, name);
        bearer.fault = bearer.token.data == NULL ? "there is more than one Cookie field" : NULL;
        bearer.is_cookie = true;
    }
    return bearer;
}

static void refuse_token(
    struct sl_gateway *gateway, struct sl_exchange *exchange, const char *fault)
{
    char challenge[CHALLENGE_SIZE] = "Bearer";
    if (fault != NULL) {
        snprintf(challenge, sizeof(challenge),
            "Bearer error=\"invalid_token\", error_description=\"%s\"", fault);
    }
    struct sl_http1_header field = {SL_TEXT("WWW-Authenticate"), sl_text_of(challenge)};
    const char *cookie = gateway->gate.cookie;
    gateway->stats.refused_token++;
    if (fault != NULL) {
        sl_gateway_refuse(gateway, exchange, 401, &field, "%s", fault);
    } else {
        sl_gateway_refuse(gateway, exchange, 401, &field,
            "a token is needed, by Authorization: Bearer%s%s; one in the URL is not read",
            cookie == NULL ? "" : " or by the cookie ", cookie == NULL ? "" : cookie);
    }
}

/* Whether a request may change something. */
static bool is_unsafe(const struct sl_http1_request *request)
{
    return !sl_text_equal(request->method, SL_TEXT("GET")) &&
        !sl_text_equal(request->method, SL_TEXT("HEAD")) &&
        !sl_text_equal(request->method, SL_TEXT("OPTIONS"));
}

/*
 * A cookie is sent by whatever page asks. What changes something must come from a page of ours, and
 * say so; a stream that is opened may replace its owner's, so there a page that says that it is a
 * foreign one is refused, too.
 */
static bool is_page_known(const struct sl_gateway *gateway, const struct sl_compiled_route *route,
    const struct sl_exchange *exchange)
{
    if (is_unsafe(sl_exchange_request(exchange))) {
        return sl_cors_is_known(gateway, exchange, true);
    }
    return route->stream == NULL || sl_cors_is_known(gateway, exchange, false);
}

/* Whether the token's subject is the one that the route asks for. Answers if it is not. */
static bool is_subjects(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    struct sl_exchange *exchange, const struct sl_token *token)
{
    struct sl_match match;
    struct sl_buffer wanted;
    struct sluice_error error;
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    struct sl_values values = {&match, request, token->claims};
    bool is_same = false;
    if (route->subject_text == NULL) {
        return true;
    }
    sl_buffer_init(&wanted, SUBJECT_TEXT_SIZE_MAX);
    if (sl_pattern_match(&route->pattern, request->path, &match) != SL_MATCHES ||
        sl_template_expand(&route->subject, &values, false, &wanted, &error) != 0) {
        sl_gateway_refuse(gateway, exchange, 400, NULL, "the request does not say whose it is");
    } else {
        is_same = token->subject.size > 0 &&
            sl_text_equal(token->subject, (struct sl_text) {wanted.data, wanted.size});
        if (!is_same) {
            gateway->stats.refused_subject++;
            sl_gateway_refuse(gateway, exchange, 403, NULL, "this is another's, not yours");
        }
    }
    sl_buffer_deinit(&wanted);
    return is_same;
}

bool sl_access_allow(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    struct sl_exchange *exchange, struct sl_token *ret_token)
{
    struct sl_token token = {0};
    if (route->token == SL_TOKEN_NONE) {
        return true;
    }
    struct bearer bearer = find_token(gateway, sl_exchange_request(exchange));
    if (bearer.fault != NULL || (bearer.token.data == NULL && route->token == SL_TOKEN_REQUIRED)) {
        refuse_token(gateway, exchange, bearer.fault);
        return false;
    }
    if (bearer.token.data == NULL) {
        return true;
    }
    if (bearer.is_cookie && !is_page_known(gateway, route, exchange)) {
        gateway->stats.refused_origin++;
        sl_gateway_refuse(gateway, exchange, 403, NULL,
            "a request with the token in a cookie must come from a page of this origin and say so "
            "(Origin, Sec-Fetch-Site); others send Authorization: Bearer");
        return false;
    }
    enum sl_token_fault fault = sl_token_verify(
        &gateway->gate.keys, &gateway->gate.rules, bearer.token, sl_clock_wall_ms() / 1000, &token);
    if (fault == SL_TOKEN_NO_MEMORY) {
        sl_gateway_refuse(gateway, exchange, 503, NULL, "%s", sl_token_fault_text(fault));
        return false;
    }
    if (fault != SL_TOKEN_GOOD) {
        refuse_token(gateway, exchange, sl_token_fault_text(fault));
        return false;
    }
    if (!is_subjects(gateway, route, exchange, &token)) {
        sl_token_deinit(&token);
        return false;
    }
    *ret_token = token;
    return true;
}
