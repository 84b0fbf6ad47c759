#include "gateway/token.h"

#include <string.h>

#include "gateway/token_key.h"

static bool is_for(const struct sl_token_key *key, const struct sl_jwt *jwt)
{
    const char *algorithm = key->algorithm == SL_TOKEN_HS256 ? "HS256" : "RS256";
    bool is_other =
        key->id[0] != '\0' && jwt->key_id[0] != '\0' && strcmp(key->id, jwt->key_id) != 0;
    return strcmp(jwt->algorithm, algorithm) == 0 && !is_other;
}

static enum sl_token_fault check_signature(
    const struct sl_token_keys *keys, const struct sl_jwt *jwt)
{
    enum sl_token_fault fault = SL_TOKEN_NO_KEY;
    for (const struct sl_token_key *key = keys->first; key != NULL; key = key->next) {
        if (!is_for(key, jwt)) {
            continue;
        }
        if (sl_token_key_has_signed(key, jwt->signed_part, jwt->signature, jwt->signature_size)) {
            return SL_TOKEN_GOOD;
        }
        fault = SL_TOKEN_NOT_SIGNED;
    }
    return fault;
}

static enum sl_token_fault check_times(const struct sl_claims *claims,
    const struct sl_token_rules *rules, int64_t now_s, int64_t *ret_expires_s)
{
    int64_t from_s = 0;
    int64_t until_s;
    if (sl_claims_time(claims, "exp", &until_s) != 1) {
        return SL_TOKEN_NO_END;
    }
    if (sl_claims_time(claims, "nbf", &from_s) < 0 || from_s - rules->leeway_s > now_s) {
        return SL_TOKEN_NOT_YET;
    }
    *ret_expires_s = until_s + rules->leeway_s;
    return now_s >= *ret_expires_s ? SL_TOKEN_EXPIRED : SL_TOKEN_GOOD;
}

/* It goes into a field of requests to upstreams, so it must be one. */
static enum sl_token_fault read_subject(const struct sl_claims *claims, struct sl_text *ret_subject)
{
    struct sl_text subject = sl_claims_text(claims, SL_TEXT("sub"));
    bool is_clean = subject.size <= SL_TOKEN_SUBJECT_SIZE_MAX && sl_text_is_clean_utf8(subject) &&
                    sl_text_trim(subject).size == subject.size;
    if (!is_clean || (subject.size == 0 && sl_claims_is_there(claims, SL_TEXT("sub")))) {
        return SL_TOKEN_BAD_SUBJECT;
    }
    *ret_subject = subject;
    return SL_TOKEN_GOOD;
}

static enum sl_token_fault check_claims(const struct sl_claims *claims,
    const struct sl_token_rules *rules, int64_t now_s, struct sl_token *token)
{
    enum sl_token_fault fault = check_times(claims, rules, now_s, &token->expires_s);
    if (fault != SL_TOKEN_GOOD) {
        return fault;
    }
    if (!sl_claims_has(claims, "aud", sl_text_of(rules->audience))) {
        return SL_TOKEN_OTHER_AUDIENCE;
    }
    if (rules->issuer != NULL &&
        !sl_text_equal(sl_claims_text(claims, SL_TEXT("iss")), sl_text_of(rules->issuer))) {
        return SL_TOKEN_OTHER_ISSUER;
    }
    return read_subject(claims, &token->subject);
}

enum sl_token_fault sl_token_verify(const struct sl_token_keys *keys,
    const struct sl_token_rules *rules, struct sl_text text, int64_t now_s,
    struct sl_token *ret_token)
{
    struct sl_jwt jwt;
    struct sl_token token = {0};
    struct sluice_error error;
    if (sl_jwt_parse(text, &jwt, &error) != 0) {
        return error.reaction == SLUICE_RETRY ? SL_TOKEN_NO_MEMORY : SL_TOKEN_MALFORMED;
    }
    /* Before the signature is known to be good no claim is looked at. */
    enum sl_token_fault fault = check_signature(keys, &jwt);
    if (fault == SL_TOKEN_GOOD) {
        fault = check_claims(jwt.claims, rules, now_s, &token);
    }
    if (fault == SL_TOKEN_GOOD) {
        token.claims = jwt.claims;
        jwt.claims = NULL;
        *ret_token = token;
    }
    sl_jwt_deinit(&jwt);
    return fault;
}

const char *sl_token_fault_text(enum sl_token_fault fault)
{
    static const char *const texts[] = {
        [SL_TOKEN_GOOD] = "the token is good",
        [SL_TOKEN_MALFORMED] = "the token is no signed JWT",
        [SL_TOKEN_NO_KEY] = "the token is signed in a way, or by a key, that is not known here",
        [SL_TOKEN_NOT_SIGNED] = "the token's signature is wrong",
        [SL_TOKEN_NO_END] = "the token has no end (exp)",
        [SL_TOKEN_EXPIRED] = "the token has expired",
        [SL_TOKEN_NOT_YET] = "the token is not good yet (nbf)",
        [SL_TOKEN_OTHER_AUDIENCE] = "the token is not for this service (aud)",
        [SL_TOKEN_OTHER_ISSUER] = "the token is from another issuer (iss)",
        [SL_TOKEN_BAD_SUBJECT] = "the token's subject (sub) is no short text",
        [SL_TOKEN_NO_MEMORY] = "there is no memory to check the token",
    };
    return texts[fault];
}

void sl_token_deinit(struct sl_token *token)
{
    sl_claims_free(token->claims);
    *token = (struct sl_token){0};
}
