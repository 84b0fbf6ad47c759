/*
 * gateway/payload.h - what a payload says of itself: its event's name, its version, whether it is
 * the last. Snapshots and events are the same object, so one rule reads both.
 */
#ifndef SL_GATEWAY_PAYLOAD_H
#define SL_GATEWAY_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

enum { SL_EVENT_NAME_SIZE_MAX = 256 };

struct sl_payload_rules {
    const char *event;   /* JSON pointer, or NULL */
    const char *version; /* JSON pointer, or NULL */
    const char *const *final_statuses;
    size_t final_count;
};

struct sl_payload_facts {
    struct sl_text type;
    int64_t version; /* -1 if the rules have no pointer to it */
    bool is_final;
};

/**
 * Read a payload. `scratch` (cleared first) holds the name that `ret_facts->type` views.
 *
 * SLUICE_INVALID or SLUICE_NOT_FOUND if it is no JSON, a pointer leads nowhere, the name is empty,
 * too long or has a control character, or the version is no number from 0 on. Without pointers
 * nothing is looked at.
 */
int sl_payload_read(const struct sl_payload_rules *rules, struct sl_text payload,
    struct sl_buffer *scratch, struct sl_payload_facts *ret_facts, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether two sets of rules are the same.
 */
bool sl_payload_rules_equal(const struct sl_payload_rules *a, const struct sl_payload_rules *b);

#endif
