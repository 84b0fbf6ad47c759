#include "saga.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *phase;
    const char *type;
} known[] = {{"START", "PayConfirmEvent"}, {"JOIN", "PayConfirmEvent"},
    {"COMMIT", "OrderConfirmEvent"}, {"ROLLBACK", "PayRollbackEvent"},
    {"ROLLBACK", "PayCancelEvent"}};

static const char *header(const struct sluice_event *event, const char *name)
{
    for (size_t i = 0; i < event->header_count; i++) {
        if (strcmp(event->headers[i].name, name) == 0) {
            return event->headers[i].value;
        }
    }
    return "";
}

static int64_t number(const json_t *payload, const char *name)
{
    return json_integer_value(json_object_get(payload, name));
}

int saga_is(const struct saga_event *event, const char *phase, const char *type)
{
    return strcmp(event->phase, phase) == 0 && strcmp(event->type, type) == 0;
}

int saga_is_known(const struct saga_event *event)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (saga_is(event, known[i].phase, known[i].type)) {
            return 1;
        }
    }
    return 0;
}

int saga_read(
    const struct sluice_event *event, struct saga_event *ret_event, struct sluice_error *error)
{
    json_t *payload = event_object(event, error);
    if (payload == NULL) {
        return -1;
    }
    const char *saga_id = header(event, "saga-id");
    struct saga_event read = {.pay_id = number(payload, "payId"),
        .user_id = number(payload, "userId"),
        .order_id = number(payload, "orderId"),
        .product_id = number(payload, "productId"),
        .quantity = number(payload, "consumeQuantity"),
        .total_price = number(payload, "totalPrice") + number(payload, "paidPoint")};
    json_decref(payload);
    snprintf(read.saga_id, sizeof(read.saga_id), "%s", saga_id[0] != '\0' ? saga_id : event->id);
    snprintf(read.phase, sizeof(read.phase), "%s", header(event, "phase"));
    snprintf(read.type, sizeof(read.type), "%s", event->type);
    snprintf(read.cause, sizeof(read.cause), "%s", header(event, "cause"));
    if (!saga_is_known(&read) || read.order_id <= 0) {
        snprintf(error->text, sizeof(error->text),
            "'%s' in phase '%s' of order %" PRId64 " is no event of the saga", read.type,
            read.phase, read.order_id);
        return -1;
    }
    *ret_event = read;
    return 0;
}

static json_t *payload_of(const struct saga_event *event)
{
    json_t *payload = json_pack("{s:I, s:I, s:I}", "payId", (json_int_t)event->pay_id, "userId",
        (json_int_t)event->user_id, "orderId", (json_int_t)event->order_id);
    int is_rollback = strcmp(event->phase, "ROLLBACK") == 0;
    json_object_set_new(payload, is_rollback ? "paidPoint" : "totalPrice",
        json_integer((json_int_t)event->total_price));
    if (strcmp(event->type, "PayConfirmEvent") == 0) {
        json_object_set_new(payload, "confirmState", json_string("success"));
    }
    if (strcmp(event->type, "OrderConfirmEvent") == 0) {
        json_object_set_new(payload, "productId", json_integer((json_int_t)event->product_id));
        json_object_set_new(payload, "consumeQuantity", json_integer((json_int_t)event->quantity));
    }
    return payload;
}

int saga_publish(sluice_database *database, const struct saga_event *event,
    char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
{
    char key[24];
    struct sluice_header headers[3] = {{"phase", event->phase}};
    size_t header_count = 1;
    if (event->saga_id[0] != '\0') {
        headers[header_count++] = (struct sluice_header){"saga-id", event->saga_id};
    }
    if (event->cause[0] != '\0') {
        headers[header_count++] = (struct sluice_header){"cause", event->cause};
    }
    json_t *payload = payload_of(event);
    char *text = json_dumps(payload, JSON_COMPACT);
    json_decref(payload);
    if (text == NULL) {
        snprintf(error->text, sizeof(error->text), "no memory for an event of the saga");
        error->reaction = SLUICE_RETRY;
        return -1;
    }
    snprintf(key, sizeof(key), "%" PRId64, event->order_id);
    struct sluice_event published = {.topic = SAGA_TOPIC,
        .key = key,
        .type = event->type,
        .payload = text,
        .payload_size = strlen(text),
        .headers = headers,
        .header_count = header_count};
    int result = sluice_publish(database, &published, ret_id, error);
    free(text);
    return result;
}

int saga_answer(sluice_database *database, const struct saga_event *event, const char *phase,
    const char *type, const char *cause, struct sluice_error *error)
{
    struct saga_event answer = *event;
    snprintf(answer.phase, sizeof(answer.phase), "%s", phase);
    snprintf(answer.type, sizeof(answer.type), "%s", type);
    snprintf(answer.cause, sizeof(answer.cause), "%s", cause != NULL ? cause : "");
    return saga_publish(database, &answer, NULL, error);
}
