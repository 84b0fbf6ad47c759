/* The inbox and its consumers' counters, the same in every database. */
#include "event/id.h"
#include "store/portable.h"

int sl_sql_inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error)
{
    int64_t inserted = 0;
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = store->dialect->inbox_insert,
                .what = "cannot write the inbox",
                SL_SQL_VALUES(
                    sluice_text(consumer), sluice_text(event_id), sluice_integer(now_ms)),
                .ret_affected = &inserted,
            },
            error) != 0) {
        return -1;
    }
    *ret_is_new = inserted == 1;
    return 0;
}

int sl_sql_inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error)
{
    char floor[SLUICE_EVENT_ID_SIZE];
    sl_id_floor(before_ms, floor);
    /* Ids sort by the time they were made, so the primary key finds the old ones. */
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "DELETE FROM sluice_inbox WHERE consumer = ?1 AND event_id IN ("
                    " SELECT event_id FROM (SELECT event_id FROM sluice_inbox"
                    "  WHERE consumer = ?1 AND event_id < ?2 AND applied_at < ?3"
                    "  ORDER BY event_id LIMIT ?4) AS expired)",
            .what = "cannot clean the inbox",
            SL_SQL_VALUES(sluice_text(consumer), sluice_text(floor), sluice_integer(before_ms),
                sluice_integer(count_max)),
            .ret_affected = ret_deleted,
        },
        error);
}

int sl_sql_count_consumed(
    struct sl_store *store, const struct sl_consumed *consumed, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = store->dialect->count_consumed,
            .what = "cannot count",
            SL_SQL_VALUES(sluice_text(consumed->consumer), sluice_integer(consumed->applied),
                sluice_integer(consumed->duplicates), sluice_integer(consumed->failures),
                sluice_integer(consumed->now_ms)),
        },
        error);
}

struct consumer_visit {
    sl_consumer_visit visit;
    void *context;
};

static void visit_consumer(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct consumer_visit *visit = context;
    (void) column_count;
    struct sl_consumer_count count = {
        .name = sl_value_view(&columns[0]),
        .applied_total = sl_value_number(&columns[1]),
        .duplicates_total = sl_value_number(&columns[2]),
        .failures_total = sl_value_number(&columns[3]),
        .updated_ms = sl_value_number(&columns[4]),
    };
    visit->visit(visit->context, &count);
}

int sl_sql_each_consumer(
    struct sl_store *store, sl_consumer_visit visit, void *context, struct sluice_error *error)
{
    struct consumer_visit visitor = {visit, context};
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "SELECT name, applied_total, duplicates_total, failures_total, updated_at "
                    "FROM sluice_consumer ORDER BY name",
            .what = "cannot read the consumers",
            .visit = visit_consumer,
            .context = &visitor,
        },
        error);
}
