/*
 * support/tokens.h - who a bearer token belongs to, from a file: one line a token, "TOKEN USER_ID".
 *
 * For an example this stands in for an identity service. The file is read once, at the start.
 */
#ifndef EXAMPLES_SUPPORT_TOKENS_H
#define EXAMPLES_SUPPORT_TOKENS_H

#include "service.h"

struct tokens;

/**
 * Read a file of tokens; the caller's until tokens_free. NULL with `error` filled in if it cannot
 * be read, or a line is none of ours; a token is never shown.
 */
struct tokens *tokens_load(const char *file, struct sluice_error *error);

/**
 * The user of the request's `Authorization: Bearer TOKEN`, or -1.
 */
int64_t tokens_user(const struct tokens *tokens, const struct request *request);

/**
 * Free the tokens; NULL is fine.
 */
void tokens_free(struct tokens *tokens);

#endif
