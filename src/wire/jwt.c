#include "wire/jwt.h"

#include <jansson.h>
#include <stdio.h>

#include "base/memory.h"
#include "wire/base64url.h"
#include "wire/json_pointer.h"

/* A later time than any that is meant: 9999-12-31. */
#define TIME_MAX_S INT64_C(253402300799)

enum { CLAIM_NAME_SIZE_MAX = 128 };

/* A parsed text is jansson's object; the structs exist to keep jansson out of other layers. */
static json_t *from_claims(const struct sl_claims *claims)
{
    return (json_t *)(uintptr_t)claims;
}

static int refuse(struct sluice_error *error, const char *what)
{
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "%s", what);
}

/* Decode a part and parse it as a JSON object. */
static int parse_part(struct sl_text part, json_t **ret_object, struct sluice_error *error)
{
    size_t size;
    struct sl_json *json = NULL;
    struct sluice_error found;
    char *bytes = sl_allocate(part.size + 1);
    if (bytes == NULL) {
        return sl_fail_memory(error, "a token");
    }
    int result = 0;
    if (!sl_base64url_decode(part, bytes, part.size, &size)) {
        result = refuse(error, "it is not base64url");
    } else if (sl_json_parse((struct sl_text){bytes, size}, &json, &found) != 0) {
        /* The parser's own words could quote the token. */
        result = found.reaction == SLUICE_RETRY ? sl_fail_memory(error, "a token")
                                                : refuse(error, "a part of it is not JSON");
    } else if (!json_is_object((json_t *)(uintptr_t)json)) {
        sl_json_free(json);
        result = refuse(error, "a part of it is no JSON object");
    } else {
        *ret_object = (json_t *)(uintptr_t)json;
    }
    sl_free(bytes);
    return result;
}

static int copy_name(const json_t *value, char ret_name[SL_JWT_NAME_SIZE_MAX])
{
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    if (text == NULL || size == 0 || size >= SL_JWT_NAME_SIZE_MAX ||
        !sl_text_is_clean_utf8((struct sl_text){text, size})) {
        return -1;
    }
    memcpy(ret_name, text, size + 1);
    return 0;
}

static int read_header(const json_t *header, struct sl_jwt *jwt, struct sluice_error *error)
{
    const json_t *key_id = json_object_get(header, "kid");
    if (json_object_get(header, "crit") != NULL) {
        return refuse(error, "it has extensions (crit) that are not understood here");
    }
    if (copy_name(json_object_get(header, "alg"), jwt->algorithm) != 0) {
        return refuse(error, "it does not say how it is signed (alg)");
    }
    if (key_id != NULL && copy_name(key_id, jwt->key_id) != 0) {
        return refuse(error, "its key's id (kid) is no short text");
    }
    return 0;
}

/* Cut the token at its two dots. */
static int split(struct sl_text token, struct sl_text parts[3], struct sluice_error *error)
{
    struct sl_text rest = token;
    size_t count = 0;
    if (token.size > SL_JWT_SIZE_MAX) {
        return sl_fail(
            error, SLUICE_INVALID, SLUICE_REJECT, "it is longer than %d bytes", SL_JWT_SIZE_MAX);
    }
    while (count < 3 && sl_text_split(&rest, '.', &parts[count])) {
        count++;
    }
    if (count == 3 && rest.data != NULL) {
        return refuse(error, "it has more than three parts; encrypted tokens are not read here");
    }
    return count == 3 ? 0 : refuse(error, "it is not three parts with dots between them");
}

int sl_jwt_parse(struct sl_text token, struct sl_jwt *ret_jwt, struct sluice_error *error)
{
    struct sl_jwt jwt = {0};
    struct sl_text parts[3];
    json_t *header = NULL;
    json_t *claims = NULL;
    if (split(token, parts, error) != 0 || parse_part(parts[0], &header, error) != 0) {
        return -1;
    }
    int result = read_header(header, &jwt, error);
    json_decref(header);
    if (result != 0) {
        return -1;
    }
    if (!sl_base64url_decode(parts[2], jwt.signature, sizeof(jwt.signature), &jwt.signature_size)) {
        return refuse(error, "its signature is not base64url, or too long");
    }
    if (parse_part(parts[1], &claims, error) != 0) {
        return -1;
    }
    jwt.signed_part = (struct sl_text){token.data, parts[0].size + 1 + parts[1].size};
    jwt.claims = (struct sl_claims *)claims;
    *ret_jwt = jwt;
    return 0;
}

void sl_jwt_deinit(struct sl_jwt *jwt)
{
    sl_claims_free(jwt->claims);
    jwt->claims = NULL;
}

void sl_claims_free(struct sl_claims *claims)
{
    json_decref(from_claims(claims));
}

int sl_claims_time(const struct sl_claims *claims, const char *name, int64_t *ret_time_s)
{
    const json_t *value = json_object_get(from_claims(claims), name);
    if (value == NULL) {
        return 0;
    }
    if (json_is_integer(value)) {
        json_int_t time_s = json_integer_value(value);
        if (time_s < 0 || time_s > TIME_MAX_S) {
            return -1;
        }
        *ret_time_s = time_s;
        return 1;
    }
    double time_s = json_real_value(value);
    if (!json_is_real(value) || !(time_s >= 0) || time_s > (double)TIME_MAX_S) {
        return -1;
    }
    *ret_time_s = (int64_t)time_s;
    return 1;
}

static bool is_text(const json_t *value, struct sl_text text)
{
    return json_is_string(value) &&
           sl_text_equal(
               (struct sl_text){json_string_value(value), json_string_length(value)}, text);
}

bool sl_claims_has(const struct sl_claims *claims, const char *name, struct sl_text value)
{
    const json_t *found = json_object_get(from_claims(claims), name);
    for (size_t i = 0; i < json_array_size(found); i++) {
        if (is_text(json_array_get(found, i), value)) {
            return true;
        }
    }
    return is_text(found, value);
}

static json_t *find(const struct sl_claims *claims, struct sl_text name)
{
    char copy[CLAIM_NAME_SIZE_MAX];
    if (name.size >= sizeof(copy)) {
        return NULL;
    }
    memcpy(copy, name.data, name.size);
    copy[name.size] = '\0';
    return json_object_get(from_claims(claims), copy);
}

bool sl_claims_is_there(const struct sl_claims *claims, struct sl_text name)
{
    return find(claims, name) != NULL;
}

struct sl_text sl_claims_text(const struct sl_claims *claims, struct sl_text name)
{
    const json_t *value = find(claims, name);
    if (json_string_length(value) == 0) {
        return (struct sl_text){NULL, 0};
    }
    return (struct sl_text){json_string_value(value), json_string_length(value)};
}
