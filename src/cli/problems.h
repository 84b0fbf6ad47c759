/*
 * cli/problems.h - the mistakes of a config, collected, so that a user sees all of them at once.
 *
 * At most 50 are kept; the text then says that there are more.
 */
#ifndef SL_CLI_PROBLEMS_H
#define SL_CLI_PROBLEMS_H

#include "base/buffer.h"

struct sl_problems {
    struct sl_buffer text; /* one line each */
    size_t count;
};

/**
 * Start without problems.
 */
void sl_problems_init(struct sl_problems *problems);

/**
 * Free the text.
 */
void sl_problems_deinit(struct sl_problems *problems);

/**
 * Note one; the text is printf's, without a line end. Control characters are shown as '?'.
 */
void sl_problems_add(struct sl_problems *problems, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
