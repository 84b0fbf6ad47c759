/*
 * token.h - the tokens that the member service gives out, and the gateway checks.
 *
 * A token is a JWT, signed with HS256 by a secret that the two share: a JWK in a file, which the
 * gateway reads as gateway.token.key_files. It says whose it is (sub), that it is for this shop
 * (aud), and when it ends (exp).
 */
#ifndef EXAMPLES_ORDERS_TOKEN_H
#define EXAMPLES_ORDERS_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include <sluice/error.h>

enum { TOKEN_SIZE = 512, TOKEN_SECRET_SIZE_MIN = 32, TOKEN_SECRET_SIZE_MAX = 64 };

struct token_secret {
    unsigned char bytes[TOKEN_SECRET_SIZE_MAX];
    size_t size;
};

/**
 * Read the secret of a JWK file: {"kty": "oct", "k": 32 to 64 bytes in base64url}. 0, or -1 with
 * `error`, which never shows what was read.
 */
int token_secret_read(const char *file, struct token_secret *ret_secret, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Make a token of a user that is good for `lifetime_s` from now on. 0, or -1 if there is no memory.
 */
int token_make(const struct token_secret *secret, int64_t user_id, int64_t lifetime_s,
    char ret_token[TOKEN_SIZE]) __attribute__((warn_unused_result));

#endif
