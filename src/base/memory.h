/*
 * base/memory.h - the only place that calls malloc.
 *
 * All of our memory comes from here, so that a test can make the n-th allocation fail and watch
 * what the caller does about it. Functions return NULL when memory has run out; the caller reports
 * it with sl_fail_memory.
 */
#ifndef SL_BASE_MEMORY_H
#define SL_BASE_MEMORY_H

#include <stddef.h>

/**
 * `size` bytes set to zero, the caller's to sl_free; NULL if there are none. `size` may be 0.
 */
void *sl_allocate(size_t size) __attribute__((warn_unused_result));

/**
 * As realloc: the block grows or shrinks, new bytes are undefined; on NULL the old one stays valid.
 */
void *sl_reallocate(void *memory, size_t size) __attribute__((warn_unused_result));

/**
 * Give memory back; NULL is fine.
 */
void sl_free(void *memory);

/**
 * A copy of a NUL-terminated text, the caller's to sl_free; NULL if there is no memory.
 */
char *sl_copy_text(const char *text) __attribute__((warn_unused_result));

/**
 * A copy of `size` bytes with a NUL after them, the caller's to sl_free; NULL if no memory.
 */
char *sl_copy_bytes(const void *data, size_t size) __attribute__((warn_unused_result));

/**
 * Tests only (builds with fault_injection; elsewhere nothing happens): the allocation that is
 * `countdown` allocations away fails, once; 0 turns it off. Returns what was left of the countdown
 * before: 0 if its allocation has failed.
 */
long sl_memory_fail_after(long countdown);

#endif
