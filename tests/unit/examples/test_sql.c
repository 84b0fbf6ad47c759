#include "sql.h"

#include "support/database.h"
#include "support/unit.h"

static struct test_database place;
static sluice_database *database;
static struct sluice_error error;

static void open_database(void)
{
    static const char *const tables[] = {
        "CREATE TABLE IF NOT EXISTS users (id VARCHAR(36) NOT NULL PRIMARY KEY,"
        " nickname VARCHAR(50) NOT NULL UNIQUE, age BIGINT NOT NULL CHECK (age >= 0))",
        NULL};
    const char *url = test_database_make(&place);
    int status = sluice_database_open(url, &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_msg(sql_make_tables(database, tables, &error) == 0, "%s", error.text);
}

static void close_database(void)
{
    sluice_database_close(database);
    test_database_remove(&place);
}

static int insert_once(const char *id, const char *nickname, int64_t age)
{
    memset(&error, 0, sizeof(error));
    return sql_insert_once(database, &error,
        "INSERT INTO users (id, nickname, age) VALUES (?1, ?2, ?3)", "tti", id, nickname, age);
}

static void expect_only_ann(void)
{
    struct rows *rows = sql_query(database, &error, "SELECT id, nickname, age FROM users", "");
    ck_assert_msg(rows != NULL, "%s", error.text);
    ck_assert_int_eq(sql_next(rows), 1);
    ck_assert_str_eq(sql_text(rows, 0), "1");
    ck_assert_str_eq(sql_text(rows, 1), "ann");
    ck_assert_int_eq(sql_integer(rows, 2), 30);
    ck_assert_int_eq(sql_next(rows), 0);
    sql_end(rows);
}

/* As a sign-in whose answer was lost is made again: the second id is nobody's. */
START_TEST(a_row_that_is_there_is_told_from_one_that_was_inserted)
{
    open_database();
    ck_assert_int_eq(insert_once("1", "ann", 30), 1);
    ck_assert_int_eq(insert_once("1", "ann", 30), 0);
    ck_assert_int_eq(error.code, SLUICE_OK);
    ck_assert_int_eq(insert_once("1", "bob", 31), 0);
    ck_assert_int_eq(insert_once("2", "ann", 32), 0);
    expect_only_ann();
    close_database();
}
END_TEST

START_TEST(meeting_a_row_spoils_nothing_of_the_transaction_around_it)
{
    open_database();
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(insert_once("1", "ann", 29), 1);
    ck_assert_int_eq(insert_once("2", "ann", 32), 0);
    ck_assert_int_eq(sql_run(database, &error, "UPDATE users SET age = ?1", "i", (int64_t) 30), 1);
    ck_assert_int_eq(insert_once("1", "ann", 33), 0);
    ck_assert_msg(sluice_commit(database, &error) == 0, "%s", error.text);
    expect_only_ann();
    close_database();
}
END_TEST

START_TEST(a_row_that_breaks_another_rule_is_not_taken_for_one_that_is_there)
{
    open_database();
    ck_assert_int_eq(insert_once("1", "ann", 30), 1);
    ck_assert_int_eq(insert_once("2", "bob", -1), -1);
    ck_assert_int_eq(error.code, SLUICE_CONSTRAINT);
    ck_assert_int_eq(insert_once("2", NULL, 1), -1);
    ck_assert_int_eq(error.code, SLUICE_CONSTRAINT);
    expect_only_ann();
    close_database();
}
END_TEST

DATABASE_UNIT_MAIN("sql", a_row_that_is_there_is_told_from_one_that_was_inserted,
    meeting_a_row_spoils_nothing_of_the_transaction_around_it,
    a_row_that_breaks_another_rule_is_not_taken_for_one_that_is_there)
