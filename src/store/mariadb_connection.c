/* The connection: made, kept, made anew; commands on it; whether a transaction is open. */
#include <stdio.h>
#include <threads.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "store/mariadb.h"

/* After so long without use, ask whether the connection is still there before it is used. */
enum { IDLE_MS = 2000, VERSION_MIN = 101000 };

/*
 * Strict, so that nothing is cut in silence; READ COMMITTED, so that each look sees what is there
 * now; and lock waits that end before our own time-out, so that they are no lost connection.
 */
#define SESSION                                                                                    \
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"                      \
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', autocommit = 1,"                          \
    " tx_isolation = 'READ-COMMITTED', tx_read_only = 0, completion_type = 'NO_CHAIN',"            \
    " innodb_lock_wait_timeout = %d, lock_wait_timeout = %d"

static once_flag library_once = ONCE_FLAG_INIT;

static void start_library(void)
{
    mysql_server_init(0, NULL, NULL); /* not safe to be done by two threads at once */
}

const char *sl_mariadb_name(const struct sl_store_mariadb *store)
{
    return store->url.shown == NULL ? "the caller's connection" : store->url.shown;
}

static void set_options(MYSQL *handle, const struct sl_mariadb_url *url)
{
    my_bool yes = 1;
    my_bool no = 0;
    unsigned int protocol = url->socket != NULL ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    mysql_options(handle, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_options(handle, MYSQL_OPT_CONNECT_TIMEOUT, &url->connect_timeout_s);
    mysql_options(handle, MYSQL_OPT_READ_TIMEOUT, &url->read_timeout_s);
    mysql_options(handle, MYSQL_OPT_WRITE_TIMEOUT, &url->write_timeout_s);
    mysql_options(handle, MYSQL_OPT_RECONNECT, &no); /* a transaction would vanish unseen */
    mysql_options(handle, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(handle, MYSQL_OPT_LOCAL_INFILE, NULL);
    if (url->is_tls) {
        mysql_options(handle, MYSQL_OPT_SSL_ENFORCE, &yes);
        mysql_options(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, url->is_tls_verified ? &yes : &no);
    }
    if (url->tls_ca != NULL) {
        mysql_options(handle, MYSQL_OPT_SSL_CA, url->tls_ca);
    }
}

int sl_mariadb_connect_handle(
    MYSQL *handle, const struct sl_mariadb_url *url, struct sluice_error *error)
{
    call_once(&library_once, start_library);
    if (mysql_init(handle) == NULL) {
        return sl_fail_memory(error, "a connection");
    }
    set_options(handle, url);
    if (mysql_real_connect(handle, url->socket != NULL ? NULL : url->host, url->user, url->password,
            url->database, url->port, url->socket, CLIENT_FOUND_ROWS) == NULL) {
        char prefix[SLUICE_ERROR_TEXT_SIZE];
        snprintf(prefix, sizeof(prefix), "cannot connect to %s", url->shown);
        sl_mariadb_report(
            mysql_errno(handle), mysql_sqlstate(handle), mysql_error(handle), prefix, false, error);
        mysql_close(handle);
        return -1;
    }
    return 0;
}

static int check_server(struct sl_store_mariadb *store, struct sluice_error *error)
{
    const char *version = mysql_get_server_info(store->handle);
    if (strstr(version, "MariaDB") != NULL &&
        mysql_get_server_version(store->handle) >= VERSION_MIN) {
        return 0;
    }
    return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_FATAL,
        "%s is %.60s; sluice needs MariaDB 10.11 or newer", sl_mariadb_name(store), version);
}

/* The greatest packet that the server takes: a larger one would cost the connection. */
static int read_packet_size(struct sl_store_mariadb *store, struct sluice_error *error)
{
    unsigned long long size = 0;
    static const char text[] = "SELECT @@max_allowed_packet";
    MYSQL_RES *result = mysql_real_query(store->handle, text, sizeof(text) - 1) == 0
        ? mysql_store_result(store->handle)
        : NULL;
    MYSQL_ROW row = result == NULL ? NULL : mysql_fetch_row(result);
    if (row != NULL && row[0] != NULL) {
        uint64_t number = 0;
        size = sl_parse_u64(sl_text_of(row[0]), &number) ? number : 0;
    }
    if (result != NULL) {
        mysql_free_result(result);
    }
    store->packet_size_max = size;
    return size > 0 ? 0 : sl_mariadb_fail(store, NULL, false, "cannot read a setting", error);
}

static int set_up(struct sl_store_mariadb *store, struct sluice_error *error)
{
    char text[512];
    int size =
        snprintf(text, sizeof(text), SESSION, SL_MARIADB_LOCK_WAIT_S, SL_MARIADB_LOCK_WAIT_S);
    if (check_server(store, error) != 0 ||
        sl_mariadb_command(store, text, (size_t) size, "cannot set the session up", error) != 0) {
        return -1;
    }
    return read_packet_size(store, error);
}

int sl_mariadb_connect(struct sl_store_mariadb *store, struct sluice_error *error)
{
    if (store->handle != NULL) {
        sl_mariadb_forget_statements(store);
        mysql_close(store->handle);
        store->handle = NULL;
    }
    store->is_lost = true;
    if (sl_mariadb_connect_handle(&store->own, &store->url, error) != 0) {
        return -1;
    }
    store->handle = &store->own;
    store->is_lost = false;
    atomic_store(&store->thread_id, mysql_thread_id(store->handle));
    if (set_up(store, error) != 0) {
        store->is_lost = true;
        return -1;
    }
    store->used_ms = sl_clock_monotonic_ms();
    return 0;
}

int sl_mariadb_need(struct sl_store_mariadb *store, struct sluice_error *error)
{
    if (store->is_gone) {
        if (error != NULL) {
            *error = store->gone;
        }
        return -1;
    }
    bool is_own = store->url.memory != NULL;
    int64_t now_ms = sl_clock_monotonic_ms();
    if (is_own && !store->is_lost && now_ms - store->used_ms > IDLE_MS &&
        !sl_mariadb_in_transaction(store) && mysql_ping(store->handle) != 0) {
        store->is_lost = true; /* the server ended it while it was idle */
    }
    store->used_ms = now_ms;
    if (!store->is_lost) {
        return 0;
    }
    return is_own ? sl_mariadb_connect(store, error)
                  : sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_FATAL,
                        "the caller's connection is lost; connect anew and adopt that");
}

int sl_mariadb_command(struct sl_store_mariadb *store, const char *text, size_t size,
    const char *what, struct sluice_error *error)
{
    bool was_in_transaction = sl_mariadb_in_transaction(store);
    store->last_number = 0;
    return mysql_real_query(store->handle, text, size) == 0
        ? 0
        : sl_mariadb_fail(store, NULL, was_in_transaction, what, error);
}

bool sl_mariadb_in_transaction(struct sl_store_mariadb *store)
{
    unsigned int flags = 0;
    if (store->is_lost) {
        return false;
    }
    /* The flags are those of the last answer, and an error brings none; nor does a ping. */
    if (mysql_errno(store->handle) != 0 && mysql_real_query(store->handle, "DO 0", 4) != 0 &&
        sl_mariadb_is_loss(mysql_errno(store->handle))) {
        store->is_lost = true;
        return false;
    }
    mariadb_get_infov(store->handle, MARIADB_CONNECTION_SERVER_STATUS, &flags);
    return (flags & SERVER_STATUS_IN_TRANS) != 0 || (flags & SERVER_STATUS_AUTOCOMMIT) == 0;
}
