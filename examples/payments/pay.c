/*
 * pay.c - the payment service: pays orders with points, as one step of a saga.
 *
 *     POST /v1/pays/orders              {"orderId", "userId", "price"}: 200 {"payId", "state"}; the
 *                                       same again is the same answer, another body 409
 *     POST /v1/pays/points              {"orderId"} and `Authorization: Bearer`: 202 {"payId",
 *                                       "sagaId"}; 401, 403 (not the buyer), 404, 409 (not PENDING)
 *     GET  /v1/pays/orders/N            the payment
 *     POST /v1/pays/orders/N/rollback   undoes it, by an event within this process
 *     GET  /v1/points/N                 {"userId", "point"}
 *     GET  /                            the page
 *
 * 202 means that the saga has started: how it ends is told by GET, and live by the gateway.
 *
 * A step of the saga is one transaction: the inbox marker (libsluice writes it before it calls us),
 * the state, the points, the ledger, and the next event. There is no moment in which points are
 * gone and nobody is told. Too few points are an outcome with an event of its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/listener.h>

#include "payment.h"
#include "rollback.h"
#include "tokens.h"

extern const unsigned char payments_page[];
extern const size_t payments_page_size;

struct pay_service {
    sluice_database *database;
    struct tokens *tokens;
};

/* --- the saga's steps ------------------------------------------------------------------------ */

/* START: take the points, or say that it cannot be paid. */
static int pay(sluice_database *database, const struct saga_event *event, struct payment *payment,
    struct sluice_error *error)
{
    if (strcmp(payment->state, "PENDING") != 0) {
        return 0; /* paid already, or rolled back before this came: that is recorded */
    }
    int is_paid = points_take(database, payment, event->saga_id, error);
    if (is_paid < 0) {
        return -1;
    }
    snprintf(payment->state, sizeof(payment->state), "%s", is_paid ? "SUCCESS" : "FAILED");
    if (payment_store(database, payment, error) != 0) {
        return -1;
    }
    return is_paid ? saga_answer(database, event, "JOIN", "PayConfirmEvent", NULL, error)
                   : saga_answer(database, event, "ROLLBACK", "PayRollbackEvent", payment->reason,
                         error);
}

static enum sluice_outcome on_saga(sluice_database *database, const struct sluice_event *raw,
    void *context, struct sluice_error *error)
{
    (void)context;
    struct saga_event event;
    struct payment payment;
    if (saga_read(raw, &event, error) != 0) {
        return SLUICE_REJECTED;
    }
    int is_start = saga_is(&event, "START", "PayConfirmEvent");
    if (!is_start && strcmp(event.phase, "ROLLBACK") != 0) {
        return SLUICE_APPLIED; /* for others */
    }
    int found = payment_load(database, event.order_id, 1, &payment, error);
    if (found == 0) {
        snprintf(error->text, sizeof(error->text), "there is no payment of order %" PRId64,
            event.order_id);
        return SLUICE_REJECTED;
    }
    int result = found < 0  ? -1
                 : is_start ? pay(database, &event, &payment, error)
                            : payment_undo(database, &payment, event.saga_id, event.cause, error);
    return result == 0 ? SLUICE_APPLIED : outcome_of(error);
}

static const struct subscription subscriptions[] = {{"pay", SAGA_TOPIC, on_saga}};

/* --- requests -------------------------------------------------------------------------------- */

static int insert(sluice_database *database, void *context, struct sluice_error *error)
{
    struct payment *payment = context;
    struct payment wanted = *payment;
    if (payment_insert(database, payment, error) < 0) {
        return -1;
    }
    if (payment->user_id != wanted.user_id || payment->price != wanted.price) {
        *error = (struct sluice_error){.code = SLUICE_CONFLICT, .reaction = SLUICE_REJECT};
        snprintf(error->text, sizeof(error->text),
            "order %" PRId64 " has a payment with another user or price", payment->order_id);
        return -1;
    }
    return 0;
}

static enum MHD_Result answer_conflict(
    const struct request *request, const struct sluice_error *error)
{
    return error->code == SLUICE_CONFLICT
               ? answer_message(request, MHD_HTTP_CONFLICT, "%s", error->text)
               : answer_failure(request, error);
}

static enum MHD_Result post_payment(struct pay_service *service, const struct request *request)
{
    static const char *const fields[] = {"orderId", "userId", "price", NULL};
    struct payment payment = {.id = 0};
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(request, problem);
    int is_good =
        body != NULL &&
        take_number(body, "orderId", 1, INT64_MAX, &payment.order_id, problem) == 0 &&
        take_number(body, "userId", 1, INT64_MAX, &payment.user_id, problem) == 0 &&
        take_number(body, "price", 1, 1000000000, &payment.price, problem) == 0 &&
        check_known(body, fields, problem) == 0;
    json_decref(body);
    if (!is_good) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    if (sluice_transaction(service->database, SLUICE_REQUIRED, insert, &payment, &error) != 0) {
        return answer_conflict(request, &error);
    }
    return answer_json(request, MHD_HTTP_OK,
        json_pack("{s:I, s:s}", "payId", (json_int_t)payment.id, "state", payment.state));
}

/* A buyer's wish to pay, and what became of it. */
struct wish {
    int64_t order_id;
    int64_t user_id;
    unsigned int status; /* of the answer */
    struct payment payment;
};

/* Start the saga, once: the same wish again finds the saga that it started. */
static int start_saga(sluice_database *database, void *context, struct sluice_error *error)
{
    struct wish *wish = context;
    struct payment *payment = &wish->payment;
    int found = payment_load(database, wish->order_id, 1, payment, error);
    if (found < 0) {
        return -1;
    }
    wish->status = found == 0                                          ? MHD_HTTP_NOT_FOUND
                   : payment->user_id != wish->user_id                 ? MHD_HTTP_FORBIDDEN
                   : payment->saga_id[0] != '\0'                       ? MHD_HTTP_ACCEPTED
                   : strcmp(payment->state, "PENDING") != 0 ? MHD_HTTP_CONFLICT
                                                                       : MHD_HTTP_OK;
    if (wish->status != MHD_HTTP_OK) {
        return 0;
    }
    struct saga_event event = {.phase = "START",
        .type = "PayConfirmEvent",
        .pay_id = payment->id,
        .user_id = payment->user_id,
        .order_id = payment->order_id,
        .total_price = payment->price};
    wish->status = MHD_HTTP_ACCEPTED;
    if (saga_publish(database, &event, payment->saga_id, error) != 0) {
        return -1;
    }
    return sql_run(database, error, "UPDATE payment SET saga_id = ?1 WHERE id = ?2", "ti",
               payment->saga_id, payment->id) == 1
               ? 0
               : -1;
}

static enum MHD_Result post_points(struct pay_service *service, const struct request *request)
{
    static const char *const fields[] = {"orderId", NULL};
    struct wish wish = {.user_id = tokens_user(service->tokens, request)};
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    if (wish.user_id < 0) {
        return answer_message(request, MHD_HTTP_UNAUTHORIZED,
            "send the buyer's token as `Authorization: Bearer TOKEN`");
    }
    json_t *body = request_object(request, problem);
    int is_good = body != NULL &&
                  take_number(body, "orderId", 1, INT64_MAX, &wish.order_id, problem) == 0 &&
                  check_known(body, fields, problem) == 0;
    json_decref(body);
    if (!is_good) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    if (sluice_transaction(service->database, SLUICE_REQUIRED, start_saga, &wish, &error) != 0) {
        return answer_failure(request, &error);
    }
    switch (wish.status) {
    case MHD_HTTP_NOT_FOUND:
        return answer_message(
            request, wish.status, "there is no payment of order %" PRId64, wish.order_id);
    case MHD_HTTP_FORBIDDEN:
        return answer_message(request, wish.status, "this payment is another buyer's");
    case MHD_HTTP_CONFLICT:
        return answer_message(request, wish.status, "this payment is %s", wish.payment.state);
    default:
        return answer_json(request, wish.status,
            json_pack("{s:I, s:s}", "payId", (json_int_t)wish.payment.id, "sagaId",
                wish.payment.saga_id));
    }
}

static enum MHD_Result get_payment(
    struct pay_service *service, const struct request *request, int64_t order_id)
{
    struct sluice_error error;
    struct payment payment;
    int found = payment_load(service->database, order_id, 0, &payment, &error);
    return found < 0    ? answer_failure(request, &error)
           : found == 0 ? answer_message(request, MHD_HTTP_NOT_FOUND,
                              "there is no payment of order %" PRId64, order_id)
                        : answer_json(request, MHD_HTTP_OK, payment_object(&payment));
}

static enum MHD_Result post_rollback(
    struct pay_service *service, const struct request *request, int64_t order_id)
{
    struct sluice_error error;
    struct payment payment;
    int found = payment_load(service->database, order_id, 0, &payment, &error);
    if (found == 1 && rollback_publish(service->database, order_id, &error) != 0) {
        found = -1;
    }
    return found < 0 && error.code == SLUICE_LISTENER
               ? answer_message(request, MHD_HTTP_INTERNAL_SERVER_ERROR, "%s", error.text)
           : found < 0 ? answer_failure(request, &error)
                       : get_payment(service, request, order_id);
}

static enum MHD_Result get_points(
    struct pay_service *service, const struct request *request, int64_t user_id)
{
    struct sluice_error error;
    int64_t points = 0;
    if (points_read(service->database, user_id, &points, &error) < 0) {
        return answer_failure(request, &error);
    }
    return answer_json(request, MHD_HTTP_OK,
        json_pack("{s:I, s:I}", "userId", (json_int_t)user_id, "point", (json_int_t)points));
}

static enum MHD_Result on_request(void *context, const struct request *request)
{
    static const char *const routes[] = {"POST /v1/pays/orders", "GET /v1/pays/orders/#",
        "POST /v1/pays/orders/#/rollback", "POST /v1/pays/points", "GET /v1/points/#", "GET /",
        "GET /pages/payments", NULL};
    struct pay_service *service = context;
    int64_t id = 0;
    if (request_is(request, "POST", "/v1/pays/orders", NULL)) {
        return post_payment(service, request);
    }
    if (request_is(request, "POST", "/v1/pays/points", NULL)) {
        return post_points(service, request);
    }
    if (request_is(request, "GET", "/v1/pays/orders/*", &id)) {
        return get_payment(service, request, id);
    }
    if (request_is(request, "POST", "/v1/pays/orders/*/rollback", &id)) {
        return post_rollback(service, request, id);
    }
    if (request_is(request, "GET", "/v1/points/*", &id)) {
        return get_points(service, request, id);
    }
    if (request_is(request, "GET", "/", NULL) ||
        request_is(request, "GET", "/pages/payments", NULL)) {
        return answer_bytes(
            request, "text/html; charset=utf-8", payments_page, payments_page_size);
    }
    return answer_unknown(request, routes);
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9020";
    const char *database = "sqlite:pay.db";
    const char *broker = "local:log.db";
    const char *tokens = "tokens";
    const char *handler = "task";
    options_read(argc, argv,
        (struct option_field[]){
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "payments and points"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = "tokens", .text = &tokens, .help = "a file of lines `TOKEN USER_ID`"},
            {.name = "rollback-handler",
                .text = &handler,
                .help = "no-task, detached or task: how the rollback is handled"},
            {.name = NULL}});

    struct sluice_error error;
    struct pay_service pay = {.tokens = tokens_load(tokens, &error)};
    struct service *service = NULL;
    if (pay.tokens == NULL || sluice_database_open(database, &pay.database, &error) != 0 ||
        sql_make_tables(pay.database, payment_tables, &error) != 0 ||
        rollback_listen(pay.database, handler, &error) != 0 ||
        (service = service_start(
             &(struct service_options){.listen_address = listen_address,
                 .handler = on_request,
                 .context = &pay,
                 .database = database,
                 .broker = broker,
                 .subscriptions = subscriptions,
                 .subscription_count = sizeof(subscriptions) / sizeof(subscriptions[0])},
             &error)) == NULL) {
        fprintf(stderr, "pay: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(1000)) {
    }
    service_stop(service);
    sluice_database_close(pay.database);
    tokens_free(pay.tokens);
    return EXIT_SUCCESS;
}
