/*
 * unit/store/mariadb_place.h - a store in a database of its own on MariaDB, and another connection
 * beside it, by libmariadb itself.
 */
#ifndef TESTS_UNIT_STORE_MARIADB_PLACE_H
#define TESTS_UNIT_STORE_MARIADB_PLACE_H

#include "store/sql.h"
#include "store/store.h"
#include "support/mariadb_server.h"
#include "support/unit.h"

static char url[256];
static struct sl_store *store;
static MYSQL *other;
static struct sluice_error error;
static struct sl_outbox_batch batch;
static int64_t received; /* the number that `number` asked for */

static inline const char *database(void)
{
    return strrchr(url, '/') + 1;
}

static inline void set_up(void)
{
    mariadb_server_make(url, sizeof(url));
    int status = sl_store_open(url, SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    other = mariadb_server_connect(database());
}

static inline void tear_down(void)
{
    sl_outbox_batch_deinit(&batch);
    mysql_close(other);
    sl_store_close(store);
    mariadb_server_drop(url);
}

static inline void do_on(MYSQL *connection, const char *sql)
{
    ck_assert_msg(mysql_query(connection, sql) == 0, "%s: %s", sql, mysql_error(connection));
    MYSQL_RES *result = mysql_store_result(connection);
    if (result != NULL) {
        mysql_free_result(result);
    }
}

static inline int run(const char *sql)
{
    struct sl_sql statement = {.text = sql, .what = "cannot run", .is_theirs = true};
    return sl_sql_run(store, &statement, &error);
}

static inline void keep_number(void *context, const struct sluice_value *columns, size_t count)
{
    (void) count;
    *(int64_t *) context = sl_value_number(&columns[0]);
}

static inline int64_t number(const char *sql)
{
    struct sl_sql statement = {.text = sql,
        .what = "cannot ask",
        .is_theirs = true,
        .visit = keep_number,
        .context = &received};
    received = -1;
    int status = sl_sql_run(store, &statement, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return received;
}

static inline void insert_on(MYSQL *connection, const char *key, const char *type)
{
    char sql[200];
    snprintf(sql, sizeof(sql),
        "INSERT INTO sluice_outbox (topic, message_key, type, payload) VALUES ('t', '%s', '%s', "
        "'')",
        key, type);
    do_on(connection, sql);
}

static inline void read_after(struct sl_position position)
{
    int status = sl_store_outbox_read(store, position, 20000, 64 << 20, &batch, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static inline void publish(int n)
{
    struct sl_event event = {.topic = SL_TEXT("t"),
        .has_key = true,
        .key = SL_TEXT("k"),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("p"),
        .headers = SL_TEXT("{}"),
        .time_ms = 1000};
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", n);
    int status = sl_store_outbox_insert(store, &event, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

/* End the store's connection from the server's side. */
static inline void kill_connection(void)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "KILL CONNECTION %lu", mysql_thread_id(sl_store_mariadb(store)));
    do_on(other, sql);
}

#endif
