/*
 * base/watch.h - learn within milliseconds that another process has committed to a SQLite file.
 *
 * The kernel tells of every write to the file's folder (inotify, through libuv), which is before
 * the commit can be seen: SQLite writes the log, syncs it, and only then moves a mark in shared
 * memory, of which the kernel says nothing. So each notice starts a short run of checks, 0.. 50 ms
 * apart, that ends as soon as the owner reports news; without notices there is one check a second.
 * An idle watch costs a wake-up a second and nothing else.
 */
#ifndef SL_BASE_WATCH_H
#define SL_BASE_WATCH_H

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

struct sl_watch;

/* Look whether there is news; true if there was, which ends the run of checks. */
typedef bool (*sl_watch_check)(void *context);

/**
 * Watch `file` (and what SQLite puts beside it) on `loop`; its folder must exist.
 *
 * `check` is called on the loop's thread soon after each change, and once a second. On success
 * `*ret_watch` is the caller's, to be given to sl_watch_close.
 */
int sl_watch_open(uv_loop_t *loop, const char *file, sl_watch_check check, void *context,
    struct sl_watch **ret_watch, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Start a run of checks now, as if a change had been seen.
 */
void sl_watch_poke(struct sl_watch *watch);

/**
 * Stop; no check is called after this. The memory is freed by the loop, which must turn once more.
 * NULL is fine.
 */
void sl_watch_close(struct sl_watch *watch);

#endif
