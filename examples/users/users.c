/*
 * users.c - the service that registers users, and never announces one who does not exist.
 *
 *     POST /users          {"userId": "rudaks2", "userName": "Rudak"}
 *                          201 {"userId", "userName", "eventId"}; the same again: 200, and no
 *                          second event; the same id with another name: 409
 *     GET  /users/ID       200 {"userId", "userName", "eventId"}, or 404
 *     GET  /listeners      how often each phase was heard
 *     GET  /               the page
 *
 * The row and the event UserCreated are one transaction: sluice_transaction commits both or
 * neither. The broker may be away for a day; no request waits for it, and every user is announced
 * once it is back.
 *
 * Four listeners show the phases. Before the commit one may still say no: a user who calls himself
 * by a reserved name is refused there, and then there is no row and no event. After it, nothing can
 * be undone any more, so the others only log and count.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/listener.h>

#include "answers.h"
#include "sql.h"

extern const unsigned char users_page[];
extern const size_t users_page_size;

enum { USER_ID_SIZE_MAX = 60, USER_NAME_SIZE_MAX = 100 };

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS users ("
    " user_id VARCHAR(60) NOT NULL PRIMARY KEY, user_name VARCHAR(400) NOT NULL,"
    " event_id VARCHAR(36) NOT NULL, created_at_ms BIGINT NOT NULL)",
    NULL};

struct user {
    char id[USER_ID_SIZE_MAX + 1];
    char name[USER_NAME_SIZE_MAX * 4 + 1]; /* UTF-8 */
    char event_id[SLUICE_EVENT_ID_SIZE];
    enum { USER_NEW, USER_SAME, USER_OTHER } found; /* what a registration met */
};

struct users_service {
    sluice_database *database;
    const char *reserved_name;
    atomic_int heard[SLUICE_AFTER_COMPLETION + 1]; /* by phase */
};

/* --- registering ----------------------------------------------------------------------------- */

/* Read a user: 1, 0 if there is none, -1 with `error`. */
static int load_user(
    sluice_database *database, const char *id, struct user *ret_user, struct sluice_error *error)
{
    struct rows *row = sql_query(
        database, error, "SELECT user_name, event_id FROM users WHERE user_id = ?1", "t", id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row);
    if (found) {
        snprintf(ret_user->id, sizeof(ret_user->id), "%s", id);
        sql_copy(row, 0, ret_user->name, sizeof(ret_user->name));
        sql_copy(row, 1, ret_user->event_id, sizeof(ret_user->event_id));
    }
    sql_end(row);
    return found;
}

/*
 * The work of one transaction. Two registrations of one id at the same time meet at the primary
 * key: the second one waits for the first, and then finds its row.
 */
static int register_user(sluice_database *database, void *context, struct sluice_error *error)
{
    struct user *user = context;
    struct user earlier;
    int inserted = sql_insert_once(database, error,
        "INSERT INTO users (user_id, user_name, event_id, created_at_ms) VALUES (?1, ?2, '', ?3)",
        "tti", user->id, user->name, now_ms());
    if (inserted == 0) {
        int found = load_user(database, user->id, &earlier, error);
        if (found == 1) {
            user->found = strcmp(earlier.name, user->name) == 0 ? USER_SAME : USER_OTHER;
            memcpy(user->event_id, earlier.event_id, sizeof(user->event_id));
        }
        return found == 1 ? 0 : -1;
    }
    if (inserted < 0) {
        return -1;
    }
    user->found = USER_NEW;
    json_t *payload =
        json_pack("{s:{s:s, s:s}}", "user", "userId", user->id, "userName", user->name);
    if (publish_keyed(database, "user-topic", "UserCreated", user->id, payload, user->event_id,
            error) != 0) {
        return -1;
    }
    return sql_run(database, error, "UPDATE users SET event_id = ?1 WHERE user_id = ?2", "tt",
               user->event_id, user->id) == 1
               ? 0
               : -1;
}

/* --- listeners ------------------------------------------------------------------------------- */

static const char *const phase_names[] = {[SLUICE_BEFORE_COMMIT] = "before commit",
    [SLUICE_AFTER_COMMIT] = "after commit",
    [SLUICE_AFTER_ROLLBACK] = "after rollback",
    [SLUICE_AFTER_COMPLETION] = "after completion"};

static int on_user_created(sluice_database *database, const struct sluice_notice *notice,
    void *context, struct sluice_error *error)
{
    (void)database;
    struct users_service *service = context;
    const struct sluice_event *event = notice->event;
    char reserved[USER_NAME_SIZE_MAX + 20];
    atomic_fetch_add(&service->heard[notice->phase], 1);
    fprintf(stderr, "users: %s: %s %s\n", phase_names[notice->phase], event->type, event->key);
    snprintf(reserved, sizeof(reserved), "\"userName\":\"%s\"", service->reserved_name);
    if (notice->phase == SLUICE_BEFORE_COMMIT &&
        memmem(event->payload, event->payload_size, reserved, strlen(reserved)) != NULL) {
        snprintf(error->text, sizeof(error->text), "the name '%s' is reserved",
            service->reserved_name);
        return -1;
    }
    return 0;
}

static int add_listeners(struct users_service *service, struct sluice_error *error)
{
    static const char *const names[] = {[SLUICE_BEFORE_COMMIT] = "reserved-names",
        [SLUICE_AFTER_COMMIT] = "log-committed",
        [SLUICE_AFTER_ROLLBACK] = "count-rolled-back",
        [SLUICE_AFTER_COMPLETION] = "log-completed"};
    for (int phase = SLUICE_BEFORE_COMMIT; phase <= SLUICE_AFTER_COMPLETION; phase++) {
        struct sluice_listener_options options = {.name = names[phase],
            .type = "UserCreated",
            .phase = (enum sluice_phase)phase,
            .context = service};
        if (sluice_listen(service->database, &options, on_user_created, error) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- requests and the whole ------------------------------------------------------------------ */

static json_t *user_object(const struct user *user)
{
    return json_pack("{s:s, s:s, s:s}", "userId", user->id, "userName", user->name, "eventId",
        user->event_id);
}

static enum MHD_Result post_user(struct users_service *service, const struct request *request)
{
    struct user user = {.found = USER_NEW};
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(request, problem);
    if (body == NULL || take_text(body, "userId", 1, user.id, sizeof(user.id), problem) != 0 ||
        take_text(body, "userName", 1, user.name, sizeof(user.name), problem) != 0 ||
        check_known(body, (const char *const[]){"userId", "userName", NULL}, problem) != 0) {
        json_decref(body);
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    json_decref(body);
    if (sluice_transaction(service->database, SLUICE_REQUIRED, register_user, &user, &error) != 0) {
        return error.code == SLUICE_LISTENER
                   ? answer_message(request, MHD_HTTP_UNPROCESSABLE_CONTENT, "%s", error.text)
                   : answer_failure(request, &error);
    }
    if (user.found == USER_OTHER) {
        return answer_message(
            request, MHD_HTTP_CONFLICT, "the user %s has another name already", user.id);
    }
    return answer_json(request, user.found == USER_NEW ? MHD_HTTP_CREATED : MHD_HTTP_OK,
        user_object(&user));
}

static enum MHD_Result get_user(
    struct users_service *service, const struct request *request, const char *id)
{
    struct user user;
    struct sluice_error error;
    int found = load_user(service->database, id, &user, &error);
    return found < 0    ? answer_failure(request, &error)
           : found == 0 ? answer_message(request, MHD_HTTP_NOT_FOUND, "there is no user %s", id)
                        : answer_json(request, MHD_HTTP_OK, user_object(&user));
}

static enum MHD_Result get_listeners(
    struct users_service *service, const struct request *request)
{
    json_t *body = json_object();
    for (int phase = SLUICE_BEFORE_COMMIT; phase <= SLUICE_AFTER_COMPLETION; phase++) {
        json_object_set_new(body, phase_names[phase], json_integer(service->heard[phase]));
    }
    return answer_json(request, MHD_HTTP_OK, body);
}

static enum MHD_Result on_request(void *context, const struct request *request)
{
    struct users_service *service = context;
    const char *id = NULL;
    if (request_is(request, "POST", "/users", NULL)) {
        return post_user(service, request);
    }
    if (request_names(request, "GET", "/users/", &id)) {
        return get_user(service, request, id);
    }
    if (request_is(request, "GET", "/listeners", NULL)) {
        return get_listeners(service, request);
    }
    if (request_is(request, "GET", "/", NULL) || request_is(request, "GET", "/pages/users", NULL)) {
        return answer_bytes(request, "text/html; charset=utf-8", users_page, users_page_size);
    }
    return answer_unknown(request,
        (const char *const[]){"POST /users", "GET /users/*", "GET /listeners", "GET /",
            "GET /pages/users", NULL});
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9010";
    const char *database = "sqlite:users.db";
    struct users_service users = {.reserved_name = "admin"};
    options_read(argc, argv,
        (struct option_field[]){
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "the users"},
            {.name = "reserved-name", .text = &users.reserved_name, .help = "a name nobody gets"},
            {.name = NULL}});

    struct sluice_error error;
    struct service *service = NULL;
    if (sluice_database_open(database, &users.database, &error) != 0 ||
        sql_make_tables(users.database, tables, &error) != 0 ||
        add_listeners(&users, &error) != 0 ||
        (service = service_start(&(struct service_options){.listen_address = listen_address,
                                     .handler = on_request,
                                     .context = &users},
             &error)) == NULL) {
        fprintf(stderr, "users: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(1000)) {
    }
    service_stop(service);
    sluice_database_close(users.database);
    return EXIT_SUCCESS;
}
