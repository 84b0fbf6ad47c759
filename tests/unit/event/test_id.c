#include "event/id.h"

#include <string.h>

#include "event/event.h"
#include "support/unit.h"

START_TEST(an_id_has_the_layout_of_a_uuid_of_version_7)
{
    unsigned char random[10];
    memset(random, 0xff, sizeof(random));
    char id[SLUICE_EVENT_ID_SIZE];
    sl_id_make(0x0123456789ab, random, id);
    ck_assert_str_eq(id, "01234567-89ab-7fff-bfff-ffffffffffff");
    sl_id_floor(0x0123456789ab, id);
    ck_assert_str_eq(id, "01234567-89ab-7000-8000-000000000000");
}
END_TEST

START_TEST(ids_sort_by_the_millisecond_that_they_were_made_in)
{
    char older[SLUICE_EVENT_ID_SIZE];
    char newer[SLUICE_EVENT_ID_SIZE];
    sl_id_floor(1795356758000, older);
    sl_id_floor(1795356758001, newer);
    ck_assert_int_lt(strcmp(older, newer), 0);
    sl_id_new(newer);
    ck_assert(sl_event_is_id(sl_text_of(newer)));
}
END_TEST

START_TEST(what_is_not_a_lower_case_uuid_is_no_id)
{
    ck_assert(!sl_event_is_id(SL_TEXT("01234567-89AB-7000-8000-000000000000")));
    ck_assert(!sl_event_is_id(SL_TEXT("01234567-89ab-7000-8000-00000000000")));
    ck_assert(!sl_event_is_id(SL_TEXT("0123456789ab-7000-8000-000000000000--")));
    ck_assert(!sl_event_is_id(SL_TEXT("")));
}
END_TEST

UNIT_MAIN("id", an_id_has_the_layout_of_a_uuid_of_version_7,
    ids_sort_by_the_millisecond_that_they_were_made_in, what_is_not_a_lower_case_uuid_is_no_id)
