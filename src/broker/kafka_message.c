#include "broker/kafka_message.h"

#include <stdio.h>

#include "base/error.h"
#include "wire/json_pointer.h"

enum { BATCH_HEAD_SIZE = 61 }; /* of a record batch of version 2 */

static rd_kafka_resp_err_t add_header(
    rd_kafka_headers_t *headers, const char *name, ssize_t name_size, struct sl_text value)
{
    return rd_kafka_header_add(
        headers, name, name_size, value.data == NULL ? "" : value.data, (ssize_t) value.size);
}

int sl_kafka_headers_of(const struct sl_event *event, const struct sl_headers *own,
    rd_kafka_headers_t **ret_headers, struct sluice_error *error)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2 + own->count);
    rd_kafka_resp_err_t code =
        add_header(headers, "id", 2, (struct sl_text) {event->id, SLUICE_EVENT_ID_SIZE - 1});
    code = code == 0 ? add_header(headers, "type", 4, event->type) : code;
    for (size_t i = 0; i < own->count && code == 0; i++) {
        code = add_header(headers, own->items[i].name, -1, sl_text_of(own->items[i].value));
    }
    if (code != 0) {
        rd_kafka_headers_destroy(headers);
        return sl_fail_memory(error, "the headers of an event");
    }
    *ret_headers = headers;
    return 0;
}

static size_t varint_size(size_t number)
{
    size_t size = 1;
    for (uint64_t zigzag = (uint64_t) number << 1; zigzag > 0x7f; zigzag >>= 7) {
        size++;
    }
    return size;
}

size_t sl_kafka_batch_size(const struct sl_event *event, const rd_kafka_headers_t *headers)
{
    const char *name;
    const void *value;
    size_t value_size;
    size_t count = 0;
    /* attributes, and the differences of time and offset, which are 0 in the first record */
    size_t size = 3;
    size += (event->has_key ? varint_size(event->key.size) : 1) + event->key.size;
    size += varint_size(event->payload.size) + event->payload.size;
    while (rd_kafka_header_get_all(headers, count, &name, &value, &value_size) == 0) {
        size += varint_size(strlen(name)) + strlen(name) + varint_size(value_size) + value_size;
        count++;
    }
    size += varint_size(count);
    return BATCH_HEAD_SIZE + varint_size(size) + size;
}

/* The same id each time for a place in a partition: a UUID of version 8, as RFC 9562 has it. */
static void id_of_place(const rd_kafka_message_t *message, struct sl_text topic, char *ret_id)
{
    uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */
    for (size_t i = 0; i < topic.size; i++) {
        hash = (hash ^ (unsigned char) topic.data[i]) * 0x100000001b3U;
    }
    uint64_t offset = (uint64_t) message->offset;
    uint32_t partition = (uint32_t) message->partition;
    snprintf(ret_id, SLUICE_EVENT_ID_SIZE, "%08x-%04x-8%03x-%04x-%012llx",
        (unsigned) (hash ^ hash >> 32), partition & 0xffff, partition >> 16 & 0xfff,
        (unsigned) (0x8000 | (offset >> 48 & 0x3fff)),
        (unsigned long long) (offset & 0xffffffffffffU));
}

static bool take_id(struct sl_text value, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    char id[SLUICE_EVENT_ID_SIZE] = "";
    for (size_t i = 0; i < value.size && i < sizeof(id) - 1; i++) {
        char c = value.data[i];
        id[i] = c >= 'A' && c <= 'F' ? (char) (c - 'A' + 'a') : c;
    }
    if (value.size != sizeof(id) - 1 || !sl_event_is_id(sl_text_of(id))) {
        return false;
    }
    memcpy(ret_id, id, sizeof(id));
    return true;
}

bool sl_kafka_id_of(const rd_kafka_message_t *message, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;
    if (rd_kafka_message_headers(message, &headers) != 0) {
        return false;
    }
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; i++) {
        if (strcmp(name, "id") == 0 && value != NULL) {
            return take_id((struct sl_text) {value, size}, ret_id);
        }
    }
    return false;
}

/* What the headers of a message tell, while they are gone through. */
struct taking {
    struct sl_event *event;
    struct sluice_header own[SLUICE_HEADER_COUNT_MAX];
    size_t own_count;
    bool has_id;
    bool has_type;
};

static bool is_type_name(const char *name)
{
    return strcmp(name, "type") == 0 || strcmp(name, "ce_type") == 0 ||
        strcmp(name, "eventType") == 0;
}

static void take_header(struct taking *taking, const char *name, struct sl_text value)
{
    bool is_id = strcmp(name, "id") == 0;
    if (is_id && !taking->has_id && take_id(value, taking->event->id)) {
        taking->has_id = true;
        return;
    }
    if (!taking->has_type && value.size > 0 && is_type_name(name)) {
        taking->event->type = value;
        taking->has_type = true;
        if (strcmp(name, "type") == 0) {
            return;
        }
    }
    /* The event's own are names and texts, each name once; what others put beside that stays. */
    if (taking->own_count == SLUICE_HEADER_COUNT_MAX || !sl_text_is_clean_utf8(value) ||
        !sl_text_is_clean_utf8(sl_text_of(name)) || name[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < taking->own_count; i++) {
        if (strcmp(taking->own[i].name, name) == 0) {
            return;
        }
    }
    /* librdkafka puts a NUL after each value. */
    taking->own[taking->own_count++] = (struct sluice_header) {name, value.data};
}

int sl_kafka_event_of(const rd_kafka_message_t *message, struct sl_text topic,
    struct sl_buffer *text, struct sl_event *ret_event)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;
    struct taking taking = {.event = ret_event};
    *ret_event = (struct sl_event) {
        .topic = topic,
        .has_key = message->key != NULL,
        .key = {message->key == NULL ? "" : message->key, message->key_len},
        .payload = {message->payload == NULL ? "" : message->payload, message->len},
        .type = SL_TEXT("record"),
        .time_ms = rd_kafka_message_timestamp(message, NULL),
    };
    if (rd_kafka_message_headers(message, &headers) == 0) {
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; i++) {
            if (value != NULL) {
                take_header(&taking, name, (struct sl_text) {value, size});
            }
        }
    }
    if (!taking.has_id) {
        id_of_place(message, topic, ret_event->id);
    }
    size_t place = text->size;
    if (taking.own_count == 0) {
        sl_buffer_append(text, "{}", 2);
    } else if (sl_headers_write(text, taking.own, taking.own_count) != 0) {
        return -1;
    }
    ret_event->headers = (struct sl_text) {(const char *) (uintptr_t) place, text->size - place};
    return text->is_failed ? -1 : 0;
}
