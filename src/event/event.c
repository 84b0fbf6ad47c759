#include "event/event.h"

#include "base/error.h"
#include "event/headers.h"

enum { CONSUMER_SIZE_MAX = 60 };

/* Each event that a relay reads is checked, so there is hardly a branch for each character. */
static bool is_digit(unsigned char c)
{
    return (unsigned char) (c - '0') < 10;
}

static bool is_name(struct sl_text text, size_t size_max)
{
    bool is_fine = text.size > 0 && text.size <= size_max;
    for (size_t i = 0; is_fine && i < text.size; i++) {
        unsigned char c = (unsigned char) text.data[i];
        bool is_letter = (unsigned char) ((c | 0x20) - 'a') < 26;
        is_fine = is_letter | is_digit(c) | (c == '.') | (c == '_') | (c == '-');
    }
    return is_fine;
}

static const unsigned char hexadecimal[256] = {['0'] = 1,
    ['1'] = 1,
    ['2'] = 1,
    ['3'] = 1,
    ['4'] = 1,
    ['5'] = 1,
    ['6'] = 1,
    ['7'] = 1,
    ['8'] = 1,
    ['9'] = 1,
    ['a'] = 1,
    ['b'] = 1,
    ['c'] = 1,
    ['d'] = 1,
    ['e'] = 1,
    ['f'] = 1};

static bool are_hexadecimal(const char *data, size_t size)
{
    unsigned char is_fine = 1;
    for (size_t i = 0; i < size; i++) {
        is_fine &= hexadecimal[(unsigned char) data[i]];
    }
    return is_fine != 0;
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
    const char *id = text.data;
    return text.size == SLUICE_EVENT_ID_SIZE - 1 && id[8] == '-' && id[13] == '-' &&
        id[18] == '-' && id[23] == '-' && are_hexadecimal(id, 8) && are_hexadecimal(id + 9, 4) &&
        are_hexadecimal(id + 14, 4) && are_hexadecimal(id + 19, 4) && are_hexadecimal(id + 24, 12);
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
        return sl_fail(
            error, SLUICE_INVALID, SLUICE_REJECT, "the header '%.64s' has no value", header->name);
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
    struct sl_headers headers;
    if (sl_event_read_row(event, &headers, error) != 0) {
        return -1;
    }
    sl_headers_deinit(&headers);
    return 0;
}

int sl_event_read_row(
    const struct sl_event *event, struct sl_headers *ret_headers, struct sluice_error *error)
{
    if (!sl_event_is_id(sl_text_of(event->id))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "'%.40s' is no event id; it must be a UUID in 36 lower-case characters", event->id);
    }
    if (check_parts(event, error) != 0) {
        return -1;
    }
    if (sl_headers_parse(event->headers, ret_headers, error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ret_headers->count; i++) {
        if (check_header(&ret_headers->items[i], error) != 0) {
            sl_headers_deinit(ret_headers);
            return -1;
        }
    }
    return 0;
}
