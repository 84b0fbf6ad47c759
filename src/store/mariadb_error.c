/* What the server's and the client library's error numbers mean for the caller. */
#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>

#include "base/error.h"
#include "store/mariadb.h"

#define HINT_AWAY "check that the server runs and the URL is right; it is tried again"
#define HINT_RIGHTS                                                                                \
    "grant the user what it needs: SELECT, INSERT, UPDATE, DELETE and EXECUTE, and for `sluice "   \
    "init` also CREATE, ALTER, INDEX, CREATE VIEW, CREATE ROUTINE and ALTER ROUTINE"
#define HINT_CONSTRAINT "the row breaks a rule of its table"
#define HINT_SPACE "make room on the server's disk"

struct cause {
    unsigned int number;
    enum sluice_code code;
    enum sluice_reaction reaction;
    const char *hint;
};

static const struct cause causes[] = {
    {CR_CONNECTION_ERROR, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {CR_CONN_HOST_ERROR, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {CR_UNKNOWN_HOST, SLUICE_UNAVAILABLE, SLUICE_RETRY, "check the host's name"},
    {CR_SERVER_GONE_ERROR, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {CR_SERVER_LOST, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {CR_SERVER_LOST_EXTENDED, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {CR_SSL_CONNECTION_ERROR, SLUICE_UNAVAILABLE, SLUICE_RETRY, "check tls and tls_ca of the URL"},
    {ER_CON_COUNT_ERROR, SLUICE_UNAVAILABLE, SLUICE_RETRY, "raise max_connections"},
    {ER_USER_LIMIT_REACHED, SLUICE_UNAVAILABLE, SLUICE_RETRY, "raise the user's limit"},
    {ER_TOO_MANY_USER_CONNECTIONS, SLUICE_UNAVAILABLE, SLUICE_RETRY, "raise the user's limit"},
    {ER_HOST_IS_BLOCKED, SLUICE_UNAVAILABLE, SLUICE_RETRY, "run FLUSH HOSTS on the server"},
    {ER_SERVER_SHUTDOWN, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {ER_CONNECTION_KILLED, SLUICE_UNAVAILABLE, SLUICE_RETRY, "somebody ended the connection"},
    {ER_NORMAL_SHUTDOWN, SLUICE_UNAVAILABLE, SLUICE_RETRY, HINT_AWAY},
    {ER_ACCESS_DENIED_ERROR, SLUICE_UNAVAILABLE, SLUICE_FATAL, "check user and password"},
    {ER_ACCESS_DENIED_NO_PASSWORD_ERROR, SLUICE_UNAVAILABLE, SLUICE_FATAL,
        "check user and password"},
    {ER_BAD_DB_ERROR, SLUICE_UNAVAILABLE, SLUICE_FATAL,
        "check the name, or make it with CREATE DATABASE"},
    {ER_DBACCESS_DENIED_ERROR, SLUICE_READ_ONLY, SLUICE_FATAL, HINT_RIGHTS},
    {ER_TABLEACCESS_DENIED_ERROR, SLUICE_READ_ONLY, SLUICE_FATAL, HINT_RIGHTS},
    {ER_COLUMNACCESS_DENIED_ERROR, SLUICE_READ_ONLY, SLUICE_FATAL, HINT_RIGHTS},
    {ER_PROCACCESS_DENIED_ERROR, SLUICE_READ_ONLY, SLUICE_FATAL, HINT_RIGHTS},
    {ER_SPECIFIC_ACCESS_DENIED_ERROR, SLUICE_READ_ONLY, SLUICE_FATAL, HINT_RIGHTS},
    {ER_BINLOG_CREATE_ROUTINE_NEED_SUPER, SLUICE_READ_ONLY, SLUICE_FATAL,
        "set log_bin_trust_function_creators=1 on the server, which writes a binary log"},
    {ER_BINLOG_UNSAFE_ROUTINE, SLUICE_READ_ONLY, SLUICE_FATAL,
        "set log_bin_trust_function_creators=1 on the server, which writes a binary log"},
    {ER_BINLOG_STMT_MODE_AND_ROW_ENGINE, SLUICE_UNSUPPORTED, SLUICE_FATAL,
        "set binlog_format to MIXED or ROW on the server"},
    {ER_OPTION_PREVENTS_STATEMENT, SLUICE_READ_ONLY, SLUICE_RETRY,
        "the server is read-only, as a replica is; name the primary"},
    {ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, SLUICE_READ_ONLY, SLUICE_REJECT,
        "writes are not allowed here"},
    {ER_OPEN_AS_READONLY, SLUICE_READ_ONLY, SLUICE_FATAL, "the table is read-only"},
    {ER_NO_SUCH_TABLE, SLUICE_NO_SCHEMA, SLUICE_FATAL, "create it with: sluice init"},
    {ER_SP_DOES_NOT_EXIST, SLUICE_NO_SCHEMA, SLUICE_FATAL, "create it with: sluice init"},
    {ER_BAD_FIELD_ERROR, SLUICE_NO_SCHEMA, SLUICE_FATAL,
        "the tables were changed by hand: restore them"},
    {ER_LOCK_WAIT_TIMEOUT, SLUICE_BUSY, SLUICE_RETRY,
        "another connection holds the lock for too long; try again"},
    {ER_LOCK_DEADLOCK, SLUICE_CONFLICT, SLUICE_RETRY, "begin the transaction again"},
    {ER_CHECKREAD, SLUICE_CONFLICT, SLUICE_RETRY, "begin the transaction again"},
    {ER_TABLE_DEF_CHANGED, SLUICE_CONFLICT, SLUICE_RETRY, "begin the transaction again"},
    {ER_QUERY_INTERRUPTED, SLUICE_CANCELLED, SLUICE_RETRY, "somebody asked for it"},
    {ER_STATEMENT_TIMEOUT, SLUICE_BUSY, SLUICE_RETRY, "the server's max_statement_time is over"},
    {ER_DUP_ENTRY, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_DUP_ENTRY_WITH_KEY_NAME, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_BAD_NULL_ERROR, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_NO_REFERENCED_ROW, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_ROW_IS_REFERENCED, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_NO_REFERENCED_ROW_2, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_ROW_IS_REFERENCED_2, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_CONSTRAINT_FAILED, SLUICE_CONSTRAINT, SLUICE_REJECT, HINT_CONSTRAINT},
    {ER_NET_PACKET_TOO_LARGE, SLUICE_TOO_LARGE, SLUICE_REJECT,
        "raise max_allowed_packet on the server"},
    {CR_NET_PACKET_TOO_LARGE, SLUICE_TOO_LARGE, SLUICE_REJECT,
        "raise max_allowed_packet on the server"},
    {ER_DISK_FULL, SLUICE_NO_SPACE, SLUICE_RETRY, HINT_SPACE},
    {ER_RECORD_FILE_FULL, SLUICE_NO_SPACE, SLUICE_RETRY, HINT_SPACE},
    {ER_ERROR_ON_WRITE, SLUICE_NO_SPACE, SLUICE_RETRY, HINT_SPACE},
    {ER_OUTOFMEMORY, SLUICE_NO_MEMORY, SLUICE_RETRY, "the server is out of memory"},
    {ER_OUT_OF_RESOURCES, SLUICE_NO_MEMORY, SLUICE_RETRY, "the server is out of memory"},
    {CR_OUT_OF_MEMORY, SLUICE_NO_MEMORY, SLUICE_RETRY, "there is no memory left"},
    {ER_ERROR_DURING_COMMIT, SLUICE_IO, SLUICE_RETRY, "the server's log says why"},
    {ER_GET_ERRNO, SLUICE_IO, SLUICE_RETRY, "the server's log says why"},
    {ER_MAX_PREPARED_STMT_COUNT_REACHED, SLUICE_UNAVAILABLE, SLUICE_RETRY,
        "raise max_prepared_stmt_count"},
    {ER_UNKNOWN_STMT_HANDLER, SLUICE_CONFLICT, SLUICE_RETRY, "try again"},
};

static const struct cause *find_cause(unsigned int number)
{
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (causes[i].number == number) {
            return &causes[i];
        }
    }
    return NULL;
}

bool sl_mariadb_is_loss(unsigned int number)
{
    switch (number) {
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_SERVER_LOST_EXTENDED:
    case CR_SSL_CONNECTION_ERROR:
    case CR_MALFORMED_PACKET:
    case ER_SERVER_SHUTDOWN:
    case ER_CONNECTION_KILLED:
    case ER_NORMAL_SHUTDOWN:
    case ER_NET_PACKET_TOO_LARGE: /* the server hangs up after it */
        return true;
    default:
        return false;
    }
}

int sl_mariadb_report(unsigned int number, const char *state, const char *message,
    const char *prefix, bool is_theirs, struct sluice_error *error)
{
    const struct cause *cause = find_cause(number);
    if (cause != NULL && !(is_theirs && cause->code == SLUICE_NO_SCHEMA)) {
        sl_fail(
            error, cause->code, cause->reaction, "%s: %.250s; %s", prefix, message, cause->hint);
    } else {
        /* What is wrong with a statement (class 42 and 22, 45 by SIGNAL) will be wrong again. */
        bool is_callers = strncmp(state, "42", 2) == 0 || strncmp(state, "22", 2) == 0 ||
            strncmp(state, "45", 2) == 0;
        sl_fail(error, is_callers ? SLUICE_INVALID : SLUICE_IO,
            is_callers ? SLUICE_REJECT : SLUICE_RETRY, "%s: %.350s (error %u)", prefix, message,
            number);
    }
    if (error != NULL) {
        error->library_code = (int) number;
        snprintf(error->sqlstate, sizeof(error->sqlstate), "%s", state);
    }
    return -1;
}

/* The transaction is gone without the caller's doing: nothing may commit by itself from here on. */
static void note_gone(struct sl_store_mariadb *store, const struct sluice_error *reason)
{
    store->is_gone = true;
    store->marker = 0;
    store->gone = *reason;
    store->gone.reaction = SLUICE_RETRY;
    if (reason->code == SLUICE_TOO_LARGE) {
        store->gone.code = SLUICE_UNAVAILABLE; /* the next statement is not too large */
    }
}

int sl_mariadb_fail(struct sl_store_mariadb *store, MYSQL_STMT *statement, bool was_in_transaction,
    const char *what, struct sluice_error *error)
{
    struct sluice_error own = {0};
    char prefix[SLUICE_ERROR_TEXT_SIZE];
    bool is_stmt = statement != NULL;
    unsigned int number = is_stmt ? mysql_stmt_errno(statement) : mysql_errno(store->handle);
    snprintf(prefix, sizeof(prefix), "%s%s%s", what, store->is_theirs ? "" : " in ",
        store->is_theirs ? "" : sl_mariadb_name(store));
    sl_mariadb_report(number,
        is_stmt ? mysql_stmt_sqlstate(statement) : mysql_sqlstate(store->handle),
        is_stmt ? mysql_stmt_error(statement) : mysql_error(store->handle), prefix,
        store->is_theirs, &own);
    store->last_number = number;
    if (sl_mariadb_is_loss(number)) {
        store->is_lost = true;
    }
    if (was_in_transaction && !sl_mariadb_in_transaction(store)) {
        note_gone(store, &own);
    }
    if (error != NULL) {
        *error = own;
    }
    return -1;
}
