#include "clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "service.h"

static const char *clock_file = "";

void clock_use(const char *file)
{
    clock_file = file;
}

int64_t clock_now(void)
{
    char text[40] = "";
    int64_t time_ms = 0;
    FILE *file = clock_file[0] != '\0' ? fopen(clock_file, "r") : NULL;
    if (file != NULL) {
        if (fgets(text, sizeof(text), file) == NULL) {
            text[0] = '\0';
        }
        fclose(file);
    }
    text[strcspn(text, " \n")] = '\0';
    return local_parse(text, &time_ms) == 0 ? time_ms : now_ms();
}

void local_text(int64_t time_ms, char ret_text[LOCAL_TIME_SIZE])
{
    time_t seconds = (time_t) (time_ms / 1000);
    struct tm parts;
    localtime_r(&seconds, &parts);
    strftime(ret_text, LOCAL_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
}

int local_parse(const char *text, int64_t *ret_time_ms)
{
    struct tm parts = {.tm_isdst = -1};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M", &parts);
    if (rest != NULL && *rest == ':') {
        rest = strptime(rest, ":%S", &parts);
    }
    if (rest != NULL && *rest == '.' && isdigit((unsigned char) rest[1])) {
        rest += 1 + strspn(rest + 1, "0123456789"); /* parts of a second do not matter here */
    }
    if (rest == NULL || *rest != '\0' || parts.tm_year < 70 || parts.tm_year > 8000) {
        return -1;
    }
    struct tm wanted = parts;
    time_t seconds = mktime(&parts); /* moves 31 February on, which is no date */
    if (seconds < 0 || parts.tm_mday != wanted.tm_mday) {
        return -1;
    }
    *ret_time_ms = (int64_t) seconds * 1000;
    return 0;
}

int64_t local_hour(int64_t time_ms, int days, int hour)
{
    time_t seconds = (time_t) (time_ms / 1000);
    struct tm parts;
    localtime_r(&seconds, &parts);
    parts.tm_mday += days;
    parts.tm_hour = hour;
    parts.tm_min = parts.tm_sec = 0;
    parts.tm_isdst = -1;
    return (int64_t) mktime(&parts) * 1000;
}
