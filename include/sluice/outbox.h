/*
 * sluice/outbox.h - change data and publish its event in one transaction.
 *
 *     sluice_begin(database, &error);
 *     ... the service's own statements on the same connection ...
 *     sluice_publish(database, &event, id, &error);
 *     sluice_commit(database, &error);
 *
 * The event is a row of the outbox table, written by the caller's transaction: it leaves with the
 * commit and vanishes with the rollback. A relay brings it to the broker.
 *
 * A `sluice_database` is one connection. It is used by one thread at a time; open one a thread.
 */
#ifndef SLUICE_OUTBOX_H
#define SLUICE_OUTBOX_H

#include <sluice/error.h>
#include <sluice/event.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pg_conn; /* a PGconn is one */
struct sqlite3;
struct st_mysql; /* a MYSQL is one */

typedef struct sluice_database sluice_database;

/**
 * Open a connection of our own and create or upgrade sluice's tables in it.
 *
 * `url` is "sqlite:FILE", whose file is made if it is missing, or "postgresql://USER@HOST/DATABASE"
 * with all that libpq knows (several hosts, sslmode, ...); a password may also come from PGPASSWORD
 * or ~/.pgpass; or "mariadb://USER:PASSWORD@HOST:PORT/DATABASE", whose password may also come from
 * MYSQL_PWD or a file (?password_file=FILE), and that takes the parameters socket, tls (off, on,
 * verify), tls_ca, connect_timeout, read_timeout and write_timeout (seconds). On success
 * `*ret_database` is the caller's, to be closed with sluice_database_close. Blocks for disk access,
 * up to five seconds for another connection's lock or for each host, and about ten for a server
 * that dies meanwhile. Fails with SLUICE_INVALID (a URL we do not know), SLUICE_UNSUPPORTED (an old
 * server), SLUICE_READ_ONLY (also a standby), SLUICE_UNAVAILABLE, SLUICE_CORRUPT, SLUICE_NO_SCHEMA
 * (made by a newer version), SLUICE_NO_SPACE, SLUICE_BUSY.
 *
 * A connection to a server that is lost is made again by the next call outside of a transaction.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_database_open(
    const char *url, sluice_database **ret_database, struct sluice_error *error);

/**
 * Work on a connection that the caller already has, in a transaction or not.
 *
 * `handle` stays the caller's: it must outlive the returned object and is not closed with it, and
 * none of its settings is changed. Sluice's tables must be there (`sluice init`, or
 * sluice_database_open once); SLUICE_NO_SCHEMA otherwise. Nothing is begun or committed.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_database_adopt_sqlite(
    struct sqlite3 *handle, sluice_database **ret_database, struct sluice_error *error);

/**
 * As sluice_database_adopt_sqlite for a connection to PostgreSQL: a `PGconn *` of libpq.
 *
 * Statements whose names begin with "sluice_" are prepared on it, and removed at the close.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_database_adopt_postgresql(
    struct pg_conn *connection, sluice_database **ret_database, struct sluice_error *error);

/**
 * As sluice_database_adopt_sqlite for a connection to MariaDB, a `MYSQL *` of libmariadb, whose
 * character set must be utf8mb4.
 *
 * A transaction counts however it was begun, by START TRANSACTION or by leaving autocommit off.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_database_adopt_mariadb(
    struct st_mysql *handle, sluice_database **ret_database, struct sluice_error *error);

/**
 * Close the connection (an adopted one stays open) and free the object; NULL is fine.
 *
 * A transaction of ours that is still open is rolled back.
 */
SLUICE_EXPORT void sluice_database_close(sluice_database *database);

/**
 * The SQLite handle under the connection, for the service's own statements; NULL on other stores.
 *
 * Borrowed: it lives as long as `database`. BEGIN and COMMIT may be done on it, too.
 */
SLUICE_EXPORT struct sqlite3 *sluice_database_sqlite(sluice_database *database);

/**
 * The PostgreSQL connection (a `PGconn *` of libpq), for the service's own statements; NULL on
 * other stores.
 *
 * Borrowed, and only until the next call outside of a transaction: a connection that is lost is
 * replaced. What sluice_begin began is to be ended by sluice_commit or sluice_rollback.
 */
SLUICE_EXPORT struct pg_conn *sluice_database_postgresql(sluice_database *database);

/**
 * The MariaDB handle (a `MYSQL *` of libmariadb) under the connection, for the service's own
 * statements; NULL on other stores. Sessions of ours are strict and READ COMMITTED.
 *
 * Borrowed: it lives as long as `database`. A connection that was lost is made anew behind it by
 * the next call outside of a transaction; what was prepared on it is of no more use then.
 */
SLUICE_EXPORT struct st_mysql *sluice_database_mariadb(sluice_database *database);

/**
 * Begin a transaction that may write, so that it cannot fail for a lock later.
 *
 * Blocks up to five seconds for another writer, then SLUICE_BUSY (retry). SLUICE_IN_TRANSACTION if
 * one is open on this connection.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_begin(
    sluice_database *database, struct sluice_error *error);

/**
 * Commit: data and events are durable when this returns 0, and gone if it returns -1.
 *
 * Blocks until the disk has it. SLUICE_NO_TRANSACTION if none is open. After a failure the
 * transaction is rolled back; if a server's answer is lost, a new connection asks it what became of
 * the transaction, and only if that cannot be known the call fails with SLUICE_OUTCOME_UNKNOWN.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_commit(
    sluice_database *database, struct sluice_error *error);

/**
 * Roll back: data and events of the transaction are gone.
 *
 * SLUICE_NO_TRANSACTION if none is open.
 */
SLUICE_EXPORT int sluice_rollback(sluice_database *database, struct sluice_error *error);

/**
 * Publish an event with the transaction that is open on this connection.
 *
 * `event` is borrowed for the call; its id and time are ignored and made here. If `ret_id` is not
 * NULL it receives the event's id. Outside of a transaction nothing is written and the call fails
 * with SLUICE_NO_TRANSACTION. SLUICE_INVALID and SLUICE_TOO_LARGE name the field and the limit.
 * After these the transaction is still open and holds what it held before. After an outage
 * (reaction SLUICE_RETRY: a full disk, no memory) roll back and begin again: the database may have
 * rolled the transaction back by itself, and then a further publish or commit says
 * SLUICE_NO_TRANSACTION, but statements of one's own would each commit by itself.
 */
SLUICE_EXPORT SLUICE_CHECKED int sluice_publish(sluice_database *database,
    const struct sluice_event *event, char ret_id[SLUICE_EVENT_ID_SIZE],
    struct sluice_error *error);

#ifdef __cplusplus
}
#endif

#endif
