#include "sqlite/connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

/*
 * SQLite's own busy handler backs off to 100 ms, which is most of what an event's whole way may
 * take. Commits here last well under a millisecond, so a short, steady wait loses less.
 */
static int wait_for_lock(void *context, int count)
{
    (void) context;
    struct timespec delay = {.tv_nsec = count < 20 ? 250000 : 1000000};
    if (count > SL_SQLITE_BUSY_TIMEOUT_MS + 15) {
        return 0;
    }
    nanosleep(&delay, NULL);
    return 1;
}

struct cause {
    int result; /* SQLite's primary result code */
    enum sluice_code code;
    enum sluice_reaction reaction;
    const char *hint;
};

static const struct cause causes[] = {
    {SQLITE_BUSY, SLUICE_BUSY, SLUICE_RETRY,
        "another connection has kept it locked for 5 s: end the transaction that is open there, "
        "then it goes on"},
    {SQLITE_LOCKED, SLUICE_BUSY, SLUICE_RETRY, "a statement of this connection is still open"},
    {SQLITE_FULL, SLUICE_NO_SPACE, SLUICE_RETRY, "free some space on that disk, then it goes on"},
    {SQLITE_CORRUPT, SLUICE_CORRUPT, SLUICE_FATAL,
        "the file is damaged: stop its writers, keep a copy, and restore a backup or try "
        "`sqlite3 FILE .recover`"},
    {SQLITE_NOTADB, SLUICE_CORRUPT, SLUICE_FATAL,
        "the file is no SQLite database: check the path, or restore a backup"},
    {SQLITE_READONLY, SLUICE_READ_ONLY, SLUICE_FATAL,
        "give this user the right to write the file and its folder"},
    {SQLITE_PERM, SLUICE_READ_ONLY, SLUICE_FATAL, "give this user the right to the file"},
    {SQLITE_CANTOPEN, SLUICE_UNAVAILABLE, SLUICE_FATAL,
        "check that the folder exists and that this user may read and write it"},
    {SQLITE_IOERR, SLUICE_IO, SLUICE_RETRY,
        "the disk reported an error or is full; nothing was written"},
    {SQLITE_NOMEM, SLUICE_NO_MEMORY, SLUICE_RETRY, "memory has run out"},
    {SQLITE_TOOBIG, SLUICE_TOO_LARGE, SLUICE_REJECT, "a value is larger than SQLite takes"},
    {SQLITE_INTERRUPT, SLUICE_CANCELLED, SLUICE_RETRY, "somebody asked for it"},
    {SQLITE_CONSTRAINT, SLUICE_CONSTRAINT, SLUICE_REJECT, "a constraint of the table refuses it"},
};

int sl_sqlite_fail(
    const struct sl_sqlite *sqlite, int result, const char *what, struct sluice_error *error)
{
    const struct cause *cause = NULL;
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (causes[i].result == (result & 0xff)) {
            cause = &causes[i];
        }
    }
    const char *name = sqlite->name == NULL ? "the caller's connection" : sqlite->name;
    /* A verdict of ours (a file that is only readable) is unknown to the handle. */
    bool is_ours = sqlite->handle == NULL || sqlite3_errcode(sqlite->handle) == SQLITE_OK;
    const char *detail = is_ours ? sqlite3_errstr(result) : sqlite3_errmsg(sqlite->handle);
    if (cause == NULL) {
        sl_fail(error, SLUICE_INTERNAL, SLUICE_FATAL, "%s in %s: %s", what, name, detail);
    } else {
        sl_fail(error, cause->code, cause->reaction, "%s in %s: %s; %s", what, name, detail,
            cause->hint);
    }
    if (error != NULL) {
        error->library_code = result;
        int system_error = sqlite->handle == NULL ? 0 : sqlite3_system_errno(sqlite->handle);
        if (system_error == ENOSPC && (result & 0xff) == SQLITE_IOERR) {
            error->code = SLUICE_NO_SPACE;
        }
    }
    return -1;
}

static int set_up(struct sl_sqlite *sqlite, struct sluice_error *error)
{
    sqlite3_busy_handler(sqlite->handle, wait_for_lock, NULL);
    sqlite3_extended_result_codes(sqlite->handle, 1);
    /* Switching to WAL needs a lock that SQLite does not wait for; somebody else may just do it. */
    int64_t deadline_ms = sl_clock_monotonic_ms() + SL_SQLITE_BUSY_TIMEOUT_MS;
    int result;
    do {
        result = sqlite3_exec(sqlite->handle,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
            "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF",
            NULL, NULL, NULL);
    } while ((result & 0xff) == SQLITE_BUSY && wait_for_lock(NULL, 0) &&
        sl_clock_monotonic_ms() < deadline_ms);
    return result == SQLITE_OK
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot open the database", error);
}

/*
 * SQLite says "unable to open database file" for whatever keeps it from making one. Mostly it is
 * the folder, which is missing, no folder, or not writable: then say so, and return true.
 */
static bool explain_folder(const char *file, struct sluice_error *error)
{
    const char *slash = strrchr(file, '/');
    char *folder =
        slash == NULL ? sl_copy_text("./") : sl_copy_bytes(file, (size_t) (slash - file) + 1);
    bool is_blocked = folder != NULL && access(folder, W_OK | X_OK) != 0;
    if (is_blocked && (errno == ENOENT || errno == ENOTDIR)) {
        sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "cannot make the database file '%s': there is no folder %s; make it, or check the path",
            file, folder);
    } else if (is_blocked) {
        char what[600];
        snprintf(what, sizeof(what), "cannot make '%s': cannot write to", file);
        sl_fail_system(error, errno, what, folder);
    }
    sl_free(folder);
    return is_blocked;
}

int sl_sqlite_open(struct sl_sqlite *ret_sqlite, const char *file, enum sl_sqlite_mode mode,
    struct sluice_error *error)
{
    struct sl_sqlite sqlite = {.name = sl_copy_text(file)};
    if (sqlite.name == NULL) {
        return sl_fail_memory(error, "a connection");
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= mode == SL_SQLITE_CREATE ? SQLITE_OPEN_CREATE : 0;
    int result = sqlite3_open_v2(file, &sqlite.handle, flags, NULL);
    if (result != SQLITE_OK) {
        if (mode == SL_SQLITE_EXISTING && access(file, F_OK) != 0 && errno == ENOENT) {
            sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_FATAL,
                "there is no database file '%s'; check the path, or make it with: sluice init "
                "--database sqlite:%s",
                file, file);
        } else if (!explain_folder(file, error)) {
            sl_sqlite_fail(&sqlite, result, "cannot open the database", error);
        }
        sl_sqlite_close(&sqlite);
        return -1;
    }
    if (sqlite3_db_readonly(sqlite.handle, "main") == 1) {
        sl_sqlite_fail(&sqlite, SQLITE_READONLY, "cannot write", error);
        sl_sqlite_close(&sqlite);
        return -1;
    }
    if (set_up(&sqlite, error) != 0) {
        sl_sqlite_close(&sqlite);
        return -1;
    }
    *ret_sqlite = sqlite;
    return 0;
}

int sl_sqlite_adopt(struct sl_sqlite *ret_sqlite, sqlite3 *handle, struct sluice_error *error)
{
    const char *file = sqlite3_db_filename(handle, "main");
    char *name = sl_copy_text(file == NULL || file[0] == '\0' ? ":memory:" : file);
    if (name == NULL) {
        return sl_fail_memory(error, "a connection");
    }
    *ret_sqlite = (struct sl_sqlite) {.handle = handle, .is_adopted = true, .name = name};
    return 0;
}

void sl_sqlite_close(struct sl_sqlite *sqlite)
{
    for (size_t i = 0; i < sqlite->statement_count; i++) {
        sqlite3_finalize(sqlite->statements[i].statement);
    }
    for (size_t i = 0; i < sqlite->theirs_count; i++) {
        sqlite3_finalize(sqlite->theirs[i].statement);
        sl_free(sqlite->theirs[i].sql);
    }
    if (sqlite->handle != NULL && !sqlite->is_adopted) {
        sl_sqlite_rollback(sqlite);
        sqlite3_close_v2(sqlite->handle);
    }
    sl_free((void *) sqlite->name);
    *sqlite = (struct sl_sqlite) {0};
}

int sl_sqlite_run(
    struct sl_sqlite *sqlite, const char *sql, const char *what, struct sluice_error *error)
{
    int result = sqlite3_exec(sqlite->handle, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : sl_sqlite_fail(sqlite, result, what, error);
}

sqlite3_stmt *sl_sqlite_prepare(
    struct sl_sqlite *sqlite, const char *sql, struct sluice_error *error)
{
    for (size_t i = 0; i < sqlite->statement_count; i++) {
        if (sqlite->statements[i].sql == sql) {
            sqlite3_reset(sqlite->statements[i].statement);
            return sqlite->statements[i].statement;
        }
    }
    if (sqlite->statement_count == SL_SQLITE_STATEMENTS_MAX) {
        sl_fail(error, SLUICE_INTERNAL, SLUICE_FATAL, "more statements than %d on a connection",
            SL_SQLITE_STATEMENTS_MAX);
        return NULL;
    }
    sqlite3_stmt *statement;
    int result =
        sqlite3_prepare_v3(sqlite->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (result != SQLITE_OK) {
        sl_sqlite_fail(sqlite, result, "cannot prepare a statement", error);
        return NULL;
    }
    sqlite->statements[sqlite->statement_count].sql = sql;
    sqlite->statements[sqlite->statement_count].statement = statement;
    sqlite->statement_count++;
    return statement;
}

static sqlite3_stmt *prepare_one(
    struct sl_sqlite *sqlite, const char *sql, const char *what, struct sluice_error *error)
{
    sqlite3_stmt *statement = NULL;
    const char *rest = "";
    int result =
        sqlite3_prepare_v3(sqlite->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, &rest);
    if ((result & 0xff) == SQLITE_ERROR) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "%s: %s", what,
            sqlite3_errmsg(sqlite->handle));
    } else if (result != SQLITE_OK) {
        sl_sqlite_fail(sqlite, result, what, error);
    } else if (statement == NULL || rest[strspn(rest, " \t\r\n;")] != '\0') {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "%s: the text must be one statement", what);
        sqlite3_finalize(statement);
        statement = NULL;
    }
    return statement;
}

/* A place for one more statement: a new one, or that of the statement unused for longest. */
static struct sl_sqlite_theirs *place_of_theirs(struct sl_sqlite *sqlite)
{
    if (sqlite->theirs_count < SL_SQLITE_THEIRS_MAX) {
        return &sqlite->theirs[sqlite->theirs_count++];
    }
    struct sl_sqlite_theirs *oldest = &sqlite->theirs[0];
    for (size_t i = 1; i < sqlite->theirs_count; i++) {
        oldest = sqlite->theirs[i].used_at < oldest->used_at ? &sqlite->theirs[i] : oldest;
    }
    sqlite3_finalize(oldest->statement);
    sl_free(oldest->sql);
    return oldest;
}

sqlite3_stmt *sl_sqlite_prepare_theirs(
    struct sl_sqlite *sqlite, const char *sql, const char *what, struct sluice_error *error)
{
    sqlite->use_count++;
    for (size_t i = 0; i < sqlite->theirs_count; i++) {
        if (strcmp(sqlite->theirs[i].sql, sql) == 0) {
            sqlite->theirs[i].used_at = sqlite->use_count;
            sqlite3_reset(sqlite->theirs[i].statement);
            return sqlite->theirs[i].statement;
        }
    }
    char *copy = sl_copy_text(sql);
    if (copy == NULL) {
        sl_fail_memory(error, "a statement");
        return NULL;
    }
    sqlite3_stmt *statement = prepare_one(sqlite, sql, what, error);
    if (statement == NULL) {
        sl_free(copy);
        return NULL;
    }
    *place_of_theirs(sqlite) = (struct sl_sqlite_theirs) {copy, statement, sqlite->use_count};
    return statement;
}

int sl_sqlite_step_done(struct sl_sqlite *sqlite, sqlite3_stmt *statement, const char *what,
    struct sluice_error *error)
{
    int result = sqlite3_step(statement);
    int status = result == SQLITE_DONE || result == SQLITE_ROW
        ? 0
        : sl_sqlite_fail(sqlite, result, what, error);
    sqlite3_reset(statement);
    return status;
}

int sl_sqlite_step_number(struct sl_sqlite *sqlite, sqlite3_stmt *statement, const char *what,
    bool *ret_found, int64_t *ret_number, struct sluice_error *error)
{
    int result = sqlite3_step(statement);
    int status = 0;
    if (result == SQLITE_ROW) {
        *ret_found = true;
        *ret_number = sqlite3_column_int64(statement, 0);
    } else if (result == SQLITE_DONE) {
        *ret_found = false;
    } else {
        status = sl_sqlite_fail(sqlite, result, what, error);
    }
    sqlite3_reset(statement);
    return status;
}

void sl_sqlite_bind_text(sqlite3_stmt *statement, int index, struct sl_text text)
{
    sqlite3_bind_text(
        statement, index, text.data == NULL ? "" : text.data, (int) text.size, SQLITE_STATIC);
}

void sl_sqlite_bind_bytes(sqlite3_stmt *statement, int index, struct sl_text bytes)
{
    sqlite3_bind_blob(
        statement, index, bytes.data == NULL ? "" : bytes.data, (int) bytes.size, SQLITE_STATIC);
}

struct sl_text sl_sqlite_column(sqlite3_stmt *statement, int index)
{
    /* A text is asked for as UTF-8: somebody else's database may keep it in UTF-16. */
    const void *data = sqlite3_column_type(statement, index) == SQLITE_TEXT
        ? (const void *) sqlite3_column_text(statement, index)
        : sqlite3_column_blob(statement, index);
    return (struct sl_text) {data, (size_t) sqlite3_column_bytes(statement, index)};
}

void sl_sqlite_copy_column(sqlite3_stmt *statement, int index, char *ret_text, size_t size)
{
    struct sl_text text = sl_sqlite_column(statement, index);
    size_t kept = text.size < size - 1 ? text.size : size - 1;
    if (kept > 0) {
        memcpy(ret_text, text.data, kept);
    }
    ret_text[kept] = '\0';
}

bool sl_sqlite_in_transaction(const struct sl_sqlite *sqlite)
{
    return sqlite3_get_autocommit(sqlite->handle) == 0;
}

int sl_sqlite_begin(struct sl_sqlite *sqlite, struct sluice_error *error)
{
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, "BEGIN IMMEDIATE", error);
    return statement == NULL
        ? -1
        : sl_sqlite_step_done(sqlite, statement, "cannot begin a transaction", error);
}

int sl_sqlite_commit(struct sl_sqlite *sqlite, struct sluice_error *error)
{
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, "COMMIT", error);
    if (statement != NULL && sl_sqlite_step_done(sqlite, statement, "cannot commit", error) == 0) {
        return 0;
    }
    sl_sqlite_rollback(sqlite);
    return -1;
}

void sl_sqlite_rollback(struct sl_sqlite *sqlite)
{
    if (sl_sqlite_in_transaction(sqlite)) {
        sqlite3_exec(sqlite->handle, "ROLLBACK", NULL, NULL, NULL);
    }
}

int64_t sl_sqlite_data_version(struct sl_sqlite *sqlite)
{
    bool is_found = false;
    int64_t version = -1;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite, "PRAGMA data_version", NULL);
    if (statement == NULL ||
        sl_sqlite_step_number(sqlite, statement, "cannot look", &is_found, &version, NULL) != 0) {
        return -1;
    }
    return version;
}
