/*
 * tests/support/postgresql_server.h - a fresh database for a test, on the PostgreSQL of the run.
 *
 * SLUICE_TEST_POSTGRESQL is the URL of a server on which everything is allowed (tools/servers/run
 * sets it). Each call makes a database of its own, so that tests do not see each other.
 */
#ifndef TESTS_SUPPORT_POSTGRESQL_SERVER_H
#define TESTS_SUPPORT_POSTGRESQL_SERVER_H

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Run one statement on a new connection; abort with the server's words if it fails. */
static inline void postgresql_server_do(const char *url, const char *sql)
{
    PGconn *connection = PQconnectdb(url);
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s: %s", url, sql, PQerrorMessage(connection));
        abort();
    }
    PQclear(result);
    PQfinish(connection);
}

/* Make a database and write its URL to `url`; abort if there is no server. */
static inline void postgresql_server_make(char *url, size_t size)
{
    static int count;
    const char *server = getenv("SLUICE_TEST_POSTGRESQL");
    struct timespec now;
    char name[64];
    char sql[128];
    if (server == NULL || strrchr(server, '/') == NULL) {
        fprintf(stderr, "SLUICE_TEST_POSTGRESQL is no postgresql://host:port/name\n");
        abort();
    }
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, sizeof(name), "test_%d_%d_%llx", (int) getpid(), count++,
        (unsigned long long) now.tv_sec * 1000000000ull + (unsigned long long) now.tv_nsec);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s STRATEGY file_copy", name);
    postgresql_server_do(server, sql);
    snprintf(url, size, "%.*s/%s", (int) (strrchr(server, '/') - server), server, name);
}

/* Drop the database of postgresql_server_make, whoever is connected to it, and its slots. */
static inline void postgresql_server_drop(const char *url)
{
    const char *server = getenv("SLUICE_TEST_POSTGRESQL");
    const char *name = strrchr(url, '/') + 1;
    char sql[512];
    snprintf(sql, sizeof(sql),
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
        " WHERE database = '%s' AND active_pid IS NOT NULL",
        name);
    postgresql_server_do(server, sql);
    snprintf(sql, sizeof(sql),
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE database = '%s'",
        name);
    postgresql_server_do(server, sql);
    snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    postgresql_server_do(server, sql);
}

#endif
