#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t sl_clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t sl_clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t sl_clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

void sl_clock_format(int64_t time_ms, char ret_text[SL_CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t) (time_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    /* Bounded by the remainders, so that the compiler sees that 24 characters are enough. */
    snprintf(ret_text, SL_CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
        (unsigned) (parts.tm_year + 1900) % 10000U, (unsigned) (parts.tm_mon + 1) % 100U,
        (unsigned) parts.tm_mday % 100U, (unsigned) parts.tm_hour % 100U,
        (unsigned) parts.tm_min % 100U, (unsigned) parts.tm_sec % 100U,
        (unsigned) (time_ms % 1000) % 1000U);
}
