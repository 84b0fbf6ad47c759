/*
 * payment.c - the payment service: takes points for orders, and gives them back.
 *
 *     /wallet/...                              wallet.c
 *     member.registered.v1                     wallet.c, with --members on
 *
 *     order.payment-requested.v1               take the points: payment.completed.v1 or .failed.v1
 *     order.payment-compensation-requested.v1  give them back: payment.compensated.v1 or
 *                                              .compensation-failed.v1
 *
 * A payment is one transaction: the inbox marker (libsluice writes it before it calls us), the
 * wallet, the line in payment_log, and the answer as an event. So there is no moment in which the
 * points are gone and nobody is told, and none in which a second copy of the event pays twice. A
 * refund is guarded once more, by a unique key: one line of charge_log a payment.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "service.h"
#include "sql.h"
#include "wallet.h"

enum { WAIT_MS_MAX = 1000 };

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS payment_log ("
    " payment_log_id {id}, order_id BIGINT NOT NULL UNIQUE, event_id VARCHAR(36) NOT NULL UNIQUE,"
    " user_id BIGINT NOT NULL, total_amount BIGINT NOT NULL, point_before BIGINT NOT NULL,"
    " point_after BIGINT NOT NULL, result VARCHAR(12) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS payment_due ("
    " event_id VARCHAR(36) NOT NULL PRIMARY KEY, due_ms BIGINT NOT NULL, order_id BIGINT NOT NULL,"
    " user_id BIGINT NOT NULL, total_amount BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS payment_due_by_time ON payment_due (due_ms)",
    NULL};

struct payment_service {
    sluice_database *database; /* for the thread that answers requests */
    struct wallet_rules rules;
    int64_t delay_ms;
};

/* What is asked of us. */
struct payment {
    int64_t order_id;
    int64_t user_id;
    int64_t total_amount;
    const char *event_id; /* of the event that asks */
};

/* --- taking points --------------------------------------------------------------------------- */

static int publish_answer(sluice_database *database, const struct payment *payment,
    int64_t payment_log_id, int64_t points, struct sluice_error *error)
{
    if (points >= payment->total_amount) {
        return publish_object(database, "payment.completed.v1", "PaymentCompleted",
            payment->order_id,
            json_pack("{s:I, s:I, s:I, s:I, s:i, s:I}", "order_id", (json_int_t)payment->order_id,
                "user_id", (json_int_t)payment->user_id, "payment_log_id",
                (json_int_t)payment_log_id, "points_used", (json_int_t)payment->total_amount,
                "card_amount", 0, "total_amount", (json_int_t)payment->total_amount),
            NULL, error);
    }
    char reason[128];
    snprintf(reason, sizeof(reason),
        "too few points: the order costs %" PRId64 ", the wallet has %" PRId64,
        payment->total_amount, points);
    return publish_object(database, "payment.failed.v1", "PaymentFailed", payment->order_id,
        json_pack("{s:I, s:I, s:s}", "order_id", (json_int_t)payment->order_id, "user_id",
            (json_int_t)payment->user_id, "reason", reason),
        NULL, error);
}

static int find_payment(
    sluice_database *database, int64_t order_id, int64_t *ret_id, struct sluice_error *error)
{
    struct rows *row = sql_query(database, error,
        "SELECT payment_log_id FROM payment_log WHERE order_id = ?1", "i", order_id);
    int result = sql_next(row) ? 0 : -1;
    *ret_id = result == 0 ? sql_integer(row, 0) : 0;
    sql_end(row);
    return result;
}

/* Take the points and say so, in the open transaction. */
static enum sluice_outcome pay(const struct payment_service *service, sluice_database *database,
    const struct payment *payment, struct sluice_error *error)
{
    int64_t points = 0;
    if (wallet_lock(database, &service->rules, payment->user_id, &points, error) != 0) {
        return outcome_of(error);
    }
    int is_enough = points >= payment->total_amount;
    int64_t points_after = is_enough ? points - payment->total_amount : points;
    int inserted = sql_insert_once(database, error,
        "INSERT INTO payment_log (order_id, event_id, user_id, total_amount, point_before,"
        " point_after, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        "itiiiit", payment->order_id, payment->event_id, payment->user_id, payment->total_amount,
        points, points_after, is_enough ? "COMPLETED" : "FAILED");
    if (inserted == 0) {
        return SLUICE_ALREADY_APPLIED; /* another event has asked for this order's payment */
    }
    int64_t payment_log_id = 0;
    if (inserted < 0 || find_payment(database, payment->order_id, &payment_log_id, error) != 0 ||
        wallet_write(database, payment->user_id, points_after, error) != 0 ||
        publish_answer(database, payment, payment_log_id, points, error) != 0) {
        return outcome_of(error);
    }
    return SLUICE_APPLIED;
}

/*
 * Keep the request until it is due. A payment that takes its time, as a bank's does, must not hold
 * a transaction open meanwhile, nor make others wait behind it.
 */
static enum sluice_outcome pay_later(sluice_database *database, const struct payment *payment,
    int64_t due_ms, struct sluice_error *error)
{
    return sql_run(database, error,
               "INSERT INTO payment_due (event_id, due_ms, order_id, user_id, total_amount)"
               " VALUES (?1, ?2, ?3, ?4, ?5)",
               "tiiii", payment->event_id, due_ms, payment->order_id, payment->user_id,
               payment->total_amount) == 1
               ? SLUICE_APPLIED
               : outcome_of(error);
}

static enum sluice_outcome on_payment_requested(sluice_database *database,
    const struct sluice_event *event, void *context, struct sluice_error *error)
{
    const struct payment_service *service = context;
    json_t *request = event_object(event, error);
    if (request == NULL) {
        return SLUICE_REJECTED;
    }
    struct payment payment = {.event_id = event->id,
        .order_id = json_integer_value(json_object_get(request, "order_id")),
        .user_id = json_integer_value(json_object_get(request, "user_id")),
        .total_amount = json_integer_value(
            json_object_get(json_object_get(request, "payment"), "total_amount"))};
    json_decref(request);
    if (payment.order_id <= 0 || payment.user_id <= 0 || payment.total_amount <= 0) {
        snprintf(error->text, sizeof(error->text),
            "order_id, user_id and payment.total_amount must be whole numbers from 1");
        return SLUICE_REJECTED;
    }
    return service->delay_ms == 0
               ? pay(service, database, &payment, error)
               : pay_later(database, &payment, now_ms() + service->delay_ms, error);
}

/* The request that is due first, and when: 1, 0 if there is none, -1 with `error`. */
static int find_first(sluice_database *database, struct payment *ret_payment,
    char ret_event_id[SLUICE_EVENT_ID_SIZE], int64_t *ret_due_ms, struct sluice_error *error)
{
    struct rows *row = sql_query(database, error,
        "SELECT event_id, order_id, user_id, total_amount, due_ms FROM payment_due"
        " ORDER BY due_ms LIMIT 1",
        "");
    int found = row != NULL ? sql_next(row) : -1;
    if (found == 1) {
        sql_copy(row, 0, ret_event_id, SLUICE_EVENT_ID_SIZE);
        *ret_payment = (struct payment){.event_id = ret_event_id,
            .order_id = sql_integer(row, 1),
            .user_id = sql_integer(row, 2),
            .total_amount = sql_integer(row, 3)};
        *ret_due_ms = sql_integer(row, 4);
    }
    sql_end(row);
    return found;
}

/*
 * Pay the first request if it is due, in one transaction: 1, 0 if none is due before `*ret_due_ms`,
 * -1 with `error`. This is the only thread that takes from the list, so what is found before the
 * transaction stands.
 */
static int pay_first(const struct payment_service *service, sluice_database *database,
    int64_t *ret_due_ms, struct sluice_error *error)
{
    struct payment payment;
    char event_id[SLUICE_EVENT_ID_SIZE];
    *ret_due_ms = INT64_MAX;
    int found = find_first(database, &payment, event_id, ret_due_ms, error);
    if (found != 1 || *ret_due_ms > now_ms()) {
        return found < 0 ? -1 : 0;
    }
    if (sluice_begin(database, error) != 0) {
        return -1;
    }
    enum sluice_outcome outcome = pay(service, database, &payment, error);
    if ((outcome == SLUICE_APPLIED || outcome == SLUICE_ALREADY_APPLIED) &&
        sql_run(database, error, "DELETE FROM payment_due WHERE event_id = ?1", "t", event_id) ==
            1) {
        return sluice_commit(database, error) == 0 ? 1 : -1;
    }
    sluice_rollback(database, NULL);
    return -1;
}

/*
 * Pay what is due, and say how long there is nothing to do: until the next one is due, or as long
 * as a payment takes, since nothing that comes meanwhile is due before.
 */
static int pay_what_is_due(const struct payment_service *service, sluice_database *database)
{
    struct sluice_error error;
    int64_t due_ms = INT64_MAX;
    int result = 1;
    while (result == 1) {
        result = pay_first(service, database, &due_ms, &error);
    }
    if (result < 0) {
        fprintf(stderr, "payment: what is due waits: %s\n", error.text);
    }
    int64_t longest_ms =
        service->delay_ms > 0 && service->delay_ms < WAIT_MS_MAX ? service->delay_ms : WAIT_MS_MAX;
    int64_t wait_ms = result < 0 || due_ms == INT64_MAX ? longest_ms : due_ms - now_ms();
    return (int)(wait_ms < 1 ? 1 : wait_ms < longest_ms ? wait_ms : longest_ms);
}

/* --- giving points back ---------------------------------------------------------------------- */

static int publish_refund(sluice_database *database, int64_t order_id, int64_t user_id,
    const char *problem, struct sluice_error *error)
{
    json_t *payload =
        json_pack("{s:I, s:I}", "order_id", (json_int_t)order_id, "user_id", (json_int_t)user_id);
    if (problem == NULL) {
        return publish_object(database, "payment.compensated.v1", "PaymentCompensated", order_id,
            payload, NULL, error);
    }
    json_object_set_new(payload, "reason", json_string(problem));
    return publish_object(database, "payment.compensation-failed.v1", "PaymentCompensationFailed",
        order_id, payload, NULL, error);
}

static enum sluice_outcome on_compensation_requested(sluice_database *database,
    const struct sluice_event *event, void *context, struct sluice_error *error)
{
    const struct payment_service *service = context;
    json_t *request = event_object(event, error);
    if (request == NULL) {
        return SLUICE_REJECTED;
    }
    int64_t order_id = json_integer_value(json_object_get(request, "order_id"));
    int64_t user_id = json_integer_value(json_object_get(request, "user_id"));
    json_decref(request);
    struct rows *row = sql_query(database, error,
        "SELECT payment_log_id, user_id, total_amount FROM payment_log"
        " WHERE order_id = ?1 AND result = 'COMPLETED'",
        "i", order_id);
    int found = row != NULL ? sql_next(row) : -1;
    int result = found;
    if (found == 1) {
        user_id = sql_integer(row, 1);
        struct refund refund = {.payment_log_id = sql_integer(row, 0),
            .user_id = user_id,
            .amount = sql_integer(row, 2),
            .event_id = event->id};
        result = wallet_refund(database, &service->rules, &refund, error);
    }
    sql_end(row);
    if (result < 0 || publish_refund(database, order_id, user_id,
                          found == 1 ? NULL : "there is no payment of this order", error) != 0) {
        return outcome_of(error);
    }
    return SLUICE_APPLIED;
}

static const struct subscription subscriptions[] = {
    {"order-payment-requested-v1", "order.payment-requested.v1", on_payment_requested},
    {"order-payment-compensation-requested-v1", "order.payment-compensation-requested.v1",
        on_compensation_requested},
    {"point-initializer-v1", "member.registered.v1", wallet_on_member_registered},
};

/* Without members nobody registers: the last one is left out. */
enum { SUBSCRIPTION_COUNT = sizeof(subscriptions) / sizeof(subscriptions[0]) };

/* --- requests and the whole ------------------------------------------------------------------ */

static enum MHD_Result on_request(void *context, const struct request *request)
{
    struct payment_service *service = context;
    return wallet_answer(service->database, &service->rules, request);
}

static int open_database(
    const char *url, sluice_database **ret_database, struct sluice_error *error)
{
    if (sluice_database_open(url, ret_database, error) != 0) {
        return -1;
    }
    return wallet_make_tables(*ret_database, error) == 0
               ? sql_make_tables(*ret_database, tables, error)
               : -1;
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9001";
    const char *database = "sqlite:payment.db";
    const char *broker = "local:log.db";
    const char *members = "off";
    int64_t delay_ms = 0;
    options_read(argc, argv,
        (struct option_field[]){
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "the wallets"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = "members",
                .text = &members,
                .help = "on: wallets are of those who registered, and told by the gateway"},
            {.name = "payment-delay-ms",
                .number = &delay_ms,
                .number_max = 60000,
                .help = "how long a payment takes; 0: it is made at once"},
            {.name = NULL}});

    struct sluice_error error;
    int has_members = members_option(members);
    struct payment_service payment = {.delay_ms = delay_ms,
        .rules = {.has_members = has_members,
            .starting_points = has_members ? 0 : POINTS_OF_STRANGERS}};
    sluice_database *clock = NULL; /* for this thread: the payments that are due */
    struct service *service = NULL;
    if (open_database(database, &payment.database, &error) != 0 ||
        open_database(database, &clock, &error) != 0 ||
        (service = service_start(
             &(struct service_options){.listen_address = listen_address,
                 .handler = on_request,
                 .context = &payment,
                 .database = database,
                 .broker = broker,
                 .subscriptions = subscriptions,
                 .subscription_count = SUBSCRIPTION_COUNT - !has_members,
                 .subscription_context = &payment},
             &error)) == NULL) {
        fprintf(stderr, "payment: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);

    /* What is due is paid even if the delay was turned off since it was asked for. */
    while (!service_wait(pay_what_is_due(&payment, clock))) {
    }
    service_stop(service);
    sluice_database_close(clock);
    sluice_database_close(payment.database);
    return EXIT_SUCCESS;
}
