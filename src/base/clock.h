/*
 * base/clock.h - the two clocks. Only drivers read them; the pure core gets `now` as an argument.
 */
#ifndef SL_BASE_CLOCK_H
#define SL_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/**
 * Milliseconds of a clock that never jumps; its zero means nothing.
 */
int64_t sl_clock_monotonic_ms(void);

/**
 * As above, in microseconds.
 */
int64_t sl_clock_monotonic_us(void);

/**
 * Unix time in milliseconds. May jump.
 */
int64_t sl_clock_wall_ms(void);

/* "2026-11-22T13:05:09.123Z" and a NUL. */
#define SL_CLOCK_TEXT_SIZE 25

/**
 * Write a Unix time in milliseconds as RFC 3339 in UTC.
 */
void sl_clock_format(int64_t time_ms, char ret_text[SL_CLOCK_TEXT_SIZE]);

#endif
