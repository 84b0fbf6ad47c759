/*
 * store/portable.h - what is the same in every database, written once over store/sql.h.
 *
 * A database's vtable takes all of it with SL_PORTABLE_OPS, and may put its own in place of a
 * member after that.
 */
#ifndef SL_STORE_PORTABLE_H
#define SL_STORE_PORTABLE_H

#include "store/ops.h"

/** See store/store.h. */
int sl_sql_savepoint(struct sl_store *store, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_savepoint_end(struct sl_store *store, bool is_kept, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error);
/** See store/store.h. */
int sl_sql_lease(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
    struct sluice_error *error);
/** See store/store.h. */
int sl_sql_lease_end(struct sl_store *store, const char *holder, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_inbox_begin(struct sl_store *store, const char *consumer, const char *event_id,
    int64_t now_ms, bool *ret_is_new, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_inbox_retain(struct sl_store *store, const char *consumer, int64_t before_ms,
    int64_t count_max, int64_t *ret_deleted, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_count_consumed(
    struct sl_store *store, const struct sl_consumed *consumed, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_each_consumer(
    struct sl_store *store, sl_consumer_visit visit, void *context, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_key_state(struct sl_store *store, const char *stage, const struct sl_event *event,
    struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_has_held(
    struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_held_next(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_held_due(struct sl_store *store, const struct sl_held_due_query *query,
    sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_held_lock(struct sl_store *store, int64_t number, int attempts, bool *ret_is_ours,
    struct sluice_error *error);
/** See store/store.h. */
int sl_sql_each_held(struct sl_store *store, const struct sl_held_filter *filter,
    sl_held_visit visit, void *context, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_each_held_count(
    struct sl_store *store, sl_held_count_visit visit, void *context, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error);
/** See store/store.h. */
int sl_sql_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error);

#define SL_PORTABLE_OPS                                                                            \
    .savepoint = sl_sql_savepoint, .savepoint_end = sl_sql_savepoint_end,                          \
    .confirm = sl_sql_confirm, .lease = sl_sql_lease, .lease_end = sl_sql_lease_end,               \
    .inbox_begin = sl_sql_inbox_begin, .inbox_retain = sl_sql_inbox_retain,                        \
    .count_consumed = sl_sql_count_consumed, .each_consumer = sl_sql_each_consumer,                \
    .key_state = sl_sql_key_state, .has_held = sl_sql_has_held, .hold = sl_sql_hold,               \
    .held_update = sl_sql_held_update, .held_remove = sl_sql_held_remove,                          \
    .held_next = sl_sql_held_next, .held_due = sl_sql_held_due, .held_lock = sl_sql_held_lock,     \
    .each_held = sl_sql_each_held, .each_held_count = sl_sql_each_held_count,                      \
    .redrive = sl_sql_redrive, .drop = sl_sql_drop

#endif
