#include "http/frame.h"

#include <string.h>

#include "support/unit.h"

START_TEST(a_frame_is_a_chunk_and_its_data_a_slice_of_it)
{
    struct sl_frame *frame = sl_frame_new("data: 0123456789\n\n", 18);
    ck_assert_uint_eq(frame->size, 4 + 18 + 2);
    ck_assert(memcmp(frame->bytes, "12\r\ndata: 0123456789\n\n\r\n", frame->size) == 0);
    ck_assert_uint_eq(frame->data_size, 18);
    ck_assert(memcmp(frame->bytes + frame->data_offset, "data: 0123456789\n\n", 18) == 0);
    sl_frame_unref(frame);
}
END_TEST

START_TEST(a_frame_lives_as_long_as_somebody_holds_it)
{
    struct sl_frame *frame = sl_frame_new("x", 1);
    ck_assert_ptr_eq(sl_frame_ref(frame), frame);
    sl_frame_unref(frame);
    ck_assert_uint_eq(frame->reference_count, 1);
    sl_frame_unref(frame);
    sl_frame_unref(NULL);
}
END_TEST

START_TEST(what_is_left_of_several_pieces_is_gathered)
{
    const struct iovec pieces[] = {{"abc", 3}, {"", 0}, {"defg", 4}, {"h", 1}};
    static const char *const expected[] = {"abcdefgh", "bcdefgh", "cdefgh", "defgh", "efgh",
        "fgh", "gh", "h"};
    for (size_t skip = 0; skip < 8; skip++) {
        struct sl_frame *frame = sl_frame_gather(pieces, 4, skip);
        ck_assert_uint_eq(frame->size, strlen(expected[skip]));
        ck_assert(memcmp(frame->bytes, expected[skip], frame->size) == 0);
        sl_frame_unref(frame);
    }
    ck_assert_ptr_null(sl_frame_gather(pieces, 4, 8));
}
END_TEST

START_TEST(sizes_outside_of_the_limits_make_no_frame)
{
    ck_assert_ptr_null(sl_frame_new("", 0));
    ck_assert_ptr_null(sl_frame_new("", (size_t) SL_FRAME_DATA_MAX + 1));
}
END_TEST

UNIT_MAIN("frame", a_frame_is_a_chunk_and_its_data_a_slice_of_it,
    a_frame_lives_as_long_as_somebody_holds_it, what_is_left_of_several_pieces_is_gathered,
    sizes_outside_of_the_limits_make_no_frame)
