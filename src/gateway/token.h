/*
 * gateway/token.h - whose request is it: tokens, judged.
 *
 * Pure but for the memory: a token, the keys and the time in, a verdict out. The algorithm is bound
 * to the key, and what the token says of it only chooses among the keys: a public key is never a
 * secret of HS256, and "none" is no algorithm. A good token
 *
 *   - is signed by one of the keys (and, where both name it, by the one of its `kid`);
 *   - has an end (exp) that has not come, and is not from the future (nbf);
 *   - is for us (aud), and from the issuer, where one is asked for (iss).
 */
#ifndef SL_GATEWAY_TOKEN_H
#define SL_GATEWAY_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "wire/jwt.h"

enum {
    SL_TOKEN_SECRET_SIZE_MIN = 32, /* as RFC 7518 demands of HS256 */
    SL_TOKEN_RSA_BITS_MIN = 2048,
    SL_TOKEN_SUBJECT_SIZE_MAX = 256
};

struct sl_token_key;

/* Keys, all of which are good; all zero: none. */
struct sl_token_keys {
    struct sl_token_key *first;
    size_t count;
};

/* What a token must say. */
struct sl_token_rules {
    const char *audience;
    const char *issuer; /* NULL: any */
    int64_t leeway_s;   /* how far clocks may differ */
};

/* Why a token is not good. */
enum sl_token_fault {
    SL_TOKEN_GOOD,
    SL_TOKEN_MALFORMED,
    SL_TOKEN_NO_KEY, /* no key of ours for its algorithm and kid */
    SL_TOKEN_NOT_SIGNED,
    SL_TOKEN_NO_END,
    SL_TOKEN_EXPIRED,
    SL_TOKEN_NOT_YET,
    SL_TOKEN_OTHER_AUDIENCE,
    SL_TOKEN_OTHER_ISSUER,
    SL_TOKEN_BAD_SUBJECT,
    SL_TOKEN_NO_MEMORY /* says nothing about the token */
};

/* A good token; all zero: none. */
struct sl_token {
    struct sl_claims *claims;
    struct sl_text subject; /* a view of the claims; empty: it has none */
    int64_t expires_s;      /* when it is not good any more: with the leeway */
};

/**
 * Add a secret of HS256. SLUICE_INVALID if it is too short, or looks as if it were a key's file: a
 * public key that is taken for a secret would let anybody sign.
 */
int sl_token_keys_add_secret(struct sl_token_keys *keys, struct sl_text secret,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Add what a key's file holds: an RS256 public key in PEM, or a JWK or a set of them (RSA: RS256,
 * oct: HS256). `name` is the file's, for the messages. SLUICE_INVALID says what is wrong with it,
 * SLUICE_UNSUPPORTED that it is a good key of a kind that is not used here; some of a set may have
 * been added then.
 */
int sl_token_keys_add_file(struct sl_token_keys *keys, const char *name, struct sl_text contents,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Free the keys, and wipe the secrets. Fine on a zeroed one.
 */
void sl_token_keys_deinit(struct sl_token_keys *keys);

/**
 * Judge a token at `now_s`. On SL_TOKEN_GOOD `ret_token` is to be given to sl_token_deinit.
 */
enum sl_token_fault sl_token_verify(const struct sl_token_keys *keys,
    const struct sl_token_rules *rules, struct sl_text text, int64_t now_s,
    struct sl_token *ret_token) __attribute__((warn_unused_result));

/**
 * A fault in words, which are constant and fit into a field: "the token has expired".
 */
const char *sl_token_fault_text(enum sl_token_fault fault);

/**
 * Free a token. Fine on a zeroed one.
 */
void sl_token_deinit(struct sl_token *token);

#endif
