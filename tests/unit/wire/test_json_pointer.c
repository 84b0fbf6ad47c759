#include "wire/json_pointer.h"

#include <string.h>

#include "support/unit.h"

static const char *const document =
    "{\"type\": \"paid\", \"version\": 7, \"ok\": true, \"no\": false, \"nothing\": null,"
    " \"a/b\": 1, \"m~n\": 2, \"\": 3, \"real\": 1.5, \"deep\": {\"list\": [10, {\"x\": \"y\"}]}}";

static void check_value(const char *pointer, const char *expected)
{
    struct sl_json *json;
    struct sl_buffer value;
    struct sluice_error error;
    sl_buffer_init(&value, 100);
    ck_assert_int_eq(sl_json_parse(sl_text_of(document), &json, &error), 0);
    int result = sl_json_find_scalar(json, sl_text_of(pointer), &value, &error);
    if (expected == NULL) {
        ck_assert_int_eq(result, -1);
        ck_assert_int_eq(error.code, SLUICE_NOT_FOUND);
        ck_assert_uint_eq(value.size, 0);
    } else {
        ck_assert_int_eq(result, 0);
        ck_assert_str_eq(value.data, expected);
    }
    sl_buffer_deinit(&value);
    sl_json_free(json);
}

START_TEST(scalars_are_found_as_text)
{
    check_value("/type", "paid");
    check_value("/version", "7");
    check_value("/ok", "true");
    check_value("/no", "false");
    check_value("/real", "1.5");
    check_value("/deep/list/0", "10");
    check_value("/deep/list/1/x", "y");
    check_value("/a~1b", "1");
    check_value("/m~0n", "2");
    check_value("/", "3");
}
END_TEST

START_TEST(what_is_no_scalar_or_not_there_is_not_found)
{
    check_value("", NULL);
    check_value("/deep", NULL);
    check_value("/deep/list", NULL);
    check_value("/nothing", NULL);
    check_value("/missing", NULL);
    check_value("/type/x", NULL);
    check_value("/deep/list/2", NULL);
    check_value("/deep/list/00", NULL);
    check_value("/deep/list/-", NULL);
    check_value("/deep/list/9999999999", NULL);
}
END_TEST

START_TEST(pointers_are_checked)
{
    ck_assert(sl_json_is_pointer(SL_TEXT("")));
    ck_assert(sl_json_is_pointer(SL_TEXT("/a~0~1/b")));
    ck_assert(!sl_json_is_pointer(SL_TEXT("a")));
    ck_assert(!sl_json_is_pointer(SL_TEXT("/a~2")));
    ck_assert(!sl_json_is_pointer(SL_TEXT("/a~")));
    char deep[SL_JSON_POINTER_DEPTH_MAX + 2];
    memset(deep, '/', sizeof(deep));
    ck_assert(sl_json_is_pointer((struct sl_text) {deep, SL_JSON_POINTER_DEPTH_MAX}));
    ck_assert(!sl_json_is_pointer((struct sl_text) {deep, SL_JSON_POINTER_DEPTH_MAX + 1}));
}
END_TEST

START_TEST(broken_json_is_refused_with_its_place)
{
    static const char *const bad[] = {"", "{", "[1,]", "{\"a\":1,\"a\":2}", "\"text\"", "1", "nul",
        "{\"a\":\"\xff\"}", "{} {}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sl_json *json = NULL;
        struct sluice_error error;
        ck_assert_int_eq(sl_json_parse(sl_text_of(bad[i]), &json, &error), -1);
        ck_assert_int_eq(error.code, SLUICE_INVALID);
        ck_assert_ptr_nonnull(strstr(error.text, "line"));
        ck_assert_ptr_null(json);
    }
}
END_TEST

START_TEST(endless_nesting_is_refused)
{
    static char text[100000];
    struct sl_json *json;
    memset(text, '[', sizeof(text));
    ck_assert_int_eq(sl_json_parse((struct sl_text) {text, sizeof(text)}, &json, NULL), -1);
}
END_TEST

START_TEST(strings_are_written_so_that_they_are_json)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 100);
    ck_assert_int_eq(
        sl_json_append_string(&buffer, SL_TEXT("a\"b\\c\n\x7f\xc3\xa9\xff\xe2\x82")), 0);
    ck_assert_str_eq(
        buffer.data, "\"a\\\"b\\\\c\\u000a\\u007f\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    sl_buffer_deinit(&buffer);
}
END_TEST

UNIT_MAIN("json pointer", scalars_are_found_as_text, what_is_no_scalar_or_not_there_is_not_found,
    pointers_are_checked, broken_json_is_refused_with_its_place, endless_nesting_is_refused,
    strings_are_written_so_that_they_are_json)
