/*
 * broker/kafka_wake.h - a queue of librdkafka's that wakes a loop.
 *
 * librdkafka writes to a descriptor when the queue stops being empty; the loop polls it. A timer
 * goes with it, since a group's member must show itself from time to time, and an append that
 * hears nothing must end.
 */
#ifndef SL_BROKER_KAFKA_WAKE_H
#define SL_BROKER_KAFKA_WAKE_H

#include <librdkafka/rdkafka.h>
#include <uv.h>

#include "base/error.h"

struct sl_kafka_wake;

typedef void (*sl_kafka_on_wake)(void *context);

/**
 * Call `on_wake` on the loop's thread when the queue has something, and `on_time` (NULL: never)
 * each `interval_ms`. The queue stays the caller's and must outlive the wake.
 */
int sl_kafka_wake_open(uv_loop_t *loop, rd_kafka_queue_t *queue, sl_kafka_on_wake on_wake,
    int64_t interval_ms, sl_kafka_on_wake on_time, void *context, struct sl_kafka_wake **ret_wake,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * No call comes after this. The memory is freed by the loop, which must turn once more. NULL is
 * fine.
 */
void sl_kafka_wake_close(struct sl_kafka_wake *wake);

#endif
