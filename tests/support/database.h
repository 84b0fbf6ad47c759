/*
 * tests/support/database.h - an empty database of the kind that the program is run for.
 *
 * One test source serves every database: SLUICE_TEST_DATABASE names the kind ("sqlite" if it is not
 * set), and meson runs the program once a kind. A server is found by SLUICE_TEST_POSTGRESQL or
 * SLUICE_TEST_MARIADB, the URL of a role that may create databases; if that is not set, the program
 * is skipped (77).
 */
#ifndef TESTS_SUPPORT_DATABASE_H
#define TESTS_SUPPORT_DATABASE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "support/mariadb_server.h"
#include "support/temp.h"

struct test_database {
    struct temp temp;
    char url[256];
    const char *bytes_type; /* of a column that holds bytes */
};

static inline bool test_database_is(const char *kind)
{
    const char *wanted = getenv("SLUICE_TEST_DATABASE");
    return strcmp(wanted == NULL ? "sqlite" : wanted, kind) == 0;
}

/* Whether the database can be had here; if not, main returns 77. */
static inline bool test_database_is_there(void)
{
    return test_database_is("postgresql") ? getenv("SLUICE_TEST_POSTGRESQL") != NULL
        : test_database_is("mariadb")     ? getenv("SLUICE_TEST_MARIADB") != NULL
                                          : true;
}

static inline int test_database_skip(void)
{
    puts("SLUICE_TEST_POSTGRESQL is not set: tools/servers/run postgresql -- COMMAND sets it");
    return 77;
}

static inline PGconn *test_database_server(void)
{
    PGconn *server = PQconnectdb(getenv("SLUICE_TEST_POSTGRESQL"));
    if (PQstatus(server) != CONNECTION_OK) {
        fprintf(stderr, "SLUICE_TEST_POSTGRESQL: %s", PQerrorMessage(server));
        abort();
    }
    return server;
}

static inline void test_database_command(PGconn *server, const char *sql)
{
    PGresult *result = PQexec(server, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(server));
        abort();
    }
    PQclear(result);
}

/* The name of the database within its server. */
static inline const char *test_database_name(const struct test_database *place)
{
    return strrchr(place->url, '/') + 1;
}

static inline void test_database_make_postgresql(struct test_database *place)
{
    static int count;
    char sql[120];
    PGconn *server = test_database_server();
    snprintf(place->url, sizeof(place->url), "postgresql://%s@%s:%s/sluice_test_%d_%d",
        PQuser(server), PQhost(server), PQport(server), (int) getpid(), ++count);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", test_database_name(place));
    test_database_command(server, sql);
    PQfinish(server);
    place->bytes_type = "BYTEA";
}

/* Make it; the URL is valid as long as `place`. */
static inline const char *test_database_make(struct test_database *place)
{
    temp_make(&place->temp);
    if (test_database_is("postgresql")) {
        test_database_make_postgresql(place);
    } else if (test_database_is("mariadb")) {
        mariadb_server_make(place->url, sizeof(place->url));
        place->bytes_type = "BLOB";
    } else {
        snprintf(place->url, sizeof(place->url), "%s", temp_url(&place->temp, "sqlite", "app.db"));
        place->bytes_type = "BLOB";
    }
    return place->url;
}

/* Remove it, whoever is still connected. */
static inline void test_database_remove(struct test_database *place)
{
    if (test_database_is("postgresql")) {
        char sql[120];
        PGconn *server = test_database_server();
        snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", test_database_name(place));
        test_database_command(server, sql);
        PQfinish(server);
    } else if (test_database_is("mariadb")) {
        mariadb_server_drop(place->url);
    }
    temp_remove(&place->temp);
}

/* UNIT_MAIN for a program that serves every database. */
#define DATABASE_UNIT_MAIN(suite_name, ...)                                                        \
    UNIT_TESTS(suite_name, __VA_ARGS__)                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        return test_database_is_there() ? run_unit_tests() : test_database_skip();                 \
    }

/* The same for a program that is about PostgreSQL alone. */
#define POSTGRESQL_UNIT_MAIN(suite_name, ...)                                                      \
    UNIT_TESTS(suite_name, __VA_ARGS__)                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        setenv("SLUICE_TEST_DATABASE", "postgresql", 1);                                           \
        return test_database_is_there() ? run_unit_tests() : test_database_skip();                 \
    }

#endif
