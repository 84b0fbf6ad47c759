/*
 * libpq's calls that wait for the server. Off a fiber they are libpq's own, which block. On one
 * they are the same in libpq's non-blocking parts: what must be written or read is waited for by
 * the loop.
 */
#include <time.h>

#include "base/clock.h"
#include "base/fiber.h"
#include "base/parse.h"
#include "store/postgresql.h"

/* With several hosts the next one is tried when the system gives up this one (tcp_user_timeout). */
enum { HOST_TIMEOUT_MS = 11000, NS_OF_MS = 1000000 };

static void send_cancel(void *context)
{
    char ignored[256];
    PQcancel(context, ignored, sizeof(ignored));
}

/* An interrupted statement is answered, too: with an error, or as if nothing had been. */
static void wait_for(struct sl_store_postgresql *store, int events)
{
    enum sl_fiber_reason reason = sl_fiber_wait(PQsocket(store->connection), events, -1);
    if (reason == SL_FIBER_INTERRUPTED && store->cancel != NULL) {
        sl_fiber_offload(send_cancel, store->cancel);
    }
}

/* Write all of the request, reading meanwhile: the server may have to be heard before it reads. */
static void flush(struct sl_store_postgresql *store)
{
    while (PQflush(store->connection) == 1) {
        wait_for(store, UV_READABLE | UV_WRITABLE);
        if (PQconsumeInput(store->connection) == 0) {
            return; /* the result says so */
        }
    }
}

static PGresult *next_result(struct sl_store_postgresql *store)
{
    while (PQisBusy(store->connection) == 1) {
        wait_for(store, UV_READABLE);
        if (PQconsumeInput(store->connection) == 0) {
            break;
        }
    }
    return PQgetResult(store->connection);
}

static bool is_copy(ExecStatusType status)
{
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* The result of a request that was sent, as PQexec gives it: the last one, or the first failure. */
static PGresult *take_result(struct sl_store_postgresql *store, int is_sent)
{
    PGresult *last = NULL;
    PGresult *next = NULL;
    if (is_sent == 1) {
        flush(store);
        next = next_result(store);
    }
    while (next != NULL) {
        ExecStatusType status = PQresultStatus(next);
        if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(next);
        } else {
            PQclear(last);
            last = next;
        }
        bool is_over = is_copy(status) || PQstatus(store->connection) != CONNECTION_OK;
        next = is_over ? NULL : next_result(store);
    }
    PQsetnonblocking(store->connection, 0);
    return last;
}

/* A COPY that a statement has begun must be ended first, which libpq does where it blocks. */
static bool is_on_fiber(struct sl_store_postgresql *store)
{
    return sl_fiber_current() != NULL && PQtransactionStatus(store->connection) != PQTRANS_ACTIVE &&
        PQsetnonblocking(store->connection, 1) == 0;
}

PGresult *sl_postgresql_query(struct sl_store_postgresql *store, const char *sql)
{
    return !is_on_fiber(store) ? PQexec(store->connection, sql)
                               : take_result(store, PQsendQuery(store->connection, sql));
}

PGresult *sl_postgresql_prepare(struct sl_store_postgresql *store, const char *name,
    const char *sql, int type_count, const Oid *types)
{
    return !is_on_fiber(store)
        ? PQprepare(store->connection, name, sql, type_count, types)
        : take_result(store, PQsendPrepare(store->connection, name, sql, type_count, types));
}

PGresult *sl_postgresql_execute(struct sl_store_postgresql *store, const char *name,
    const struct sl_postgresql_arguments *arguments, int result_format)
{
    return !is_on_fiber(store)
        ? PQexecPrepared(store->connection, name, arguments->count, arguments->values,
              arguments->sizes, arguments->formats, result_format)
        : take_result(store,
              PQsendQueryPrepared(store->connection, name, arguments->count, arguments->values,
                  arguments->sizes, arguments->formats, result_format));
}

/* How long all hosts together may take; -1: for ever. */
static int64_t connect_timeout_ms(PGconn *connection)
{
    int64_t seconds = 0;
    int64_t hosts = 1;
    PQconninfoOption *options = PQconninfo(connection);
    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL;
        option++) {
        if (option->val == NULL) {
            continue;
        }
        if (strcmp(option->keyword, "connect_timeout") == 0) {
            sl_parse_i64(sl_text_of(option->val), &seconds);
        } else if (strcmp(option->keyword, "host") == 0 ||
            strcmp(option->keyword, "hostaddr") == 0) {
            int64_t count = 1;
            for (const char *c = option->val; *c != '\0'; c++) {
                count += *c == ',';
            }
            hosts = count > hosts ? count : hosts;
        }
    }
    PQconninfoFree(options);
    if (seconds <= 0) {
        return -1;
    }
    int64_t timeout_ms = seconds * 1000;
    return hosts * (hosts > 1 && timeout_ms < HOST_TIMEOUT_MS ? HOST_TIMEOUT_MS : timeout_ms);
}

PGconn *sl_postgresql_connect_by(const char *const *names, const char *const *values)
{
    if (sl_fiber_current() == NULL) {
        return PQconnectdbParams(names, values, 1);
    }
    PGconn *connection = PQconnectStartParams(names, values, 1);
    if (connection == NULL || PQstatus(connection) == CONNECTION_BAD) {
        return connection;
    }
    int64_t timeout_ms = connect_timeout_ms(connection);
    int64_t end_ms = sl_clock_monotonic_ms() + timeout_ms;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next == PGRES_POLLING_WRITING || next == PGRES_POLLING_READING) {
        int64_t left_ms = timeout_ms < 0 ? -1 : end_ms - sl_clock_monotonic_ms();
        if (timeout_ms >= 0 && left_ms <= 0) {
            break; /* not connected, which its status says */
        }
        enum sl_fiber_reason reason = sl_fiber_wait(PQsocket(connection),
            next == PGRES_POLLING_WRITING ? UV_WRITABLE : UV_READABLE, left_ms);
        if (reason == SL_FIBER_INTERRUPTED) {
            break;
        }
        if (reason == SL_FIBER_READY) {
            next = PQconnectPoll(connection);
        }
    }
    return connection;
}

void sl_postgresql_pause(int duration_ms)
{
    if (sl_fiber_current() != NULL) {
        sl_fiber_wait(-1, 0, duration_ms);
    } else {
        nanosleep(&(struct timespec) {.tv_nsec = (long) duration_ms * NS_OF_MS}, NULL);
    }
}
