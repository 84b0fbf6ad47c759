#include "broker/kafka_seen.h"

#include "base/memory.h"
#include "base/random.h"

enum { FIRST_SLOTS = 1024, ID_SIZE = 36 };

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_id(struct sl_text text, struct sl_kafka_id *ret_id)
{
    uint64_t halves[2] = {0, 0};
    int digits = 0;
    if (text.size != ID_SIZE) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            continue;
        }
        int digit = digit_of(text.data[i]);
        if (digit < 0) {
            return false;
        }
        halves[digits / 16] = halves[digits / 16] << 4 | (uint64_t) digit;
        digits++;
    }
    *ret_id = (struct sl_kafka_id) {halves[0], halves[1]};
    return halves[0] != 0 || halves[1] != 0;
}

/* The slot that holds the id, or the free one where it belongs. */
static struct sl_kafka_id *slot_of(const struct sl_kafka_seen *seen, struct sl_kafka_id id)
{
    uint64_t hash = (id.high ^ seen->seed) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ hash >> 29 ^ id.low) * 0xbf58476d1ce4e5b9U;
    size_t place = (size_t) (hash ^ hash >> 32) & (seen->slot_count - 1);
    while ((seen->slots[place].high | seen->slots[place].low) != 0 &&
        (seen->slots[place].high != id.high || seen->slots[place].low != id.low)) {
        place = (place + 1) & (seen->slot_count - 1);
    }
    return &seen->slots[place];
}

static int grow(struct sl_kafka_seen *seen)
{
    struct sl_kafka_seen larger = *seen;
    larger.slot_count = seen->slot_count == 0 ? FIRST_SLOTS : seen->slot_count * 2;
    larger.seed = seen->slot_count == 0 ? sl_random_u64() : seen->seed;
    larger.slots = sl_allocate(larger.slot_count * sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return -1;
    }
    for (size_t i = 0; i < seen->slot_count; i++) {
        if ((seen->slots[i].high | seen->slots[i].low) != 0) {
            *slot_of(&larger, seen->slots[i]) = seen->slots[i];
        }
    }
    sl_free(seen->slots);
    *seen = larger;
    return 0;
}

int sl_kafka_seen_add(struct sl_kafka_seen *seen, struct sl_text text, int64_t time_ms)
{
    struct sl_kafka_id id;
    if (!parse_id(text, &id)) {
        return 0;
    }
    seen->newest_ms = time_ms > seen->newest_ms ? time_ms : seen->newest_ms;
    if (seen->count == SL_KAFKA_SEEN_MAX) {
        seen->is_full = true;
        return 0;
    }
    if (seen->count * 2 >= seen->slot_count && grow(seen) != 0) {
        return -1;
    }
    struct sl_kafka_id *slot = slot_of(seen, id);
    seen->count += (slot->high | slot->low) == 0 ? 1 : 0;
    *slot = id;
    return 0;
}

bool sl_kafka_seen_has(const struct sl_kafka_seen *seen, struct sl_text text)
{
    struct sl_kafka_id id;
    if (seen->count == 0 || !parse_id(text, &id)) {
        return false;
    }
    const struct sl_kafka_id *slot = slot_of(seen, id);
    return (slot->high | slot->low) != 0;
}

void sl_kafka_seen_clear(struct sl_kafka_seen *seen)
{
    sl_free(seen->slots);
    *seen = (struct sl_kafka_seen) {0};
}
