#include "gateway/owners.h"

#include "support/unit.h"

#define OWNER SL_TEXT("ann")
#define KEY SL_TEXT("order-1")

static int older_stream, newer_stream, third_stream;

struct claimed {
    int result;
    uint64_t generation;
    void *replaced;
};

static struct claimed claim(
    struct sl_owners *owners, uint64_t generation, int64_t now_ms, void *holder)
{
    struct claimed claimed = {0};
    claimed.result = sl_owners_claim(owners, OWNER, KEY, generation, now_ms, holder,
        &claimed.generation, &claimed.replaced);
    return claimed;
}

START_TEST(the_newest_stream_lives_and_the_older_one_must_go)
{
    struct sl_owners owners;
    sl_owners_init(&owners);
    struct claimed first = claim(&owners, 0, 1000, &older_stream);
    ck_assert_int_eq(first.result, 1);
    ck_assert_uint_eq(first.generation, 1000);
    ck_assert_ptr_null(first.replaced);
    struct claimed second = claim(&owners, 0, 1000, &newer_stream);
    ck_assert_int_eq(second.result, 1);
    ck_assert_uint_gt(second.generation, first.generation);
    ck_assert_ptr_eq(second.replaced, &older_stream);
    sl_owners_release(&owners, OWNER, KEY, &newer_stream);
    sl_owners_deinit(&owners);
}
END_TEST

START_TEST(the_end_of_an_older_stream_never_removes_a_newer_one)
{
    struct sl_owners owners;
    sl_owners_init(&owners);
    struct claimed first = claim(&owners, 0, 1000, &older_stream);
    struct claimed second = claim(&owners, 0, 2000, &newer_stream);
    sl_owners_release(&owners, OWNER, KEY, &older_stream);
    ck_assert_int_eq(claim(&owners, first.generation, 3000, &third_stream).result, 0);
    ck_assert(sl_owners_would_refuse(&owners, OWNER, KEY, first.generation));
    ck_assert(!sl_owners_would_refuse(&owners, OWNER, KEY, second.generation));
    sl_owners_release(&owners, OWNER, KEY, &newer_stream);
    ck_assert_uint_eq(owners.entries.count, 0);
    sl_owners_deinit(&owners);
}
END_TEST

START_TEST(two_tabs_never_take_each_others_place_by_reconnecting)
{
    struct sl_owners owners;
    sl_owners_init(&owners);
    struct claimed tab_one = claim(&owners, 0, 1000, &older_stream);
    struct claimed tab_two = claim(&owners, 0, 2000, &newer_stream);
    for (int round = 0; round < 10; round++) {
        ck_assert_int_eq(
            claim(&owners, tab_one.generation, 3000 + round, &third_stream).result, 0);
        struct claimed again = claim(&owners, tab_two.generation, 3000 + round, &newer_stream);
        ck_assert_int_eq(again.result, 1);
        ck_assert_uint_eq(again.generation, tab_two.generation);
    }
    sl_owners_release(&owners, OWNER, KEY, &newer_stream);
    sl_owners_deinit(&owners);
}
END_TEST

START_TEST(an_older_generation_lives_again_when_the_newer_one_is_gone)
{
    struct sl_owners owners;
    sl_owners_init(&owners);
    struct claimed first = claim(&owners, 0, 1000, &older_stream);
    claim(&owners, 0, 2000, &newer_stream);
    sl_owners_release(&owners, OWNER, KEY, &newer_stream);
    struct claimed again = claim(&owners, first.generation, 3000, &older_stream);
    ck_assert_int_eq(again.result, 1);
    ck_assert_ptr_null(again.replaced);
    sl_owners_release(&owners, OWNER, KEY, &older_stream);
    sl_owners_deinit(&owners);
}
END_TEST

START_TEST(after_a_restart_the_newer_generation_wins_whoever_comes_first)
{
    struct sl_owners owners;
    sl_owners_init(&owners);
    ck_assert_int_eq(claim(&owners, 1000, 9000, &older_stream).result, 1);
    struct claimed newer = claim(&owners, 2000, 9001, &newer_stream);
    ck_assert_int_eq(newer.result, 1);
    ck_assert_ptr_eq(newer.replaced, &older_stream);
    ck_assert_int_eq(claim(&owners, 1000, 9002, &older_stream).result, 0);
    /* A tab that is opened now is newer than both, though nothing was remembered. */
    struct claimed fresh = claim(&owners, 0, 9003, &third_stream);
    ck_assert_uint_gt(fresh.generation, 2000);
    sl_owners_release(&owners, OWNER, KEY, &third_stream);
    sl_owners_deinit(&owners);
}
END_TEST

START_TEST(owners_and_keys_are_not_mixed_up)
{
    struct sl_owners owners;
    uint64_t generation;
    void *replaced;
    sl_owners_init(&owners);
    ck_assert_int_eq(sl_owners_claim(&owners, SL_TEXT("a"), SL_TEXT("bc"), 0, 1, &older_stream,
                         &generation, &replaced), 1);
    ck_assert_int_eq(sl_owners_claim(&owners, SL_TEXT("ab"), SL_TEXT("c"), 0, 1, &newer_stream,
                         &generation, &replaced), 1);
    ck_assert_ptr_null(replaced);
    sl_owners_release(&owners, SL_TEXT("a"), SL_TEXT("bc"), &older_stream);
    sl_owners_release(&owners, SL_TEXT("ab"), SL_TEXT("c"), &newer_stream);
    sl_owners_deinit(&owners);
}
END_TEST

UNIT_MAIN("owners", the_newest_stream_lives_and_the_older_one_must_go,
    the_end_of_an_older_stream_never_removes_a_newer_one,
    two_tabs_never_take_each_others_place_by_reconnecting,
    an_older_generation_lives_again_when_the_newer_one_is_gone,
    after_a_restart_the_newer_generation_wins_whoever_comes_first,
    owners_and_keys_are_not_mixed_up)
