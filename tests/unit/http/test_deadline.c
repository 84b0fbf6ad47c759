#include "http/deadline.h"

#include "support/unit.h"

START_TEST(deadlines_expire_in_the_order_in_which_they_were_set)
{
    struct sl_deadline_list list = {.duration_ms = 100};
    struct sl_deadline first = {0};
    struct sl_deadline second = {0};
    sl_deadline_set(&first, &list, 1000);
    sl_deadline_set(&second, &list, 1050);
    ck_assert_ptr_null(sl_deadline_expired(&list, 1099));
    ck_assert_ptr_eq(sl_deadline_expired(&list, 1100), &first);
    ck_assert_ptr_null(sl_deadline_expired(&list, 1100));
    ck_assert_ptr_eq(sl_deadline_expired(&list, 2000), &second);
    ck_assert_ptr_null(list.first);
    ck_assert_ptr_null(list.last);
}
END_TEST

START_TEST(progress_moves_a_deadline_behind_the_others)
{
    struct sl_deadline_list list = {.duration_ms = 100};
    struct sl_deadline first = {0};
    struct sl_deadline second = {0};
    sl_deadline_set(&first, &list, 1000);
    sl_deadline_set(&second, &list, 1010);
    sl_deadline_set(&first, &list, 1020);
    ck_assert_ptr_eq(sl_deadline_expired(&list, 1115), &second);
    ck_assert_ptr_null(sl_deadline_expired(&list, 1115));
    ck_assert_ptr_eq(sl_deadline_expired(&list, 1120), &first);
}
END_TEST

START_TEST(a_deadline_is_in_one_list_at_a_time)
{
    struct sl_deadline_list heads = {.duration_ms = 100};
    struct sl_deadline_list bodies = {.duration_ms = 200};
    struct sl_deadline deadlines[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        sl_deadline_set(&deadlines[i], &heads, 1000);
    }
    sl_deadline_set(&deadlines[1], &bodies, 1000);
    ck_assert_ptr_eq(heads.first, &deadlines[0]);
    ck_assert_ptr_eq(heads.first->next, &deadlines[2]);
    ck_assert_ptr_eq(bodies.first, &deadlines[1]);
    sl_deadline_clear(&deadlines[0]);
    sl_deadline_clear(&deadlines[2]);
    sl_deadline_clear(&deadlines[2]);
    ck_assert_ptr_null(heads.first);
    ck_assert_ptr_null(heads.last);
}
END_TEST

START_TEST(a_list_without_a_duration_never_expires)
{
    struct sl_deadline_list list = {.duration_ms = 0};
    struct sl_deadline deadline = {0};
    sl_deadline_set(&deadline, &list, 1000);
    ck_assert_ptr_null(sl_deadline_expired(&list, INT64_MAX));
}
END_TEST

UNIT_MAIN("deadline", deadlines_expire_in_the_order_in_which_they_were_set,
    progress_moves_a_deadline_behind_the_others, a_deadline_is_in_one_list_at_a_time,
    a_list_without_a_duration_never_expires)
