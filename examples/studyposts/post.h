/*
 * post.h - posts, and what search is told of them.
 *
 *     OPEN    by approvals -> FULL    by its author, or its deadline -> CLOSED
 *     FULL    by its author -> CLOSED
 *
 * Whatever changes a post goes through post_insert, post_change or post_delete, and each of them
 * publishes to post-sync in the same transaction: no change is forgotten. The event carries the
 * post and its version, which rises with each change, so that whoever applies it needs nothing else
 * and can tell what is newer.
 */
#ifndef EXAMPLES_STUDYPOSTS_POST_H
#define EXAMPLES_STUDYPOSTS_POST_H

#include "web.h"

#define POST_SYNC_TOPIC "post-sync" /* key: the post's id */

enum { TITLE_MAX = 100, DESCRIPTION_MAX = 5000, TECH_STACK_MAX = 255, NICKNAME_MAX = 50 };

struct post {
    char id[ID_SIZE];
    char author_id[ID_SIZE];
    char author_nickname[NICKNAME_MAX * 4 + 1];
    char title[TITLE_MAX * 4 + 1];
    char description[DESCRIPTION_MAX * 4 + 1];
    char tech_stack[TECH_STACK_MAX * 4 + 1];
    int64_t max_members;
    int64_t deadline_ms;
    char status[8];
    int64_t version;
    int64_t created_ms;
    int64_t updated_ms;
};

/* CREATE TABLE statements for sql_make_tables. */
extern const char *const post_tables[];

/* The routes of posts themselves. */
enum MHD_Result post_create(const struct call *call);
enum MHD_Result post_update(const struct call *call);
enum MHD_Result post_close(const struct call *call);
enum MHD_Result post_remove(const struct call *call);
enum MHD_Result post_list(const struct call *call);
enum MHD_Result post_detail(const struct call *call);

/**
 * Load a post, and lock it if asked to: 1, 0 if there is none, -1 with `error`.
 */
int post_load(sluice_database *database, const char *id, int is_locked, struct post *ret_post,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Store a changed post, which is locked, as its next version, and tell search. 0, or -1 with
 * `error`.
 */
int post_change(sluice_database *database, struct post *post, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether it can be applied to and approved in: OPEN, and its deadline ahead. The deadline holds
 * from its second on, not from the next run of some job.
 */
int post_is_open(const struct post *post);

#endif
