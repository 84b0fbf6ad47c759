#include "token.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PART_SIZE_MAX = 256 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* --- base64url, without padding -------------------------------------------------------------- */

/* Write the digits of some bytes and a NUL; how many digits. `target` has room for 4/3 of them. */
static size_t encode(const void *bytes, size_t size, char *target)
{
    const unsigned char *byte = bytes;
    size_t written = 0;
    for (size_t bit = 0; bit < size * 8; bit += 6) {
        unsigned int pair = (unsigned int) byte[bit / 8] << 8;
        pair |= bit / 8 + 1 < size ? byte[bit / 8 + 1] : 0;
        target[written++] = digits[(pair >> (10 - bit % 8)) & 63];
    }
    target[written] = '\0';
    return written;
}

/* Read digits into at most `size_max` bytes: how many, or -1 if there is anything else or more. */
static int64_t decode(const char *text, unsigned char *target, size_t size_max)
{
    unsigned int bits = 0;
    unsigned int bit_count = 0;
    size_t written = 0;
    for (; *text != '\0'; text++) {
        const char *digit = strchr(digits, *text);
        if (digit == NULL) {
            return -1;
        }
        bits = (bits << 6 | (unsigned int) (digit - digits)) & 0xffff;
        bit_count += 6;
        if (bit_count >= 8) {
            if (written == size_max) {
                return -1;
            }
            bit_count -= 8;
            target[written++] = (unsigned char) (bits >> bit_count);
        }
    }
    return (int64_t) written;
}

/* --- tokens ---------------------------------------------------------------------------------- */

int token_secret_read(const char *file, struct token_secret *ret_secret, struct sluice_error *error)
{
    json_error_t cause;
    json_t *key = json_load_file(file, JSON_REJECT_DUPLICATES, &cause);
    const char *kind = json_string_value(json_object_get(key, "kty"));
    const char *text = json_string_value(json_object_get(key, "k"));
    int64_t size = kind != NULL && strcmp(kind, "oct") == 0 && text != NULL
        ? decode(text, ret_secret->bytes, sizeof(ret_secret->bytes))
        : -1;
    json_decref(key);
    if (size < TOKEN_SECRET_SIZE_MIN) {
        *error = (struct sluice_error) {.code = SLUICE_INVALID, .reaction = SLUICE_FATAL};
        snprintf(error->text, sizeof(error->text),
            "%s is no file with the tokens' secret: it must hold {\"kty\": \"oct\","
            " \"k\": %d to %d bytes in base64url}",
            file, TOKEN_SECRET_SIZE_MIN, TOKEN_SECRET_SIZE_MAX);
        return -1;
    }
    ret_secret->size = (size_t) size;
    return 0;
}

int token_make(const struct token_secret *secret, int64_t user_id, int64_t lifetime_s,
    char ret_token[TOKEN_SIZE])
{
    static const char head[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char claims[PART_SIZE_MAX];
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned int signature_size = 0;
    int64_t now_s = (int64_t) time(NULL);
    int size = snprintf(claims, sizeof(claims),
        "{\"sub\":\"%" PRId64 "\",\"aud\":\"orders\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
        user_id, now_s, now_s + lifetime_s);
    size_t written = encode(head, sizeof(head) - 1, ret_token);
    ret_token[written++] = '.';
    written += encode(claims, (size_t) size, ret_token + written);
    if (HMAC(EVP_sha256(), secret->bytes, (int) secret->size, (const unsigned char *) ret_token,
            written, signature, &signature_size) == NULL) {
        return -1;
    }
    ret_token[written++] = '.';
    encode(signature, signature_size, ret_token + written);
    return 0;
}
