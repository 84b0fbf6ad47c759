/*
 * order.c - the order service: takes orders, has them paid, and tells the world each status.
 *
 *     POST /orders                  {"user_id": 7, "items": [{"item_id": 1, "quantity": 2}]}
 *                                   answers 202 and the order
 *     GET  /orders/N                the order
 *     POST /orders/N/cancel         the order, as it is now
 *     GET  /orders/N/stream/direct  its statuses live, written by this service (live_status.c)
 *     GET  /items                   what is sold
 *     GET  /auth/config             {"members": false}; with members that service answers it
 *     GET  /                        the page
 *
 * With --members on an order is its user's, whom the gateway names (caller.h): 401 without, 403 for
 * another's order, and the body has no user_id. The gateway's stream asks for GET /orders/N as that
 * user, so nobody opens or resumes another's stream either.
 *
 * The order is {"order_id", "type", "status", "version", "failure_reason"}. Whoever changes it does
 * three things in one transaction: it writes the row, a line of its history, and the event
 * order.status-changed.v1 with the same object and a higher version. So what the database says,
 * what the broker says and what a browser sees can differ in time, but never in substance.
 *
 * An order is paid by another service. The two talk by events only:
 *
 *     order.requested.v1                       we to ourselves: accepted, now go on
 *     order.payment-requested.v1               we to payment
 *     payment.completed.v1, .failed.v1         payment to us
 *     order.payment-compensation-requested.v1  we to payment: give the points back
 *     payment.compensated.v1, .compensation-failed.v1
 *
 * Each handler runs in a transaction that holds the inbox marker too, so it runs once for each
 * event, and asks for the state that it expects, so that late news change nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "caller.h"
#include "live_status.h"
#include "order_news.h"
#include "order_state.h"
#include "service.h"
#include "sql.h"
#include "wish.h"

extern const unsigned char orders_page[];
extern const size_t orders_page_size;

enum { IDEMPOTENCY_KEY_SIZE_MAX = 255, SCAN_PERIOD_MS = 250, SCAN_ORDERS_MAX = 100 };

struct order_service {
    sluice_database *database; /* for the thread that answers requests */
    struct live_statuses *live;
    int64_t expire_after_ms;
    int has_members;
};

/* --- whose order it is ----------------------------------------------------------------------- */

/* The user who asks: 0 without members, -1 if nobody is named. */
static int64_t asking_user(const struct order_service *service, const struct request *request)
{
    return service->has_members ? caller_of(request) : 0;
}

static enum MHD_Result answer_missing(const struct request *request, int64_t id)
{
    return answer_message(request, MHD_HTTP_NOT_FOUND, "there is no order %" PRId64, id);
}

static enum MHD_Result answer_foreign(const struct request *request, int64_t id)
{
    return answer_message(
        request, MHD_HTTP_FORBIDDEN, "order %" PRId64 " is another user's", id);
}

static int is_foreign(const struct order *order, int64_t user_id)
{
    return user_id > 0 && order->user_id != user_id;
}

/* --- requests -------------------------------------------------------------------------------- */

/*
 * Whether this user's key has placed an order before: 1 and the order, 0 after noting that it is
 * placed now, -1 with `error`. The code SLUICE_CONFLICT says that it was used for another request.
 */
static int find_earlier(sluice_database *database, const char *key, const char *wanted,
    const struct order *new_order, struct order *ret_order, struct sluice_error *error)
{
    int inserted = sql_insert_once(database, error,
        "INSERT INTO idempotency_keys (user_id, idempotency_key, request, order_id)"
        " VALUES (?1, ?2, ?3, ?4)",
        "itti", new_order->user_id, key, wanted, new_order->id);
    if (inserted != 0) {
        return inserted < 0 ? -1 : 0;
    }
    struct rows *row = sql_query(database, error,
        "SELECT request, order_id FROM idempotency_keys"
        " WHERE user_id = ?1 AND idempotency_key = ?2",
        "it", new_order->user_id, key);
    int found = sql_next(row);
    int64_t order_id = found ? sql_integer(row, 1) : 0;
    int is_same = found && is(sql_text(row, 0), wanted);
    sql_end(row);
    if (found && !is_same) {
        *error = (struct sluice_error){.code = SLUICE_CONFLICT,
            .reaction = SLUICE_REJECT,
            .text = "this Idempotency-Key was used for another order: take a new one"};
    }
    return is_same ? load_order(database, order_id, ret_order, error) : -1;
}

/* Place the order within the open transaction; an earlier one of the same key is found instead. */
static int place(struct order_service *service, const struct wish *wish, const char *key,
    struct order *ret_order, struct sluice_error *error)
{
    sluice_database *database = service->database;
    struct order order = {.user_id = wish->user_id, .total_amount = wish->total_amount};
    wish_lines(wish, order.lines);
    int result = insert_order(database, &order, now_ms() + service->expire_after_ms, error);
    if (result == 0 && key != NULL) {
        result = find_earlier(database, key, order.lines, &order, ret_order, error);
    }
    if (result != 0) {
        return result;
    }
    json_t *payload = json_pack("{s:I, s:I, s:o}", "order_id", (json_int_t)order.id, "user_id",
        (json_int_t)order.user_id, "items", json_loads(order.lines, 0, NULL));
    if (publish_object(database, "order.requested.v1", "OrderRequested", order.id, payload, NULL,
            error) != 0 ||
        store_order(database, &order, error) != 0) {
        return -1;
    }
    *ret_order = order;
    return 0;
}

static enum MHD_Result answer_error(const struct request *request, const struct sluice_error *error)
{
    return error->code == SLUICE_CONFLICT
               ? answer_message(request, MHD_HTTP_UNPROCESSABLE_CONTENT, "%s", error->text)
               : answer_failure(request, error);
}

static enum MHD_Result post_order(struct order_service *service, const struct request *request)
{
    struct wish wish = {.user_id = 0};
    char problem[PROBLEM_SIZE];
    const char *key = request_header(request, "Idempotency-Key");
    if (key != NULL &&
        (key[0] == '\0' || strlen(key) > IDEMPOTENCY_KEY_SIZE_MAX || !is_utf8(key))) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST,
            "Idempotency-Key must have 1 to %d characters", IDEMPOTENCY_KEY_SIZE_MAX);
    }
    int64_t user_id = asking_user(service, request);
    if (user_id < 0) {
        return answer_nobody(request);
    }
    json_t *body = request_object(request, problem);
    int is_good = body != NULL && read_wish(body, user_id, &wish, problem) == 0;
    json_decref(body);
    if (!is_good) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    struct sluice_error error;
    if (sluice_begin(service->database, &error) != 0) {
        return answer_error(request, &error);
    }
    struct order order;
    int result = place(service, &wish, key, &order, &error);
    if (result != 0) {
        sluice_rollback(service->database, NULL);
    } else if (sluice_commit(service->database, &error) != 0) {
        result = -1;
    }
    return result < 0 ? answer_error(request, &error)
                      : answer_json(request, MHD_HTTP_ACCEPTED, order_object(&order));
}

enum reading { READ_STATUS, READ_STREAM };

/* Show an order to its user, as it is or live. */
static enum MHD_Result read_order(struct order_service *service, const struct request *request,
    int64_t id, enum reading reading)
{
    struct sluice_error error;
    struct order order;
    int64_t user_id = asking_user(service, request);
    if (user_id < 0) {
        return answer_nobody(request);
    }
    int found = load_order(service->database, id, &order, &error);
    return found < 0                     ? answer_error(request, &error)
           : found == 0                  ? answer_missing(request, id)
           : is_foreign(&order, user_id) ? answer_foreign(request, id)
           : reading == READ_STREAM      ? live_statuses_answer(service->live, request, id)
                                         : answer_json(request, MHD_HTTP_OK, order_object(&order));
}

static enum MHD_Result cancel_order(
    struct order_service *service, const struct request *request, int64_t id)
{
    struct sluice_error error;
    struct order order;
    int64_t user_id = asking_user(service, request);
    if (user_id < 0) {
        return answer_nobody(request);
    }
    if (sluice_begin(service->database, &error) != 0) {
        return answer_error(request, &error);
    }
    int found = load_order(service->database, id, &order, &error);
    int is_others = found == 1 && is_foreign(&order, user_id);
    int is_cancellable = found == 1 && !is_others && !is_final(&order);
    int result = found < 0 ? -1 : 0;
    if (is_cancellable && !order.cancel_requested) { /* a second cancel says nothing new */
        order.cancel_requested = 1;
        snprintf(order.failure_reason, sizeof(order.failure_reason), "cancelled by user");
        result = store_order(service->database, &order, &error);
    }
    if (result != 0 || !is_cancellable) {
        sluice_rollback(service->database, NULL);
    } else {
        result = sluice_commit(service->database, &error);
    }
    if (result != 0) {
        return answer_error(request, &error);
    }
    return found == 0  ? answer_missing(request, id)
           : is_others ? answer_foreign(request, id)
           : is_cancellable
               ? answer_json(request, MHD_HTTP_OK, order_object(&order))
               : answer_message(request, MHD_HTTP_CONFLICT,
                     "order %" PRId64 " is %s and can no longer be cancelled", id, order.status);
}

static enum MHD_Result on_request(void *context, const struct request *request)
{
    static const char *const routes[] = {"POST /orders", "GET /orders/#", "POST /orders/#/cancel",
        "GET /orders/#/stream/direct", "GET /auth/config", "GET /items", "GET /",
        "GET /pages/orders", NULL};
    struct order_service *service = context;
    int64_t id = 0;
    if (request_is(request, "POST", "/orders", NULL)) {
        return post_order(service, request);
    }
    if (request_is(request, "GET", "/orders/*", &id)) {
        return read_order(service, request, id, READ_STATUS);
    }
    if (request_is(request, "POST", "/orders/*/cancel", &id)) {
        return cancel_order(service, request, id);
    }
    if (request_is(request, "GET", "/orders/*/stream/direct", &id)) {
        return read_order(service, request, id, READ_STREAM);
    }
    if (request_is(request, "GET", "/auth/config", NULL)) {
        return answer_json(
            request, MHD_HTTP_OK, json_pack("{s:b}", "members", service->has_members));
    }
    if (request_is(request, "GET", "/items", NULL)) {
        return answer_json(request, MHD_HTTP_OK, items_sold());
    }
    if (request_is(request, "GET", "/", NULL) ||
        request_is(request, "GET", "/pages/orders", NULL)) {
        return answer_bytes(request, "text/html; charset=utf-8", orders_page, orders_page_size);
    }
    return answer_unknown(request, routes);
}

/* --- time-outs and the whole ----------------------------------------------------------------- */

static int expire_order(sluice_database *database, int64_t id, struct sluice_error *error)
{
    struct order order;
    if (sluice_begin(database, error) != 0) {
        return -1;
    }
    int found = load_order(database, id, &order, error);
    if (found == 1 && is(order.status, "PROCESSING")) {
        order.timed_out = 1;
        snprintf(order.failure_reason, sizeof(order.failure_reason), "not paid in time");
        found = store_order(database, &order, error);
    }
    if (found < 0) {
        sluice_rollback(database, NULL);
        return -1;
    }
    return sluice_commit(database, error);
}

/* Time out what was not paid in time, the oldest first, each in a transaction of its own. */
static int expire_overdue(sluice_database *database, struct sluice_error *error)
{
    int64_t ids[SCAN_ORDERS_MAX];
    int count = 0;
    struct rows *rows = sql_query(database, error,
        "SELECT order_id FROM orders WHERE status = 'PROCESSING' AND expires_at_ms <= ?1"
        " ORDER BY expires_at_ms LIMIT 100",
        "i", now_ms());
    int result = rows != NULL ? 0 : -1;
    while (sql_next(rows) && count < SCAN_ORDERS_MAX) {
        ids[count++] = sql_integer(rows, 0);
    }
    sql_end(rows);
    for (int i = 0; i < count && result == 0; i++) {
        result = expire_order(database, ids[i], error);
    }
    return result;
}

static int open_database(struct order_service *service, const char *url,
    sluice_database **ret_database, struct sluice_error *error)
{
    if (sluice_database_open(url, ret_database, error) != 0 ||
        orders_make_tables(*ret_database, error) != 0) {
        return -1;
    }
    if (service->live == NULL) {
        service->live = live_statuses_new(*ret_database);
    }
    live_statuses_watch(service->live, *ret_database);
    return 0;
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9000";
    const char *database = "sqlite:orders.db";
    const char *broker = "local:log.db";
    const char *members = "off";
    int64_t expire_after_ms = 30000;
    options_read(argc, argv,
        (struct option_field[]){
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "the orders"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = "members",
                .text = &members,
                .help = "on: an order is its user's, whom the gateway names"},
            {.name = "expire-after-ms",
                .number = &expire_after_ms,
                .number_max = 86400000,
                .help = "how long an order may wait for its payment"},
            {.name = NULL}});

    struct sluice_error error;
    struct order_service order = {
        .expire_after_ms = expire_after_ms, .has_members = members_option(members)};
    sluice_database *clock = NULL; /* for this thread: the time-outs */
    struct service *service = NULL;
    if (open_database(&order, database, &order.database, &error) != 0 ||
        open_database(&order, database, &clock, &error) != 0 ||
        (service = service_start(&(struct service_options){.listen_address = listen_address,
                                     .handler = on_request,
                                     .context = &order,
                                     .database = database,
                                     .broker = broker,
                                     .subscriptions = order_news,
                                     .subscription_count = ORDER_NEWS_COUNT,
                                     .subscription_context = order.live},
             &error)) == NULL) {
        fprintf(stderr, "order: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);

    while (!service_wait(SCAN_PERIOD_MS)) {
        live_statuses_tick(order.live);
        if (expire_overdue(clock, &error) != 0) {
            fprintf(stderr, "order: time-outs wait: %s\n", error.text);
        }
    }
    live_statuses_end(order.live);
    service_stop(service);
    live_statuses_free(order.live);
    sluice_database_close(clock);
    sluice_database_close(order.database);
    return EXIT_SUCCESS;
}
