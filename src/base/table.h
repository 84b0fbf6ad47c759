/*
 * base/table.h - a hash table from bytes to pointers.
 *
 * Keys are copied; values are the caller's. Hashing is seeded, so that nobody can choose keys that
 * all fall into one chain. Removal is by key; conditional removal is the caller's comparison.
 */
#ifndef SL_BASE_TABLE_H
#define SL_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct sl_table_entry;

struct sl_table {
    struct sl_table_entry **buckets;
    size_t bucket_count;
    size_t count;
    uint64_t seed;
};

/**
 * Start an empty table. Allocates nothing yet.
 */
void sl_table_init(struct sl_table *table);

/**
 * Free the table's own memory; the values are not touched.
 */
void sl_table_deinit(struct sl_table *table);

/**
 * The value under a key, or NULL.
 */
void *sl_table_get(const struct sl_table *table, struct sl_text key);

/**
 * Put a value (not NULL) under a key, in place of an older one. 0, or -1 without memory.
 */
int sl_table_put(struct sl_table *table, struct sl_text key, void *value)
    __attribute__((warn_unused_result));

/**
 * Take a key out; returns its value, or NULL if there was none.
 */
void *sl_table_remove(struct sl_table *table, struct sl_text key);

/**
 * Call `visit` for each entry, in no order, until it returns false. The table must not change.
 */
void sl_table_each(const struct sl_table *table,
    bool (*visit)(void *context, struct sl_text key, void *value), void *context);

#endif
