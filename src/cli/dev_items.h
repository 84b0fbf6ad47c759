/*
 * cli/dev_items.h - what `sluice dev` knows of its keys: each one's latest event, and when the last
 * events passed the stations of their way.
 */
#ifndef SL_CLI_DEV_ITEMS_H
#define SL_CLI_DEV_ITEMS_H

#include <stdint.h>

#include "base/table.h"

enum { SL_DEV_KEYS_MAX = 1000, SL_DEV_TRACES_MAX = 512, SL_DEV_KEY_SIZE_MAX = 200 };

struct sl_dev_item {
    int64_t version;      /* of the last event that was published */
    char *latest;         /* the JSON of the last event that came back from the log, or NULL */
    int64_t latest_version;
};

/* Unix times in ms; 0: not yet. */
struct sl_dev_trace {
    char key[SL_DEV_KEY_SIZE_MAX + 1];
    int64_t version;
    int64_t begun_ms;
    int64_t committed_ms;
    int64_t logged_ms;
};

struct sl_dev_items {
    struct sl_table table; /* key -> struct sl_dev_item */
    struct sl_dev_trace traces[SL_DEV_TRACES_MAX];
    size_t trace_count; /* ever */
};

/**
 * Start without keys.
 */
void sl_dev_items_init(struct sl_dev_items *items);

/**
 * Free all keys.
 */
void sl_dev_items_deinit(struct sl_dev_items *items);

/**
 * The item of a key, made if it is missing; NULL without memory or with SL_DEV_KEYS_MAX others. The
 * items'.
 */
struct sl_dev_item *sl_dev_item_of(struct sl_dev_items *items, struct sl_text key);

/**
 * Note an event that has come back from the log: its JSON and its version.
 */
void sl_dev_items_apply(struct sl_dev_items *items, struct sl_text key, struct sl_text json,
    int64_t version, int64_t now_ms);

/**
 * The trace of an event, a new one with `is_new` (the oldest is forgotten); NULL if there is none.
 * The items', until the next call.
 */
struct sl_dev_trace *sl_dev_trace_of(
    struct sl_dev_items *items, struct sl_text key, int64_t version, bool is_new);

#endif
