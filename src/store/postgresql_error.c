/* What PostgreSQL's errors mean to a caller, and what a person can do. */
#include <stdio.h>

#include "base/error.h"
#include "store/postgresql.h"

struct cause {
    const char *sqlstate; /* the whole, or the class that it begins with */
    enum sluice_code code;
    enum sluice_reaction reaction;
    const char *hint;
};

/* The first that fits is taken. */
static const struct cause causes[] = {
    {"08", SLUICE_UNAVAILABLE, SLUICE_RETRY, "the connection is lost; it is made again"},
    {"57P01", SLUICE_UNAVAILABLE, SLUICE_RETRY, "the server ended the connection"},
    {"57P02", SLUICE_UNAVAILABLE, SLUICE_RETRY, "the server crashed and starts again"},
    {"57P03", SLUICE_UNAVAILABLE, SLUICE_RETRY, "the server starts, stops or recovers"},
    {"57P05", SLUICE_UNAVAILABLE, SLUICE_RETRY, "the session was idle for too long"},
    {"57014", SLUICE_CANCELLED, SLUICE_RETRY, "somebody, or statement_timeout, asked for it"},
    {"53100", SLUICE_NO_SPACE, SLUICE_RETRY,
        "free some space on the server's disk, then it goes on"},
    {"53200", SLUICE_NO_MEMORY, SLUICE_RETRY, "the server's memory has run out"},
    {"53300", SLUICE_UNAVAILABLE, SLUICE_RETRY,
        "the server has no connection left: raise max_connections, or close some"},
    {"53", SLUICE_UNAVAILABLE, SLUICE_RETRY, "the server lacks something"},
    {"40", SLUICE_CONFLICT, SLUICE_RETRY, "another transaction was in the way; do it again"},
    {"55P03", SLUICE_BUSY, SLUICE_RETRY, "another transaction holds the lock"},
    {"23", SLUICE_CONSTRAINT, SLUICE_REJECT, "a constraint of the table refuses it"},
    {"25006", SLUICE_READ_ONLY, SLUICE_RETRY,
        "the server is a standby, or writes are forbidden: connect to the primary, for example "
        "with target_session_attrs=read-write in the URL"},
    {"42501", SLUICE_READ_ONLY, SLUICE_FATAL,
        "grant this role the right, or connect as another (the SQL of `sluice init --print` says "
        "which rights are needed)"},
    {"3D000", SLUICE_UNAVAILABLE, SLUICE_FATAL, "create the database, or check the URL"},
    {"28", SLUICE_UNAVAILABLE, SLUICE_FATAL, "check user and password"},
    {"3F000", SLUICE_NO_SCHEMA, SLUICE_FATAL, "create sluice's tables with `sluice init`"},
    {"42P01", SLUICE_NO_SCHEMA, SLUICE_FATAL, "create sluice's tables with `sluice init`"},
    {"54", SLUICE_TOO_LARGE, SLUICE_REJECT, "a limit of PostgreSQL is exceeded"},
    {"22", SLUICE_INVALID, SLUICE_REJECT, "a value does not fit"},
    {"0A", SLUICE_UNSUPPORTED, SLUICE_FATAL, "this server does not do that"},
    {"58", SLUICE_IO, SLUICE_RETRY, "the server's disk or system reported an error"},
    {"XX00", SLUICE_CORRUPT, SLUICE_FATAL, "see the server's log, and restore a backup"},
};

/* What libpq says while it connects has no SQLSTATE. */
static const struct {
    const char *part;
    struct cause cause;
} connect_causes[] = {
    {"password authentication failed",
        {"28P01", SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "check user and password (in the URL, PGPASSWORD or ~/.pgpass)"}},
    {"no password supplied",
        {"28P01", SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "give the password in the URL, PGPASSWORD or ~/.pgpass"}},
    {"no pg_hba.conf entry",
        {"28000", SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "let this host, user and database in by the server's pg_hba.conf"}},
    {"authentication failed",
        {"28000", SLUICE_UNAVAILABLE, SLUICE_FATAL, "check user and pg_hba.conf"}},
    {"role \"", {"28000", SLUICE_UNAVAILABLE, SLUICE_FATAL, "create the role, or check the URL"}},
    {"database \"",
        {"3D000", SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "create it with CREATE DATABASE, or check the URL"}},
    {"session is read-only",
        {"25006", SLUICE_READ_ONLY, SLUICE_RETRY, "no primary among the hosts of the URL"}},
    {"too many clients",
        {"53300", SLUICE_UNAVAILABLE, SLUICE_RETRY, "raise max_connections, or close some"}},
    {"out of memory", {"", SLUICE_NO_MEMORY, SLUICE_RETRY, "memory has run out"}},
};

static const struct cause *cause_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (strncmp(sqlstate, causes[i].sqlstate, strlen(causes[i].sqlstate)) == 0) {
            return &causes[i];
        }
    }
    return NULL;
}

static const struct cause *cause_of_connecting(const char *text)
{
    static const struct cause away = {"08001", SLUICE_UNAVAILABLE, SLUICE_RETRY,
        "check that the server runs and the URL is right; it is tried again"};
    for (size_t i = 0; i < sizeof(connect_causes) / sizeof(connect_causes[0]); i++) {
        if (strstr(text, connect_causes[i].part) != NULL) {
            return &connect_causes[i].cause;
        }
    }
    return &away;
}

/* libpq's texts have several lines; the first with a word in it says what happened. */
static void copy_first_line(const char *text, char *ret_line, size_t size)
{
    text += strspn(text, " \t\r\n");
    snprintf(ret_line, size, "%.*s", (int) strcspn(text, "\r\n"), text);
}

static void set_sqlstate(struct sluice_error *error, const char *sqlstate)
{
    if (error != NULL) {
        snprintf(error->sqlstate, sizeof(error->sqlstate), "%s", sqlstate);
    }
}

static int fail_connection(
    const struct sl_store_postgresql *store, const char *what, struct sluice_error *error)
{
    char detail[300];
    const char *text = PQerrorMessage(store->connection);
    copy_first_line(text, detail, sizeof(detail));
    const struct cause *cause = cause_of_connecting(text);
    bool is_connect = strcmp(what, "cannot connect to") == 0;
    sl_fail(error, cause->code, cause->reaction, "%s%s %s: %s; %s", what, is_connect ? "" : " in",
        store->name, detail[0] == '\0' ? "no answer" : detail,
        is_connect ? cause->hint : "the server or the network went away; a new connection is made");
    set_sqlstate(error, cause->sqlstate);
    return -1;
}

int sl_postgresql_fail(const struct sl_store_postgresql *store, const PGresult *result,
    const char *what, bool is_theirs, struct sluice_error *error)
{
    const char *sqlstate = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate == NULL) {
        return fail_connection(store, what, error);
    }
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const struct cause *cause = cause_of(sqlstate);
    if (strcmp(sqlstate, "25P02") == 0 && store->cause.code != SLUICE_OK) {
        sl_fail(error, store->cause.code, store->cause.reaction,
            "%s: an earlier statement of this transaction failed, so it can only be rolled back "
            "(%.300s)",
            what, store->cause.text);
    } else if (is_theirs && (strncmp(sqlstate, "42", 2) == 0 || strncmp(sqlstate, "3F", 2) == 0) &&
        strcmp(sqlstate, "42501") != 0) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "%s: %s", what, primary);
    } else if (cause == NULL) {
        sl_fail(error, SLUICE_INTERNAL, SLUICE_FATAL, "%s in %s: %s (%s)", what, store->name,
            primary, sqlstate);
    } else {
        sl_fail(error, cause->code, cause->reaction, "%s in %s: %s; %s", what, store->name, primary,
            cause->hint);
    }
    set_sqlstate(error, sqlstate);
    return -1;
}
