#include "cli/sorter.h"

#include <stdint.h>
#include <string.h>

#include "support/unit.h"

enum { RECORD_SIZE = 24, SMALL = 64 << 10 };

/* The next of a series that looks random and is the same each time. */
static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return *state >> 11;
}

static void make_record(uint64_t *state, unsigned char record[RECORD_SIZE])
{
    for (size_t i = 0; i < RECORD_SIZE; i++) {
        /* Few first bytes, so that the later ones matter. */
        record[i] = (unsigned char) (next_random(state) % (i < 8 ? 2 : 251));
    }
}

static void check_sorted(size_t count, size_t memory_max)
{
    struct sluice_error error;
    struct sl_sorter *sorter = sl_sorter_open(RECORD_SIZE, memory_max);
    uint64_t state = count;
    uint64_t sum_in = 0;
    uint64_t sum_out = 0;
    unsigned char record[RECORD_SIZE];
    unsigned char before[RECORD_SIZE] = {0};
    for (size_t i = 0; i < count; i++) {
        make_record(&state, record);
        for (size_t j = 0; j < RECORD_SIZE; j++) {
            sum_in += (j + 1) * record[j];
        }
        ck_assert_int_eq(sl_sorter_add(sorter, record, &error), 0);
    }
    const void *got;
    size_t got_count = 0;
    int status;
    while ((status = sl_sorter_next(sorter, &got, &error)) == 1) {
        ck_assert_int_le(memcmp(before, got, RECORD_SIZE), 0);
        memcpy(before, got, RECORD_SIZE);
        for (size_t j = 0; j < RECORD_SIZE; j++) {
            sum_out += (j + 1) * before[j];
        }
        got_count++;
    }
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(got_count, count);
    ck_assert_uint_eq(sum_in, sum_out);
    sl_sorter_close(sorter);
}

START_TEST(what_was_added_comes_back_in_order)
{
    check_sorted(0, SMALL);
    check_sorted(1, SMALL);
    check_sorted(999, SMALL);
}
END_TEST

START_TEST(what_memory_cannot_hold_is_merged_from_disk)
{
    check_sorted(5000, SMALL);
    check_sorted(100000, SMALL);
}
END_TEST

START_TEST(a_full_disk_is_told)
{
    struct sluice_error error = {.code = SLUICE_OK};
    struct sl_sorter *sorter = sl_sorter_open(RECORD_SIZE, SMALL);
    unsigned char record[RECORD_SIZE] = {0};
    setenv("TMPDIR", "/proc/self", 1);
    int status = 0;
    for (int i = 0; i < 10000 && status == 0; i++) {
        status = sl_sorter_add(sorter, record, &error);
    }
    ck_assert_int_eq(status, -1);
    ck_assert_ptr_nonnull(strstr(error.text, "TMPDIR"));
    sl_sorter_close(sorter);
    unsetenv("TMPDIR");
}
END_TEST

UNIT_MAIN("sorter", what_was_added_comes_back_in_order, what_memory_cannot_hold_is_merged_from_disk,
    a_full_disk_is_told)
