#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static enum sl_log_level lowest_level = SL_LOG_INFO;

static const char *const level_names[] = {
    [SL_LOG_DEBUG] = "debug",
    [SL_LOG_INFO] = "info",
    [SL_LOG_WARN] = "warn",
    [SL_LOG_ERROR] = "error",
};

void sl_log_set_level(enum sl_log_level level)
{
    lowest_level = level;
}

void sl_log(enum sl_log_level level, const char *message, const char *format, ...)
{
    if (level < lowest_level) {
        return;
    }
    char line[2048];
    char time[SL_CLOCK_TEXT_SIZE];
    sl_clock_format(sl_clock_wall_ms(), time);
    int head = snprintf(line, sizeof(line) / 4, "%s %s \"%s\" ", time, level_names[level], message);
    va_list arguments;
    va_start(arguments, format);
    int body = vsnprintf(line + head, sizeof(line) - (size_t) head - 1, format, arguments);
    va_end(arguments);
    size_t size = (size_t) head + (body < 0 ? 0 : (size_t) body);
    size = size > sizeof(line) - 2 ? sizeof(line) - 2 : size;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char) line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[size++] = '\n';
    /* A log that cannot be written has nobody to be told about it. */
    ssize_t written = write(STDERR_FILENO, line, size);
    (void) written;
}
