#include "gateway/owners.h"

#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"

enum { NAME_SIZE_MAX = 64 * 1024 };

struct sl_owner_entry {
    uint64_t generation;
    void *holder;
};

void sl_owners_init(struct sl_owners *owners)
{
    sl_table_init(&owners->entries);
}

static bool free_entry(void *context, struct sl_text name, void *value)
{
    (void) context;
    (void) name;
    sl_free(value);
    return true;
}

void sl_owners_deinit(struct sl_owners *owners)
{
    if (owners != NULL) {
        sl_table_each(&owners->entries, free_entry, NULL);
        sl_table_deinit(&owners->entries);
    }
}

/* Owner and key as one name. The size in front keeps "a" + "bc" apart from "ab" + "c". */
static int build_name(struct sl_text owner, struct sl_text key, struct sl_buffer *name)
{
    sl_buffer_init(name, NAME_SIZE_MAX);
    sl_buffer_append_format(name, "%zu:", owner.size);
    sl_buffer_append(name, owner.data, owner.size);
    sl_buffer_append(name, key.data, key.size);
    return name->is_failed ? -1 : 0;
}

static int add_entry(struct sl_owners *owners, struct sl_text name,
    struct sl_owner_entry **ret_entry)
{
    struct sl_owner_entry *entry = sl_allocate(sizeof(*entry));
    if (entry == NULL || sl_table_put(&owners->entries, name, entry) != 0) {
        sl_free(entry);
        return -1;
    }
    *ret_entry = entry;
    return 0;
}

int sl_owners_claim(struct sl_owners *owners, struct sl_text owner, struct sl_text key,
    uint64_t generation, int64_t now_ms, void *holder, uint64_t *ret_generation,
    void **ret_replaced)
{
    struct sl_buffer name;
    struct sl_owner_entry *entry = NULL;
    int result = build_name(owner, key, &name);
    if (result == 0) {
        struct sl_text text = {name.data, name.size};
        entry = sl_table_get(&owners->entries, text);
        result = entry == NULL ? add_entry(owners, text, &entry) : 0;
    }
    sl_buffer_deinit(&name);
    if (result != 0) {
        return -1;
    }
    if (entry->holder != NULL && generation != 0 && generation < entry->generation) {
        return 0;
    }
    if (generation == 0) {
        generation = now_ms > 0 ? (uint64_t) now_ms : 1;
        generation = generation > entry->generation ? generation : entry->generation + 1;
    }
    *ret_generation = entry->generation = generation;
    *ret_replaced = entry->holder;
    entry->holder = holder;
    return 1;
}

bool sl_owners_would_refuse(const struct sl_owners *owners, struct sl_text owner,
    struct sl_text key, uint64_t generation)
{
    struct sl_buffer name;
    const struct sl_owner_entry *entry = NULL;
    if (build_name(owner, key, &name) == 0) {
        entry = sl_table_get(&owners->entries, (struct sl_text) {name.data, name.size});
    }
    sl_buffer_deinit(&name);
    return entry != NULL && generation != 0 && generation < entry->generation;
}

void sl_owners_release(
    struct sl_owners *owners, struct sl_text owner, struct sl_text key, const void *holder)
{
    struct sl_buffer name;
    if (build_name(owner, key, &name) == 0) {
        struct sl_text text = {name.data, name.size};
        struct sl_owner_entry *entry = sl_table_get(&owners->entries, text);
        if (entry != NULL && entry->holder == holder) {
            sl_free(sl_table_remove(&owners->entries, text));
        }
    }
    sl_buffer_deinit(&name);
}

