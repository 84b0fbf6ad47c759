#include "cli/dev_items.h"

#include <stdio.h>

#include "base/memory.h"

void sl_dev_items_init(struct sl_dev_items *items)
{
    items->trace_count = 0;
    sl_table_init(&items->table);
}

static bool free_item(void *context, struct sl_text key, void *value)
{
    struct sl_dev_item *item = value;
    (void) context;
    (void) key;
    sl_free(item->latest);
    sl_free(item);
    return true;
}

void sl_dev_items_deinit(struct sl_dev_items *items)
{
    sl_table_each(&items->table, free_item, NULL);
    sl_table_deinit(&items->table);
}

struct sl_dev_item *sl_dev_item_of(struct sl_dev_items *items, struct sl_text key)
{
    struct sl_dev_item *item = sl_table_get(&items->table, key);
    if (item != NULL || items->table.count >= SL_DEV_KEYS_MAX) {
        return item;
    }
    item = sl_allocate(sizeof(*item));
    if (item != NULL && sl_table_put(&items->table, key, item) != 0) {
        sl_free(item);
        return NULL;
    }
    return item;
}

void sl_dev_items_apply(struct sl_dev_items *items, struct sl_text key, struct sl_text json,
    int64_t version, int64_t now_ms)
{
    struct sl_dev_item *item = sl_dev_item_of(items, key);
    struct sl_dev_trace *trace = sl_dev_trace_of(items, key, version, false);
    if (trace != NULL) {
        trace->logged_ms = now_ms;
    }
    char *copy = item == NULL ? NULL : sl_copy_bytes(json.data, json.size);
    if (copy == NULL) {
        return;
    }
    sl_free(item->latest);
    item->latest = copy;
    item->latest_version = version;
    item->version = version > item->version ? version : item->version;
}

struct sl_dev_trace *sl_dev_trace_of(
    struct sl_dev_items *items, struct sl_text key, int64_t version, bool is_new)
{
    if (is_new) {
        struct sl_dev_trace *trace = &items->traces[items->trace_count++ % SL_DEV_TRACES_MAX];
        *trace = (struct sl_dev_trace) {.version = version};
        snprintf(trace->key, sizeof(trace->key), "%.*s", (int) key.size, key.data);
        return trace;
    }
    size_t count =
        items->trace_count < SL_DEV_TRACES_MAX ? items->trace_count : SL_DEV_TRACES_MAX;
    for (size_t i = 0; i < count; i++) {
        struct sl_dev_trace *trace = &items->traces[i];
        if (trace->version == version && sl_text_equal(sl_text_of(trace->key), key)) {
            return trace;
        }
    }
    return NULL;
}
