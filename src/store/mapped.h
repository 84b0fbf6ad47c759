/*
 * store/mapped.h - what the files of a mapped table share.
 *
 * A mapped store is the database's own store with some members of its vtable replaced. mapping.c
 * opens it; mapped_table.c knows the table; mapped_claim.c and mapped_reader.c read it;
 * mapped_mark.c writes what has become of its rows.
 */
#ifndef SL_STORE_MAPPED_H
#define SL_STORE_MAPPED_H

#include "store/mapping.h"
#include "store/ops.h"

enum {
    SL_INDEX_SIZE = 5 * SL_MAPPING_NAME_SIZE_MAX + 80,
    SL_ROW_ID_SIZE = 200, /* of a row's id as text, with its NUL */
    SL_CLAIMS_MAX = 512,  /* rows of a tick, and of a page */
    SL_MAPPED_GROUP = 32  /* rows that one statement is about: as many as it has parameters */
};

/* The parameters of a group: SL_MAPPED_GROUP ids. */
#define SL_MAPPED_IDS                                                                              \
    "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,"  \
    " ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32)"

/* The statements on the mapped table, made once. */
enum sl_mapped_statement {
    SL_MAPPED_LOOK,       /* 1 if there is a row to claim */
    SL_MAPPED_CANDIDATES, /* ?1 rows: id, time */
    SL_MAPPED_ROWS,       /* a group: id, topic, key, type, payload, headers, time */
    SL_MAPPED_MARK_SENT,  /* a group that is PENDING: SENT, or gone */
    SL_MAPPED_MARK_HELD,  /* id, status, attempts: unless it is SENT */
    SL_MAPPED_UNSENT,     /* ?1 at most: count, the oldest one's time */
    SL_MAPPED_FIND,       /* an event id: see look.h */
    SL_MAPPED_STATEMENT_COUNT
};

/* A row of sluice_claim. */
struct sl_claim {
    struct sl_position position;
    char row_id[SL_ROW_ID_SIZE];
    char event_id[SLUICE_EVENT_ID_SIZE];
    int64_t time_ms;
};

/* Claims in hand; more than SL_CLAIMS_MAX are never asked for. */
struct sl_claims {
    struct sl_claim *items;
    size_t count;
};

struct sl_mapped {
    struct sl_store_ops ops;         /* the store's now */
    const struct sl_store_ops *base; /* the database's own */
    struct sl_dialect dialect;
    char *statements[SL_MAPPED_STATEMENT_COUNT];  /* NULL where there is nothing to do */
    char table[2 * SL_MAPPING_NAME_SIZE_MAX + 2]; /* for people */
    char missing_index[SL_INDEX_SIZE]; /* what makes it; empty: it is there, or nobody can say */
    char *type;                        /* of every event; NULL: a column has it */
    bool has_integer_id; /* the position is the row's id, else it is a number within the tick */
    struct sl_claims claims;
};

/**
 * Check a mapping against the table in the database and make `mapped`'s statements. `is_relay`: the
 * rights to change it, too, and a word in the log about a missing index.
 */
int sl_mapped_describe(struct sl_store *store, const struct sl_mapping *mapping, bool is_relay,
    struct sl_mapped *mapped, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Claim up to SL_CLAIMS_MAX rows that nobody has claimed; `*ret_is_claimed` tells if there were
 * any.
 */
int sl_mapped_claim(struct sl_store *store, bool *ret_is_claimed, struct sluice_error *error)
    __attribute__((warn_unused_result));

/** See store/store.h. */
int sl_mapped_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_confirm(struct sl_store *store, struct sl_position position, int64_t reached_ms,
    struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_hold(struct sl_store *store, const struct sl_hold *hold, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_held_update(
    struct sl_store *store, const struct sl_held_change *change, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_held_remove(
    struct sl_store *store, int64_t number, int64_t now_ms, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_redrive(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error);
/** See store/store.h. */
int sl_mapped_drop(struct sl_store *store, const struct sl_held_filter *filter, int64_t now_ms,
    int64_t *ret_count, struct sluice_error *error);

/**
 * Put the ids of up to SL_MAPPED_GROUP claims into `ret_values`, the last one again and again where
 * there are fewer.
 */
void sl_mapped_group(const struct sl_mapped *mapped, const struct sl_claim *claims, size_t count,
    struct sluice_value ret_values[SL_MAPPED_GROUP]);

/**
 * A row's id as a value of a statement.
 */
struct sluice_value sl_mapped_row_value(const struct sl_mapped *mapped, const char *row_id);

#endif
