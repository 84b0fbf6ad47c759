/*
 * console/console.h - the operators' side: metrics, health, and a page, on a listener of its own.
 *
 * Once a second a sample is taken on a worker thread: how each database stands (console/state.h)
 * and what the sources know that has to be read from a disk. Requests are answered from the last
 * sample, so that a slow disk never holds up the loop. What lives on the loop's thread (the
 * gateway) is asked at the moment of the request.
 *
 *   GET  /                    the page
 *   GET  /metrics             Prometheus' text format
 *   GET  /health/live         200 while the process does its work at all, else 503 with reasons
 *   GET  /health/ready        200 while there is measured progress, else 503 with reasons
 *   GET  /api/state           everything the page shows
 *   GET  /api/dead-letters    ?id=ID: an event with its payload
 *   POST /api/redrive         {"database", "stage", "topic", "key"} or {"database", "stage", "id"}
 *   POST /api/drop            the same
 *
 * Limits: 64 connections, bodies of 16 KiB, 32 waiting jobs (503 beyond).
 */
#ifndef SL_CONSOLE_CONSOLE_H
#define SL_CONSOLE_CONSOLE_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "console/metrics.h"

struct sl_console;

/* Where a source puts what it knows; any of them may be left alone. */
struct sl_console_writer {
    struct sl_metrics *metrics;
    json_t *state;     /* an object: what the page gets */
    json_t *not_ready; /* an array of texts: why the process is not ready */
    json_t *not_alive; /* an array of texts: what does not turn any more */
};

/* A part of the process that the console reports on. */
struct sl_console_source {
    void *context;
    /* Whether `collect` may block: then it is called on the worker's thread, one at a time. */
    bool is_blocking;
    void (*collect)(void *context, struct sl_console_writer *writer);
};

enum { SL_CONSOLE_SOURCES_MAX = 8, SL_CONSOLE_DATABASES_MAX = 16 };

struct sl_console_options {
    const char *address;          /* "127.0.0.1:9090"; borrowed for the open */
    const char *const *databases; /* URLs; borrowed for the open */
    size_t database_count;        /* at most SL_CONSOLE_DATABASES_MAX */
    int64_t ready_age_max_ms;     /* older unsent events need a position that moves */
    const struct sl_console_source *sources; /* copied; the contexts must outlive the console */
    size_t source_count;                     /* at most SL_CONSOLE_SOURCES_MAX */
};

/**
 * Listen and start to take samples.
 *
 * On success `*ret_console` is the caller's, to be ended with sl_console_stop. Fails as
 * sl_http_server_open does. Databases are opened later, by the worker; what is wrong with them is
 * shown, and is a reason not to be ready.
 */
int sl_console_open(uv_loop_t *loop, const struct sl_console_options *options,
    struct sl_console **ret_console, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The URL that is really listened on; the console's.
 */
const char *sl_console_url(const struct sl_console *console);

/**
 * Stop: answers that are under way get half a second. `on_stopped` (may be NULL) is called once
 * from the loop; the console has been freed by then and no source is called after it.
 */
void sl_console_stop(
    struct sl_console *console, void (*on_stopped)(void *context), void *context);

/**
 * Add to one of the process' totals, from which the page's rates are made: "published" or
 * "delivered". Inside of a source's collect only.
 */
void sl_console_add_total(struct sl_console_writer *writer, const char *name, int64_t amount);

#endif
