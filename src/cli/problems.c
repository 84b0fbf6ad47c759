#include "cli/problems.h"

#include <stdarg.h>
#include <stdio.h>

enum { PROBLEMS_MAX = 50, PROBLEM_SIZE_MAX = 1000 };

void sl_problems_init(struct sl_problems *problems)
{
    problems->count = 0;
    sl_buffer_init(&problems->text, (PROBLEMS_MAX + 1) * PROBLEM_SIZE_MAX);
}

void sl_problems_deinit(struct sl_problems *problems)
{
    sl_buffer_deinit(&problems->text);
    problems->count = 0;
}

void sl_problems_add(struct sl_problems *problems, const char *format, ...)
{
    char line[PROBLEM_SIZE_MAX];
    problems->count++;
    if (problems->count > PROBLEMS_MAX) {
        if (problems->count == PROBLEMS_MAX + 1) {
            sl_buffer_append_text(&problems->text, "and more; mend these first\n");
        }
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (char *c = line; *c != '\0'; c++) {
        if ((unsigned char) *c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    sl_buffer_append_format(&problems->text, "%s\n", line);
}
