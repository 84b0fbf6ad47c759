/*
 * clock.h - the time of the posts service, which a file can stop, and local date-times without a
 * zone ("2026-06-01T09:00:00"): the zone is the machine's (TZ).
 */
#ifndef EXAMPLES_STUDYPOSTS_CLOCK_H
#define EXAMPLES_STUDYPOSTS_CLOCK_H

#include <stdint.h>

enum { LOCAL_TIME_SIZE = 20 };

/**
 * Let the time be what stands in `file` whenever it is asked for: a local date-time. "" is none; a
 * file that is missing or holds no date-time is none, either: then the time is the real one.
 */
void clock_use(const char *file);

/**
 * Now, as Unix time in milliseconds.
 */
int64_t clock_now(void);

/**
 * A time as a local date-time, to the second.
 */
void local_text(int64_t time_ms, char ret_text[LOCAL_TIME_SIZE]);

/**
 * Read a local date-time: "2026-06-01T09:00", with ":00" and ".000" if wanted. 0, or -1.
 */
int local_parse(const char *text, int64_t *ret_time_ms);

/**
 * `hour` o'clock of the local day that is `days` after that of `time_ms`.
 */
int64_t local_hour(int64_t time_ms, int days, int hour);

#endif
