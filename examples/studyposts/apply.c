#include "apply.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "notification.h"
#include "post.h"

enum { MESSAGE_MAX = 500 };

#define COLUMNS                                                                                    \
    "a.id, a.post_id, a.applicant_id, u.nickname, u.tech_stack, a.message, a.status, a.created_ms" \
    " FROM applies a JOIN users u ON u.id = a.applicant_id"

const char *const apply_tables[] = {
    "CREATE TABLE IF NOT EXISTS applies ("
    " id VARCHAR(36) NOT NULL PRIMARY KEY, post_id VARCHAR(36) NOT NULL,"
    " applicant_id VARCHAR(36) NOT NULL, message VARCHAR(500) NOT NULL,"
    " status VARCHAR(8) NOT NULL, created_ms BIGINT NOT NULL, UNIQUE (post_id, applicant_id))",
    "CREATE INDEX IF NOT EXISTS applies_post ON applies (post_id, status, created_ms)",
    "CREATE INDEX IF NOT EXISTS applies_applicant ON applies (applicant_id)", NULL};

struct apply {
    char id[ID_SIZE];
    char post_id[ID_SIZE];
    char applicant_id[ID_SIZE];
    char nickname[NICKNAME_MAX * 4 + 1];
    char tech_stack[TECH_STACK_MAX * 4 + 1];
    char message[MESSAGE_MAX * 4 + 1];
    char status[9];
    int64_t created_ms;
};

/* What a request does, and what became of it. */
struct wish {
    const struct call *call;
    struct refusal refusal;
    struct post post;
    struct apply apply;
    int is_approval;
};

static json_t *apply_object(const struct apply *apply)
{
    char created[LOCAL_TIME_SIZE];
    local_text(apply->created_ms, created);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", apply->id, "applicantNickname",
        apply->nickname, "applicantTechStack", apply->tech_stack, "message", apply->message,
        "status", apply->status, "createdAt", created);
}

static void apply_read(const struct rows *rows, struct apply *ret_apply)
{
    sql_copy(rows, 0, ret_apply->id, sizeof(ret_apply->id));
    sql_copy(rows, 1, ret_apply->post_id, sizeof(ret_apply->post_id));
    sql_copy(rows, 2, ret_apply->applicant_id, sizeof(ret_apply->applicant_id));
    sql_copy(rows, 3, ret_apply->nickname, sizeof(ret_apply->nickname));
    sql_copy(rows, 4, ret_apply->tech_stack, sizeof(ret_apply->tech_stack));
    sql_copy(rows, 5, ret_apply->message, sizeof(ret_apply->message));
    sql_copy(rows, 6, ret_apply->status, sizeof(ret_apply->status));
    ret_apply->created_ms = sql_integer(rows, 7);
}

/* The application of this id: 1, 0 or -1. */
static int apply_load(
    sluice_database *database, const char *id, struct apply *ret_apply, struct sluice_error *error)
{
    struct rows *rows = sql_query(database, error, "SELECT " COLUMNS " WHERE a.id = ?1", "t", id);
    if (rows == NULL) {
        return -1;
    }
    int found = sql_next(rows);
    if (found) {
        apply_read(rows, ret_apply);
    }
    sql_end(rows);
    return found;
}

static int no_post(struct wish *wish)
{
    return refuse(&wish->refusal, MHD_HTTP_NOT_FOUND, "POST_NOT_FOUND", "there is no post %s",
        wish->call->id);
}

static int no_apply(struct wish *wish, const char *message)
{
    return refuse(&wish->refusal, MHD_HTTP_NOT_FOUND, "APPLICATION_NOT_FOUND", "%s", message);
}

static int is_processed(struct wish *wish)
{
    return refuse(&wish->refusal, MHD_HTTP_CONFLICT, "APPLICATION_ALREADY_PROCESSED",
        "this application is %s", wish->apply.status);
}

static int is_closed(struct wish *wish)
{
    int is_late = strcmp(wish->post.status, "OPEN") == 0;
    return refuse(&wish->refusal, MHD_HTTP_BAD_REQUEST, "POST_CLOSED", "the post is %s",
        is_late ? "past its deadline" : wish->post.status);
}

/* Run a wish in a transaction, and answer with the application if it was granted. */
static enum MHD_Result grant(
    struct wish *wish, sluice_work work, unsigned int status, const char *code, const char *message)
{
    const struct request *request = wish->call->request;
    struct sluice_error error;
    if (sluice_transaction(wish->call->database, SLUICE_REQUIRED, work, wish, &error) != 0) {
        return answer_trouble(request, &error);
    }
    return wish->refusal.status != 0
        ? answer_refusal(request, &wish->refusal)
        : answer_success(request, status, code, message,
              wish->apply.id[0] != '\0' ? apply_object(&wish->apply) : NULL);
}

/* --- the applicant --------------------------------------------------------------------------- */

static int insert(sluice_database *database, struct wish *wish, struct sluice_error *error)
{
    struct apply *apply = &wish->apply;
    make_uuid(apply->id);
    snprintf(apply->status, sizeof(apply->status), "PENDING");
    apply->created_ms = clock_now();
    int inserted = sql_insert_once(database, error,
        "INSERT INTO applies (post_id, applicant_id, id, message, status, created_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        "ttttti", wish->post.id, wish->call->user_id, apply->id, apply->message, apply->status,
        apply->created_ms);
    if (inserted < 0) {
        return -1;
    }
    return inserted == 0
        ? refuse(&wish->refusal, MHD_HTTP_CONFLICT, "ALREADY_APPLIED",
              "you have applied to this post already")
        : notify(database, &wish->post, wish->post.author_id, "APPLY_RECEIVED", error);
}

static int apply_to_post(sluice_database *database, void *context, struct sluice_error *error)
{
    struct wish *wish = context;
    const struct call *call = wish->call;
    int found = post_load(database, call->id, 1, &wish->post, error);
    if (found < 0) {
        return -1;
    }
    if (found == 0) {
        return no_post(wish);
    }
    if (!post_is_open(&wish->post)) {
        return is_closed(wish);
    }
    if (strcmp(wish->post.author_id, call->user_id) == 0) {
        return refuse(
            &wish->refusal, MHD_HTTP_BAD_REQUEST, "CANNOT_APPLY_OWN_POST", "this post is your own");
    }
    struct rows *rows = sql_query(database, error,
        "SELECT nickname, tech_stack FROM users WHERE id = ?1", "t", call->user_id);
    if (rows == NULL) {
        return -1;
    }
    found = sql_next(rows);
    sql_copy(rows, 0, wish->apply.nickname, sizeof(wish->apply.nickname));
    sql_copy(rows, 1, wish->apply.tech_stack, sizeof(wish->apply.tech_stack));
    sql_end(rows);
    return found ? insert(database, wish, error)
                 : refuse(&wish->refusal, MHD_HTTP_NOT_FOUND, "USER_NOT_FOUND",
                       "there is no user %s: sign in again", call->user_id);
}

enum MHD_Result apply_create(const struct call *call)
{
    static const char *const fields[] = {"message", NULL};
    struct wish wish = {.call = call};
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(call->request, problem);
    int is_good = body != NULL && check_known(body, fields, problem) == 0 &&
        take_characters(body, "message", 0, MESSAGE_MAX, wish.apply.message,
            sizeof(wish.apply.message), problem) == 0;
    json_decref(body);
    return is_good
        ? grant(&wish, apply_to_post, MHD_HTTP_CREATED, "APPLY_CREATED", "the application is made")
        : answer_invalid(call->request, problem);
}

static int cancel(sluice_database *database, void *context, struct sluice_error *error)
{
    struct wish *wish = context;
    int found = post_load(database, wish->call->id, 1, &wish->post, error);
    struct rows *rows = found < 1 ? NULL
                                  : sql_query(database, error,
                                        "SELECT status FROM applies"
                                        " WHERE post_id = ?1 AND applicant_id = ?2 {lock}",
                                        "tt", wish->call->id, wish->call->user_id);
    if (found < 0 || (found == 1 && rows == NULL)) {
        return -1;
    }
    int is_there = sql_next(rows);
    if (is_there) {
        sql_copy(rows, 0, wish->apply.status, sizeof(wish->apply.status));
    }
    sql_end(rows);
    if (!is_there) {
        return no_apply(wish, "you have not applied to this post");
    }
    if (strcmp(wish->apply.status, "PENDING") != 0) {
        return is_processed(wish);
    }
    return sql_run(database, error, "DELETE FROM applies WHERE post_id = ?1 AND applicant_id = ?2",
               "tt", wish->call->id, wish->call->user_id) == 1
        ? 0
        : -1;
}

enum MHD_Result apply_cancel(const struct call *call)
{
    struct wish wish = {.call = call};
    return grant(&wish, cancel, MHD_HTTP_OK, "APPLY_CANCELED", "the application is taken back");
}

/* --- the author ------------------------------------------------------------------------------ */

/* The last seat makes the post FULL; that goes to search like any other change. */
static int fill(sluice_database *database, struct post *post, struct sluice_error *error)
{
    int64_t approved = sql_one(sql_query(database, error,
        "SELECT COUNT(*) FROM applies WHERE post_id = ?1 AND status = 'APPROVED'", "t", post->id));
    if (approved < 0) {
        return -1;
    }
    if (approved < post->max_members) {
        return 0;
    }
    snprintf(post->status, sizeof(post->status), "FULL");
    return post_change(database, post, error);
}

static int decide(sluice_database *database, struct wish *wish, struct sluice_error *error)
{
    struct apply *apply = &wish->apply;
    snprintf(
        apply->status, sizeof(apply->status), "%s", wish->is_approval ? "APPROVED" : "REJECTED");
    if (sql_run(database, error, "UPDATE applies SET status = ?1 WHERE id = ?2", "tt",
            apply->status, apply->id) != 1 ||
        (wish->is_approval && fill(database, &wish->post, error) != 0)) {
        return -1;
    }
    return notify(database, &wish->post, apply->applicant_id,
        wish->is_approval ? "APPLY_APPROVED" : "APPLY_REJECTED", error);
}

static int process(sluice_database *database, void *context, struct sluice_error *error)
{
    struct wish *wish = context;
    const char *id = wish->call->id;
    /* First where it belongs; it counts as it is read again behind the post's lock. */
    int found = apply_load(database, id, &wish->apply, error);
    if (found == 1) {
        found = post_load(database, wish->apply.post_id, 1, &wish->post, error);
    }
    if (found == 1) {
        found = apply_load(database, id, &wish->apply, error);
    }
    if (found < 0) {
        return -1;
    }
    if (found == 0) {
        wish->apply.id[0] = '\0';
        return no_apply(wish, "there is no such application");
    }
    if (strcmp(wish->post.author_id, wish->call->user_id) != 0) {
        return refuse(&wish->refusal, MHD_HTTP_FORBIDDEN, "FORBIDDEN", "this post is %.60s's",
            wish->post.author_nickname);
    }
    if (strcmp(wish->apply.status, "PENDING") != 0) {
        return is_processed(wish);
    }
    if (wish->is_approval && !post_is_open(&wish->post)) {
        return is_closed(wish);
    }
    return decide(database, wish, error);
}

enum MHD_Result apply_approve(const struct call *call)
{
    struct wish wish = {.call = call, .is_approval = 1};
    return grant(&wish, process, MHD_HTTP_OK, "APPLY_APPROVED", "the application is approved");
}

enum MHD_Result apply_reject(const struct call *call)
{
    struct wish wish = {.call = call, .is_approval = 0};
    return grant(&wish, process, MHD_HTTP_OK, "APPLY_REJECTED", "the application is rejected");
}

static enum MHD_Result answer_applies(const struct call *call, const struct page *page)
{
    struct sluice_error error;
    int64_t total = sql_one(sql_query(
        call->database, &error, "SELECT COUNT(*) FROM applies WHERE post_id = ?1", "t", call->id));
    struct rows *rows = total < 0 ? NULL
                                  : sql_query(call->database, &error,
                                        "SELECT " COLUMNS
                                        " WHERE a.post_id = ?1 ORDER BY a.created_ms, a.id"
                                        " LIMIT ?2 OFFSET ?3",
                                        "tii", call->id, page->size, page->number * page->size);
    if (rows == NULL) {
        return answer_trouble(call->request, &error);
    }
    json_t *content = json_array();
    struct apply apply;
    while (sql_next(rows)) {
        apply_read(rows, &apply);
        json_array_append_new(content, apply_object(&apply));
    }
    sql_end(rows);
    return answer_success(call->request, MHD_HTTP_OK, "APPLY_LIST", "applications",
        page_object(page, total, content));
}

enum MHD_Result apply_list(const struct call *call)
{
    struct page page;
    struct wish wish = {.call = call};
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    if (page_read(call->request, 20, &page, problem) != 0) {
        return answer_invalid(call->request, problem);
    }
    int found = post_load(call->database, call->id, 0, &wish.post, &error);
    if (found < 0) {
        return answer_trouble(call->request, &error);
    }
    if (found == 0) {
        no_post(&wish);
    } else if (strcmp(wish.post.author_id, call->user_id) != 0) {
        refuse(&wish.refusal, MHD_HTTP_FORBIDDEN, "FORBIDDEN", "this post is %.60s's",
            wish.post.author_nickname);
    }
    return wish.refusal.status != 0 ? answer_refusal(call->request, &wish.refusal)
                                    : answer_applies(call, &page);
}
