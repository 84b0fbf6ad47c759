#include "base/text.h"

#include "support/unit.h"

START_TEST(split_gives_every_part_and_then_ends)
{
    struct sl_text rest = SL_TEXT("a,,b");
    struct sl_text part;
    ck_assert(sl_text_split(&rest, ',', &part) && sl_text_equal(part, SL_TEXT("a")));
    ck_assert(sl_text_split(&rest, ',', &part) && part.size == 0);
    ck_assert(sl_text_split(&rest, ',', &part) && sl_text_equal(part, SL_TEXT("b")));
    ck_assert(!sl_text_split(&rest, ',', &part));
}
END_TEST

START_TEST(utf8_with_surrogates_overlong_forms_or_controls_is_not_clean)
{
    ck_assert(sl_text_is_clean_utf8(SL_TEXT("Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x90\xb0")));
    ck_assert(!sl_text_is_clean_utf8(SL_TEXT("\xed\xa0\x80")));
    ck_assert(!sl_text_is_clean_utf8(SL_TEXT("\xc0\xaf")));
    ck_assert(!sl_text_is_clean_utf8(SL_TEXT("\xe0\x80\xaf")));
    ck_assert(!sl_text_is_clean_utf8(SL_TEXT("\xf5\x80\x80\x80")));
    ck_assert(!sl_text_is_clean_utf8(SL_TEXT("cut \xe2\x82")));
    ck_assert(!sl_text_is_clean_utf8(SL_TEXT("a\nb")));
    ck_assert(!sl_text_is_clean_utf8((struct sl_text) {"a\0b", 3}));
}
END_TEST

START_TEST(distance_counts_edits_and_a_swap_as_one)
{
    ck_assert_uint_eq(sl_text_distance(SL_TEXT("listen"), SL_TEXT("listen")), 0);
    ck_assert_uint_eq(sl_text_distance(SL_TEXT("lisetn"), SL_TEXT("listen")), 1);
    ck_assert_uint_eq(sl_text_distance(SL_TEXT("kitten"), SL_TEXT("sitting")), 3);
    ck_assert_uint_eq(sl_text_distance(SL_TEXT(""), SL_TEXT("abc")), 3);
}
END_TEST

START_TEST(comparison_without_case_is_for_ascii_letters_only)
{
    ck_assert(sl_text_equal_nocase(SL_TEXT("Content-TYPE"), SL_TEXT("content-type")));
    ck_assert(!sl_text_equal_nocase(SL_TEXT("a@"), SL_TEXT("a`")));
}
END_TEST

UNIT_MAIN("text", split_gives_every_part_and_then_ends,
    utf8_with_surrogates_overlong_forms_or_controls_is_not_clean,
    distance_counts_edits_and_a_swap_as_one, comparison_without_case_is_for_ascii_letters_only)
