#include "base/table.h"

#include "base/memory.h"
#include "base/random.h"

struct sl_table_entry {
    struct sl_table_entry *next;
    void *value;
    uint64_t hash;
    size_t size;
    char key[];
};

void sl_table_init(struct sl_table *table)
{
    *table = (struct sl_table) {.seed = sl_random_u64()};
}

void sl_table_deinit(struct sl_table *table)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct sl_table_entry *entry = table->buckets[i];
        while (entry != NULL) {
            struct sl_table_entry *next = entry->next;
            sl_free(entry);
            entry = next;
        }
    }
    sl_free(table->buckets);
    *table = (struct sl_table) {.seed = table->seed};
}

/* FNV-1a over a random start, and a last mix: short keys, no need to resist more than chance. */
static uint64_t hash_of(const struct sl_table *table, struct sl_text key)
{
    uint64_t hash = table->seed ^ 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < key.size; i++) {
        hash = (hash ^ (unsigned char) key.data[i]) * 0x100000001b3ULL;
    }
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93ULL;
    return hash ^ hash >> 32;
}

static struct sl_table_entry **find(
    const struct sl_table *table, struct sl_text key, uint64_t hash)
{
    struct sl_table_entry **link = &table->buckets[hash & (table->bucket_count - 1)];
    while (*link != NULL) {
        struct sl_table_entry *entry = *link;
        if (entry->hash == hash &&
            sl_text_equal((struct sl_text) {entry->key, entry->size}, key)) {
            break;
        }
        link = &entry->next;
    }
    return link;
}

void *sl_table_get(const struct sl_table *table, struct sl_text key)
{
    if (table->bucket_count == 0) {
        return NULL;
    }
    struct sl_table_entry *entry = *find(table, key, hash_of(table, key));
    return entry == NULL ? NULL : entry->value;
}

static int grow(struct sl_table *table)
{
    size_t bucket_count = table->bucket_count == 0 ? 16 : table->bucket_count * 2;
    struct sl_table_entry **buckets = sl_allocate(bucket_count * sizeof(struct sl_table_entry *));
    if (buckets == NULL) {
        return -1;
    }
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct sl_table_entry *entry = table->buckets[i];
        while (entry != NULL) {
            struct sl_table_entry *next = entry->next;
            struct sl_table_entry **link = &buckets[entry->hash & (bucket_count - 1)];
            entry->next = *link;
            *link = entry;
            entry = next;
        }
    }
    sl_free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
    return 0;
}

int sl_table_put(struct sl_table *table, struct sl_text key, void *value)
{
    if (table->count >= table->bucket_count && grow(table) != 0) {
        return -1;
    }
    uint64_t hash = hash_of(table, key);
    struct sl_table_entry **link = find(table, key, hash);
    if (*link != NULL) {
        (*link)->value = value;
        return 0;
    }
    struct sl_table_entry *entry = sl_allocate(sizeof(*entry) + key.size);
    if (entry == NULL) {
        return -1;
    }
    entry->value = value;
    entry->hash = hash;
    entry->size = key.size;
    if (key.size > 0) {
        memcpy(entry->key, key.data, key.size);
    }
    *link = entry;
    table->count++;
    return 0;
}

void *sl_table_remove(struct sl_table *table, struct sl_text key)
{
    if (table->bucket_count == 0) {
        return NULL;
    }
    struct sl_table_entry **link = find(table, key, hash_of(table, key));
    struct sl_table_entry *entry = *link;
    if (entry == NULL) {
        return NULL;
    }
    void *value = entry->value;
    *link = entry->next;
    sl_free(entry);
    table->count--;
    return value;
}

void sl_table_each(const struct sl_table *table,
    bool (*visit)(void *context, struct sl_text key, void *value), void *context)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct sl_table_entry *entry = table->buckets[i]; entry != NULL;) {
            struct sl_table_entry *next = entry->next;
            if (!visit(context, (struct sl_text) {entry->key, entry->size}, entry->value)) {
                return;
            }
            entry = next;
        }
    }
}
