#include <string.h>

#include "broker/broker.h"

/* MurmurHash2, 32 bits, little endian, with the seed of Kafka's Java client (Utils.murmur2). */
static uint32_t murmur2(struct sl_text text)
{
    const unsigned char *bytes = (const unsigned char *) text.data;
    const uint32_t multiplier = 0x5bd1e995;
    uint32_t hash = 0x9747b28cU ^ (uint32_t) text.size;
    size_t i = 0;
    for (; i + 4 <= text.size; i += 4) {
        uint32_t k = (uint32_t) bytes[i] | (uint32_t) bytes[i + 1] << 8 |
            (uint32_t) bytes[i + 2] << 16 | (uint32_t) bytes[i + 3] << 24;
        k *= multiplier;
        k ^= k >> 24;
        k *= multiplier;
        hash = hash * multiplier ^ k;
    }
    size_t rest = text.size - i;
    if (rest > 0) {
        hash ^= rest > 2 ? (uint32_t) bytes[i + 2] << 16 : 0;
        hash ^= rest > 1 ? (uint32_t) bytes[i + 1] << 8 : 0;
        hash = (hash ^ bytes[i]) * multiplier;
    }
    hash = (hash ^ hash >> 13) * multiplier;
    return hash ^ hash >> 15;
}

int32_t sl_broker_partition_of(struct sl_text key, int32_t partition_count)
{
    return (int32_t) ((murmur2(key) & 0x7fffffffU) % (uint32_t) partition_count);
}
