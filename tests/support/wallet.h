/*
 * tests/support/wallet.h - a database with a table that works and listeners write, and read back.
 */
#ifndef TESTS_SUPPORT_WALLET_H
#define TESTS_SUPPORT_WALLET_H

#include <sluice/query.h>
#include <sluice/transaction.h>
#include <stdbool.h>

#include "support/database.h"
#include "support/unit.h"

static struct test_database place;
static sluice_database *database;
static struct sluice_error error;

/* Whether the database has one writer at a time. */
static inline bool has_one_writer(void)
{
    return strncmp(place.url, "sqlite:", 7) == 0;
}

/* Write a word on a connection. */
static inline int put_word(sluice_database *on, const char *word, struct sluice_error *why)
{
    struct sluice_value value = sluice_text(word);
    return sluice_execute(on, "INSERT INTO word (text) VALUES (?1)", &value, 1, NULL, why);
}

/* The same, where it must work. */
static inline void put(sluice_database *on, const char *word)
{
    struct sluice_error why = {.code = SLUICE_OK};
    int status = put_word(on, word, &why);
    ck_assert_msg(status == 0, "%s", why.text);
}

static inline int publish_type(sluice_database *on, const char *type, struct sluice_error *why)
{
    struct sluice_event event = {
        .topic = "words", .key = "k", .type = type, .payload = "{}", .payload_size = 2};
    return sluice_publish(on, &event, NULL, why);
}

/* The same, where it must work. */
static inline void publish(sluice_database *on, const char *type)
{
    struct sluice_error why = {.code = SLUICE_OK};
    int status = publish_type(on, type, &why);
    ck_assert_msg(status == 0, "%s", why.text);
}

static inline void add_column(void *context, const struct sluice_value *columns, size_t count)
{
    char *text = context;
    (void) count;
    size_t end = strlen(text);
    snprintf(text + end, 400 - end, "%s%s", end == 0 ? "" : " ", columns[0].data);
}

static inline const char *column_of(const char *sql)
{
    static char text[400];
    text[0] = '\0';
    int status = sluice_query(database, sql, NULL, 0, add_column, text, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return text;
}

/* Let the server end the connection, as a crash of it would look; fails in any case. */
static inline int lose_connection(sluice_database *on, struct sluice_error *why)
{
    const char *sql = test_database_is("postgresql")
        ? "SELECT pg_terminate_backend(pg_backend_pid())"
        : "KILL CONNECTION_ID()";
    return sluice_execute(on, sql, NULL, 0, NULL, why);
}

/* The words that are there, in the order of the alphabet. */
static inline const char *words(void)
{
    return column_of("SELECT text FROM word ORDER BY text");
}

/* column_of for a table of ours, whose name begins with "sluice_" or "sluice." */
static inline const char *column_of_ours(const char *what, const char *table, const char *rest)
{
    char sql[300];
    snprintf(sql, sizeof(sql), "SELECT %s FROM sluice%c%s %s", what,
        test_database_is("postgresql") ? '.' : '_', table, rest);
    return column_of(sql);
}

/* How often a type is in the outbox, as "a a b". */
static inline const char *types(void)
{
    return column_of_ours("type", "outbox", "ORDER BY type");
}

static inline void open_wallet(void)
{
    const char *url = test_database_make(&place);
    error = (struct sluice_error) {.code = SLUICE_OK};
    int status = sluice_database_open(url, &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    status = sluice_execute(
        database, "CREATE TABLE word (text VARCHAR(60) PRIMARY KEY)", NULL, 0, NULL, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static inline void close_wallet(void)
{
    sluice_database_close(database);
    database = NULL;
    test_database_remove(&place);
}

#endif
