/*
 * store/ops.h - the vtable behind store/store.h: what a database must be able to do.
 *
 * Each member does what the function of the same name in store.h documents; that comment is not
 * repeated here. An implementation embeds `struct sl_store` as its first member.
 */
#ifndef SL_STORE_OPS_H
#define SL_STORE_OPS_H

#include "store/sql.h"
#include "store/store.h"

typedef void (*sl_held_visit)(void *context, const struct sl_held *held);
typedef void (*sl_held_count_visit)(void *context, const struct sl_held_count *count);
typedef void (*sl_consumer_visit)(void *context, const struct sl_consumer_count *count);

struct sl_consumed {
    const char *consumer;
    int64_t applied;
    int64_t duplicates;
    int64_t failures;
    int64_t now_ms;
};

struct sl_held_due_query {
    const char *stage;
    struct sl_position position_max;
    int64_t now_ms;
};

struct sl_held_change {
    int64_t number;
    enum sl_held_state state;
    int attempts;
    int64_t next_attempt_ms;
    const char *reason;
};

struct sl_store_ops {
    void (*close)(struct sl_store *store);
    int (*run)(struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error);
    int (*renew_id)(struct sl_store *store, struct sluice_error *error);
    bool (*has_changed)(struct sl_store *store);
    int (*begin)(struct sl_store *store, struct sluice_error *error);
    int (*commit)(struct sl_store *store, struct sluice_error *error);
    void (*rollback)(struct sl_store *store);
    bool (*in_transaction)(const struct sl_store *store);
    bool (*is_spoilt)(const struct sl_store *store); /* NULL: never */
    int (*explain_rollback)(const struct sl_store *store, struct sluice_error *error);
    int (*savepoint)(struct sl_store *store, struct sluice_error *error);
    int (*savepoint_end)(struct sl_store *store, bool is_kept, struct sluice_error *error);
    bool (*blocks_writers)(const struct sl_store *store); /* NULL: never */
    int (*forbid_writes)(
        struct sl_store *store, bool is_forbidden, struct sluice_error *error); /* NULL: cannot */
    bool (*was_forbidden)(struct sl_store *store); /* NULL: cannot tell */
    void (*interrupt)(struct sl_store *store);     /* NULL: cannot */
    int (*outbox_insert)(
        struct sl_store *store, const struct sl_event *event, struct sluice_error *error);
    int (*outbox_read)(struct sl_store *store, struct sl_position position, size_t count_max,
        size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error);
    int (*outbox_state)(
        struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error);
    int (*confirm)(struct sl_store *store, struct sl_position position, int64_t reached_ms,
        struct sluice_error *error);
    int (*lease)(struct sl_store *store, const char *holder, int64_t ttl_ms, bool *ret_is_held,
        struct sluice_error *error);
    int (*lease_end)(struct sl_store *store, const char *holder, struct sluice_error *error);
    int (*outbox_retain)(struct sl_store *store, int64_t before_ms, int64_t count_max,
        int64_t *ret_deleted, struct sluice_error *error);
    int (*inbox_begin)(struct sl_store *store, const char *consumer, const char *event_id,
        int64_t now_ms, bool *ret_is_new, struct sluice_error *error);
    int (*inbox_begin_all)(struct sl_store *store, const char *consumer,
        const struct sl_inbox_ids *ids, int64_t now_ms, bool *ret_is_new,
        struct sluice_error *error); /* NULL: one by one */
    int (*inbox_retain)(struct sl_store *store, const char *consumer, int64_t before_ms,
        int64_t count_max, int64_t *ret_deleted, struct sluice_error *error);
    int (*count_consumed)(
        struct sl_store *store, const struct sl_consumed *consumed, struct sluice_error *error);
    int (*each_consumer)(
        struct sl_store *store, sl_consumer_visit visit, void *context, struct sluice_error *error);
    int (*key_state)(struct sl_store *store, const char *stage, const struct sl_event *event,
        struct sl_position position, struct sl_key_state *ret_state, struct sluice_error *error);
    int (*has_held)(
        struct sl_store *store, const char *stage, bool *ret_has_held, struct sluice_error *error);
    int (*hold)(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error);
    int (*held_update)(
        struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error);
    int (*held_remove)(
        struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
    int (*held_next)(
        struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
    int (*held_due)(struct sl_store *store, const struct sl_held_due_query *query,
        sl_held_visit visit, void *context, int64_t *ret_due_ms, struct sluice_error *error);
    int (*held_lock)(struct sl_store *store, int64_t number, int attempts, bool *ret_is_ours,
        struct sluice_error *error);
    int (*each_held)(struct sl_store *store, const struct sl_held_filter *filter,
        sl_held_visit visit, void *context, struct sluice_error *error);
    int (*each_held_count)(struct sl_store *store, sl_held_count_visit visit, void *context,
        struct sluice_error *error);
    int (*redrive)(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
        int64_t *ret_count, struct sluice_error *error);
    int (*drop)(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
        int64_t *ret_count, struct sluice_error *error);
};

struct sl_store {
    const struct sl_store_ops *ops;
    const struct sl_dialect *dialect; /* of `run`'s statements */
    char id[SLUICE_EVENT_ID_SIZE];
    const char *watch_file;     /* owned by the implementation */
    struct sqlite3 *sqlite;     /* NULL but for SQLite */
    struct pg_conn *postgresql; /* NULL but for PostgreSQL */
    struct st_mysql *mariadb;   /* NULL but for MariaDB */
    struct sl_mapped *mapped;   /* NULL but where a table of the user's is read: see mapped.h */
    int savepoint_depth; /* kept by store.c: how many are set; 1 while the first one is set */
};

#endif
