#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#ifdef SL_FAULT_INJECTION
static long fail_countdown; /* tests only, and they have one thread */
#endif

static int is_failing_now(void)
{
#ifdef SL_FAULT_INJECTION
    return fail_countdown > 0 && --fail_countdown == 0;
#else
    return 0;
#endif
}

long sl_memory_fail_after(long countdown)
{
    long left = 0;
#ifdef SL_FAULT_INJECTION
    left = fail_countdown;
    fail_countdown = countdown;
#endif
    (void) countdown;
    return left;
}

void *sl_allocate(size_t size)
{
    return is_failing_now() ? NULL : calloc(1, size == 0 ? 1 : size);
}

void *sl_reallocate(void *memory, size_t size)
{
    return is_failing_now() ? NULL : realloc(memory, size == 0 ? 1 : size);
}

void sl_free(void *memory)
{
    free(memory);
}

char *sl_copy_text(const char *text)
{
    return sl_copy_bytes(text, strlen(text));
}

char *sl_copy_bytes(const void *data, size_t size)
{
    char *copy = sl_allocate(size + 1);
    if (copy != NULL && size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}
