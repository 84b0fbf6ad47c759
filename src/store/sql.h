/*
 * store/sql.h - statements: what is the same in every database is written once, over this.
 *
 * A text is SQL as SQLite, PostgreSQL and MariaDB share it, with parameters ?1, ?2, ... that may
 * repeat. Our own texts name the tables as SQLite has them (sluice_inbox); where the database keeps
 * them in a schema of their own, its implementation says sluice.inbox instead. What cannot be
 * written for all stands in the database's `struct sl_dialect`.
 */
#ifndef SL_STORE_SQL_H
#define SL_STORE_SQL_H

#include <sluice/query.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/text.h"

struct sl_store;

/* The columns of a row that are shown at most. */
enum { SL_SQL_COLUMNS_MAX = 64 };

/* One statement to run. */
struct sl_sql {
    const char *text;
    const char *what; /* what it is for, as it begins an error: "cannot read the inbox" */
    const struct sluice_value *values;
    size_t value_count;
    sluice_row_visitor visit; /* NULL: rows do not matter */
    void *context;
    bool is_theirs;        /* a text of the user's: not a literal, and its names are left alone */
    int64_t *ret_affected; /* NULL, or gets the number of rows that were changed */
};

/* The members .values and .value_count of a statement. */
#define SL_SQL_VALUES(...)                                                                         \
    .values = (const struct sluice_value[]) {__VA_ARGS__},                                         \
    .value_count = sizeof((const struct sluice_value[]) {__VA_ARGS__}) / sizeof(struct sluice_value)

/* Texts of one meaning that the databases say differently. */
struct sl_dialect {
    const char *name;           /* "sqlite", "postgresql", "mariadb" */
    const char *inbox_insert;   /* consumer, event_id, applied_at; nothing if it is there */
    const char *count_consumed; /* name, applied, duplicates, failures, now; adds to the row */
    const char *hold;           /* see dead_letter.c; nothing if the stage holds the event */
    const char *lease;          /* holder, ttl_ms: one row changes if the lease is theirs now */
    bool has_row_locks;         /* others write while a transaction is open; FOR UPDATE locks */
    const char *clock;          /* its Unix time in milliseconds; NULL: it has this machine's */
    const char *outbox_find;    /* id: see look.c, where SQLite's stands; NULL: that one */
    const char *open_transactions; /* age_ms: who, age_ms of older ones; NULL: cannot tell */
};

/* What SQLite and PostgreSQL say alike. */
#define SL_SQL_COUNT_CONSUMED                                                                      \
    "INSERT INTO sluice_consumer AS c (name, applied_total, duplicates_total, failures_total,"     \
    " updated_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET"                    \
    " applied_total = c.applied_total + excluded.applied_total,"                                   \
    " duplicates_total = c.duplicates_total + excluded.duplicates_total,"                          \
    " failures_total = c.failures_total + excluded.failures_total,"                                \
    " updated_at = excluded.updated_at"

#define SL_SQL_HOLD                                                                                \
    "INSERT INTO sluice_dead_letter (stage, event_id, topic, message_key, type, payload,"          \
    " headers, created_at, state, attempts, next_attempt_at, held_at, reason, tick, position)"     \
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"                   \
    " ON CONFLICT DO NOTHING"

/* A lease by the database's own clock: `now` is an expression, the Unix time in milliseconds. */
#define SL_SQL_LEASE(now)                                                                          \
    "UPDATE sluice_relay SET term = term + CASE WHEN holder = ?1 THEN 0 ELSE 1 END,"               \
    " holder = ?1, lease_ends_at = " now " + ?2 "                                                  \
    "WHERE name = 'relay' AND (holder = ?1 OR lease_ends_at <= " now ")"

/**
 * Run a statement, in the open transaction if there is one.
 */
int sl_sql_run(struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Begin a transaction unless one is open; `*ret_is_ours` tells which. For operations of several
 * statements.
 */
int sl_store_enter(struct sl_store *store, bool *ret_is_ours, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * End what sl_store_enter began: commit if `status` is 0, else roll back. Returns the status of the
 * whole.
 */
int sl_store_leave(struct sl_store *store, bool is_ours, int status, struct sluice_error *error);

/**
 * A text as a value.
 */
static inline struct sluice_value sl_value_text(struct sl_text text)
{
    return (struct sluice_value) {SLUICE_TEXT, 0, text.data, text.size};
}

/**
 * A column as a view; empty if it is NULL.
 */
static inline struct sl_text sl_value_view(const struct sluice_value *value)
{
    return (struct sl_text) {value->data, value->size};
}

/**
 * A column as a number, also where the database gives a sum as a text; 0 if it is none.
 */
int64_t sl_value_number(const struct sluice_value *value);

/**
 * Copy a column into `ret_text` with a NUL after it; what does not fit into `size` bytes is cut.
 */
void sl_value_copy(const struct sluice_value *value, char *ret_text, size_t size);

enum sl_placeholder {
    SL_PLACEHOLDER_DOLLAR,  /* ?2 becomes $2 */
    SL_PLACEHOLDER_QUESTION /* ?2 becomes ?, and `ret_order` says which value each one is */
};

/* How a text is turned into a database's own. */
struct sl_sql_rewrite {
    enum sl_placeholder placeholder;
    bool is_schema;                          /* sluice_NAME becomes sluice.NAME */
    unsigned char order[SLUICE_VALUES_MAX * 4]; /* of each ?, from 0: its value's index */
    size_t order_count;
};

/**
 * Rewrite a text into `buffer` (which is cleared first): parameters and, in our own texts, table
 * names. What stands in quotes or comments is left alone. Pure. SLUICE_INVALID for a parameter
 * beyond `value_count`, SLUICE_NO_MEMORY for a text that the buffer cannot hold.
 */
int sl_sql_rewrite(struct sl_sql_rewrite *rewrite, const struct sl_sql *sql,
    struct sl_buffer *buffer, struct sluice_error *error) __attribute__((warn_unused_result));

#endif
