/* The relay's row: how far it has come, and which of several relays may send. */
#include "store/portable.h"

int sl_sql_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_relay SET tick = ?1, position = ?2, updated_at = ?3 "
                    "WHERE name = 'relay' AND (tick < ?1 OR (tick = ?1 AND position < ?2))",
            .what = "cannot confirm the position",
            SL_SQL_VALUES(sluice_integer(position.tick), sluice_integer(position.id),
                sluice_integer(reached_ms)),
        },
        error);
}

int sl_sql_lease(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
    struct sluice_error *error)
{
    int64_t changed = 0;
    if (sl_sql_run(store,
            &(struct sl_sql) {
                .text = store->dialect->lease,
                .what = "cannot take the relay's lease",
                SL_SQL_VALUES(sluice_text(holder), sluice_integer(ttl_ms)),
                .ret_affected = &changed,
            },
            error) != 0) {
        return -1;
    }
    *ret_is_held = changed == 1;
    return 0;
}

int sl_sql_lease_end(struct sl_store *store, const char *holder, struct sluice_error *error)
{
    return sl_sql_run(store,
        &(struct sl_sql) {
            .text = "UPDATE sluice_relay SET holder = '', lease_ends_at = 0 WHERE holder = ?1",
            .what = "cannot end the relay's lease",
            SL_SQL_VALUES(sluice_text(holder)),
        },
        error);
}
