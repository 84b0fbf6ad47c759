/*
 * broker/kafka_seen.h - the ids of events that are in the cluster already: a set of UUIDs.
 *
 * Filled when a relay starts (the tails of the topics that it writes) and after a failure (what
 * was acknowledged), so that what is sent again is passed over. At SL_KAFKA_SEEN_MAX it takes no
 * more: events beyond may be sent twice, and consumers tell by their ids.
 */
#ifndef SL_BROKER_KAFKA_SEEN_H
#define SL_BROKER_KAFKA_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { SL_KAFKA_SEEN_MAX = 1 << 20 };

struct sl_kafka_id {
    uint64_t high;
    uint64_t low;
};

struct sl_kafka_seen {
    struct sl_kafka_id *slots; /* {0, 0} is free */
    size_t slot_count;
    size_t count;
    uint64_t seed;
    bool is_full;      /* something was left out */
    int64_t newest_ms; /* the newest time of an event in it */
};

/**
 * Add an event's id; a text that is no UUID is passed over. -1 without memory.
 */
int sl_kafka_seen_add(struct sl_kafka_seen *seen, struct sl_text id, int64_t time_ms)
    __attribute__((warn_unused_result));

/**
 * Whether an id is in the set.
 */
bool sl_kafka_seen_has(const struct sl_kafka_seen *seen, struct sl_text id);

/**
 * Empty the set and free its memory. Fine on a zeroed one.
 */
void sl_kafka_seen_clear(struct sl_kafka_seen *seen);

#endif
