/*
 * broker/kafka_message.h - an event as a Kafka message, and back.
 *
 *   key, value   the event's key (none: NULL) and payload
 *   timestamp    the event's time
 *   headers      `id`, `type`, then the event's own: a reader takes the first `id` and the first
 *                `type` for the event's, so that an own header of that name survives, too
 *
 * A record of another producer's has no such headers: it gets an id made of its place, which is
 * the same each time it is read, and the type that other conventions name, or "record".
 */
#ifndef SL_BROKER_KAFKA_MESSAGE_H
#define SL_BROKER_KAFKA_MESSAGE_H

#include <librdkafka/rdkafka.h>

#include "base/buffer.h"
#include "broker/broker.h"
#include "event/headers.h"

/**
 * Make the headers of a message: the event's id and type, and `own`, the event's own;
 * `*ret_headers` is the caller's. -1 without memory.
 */
int sl_kafka_headers_of(const struct sl_event *event, const struct sl_headers *own,
    rd_kafka_headers_t **ret_headers, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The size of a record batch that holds the event alone, as Kafka measures it against
 * max.message.bytes, without compression. Pure.
 */
size_t sl_kafka_batch_size(const struct sl_event *event, const rd_kafka_headers_t *headers);

/**
 * A message as an event. All views but the headers' text are the message's; the text is appended
 * to `headers`, and the view is its place there: the buffer's data must be added to it when the
 * buffer no longer grows. -1 without memory.
 */
int sl_kafka_event_of(const rd_kafka_message_t *message, struct sl_text topic,
    struct sl_buffer *headers, struct sl_event *ret_event) __attribute__((warn_unused_result));

/**
 * Only the id: the first header `id` that is a UUID. False if there is none.
 */
bool sl_kafka_id_of(const rd_kafka_message_t *message, char ret_id[SLUICE_EVENT_ID_SIZE]);

#endif
