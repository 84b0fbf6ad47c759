#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[] = {
    [SLUICE_OK] = "SLUICE_OK",
    [SLUICE_NO_TRANSACTION] = "SLUICE_NO_TRANSACTION",
    [SLUICE_INVALID] = "SLUICE_INVALID",
    [SLUICE_TOO_LARGE] = "SLUICE_TOO_LARGE",
    [SLUICE_BUSY] = "SLUICE_BUSY",
    [SLUICE_NO_SPACE] = "SLUICE_NO_SPACE",
    [SLUICE_CORRUPT] = "SLUICE_CORRUPT",
    [SLUICE_READ_ONLY] = "SLUICE_READ_ONLY",
    [SLUICE_NO_SCHEMA] = "SLUICE_NO_SCHEMA",
    [SLUICE_UNAVAILABLE] = "SLUICE_UNAVAILABLE",
    [SLUICE_UNSUPPORTED] = "SLUICE_UNSUPPORTED",
    [SLUICE_NO_MEMORY] = "SLUICE_NO_MEMORY",
    [SLUICE_NOT_FOUND] = "SLUICE_NOT_FOUND",
    [SLUICE_CONFLICT] = "SLUICE_CONFLICT",
    [SLUICE_IO] = "SLUICE_IO",
    [SLUICE_IN_TRANSACTION] = "SLUICE_IN_TRANSACTION",
    [SLUICE_HANDLER] = "SLUICE_HANDLER",
    [SLUICE_OUTCOME_UNKNOWN] = "SLUICE_OUTCOME_UNKNOWN",
    [SLUICE_INTERNAL] = "SLUICE_INTERNAL",
    [SLUICE_ROLLBACK_ONLY] = "SLUICE_ROLLBACK_ONLY",
    [SLUICE_LISTENER] = "SLUICE_LISTENER",
    [SLUICE_CANCELLED] = "SLUICE_CANCELLED",
    [SLUICE_CONSTRAINT] = "SLUICE_CONSTRAINT",
};

const char *sluice_code_name(enum sluice_code code)
{
    if ((size_t) code >= sizeof(code_names) / sizeof(code_names[0])) {
        return code_names[SLUICE_INTERNAL];
    }
    return code_names[code];
}

/* A text may quote what came from outside: keep it one line that fits into a log's quotes. */
static void make_plain(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            *text = '\'';
        } else if ((unsigned char) *text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

int sl_fail(struct sluice_error *error, enum sluice_code code, enum sluice_reaction reaction,
    const char *format, ...)
{
    if (error == NULL) {
        return -1;
    }
    error->code = code;
    error->reaction = reaction;
    error->library_code = 0;
    error->sqlstate[0] = '\0';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    make_plain(error->text);
    return -1;
}

int sl_fail_memory(struct sluice_error *error, const char *what)
{
    return sl_fail(error, SLUICE_NO_MEMORY, SLUICE_RETRY, "out of memory for %s", what);
}

int sl_fail_system(struct sluice_error *error, int number, const char *what, const char *subject)
{
    number = number < 0 ? -number : number;
    enum sluice_code code = SLUICE_IO;
    enum sluice_reaction reaction = SLUICE_FATAL;
    const char *hint = "";
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        code = SLUICE_NO_SPACE;
        reaction = SLUICE_RETRY;
        hint = "; free some space, then it goes on";
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        code = SLUICE_READ_ONLY;
        hint = "; give this user the right to write there, or choose another place";
        break;
    case ENOENT:
    case ENOTDIR:
        code = SLUICE_UNAVAILABLE;
        hint = "; check the path, or create the folder first";
        break;
    case EADDRINUSE:
        code = SLUICE_UNAVAILABLE;
        hint = "; another program uses this address: stop it, or choose another port (:0 takes a "
               "free one)";
        break;
    case EMFILE:
    case ENFILE:
        reaction = SLUICE_RETRY;
        hint = "; raise the limit of open files (ulimit -n)";
        break;
    case ENOMEM:
        code = SLUICE_NO_MEMORY;
        reaction = SLUICE_RETRY;
        break;
    default:
        break;
    }
    sl_fail(error, code, reaction, "%s %s: %s%s", what, subject, strerror(number), hint);
    if (error != NULL) {
        error->library_code = number;
    }
    return -1;
}
