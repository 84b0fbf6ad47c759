#include "base/parse.h"

#include "support/unit.h"

START_TEST(integers_are_whole_texts_without_overflow)
{
    int64_t number;
    ck_assert(sl_parse_i64(SL_TEXT("-9223372036854775807"), &number));
    ck_assert_int_eq(number, -INT64_MAX);
    ck_assert(!sl_parse_i64(SL_TEXT("9223372036854775808"), &number));
    ck_assert(!sl_parse_i64(SL_TEXT(""), &number));
    ck_assert(!sl_parse_i64(SL_TEXT("-"), &number));
    ck_assert(!sl_parse_i64(SL_TEXT("12 "), &number));
    ck_assert(!sl_parse_i64(SL_TEXT("+1"), &number));
    uint64_t unsigned_number;
    ck_assert(sl_parse_u64(SL_TEXT("18446744073709551615"), &unsigned_number));
    ck_assert(!sl_parse_u64(SL_TEXT("18446744073709551616"), &unsigned_number));
    ck_assert(sl_parse_hex(SL_TEXT("fF"), &unsigned_number) && unsigned_number == 255);
    ck_assert(!sl_parse_hex(SL_TEXT("12345678123456781"), &unsigned_number));
}
END_TEST

START_TEST(durations_and_sizes_have_units)
{
    int64_t value;
    ck_assert(sl_parse_duration_ms(SL_TEXT("7d"), &value) && value == 604800000);
    ck_assert(sl_parse_duration_ms(SL_TEXT("250ms"), &value) && value == 250);
    ck_assert(!sl_parse_duration_ms(SL_TEXT("7"), &value));
    ck_assert(!sl_parse_duration_ms(SL_TEXT("7 d"), &value));
    ck_assert(!sl_parse_duration_ms(SL_TEXT("9223372036854775807d"), &value));
    ck_assert(sl_parse_size(SL_TEXT("64KiB"), &value) && value == 65536);
    ck_assert(sl_parse_size(SL_TEXT("512"), &value) && value == 512);
    ck_assert(!sl_parse_size(SL_TEXT("64kb"), &value));
}
END_TEST

UNIT_MAIN("parse", integers_are_whole_texts_without_overflow, durations_and_sizes_have_units)
