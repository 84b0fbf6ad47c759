/*
 * wire/jwt.h - signed tokens (RFC 7519, in JWS compact form) taken apart: bytes in, values out.
 *
 * Nothing here is believed yet: whether the signature is good, and what the claims are worth, is
 * for gateway/token.h to say. What a token says about its own key (jwk, jku, x5u, x5c) is not even
 * read. A token with extensions that must be understood (crit) is refused, as is an encrypted one.
 */
#ifndef SL_WIRE_JWT_H
#define SL_WIRE_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    SL_JWT_SIZE_MAX = 8192, /* a longer token is not looked at */
    SL_JWT_SIGNATURE_SIZE_MAX = 1024,
    SL_JWT_NAME_SIZE_MAX = 128 /* of the algorithm and the key's id */
};

/* What a token claims: a JSON object. */
struct sl_claims;

struct sl_jwt {
    struct sl_text signed_part;           /* a view of the token: header and claims, as they came */
    char algorithm[SL_JWT_NAME_SIZE_MAX]; /* as the header says */
    char key_id[SL_JWT_NAME_SIZE_MAX];    /* "" without one */
    unsigned char signature[SL_JWT_SIGNATURE_SIZE_MAX];
    size_t signature_size;
    struct sl_claims *claims;
};

/**
 * Take a token apart. On success `ret_jwt` is to be given to sl_jwt_deinit, and the token's bytes
 * must stay. SLUICE_INVALID says what is wrong without a byte of the token; SLUICE_NO_MEMORY says
 * nothing about it.
 */
int sl_jwt_parse(struct sl_text token, struct sl_jwt *ret_jwt, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Free the claims. NULL claims, taken out by the caller, are fine.
 */
void sl_jwt_deinit(struct sl_jwt *jwt);

/**
 * Free claims that were taken out of a token. NULL is fine.
 */
void sl_claims_free(struct sl_claims *claims);

/**
 * A point in time (seconds since 1970). 1: it is there, 0: it is not, -1: it is no such number.
 */
int sl_claims_time(const struct sl_claims *claims, const char *name, int64_t *ret_time_s)
    __attribute__((warn_unused_result));

/**
 * Whether the claim is this text, or a list that has it.
 */
bool sl_claims_has(const struct sl_claims *claims, const char *name, struct sl_text value);

/**
 * Whether there is a claim of this name, of whatever kind.
 */
bool sl_claims_is_there(const struct sl_claims *claims, struct sl_text name);

/**
 * A claim that is a text, not empty: a view that lives as long as the claims. data is NULL if there
 * is none, or it is something else.
 */
struct sl_text sl_claims_text(const struct sl_claims *claims, struct sl_text name);

#endif
