/*
 * posts.c - the service of study posts: posts, applications, and what users are told of them.
 *
 *     POST   /api/auth/dev                {"nickname", "techStack"?}: a token (account.h)
 *     POST   /api/posts                   {"title", "description", "techStack"?, "maxMembers",
 *                                         "deadline"}: 201 POST_CREATED
 *     GET    /api/posts                   ?techStack ?status ?page ?size ?sort
 *     GET    /api/posts/{id}
 *     PATCH  /api/posts/{id}              the same five fields; the author only
 *     PATCH  /api/posts/{id}/close
 *     DELETE /api/posts/{id}
 *     POST   /api/posts/{id}/applies      {"message"}: 201 APPLY_CREATED
 *     DELETE /api/posts/{id}/applies      the caller's own
 *     GET    /api/posts/{id}/applies      the post's author only
 *     PATCH  /api/applies/{id}/approve    the last seat makes the post FULL
 *     PATCH  /api/applies/{id}/reject
 *     GET    /api/notifications           and /unread-count; /snapshot is for the gateway
 *     PATCH  /api/notifications/{id}/read and /read-all
 *     GET    /api/admin/failed-notifications
 *     GET    / and /pages/studyposts      the page
 *
 * Every change is one transaction with the events about it: post-sync tells search (post.h),
 * notification tells a user (notification.h). Nothing is published after a commit, so nothing can
 * be lost between the two. No request waits for the broker.
 */
#include <stdio.h>
#include <stdlib.h>

#include "account.h"
#include "apply.h"
#include "clock.h"
#include "deadline.h"
#include "notification.h"
#include "post.h"

extern const unsigned char studyposts_page[];
extern const size_t studyposts_page_size;

enum { DEADLINE_INTERVAL_MS = 1000 };

static const struct subscription subscriptions[] = {
    {"notification-group", NOTIFICATION_TOPIC, on_notification}};

static enum MHD_Result page(const struct call *call)
{
    return answer_bytes(
        call->request, "text/html; charset=utf-8", studyposts_page, studyposts_page_size);
}

static enum MHD_Result failed_notifications(const struct call *call)
{
    return answer_failed(call, NOTIFICATION_TOPIC, "FAILED_NOTIFICATION_LIST", "receiverId");
}

static const struct route routes[] = {
    {"POST", "/api/auth/dev", 1, account_sign_in},
    {"POST", "/api/posts", 0, post_create},
    {"GET", "/api/posts", 0, post_list},
    {"GET", "/api/posts/{id}", 0, post_detail},
    {"PATCH", "/api/posts/{id}", 0, post_update},
    {"DELETE", "/api/posts/{id}", 0, post_remove},
    {"PATCH", "/api/posts/{id}/close", 0, post_close},
    {"POST", "/api/posts/{id}/applies", 0, apply_create},
    {"DELETE", "/api/posts/{id}/applies", 0, apply_cancel},
    {"GET", "/api/posts/{id}/applies", 0, apply_list},
    {"PATCH", "/api/applies/{id}/approve", 0, apply_approve},
    {"PATCH", "/api/applies/{id}/reject", 0, apply_reject},
    {"GET", "/api/notifications", 0, notification_list},
    {"GET", "/api/notifications/unread-count", 0, notification_unread_count},
    {"GET", "/api/notifications/snapshot", 0, notification_snapshot},
    {"PATCH", "/api/notifications/read-all", 0, notification_read_all},
    {"PATCH", "/api/notifications/{id}/read", 0, notification_read},
    {"GET", "/api/admin/failed-notifications", 0, failed_notifications},
    {"GET", "/", 1, page},
    {"GET", "/pages/studyposts", 1, page},
    {NULL, NULL, 0, NULL},
};

static enum MHD_Result on_request(void *context, const struct request *request)
{
    return route_request(routes, context, NULL, request);
}

static int open_database(
    const char *url, sluice_database **ret_database, struct sluice_error *error)
{
    return sluice_database_open(url, ret_database, error) == 0 &&
            sql_make_tables(*ret_database, account_tables, error) == 0 &&
            sql_make_tables(*ret_database, post_tables, error) == 0 &&
            sql_make_tables(*ret_database, apply_tables, error) == 0 &&
            sql_make_tables(*ret_database, notification_tables, error) == 0
        ? 0
        : -1;
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9030";
    const char *url = "sqlite:posts.db";
    const char *broker = "local:log.db";
    const char *secret = "token.secret";
    const char *clock = "";
    options_read(argc, argv,
        (struct option_field[]) {
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &url, .help = "users, posts, applies, notifications"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = "token-secret", .text = &secret, .help = "a file: signs the tokens"},
            {.name = "clock", .text = &clock, .help = "a file with the time, if it stands still"},
            {.name = NULL}});
    clock_use(clock);

    struct sluice_error error;
    sluice_database *of_requests = NULL;
    sluice_database *of_deadlines = NULL; /* a database is one thread's */
    struct service *service = NULL;
    if (account_secret_load(secret, &error) != 0 || open_database(url, &of_requests, &error) != 0 ||
        sluice_database_open(url, &of_deadlines, &error) != 0 ||
        (service = service_start(
             &(struct service_options) {.listen_address = listen_address,
                 .handler = on_request,
                 .context = of_requests,
                 .database = url,
                 .broker = broker,
                 .subscriptions = subscriptions,
                 .subscription_count = sizeof(subscriptions) / sizeof(subscriptions[0])},
             &error)) == NULL) {
        fprintf(stderr, "posts: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(DEADLINE_INTERVAL_MS)) {
        deadline_run(of_deadlines);
    }
    service_stop(service);
    sluice_database_close(of_deadlines);
    sluice_database_close(of_requests);
    return EXIT_SUCCESS;
}
