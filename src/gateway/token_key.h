/*
 * gateway/token_key.h - what a key is to the two files of tokens: token_keys.c, which reads keys,
 * and token.c, which uses them.
 */
#ifndef SL_GATEWAY_TOKEN_KEY_H
#define SL_GATEWAY_TOKEN_KEY_H

#include "gateway/token.h"

/* Which of the two a key is decides how it is used; a token has no say in it. */
enum sl_token_algorithm { SL_TOKEN_HS256, SL_TOKEN_RS256 };

struct sl_token_key {
    struct sl_token_key *next;
    enum sl_token_algorithm algorithm;
    char id[SL_JWT_NAME_SIZE_MAX]; /* its kid; "" without one */
    void *public_key;              /* RS256: an EVP_PKEY */
    unsigned char *secret;         /* HS256 */
    size_t secret_size;
};

/**
 * Whether the key has made the signature of these bytes. Comparing takes as long for a bad one.
 */
bool sl_token_key_has_signed(const struct sl_token_key *key, struct sl_text bytes,
    const unsigned char *signature, size_t signature_size);

#endif
