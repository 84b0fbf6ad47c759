/*
 * cli/sorter.h - sorting more records of one size than memory shall hold.
 *
 * Records are added, then read back in the order of their bytes (as memcmp has it). What memory_max
 * cannot hold is sorted in pieces into one file without a name, in the folder of TMPDIR, and merged
 * when read; it is gone with the process.
 *
 *   state   | add             | next
 *   --------+-----------------+----------------------------------
 *   filling | filling         | sorts what there is, -> reading
 *   reading | not allowed     | reading
 */
#ifndef SL_CLI_SORTER_H
#define SL_CLI_SORTER_H

#include <sluice/error.h>
#include <stddef.h>

/* Up to so many pieces can be merged; more is SLUICE_NO_SPACE. */
enum { SL_SORTER_RUNS_MAX = 512 };

struct sl_sorter;

/**
 * An empty sorter of records of `record_size` bytes, that holds `memory_max` bytes of them in
 * memory (at least a thousand records, and some bytes for each beside them). The caller's to
 * sl_sorter_close. NULL without memory.
 */
struct sl_sorter *sl_sorter_open(size_t record_size, size_t memory_max)
    __attribute__((warn_unused_result));

/**
 * Add a copy of a record. May block for the disk.
 */
int sl_sorter_add(struct sl_sorter *sorter, const void *record, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The next record in order: 1, and `*ret_record` is the sorter's until the next call; 0 at the end;
 * -1 if the disk or the memory failed.
 */
int sl_sorter_next(struct sl_sorter *sorter, const void **ret_record, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Free everything; NULL is fine.
 */
void sl_sorter_close(struct sl_sorter *sorter);

#endif
