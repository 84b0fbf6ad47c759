#include "event/event.h"

#include "base/error.h"
#include "event/headers.h"

enum { CONSUMER_SIZE_MAX = 60 };

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
        c == '.' || c == '_' || c == '-';
}

static bool is_name(struct sl_text text, size_t size_max)
{
    if (text.size == 0 || text.size > size_max) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!is_name_character(text.data[i])) {
            return false;
        }
    }
    return true;
}

bool sl_event_is_topic(struct sl_text text)
{
    return is_name(text, SLUICE_TOPIC_SIZE_MAX) && !sl_text_equal(text, SL_TEXT(".")) &&
        !sl_text_equal(text, SL_TEXT(".."));
}

bool sl_event_is_consumer(struct sl_text text)
{
    return is_name(text, CONSUMER_SIZE_MAX) && !sl_text_equal(text, SL_TEXT("relay"));
}

bool sl_event_is_id(struct sl_text text)
{
    if (text.size != SLUICE_EVENT_ID_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_dash_place = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (is_dash_place ? c != '-' : !is_digit) {
            return false;
        }
    }
    return true;
}

static int check_text(
    const char *field, struct sl_text text, size_t size_max, struct sluice_error *error)
{
    if (text.size > size_max) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "the event's %s has %zu bytes; at most %zu are allowed", field, text.size, size_max);
    }
    if (!sl_text_is_clean_utf8(text)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the event's %s is no UTF-8 text, or has control characters in it", field);
    }
    return 0;
}

static int check_parts(const struct sl_event *event, struct sluice_error *error)
{
    if (!sl_event_is_topic(event->topic)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.*s' is no topic name; use 1 to %d letters, digits, '.', '_' and '-'",
            (int) (event->topic.size > 64 ? 64 : event->topic.size),
            event->topic.data == NULL ? "" : event->topic.data, SLUICE_TOPIC_SIZE_MAX);
    }
    if (event->has_key && check_text("key", event->key, SLUICE_KEY_SIZE_MAX, error) != 0) {
        return -1;
    }
    if (event->type.size == 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the event has no type; name what happened, for example OrderPlaced");
    }
    if (check_text("type", event->type, SLUICE_TYPE_SIZE_MAX, error) != 0) {
        return -1;
    }
    if (event->payload.size > SLUICE_PAYLOAD_SIZE_MAX) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "the event's payload has %zu bytes; at most %d are allowed: publish a reference to it "
            "instead",
            event->payload.size, SLUICE_PAYLOAD_SIZE_MAX);
    }
    return 0;
}

static int check_header(const struct sluice_header *header, struct sluice_error *error)
{
    if (!is_name(sl_text_of(header->name), SLUICE_HEADER_NAME_SIZE_MAX)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.64s' is no header name; use 1 to %d letters, digits, '.', '_' and '-'",
            header->name == NULL ? "" : header->name, SLUICE_HEADER_NAME_SIZE_MAX);
    }
    if (header->value == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the header '%.64s' has no value",
            header->name);
    }
    return check_text(
        "header value", sl_text_of(header->value), SLUICE_HEADER_VALUE_SIZE_MAX, error);
}

int sl_event_check(const struct sluice_event *event, struct sluice_error *error)
{
    if (event->payload == NULL && event->payload_size > 0) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the event's payload is NULL, its size is %zu", event->payload_size);
    }
    struct sl_event parts = {
        .topic = sl_text_of(event->topic),
        .has_key = event->key != NULL,
        .key = sl_text_of(event->key),
        .type = sl_text_of(event->type),
        .payload = {event->payload, event->payload_size},
    };
    if (check_parts(&parts, error) != 0) {
        return -1;
    }
    if (event->header_count > SLUICE_HEADER_COUNT_MAX) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "the event has %zu headers; at most %d are allowed", event->header_count,
            SLUICE_HEADER_COUNT_MAX);
    }
    for (size_t i = 0; i < event->header_count; i++) {
        if (check_header(&event->headers[i], error) != 0) {
            return -1;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(event->headers[i].name, event->headers[j].name) == 0) {
                return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                    "the header '%.64s' is there twice", event->headers[i].name);
            }
        }
    }
    return 0;
}

int sl_event_check_row(const struct sl_event *event, struct sluice_error *error)
{
    if (!sl_event_is_id(sl_text_of(event->id))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.40s' is no event id; it must be a UUID in 36 lower-case characters", event->id);
    }
    if (check_parts(event, error) != 0) {
        return -1;
    }
    if (sl_text_equal(event->headers, SL_TEXT("{}"))) {
        return 0;
    }
    struct sl_headers headers;
    if (sl_headers_parse(event->headers, &headers, error) != 0) {
        return -1;
    }
    int status = 0;
    for (size_t i = 0; i < headers.count && status == 0; i++) {
        status = check_header(&headers.items[i], error);
    }
    sl_headers_deinit(&headers);
    return status;
}
