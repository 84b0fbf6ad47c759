/*
 * The loadable extension, in a program that has nothing of ours: what SQL may say, and what it may
 * not. Its path is in SLUICE_EXTENSION.
 */
#include <sqlite3.h>

#include "store/store.h"
#include "support/temp.h"
#include "support/unit.h"

static struct temp temp;
static sqlite3 *handle;

static void set_up(void)
{
    struct sluice_error error;
    struct sl_store *store;
    char *text = NULL;
    temp_make(&temp);
    ck_assert_int_eq(
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_CREATE, &store, &error), 0);
    sl_store_close(store);
    ck_assert_ptr_nonnull(getenv("SLUICE_EXTENSION"));
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    sqlite3_enable_load_extension(handle, 1);
    int result = sqlite3_load_extension(handle, getenv("SLUICE_EXTENSION"), NULL, &text);
    ck_assert_msg(result == SQLITE_OK, "%s", text);
}

static void tear_down(void)
{
    ck_assert_int_eq(sqlite3_close(handle), SQLITE_OK);
    temp_remove(&temp);
}

/* The first column of the first row, or the error's text. */
static const char *ask(const char *sql)
{
    static char text[512];
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    int result = sqlite3_step(statement);
    const unsigned char *value =
        result == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    snprintf(text, sizeof(text), "%s",
        result == SQLITE_ROW ? (value == NULL ? "NULL" : (const char *) value)
                             : sqlite3_errmsg(handle));
    sqlite3_finalize(statement);
    return text;
}

static void run(const char *sql)
{
    ck_assert_int_eq(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void check_says(const char *sql, const char *part)
{
    const char *answer = ask(sql);
    ck_assert_msg(strstr(answer, part) != NULL, "%s: %s", sql, answer);
}

START_TEST(an_event_is_published_with_the_transaction_and_its_id_comes_back)
{
    set_up();
    char id[64];
    run("BEGIN");
    snprintf(id, sizeof(id), "%s", ask("SELECT sluice_publish('t', 'k', '{\"a\":1}', 'T')"));
    ck_assert_uint_eq(strlen(id), SLUICE_EVENT_ID_SIZE - 1);
    ck_assert_str_eq(ask("SELECT id FROM sluice_outbox"), id);
    (void) ask("SELECT sluice_publish('t', NULL, x'00ff', 'T', '{\"h\":\"v\"}')");
    run("COMMIT");
    ck_assert_str_eq(ask("SELECT count(*) FROM sluice_outbox"), "2");
    ck_assert_str_eq(ask("SELECT message_key FROM sluice_outbox WHERE position = 2"), "NULL");
    ck_assert_str_eq(ask("SELECT hex(payload) FROM sluice_outbox WHERE position = 2"), "00FF");
    ck_assert_str_eq(
        ask("SELECT headers FROM sluice_outbox WHERE position = 2"), "{\"h\":\"v\"}");
    tear_down();
}
END_TEST

START_TEST(outside_of_a_transaction_nothing_is_written)
{
    set_up();
    check_says("SELECT sluice_publish('t', 'k', '{}', 'T')", "transaction");
    check_says("SELECT sluice_inbox_begin('c', '00000000-0000-7000-8000-000000000001')",
        "transaction");
    ck_assert_str_eq(ask("SELECT count(*) FROM sluice_outbox"), "0");
    ck_assert_str_eq(ask("SELECT count(*) FROM sluice_inbox"), "0");
    tear_down();
}
END_TEST

START_TEST(what_breaks_a_rule_is_refused_and_named)
{
    set_up();
    run("BEGIN");
    check_says("SELECT sluice_publish('a topic', 'k', '{}', 'T')", "topic");
    check_says("SELECT sluice_publish('t', 'k', '{}', '')", "type");
    check_says("SELECT sluice_publish('t', 'k', '{}', 'T', '[]')", "headers");
    check_says("SELECT sluice_publish('t', 'k', '{}', 'T', '{\"a b\": \"c\"}')", "header name");
    check_says("SELECT sluice_inbox_begin('relay', '00000000-0000-7000-8000-000000000001')",
        "consumer name");
    check_says("SELECT sluice_inbox_begin('c', '1')", "id");
    run("COMMIT");
    ck_assert_str_eq(ask("SELECT count(*) FROM sluice_outbox"), "0");
    tear_down();
}
END_TEST

START_TEST(a_marker_is_new_once)
{
    set_up();
    static const char sql[] =
        "SELECT sluice_inbox_begin('c', '00000000-0000-7000-8000-000000000001')";
    run("BEGIN");
    ck_assert_str_eq(ask(sql), "1");
    ck_assert_str_eq(ask(sql), "0");
    run("ROLLBACK; BEGIN");
    ck_assert_str_eq(ask(sql), "1");
    run("COMMIT");
    tear_down();
}
END_TEST

START_TEST(a_database_without_the_tables_is_told_so)
{
    set_up();
    run("DROP VIEW sluice_event_status; DROP TABLE sluice_outbox; DROP TABLE sluice_inbox; BEGIN");
    check_says("SELECT sluice_publish('t', 'k', '{}', 'T')", "sluice");
    check_says(
        "SELECT sluice_inbox_begin('c', '00000000-0000-7000-8000-000000000001')", "sluice");
    run("ROLLBACK");
    tear_down();
}
END_TEST

UNIT_MAIN("extension", an_event_is_published_with_the_transaction_and_its_id_comes_back,
    outside_of_a_transaction_nothing_is_written, what_breaks_a_rule_is_refused_and_named,
    a_marker_is_new_once, a_database_without_the_tables_is_told_so)
