/*
 * apply.h - applications to posts: PENDING -> APPROVED or REJECTED, once; or taken back.
 *
 * Each change is one transaction: the application, the post if the last seat is taken, what search
 * is told of that, and the notification. Locks are taken in the order post, application.
 */
#ifndef EXAMPLES_STUDYPOSTS_APPLY_H
#define EXAMPLES_STUDYPOSTS_APPLY_H

#include "web.h"

extern const char *const apply_tables[];

/* POST, DELETE and GET /api/posts/{id}/applies; PATCH /api/applies/{id}/approve and /reject */
enum MHD_Result apply_create(const struct call *call);
enum MHD_Result apply_cancel(const struct call *call);
enum MHD_Result apply_list(const struct call *call);
enum MHD_Result apply_approve(const struct call *call);
enum MHD_Result apply_reject(const struct call *call);

#endif
