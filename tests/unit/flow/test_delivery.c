#include "flow/delivery.h"

#include "support/unit.h"

static const struct sl_delivery_policy park = {3, 100, 1000, SL_POISON_PARK};

START_TEST(an_outage_uses_up_no_attempt_however_often_it_happens)
{
    for (int i = 0; i < 1000; i++) {
        struct sl_decision decision =
            sl_delivery_decide(&park, 2, SL_ANSWER_OUTAGE, 5000, (uint64_t) i);
        ck_assert_int_eq(decision.verdict, SL_VERDICT_AGAIN);
        ck_assert_int_eq(decision.attempts, 2);
    }
}
END_TEST

START_TEST(a_failed_event_is_tried_again_until_its_attempts_are_used_up)
{
    struct sl_decision first = sl_delivery_decide(&park, 0, SL_ANSWER_FAILED, 5000, 0);
    ck_assert_int_eq(first.verdict, SL_VERDICT_RETRY);
    ck_assert_int_eq(first.attempts, 1);
    ck_assert_int_ge(first.retry_at_ms, 5050);
    ck_assert_int_le(first.retry_at_ms, 5100);
    struct sl_decision last = sl_delivery_decide(&park, 2, SL_ANSWER_FAILED, 5000, 0);
    ck_assert_int_eq(last.verdict, SL_VERDICT_DEAD_LETTER);
    ck_assert_int_eq(last.attempts, 3);
}
END_TEST

START_TEST(a_rejected_event_is_a_dead_letter_at_once)
{
    struct sl_decision decision = sl_delivery_decide(&park, 0, SL_ANSWER_REJECTED, 0, 0);
    ck_assert_int_eq(decision.verdict, SL_VERDICT_DEAD_LETTER);
    ck_assert_int_eq(decision.attempts, 1);
}
END_TEST

START_TEST(halt_stops_everything_only_for_poison)
{
    struct sl_delivery_policy halt = park;
    halt.on_poison = SL_POISON_HALT;
    ck_assert_int_eq(sl_delivery_decide(&halt, 2, SL_ANSWER_FAILED, 0, 0).verdict, SL_VERDICT_HALT);
    ck_assert_int_eq(
        sl_delivery_decide(&halt, 0, SL_ANSWER_FAILED, 0, 0).verdict, SL_VERDICT_RETRY);
    ck_assert_int_eq(
        sl_delivery_decide(&halt, 0, SL_ANSWER_DELIVERED, 0, 0).verdict, SL_VERDICT_DONE);
}
END_TEST

START_TEST(a_key_waits_behind_its_pending_events_and_behind_its_dead_letter_unless_skipped)
{
    struct sl_delivery_policy skip = park;
    skip.on_poison = SL_POISON_SKIP;
    struct sl_key_state free_key = {.failed_count = 0};
    struct sl_key_state pending = {.pending_count = 1};
    struct sl_key_state failed = {.failed_count = 1};
    struct sl_key_state held = {.is_held = true};
    ck_assert(!sl_delivery_must_wait(&park, &free_key));
    ck_assert(sl_delivery_must_wait(&park, &pending));
    ck_assert(sl_delivery_must_wait(&park, &failed));
    ck_assert(sl_delivery_must_wait(&skip, &pending));
    ck_assert(!sl_delivery_must_wait(&skip, &failed));
    ck_assert(sl_delivery_must_wait(&park, &held));
    ck_assert(sl_delivery_must_wait(&skip, &held));
}
END_TEST

START_TEST(pauses_double_up_to_the_limit_and_keep_at_least_half_of_it)
{
    for (uint64_t random = 0; random < 5000; random++) {
        ck_assert_int_ge(sl_delivery_backoff_ms(100, 1000, 1, random), 50);
        ck_assert_int_le(sl_delivery_backoff_ms(100, 1000, 1, random), 100);
        ck_assert_int_ge(sl_delivery_backoff_ms(100, 1000, 3, random), 200);
        ck_assert_int_le(sl_delivery_backoff_ms(100, 1000, 3, random), 400);
        ck_assert_int_le(sl_delivery_backoff_ms(100, 1000, 1000000, random), 1000);
        ck_assert_int_ge(sl_delivery_backoff_ms(100, 1000, 1000000, random), 500);
    }
}
END_TEST

START_TEST(every_answer_is_decided_as_the_table_says_under_every_policy)
{
    for (int on_poison = SL_POISON_PARK; on_poison <= SL_POISON_HALT; on_poison++) {
        struct sl_delivery_policy policy = park;
        policy.on_poison = (enum sl_on_poison) on_poison;
        enum sl_verdict last =
            on_poison == SL_POISON_HALT ? SL_VERDICT_HALT : SL_VERDICT_DEAD_LETTER;
        for (int before = 0; before <= policy.attempts_max + 2; before++) {
            /* A redrive, or a lower limit after a restart, may bring more attempts than there are.
             */
            bool is_last = before + 1 >= policy.attempts_max;
            struct sl_decision delivered =
                sl_delivery_decide(&policy, before, SL_ANSWER_DELIVERED, 5000, 7);
            struct sl_decision outage =
                sl_delivery_decide(&policy, before, SL_ANSWER_OUTAGE, 5000, 7);
            struct sl_decision failed =
                sl_delivery_decide(&policy, before, SL_ANSWER_FAILED, 5000, 7);
            struct sl_decision rejected =
                sl_delivery_decide(&policy, before, SL_ANSWER_REJECTED, 5000, 7);
            ck_assert_int_eq(delivered.verdict, SL_VERDICT_DONE);
            ck_assert_int_eq(delivered.attempts, before);
            ck_assert_int_eq(outage.verdict, SL_VERDICT_AGAIN);
            ck_assert_int_eq(outage.attempts, before);
            ck_assert_int_eq(failed.verdict, is_last ? last : SL_VERDICT_RETRY);
            ck_assert_int_eq(failed.attempts, before + 1);
            ck_assert(is_last || failed.retry_at_ms > 5000);
            ck_assert_int_eq(rejected.verdict, last);
            ck_assert_int_eq(rejected.attempts, before + 1);
        }
    }
}
END_TEST

UNIT_MAIN("delivery", every_answer_is_decided_as_the_table_says_under_every_policy,
    an_outage_uses_up_no_attempt_however_often_it_happens,
    a_failed_event_is_tried_again_until_its_attempts_are_used_up,
    a_rejected_event_is_a_dead_letter_at_once, halt_stops_everything_only_for_poison,
    a_key_waits_behind_its_pending_events_and_behind_its_dead_letter_unless_skipped,
    pauses_double_up_to_the_limit_and_keep_at_least_half_of_it)
