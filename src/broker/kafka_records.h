/*
 * broker/kafka_records.h - what a Kafka reader has taken: messages, and the records that show them.
 *
 * The messages are kept until the next clear, so that keys and payloads need no copy.
 */
#ifndef SL_BROKER_KAFKA_RECORDS_H
#define SL_BROKER_KAFKA_RECORDS_H

#include <librdkafka/rdkafka.h>

#include "base/buffer.h"
#include "broker/broker.h"

struct sl_kafka_records {
    struct sl_record *items;
    rd_kafka_message_t **messages;
    size_t count;
    size_t capacity;
    size_t size; /* bytes of all messages */
    struct sl_buffer headers;
};

/**
 * Start empty.
 */
void sl_kafka_records_init(struct sl_kafka_records *records);

/**
 * Free everything.
 */
void sl_kafka_records_deinit(struct sl_kafka_records *records);

/**
 * Give the messages back; the memory stays.
 */
void sl_kafka_records_clear(struct sl_kafka_records *records);

/**
 * Whether another message may be taken: there is a limit of bytes beside the caller's of records.
 */
bool sl_kafka_records_have_room(const struct sl_kafka_records *records, size_t count_max);

/**
 * Add a message, which belongs to the records then. -1 without memory: it stays the caller's.
 */
int sl_kafka_records_take(struct sl_kafka_records *records, rd_kafka_message_t *take_message)
    __attribute__((warn_unused_result));

/**
 * Make the records fit to be read, when no more are added.
 */
void sl_kafka_records_settle(struct sl_kafka_records *records);

#endif
