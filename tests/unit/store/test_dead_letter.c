#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "store/store.h"
#include "support/database.h"
#include "support/unit.h"

static struct test_database place;
static struct sl_store *store;
static struct sluice_error error;

static void open_store(void)
{
    const char *url = test_database_make(&place);
    int status = sl_store_open(url, SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_store(void)
{
    sl_store_close(store);
    test_database_remove(&place);
}

static void hold(int number, const char *key, enum sl_held_state state)
{
    struct sl_event event = {
        .topic = SL_TEXT("t"),
        .has_key = key != NULL,
        .key = sl_text_of(key),
        .type = SL_TEXT("T"),
        .headers = SL_TEXT("{}"),
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    struct sl_hold hold = {.stage = "relay",
        .event = &event,
        .state = state,
        .attempts = state == SL_HELD_WAITING ? 0 : 3,
        .now_ms = 50,
        .reason = "because"};
    ck_assert_int_eq(sl_store_hold(store, &hold, &error), 0);
}

/* The states of everything held, by number: "R" retrying, "W" waiting, "F" failed. */
static void note(void *context, const struct sl_held *held)
{
    char *states = context;
    size_t end = strlen(states);
    states[end] = sl_held_state_name(held->state)[0];
    states[end + 1] = '\0';
}

static const char *states(void)
{
    static char text[64];
    struct sl_held_filter everything = {0};
    text[0] = '\0';
    ck_assert_int_eq(sl_store_each_held(store, &everything, note, text, &error), 0);
    return text;
}

static int64_t due_number;

static void note_number(void *context, const struct sl_held *held)
{
    (void) context;
    due_number = held->number;
}

static int64_t due(int64_t now_ms)
{
    int64_t due_ms;
    due_number = 0;
    ck_assert_int_eq(sl_store_held_due(store, "relay", SL_POSITION_START, now_ms, note_number, NULL,
                         &due_ms, &error),
        0);
    return due_ms;
}

static bool lock(struct sl_store *by, int64_t number, int attempts)
{
    bool is_ours = false;
    int status = sl_store_held_lock(by, number, attempts, &is_ours, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return is_ours;
}

START_TEST(a_held_event_is_tried_by_one_at_a_time_and_by_nobody_who_saw_it_before)
{
    struct sl_store *other;
    open_store();
    ck_assert_int_eq(sl_store_open(place.url, SL_STORE_EXISTING, &other, &error), 0);
    hold(1, "k", SL_HELD_RETRYING);
    hold(2, "l", SL_HELD_RETRYING);
    due(99);
    int64_t number = due_number;
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert(lock(store, number, 3));
    if (!test_database_is("sqlite")) { /* where the transaction itself keeps the other away */
        ck_assert_int_eq(sl_store_begin(other, &error), 0);
        ck_assert(!lock(other, number, 3));
        ck_assert(lock(other, number + 1, 3));
        sl_store_rollback(other);
    }
    ck_assert_int_eq(
        sl_store_held_update(store, number, SL_HELD_RETRYING, 4, 5, "worse", &error), 0);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    ck_assert_int_eq(sl_store_begin(other, &error), 0);
    ck_assert(!lock(other, number, 3));
    ck_assert(lock(other, number, 4));
    ck_assert_int_eq(sl_store_held_update(other, number, SL_HELD_FAILED, 4, 0, "worst", &error), 0);
    ck_assert(!lock(other, number, 4));
    sl_store_rollback(other);
    sl_store_close(other);
    close_store();
}
END_TEST

START_TEST(an_event_is_held_once_even_if_it_is_held_again)
{
    open_store();
    hold(1, "k", SL_HELD_RETRYING);
    hold(1, "k", SL_HELD_WAITING);
    ck_assert_str_eq(states(), "R");
    close_store();
}
END_TEST

START_TEST(the_key_of_a_held_event_is_held_and_other_keys_are_not)
{
    open_store();
    hold(1, "k", SL_HELD_FAILED);
    hold(2, "k", SL_HELD_WAITING);
    struct sl_event same = {.topic = SL_TEXT("t"), .has_key = true, .key = SL_TEXT("k")};
    struct sl_event other = {.topic = SL_TEXT("t"), .has_key = true, .key = SL_TEXT("l")};
    struct sl_event other_topic = {.topic = SL_TEXT("u"), .has_key = true, .key = SL_TEXT("k")};
    struct sl_key_state state;
    ck_assert_int_eq(
        sl_store_key_state(store, "relay", &same, (struct sl_position) {0, 99}, &state, &error), 0);
    ck_assert_int_eq(state.failed_count, 1);
    ck_assert_int_eq(state.pending_count, 1);
    ck_assert_int_eq(
        sl_store_key_state(store, "relay", &other, (struct sl_position) {0, 99}, &state, &error),
        0);
    ck_assert_int_eq(state.failed_count + state.pending_count, 0);
    ck_assert_int_eq(sl_store_key_state(store, "relay", &other_topic, (struct sl_position) {0, 99},
                         &state, &error),
        0);
    ck_assert_int_eq(state.failed_count + state.pending_count, 0);
    ck_assert_int_eq(
        sl_store_key_state(store, "consumer", &same, (struct sl_position) {0, 99}, &state, &error),
        0);
    ck_assert_int_eq(state.failed_count + state.pending_count, 0);
    bool has_held;
    ck_assert_int_eq(sl_store_has_held(store, "consumer", &has_held, &error), 0);
    ck_assert(!has_held);
    close_store();
}
END_TEST

START_TEST(a_delivered_head_lets_the_next_of_its_key_retry_in_order)
{
    open_store();
    hold(1, "k", SL_HELD_RETRYING);
    hold(2, "k", SL_HELD_WAITING);
    hold(3, "k", SL_HELD_WAITING);
    hold(4, "l", SL_HELD_WAITING);
    ck_assert_int_eq(sl_store_held_remove(store, 1, 99, &error), 0);
    ck_assert_str_eq(states(), "RWW");
    ck_assert_int_eq(due(98), 99);
    ck_assert_int_eq(due_number, 0);
    ck_assert_int_eq(due(99), 99);
    ck_assert_int_eq(due_number, 2);
    ck_assert_int_eq(sl_store_held_remove(store, 2, 100, &error), 0);
    ck_assert_int_eq(sl_store_held_remove(store, 3, 101, &error), 0);
    ck_assert_int_eq(due(1000), INT64_MAX);
    close_store();
}
END_TEST

START_TEST(a_redrive_sends_the_first_of_each_key_now_and_the_others_behind_it)
{
    open_store();
    hold(1, "k", SL_HELD_FAILED);
    hold(2, "k", SL_HELD_FAILED);
    hold(3, "k", SL_HELD_WAITING);
    hold(4, "l", SL_HELD_FAILED);
    hold(5, NULL, SL_HELD_FAILED);
    hold(6, NULL, SL_HELD_FAILED);
    struct sl_held_filter everything = {0};
    int64_t count;
    ck_assert_int_eq(sl_store_redrive(store, &everything, 70, &count, &error), 0);
    ck_assert_int_eq(count, 5);
    /* Events without a key come first in the listing, and do not wait for each other. */
    ck_assert_str_eq(states(), "RRRWWR");
    close_store();
}
END_TEST

START_TEST(a_redrive_of_one_key_leaves_the_others_alone)
{
    open_store();
    hold(1, "k", SL_HELD_FAILED);
    hold(2, "l", SL_HELD_FAILED);
    struct sl_held_filter one_key = {.key = "l"};
    int64_t count;
    ck_assert_int_eq(sl_store_redrive(store, &one_key, 70, &count, &error), 0);
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(states(), "FR");
    struct sl_held_filter by_id = {.event_id = "00000000-0000-7000-8000-000000000001"};
    ck_assert_int_eq(sl_store_redrive(store, &by_id, 70, &count, &error), 0);
    ck_assert_str_eq(states(), "RR");
    ck_assert_int_eq(sl_store_redrive(store, &by_id, 70, &count, &error), 0);
    ck_assert_int_eq(count, 0);
    close_store();
}
END_TEST

START_TEST(a_drop_deletes_failed_events_only_and_frees_what_waits_behind_them)
{
    open_store();
    hold(1, "k", SL_HELD_FAILED);
    hold(2, "k", SL_HELD_WAITING);
    hold(3, "k", SL_HELD_WAITING);
    struct sl_held_filter everything = {0};
    int64_t count;
    ck_assert_int_eq(sl_store_drop(store, &everything, 70, &count, &error), 0);
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(states(), "RW");
    close_store();
}
END_TEST

START_TEST(a_failed_head_that_is_skipped_lets_the_next_retry)
{
    open_store();
    hold(1, "k", SL_HELD_FAILED);
    hold(2, "k", SL_HELD_WAITING);
    ck_assert_int_eq(sl_store_held_next(store, 1, 70, &error), 0);
    ck_assert_str_eq(states(), "FR");
    close_store();
}
END_TEST

static void note_count(void *context, const struct sl_held_count *count)
{
    *(struct sl_held_count *) context = *count;
}

START_TEST(counts_are_by_stage_and_state)
{
    open_store();
    hold(1, "k", SL_HELD_FAILED);
    hold(2, "k", SL_HELD_WAITING);
    hold(3, "l", SL_HELD_RETRYING);
    struct sl_held_count count = {0};
    ck_assert_int_eq(sl_store_each_held_count(store, note_count, &count, &error), 0);
    ck_assert_int_eq(count.failed_count, 1);
    ck_assert_int_eq(count.waiting_count, 1);
    ck_assert_int_eq(count.retrying_count, 1);
    ck_assert_int_eq(count.held_keys, 2);
    close_store();
}
END_TEST

START_TEST(an_attempt_is_kept_with_its_reason)
{
    open_store();
    hold(1, "k", SL_HELD_RETRYING);
    ck_assert_int_eq(
        sl_store_held_update(store, 1, SL_HELD_RETRYING, 4, 1234, "another", &error), 0);
    ck_assert_int_eq(due(0), 1234);
    ck_assert_int_eq(sl_store_held_update(store, 1, SL_HELD_FAILED, 5, 0, NULL, &error), 0);
    ck_assert_str_eq(states(), "F");
    close_store();
}
END_TEST

static _Atomic bool is_removed;

/* Another consumer delivers the head of the key. */
static void *remove_head(void *context)
{
    struct sl_store *other = NULL;
    struct sluice_error failure;
    (void) context;
    ck_assert_int_eq(sl_store_open(place.url, SL_STORE_EXISTING, &other, &failure), 0);
    int status = sl_store_held_remove(other, 1, 60, &failure);
    ck_assert_msg(status == 0, "%s", failure.text);
    sl_store_close(other);
    atomic_store(&is_removed, true);
    return NULL;
}

START_TEST(what_begins_to_wait_while_the_head_of_its_key_goes_is_not_left_behind)
{
    open_store();
    hold(1, "k", SL_HELD_RETRYING);
    struct sl_event event = {.topic = SL_TEXT("t"), .has_key = true, .key = SL_TEXT("k")};
    struct sl_key_state key;
    pthread_t other;
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_key_state(store, "relay", &event, SL_POSITION_END, &key, &error), 0);
    ck_assert_int_eq(key.pending_count, 1);
    atomic_store(&is_removed, false);
    ck_assert_int_eq(pthread_create(&other, NULL, remove_head, NULL), 0);
    /* It must wait for this transaction; give it the time to do otherwise. */
    int64_t end_ms = sl_clock_monotonic_ms() + 300;
    while (!atomic_load(&is_removed) && sl_clock_monotonic_ms() < end_ms) {
        sched_yield();
    }
    hold(2, "k", SL_HELD_WAITING);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    pthread_join(other, NULL);
    ck_assert_str_eq(states(), "R");
    close_store();
}
END_TEST

DATABASE_UNIT_MAIN("dead_letter",
    a_held_event_is_tried_by_one_at_a_time_and_by_nobody_who_saw_it_before,
    an_event_is_held_once_even_if_it_is_held_again,
    the_key_of_a_held_event_is_held_and_other_keys_are_not,
    a_delivered_head_lets_the_next_of_its_key_retry_in_order,
    a_redrive_sends_the_first_of_each_key_now_and_the_others_behind_it,
    a_redrive_of_one_key_leaves_the_others_alone,
    a_drop_deletes_failed_events_only_and_frees_what_waits_behind_them,
    a_failed_head_that_is_skipped_lets_the_next_retry, counts_are_by_stage_and_state,
    an_attempt_is_kept_with_its_reason,
    what_begins_to_wait_while_the_head_of_its_key_goes_is_not_left_behind)
