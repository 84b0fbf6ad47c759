/*
 * console/state.h - how a database stands, as JSON: for the page, the metrics, `sluice status`.
 *
 *     {"name", "id", "oldest_unsent_age_ms", "unsent_events", "position", "tick", "last_position",
 *      "lease_holder", "lease_term", "paused",
 *      "stages": [{"stage", "retrying", "waiting", "failed", "parked_keys"}],
 *      "consumers": [{"name", "applied_total", "duplicates_total", "failures_total",
 *                     "idle_ms"}],
 *      "parked": [{"stage", "topic", "key", "events", "id", "type", "state", "attempts", "held_ms",
 *                  "next_attempt_in_ms", "reason"}],
 *      "parked_is_cut"}
 *
 * "parked" has one entry for each key that does not flow (for each event, where there is no key):
 * its first event, which the others wait behind, and how many there are.
 */
#ifndef SL_CONSOLE_STATE_H
#define SL_CONSOLE_STATE_H

#include <jansson.h>

#include "base/buffer.h"
#include "store/store.h"

/* How many held events are looked at for "parked"; beyond, "parked_is_cut" is true. */
enum { SL_STATE_HELD_MAX = 500 };

/**
 * The part of a database's URL that may be shown: without "user:password@". The caller's to
 * sl_free; NULL without memory.
 */
char *sl_state_name(const char *url) __attribute__((warn_unused_result));

/**
 * Read how a store stands at `now_ms` (Unix time).
 *
 * Blocks for the disk. On success `*ret_state` is the caller's to json_decref. `name` is shown
 * instead of the URL, which may hold a password.
 */
int sl_state_of_store(struct sl_store *store, const char *name, int64_t now_ms, json_t **ret_state,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A text as a JSON string; bytes that are no UTF-8 become '?'. NULL without memory.
 */
json_t *sl_state_text(struct sl_text text);

/* The most bytes of a JSON answer. */
enum { SL_STATE_SIZE_MAX = 8 << 20 };

/**
 * Append a JSON value's text, in one line. 0, or -1 if the buffer's maximum or memory is reached.
 */
int sl_state_write(const json_t *value, struct sl_buffer *buffer)
    __attribute__((warn_unused_result));

#endif
