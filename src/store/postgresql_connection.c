/* A PostgreSQL connection: made, lost, made again. */
#include <stdio.h>

#include "base/error.h"
#include "base/random.h"
#include "store/postgresql.h"

static void ignore_notice(void *context, const PGresult *result)
{
    (void) context;
    (void) result;
}

/* A server that is gone is noticed in about ten seconds; what the URL says of it comes first. */
static PGconn *connect_to(const char *url)
{
    static const char *const names[] = {"connect_timeout", "keepalives", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout", "fallback_application_name",
        "dbname", "client_encoding", NULL};
    const char *const values[] = {"5", "1", "5", "2", "3", "10000", "sluice", url, "UTF8", NULL};
    return sl_postgresql_connect_by(names, values);
}

static void name_it(struct sl_store_postgresql *store)
{
    const char *host = PQhost(store->connection);
    const char *database = PQdb(store->connection);
    if (database != NULL) {
        snprintf(store->name, sizeof(store->name), "database '%.80s' on %.80s:%.8s", database,
            host == NULL || host[0] == '\0' ? "localhost" : host, PQport(store->connection));
    }
}

/* Which cluster and database this is, and whether it can be written. */
static int identify(struct sl_store_postgresql *store, struct sluice_error *error)
{
    static const char what[] = "cannot ask who the server is";
    if (PQserverVersion(store->connection) < 140000) {
        return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_FATAL,
            "%s is PostgreSQL %d; sluice needs 14 or newer", store->name,
            PQserverVersion(store->connection) / 10000);
    }
    bool was_in_transaction = sl_postgresql_in_transaction(store);
    PGresult *result = sl_postgresql_query(store,
        "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || oid,"
        " CASE WHEN pg_is_in_recovery() THEN ''"
        " ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END "
        "FROM pg_database WHERE datname = current_database()");
    int status = sl_postgresql_check(store, result, was_in_transaction, what, false, error);
    if (status == 0) {
        snprintf(store->identity, sizeof(store->identity), "%s", PQgetvalue(result, 0, 0));
        snprintf(store->timeline, sizeof(store->timeline), "%s", PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    if (status == 0 && store->timeline[0] == '\0') {
        return sl_fail(error, SLUICE_READ_ONLY, SLUICE_RETRY,
            "%s is a standby, which cannot be written: connect to the primary, for example with "
            "several hosts and target_session_attrs=read-write in the URL",
            store->name);
    }
    return status;
}

int sl_postgresql_connect(struct sl_store_postgresql *store, struct sluice_error *error)
{
    if (!store->is_adopted) {
        sl_postgresql_disconnect(store);
        store->connection = connect_to(store->url);
        if (store->connection == NULL) {
            return sl_fail_memory(error, "a connection");
        }
        PQsetNoticeReceiver(store->connection, ignore_notice, NULL);
    }
    name_it(store);
    if (PQstatus(store->connection) != CONNECTION_OK) {
        return sl_postgresql_fail(store, NULL, "cannot connect to", false, error);
    }
    store->base.postgresql = store->connection;
    store->cancel = PQgetCancel(store->connection);
    snprintf(store->prefix, sizeof(store->prefix), "sluice_%016llx",
        (unsigned long long) sl_random_u64());
    return identify(store, error);
}

int sl_postgresql_ensure(struct sl_store_postgresql *store, struct sluice_error *error)
{
    if (store->is_lost) {
        if (error != NULL) {
            *error = store->cause;
        }
        return -1;
    }
    if (PQstatus(store->connection) == CONNECTION_OK) {
        return 0;
    }
    if (store->is_adopted) {
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "the caller's connection to %s is lost; make a new one and adopt that", store->name);
    }
    char identity[sizeof(store->identity)];
    memcpy(identity, store->identity, sizeof(identity));
    if (sl_postgresql_connect(store, error) != 0) {
        /* Not half connected: the next call tries all of it again. */
        PQfinish(store->connection);
        store->connection = NULL;
        return -1;
    }
    store->is_foreign = store->is_foreign || strcmp(identity, store->identity) != 0;
    return 0;
}

void sl_postgresql_disconnect(struct sl_store_postgresql *store)
{
    sl_postgresql_forget_statements(store);
    PQfreeCancel(store->cancel);
    store->cancel = NULL;
    if (!store->is_adopted) {
        PQfinish(store->connection);
        store->connection = NULL;
        store->base.postgresql = NULL;
    }
}

bool sl_postgresql_in_transaction(const struct sl_store_postgresql *store)
{
    if (store->is_lost) {
        return true;
    }
    PGTransactionStatusType status = PQtransactionStatus(store->connection);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
}

int sl_postgresql_check(struct sl_store_postgresql *store, const PGresult *result,
    bool was_in_transaction, const char *what, bool is_theirs, struct sluice_error *error)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        if (PQtransactionStatus(store->connection) != PQTRANS_INERROR) {
            store->cause.code = SLUICE_OK;
        }
        return 0;
    }
    if (status == PGRES_EMPTY_QUERY) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "%s: the text is empty", what);
    }
    struct sluice_error failure = {.code = SLUICE_OK};
    if (PQstatus(store->connection) != CONNECTION_OK) {
        result = PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL ? NULL : result;
    }
    sl_postgresql_fail(store, result, what, is_theirs, &failure);
    store->was_forbidden = strcmp(failure.sqlstate, "25006") == 0;
    if (PQstatus(store->connection) != CONNECTION_OK) {
        store->is_lost = was_in_transaction;
        store->cause = failure;
    } else if (was_in_transaction && store->cause.code == SLUICE_OK) {
        store->cause = failure;
    }
    if (error != NULL) {
        *error = failure;
    }
    return -1;
}

int sl_postgresql_exec(struct sl_store_postgresql *store, const char *sql, const char *what,
    struct sluice_error *error)
{
    if (sl_postgresql_ensure(store, error) != 0) {
        return -1;
    }
    bool was_in_transaction = sl_postgresql_in_transaction(store);
    PGresult *result = sl_postgresql_query(store, sql);
    int status = sl_postgresql_check(store, result, was_in_transaction, what, false, error);
    PQclear(result);
    return status;
}
