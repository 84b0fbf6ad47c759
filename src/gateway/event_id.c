#include "gateway/event_id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

/* "-1" would add a dash to a text that is cut at dashes: nothing is written as "n". */
static int format_number(int64_t number, char *ret_text, size_t size)
{
    return number < 0 ? snprintf(ret_text, size, "n")
                      : snprintf(ret_text, size, "%" PRId64, number);
}

static uint32_t hash_bytes(uint32_t hash, struct sl_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ (unsigned char)text.data[i]) * 16777619U;
    }
    return hash;
}

uint32_t sl_event_id_place(struct sl_text topic, struct sl_text key)
{
    /* FNV-1a; a topic's name has no '/'. */
    uint32_t hash = hash_bytes(2166136261U, topic);
    hash = hash_bytes(hash, SL_TEXT("/"));
    return hash_bytes(hash, key);
}

size_t sl_event_id_format(const struct sl_event_id *id, char ret_text[SL_EVENT_ID_SIZE_MAX + 1])
{
    char partition[24];
    char offset[24];
    char version[24];
    char generation[24] = "";
    format_number(id->partition, partition, sizeof(partition));
    format_number(id->offset, offset, sizeof(offset));
    format_number(id->version, version, sizeof(version));
    if (id->generation != 0) {
        snprintf(generation, sizeof(generation), "-g%" PRIx64, id->generation);
    }
    return (size_t)snprintf(ret_text, SL_EVENT_ID_SIZE_MAX + 1, "%.8s-%08x-%s-%s-%s%s%s%s",
        id->epoch, id->place, partition, offset, version, generation, id->is_final ? "-f" : "",
        id->is_replaced ? "-r" : "");
}

static bool parse_number(struct sl_text *rest, int64_t maximum, int64_t *ret_number)
{
    struct sl_text part;
    uint64_t number;
    if (!sl_text_split(rest, '-', &part)) {
        return false;
    }
    if (sl_text_equal(part, SL_TEXT("n"))) {
        *ret_number = -1;
        return true;
    }
    if (!sl_parse_u64(part, &number) || number > (uint64_t) maximum) {
        return false;
    }
    *ret_number = (int64_t) number;
    return true;
}

static bool parse_flag(struct sl_text part, struct sl_event_id *id)
{
    if (part.size > 1 && part.data[0] == 'g') {
        return sl_parse_hex((struct sl_text) {part.data + 1, part.size - 1}, &id->generation);
    }
    id->is_final = id->is_final || sl_text_equal(part, SL_TEXT("f"));
    id->is_replaced = id->is_replaced || sl_text_equal(part, SL_TEXT("r"));
    return id->is_final || id->is_replaced;
}

bool sl_event_id_parse(struct sl_text text, struct sl_event_id *ret_id)
{
    struct sl_event_id id = {0};
    struct sl_text rest = text;
    struct sl_text part;
    uint64_t epoch;
    uint64_t place;
    int64_t partition;
    char again[SL_EVENT_ID_SIZE_MAX + 1];
    if (text.size == 0 || text.size > SL_EVENT_ID_SIZE_MAX || !sl_text_split(&rest, '-', &part) ||
        part.size != SL_EVENT_ID_EPOCH_SIZE || !sl_parse_hex(part, &epoch)) {
        return false;
    }
    memcpy(id.epoch, part.data, SL_EVENT_ID_EPOCH_SIZE);
    if (!sl_text_split(&rest, '-', &part) || part.size != 8 || !sl_parse_hex(part, &place)) {
        return false;
    }
    id.place = (uint32_t)place;
    if (!parse_number(&rest, INT32_MAX, &partition) ||
        !parse_number(&rest, INT64_MAX - 1, &id.offset) ||
        !parse_number(&rest, INT64_MAX - 1, &id.version)) {
        return false;
    }
    id.partition = (int32_t) partition;
    while (rest.data != NULL && sl_text_split(&rest, '-', &part)) {
        if (!parse_flag(part, &id)) {
            return false;
        }
    }
    /* Only what we would have written ourselves: no leading zeros, no other order, no doubles. */
    size_t size = sl_event_id_format(&id, again);
    if (!sl_text_equal(text, (struct sl_text) {again, size})) {
        return false;
    }
    *ret_id = id;
    return true;
}
