/*
 * tests/support/mariadb_server.h - a fresh database for a test, on the MariaDB of the run.
 *
 * SLUICE_TEST_MARIADB is the URL of a server on which everything is allowed (tools/servers/run sets
 * it): mariadb://USER@HOST:PORT/. Each call makes a database of its own, so that tests do not see
 * each other.
 */
#ifndef TESTS_SUPPORT_MARIADB_SERVER_H
#define TESTS_SUPPORT_MARIADB_SERVER_H

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A connection to the server (database NULL) or to a database; abort with its words if it fails. */
static inline MYSQL *mariadb_server_connect(const char *database)
{
    const char *server = getenv("SLUICE_TEST_MARIADB");
    char user[64];
    char host[64];
    unsigned port = 0;
    if (server == NULL || sscanf(server, "mariadb://%63[^@]@%63[^:]:%u", user, host, &port) != 3) {
        fprintf(stderr, "SLUICE_TEST_MARIADB is no mariadb://USER@HOST:PORT/\n");
        abort();
    }
    MYSQL *connection = mysql_init(NULL);
    if (mysql_real_connect(connection, host, user, "", database, port, NULL, 0) == NULL) {
        fprintf(stderr, "%s: %s\n", server, mysql_error(connection));
        abort();
    }
    return connection;
}

/* Run one statement on a new connection; abort with the server's words if it fails. */
static inline void mariadb_server_do(const char *database, const char *sql)
{
    MYSQL *connection = mariadb_server_connect(database);
    if (mysql_query(connection, sql) != 0) {
        fprintf(stderr, "%s: %s\n", sql, mysql_error(connection));
        abort();
    }
    MYSQL_RES *result = mysql_store_result(connection);
    if (result != NULL) {
        mysql_free_result(result);
    }
    mysql_close(connection);
}

/* Make a database and write its URL to `url`; abort if there is no server. */
static inline void mariadb_server_make(char *url, size_t size)
{
    static int count;
    struct timespec now;
    char name[64];
    char sql[128];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, sizeof(name), "test_%d_%d_%llx", (int) getpid(), count++,
        (unsigned long long) now.tv_sec * 1000000000ull + (unsigned long long) now.tv_nsec);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    mariadb_server_do(NULL, sql);
    const char *server = getenv("SLUICE_TEST_MARIADB");
    size_t length = strlen(server);
    const char *slash = length > 0 && server[length - 1] == '/' ? "" : "/";
    snprintf(url, size, "%s%s%s", server, slash, name);
}

/* Drop the database of mariadb_server_make. Who still has a transaction in it is waited for. */
static inline void mariadb_server_drop(const char *url)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s", strrchr(url, '/') + 1);
    mariadb_server_do(NULL, sql);
}

#endif
