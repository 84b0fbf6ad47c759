/* Begin, commit, roll back; and what became of a commit whose answer never came. */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "store/postgresql.h"

/* How often it is asked what became of a commit. */
enum { OUTCOME_INTERVAL_MS = 50 };

static void end(struct sl_store_postgresql *store)
{
    store->is_lost = false;
    store->is_begun = false;
    store->xid = 0;
    store->cause.code = SLUICE_OK;
}

int sl_postgresql_begin(struct sl_store *base, struct sluice_error *error)
{
    static const char what[] = "cannot begin a transaction";
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    int status = sl_postgresql_exec(store, "BEGIN", what, error);
    if (status != 0 && !store->is_adopted && PQstatus(store->connection) != CONNECTION_OK) {
        /* It was lost while it was idle; nothing was done on it, so a new one is as good. */
        status = sl_postgresql_exec(store, "BEGIN", what, error);
    }
    if (status == 0) {
        end(store);
        store->is_begun = true;
    }
    return status;
}

/* The transaction's id, if it has written anything; 0 if not. */
static int ask_xid(struct sl_store_postgresql *store, struct sluice_error *error)
{
    bool was_in_transaction = sl_postgresql_in_transaction(store);
    PGresult *result = sl_postgresql_query(store, "SELECT pg_current_xact_id_if_assigned()");
    int status =
        sl_postgresql_check(store, result, was_in_transaction, "cannot commit", false, error);
    store->xid = 0;
    if (status == 0 && !PQgetisnull(result, 0, 0)) {
        sl_parse_i64(sl_text_of(PQgetvalue(result, 0, 0)), &store->xid);
    }
    PQclear(result);
    return status;
}

enum outcome { COMMITTED, ABORTED, IN_PROGRESS, UNKNOWN };

/* Ask the same server, by a new connection, what became of the transaction. */
static enum outcome ask_outcome(struct sl_store_postgresql *store, int64_t xid)
{
    char identity[sizeof(store->identity)];
    char timeline[sizeof(store->timeline)];
    char sql[80];
    memcpy(identity, store->identity, sizeof(identity));
    memcpy(timeline, store->timeline, sizeof(timeline));
    struct sluice_error error = {.code = SLUICE_OK};
    if (sl_postgresql_connect(store, &error) != 0) {
        return error.reaction == SLUICE_RETRY ? IN_PROGRESS : UNKNOWN;
    }
    /* Another cluster or timeline has transactions of its own under the same numbers. */
    if (strcmp(identity, store->identity) != 0 || strcmp(timeline, store->timeline) != 0) {
        return UNKNOWN;
    }
    snprintf(sql, sizeof(sql), "SELECT pg_xact_status('%lld'::xid8)", (long long) xid);
    PGresult *result = sl_postgresql_query(store, sql);
    const char *answer = PQresultStatus(result) != PGRES_TUPLES_OK ? "" : PQgetvalue(result, 0, 0);
    enum outcome outcome = strcmp(answer, "committed") == 0 ? COMMITTED
        : strcmp(answer, "aborted") == 0                    ? ABORTED
        : strcmp(answer, "in progress") == 0                ? IN_PROGRESS
                                                            : UNKNOWN;
    PQclear(result);
    return outcome;
}

static int resolve(struct sl_store_postgresql *store, int64_t xid, struct sluice_error *error)
{
    enum outcome outcome = UNKNOWN;
    int64_t deadline_ms = sl_clock_monotonic_ms() + SL_POSTGRESQL_WAIT_MS;
    while (!store->is_adopted) {
        outcome = ask_outcome(store, xid);
        if (outcome != IN_PROGRESS || sl_clock_monotonic_ms() >= deadline_ms) {
            break;
        }
        sl_postgresql_pause(OUTCOME_INTERVAL_MS);
    }
    if (outcome == COMMITTED) {
        return 0;
    }
    if (outcome == ABORTED) {
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
            "the connection to %s was lost at COMMIT, and the server says that the transaction was "
            "rolled back; do it again",
            store->name);
    }
    return sl_fail(error, SLUICE_OUTCOME_UNKNOWN, SLUICE_RETRY,
        "the connection to %s was lost at COMMIT, and nobody can say whether transaction %lld was "
        "committed; look for its data before you do it again",
        store->name, (long long) xid);
}

static int commit_open(struct sl_store_postgresql *store, struct sluice_error *error)
{
    if ((!store->is_begun || store->xid == 0) && ask_xid(store, error) != 0) {
        sl_postgresql_rollback(&store->base);
        return -1;
    }
    int64_t xid = store->xid;
    PGresult *result = sl_postgresql_query(store, "COMMIT");
    struct sluice_error failure = {.code = SLUICE_OK};
    int status = sl_postgresql_check(store, result, true, "cannot commit", false, &failure);
    if (status == 0 && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        status = sl_fail(&failure, SLUICE_CONFLICT, SLUICE_RETRY,
            "%s rolled the transaction back instead of committing it: a statement in it had failed",
            store->name);
    }
    PQclear(result);
    bool is_lost = store->is_lost;
    sl_postgresql_rollback(&store->base);
    if (status != 0 && is_lost && xid != 0) {
        return resolve(store, xid, error);
    }
    if (status != 0 && error != NULL) {
        *error = failure;
    }
    return status;
}

int sl_postgresql_commit(struct sl_store *base, struct sluice_error *error)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    if (store->is_lost || PQtransactionStatus(store->connection) == PQTRANS_INERROR) {
        struct sluice_error cause = store->cause;
        sl_postgresql_rollback(base);
        if (cause.code == SLUICE_OK) {
            return sl_fail(error, SLUICE_CONFLICT, SLUICE_RETRY,
                "cannot commit: a statement of the transaction has failed, so it was rolled back");
        }
        return sl_fail(error, cause.code, cause.reaction,
            "cannot commit: a statement of the transaction has failed, so it was rolled back "
            "(%.300s)",
            cause.text);
    }
    return commit_open(store, error);
}

void sl_postgresql_rollback(struct sl_store *base)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    if (!store->is_lost && sl_postgresql_in_transaction(store)) {
        PQclear(sl_postgresql_query(store, "ROLLBACK"));
    }
    end(store);
}
