#include "base/buffer.h"

#include <string.h>

#include "support/unit.h"

START_TEST(append_past_the_maximum_changes_nothing_and_is_remembered)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 10);
    ck_assert_int_eq(sl_buffer_append_text(&buffer, "12345678"), 0);
    ck_assert_int_eq(sl_buffer_append_text(&buffer, "abc"), -1);
    ck_assert(buffer.is_failed);
    ck_assert_str_eq(buffer.data, "12345678");
    ck_assert_int_eq(sl_buffer_append_text(&buffer, "ab"), 0);
    ck_assert_uint_eq(buffer.size, 10);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(consume_keeps_the_rest_and_its_nul)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    ck_assert_int_eq(sl_buffer_append_format(&buffer, "%s-%d", "position", 42), 0);
    sl_buffer_consume(&buffer, 9);
    ck_assert_str_eq(buffer.data, "42");
    sl_buffer_consume(&buffer, 2);
    ck_assert_uint_eq(buffer.size, 0);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(buffer_grows_byte_by_byte_to_its_maximum)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 100000);
    for (int i = 0; i < 100000; i++) {
        ck_assert_int_eq(sl_buffer_append(&buffer, "x", 1), 0);
    }
    ck_assert_int_eq(sl_buffer_append(&buffer, "x", 1), -1);
    ck_assert_uint_eq(strlen(buffer.data), 100000);
    sl_buffer_deinit(&buffer);
}
END_TEST

UNIT_MAIN("buffer", append_past_the_maximum_changes_nothing_and_is_remembered,
    consume_keeps_the_rest_and_its_nul, buffer_grows_byte_by_byte_to_its_maximum)
