/* The inbox in PostgreSQL: the markers of many events in one round trip. */
#include "base/error.h"
#include "store/postgresql.h"

/* Which of the ids were new. */
struct marking {
    const struct sl_inbox_ids *ids;
    bool *is_new;
    size_t next; /* the rows mostly come in the order of the ids */
};

/* Of an id that is there twice only the first was inserted, and only once. */
static void note_new(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct marking *marking = context;
    const struct sl_inbox_ids *ids = marking->ids;
    (void) column_count;
    size_t i = marking->next;
    while (i < ids->count && strcmp(ids->event_ids[i], columns[0].data) != 0) {
        i++;
    }
    for (size_t j = 0; i == ids->count && j < marking->next; j++) {
        i = !marking->is_new[j] && strcmp(ids->event_ids[j], columns[0].data) == 0 ? j : i;
    }
    if (i < ids->count) {
        marking->is_new[i] = true;
        marking->next = i + 1 > marking->next ? i + 1 : marking->next;
    }
}

int sl_postgresql_inbox_begin_all(struct sl_store *base, const char *consumer,
    const struct sl_inbox_ids *ids, int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    struct sl_buffer *text = &store->ids;
    struct marking marking = {.ids = ids, .is_new = ret_is_new};
    sl_buffer_clear(text);
    for (size_t i = 0; i < ids->count; i++) {
        sl_buffer_append(text, i == 0 ? "{" : ",", 1);
        sl_buffer_append_text(text, ids->event_ids[i]);
        ret_is_new[i] = false;
    }
    sl_buffer_append(text, "}", 2);
    if (text->is_failed) {
        return sl_fail_memory(error, "the ids of events");
    }
    return sl_sql_run(base,
        &(struct sl_sql) {
            .text = "INSERT INTO sluice_inbox (consumer, event_id, applied_at) "
                    "SELECT ?1, unnest(?2::uuid[]), ?3 ON CONFLICT DO NOTHING RETURNING event_id",
            .what = "cannot write the inbox",
            SL_SQL_VALUES(sluice_text(consumer), sluice_text(text->data), sluice_integer(now_ms)),
            .visit = note_new,
            .context = &marking,
        },
        error);
}
