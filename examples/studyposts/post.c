#include "post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum { TECH_STACK_QUERY_MAX = 200 };

#define COLUMNS                                                                                    \
    "p.id, p.author_id, u.nickname, p.title, p.description, p.tech_stack, p.max_members,"          \
    " p.deadline_ms, p.status, p.version, p.created_ms, p.updated_ms"                              \
    " FROM study_posts p JOIN users u ON u.id = p.author_id"

const char *const post_tables[] = {
    "CREATE TABLE IF NOT EXISTS study_posts ("
    " id VARCHAR(36) NOT NULL PRIMARY KEY, author_id VARCHAR(36) NOT NULL,"
    " title VARCHAR(100) NOT NULL, description TEXT NOT NULL, tech_stack VARCHAR(255) NOT NULL,"
    " max_members BIGINT NOT NULL CHECK (max_members BETWEEN 2 AND 100),"
    " deadline_ms BIGINT NOT NULL, status VARCHAR(6) NOT NULL, version BIGINT NOT NULL,"
    " reminded_ms BIGINT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS study_posts_status ON study_posts (status, deadline_ms)",
    "CREATE INDEX IF NOT EXISTS study_posts_author ON study_posts (author_id, created_ms)", NULL};

int post_is_open(const struct post *post)
{
    return strcmp(post->status, "OPEN") == 0 && post->deadline_ms > clock_now();
}

/* --- as JSON, and to search ------------------------------------------------------------------ */

static json_t *summary(const struct post *post)
{
    char deadline[LOCAL_TIME_SIZE], created[LOCAL_TIME_SIZE];
    local_text(post->deadline_ms, deadline);
    local_text(post->created_ms, created);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "id", post->id, "authorNickname",
        post->author_nickname, "title", post->title, "techStack", post->tech_stack, "maxMembers",
        (json_int_t) post->max_members, "deadline", deadline, "status", post->status, "createdAt",
        created);
}

static json_t *post_object(const struct post *post)
{
    char updated[LOCAL_TIME_SIZE];
    json_t *object = summary(post);
    local_text(post->updated_ms, updated);
    json_object_set_new(object, "authorId", json_string(post->author_id));
    json_object_set_new(object, "description", json_string(post->description));
    json_object_set_new(object, "updatedAt", json_string(updated));
    return object;
}

static int tell_search(sluice_database *database, const struct post *post, const char *operation,
    json_t *take_post, struct sluice_error *error)
{
    return publish_keyed(database, POST_SYNC_TOPIC, "PostSync", post->id,
        json_pack("{s:s, s:s, s:I, s:o*}", "postId", post->id, "operationType", operation,
            "version", (json_int_t) post->version, "post", take_post),
        NULL, error);
}

/* --- stored ---------------------------------------------------------------------------------- */

static void post_read(const struct rows *rows, struct post *ret_post)
{
    struct post *post = ret_post;
    sql_copy(rows, 0, post->id, sizeof(post->id));
    sql_copy(rows, 1, post->author_id, sizeof(post->author_id));
    sql_copy(rows, 2, post->author_nickname, sizeof(post->author_nickname));
    sql_copy(rows, 3, post->title, sizeof(post->title));
    sql_copy(rows, 4, post->description, sizeof(post->description));
    sql_copy(rows, 5, post->tech_stack, sizeof(post->tech_stack));
    post->max_members = sql_integer(rows, 6);
    post->deadline_ms = sql_integer(rows, 7);
    sql_copy(rows, 8, post->status, sizeof(post->status));
    post->version = sql_integer(rows, 9);
    post->created_ms = sql_integer(rows, 10);
    post->updated_ms = sql_integer(rows, 11);
}

int post_load(sluice_database *database, const char *id, int is_locked, struct post *ret_post,
    struct sluice_error *error)
{
    struct rows *rows = NULL;
    if (is_locked) { /* the post alone: its author's row is for others to lock */
        rows = sql_query(
            database, error, "SELECT version FROM study_posts WHERE id = ?1 {lock}", "t", id);
        if (rows == NULL) {
            return -1;
        }
        sql_end(rows);
    }
    rows = sql_query(database, error, "SELECT " COLUMNS " WHERE p.id = ?1", "t", id);
    if (rows == NULL) {
        return -1;
    }
    int found = sql_next(rows);
    if (found) {
        post_read(rows, ret_post);
    }
    sql_end(rows);
    return found;
}

static int post_insert(sluice_database *database, struct post *post, struct sluice_error *error)
{
    return sql_run(database, error,
               "INSERT INTO study_posts (id, author_id, title, description, tech_stack,"
               " max_members, deadline_ms, status, version, reminded_ms, created_ms, updated_ms)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11)",
               "tttttiitiii", post->id, post->author_id, post->title, post->description,
               post->tech_stack, post->max_members, post->deadline_ms, post->status, post->version,
               post->created_ms, post->updated_ms) == 1
        ? tell_search(database, post, "UPSERT", post_object(post), error)
        : -1;
}

int post_change(sluice_database *database, struct post *post, struct sluice_error *error)
{
    post->version++;
    post->updated_ms = clock_now();
    return sql_run(database, error,
               "UPDATE study_posts SET title = ?1, description = ?2, tech_stack = ?3,"
               " max_members = ?4, deadline_ms = ?5, status = ?6, version = ?7, updated_ms = ?8"
               " WHERE id = ?9",
               "tttiitiit", post->title, post->description, post->tech_stack, post->max_members,
               post->deadline_ms, post->status, post->version, post->updated_ms, post->id) == 1
        ? tell_search(database, post, "UPSERT", post_object(post), error)
        : -1;
}

static int post_delete(sluice_database *database, struct post *post, struct sluice_error *error)
{
    post->version++;
    return sql_run(database, error, "DELETE FROM applies WHERE post_id = ?1", "t", post->id) >= 0 &&
            sql_run(database, error, "DELETE FROM study_posts WHERE id = ?1", "t", post->id) == 1
        ? tell_search(database, post, "DELETE", NULL, error)
        : -1;
}

/* --- requests that change a post ------------------------------------------------------------- */

struct change {
    const struct call *call;
    struct refusal refusal;
    struct post post;
    const struct post *wanted; /* PATCH: title to deadline */
    enum { UPDATE, CLOSE, REMOVE } kind;
};

static int read_body(const struct call *call, struct post *post, char problem[PROBLEM_SIZE])
{
    static const char *const fields[] = {
        "title", "description", "techStack", "maxMembers", "deadline", NULL};
    char deadline[40];
    json_t *body = request_object(call->request, problem);
    int is_good = body != NULL && check_known(body, fields, problem) == 0 &&
        take_characters(body, "title", 1, TITLE_MAX, post->title, sizeof(post->title), problem) ==
            0 &&
        take_characters(body, "description", 1, DESCRIPTION_MAX, post->description,
            sizeof(post->description), problem) == 0 &&
        take_characters(body, "techStack", 0, TECH_STACK_MAX, post->tech_stack,
            sizeof(post->tech_stack), problem) == 0 &&
        take_number(body, "maxMembers", 2, 100, &post->max_members, problem) == 0 &&
        take_text(body, "deadline", 1, deadline, sizeof(deadline), problem) == 0;
    json_decref(body);
    if (is_good &&
        (local_parse(deadline, &post->deadline_ms) != 0 || post->deadline_ms <= clock_now())) {
        snprintf(problem, PROBLEM_SIZE,
            "deadline must be a local date-time in the future, like 2026-06-01T09:00:00");
        return -1;
    }
    return is_good ? 0 : -1;
}

static int create(sluice_database *database, void *context, struct sluice_error *error)
{
    struct change *change = context;
    struct post *post = &change->post;
    struct rows *rows = sql_query(
        database, error, "SELECT nickname FROM users WHERE id = ?1", "t", post->author_id);
    if (rows == NULL) {
        return -1;
    }
    int found = sql_next(rows);
    sql_copy(rows, 0, post->author_nickname, sizeof(post->author_nickname));
    sql_end(rows);
    return found ? post_insert(database, post, error)
                 : refuse(&change->refusal, MHD_HTTP_NOT_FOUND, "USER_NOT_FOUND",
                       "there is no user %s: sign in again", post->author_id);
}

enum MHD_Result post_create(const struct call *call)
{
    struct change change = {.call = call};
    struct post *post = &change.post;
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    if (read_body(call, post, problem) != 0) {
        return answer_invalid(call->request, problem);
    }
    make_uuid(post->id);
    memcpy(post->author_id, call->user_id, sizeof(post->author_id));
    snprintf(post->status, sizeof(post->status), "OPEN");
    post->version = 1;
    post->created_ms = post->updated_ms = clock_now();
    if (sluice_transaction(call->database, SLUICE_REQUIRED, create, &change, &error) != 0) {
        return answer_trouble(call->request, &error);
    }
    return change.refusal.status != 0
        ? answer_refusal(call->request, &change.refusal)
        : answer_success(call->request, MHD_HTTP_CREATED, "POST_CREATED", "the post is created",
              post_object(post));
}

static int change_post(sluice_database *database, void *context, struct sluice_error *error)
{
    struct change *change = context;
    struct post *post = &change->post;
    int found = post_load(database, change->call->id, 1, post, error);
    if (found < 0) {
        return -1;
    }
    if (found == 0) {
        return refuse(&change->refusal, MHD_HTTP_NOT_FOUND, "POST_NOT_FOUND", "there is no post %s",
            change->call->id);
    }
    if (strcmp(post->author_id, change->call->user_id) != 0) {
        return refuse(&change->refusal, MHD_HTTP_FORBIDDEN, "FORBIDDEN", "this post is %.60s's",
            post->author_nickname);
    }
    switch (change->kind) {
    case UPDATE:
        snprintf(post->title, sizeof(post->title), "%s", change->wanted->title);
        snprintf(post->description, sizeof(post->description), "%s", change->wanted->description);
        snprintf(post->tech_stack, sizeof(post->tech_stack), "%s", change->wanted->tech_stack);
        post->max_members = change->wanted->max_members;
        post->deadline_ms = change->wanted->deadline_ms;
        return post_change(database, post, error);
    case CLOSE:
        snprintf(post->status, sizeof(post->status), "CLOSED");
        return post_change(database, post, error);
    default:
        return post_delete(database, post, error);
    }
}

static enum MHD_Result run_change(struct change *change, const char *code, const char *message)
{
    const struct request *request = change->call->request;
    struct sluice_error error;
    if (sluice_transaction(change->call->database, SLUICE_REQUIRED, change_post, change, &error) !=
        0) {
        return answer_trouble(request, &error);
    }
    return change->refusal.status != 0
        ? answer_refusal(request, &change->refusal)
        : answer_success(request, MHD_HTTP_OK, code, message,
              change->kind == REMOVE ? NULL : post_object(&change->post));
}

enum MHD_Result post_update(const struct call *call)
{
    struct post wanted;
    struct change change = {.call = call, .wanted = &wanted, .kind = UPDATE};
    char problem[PROBLEM_SIZE];
    return read_body(call, &wanted, problem) != 0
        ? answer_invalid(call->request, problem)
        : run_change(&change, "POST_UPDATED", "the post is changed");
}

enum MHD_Result post_close(const struct call *call)
{
    struct change change = {.call = call, .kind = CLOSE};
    return run_change(&change, "POST_UPDATED", "the post is closed");
}

enum MHD_Result post_remove(const struct call *call)
{
    struct change change = {.call = call, .kind = REMOVE};
    return run_change(&change, "POST_DELETED", "the post is deleted");
}

/* --- requests that read ---------------------------------------------------------------------- */

enum MHD_Result post_detail(const struct call *call)
{
    struct post post;
    struct refusal refusal;
    struct sluice_error error;
    int found = post_load(call->database, call->id, 0, &post, &error);
    if (found < 0) {
        return answer_trouble(call->request, &error);
    }
    refuse(&refusal, MHD_HTTP_NOT_FOUND, "POST_NOT_FOUND", "there is no post %s", call->id);
    return found == 0
        ? answer_refusal(call->request, &refusal)
        : answer_success(call->request, MHD_HTTP_OK, "POST_DETAIL", "a post", post_object(&post));
}

/* What ?techStack looks for, as a LIKE pattern; ! takes the meaning from what has one there. */
static void like_pattern(const char *text, char *target, size_t target_size)
{
    size_t size = 0;
    target[size++] = '%';
    for (; *text != '\0' && size + 4 < target_size; text++) {
        if (strchr("%_!", *text) != NULL) {
            target[size++] = '!';
        }
        target[size++] = *text;
    }
    target[size++] = '%';
    target[size] = '\0';
}

/* The ORDER BY of ?sort=createdAt,desc; NULL for any other. */
static const char *order_of(const char *sort)
{
    static const struct {
        const char *sort;
        const char *order;
    } orders[] = {{"createdAt,desc", "p.created_ms DESC"}, {"createdAt,asc", "p.created_ms"},
        {"createdAt", "p.created_ms"}, {"deadline,desc", "p.deadline_ms DESC"},
        {"deadline,asc", "p.deadline_ms"}, {"deadline", "p.deadline_ms"},
        {"status,desc", "p.status DESC"}, {"status,asc", "p.status"}, {"status", "p.status"}};
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        if (strcmp(sort, orders[i].sort) == 0) {
            return orders[i].order;
        }
    }
    return NULL;
}

static enum MHD_Result answer_list(const struct call *call, const struct page *page,
    const char *tech_stack, const char *status, const char *order)
{
    static const char where[] =
        " WHERE LOWER(p.tech_stack) LIKE LOWER(?1) ESCAPE '!'"
        " AND (?2 = '' OR p.status = ?2)";
    char pattern[600], sql[600];
    struct sluice_error error;
    like_pattern(tech_stack, pattern, sizeof(pattern));
    snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM study_posts p%s", where);
    int64_t total = sql_one(sql_query(call->database, &error, sql, "tt", pattern, status));
    snprintf(sql, sizeof(sql), "SELECT %s%s ORDER BY %s, p.id LIMIT ?3 OFFSET ?4", COLUMNS, where,
        order);
    struct rows *rows = total < 0 ? NULL
                                  : sql_query(call->database, &error, sql, "ttii", pattern, status,
                                        page->size, page->number * page->size);
    if (rows == NULL) {
        return answer_trouble(call->request, &error);
    }
    json_t *content = json_array();
    struct post post;
    while (sql_next(rows)) {
        post_read(rows, &post);
        json_array_append_new(content, summary(&post));
    }
    sql_end(rows);
    return answer_success(
        call->request, MHD_HTTP_OK, "POST_LIST", "posts", page_object(page, total, content));
}

enum MHD_Result post_list(const struct call *call)
{
    struct page page;
    char problem[PROBLEM_SIZE];
    const char *tech_stack = request_parameter(call->request, "techStack");
    const char *status = request_parameter(call->request, "status");
    const char *sort = request_parameter(call->request, "sort");
    const char *order = order_of(sort != NULL ? sort : "createdAt,desc");
    if (page_read(call->request, 10, &page, problem) != 0) {
        return answer_invalid(call->request, problem);
    }
    if (tech_stack != NULL && strlen(tech_stack) > TECH_STACK_QUERY_MAX) {
        return answer_invalid(call->request, "techStack has 200 bytes at most");
    }
    if (order == NULL) {
        return answer_invalid(
            call->request, "sort must be createdAt, deadline or status, with ,asc or ,desc");
    }
    if (status != NULL && strcmp(status, "OPEN") != 0 && strcmp(status, "FULL") != 0 &&
        strcmp(status, "CLOSED") != 0) {
        return answer_invalid(call->request, "status must be OPEN, FULL or CLOSED");
    }
    return answer_list(
        call, &page, tech_stack != NULL ? tech_stack : "", status != NULL ? status : "", order);
}
