/*
 * base/error.h - filling in the caller's `struct sluice_error`.
 *
 * The struct itself is public (sluice/error.h). Whoever finds a failure fills it in once, at the
 * lowest place that knows what happened, why, and what to do; callers on the way up pass it on.
 */
#ifndef SL_BASE_ERROR_H
#define SL_BASE_ERROR_H

#include <sluice/error.h>

/**
 * Fill in `error` (NULL: nothing happens) and return -1, so that a failing function can end with
 * `return sl_fail(error, ...)`. `format` is printf's; the text is cut to fit, double quotes become
 * single ones and control characters '?'.
 */
int sl_fail(struct sluice_error *error, enum sluice_code code, enum sluice_reaction reaction,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/**
 * As sl_fail with SLUICE_NO_MEMORY; `what` names what there was no memory for.
 */
int sl_fail_memory(struct sluice_error *error, const char *what);

/**
 * As sl_fail for an errno or a negative libuv error: chooses code and reaction by its number
 * (ENOSPC: SLUICE_NO_SPACE, EACCES, EROFS: SLUICE_READ_ONLY, others: SLUICE_IO).
 */
int sl_fail_system(struct sluice_error *error, int number, const char *what, const char *subject);

#endif
