/*
 * support/basics.h - what all the rest needs: the time, numbers and texts of requests, errors.
 */
#ifndef EXAMPLES_SUPPORT_BASICS_H
#define EXAMPLES_SUPPORT_BASICS_H

#include <stdint.h>

#include <sluice/error.h>

/**
 * Now, as Unix time in milliseconds.
 */
int64_t now_ms(void);

/**
 * A whole number above 0 out of decimal digits and nothing else, or -1.
 */
int64_t parse_id(const char *text);

/**
 * Whether a text is UTF-8; a path, a query and the texts of a JSON body have been checked.
 */
int is_utf8(const char *text);

/**
 * Fill in an error; returns -1.
 */
int fail_with(struct sluice_error *error, enum sluice_code code, enum sluice_reaction reaction,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
