/*
 * store/mariadb.h - the MariaDB store's own parts: opening it, and what its files share.
 *
 * Whether a transaction is open is asked from the flags that the server sends with each answer, so
 * that one begun by SQL counts. An error carries no flags: after one the server is asked.
 */
#ifndef SL_STORE_MARIADB_H
#define SL_STORE_MARIADB_H

#include <mysql.h>
#include <stdatomic.h>

#include "base/buffer.h"
#include "store/ops.h"
#include "store/sql.h"

enum {
    SL_MARIADB_STATEMENTS_MAX = 96, /* prepared on a connection; the one unused for longest goes */
    SL_MARIADB_LOCK_WAIT_S = 5
};

/* What a URL says. The texts are in one block of memory that starts at `memory`. */
struct sl_mariadb_url {
    char *memory;
    const char *host;
    const char *user;
    const char *password; /* NULL: none */
    const char *database;
    const char *socket; /* NULL: by TCP */
    const char *tls_ca; /* NULL: the system's */
    const char *shown;  /* the URL without the password, for messages */
    unsigned int port;
    unsigned int connect_timeout_s;
    unsigned int read_timeout_s;
    unsigned int write_timeout_s;
    bool is_tls;
    bool is_tls_verified;
};

struct sl_mariadb_column {
    char *data;
    size_t capacity;
    unsigned long size;
    my_bool is_null;
    int64_t integer;
};

struct sl_mariadb_statement {
    const char *text; /* ours: compared by its address; theirs: a copy */
    bool is_theirs;
    MYSQL_STMT *handle;
    unsigned char order[SLUICE_VALUES_MAX * 4]; /* of each ?: its value's index */
    size_t order_count;
    struct sl_mariadb_column *columns;
    size_t column_count;
    uint64_t used_at;
};

struct sl_store_mariadb {
    struct sl_store base;
    MYSQL *handle;             /* `own`, or the caller's */
    MYSQL own;                 /* at one place, however often it is connected anew */
    struct sl_mariadb_url url; /* zero if the connection is the caller's */
    bool is_lost;              /* the connection is gone; the next use makes another */
    bool is_gone;              /* so is the transaction that was open: `gone` says why */
    bool is_theirs;            /* the statement in hand is the user's */
    bool was_read_only;        /* before writes were forbidden */
    struct sluice_error gone;  /* refuses what comes before the caller rolls back */
    unsigned int last_number;  /* the error of the last statement, or 0 */
    atomic_ulong thread_id;    /* the server's name for the connection */
    int64_t used_ms;           /* when it was last used, by the monotonic clock */
    uint64_t packet_size_max;  /* what the server takes */
    int64_t marker;            /* an outbox row of the open transaction, or 0 */
    char marker_id[SLUICE_EVENT_ID_SIZE];
    size_t row_size;       /* of the rows read last, on average */
    struct sl_buffer text; /* of the statement in hand */
    struct sl_mariadb_statement statements[SL_MARIADB_STATEMENTS_MAX];
    size_t statement_count;
    uint64_t use_count;
};

/* mariadb.c */

/**
 * See sl_store_open.
 */
int sl_store_mariadb_open(const char *url, enum sl_store_mode mode, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * See sl_store_adopt_mariadb.
 */
int sl_store_mariadb_adopt(struct st_mysql *handle, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/* mariadb_url.c */

/**
 * Whether the text begins as a MariaDB URL: "mariadb://" or "mysql://".
 */
bool sl_mariadb_is_url(const char *text);

/**
 * Take a URL apart. SLUICE_INVALID names what is wrong and shows no password. On success the result
 * is the caller's to sl_mariadb_url_deinit.
 */
int sl_mariadb_url_parse(const char *text, struct sl_mariadb_url *ret_url,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Free it; fine on a zeroed one.
 */
void sl_mariadb_url_deinit(struct sl_mariadb_url *url);

/* mariadb_connection.c */

/**
 * Connect `handle` (initialized here) as the URL says. On failure it is closed.
 */
int sl_mariadb_connect_handle(MYSQL *handle, const struct sl_mariadb_url *url,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Connect the store's own connection, in place of a lost one, and set the session up.
 */
int sl_mariadb_connect(struct sl_store_mariadb *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Make sure that there is a connection to use: a lost one is replaced, unless a transaction went
 * with it that the caller has not rolled back.
 */
int sl_mariadb_need(struct sl_store_mariadb *store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Run a statement as it is, without parameters and rows.
 */
int sl_mariadb_command(struct sl_store_mariadb *store, const char *text, size_t size,
    const char *what, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Whether a transaction is open, also one that was begun by SQL, or by leaving autocommit off.
 */
bool sl_mariadb_in_transaction(struct sl_store_mariadb *store);

/**
 * The URL to show, or "the caller's connection".
 */
const char *sl_mariadb_name(const struct sl_store_mariadb *store);

/* mariadb_error.c */

/**
 * Report an error of the server or the client library and return -1. `prefix` says what failed, and
 * where. In a statement of theirs, the user's, a missing table is the statement's fault.
 */
int sl_mariadb_report(unsigned int number, const char *state, const char *message,
    const char *prefix, bool is_theirs, struct sluice_error *error);

/**
 * After a failed call on the store's connection: as sl_mariadb_report, and find out whether the
 * connection or the open transaction went with it. `statement` may be NULL.
 */
int sl_mariadb_fail(struct sl_store_mariadb *store, MYSQL_STMT *statement, bool was_in_transaction,
    const char *what, struct sluice_error *error);

/**
 * Whether the error means that the connection is gone.
 */
bool sl_mariadb_is_loss(unsigned int number);

/* mariadb_run.c */

/**
 * See sl_sql_run.
 */
int sl_mariadb_run(struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error);

/**
 * Close the prepared statements: they belong to a connection.
 */
void sl_mariadb_forget_statements(struct sl_store_mariadb *store);

/* mariadb_schema.c */

/**
 * The SQL of the tables. Constant.
 */
const char *sl_store_mariadb_schema(void);

/**
 * Check the tables, and create or upgrade them if `mode` says so; read the database's identity.
 */
int sl_mariadb_check_tables(struct sl_store_mariadb *store, enum sl_store_mode mode,
    struct sluice_error *error) __attribute__((warn_unused_result));

/** See store/store.h. */
int sl_mariadb_renew_id(struct sl_store *store, struct sluice_error *error);

/* mariadb_outbox.c and mariadb_claim.c */

/** See store/store.h. */
int sl_mariadb_outbox_insert(
    struct sl_store *store, const struct sl_event *event, struct sluice_error *error);
/** See store/store.h. */
int sl_mariadb_outbox_read(struct sl_store *store, struct sl_position position, size_t count_max,
    size_t size_max, struct sl_outbox_batch *batch, struct sluice_error *error);
/** See store/store.h. */
int sl_mariadb_outbox_state(
    struct sl_store *store, struct sl_outbox_state *ret_state, struct sluice_error *error);
/** See store/store.h. */
int sl_mariadb_outbox_retain(struct sl_store *store, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error);

/**
 * Give the committed rows that have no tick yet the next one, at most 10,000 of them.
 * `*ret_is_claimed` is false if there were none.
 */
int sl_mariadb_claim(struct sl_store_mariadb *store, bool *ret_is_claimed,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Whether the outbox row of the marker is there, once no transaction holds it any more: what
 * became of a COMMIT whose answer was lost. On a new connection.
 */
int sl_mariadb_find_marker(struct sl_store_mariadb *store, bool *ret_is_there,
    struct sluice_error *error) __attribute__((warn_unused_result));

#endif
