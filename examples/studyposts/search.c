/*
 * search.c - finds posts by words. It knows them from the topic post-sync only.
 *
 *     GET /api/posts/search              ?keyword ?techStack ?status ?maxMembers ?page ?size
 *     GET /api/admin/failed-post-syncs   what the index refuses, with the reason
 *
 * The consumer post-sync-group takes each event into the index (index.h): SQLite's full text by
 * default, OpenSearch with --search http://HOST:PORT. An index that is away is waited for, however
 * long; a document that it refuses is tried three times and then put with the dead letters, where
 * it stops this post and no other, until it is redriven or dropped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"

#define POST_SYNC_TOPIC "post-sync"

static enum sluice_outcome on_post_sync(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    (void) database;
    json_t *payload = event_object(event, error);
    if (payload == NULL) {
        return SLUICE_REJECTED;
    }
    const char *operation = json_string_value(json_object_get(payload, "operationType"));
    int is_delete = operation != NULL && strcmp(operation, "DELETE") == 0;
    struct index_document document = {
        .post_id = json_string_value(json_object_get(payload, "postId")),
        .version = json_integer_value(json_object_get(payload, "version")),
        .post = is_delete ? NULL : json_object_get(payload, "post")};
    enum sluice_outcome outcome = SLUICE_REJECTED;
    if (operation == NULL || (!is_delete && strcmp(operation, "UPSERT") != 0) ||
        document.post_id == NULL || !is_uuid(document.post_id) || document.version < 1 ||
        (!is_delete && !json_is_object(document.post))) {
        snprintf(error->text, sizeof(error->text),
            "postId must be a UUID, version a number above 0, operationType UPSERT with a post or "
            "DELETE");
    } else {
        outcome = index_apply(context, &document, error);
    }
    json_decref(payload);
    return outcome;
}

static const struct subscription subscriptions[] = {
    {"post-sync-group", POST_SYNC_TOPIC, on_post_sync}};

static const char *parameter(const struct call *call, const char *name)
{
    const char *value = request_parameter(call->request, name);
    return value != NULL ? value : "";
}

static enum MHD_Result search(const struct call *call)
{
    struct index_query query = {.keyword = parameter(call, "keyword"),
        .tech_stack = parameter(call, "techStack"),
        .status = parameter(call, "status")};
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    const char *max_members = parameter(call, "maxMembers");
    json_t *content = NULL;
    int64_t total = 0;
    if (max_members[0] != '\0' && strcmp(max_members, "0") != 0) {
        query.max_members = parse_id(max_members);
    }
    if (query.max_members < 0 || strlen(query.keyword) > 200 || strlen(query.tech_stack) > 200) {
        return answer_invalid(call->request,
            "maxMembers must be a whole number, 0 for any; keyword "
            "and techStack have 200 bytes at most");
    }
    if (query.status[0] != '\0' && strcmp(query.status, "OPEN") != 0 &&
        strcmp(query.status, "FULL") != 0 && strcmp(query.status, "CLOSED") != 0) {
        return answer_invalid(call->request, "status must be OPEN, FULL or CLOSED");
    }
    if (page_read(call->request, 10, &query.page, problem) != 0) {
        return answer_invalid(call->request, problem);
    }
    int is_away = index_search(call->context, &query, &content, &total, &error) != 0;
    if (is_away) { /* a list without hits is of more use to a page than none, if it says so */
        fprintf(stderr, "search: %s\n", error.text);
        content = json_array();
        total = 0;
    }
    json_t *page = page_object(&query.page, total, content);
    json_object_set_new(page, "degraded", json_boolean(is_away));
    return answer_success(call->request, MHD_HTTP_OK, "POST_LIST",
        is_away ? "search is away at present, so nothing is found" : "posts", page);
}

static enum MHD_Result failed_post_syncs(const struct call *call)
{
    return answer_failed(call, POST_SYNC_TOPIC, "FAILED_POST_SYNC_LIST", "postId");
}

static const struct route routes[] = {
    {"GET", "/api/posts/search", 0, search},
    {"GET", "/api/admin/failed-post-syncs", 0, failed_post_syncs},
    {NULL, NULL, 0, NULL},
};

struct search_service {
    sluice_database *database;
    struct index *of_requests;
};

static enum MHD_Result on_request(void *context, const struct request *request)
{
    struct search_service *service = context;
    return route_request(routes, service->database, service->of_requests, request);
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9031";
    const char *database = "sqlite:indexer.db";
    const char *broker = "local:log.db";
    const char *url = "sqlite:search.db";
    const char *name = "study_posts";
    options_read(argc, argv,
        (struct option_field[]) {
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "the consumer's inbox"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = "search", .text = &url, .help = "the index: sqlite:FILE or http://HOST:PORT"},
            {.name = "index", .text = &name, .help = "its name in OpenSearch"}, {.name = NULL}});
    if (strcmp(url, database) == 0) {
        fprintf(stderr,
            "search: --search and --database must not be one file: the index is "
            "written while the inbox is locked\n");
        return EXIT_FAILURE;
    }

    struct sluice_error error;
    struct search_service search = {.database = NULL};
    struct index *of_events = NULL; /* an index is one thread's */
    struct service *service = NULL;
    if (sluice_database_open(database, &search.database, &error) != 0 ||
        (search.of_requests = index_open(url, name, &error)) == NULL ||
        (of_events = index_open(url, name, &error)) == NULL ||
        (service = service_start(
             &(struct service_options) {.listen_address = listen_address,
                 .handler = on_request,
                 .context = &search,
                 .database = database,
                 .broker = broker,
                 .subscriptions = subscriptions,
                 .subscription_count = sizeof(subscriptions) / sizeof(subscriptions[0]),
                 .subscription_context = of_events},
             &error)) == NULL) {
        fprintf(stderr, "search: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(1000)) {
    }
    service_stop(service);
    index_close(of_events);
    index_close(search.of_requests);
    sluice_database_close(search.database);
    return EXIT_SUCCESS;
}
