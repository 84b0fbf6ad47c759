#include <sluice/query.h>
#include <stdbool.h>

#include "support/database.h"
#include "support/unit.h"

static struct test_database place;
static sluice_database *database;
static struct sluice_error error;

static void open_database(void)
{
    const char *url = test_database_make(&place);
    int status = sluice_database_open(url, &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    status = sluice_execute(database,
        "CREATE TABLE wallet (owner VARCHAR(60) PRIMARY KEY, cents BIGINT NOT NULL"
        " CHECK (cents >= 0), note VARCHAR(60))",
        NULL, 0, NULL, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_database(void)
{
    sluice_database_close(database);
    test_database_remove(&place);
}

static int insert(const char *owner, int64_t cents, const char *note)
{
    struct sluice_value values[] = {sluice_text(owner), sluice_integer(cents), sluice_text(note)};
    return sluice_execute(database, "INSERT INTO wallet (owner, cents, note) VALUES (?1, ?2, ?3)",
        values, 3, NULL, &error);
}

static void write_row(void *context, const struct sluice_value *columns, size_t column_count)
{
    char *text = context;
    for (size_t i = 0; i < column_count; i++) {
        size_t end = strlen(text);
        const char *mark = i + 1 < column_count ? " " : ";";
        if (columns[i].kind == SLUICE_INTEGER) {
            snprintf(text + end, 200 - end, "%lld%s", (long long) columns[i].integer, mark);
        } else if (columns[i].kind == SLUICE_NULL) {
            snprintf(text + end, 200 - end, "-%s", mark);
        } else {
            ck_assert_uint_eq(strlen(columns[i].data), columns[i].size);
            snprintf(text + end, 200 - end, "%s%s", columns[i].data, mark);
        }
    }
}

static const char *rows(const char *sql)
{
    static char text[200];
    text[0] = '\0';
    int status = sluice_query(database, sql, NULL, 0, write_row, text, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return text;
}

START_TEST(a_statement_commits_and_rolls_back_with_its_transaction)
{
    open_database();
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(insert("ann", 5, "first"), 0);
    ck_assert_int_eq(sluice_rollback(database, &error), 0);
    ck_assert_str_eq(rows("SELECT owner FROM wallet"), "");
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(insert("ann", 5, "first"), 0);
    ck_assert_int_eq(insert("bob", 7, NULL), 0);
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_str_eq(
        rows("SELECT owner, cents, note FROM wallet ORDER BY owner"), "ann 5 first;bob 7 -;");
    close_database();
}
END_TEST

START_TEST(a_parameter_may_be_used_twice_and_in_any_order_and_a_question_mark_may_be_text)
{
    open_database();
    ck_assert_int_eq(insert("ann", 5, "why?1"), 0);
    struct sluice_value values[] = {sluice_integer(2), sluice_text("ann")};
    int64_t affected = 0;
    int status = sluice_execute(database,
        "UPDATE wallet SET cents = cents * ?1 + ?1, note = 'it''s ?1' -- ?9\n"
        "WHERE owner = ?2 AND note = 'why?1'",
        values, 2, &affected, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(affected, 1);
    ck_assert_str_eq(rows("SELECT cents, note FROM wallet"), "12 it's ?1;");
    status = sluice_execute(
        database, "DELETE FROM wallet WHERE owner = ?1", &values[1], 1, &affected, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(affected, 1);
    close_database();
}
END_TEST

START_TEST(a_broken_constraint_has_its_own_code)
{
    open_database();
    ck_assert_int_eq(insert("ann", 5, NULL), 0);
    ck_assert_int_eq(insert("ann", 6, NULL), -1);
    ck_assert_int_eq(error.code, SLUICE_CONSTRAINT);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_str_eq(sluice_code_name(error.code), "SLUICE_CONSTRAINT");
    ck_assert_int_eq(insert("bob", -1, NULL), -1);
    ck_assert_int_eq(error.code, SLUICE_CONSTRAINT);
    ck_assert_str_eq(rows("SELECT owner, cents FROM wallet"), "ann 5;");
    close_database();
}
END_TEST

START_TEST(a_statement_that_is_none_is_the_callers_mistake)
{
    open_database();
    ck_assert_int_eq(sluice_execute(database, "SELEKT 1", NULL, 0, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_int_eq(sluice_execute(database, "", NULL, 0, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(
        sluice_execute(database, "DELETE FROM wallet; DELETE FROM wallet", NULL, 0, NULL, &error),
        -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    struct sluice_value value = sluice_text("ann");
    ck_assert_int_eq(sluice_execute(database, "DELETE FROM wallet WHERE owner = ?1 OR owner = ?2",
                         &value, 1, NULL, &error),
        -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "?2, but 1 values were passed"));
    struct sluice_value values[SLUICE_VALUES_MAX + 1] = {{.kind = SLUICE_NULL}};
    ck_assert_int_eq(
        sluice_execute(database, "DELETE FROM wallet", values, SLUICE_VALUES_MAX + 1, NULL, &error),
        -1);
    ck_assert_ptr_nonnull(strstr(error.text, "it has at most"));
    close_database();
}
END_TEST

static void compare_bytes(void *context, const struct sluice_value *columns, size_t column_count)
{
    ck_assert_uint_eq(column_count, 1);
    ck_assert_int_eq(columns[0].kind, SLUICE_BYTES);
    ck_assert_uint_eq(columns[0].size, 4);
    ck_assert_int_eq(memcmp(columns[0].data, "a\0\xff\\", 4), 0);
    *(bool *) context = true;
}

START_TEST(bytes_come_back_as_they_were)
{
    open_database();
    bool is_seen = false;
    char sql[80];
    snprintf(sql, sizeof(sql), "CREATE TABLE raw (data %s)", place.bytes_type);
    ck_assert_int_eq(sluice_execute(database, sql, NULL, 0, NULL, &error), 0);
    struct sluice_value value = sluice_bytes("a\0\xff\\", 4);
    int status = sluice_execute(database, "INSERT INTO raw VALUES (?1)", &value, 1, NULL, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(
        sluice_query(database, "SELECT data FROM raw", NULL, 0, compare_bytes, &is_seen, &error),
        0);
    ck_assert(is_seen);
    close_database();
}
END_TEST

START_TEST(more_texts_than_a_connection_remembers_are_fine)
{
    open_database();
    ck_assert_int_eq(insert("ann", 5, NULL), 0);
    for (int i = 0; i < 300; i++) {
        char sql[80];
        char wanted[20];
        snprintf(sql, sizeof(sql), "SELECT cents + %d FROM wallet", i % 150);
        snprintf(wanted, sizeof(wanted), "%d;", 5 + i % 150);
        ck_assert_str_eq(rows(sql), wanted);
    }
    close_database();
}
END_TEST

START_TEST(a_row_that_is_set_to_what_it_was_counts_as_changed)
{
    int64_t affected = 0;
    open_database();
    ck_assert_int_eq(insert("ann", 5, NULL), 0);
    ck_assert_int_eq(insert("bob", 6, NULL), 0);
    int status =
        sluice_execute(database, "UPDATE wallet SET cents = 5", NULL, 0, &affected, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(affected, 2);
    close_database();
}
END_TEST

START_TEST(what_only_one_database_has_is_read_or_refused_in_words)
{
    open_database();
    if (test_database_is("postgresql")) {
        struct sluice_value value = {.kind = SLUICE_TEXT, .data = "a\0b", .size = 3};
        ck_assert_int_eq(sluice_query(database, "SELECT ?1", &value, 1, NULL, NULL, &error), -1);
        ck_assert_int_eq(error.reaction, SLUICE_REJECT);
        ck_assert_ptr_nonnull(strstr(error.text, "holds a NUL, which PostgreSQL cannot keep"));
        bool is_seen = false;
        ck_assert_int_eq(
            sluice_execute(database, "SET bytea_output = 'escape'", NULL, 0, NULL, &error), 0);
        ck_assert_int_eq(sluice_query(database, "SELECT '\\x6100ff5c'::bytea", NULL, 0,
                             compare_bytes, &is_seen, &error),
            0);
        ck_assert(is_seen);
    } else if (test_database_is("mariadb")) {
        ck_assert_str_eq(rows("SELECT CAST(18446744073709551615 AS UNSIGNED), CAST(7 AS UNSIGNED)"),
            "18446744073709551615 7;");
    }
    close_database();
}
END_TEST

START_TEST(a_database_says_which_one_it_is)
{
    open_database();
    const char *kind = sluice_database_kind(database);
    ck_assert_ptr_nonnull(kind);
    ck_assert_uint_eq(strncmp(place.url, kind, strlen(kind)), 0);
    ck_assert_int_eq(place.url[strlen(kind)], ':');
    close_database();
}
END_TEST

DATABASE_UNIT_MAIN("query", a_database_says_which_one_it_is,
    a_statement_commits_and_rolls_back_with_its_transaction,
    a_parameter_may_be_used_twice_and_in_any_order_and_a_question_mark_may_be_text,
    a_broken_constraint_has_its_own_code, a_statement_that_is_none_is_the_callers_mistake,
    a_row_that_is_set_to_what_it_was_counts_as_changed, bytes_come_back_as_they_were,
    more_texts_than_a_connection_remembers_are_fine,
    what_only_one_database_has_is_read_or_refused_in_words)
