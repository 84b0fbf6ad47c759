/*
 * account.h - users, and the token that stands in for a sign-in: whoever gives a nickname is that
 * user. It is a JWT (HS256) with the user's id as its subject; the gateway has the secret, too.
 */
#ifndef EXAMPLES_STUDYPOSTS_ACCOUNT_H
#define EXAMPLES_STUDYPOSTS_ACCOUNT_H

#include "web.h"

extern const char *const account_tables[];

/**
 * Read the secret of the tokens from a file: 32 bytes at least. 0, or -1 with `error`.
 */
int account_secret_load(const char *file, struct sluice_error *error);

/**
 * POST /api/auth/dev {nickname, techStack?}: the user, made if need be, and a token.
 *
 * The token comes in the body, for `Authorization: Bearer`, and as a cookie for the streams alone,
 * since an EventSource cannot send that header. Its paths are so narrow that no request which
 * changes anything carries it, and that one browser can hold several users' cookies.
 */
enum MHD_Result account_sign_in(const struct call *call);

#endif
