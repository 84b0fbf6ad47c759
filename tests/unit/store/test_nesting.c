/*
 * Savepoints in savepoints, and what a store says and does about writers.
 */
#include <sqlite3.h>

#include "store/store.h"
#include "support/temp.h"
#include "support/unit.h"

static struct temp temp;
static struct sl_store *store;
static struct sluice_error error;

static void open_store(void)
{
    temp_make(&temp);
    int status =
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_store(void)
{
    sl_store_close(store);
    temp_remove(&temp);
}

static int run(const char *sql)
{
    return sqlite3_exec(sl_store_sqlite(store), sql, NULL, NULL, NULL);
}

static void mark(const char *event_id)
{
    bool is_new;
    ck_assert_int_eq(sl_store_inbox_begin(store, "c", event_id, 1, &is_new, &error), 0);
}

static const char *marks(void)
{
    static char text[64];
    sqlite3_stmt *statement;
    ck_assert_int_eq(
        sqlite3_prepare_v2(sl_store_sqlite(store),
            "SELECT group_concat(event_id, '') FROM sluice_inbox", -1, &statement, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return text;
}

START_TEST(a_savepoint_in_a_savepoint_is_undone_alone)
{
    open_store();
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
    mark("a");
    ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
    mark("b");
    ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
    mark("c");
    ck_assert_int_eq(sl_store_savepoint_end(store, true, &error), 0);
    ck_assert_int_eq(sl_store_savepoint_end(store, false, &error), 0);
    mark("d");
    ck_assert_int_eq(sl_store_savepoint_end(store, true, &error), 0);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    ck_assert_str_eq(marks(), "ad");
    close_store();
}
END_TEST

START_TEST(a_transaction_that_may_write_blocks_other_writers_and_one_that_reads_does_not)
{
    open_store();
    ck_assert(!sl_store_blocks_writers(store));
    ck_assert_int_eq(run("BEGIN; SELECT * FROM sluice_inbox"), SQLITE_OK);
    ck_assert(!sl_store_blocks_writers(store));
    ck_assert_int_eq(run("COMMIT"), SQLITE_OK);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert(sl_store_blocks_writers(store));
    close_store();
}
END_TEST

START_TEST(what_is_written_while_writes_are_forbidden_fails_and_is_noticed)
{
    open_store();
    ck_assert_int_eq(run("CREATE TABLE t (x)"), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sl_store_forbid_writes(store, true, &error), 0);
        ck_assert_int_eq(sl_store_forbid_writes(store, true, &error), 0);
        ck_assert(!sl_store_was_forbidden(store));
        ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), SQLITE_READONLY);
        ck_assert(sl_store_was_forbidden(store));
        ck_assert(!sl_store_was_forbidden(store));
        ck_assert_int_eq(sl_store_forbid_writes(store, false, &error), 0);
        ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), SQLITE_OK);
    }
    /* A connection that its owner made read-only stays so. */
    ck_assert_int_eq(run("PRAGMA query_only = 1"), SQLITE_OK);
    ck_assert_int_eq(sl_store_forbid_writes(store, true, &error), 0);
    ck_assert_int_eq(sl_store_forbid_writes(store, false, &error), 0);
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), SQLITE_READONLY);
    close_store();
}
END_TEST

UNIT_MAIN("nesting", a_savepoint_in_a_savepoint_is_undone_alone,
    a_transaction_that_may_write_blocks_other_writers_and_one_that_reads_does_not,
    what_is_written_while_writes_are_forbidden_fails_and_is_noticed)
