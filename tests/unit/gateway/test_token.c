/* Tokens, judged: signed here with OpenSSL, as an issuer would. */
#include "gateway/token.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "support/unit.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define CLAIMS "{\"sub\":\"u1\",\"aud\":\"shop\",\"exp\":2000}"

enum { NOW_S = 1000 };

static const struct sl_token_rules rules = {.audience = "shop", .leeway_s = 10};

static void append_base64url(struct sl_buffer *buffer, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i += 3) {
        unsigned long bits = (unsigned long)bytes[i] << 16;
        bits |= i + 1 < size ? (unsigned long)bytes[i + 1] << 8 : 0;
        bits |= i + 2 < size ? bytes[i + 2] : 0;
        char four[4] = {digits[bits >> 18 & 63], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
            digits[bits & 63]};
        sl_buffer_append(buffer, four, size - i >= 3 ? 4 : size - i + 1);
    }
}

/* Header and claims; the signature is to follow. */
static void begin_token(struct sl_buffer *token, const char *header, const char *claims)
{
    sl_buffer_init(token, 100000);
    append_base64url(token, header, strlen(header));
    sl_buffer_append_text(token, ".");
    append_base64url(token, claims, strlen(claims));
}

static void sign_hs256(struct sl_buffer *token, const void *secret, size_t secret_size)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size;
    HMAC(EVP_sha256(), secret, (int)secret_size, (unsigned char *)token->data, token->size, mac,
        &size);
    sl_buffer_append_text(token, ".");
    append_base64url(token, mac, size);
}

static void sign_rs256(struct sl_buffer *token, EVP_PKEY *key)
{
    unsigned char signature[1024];
    size_t size = sizeof(signature);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    ck_assert_int_eq(EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, key), 1);
    ck_assert_int_eq(
        EVP_DigestSign(digest, signature, &size, (unsigned char *)token->data, token->size), 1);
    EVP_MD_CTX_free(digest);
    sl_buffer_append_text(token, ".");
    append_base64url(token, signature, size);
}

static enum sl_token_fault judge_text(const struct sl_token_keys *keys, struct sl_text text)
{
    struct sl_token token = {0};
    enum sl_token_fault fault = sl_token_verify(keys, &rules, text, NOW_S, &token);
    ck_assert(fault == SL_TOKEN_GOOD || token.claims == NULL);
    sl_token_deinit(&token);
    return fault;
}

static enum sl_token_fault judge(const struct sl_token_keys *keys, struct sl_buffer *take_token)
{
    enum sl_token_fault fault =
        judge_text(keys, (struct sl_text){take_token->data, take_token->size});
    sl_buffer_deinit(take_token);
    return fault;
}

static void open_secret(struct sl_token_keys *keys)
{
    *keys = (struct sl_token_keys){0};
    ck_assert_int_eq(sl_token_keys_add_secret(keys, SL_TEXT(SECRET), NULL), 0);
}

/* What becomes of claims that are signed well. */
static enum sl_token_fault judge_claims(const char *claims)
{
    struct sl_token_keys keys;
    struct sl_buffer token;
    open_secret(&keys);
    begin_token(&token, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claims);
    sign_hs256(&token, SECRET, strlen(SECRET));
    enum sl_token_fault fault = judge(&keys, &token);
    sl_token_keys_deinit(&keys);
    return fault;
}

static struct sl_text read_pem(EVP_PKEY *key, BIO **ret_bio)
{
    char *data;
    *ret_bio = BIO_new(BIO_s_mem());
    ck_assert_int_eq(PEM_write_bio_PUBKEY(*ret_bio, key), 1);
    long size = BIO_get_mem_data(*ret_bio, &data);
    return (struct sl_text){data, (size_t)size};
}

START_TEST(a_good_token_says_whose_it_is_and_when_it_ends)
{
    struct sl_token_keys keys;
    struct sl_buffer buffer;
    struct sl_token token = {0};
    open_secret(&keys);
    begin_token(&buffer, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&buffer, SECRET, strlen(SECRET));
    ck_assert_int_eq(
        sl_token_verify(&keys, &rules, (struct sl_text){buffer.data, buffer.size}, NOW_S, &token),
        SL_TOKEN_GOOD);
    sl_buffer_deinit(&buffer);
    ck_assert(sl_text_equal(token.subject, SL_TEXT("u1")));
    ck_assert(sl_text_equal(sl_claims_text(token.claims, SL_TEXT("aud")), SL_TEXT("shop")));
    ck_assert_int_eq(token.expires_s, 2010);
    sl_token_deinit(&token);
    sl_token_keys_deinit(&keys);
}
END_TEST

START_TEST(claims_that_are_missing_or_not_ours_are_refused)
{
    static const struct {
        const char *claims;
        enum sl_token_fault fault;
    } cases[] = {
        {CLAIMS, SL_TOKEN_GOOD},
        {"{\"aud\":\"shop\",\"exp\":2000}", SL_TOKEN_GOOD},
        {"{\"aud\":\"shop\",\"exp\":2000.5}", SL_TOKEN_GOOD},
        {"{\"aud\":[\"x\",\"shop\"],\"exp\":2000}", SL_TOKEN_GOOD},
        {"{\"aud\":[\"x\",[\"shop\"]],\"exp\":2000}", SL_TOKEN_OTHER_AUDIENCE},
        {"{\"aud\":[],\"exp\":2000}", SL_TOKEN_OTHER_AUDIENCE},
        {"{\"aud\":\"shopping\",\"exp\":2000}", SL_TOKEN_OTHER_AUDIENCE},
        {"{\"aud\":true,\"exp\":2000}", SL_TOKEN_OTHER_AUDIENCE},
        {"{\"exp\":2000}", SL_TOKEN_OTHER_AUDIENCE},
        {"{\"aud\":\"shop\"}", SL_TOKEN_NO_END},
        {"{\"aud\":\"shop\",\"exp\":\"2000\"}", SL_TOKEN_NO_END},
        {"{\"aud\":\"shop\",\"exp\":null}", SL_TOKEN_NO_END},
        {"{\"aud\":\"shop\",\"exp\":-1}", SL_TOKEN_NO_END},
        {"{\"aud\":\"shop\",\"exp\":1e300}", SL_TOKEN_NO_END},
        {"{\"aud\":\"shop\",\"exp\":9223372036854775807}", SL_TOKEN_NO_END},
        {"{\"aud\":\"shop\",\"exp\":991}", SL_TOKEN_GOOD},
        {"{\"aud\":\"shop\",\"exp\":990}", SL_TOKEN_EXPIRED},
        {"{\"aud\":\"shop\",\"exp\":0}", SL_TOKEN_EXPIRED},
        {"{\"aud\":\"shop\",\"exp\":2000,\"nbf\":1010}", SL_TOKEN_GOOD},
        {"{\"aud\":\"shop\",\"exp\":2000,\"nbf\":1011}", SL_TOKEN_NOT_YET},
        {"{\"aud\":\"shop\",\"exp\":2000,\"nbf\":\"1\"}", SL_TOKEN_NOT_YET},
        {"{\"aud\":\"shop\",\"exp\":2000,\"sub\":5}", SL_TOKEN_BAD_SUBJECT},
        {"{\"aud\":\"shop\",\"exp\":2000,\"sub\":\"\"}", SL_TOKEN_BAD_SUBJECT},
        {"{\"aud\":\"shop\",\"exp\":2000,\"sub\":\" u\"}", SL_TOKEN_BAD_SUBJECT},
        {"{\"aud\":\"shop\",\"exp\":2000,\"sub\":\"a\\r\\nX: b\"}", SL_TOKEN_BAD_SUBJECT},
        {"{\"aud\":\"shop\",\"aud\":\"x\",\"exp\":2000}", SL_TOKEN_MALFORMED},
        {"[]", SL_TOKEN_MALFORMED},
        {"{", SL_TOKEN_MALFORMED},
        {"", SL_TOKEN_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(judge_claims(cases[i].claims) == cases[i].fault, "%s: %s", cases[i].claims,
            sl_token_fault_text(judge_claims(cases[i].claims)));
    }
}
END_TEST

START_TEST(the_issuer_counts_where_one_is_asked_for)
{
    static const struct sl_token_rules strict = {.audience = "shop", .issuer = "https://login"};
    static const char *const claims[] = {
        "{\"aud\":\"shop\",\"exp\":2000,\"iss\":\"https://login\"}",
        "{\"aud\":\"shop\",\"exp\":2000,\"iss\":\"https://evil\"}", CLAIMS};
    struct sl_token_keys keys;
    open_secret(&keys);
    for (size_t i = 0; i < 3; i++) {
        struct sl_buffer buffer;
        struct sl_token token = {0};
        begin_token(&buffer, "{\"alg\":\"HS256\"}", claims[i]);
        sign_hs256(&buffer, SECRET, strlen(SECRET));
        ck_assert_int_eq(sl_token_verify(&keys, &strict, (struct sl_text){buffer.data, buffer.size},
                             NOW_S, &token),
            i == 0 ? SL_TOKEN_GOOD : SL_TOKEN_OTHER_ISSUER);
        sl_token_deinit(&token);
        sl_buffer_deinit(&buffer);
    }
    sl_token_keys_deinit(&keys);
}
END_TEST

START_TEST(a_public_key_is_never_the_secret_of_hs256)
{
    struct sl_token_keys keys = {0};
    struct sl_buffer token;
    BIO *bio;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    struct sl_text pem = read_pem(key, &bio);
    ck_assert_int_eq(sl_token_keys_add_file(&keys, "k.pem", pem, NULL), 0);
    begin_token(&token, "{\"alg\":\"RS256\"}", CLAIMS);
    sign_rs256(&token, key);
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_GOOD);
    begin_token(&token, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&token, pem.data, pem.size);
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NO_KEY);
    /* With a secret among the keys, too. */
    ck_assert_int_eq(sl_token_keys_add_secret(&keys, SL_TEXT(SECRET), NULL), 0);
    begin_token(&token, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&token, pem.data, pem.size);
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NOT_SIGNED);
    sl_token_keys_deinit(&keys);
    /* Nor by the operator's mistake. */
    ck_assert_int_eq(sl_token_keys_add_secret(&keys, pem, NULL), -1);
    ck_assert_int_eq(
        sl_token_keys_add_secret(&keys, (struct sl_text){pem.data + 27, pem.size - 60}, NULL), -1);
    ck_assert_uint_eq(keys.count, 0);
    BIO_free(bio);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(what_the_token_says_of_its_algorithm_changes_nothing)
{
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
        "{\"alg\":\"\"}", "{}", "{\"alg\":5}", "{\"alg\":\"hs256\"}", "{\"alg\":\"HS512\"}",
        "{\"alg\":\"RS256\"}", "{\"alg\":\"PS256\"}", "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "[\"alg\"]", "null"};
    struct sl_token_keys keys;
    open_secret(&keys);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct sl_buffer token;
        begin_token(&token, headers[i], CLAIMS);
        sl_buffer_append_text(&token, ".");
        ck_assert_msg(judge_text(&keys, (struct sl_text){token.data, token.size}) != SL_TOKEN_GOOD,
            "%s without a signature", headers[i]);
        sl_buffer_deinit(&token);
        begin_token(&token, headers[i], CLAIMS);
        sign_hs256(&token, SECRET, strlen(SECRET));
        ck_assert_msg(judge(&keys, &token) != SL_TOKEN_GOOD, "%s", headers[i]);
    }
    sl_token_keys_deinit(&keys);
}
END_TEST

START_TEST(a_changed_byte_anywhere_spoils_a_token)
{
    struct sl_token_keys keys;
    struct sl_buffer token;
    open_secret(&keys);
    begin_token(&token, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&token, SECRET, strlen(SECRET));
    struct sl_text text = {token.data, token.size};
    ck_assert_int_eq(judge_text(&keys, text), SL_TOKEN_GOOD);
    for (size_t i = 0; i < text.size; i++) {
        char before = token.data[i];
        ck_assert_int_ne(judge_text(&keys, (struct sl_text){text.data, i}), SL_TOKEN_GOOD);
        token.data[i] = before == 'A' ? 'B' : 'A';
        ck_assert_int_ne(judge_text(&keys, text), SL_TOKEN_GOOD);
        token.data[i] = '\xff';
        ck_assert_int_ne(judge_text(&keys, text), SL_TOKEN_GOOD);
        token.data[i] = before;
    }
    sl_buffer_append_text(&token, ".x");
    ck_assert_int_ne(judge_text(&keys, (struct sl_text){token.data, token.size}), SL_TOKEN_GOOD);
    sl_buffer_deinit(&token);
    sl_token_keys_deinit(&keys);
}
END_TEST

START_TEST(another_secret_or_key_does_not_sign_for_us)
{
    struct sl_token_keys keys;
    struct sl_buffer token;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    EVP_PKEY *other = EVP_RSA_gen(2048);
    BIO *bio;
    open_secret(&keys);
    begin_token(&token, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&token, "0123456789abcdef0123456789abcdeF", 32);
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NOT_SIGNED);
    begin_token(&token, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&token, "", 0);
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NOT_SIGNED);
    ck_assert_int_eq(sl_token_keys_add_file(&keys, "k.pem", read_pem(key, &bio), NULL), 0);
    begin_token(&token, "{\"alg\":\"RS256\"}", CLAIMS);
    sign_rs256(&token, other);
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NOT_SIGNED);
    sl_token_keys_deinit(&keys);
    BIO_free(bio);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}
END_TEST

START_TEST(what_is_no_token_is_refused_whatever_its_size)
{
    static const char *const texts[] = {"", ".", "..", "...", "a.b.c", "a.b.c.d.e",
        "=.=.=", "eyJhbGciOiJIUzI1NiJ9..", "eyJhbGciOiJIUzI1NiJ9.e30.", "Bearer x.y.z",
        "e30.e30.e30", "eyJhbGciOiJIUzI1NiJ9.e30=.AA", "eyJhbGciOiJIUzI1NiJ9.e3 0.AA"};
    struct sl_token_keys keys;
    struct sl_buffer huge;
    open_secret(&keys);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(judge_text(&keys, sl_text_of(texts[i])) != SL_TOKEN_GOOD, "%s", texts[i]);
    }
    ck_assert_int_eq(judge_text(&keys, (struct sl_text){NULL, 0}), SL_TOKEN_MALFORMED);
    sl_buffer_init(&huge, 100000);
    for (int i = 0; i < 6000; i++) {
        sl_buffer_append_text(&huge, "[");
    }
    char *nested = huge.data;
    ck_assert_int_eq(judge_claims(nested), SL_TOKEN_MALFORMED);
    for (int i = 0; i < 30000; i++) {
        sl_buffer_append_text(&huge, "e");
    }
    ck_assert_int_eq(judge_text(&keys, (struct sl_text){huge.data, huge.size}), SL_TOKEN_MALFORMED);
    sl_buffer_deinit(&huge);
    sl_token_keys_deinit(&keys);
}
END_TEST

START_TEST(with_several_keys_the_kid_names_one)
{
    static const char set[] =
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"old\",\"alg\":\"HS256\","
        "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"},{\"kty\":\"oct\",\"kid\":\"new\","
        "\"k\":\"YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk\"}]}";
    struct sl_token_keys keys = {0};
    struct sl_buffer token;
    ck_assert_int_eq(sl_token_keys_add_file(&keys, "set", sl_text_of(set), NULL), 0);
    ck_assert_uint_eq(keys.count, 2);
    begin_token(&token, "{\"alg\":\"HS256\",\"kid\":\"old\"}", CLAIMS);
    sign_hs256(&token, SECRET, strlen(SECRET));
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_GOOD);
    begin_token(&token, "{\"alg\":\"HS256\"}", CLAIMS);
    sign_hs256(&token, SECRET, strlen(SECRET));
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_GOOD);
    begin_token(&token, "{\"alg\":\"HS256\",\"kid\":\"new\"}", CLAIMS);
    sign_hs256(&token, SECRET, strlen(SECRET));
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NOT_SIGNED);
    begin_token(&token, "{\"alg\":\"HS256\",\"kid\":\"../../etc/passwd\"}", CLAIMS);
    sign_hs256(&token, SECRET, strlen(SECRET));
    ck_assert_int_eq(judge(&keys, &token), SL_TOKEN_NO_KEY);
    sl_token_keys_deinit(&keys);
}
END_TEST

/* The key of RFC 7515, appendix A.2, and the token that it has signed. */
START_TEST(a_jwk_checks_the_token_of_the_standards_example)
{
    static const char jwk[] =
        "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"
        "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_"
        "7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb"
        "3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR"
        "WyuXpoQ\",\"e\":\"AQAB\"}";
    static const char token[] =
        "eyJhbGciOiJSUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5Y"
        "Kt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIAR"
        "NPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1p"
        "hCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    struct sl_token_keys keys = {0};
    ck_assert_int_eq(sl_token_keys_add_file(&keys, "jwk", sl_text_of(jwk), NULL), 0);
    /* The signature is good: what is missing is only what the example does not claim. */
    ck_assert_int_eq(judge_text(&keys, sl_text_of(token)), SL_TOKEN_OTHER_AUDIENCE);
    sl_token_keys_deinit(&keys);
}
END_TEST

START_TEST(a_file_that_is_no_key_for_us_is_refused_with_what_to_do)
{
    static const struct {
        const char *contents;
        const char *expected;
    } cases[] = {
        {"", "neither PEM"},
        {"0123456789abcdef0123456789abcdef", "neither PEM"},
        {"-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n", "private key"},
        {"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "openssl x509"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in PEM"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\"}", "another kind"},
        {"{\"kty\":\"oct\",\"k\":\"AAAA\"}", "at least 32"},
        {"{\"kty\":\"oct\",\"alg\":\"HS512\",\"k\":\"AAAA\"}", "another algorithm"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\",\"d\":\"AQAB\"}", "private key"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "at least 2048"},
        {"{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "not for signatures"},
        {"{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}", "no RSA public key"},
        {"{\"k\": \"top secret", "no JSON"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sl_token_keys keys = {0};
        struct sluice_error error;
        ck_assert_int_eq(
            sl_token_keys_add_file(&keys, "key.pem", sl_text_of(cases[i].contents), &error), -1);
        ck_assert_msg(strstr(error.text, cases[i].expected) != NULL, "%s", error.text);
        ck_assert_msg(strstr(error.text, "key.pem") != NULL, "%s", error.text);
        ck_assert_msg(strstr(error.text, "top secret") == NULL, "%s", error.text);
        ck_assert_uint_eq(keys.count, 0);
        sl_token_keys_deinit(&keys);
    }
}
END_TEST

UNIT_MAIN("token", a_good_token_says_whose_it_is_and_when_it_ends,
    claims_that_are_missing_or_not_ours_are_refused, the_issuer_counts_where_one_is_asked_for,
    a_public_key_is_never_the_secret_of_hs256, what_the_token_says_of_its_algorithm_changes_nothing,
    a_changed_byte_anywhere_spoils_a_token, another_secret_or_key_does_not_sign_for_us,
    what_is_no_token_is_refused_whatever_its_size, with_several_keys_the_kid_names_one,
    a_jwk_checks_the_token_of_the_standards_example,
    a_file_that_is_no_key_for_us_is_refused_with_what_to_do)
