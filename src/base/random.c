#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

void sl_random_bytes(void *ret_bytes, size_t size)
{
    unsigned char *next = ret_bytes;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        assert(got > 0);
        next += got;
        size -= (size_t) got;
    }
}

uint64_t sl_random_u64(void)
{
    uint64_t number;
    sl_random_bytes(&number, sizeof(number));
    return number;
}
