/*
 * Keys: what their files hold, and their signatures. Only public keys and shared secrets are read;
 * which algorithm a key is for follows from what it is.
 */
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "gateway/token_key.h"
#include "wire/base64url.h"
#include "wire/json_pointer.h"

enum { KEYS_MAX = 16, KEY_BYTES_MAX = 2048, MEMBER_SIZE_MAX = 4096 };

bool sl_token_key_has_signed(const struct sl_token_key *key, struct sl_text bytes,
    const unsigned char *signature, size_t signature_size)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    if (key->algorithm == SL_TOKEN_HS256) {
        unsigned char expected[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        return HMAC(EVP_sha256(), key->secret, (int)key->secret_size, data, bytes.size, expected,
                   &size) != NULL &&
               size == signature_size && CRYPTO_memcmp(expected, signature, size) == 0;
    }
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool is_good = digest != NULL &&
                   EVP_DigestVerifyInit(digest, NULL, EVP_sha256(), NULL, key->public_key) == 1 &&
                   EVP_DigestVerify(digest, signature, signature_size, data, bytes.size) == 1;
    EVP_MD_CTX_free(digest);
    ERR_clear_error();
    return is_good;
}

static void free_key(struct sl_token_key *key)
{
    if (key == NULL) {
        return;
    }
    EVP_PKEY_free(key->public_key);
    if (key->secret != NULL) {
        OPENSSL_cleanse(key->secret, key->secret_size);
    }
    sl_free(key->secret);
    sl_free(key);
}

void sl_token_keys_deinit(struct sl_token_keys *keys)
{
    while (keys->first != NULL) {
        struct sl_token_key *next = keys->first->next;
        free_key(keys->first);
        keys->first = next;
    }
    keys->count = 0;
}

/* Put a key into the list; one that does not fit is freed. */
static int add_key(
    struct sl_token_keys *keys, struct sl_token_key *take_key, struct sluice_error *error)
{
    if (keys->count == KEYS_MAX) {
        free_key(take_key);
        return sl_fail(
            error, SLUICE_INVALID, SLUICE_REJECT, "there are more than %d keys", KEYS_MAX);
    }
    take_key->next = keys->first;
    keys->first = take_key;
    keys->count++;
    return 0;
}

static struct sl_token_key *new_key(enum sl_token_algorithm algorithm, const char *id)
{
    struct sl_token_key *key = sl_allocate(sizeof(*key));
    if (key != NULL) {
        key->algorithm = algorithm;
        snprintf(key->id, sizeof(key->id), "%s", id);
    }
    return key;
}

static bool has(struct sl_text text, const char *part)
{
    return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

/* Whether a secret is what a public key's file holds, in whatever form: anybody can read that. */
static bool looks_public(struct sl_text secret)
{
    return has(secret, "-----BEGIN") || has(secret, "\"kty\"") || has(secret, "ssh-rsa ") ||
           memcmp(secret.data, "MII", 3) == 0 || memcmp(secret.data, "\x30\x82", 2) == 0;
}

static int add_secret(
    struct sl_token_keys *keys, const char *id, struct sl_text secret, struct sluice_error *error)
{
    if (secret.size < SL_TOKEN_SECRET_SIZE_MIN) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the secret has %zu bytes; HS256 needs at least %d, as `openssl rand -hex 32` makes "
            "them",
            secret.size, SL_TOKEN_SECRET_SIZE_MIN);
    }
    if (looks_public(secret)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the secret looks like a public key: if what anybody can read were the secret of "
            "HS256, anybody could sign; name its file as a key file instead");
    }
    struct sl_token_key *key = new_key(SL_TOKEN_HS256, id);
    if (key != NULL) {
        key->secret = (unsigned char *)sl_copy_bytes(secret.data, secret.size);
        key->secret_size = key->secret == NULL ? 0 : secret.size;
    }
    if (key == NULL || key->secret == NULL) {
        free_key(key);
        return sl_fail_memory(error, "a key");
    }
    return add_key(keys, key, error);
}

int sl_token_keys_add_secret(
    struct sl_token_keys *keys, struct sl_text secret, struct sluice_error *error)
{
    return add_secret(keys, "", secret, error);
}

/* Take a public key, if it is one that RS256 can be checked with. */
static int add_public(
    struct sl_token_keys *keys, const char *id, EVP_PKEY *take_key, struct sluice_error *error)
{
    struct sl_token_key *key = NULL;
    if (EVP_PKEY_get_base_id(take_key) != EVP_PKEY_RSA) {
        sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_REJECT,
            "the key is not RSA; tokens are checked with HS256 and RS256 in this version");
    } else if (EVP_PKEY_get_bits(take_key) < SL_TOKEN_RSA_BITS_MIN) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the key has %d bits; at least %d are needed",
            EVP_PKEY_get_bits(take_key), SL_TOKEN_RSA_BITS_MIN);
    } else {
        key = new_key(SL_TOKEN_RS256, id);
        if (key == NULL) {
            sl_fail_memory(error, "a key");
        }
    }
    if (key == NULL) {
        EVP_PKEY_free(take_key);
        return -1;
    }
    key->public_key = take_key;
    return add_key(keys, key, error);
}

static int add_pem(struct sl_token_keys *keys, struct sl_text text, struct sluice_error *error)
{
    if (has(text, "PRIVATE KEY-----")) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "it holds a private key, which only the issuer should have; give the public one: "
            "openssl pkey -in FILE -pubout");
    }
    if (has(text, "-----BEGIN CERTIFICATE")) {
        return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_REJECT,
            "it holds a certificate, whose end nobody would watch here; give its public key: "
            "openssl x509 -in FILE -pubkey -noout");
    }
    BIO *input = BIO_new_mem_buf(text.data, (int)text.size);
    EVP_PKEY *key = input == NULL ? NULL : PEM_read_bio_PUBKEY(input, NULL, NULL, NULL);
    bool has_more =
        key != NULL && has((struct sl_text){text.data + 1, text.size - 1}, "-----BEGIN");
    BIO_free(input);
    ERR_clear_error();
    if (key == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "it is no public key in PEM (-----BEGIN PUBLIC KEY-----)");
    }
    if (has_more) {
        EVP_PKEY_free(key);
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "it holds more than one key; give each a file of its own");
    }
    return add_public(keys, "", key, error);
}

/* Numbers of a JWK into a key. NULL if they are none. */
static EVP_PKEY *build_rsa(const unsigned char *modulus, size_t modulus_size,
    const unsigned char *exponent, size_t exponent_size)
{
    EVP_PKEY *key = NULL;
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_size, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_size, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    if (n != NULL && e != NULL && builder != NULL && context != NULL && BN_is_odd(n) &&
        BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        params = OSSL_PARAM_BLD_to_param(builder);
    }
    if (params == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        key = NULL;
    }
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    BN_free(n);
    BN_free(e);
    ERR_clear_error();
    return key;
}

/* A JWK that is read: its JSON, where in it the key stands, and room for a member. */
struct jwk {
    const struct sl_json *json;
    const char *prefix; /* "" or "/keys/0" */
    struct sl_buffer member;
};

/* A member of a JWK as text; data is NULL if it has none. It is valid until the next one. */
static struct sl_text member_of(struct jwk *jwk, const char *name)
{
    char pointer[64];
    snprintf(pointer, sizeof(pointer), "%s/%s", jwk->prefix, name);
    sl_buffer_clear(&jwk->member);
    return sl_json_find_scalar(jwk->json, sl_text_of(pointer), &jwk->member, NULL) == 0
               ? (struct sl_text){jwk->member.data, jwk->member.size}
               : (struct sl_text){NULL, 0};
}

static int add_jwk_rsa(
    struct sl_token_keys *keys, const char *id, struct jwk *jwk, struct sluice_error *error)
{
    unsigned char modulus[KEY_BYTES_MAX];
    unsigned char exponent[KEY_BYTES_MAX];
    size_t modulus_size = 0;
    size_t exponent_size = 0;
    EVP_PKEY *key = NULL;
    if (member_of(jwk, "d").data != NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "it holds a private key (d), which only the issuer should have; give the public one");
    }
    if (sl_base64url_decode(member_of(jwk, "n"), modulus, sizeof(modulus), &modulus_size) &&
        sl_base64url_decode(member_of(jwk, "e"), exponent, sizeof(exponent), &exponent_size)) {
        key = build_rsa(modulus, modulus_size, exponent, exponent_size);
    }
    return key == NULL ? sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                             "its n and e are no RSA public key in base64url")
                       : add_public(keys, id, key, error);
}

static int add_jwk(struct sl_token_keys *keys, struct jwk *jwk, struct sluice_error *error)
{
    char id[SL_JWT_NAME_SIZE_MAX] = "";
    unsigned char secret[KEY_BYTES_MAX];
    size_t size;
    struct sl_text kid = member_of(jwk, "kid");
    if (kid.size >= sizeof(id) || !sl_text_is_clean_utf8(kid)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "its kid is no short text");
    }
    snprintf(id, sizeof(id), "%.*s", (int)kid.size, kid.data == NULL ? "" : kid.data);
    bool is_rsa = sl_text_equal(member_of(jwk, "kty"), SL_TEXT("RSA"));
    if (!is_rsa && !sl_text_equal(member_of(jwk, "kty"), SL_TEXT("oct"))) {
        return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_REJECT,
            "it is a JWK of another kind (kty) than RSA and oct; tokens are checked with RS256 "
            "and HS256 in this version");
    }
    struct sl_text algorithm = member_of(jwk, "alg");
    if (algorithm.data != NULL &&
        !sl_text_equal(algorithm, sl_text_of(is_rsa ? "RS256" : "HS256"))) {
        return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_REJECT,
            "the JWK is for another algorithm (alg) than %s", is_rsa ? "RS256" : "HS256");
    }
    struct sl_text use = member_of(jwk, "use");
    if (use.data != NULL && !sl_text_equal(use, SL_TEXT("sig"))) {
        return sl_fail(
            error, SLUICE_UNSUPPORTED, SLUICE_REJECT, "the JWK is not for signatures (use)");
    }
    if (is_rsa) {
        return add_jwk_rsa(keys, id, jwk, error);
    }
    if (!sl_base64url_decode(member_of(jwk, "k"), secret, sizeof(secret), &size)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "its k is no secret in base64url");
    }
    int result = add_secret(keys, id, (struct sl_text){(const char *)secret, size}, error);
    OPENSSL_cleanse(secret, sizeof(secret));
    return result;
}

/* How many keys a set has that say what they are. */
static size_t count_set(const struct sl_json *json)
{
    char pointer[64];
    struct sl_buffer ignored;
    size_t count = 0;
    sl_buffer_init(&ignored, MEMBER_SIZE_MAX);
    do {
        sl_buffer_clear(&ignored);
        snprintf(pointer, sizeof(pointer), "/keys/%zu/kty", count);
    } while (
        sl_json_find_scalar(json, sl_text_of(pointer), &ignored, NULL) == 0 && count++ < KEYS_MAX);
    sl_buffer_deinit(&ignored);
    return count;
}

static int add_json(struct sl_token_keys *keys, struct sl_text text, struct sluice_error *error)
{
    char prefix[32] = "";
    struct sl_json *json;
    struct sluice_error found;
    if (sl_json_parse(text, &json, &found) != 0) {
        /* The parser's own words could quote a secret. */
        return found.reaction == SLUICE_RETRY
                   ? sl_fail_memory(error, "a key")
                   : sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "it is no JSON");
    }
    struct jwk jwk = {.json = json, .prefix = prefix};
    sl_buffer_init(&jwk.member, MEMBER_SIZE_MAX);
    size_t count = count_set(json);
    int result = count == 0 ? add_jwk(keys, &jwk, error) : 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        snprintf(prefix, sizeof(prefix), "/keys/%zu", i);
        result = add_jwk(keys, &jwk, error);
    }
    if (jwk.member.data != NULL) {
        OPENSSL_cleanse(jwk.member.data, jwk.member.capacity);
    }
    sl_buffer_deinit(&jwk.member);
    sl_json_free(json);
    return result;
}

int sl_token_keys_add_file(struct sl_token_keys *keys, const char *name, struct sl_text contents,
    struct sluice_error *error)
{
    struct sluice_error cause;
    struct sl_text text = contents;
    while (text.size > 0 && memchr(" \t\r\n", text.data[0], 4) != NULL) {
        text = (struct sl_text){text.data + 1, text.size - 1};
    }
    int result;
    if (has(text, "-----BEGIN")) {
        result = add_pem(keys, text, &cause);
    } else if (text.size > 0 && text.data[0] == '{') {
        result = add_json(keys, text, &cause);
    } else {
        result = sl_fail(&cause, SLUICE_INVALID, SLUICE_REJECT,
            "it is neither PEM (-----BEGIN PUBLIC KEY-----) nor a JWK ({\"kty\": ...})");
    }
    return result == 0 ? 0
                       : sl_fail(error, cause.code, cause.reaction, "the key file %s: %s", name,
                             cause.text);
}
