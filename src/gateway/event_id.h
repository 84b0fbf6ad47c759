/*
 * gateway/event_id.h - the ids of streamed events: where a client stands.
 *
 *     1a2b3c4d-5e6f7a8b-3-1042-7              epoch, place, partition, offset, version
 *     1a2b3c4d-5e6f7a8b-3-1042-7-g19f3ab-f    with an owned stream's generation; its last event
 *
 * The place is a hash of topic and key. It is no secret: it keeps the id of one key from being
 * taken for where its client stands with another one, whose events it would hide. An id is all that
 * is known of a client that comes back, to this gateway or another one, after a restart or a year;
 * so it says everything, and nothing has to be remembered for it. Clients can send anything:
 * parsing is strict, and what does not parse is as good as foreign.
 */
#ifndef SL_GATEWAY_EVENT_ID_H
#define SL_GATEWAY_EVENT_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { SL_EVENT_ID_SIZE_MAX = 128, SL_EVENT_ID_EPOCH_SIZE = 8 };

struct sl_event_id {
    char epoch[SL_EVENT_ID_EPOCH_SIZE + 1];
    uint32_t place;    /* sl_event_id_place of the topic and key */
    int32_t partition; /* -1: unknown, written as "n" */
    int64_t offset;    /* of the last event that the client has, or that it need not have; >= -1 */
    int64_t version;   /* of the last state that the client has; -1: none */
    uint64_t generation; /* 0: no owner */
    bool is_final;
    bool is_replaced;
};

/**
 * The hash of a topic and key that an id carries: the same on every node and in every version.
 */
uint32_t sl_event_id_place(struct sl_text topic, struct sl_text key);

/**
 * Write an id; `ret_text` gets at most SL_EVENT_ID_SIZE_MAX bytes and a NUL. Returns its length.
 */
size_t sl_event_id_format(const struct sl_event_id *id, char ret_text[SL_EVENT_ID_SIZE_MAX + 1]);

/**
 * Read an id as sl_event_id_format writes it, byte for byte. False for anything else.
 */
bool sl_event_id_parse(struct sl_text text, struct sl_event_id *ret_id);

#endif
