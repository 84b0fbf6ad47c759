#include "broker/kafka_records.h"

#include "base/memory.h"
#include "broker/kafka_message.h"

enum { SIZE_MAX_BYTES = 8 << 20, HEADERS_SIZE_MAX = 64 << 20, FIRST_CAPACITY = 64 };

void sl_kafka_records_init(struct sl_kafka_records *records)
{
    *records = (struct sl_kafka_records) {.count = 0};
    sl_buffer_init(&records->headers, HEADERS_SIZE_MAX);
}

void sl_kafka_records_clear(struct sl_kafka_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        rd_kafka_message_destroy(records->messages[i]);
    }
    records->count = 0;
    records->size = 0;
    sl_buffer_clear(&records->headers);
}

void sl_kafka_records_deinit(struct sl_kafka_records *records)
{
    sl_kafka_records_clear(records);
    sl_free(records->items);
    sl_free(records->messages);
    sl_buffer_deinit(&records->headers);
}

bool sl_kafka_records_have_room(const struct sl_kafka_records *records, size_t count_max)
{
    return records->count < count_max && (records->count == 0 || records->size < SIZE_MAX_BYTES);
}

static int grow(struct sl_kafka_records *records)
{
    size_t capacity = records->capacity == 0 ? FIRST_CAPACITY : records->capacity * 2;
    struct sl_record *items = sl_reallocate(records->items, capacity * sizeof(struct sl_record));
    records->items = items == NULL ? records->items : items;
    rd_kafka_message_t **messages =
        sl_reallocate(records->messages, capacity * sizeof(rd_kafka_message_t *));
    records->messages = messages == NULL ? records->messages : messages;
    if (items == NULL || messages == NULL) {
        return -1;
    }
    records->capacity = capacity;
    return 0;
}

int sl_kafka_records_take(struct sl_kafka_records *records, rd_kafka_message_t *message)
{
    if (records->count == records->capacity && grow(records) != 0) {
        return -1;
    }
    struct sl_record *record = &records->items[records->count];
    record->partition = message->partition;
    record->offset = message->offset;
    /* The topic's name lives as long as the message does. */
    struct sl_text topic = sl_text_of(rd_kafka_topic_name(message->rkt));
    if (sl_kafka_event_of(message, topic, &records->headers, &record->event) != 0) {
        return -1;
    }
    records->messages[records->count++] = message;
    records->size += message->len + message->key_len;
    return 0;
}

void sl_kafka_records_settle(struct sl_kafka_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        struct sl_text *headers = &records->items[i].event.headers;
        headers->data = records->headers.data + (uintptr_t) headers->data;
    }
}
