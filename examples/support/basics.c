#include "basics.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t parse_id(const char *text)
{
    char *end = NULL;
    errno = 0;
    long long number =
        text != NULL && isdigit((unsigned char)text[0]) ? strtoll(text, &end, 10) : 0;
    return number > 0 && errno == 0 && *end == '\0' ? number : -1;
}

int is_utf8(const char *text)
{
    json_t *probe = json_string(text);
    json_decref(probe);
    return probe != NULL;
}

int fail_with(struct sluice_error *error, enum sluice_code code, enum sluice_reaction reaction,
    const char *format, ...)
{
    va_list arguments;
    *error = (struct sluice_error) {.code = code, .reaction = reaction};
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return -1;
}
