/*
 * base/random.h - random bytes from the kernel, for ids and jitter.
 */
#ifndef SL_BASE_RANDOM_H
#define SL_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/**
 * Fill `ret_bytes` with random bytes that nobody can guess. Blocks only in early boot; a kernel
 * without getrandom ends the process, since ids must not repeat.
 */
void sl_random_bytes(void *ret_bytes, size_t size);

/**
 * A random 64-bit number.
 */
uint64_t sl_random_u64(void);

#endif
