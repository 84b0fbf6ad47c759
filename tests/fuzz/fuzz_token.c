/*
 * Tokens and keys' files. The first byte chooses; a token is judged with a secret and a public key,
 * and one that is taken apart is a view of what came.
 */
#include <string.h>

#include "fuzz/check.h"
#include "gateway/token.h"

static const char public_key[] =
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"
    "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_"
    "7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb"
    "3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR"
    "WyuXpoQ\",\"e\":\"AQAB\"}";

static void judge(struct sl_text text)
{
    static const struct sl_token_rules rules = {.audience = "shop", .leeway_s = 10};
    struct sl_token_keys keys = {0};
    struct sl_token token = {0};
    struct sl_jwt jwt;
    CHECK(sl_token_keys_add_secret(&keys, SL_TEXT("0123456789abcdef0123456789abcdef"), NULL) == 0);
    CHECK(sl_token_keys_add_file(&keys, "key", sl_text_of(public_key), NULL) == 0);
    if (sl_token_verify(&keys, &rules, text, 1000, &token) == SL_TOKEN_GOOD) {
        CHECK(token.claims != NULL && token.expires_s > 1000);
        CHECK(token.subject.size <= SL_TOKEN_SUBJECT_SIZE_MAX);
        CHECK(sl_text_is_clean_utf8(token.subject));
    }
    if (sl_jwt_parse(text, &jwt, NULL) == 0) {
        CHECK(jwt.signed_part.data == text.data && jwt.signed_part.size < text.size);
        CHECK(text.data[jwt.signed_part.size] == '.');
        CHECK(memchr(jwt.algorithm, '\0', sizeof(jwt.algorithm)) != NULL);
        CHECK(jwt.signature_size <= sizeof(jwt.signature));
        sl_jwt_deinit(&jwt);
    }
    sl_token_deinit(&token);
    sl_token_keys_deinit(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_token_keys keys = {0};
    struct sluice_error error;
    if (size == 0) {
        return 0;
    }
    struct sl_text rest = {(const char *)data + 1, size - 1};
    if (data[0] == 't') {
        judge(rest);
    } else if (data[0] == 's') {
        CHECK(sl_token_keys_add_secret(&keys, rest, &error) != 0 || keys.count == 1);
    } else if (sl_token_keys_add_file(&keys, "key", rest, &error) == 0) {
        CHECK(keys.count > 0);
    }
    sl_token_keys_deinit(&keys);
    return 0;
}
