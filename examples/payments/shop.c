/*
 * shop.c - orders and stock: the other two of the saga, each a consumer with an inbox of its own.
 *
 *     POST /v1/orders        {"userId", "productId", "quantity"}: 201 and the order
 *     GET  /v1/orders/N      the order
 *     GET  /v1/products/N    {"productId", "price", "quantity"}: what is in stock
 *
 * An order is to be paid for by POST /v1/pays/orders and /v1/pays/points of the payment service.
 *
 *     order   on JOIN       PENDING becomes SUCCESS, and the goods are asked for (COMMIT); an order
 *                           that is not PENDING any more says so (ROLLBACK), it is never ignored
 *             on ROLLBACK   FAILED, whatever it was
 *     stock   on COMMIT     the goods go; if there are too few, ROLLBACK
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/transaction.h>

#include "saga.h"
#include "sql.h"

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS orders ("
    " id {id}, user_id BIGINT NOT NULL, product_id BIGINT NOT NULL,"
    " product_quantity BIGINT NOT NULL CHECK (product_quantity > 0),"
    " total_price BIGINT NOT NULL CHECK (total_price > 0), state VARCHAR(10) NOT NULL,"
    " reason VARCHAR(255) NOT NULL, version BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS product ("
    " id BIGINT NOT NULL PRIMARY KEY, price BIGINT NOT NULL,"
    " quantity BIGINT NOT NULL CHECK (quantity >= 0), version BIGINT NOT NULL)",
    NULL};

static const struct {
    int64_t id, price, quantity;
} products[] = {{1, 100, 100000}, {2, 400, 100000}, {3, 50, 1}};

struct order {
    int64_t id, user_id, product_id, quantity, total_price, version;
    char state[12];
    char reason[REASON_SIZE];
};

/* --- orders and products --------------------------------------------------------------------- */

static json_t *order_object(const struct order *order)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:s?}", "orderId", (json_int_t)order->id,
        "userId", (json_int_t)order->user_id, "productId", (json_int_t)order->product_id,
        "quantity", (json_int_t)order->quantity, "totalPrice", (json_int_t)order->total_price,
        "state", order->state, "version", (json_int_t)order->version, "reason",
        order->reason[0] != '\0' ? order->reason : NULL);
}

static int load_order(
    sluice_database *database, int64_t id, struct order *ret_order, struct sluice_error *error)
{
    struct rows *row = sql_query(database, error,
        "SELECT id, user_id, product_id, product_quantity, total_price, version, state, reason"
        " FROM orders WHERE id = ?1 {lock}",
        "i", id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row);
    if (found) {
        *ret_order = (struct order){.id = sql_integer(row, 0),
            .user_id = sql_integer(row, 1),
            .product_id = sql_integer(row, 2),
            .quantity = sql_integer(row, 3),
            .total_price = sql_integer(row, 4),
            .version = sql_integer(row, 5)};
        sql_copy(row, 6, ret_order->state, sizeof(ret_order->state));
        sql_copy(row, 7, ret_order->reason, sizeof(ret_order->reason));
    }
    sql_end(row);
    return found;
}

/* Move an order on, as the next version, and tell it. */
static int move_order(sluice_database *database, struct order *order, const char *state,
    const char *reason, struct sluice_error *error)
{
    snprintf(order->state, sizeof(order->state), "%s", state);
    snprintf(order->reason, sizeof(order->reason), "%.255s", reason);
    if (sql_run(database, error,
            "UPDATE orders SET state = ?1, reason = ?2, version = version + 1"
            " WHERE id = ?3 AND version = ?4",
            "ttii", order->state, order->reason, order->id, order->version) != 1) {
        return -1;
    }
    order->version++;
    return publish_object(database, "order.state-changed.v1", "OrderStateChanged", order->id,
        order_object(order), NULL, error);
}

/* --- the saga's steps ------------------------------------------------------------------------ */

static int confirm_order(
    sluice_database *database, const struct saga_event *event, struct sluice_error *error)
{
    struct order order;
    struct saga_event answer = *event;
    int found = load_order(database, event->order_id, &order, error);
    if (found < 0) {
        return -1;
    }
    if (found == 0 || strcmp(order.state, "PENDING") != 0) {
        if (found == 1 && strcmp(order.state, "SUCCESS") == 0) {
            return 0;
        }
        return saga_answer(database, event, "ROLLBACK", "PayCancelEvent",
            found == 0 ? "there is no such order" : "the order is not pending any more", error);
    }
    answer.product_id = order.product_id;
    answer.quantity = order.quantity;
    return move_order(database, &order, "SUCCESS", "", error) == 0
               ? saga_answer(database, &answer, "COMMIT", "OrderConfirmEvent", NULL, error)
               : -1;
}

static int fail_order(
    sluice_database *database, const struct saga_event *event, struct sluice_error *error)
{
    struct order order;
    int found = load_order(database, event->order_id, &order, error);
    return found < 1 || strcmp(order.state, "FAILED") == 0
               ? (found < 0 ? -1 : 0)
               : move_order(database, &order, "FAILED", event->cause, error);
}

static int take_goods(
    sluice_database *database, const struct saga_event *event, struct sluice_error *error)
{
    int64_t changed = sql_run(database, error,
        "UPDATE product SET quantity = quantity - ?1, version = version + 1"
        " WHERE id = ?2 AND quantity >= ?1",
        "ii", event->quantity, event->product_id);
    if (changed != 0) {
        return changed < 0 ? -1 : 0;
    }
    return saga_answer(
        database, event, "ROLLBACK", "PayCancelEvent", "too little of it is in stock", error);
}

static enum sluice_outcome on_saga(sluice_database *database, const struct sluice_event *raw,
    struct sluice_error *error, int is_stock)
{
    struct saga_event event;
    if (saga_read(raw, &event, error) != 0) {
        return SLUICE_REJECTED;
    }
    int result = 0;
    if (is_stock && saga_is(&event, "COMMIT", "OrderConfirmEvent")) {
        result = take_goods(database, &event, error);
    } else if (!is_stock && saga_is(&event, "JOIN", "PayConfirmEvent")) {
        result = confirm_order(database, &event, error);
    } else if (!is_stock && strcmp(event.phase, "ROLLBACK") == 0) {
        result = fail_order(database, &event, error);
    }
    return result == 0 ? SLUICE_APPLIED : outcome_of(error);
}

static enum sluice_outcome on_order(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    (void)context;
    return on_saga(database, event, error, 0);
}

static enum sluice_outcome on_stock(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    (void)context;
    return on_saga(database, event, error, 1);
}

static const struct subscription subscriptions[] = {
    {"order", SAGA_TOPIC, on_order}, {"stock", SAGA_TOPIC, on_stock}};

/* --- requests and the whole ------------------------------------------------------------------ */

static int64_t price_of(int64_t product_id)
{
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
        if (products[i].id == product_id) {
            return products[i].price;
        }
    }
    return -1;
}

static int insert_order(sluice_database *database, void *context, struct sluice_error *error)
{
    struct order *order = context;
    struct rows *row = sql_query(database, error,
        "INSERT INTO orders (user_id, product_id, product_quantity, total_price, state, reason,"
        " version) VALUES (?1, ?2, ?3, ?4, 'PENDING', '', 0) RETURNING id",
        "iiii", order->user_id, order->product_id, order->quantity, order->total_price);
    int result = sql_next(row) ? 0 : -1;
    order->id = result == 0 ? sql_integer(row, 0) : 0;
    sql_end(row);
    return result == 0 ? publish_object(database, "order.state-changed.v1", "OrderStateChanged",
                             order->id, order_object(order), NULL, error)
                       : -1;
}

static enum MHD_Result post_order(sluice_database *database, const struct request *request)
{
    static const char *const fields[] = {"userId", "productId", "quantity", NULL};
    struct order order = {.state = "PENDING"};
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(request, problem);
    int is_good = body != NULL &&
                  take_number(body, "userId", 1, INT64_MAX, &order.user_id, problem) == 0 &&
                  take_number(body, "productId", 1, INT64_MAX, &order.product_id, problem) == 0 &&
                  take_number(body, "quantity", 1, 1000, &order.quantity, problem) == 0 &&
                  check_known(body, fields, problem) == 0;
    json_decref(body);
    if (!is_good) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    if (price_of(order.product_id) < 0) {
        return answer_message(
            request, MHD_HTTP_NOT_FOUND, "there is no product %" PRId64, order.product_id);
    }
    order.total_price = order.quantity * price_of(order.product_id);
    if (sluice_transaction(database, SLUICE_REQUIRED, insert_order, &order, &error) != 0) {
        return answer_failure(request, &error);
    }
    return answer_json(request, MHD_HTTP_CREATED, order_object(&order));
}

static enum MHD_Result get_order(
    sluice_database *database, const struct request *request, int64_t id)
{
    struct sluice_error error;
    struct order order;
    int found = load_order(database, id, &order, &error);
    return found < 0    ? answer_failure(request, &error)
           : found == 0 ? answer_message(
                              request, MHD_HTTP_NOT_FOUND, "there is no order %" PRId64, id)
                        : answer_json(request, MHD_HTTP_OK, order_object(&order));
}

static enum MHD_Result get_product(
    sluice_database *database, const struct request *request, int64_t id)
{
    struct sluice_error error;
    struct rows *row = sql_query(
        database, &error, "SELECT price, quantity FROM product WHERE id = ?1", "i", id);
    if (row == NULL) {
        return answer_failure(request, &error);
    }
    json_t *product =
        sql_next(row) ? json_pack("{s:I, s:I, s:I}", "productId", (json_int_t)id, "price",
                            (json_int_t)sql_integer(row, 0), "quantity",
                            (json_int_t)sql_integer(row, 1))
                      : NULL;
    sql_end(row);
    return product == NULL
               ? answer_message(request, MHD_HTTP_NOT_FOUND, "there is no product %" PRId64, id)
               : answer_json(request, MHD_HTTP_OK, product);
}

static enum MHD_Result on_request(void *context, const struct request *request)
{
    int64_t id = 0;
    if (request_is(request, "POST", "/v1/orders", NULL)) {
        return post_order(context, request);
    }
    if (request_is(request, "GET", "/v1/orders/*", &id)) {
        return get_order(context, request, id);
    }
    if (request_is(request, "GET", "/v1/products/*", &id)) {
        return get_product(context, request, id);
    }
    return answer_unknown(request,
        (const char *const[]){
            "POST /v1/orders", "GET /v1/orders/#", "GET /v1/products/#", NULL});
}

static int fill_stock(sluice_database *database, struct sluice_error *error)
{
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
        if (sql_insert_once(database, error,
                "INSERT INTO product (id, price, quantity, version) VALUES (?1, ?2, ?3, 0)", "iii",
                products[i].id, products[i].price, products[i].quantity) < 0) {
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9021";
    const char *url = "sqlite:shop.db";
    const char *broker = "local:log.db";
    options_read(argc, argv,
        (struct option_field[]){
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &url, .help = "orders and stock"},
            {.name = "broker", .text = &broker, .help = "the topics"},
            {.name = NULL}});

    struct sluice_error error;
    sluice_database *database = NULL;
    struct service *service = NULL;
    if (sluice_database_open(url, &database, &error) != 0 ||
        sql_make_tables(database, tables, &error) != 0 || fill_stock(database, &error) != 0 ||
        (service = service_start(
             &(struct service_options){.listen_address = listen_address,
                 .handler = on_request,
                 .context = database,
                 .database = url,
                 .broker = broker,
                 .subscriptions = subscriptions,
                 .subscription_count = sizeof(subscriptions) / sizeof(subscriptions[0])},
             &error)) == NULL) {
        fprintf(stderr, "shop: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(1000)) {
    }
    service_stop(service);
    sluice_database_close(database);
    return EXIT_SUCCESS;
}
