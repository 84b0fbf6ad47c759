/*
 * store/postgresql.h - the PostgreSQL store's own parts: its connection, and what its files share.
 *
 * A connection of our own that is lost is made again by the next call outside of a transaction. A
 * transaction that was open then is over: until it is rolled back, every call says so.
 */
#ifndef SL_STORE_POSTGRESQL_H
#define SL_STORE_POSTGRESQL_H

#include <libpq-fe.h>

#include "base/buffer.h"
#include "store/ops.h"

enum {
    SL_POSTGRESQL_STATEMENTS_MAX = 128, /* beyond it the one unused for longest goes */
    SL_POSTGRESQL_TEXT_SIZE_MAX = 1 << 20,
    SL_POSTGRESQL_WAIT_MS = 10000 /* how long a dead server, or an unknown commit, is waited for */
};

/* Of PostgreSQL's catalogue: pg_type. */
enum {
    SL_OID_BOOL = 16,
    SL_OID_BYTEA = 17,
    SL_OID_INT8 = 20,
    SL_OID_INT2 = 21,
    SL_OID_INT4 = 23,
    SL_OID_TEXT = 25,
    SL_OID_OID = 26,
    SL_OID_JSON = 114,
    SL_OID_TIMESTAMPTZ = 1184,
    SL_OID_UUID = 2950
};

struct sl_postgresql_statement {
    char *text; /* as it was given; a copy */
    bool is_theirs;
    unsigned char kinds[SLUICE_VALUES_MAX]; /* the types it was prepared for */
    size_t kind_count;
    uint64_t hash; /* of all these */
    unsigned number;
    uint64_t used_at;
};

/* The tick that is being read. */
struct sl_postgresql_tick {
    int64_t number; /* 0: none */
    int64_t row_count;
    int64_t first_position;
    int64_t last_position;
    int64_t payload_size_max;
    char *snapshot;
    char *previous;
};

struct sl_store_postgresql {
    struct sl_store base;
    PGconn *connection;
    PGcancel *cancel;
    bool is_adopted;
    char *url;         /* NULL if adopted */
    char name[200];    /* "database 'app' on db.example:5432", for errors */
    char identity[64]; /* cluster and database */
    char timeline[16];
    bool is_foreign;    /* the tables were made in another cluster or database */
    bool is_lost;       /* with a transaction of the caller's */
    bool was_forbidden; /* the last statement failed for that, and nobody has asked yet */
    bool is_begun;      /* the open transaction was begun by us */
    int64_t xid;        /* of the transaction that was begun by us, or 0 if it is not known */
    struct sluice_error cause; /* why the open transaction can only be rolled back */
    char prefix[24]; /* of the names of our statements: two stores may adopt one connection */
    struct sl_postgresql_statement statements[SL_POSTGRESQL_STATEMENTS_MAX];
    size_t statement_count;
    unsigned statement_number;
    uint64_t use_count;
    struct sl_buffer text;
    struct sl_buffer values;
    struct sl_buffer ids; /* of events that are marked together */
    struct sl_postgresql_tick tick;
};

/* postgresql_error.c */

/**
 * Fill in `error` from a failed result, or from the connection if `result` is NULL; `what` was
 * tried. `is_theirs`: the statement was the user's. Returns -1.
 */
int sl_postgresql_fail(const struct sl_store_postgresql *store, const PGresult *result,
    const char *what, bool is_theirs, struct sluice_error *error);

/* postgresql_connection.c */

/**
 * Connect by the URL, or use what is adopted; learn which cluster it is.
 */
int sl_postgresql_connect(struct sl_store_postgresql *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Connect again if the connection is lost and no transaction with it.
 */
int sl_postgresql_ensure(struct sl_store_postgresql *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Close the connection, unless it is adopted, and forget its statements.
 */
void sl_postgresql_disconnect(struct sl_store_postgresql *store);

/**
 * Whether a transaction is open, or was when the connection was lost.
 */
bool sl_postgresql_in_transaction(const struct sl_store_postgresql *store);

/**
 * Take a result: free it and return 0 if it is of the kind `wanted` (PGRES_COMMAND_OK also takes
 * PGRES_TUPLES_OK), else fail, noting what that did to the open transaction.
 */
int sl_postgresql_check(struct sl_store_postgresql *store, const PGresult *result,
    bool was_in_transaction, const char *what, bool is_theirs, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Run statements without parameters or results, as they stand.
 */
int sl_postgresql_exec(struct sl_store_postgresql *store, const char *sql, const char *what,
    struct sluice_error *error) __attribute__((warn_unused_result));

/* postgresql_wait.c: what waits in libpq; on a fiber (base/fiber.h) it holds up no loop */

/* The parameters of a prepared statement, as PQexecPrepared takes them. */
struct sl_postgresql_arguments {
    int count;
    const char *const *values;
    const int *sizes;
    const int *formats;
};

/**
 * PQexec. An interrupt of the fiber cancels the statement, here and below.
 */
PGresult *sl_postgresql_query(struct sl_store_postgresql *store, const char *sql);

/**
 * PQprepare.
 */
PGresult *sl_postgresql_prepare(struct sl_store_postgresql *store, const char *name,
    const char *sql, int type_count, const Oid *types);

/**
 * PQexecPrepared.
 */
PGresult *sl_postgresql_execute(struct sl_store_postgresql *store, const char *name,
    const struct sl_postgresql_arguments *arguments, int result_format);

/**
 * PQconnectdbParams. An interrupt of the fiber gives up; so does connect_timeout. Only the look-up
 * of a host's name blocks.
 */
PGconn *sl_postgresql_connect_by(const char *const *names, const char *const *values);

/**
 * Let some time pass, or less.
 */
void sl_postgresql_pause(int duration_ms);

/* postgresql_run.c */

/* Parameters of a statement of the store's own, in the binary format. */
struct sl_postgresql_parameters {
    const Oid *types;
    const char *const *values;
    const int *sizes;
    size_t count;
};

/**
 * See sl_sql_run.
 */
int sl_postgresql_run_sql(
    struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error);

/**
 * Run a literal with binary parameters for a binary result, prepared once. NULL on failure; else
 * the caller's, to PQclear.
 */
PGresult *sl_postgresql_fetch(struct sl_store_postgresql *store, const char *sql, const char *what,
    const struct sl_postgresql_parameters *parameters, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Forget what is prepared; for a new connection.
 */
void sl_postgresql_forget_statements(struct sl_store_postgresql *store);

/**
 * A number in network byte order, as binary parameters and columns have it.
 */
void sl_postgresql_put_int64(char ret_bytes[8], int64_t number);

/**
 * The number in eight bytes in network byte order.
 */
int64_t sl_postgresql_get_int64(const char *bytes);

/* postgresql_schema.c */

/**
 * Make, upgrade or check the tables, and read the identity.
 */
int sl_postgresql_check_tables(struct sl_store_postgresql *store, enum sl_store_mode mode,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * See sl_store_renew_id.
 */
int sl_postgresql_renew_id(struct sl_store *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The SQL of the tables. Constant.
 */
const char *sl_store_postgresql_schema(void);

/* postgresql_commit.c */

/** See store/store.h. */
int sl_postgresql_begin(struct sl_store *store, struct sluice_error *error);
/** See store/store.h. */
int sl_postgresql_commit(struct sl_store *store, struct sluice_error *error);
/** See store/store.h. */
void sl_postgresql_rollback(struct sl_store *store);

/* postgresql_outbox.c */

/** See store/store.h. */
int sl_postgresql_outbox_insert(
    struct sl_store *store, const struct sl_event *event, struct sluice_error *error);
/** See store/store.h. */
int sl_postgresql_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error);
/** See store/store.h. */
int sl_postgresql_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error);
/**
 * Fail if the tables were made in another cluster or database: then their ticks mean nothing here.
 */
int sl_postgresql_check_identity(const struct sl_store_postgresql *store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/* postgresql_reader.c */

/** See store/store.h. */
int sl_postgresql_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error);

/**
 * Forget the tick that is being read. Fine on a zeroed one.
 */
void sl_postgresql_forget_tick(struct sl_postgresql_tick *tick);

/* postgresql.c */

/**
 * See sl_store_open.
 */
int sl_store_postgresql_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * See sl_store_adopt_postgresql.
 */
int sl_store_postgresql_adopt(PGconn *connection, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/** See store/store.h. */
int sl_postgresql_inbox_begin_all(struct sl_store *base, const char *consumer,
    const struct sl_inbox_ids *ids, int64_t now_ms, bool *ret_is_new, struct sluice_error *error);

#endif
