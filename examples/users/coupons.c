/*
 * coupons.c - gives each new user a coupon, exactly one, however often it hears of the user.
 *
 *     GET /coupons/ID          200 {"userId", "eventId", "issuedAt"}, or 404
 *     GET /coupons/ID/status   200 {"userId", "type": "waiting" or "issued", "version"}
 *
 * The status is what a page is shown live: it is the payload of CouponIssued, too, and the snapshot
 * that the gateway begins a stream with.
 *
 * It knows users from the topic user-topic only. libsluice puts the event's id into the inbox of
 * the consumer `coupons` first, in the transaction that inserts the coupon: a second copy of the
 * event finds it there and changes nothing. A user who has a coupon already is no failure either.
 *
 * `--poison-name NAME` makes every event of a user with that name fail, to show what becomes of
 * it: it is tried again, put with the dead letters, and only this user's later events wait for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "sql.h"

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS coupon ("
    " user_id VARCHAR(60) NOT NULL PRIMARY KEY, event_id VARCHAR(36) NOT NULL,"
    " issued_at_ms BIGINT NOT NULL)",
    NULL};

enum { USER_ID_SIZE = 61 };

struct coupons_service {
    sluice_database *database;
    const char *poison_name;
};

static json_t *status_object(const char *user_id, int has_coupon)
{
    return json_pack("{s:s, s:s, s:i}", "userId", user_id, "type",
        has_coupon ? "issued" : "waiting", "version", has_coupon);
}

static enum sluice_outcome issue(sluice_database *database, const struct sluice_event *event,
    const struct coupons_service *service, const json_t *user, struct sluice_error *error)
{
    const char *id = json_string_value(json_object_get(user, "userId"));
    const char *name = json_string_value(json_object_get(user, "userName"));
    if (id == NULL || name == NULL || id[0] == '\0' || strlen(id) >= USER_ID_SIZE) {
        snprintf(error->text, sizeof(error->text), "user.userId and user.userName must be texts");
        return SLUICE_REJECTED;
    }
    if (strcmp(name, service->poison_name) == 0) {
        snprintf(error->text, sizeof(error->text), "no coupon can be made for %s", name);
        return SLUICE_FAILED;
    }
    int inserted = sql_insert_once(database, error,
        "INSERT INTO coupon (user_id, event_id, issued_at_ms) VALUES (?1, ?2, ?3)", "tti", id,
        event->id, now_ms());
    if (inserted == 0) {
        return SLUICE_ALREADY_APPLIED;
    }
    return inserted == 1 && publish_keyed(database, "coupon.issued.v1", "CouponIssued", id,
                                status_object(id, 1), NULL, error) == 0
               ? SLUICE_APPLIED
               : outcome_of(error);
}

static enum sluice_outcome on_user(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    if (strcmp(event->type, "UserCreated") != 0) {
        snprintf(error->text, sizeof(error->text), "'%s' is no type that we know", event->type);
        return SLUICE_REJECTED;
    }
    json_t *payload = event_object(event, error);
    if (payload == NULL) {
        return SLUICE_REJECTED;
    }
    enum sluice_outcome outcome =
        issue(database, event, context, json_object_get(payload, "user"), error);
    json_decref(payload);
    return outcome;
}

static const struct subscription subscriptions[] = {{"coupons", "user-topic", on_user}};

/* The ID of /coupons/ID or, with `is_status`, /coupons/ID/status: 1, 0, or -1 if it is too long. */
static int takes_id(const struct request *request, int *ret_is_status, char ret_id[USER_ID_SIZE])
{
    static const char prefix[] = "/coupons/";
    const char *id = request->path + sizeof(prefix) - 1;
    if (strncmp(request->path, prefix, sizeof(prefix) - 1) != 0 ||
        (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)) {
        return 0;
    }
    size_t size = strcspn(id, "/");
    *ret_is_status = strcmp(id + size, "/status") == 0;
    snprintf(ret_id, USER_ID_SIZE, "%.*s", (int)size, id);
    if (size == 0 || (id[size] != '\0' && !*ret_is_status)) {
        return 0;
    }
    return size < USER_ID_SIZE ? 1 : -1;
}

static enum MHD_Result on_request(void *context, const struct request *request)
{
    struct coupons_service *service = context;
    struct sluice_error error;
    char id[USER_ID_SIZE];
    int is_status = 0;
    int taken = takes_id(request, &is_status, id);
    if (taken < 0) {
        return answer_message(request, MHD_HTTP_NOT_FOUND,
            "no user has an id of more than %d bytes", USER_ID_SIZE - 1);
    }
    if (taken == 0) {
        return answer_unknown(
            request, (const char *const[]){"GET /coupons/*", "GET /coupons/*/status", NULL});
    }
    struct rows *row = sql_query(service->database, &error,
        "SELECT event_id, issued_at_ms FROM coupon WHERE user_id = ?1", "t", id);
    if (row == NULL) {
        return answer_failure(request, &error);
    }
    json_t *coupon = !sql_next(row) ? NULL
                                    : json_pack("{s:s, s:s, s:I}", "userId", id, "eventId",
                                          sql_text(row, 0), "issuedAt", sql_integer(row, 1));
    sql_end(row);
    if (is_status) {
        int has_coupon = coupon != NULL;
        json_decref(coupon);
        return answer_json(request, MHD_HTTP_OK, status_object(id, has_coupon));
    }
    return coupon == NULL
               ? answer_message(request, MHD_HTTP_NOT_FOUND, "the user %s has no coupon", id)
               : answer_json(request, MHD_HTTP_OK, coupon);
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9011";
    const char *database = "sqlite:coupons.db";
    const char *broker = "local:log.db";
    struct coupons_service coupons = {.poison_name = ""};
    options_read(argc, argv,
        (struct option_field[]){
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "the coupons"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = "poison-name",
                .text = &coupons.poison_name,
                .help = "users of this name fail always"},
            {.name = NULL}});

    struct sluice_error error;
    struct service *service = NULL;
    if (sluice_database_open(database, &coupons.database, &error) != 0 ||
        sql_make_tables(coupons.database, tables, &error) != 0 ||
        (service = service_start(
             &(struct service_options){.listen_address = listen_address,
                 .handler = on_request,
                 .context = &coupons,
                 .database = database,
                 .broker = broker,
                 .subscriptions = subscriptions,
                 .subscription_count = sizeof(subscriptions) / sizeof(subscriptions[0]),
                 .subscription_context = &coupons},
             &error)) == NULL) {
        fprintf(stderr, "coupons: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(1000)) {
    }
    service_stop(service);
    sluice_database_close(coupons.database);
    return EXIT_SUCCESS;
}
