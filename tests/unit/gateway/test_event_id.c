#include "gateway/event_id.h"

#include <string.h>

#include "support/unit.h"

static void check_text(struct sl_event_id id, const char *expected)
{
    char text[SL_EVENT_ID_SIZE_MAX + 1];
    struct sl_event_id read = {0};
    memcpy(id.epoch, "1a2b3c4d", 9);
    size_t size = sl_event_id_format(&id, text);
    ck_assert_str_eq(text, expected);
    ck_assert_uint_eq(size, strlen(expected));
    ck_assert(sl_event_id_parse(sl_text_of(text), &read));
    ck_assert_str_eq(read.epoch, "1a2b3c4d");
    ck_assert_uint_eq(read.place, id.place);
    ck_assert_int_eq(read.partition, id.partition);
    ck_assert_int_eq(read.offset, id.offset);
    ck_assert_int_eq(read.version, id.version);
    ck_assert_uint_eq(read.generation, id.generation);
    ck_assert_int_eq(read.is_final, id.is_final);
    ck_assert_int_eq(read.is_replaced, id.is_replaced);
}

START_TEST(ids_come_back_as_they_were)
{
    check_text(
        (struct sl_event_id){.place = 0x5e6f7a8b, .partition = 3, .offset = 1042, .version = 7},
        "1a2b3c4d-5e6f7a8b-3-1042-7");
    check_text((struct sl_event_id){.partition = -1, .offset = -1, .version = -1},
        "1a2b3c4d-00000000-n-n-n");
    check_text((struct sl_event_id){.generation = 0x19f3ab, .is_final = true},
        "1a2b3c4d-00000000-0-0-0-g19f3ab-f");
    check_text((struct sl_event_id){.generation = UINT64_MAX, .is_replaced = true},
        "1a2b3c4d-00000000-0-0-0-gffffffffffffffff-r");
}
END_TEST

/* A client goes on at another node, and after an update: the hash must stay what it is. */
START_TEST(the_place_of_a_key_is_the_same_everywhere_and_for_ever)
{
    ck_assert_uint_eq(sl_event_id_place(SL_TEXT("orders"), SL_TEXT("k")), 0x752a21d6);
    ck_assert_uint_eq(sl_event_id_place(SL_TEXT("orders"), SL_TEXT("")), 0x0de754f9);
    ck_assert_uint_ne(sl_event_id_place(SL_TEXT("a"), SL_TEXT("b")),
        sl_event_id_place(SL_TEXT("ab"), SL_TEXT("")));
}
END_TEST

START_TEST(the_longest_id_is_short_enough_for_a_browser)
{
    char text[SL_EVENT_ID_SIZE_MAX + 1];
    struct sl_event_id id = {.epoch = "ffffffff",
        .place = UINT32_MAX,
        .partition = INT32_MAX,
        .offset = INT64_MAX - 1,
        .version = INT64_MAX - 1,
        .generation = UINT64_MAX,
        .is_final = true,
        .is_replaced = true};
    ck_assert_uint_lt(sl_event_id_format(&id, text), 128);
    ck_assert(sl_event_id_parse(sl_text_of(text), &id));
    ck_assert_uint_eq(strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(text));
}
END_TEST

START_TEST(what_we_would_not_write_is_foreign)
{
    static const char *const foreign[] = {"", "1a2b3c4d", "1a2b3c4d-1-2-3", "1a2b3c4d-7-1-2-3",
        "1a2b3c4d-0000000A-1-2-3", "1a2b3c4d-000000007-1-2-3", "1a2b3c4d-00000007-1-2",
        "1a2b3c4-00000007-1-2-3", "1a2b3c4d-00000007-1-2-3-", "1a2b3c4d-00000007--1-2-3",
        "1a2b3c4d-00000007-01-2-3", "1a2b3c4d-00000007-1-2-3-x", "1a2b3c4d-00000007-1-2-3-f-f",
        "1a2b3c4d-00000007-1-2-3-r-f", "1a2b3c4d-00000007-1-2-3-f-gab", "1a2b3c4d-00000007-1-2-3-g",
        "1a2b3c4d-00000007-1-2-3-g0", "1a2b3c4d-00000007-1-2-3-gAB", "1a2b3c4d-00000007-1-2-3-g0ab",
        "1a2b3c4d-00000007-+1-2-3", "1a2b3c4d-00000007-1-2-3 ", " 1a2b3c4d-00000007-1-2-3",
        "1a2b3c4d-00000007-99999999999-2-3", "1a2b3c4d-00000007-1-9223372036854775807-3",
        "1a2b3c4d-00000007-1-99999999999999999999-3", "1a2b3cxx-00000007-1-2-3",
        "1a2b3c4d-00000007-1-2-3\n", "1a2b3c4d-00000007-1-2-3-g11111111111111111"};
    struct sl_event_id id = {.version = 99};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        ck_assert_msg(!sl_event_id_parse(sl_text_of(foreign[i]), &id), "%s", foreign[i]);
        ck_assert_int_eq(id.version, 99);
    }
    char endless[2000];
    memset(endless, '1', sizeof(endless));
    memcpy(endless, "1a2b3c4d-00000007-1-2-", 22);
    ck_assert(!sl_event_id_parse((struct sl_text) {endless, sizeof(endless)}, &id));
}
END_TEST

UNIT_MAIN("event id", ids_come_back_as_they_were,
    the_place_of_a_key_is_the_same_everywhere_and_for_ever,
    the_longest_id_is_short_enough_for_a_browser, what_we_would_not_write_is_foreign)
