/*
 * caller.h - whose request it is, as the gateway says.
 *
 * The gateway checks the token and tells the services whose it is in X-Authenticated-User-Id; a
 * client's own field of that name never gets through it. A service believes the field for that
 * reason only, so it listens where nobody but the gateway can reach it.
 */
#ifndef EXAMPLES_ORDERS_CALLER_H
#define EXAMPLES_ORDERS_CALLER_H

#include "service.h"

/**
 * The user who is behind a request, or -1 if the gateway has named none.
 */
int64_t caller_of(const struct request *request);

/**
 * Answer 401: this needs a user who has logged in.
 */
enum MHD_Result answer_nobody(const struct request *request);

/**
 * Read the option --members: 1 for "on", 0 for "off"; all else ends the process with status 2.
 */
int members_option(const char *text);

#endif
