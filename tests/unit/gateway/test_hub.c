#include "gateway/hub.h"

#include <stdio.h>
#include <string.h>

#include "support/unit.h"

struct listener {
    struct sl_subscription subscription; /* first */
    struct sl_hub *hub;
    char seen[400];
    bool leaves_at_once;
};

static void listen_to(struct sl_subscription *subscription, const struct sl_hub_event *event)
{
    struct listener *listener = (struct listener *) subscription;
    size_t size = strlen(listener->seen);
    if (event == NULL) {
        snprintf(listener->seen + size, sizeof(listener->seen) - size, "lost;");
        return;
    }
    snprintf(listener->seen + size, sizeof(listener->seen) - size, "%d.%lld;", event->partition,
        (long long) event->offset);
    if (listener->leaves_at_once) {
        sl_hub_unsubscribe(listener->hub, subscription);
    }
}

static void subscribe(struct sl_hub *hub, const char *key, struct listener *listener)
{
    listener->hub = hub;
    ck_assert_int_eq(
        sl_hub_subscribe(hub, sl_text_of(key), &listener->subscription, listen_to), 0);
}

static void publish(struct sl_hub *hub, const char *key, int32_t partition, int64_t offset)
{
    struct sl_hub_record record = {.key = sl_text_of(key), .type = SL_TEXT("paid"),
        .payload = SL_TEXT("{}"), .partition = partition, .offset = offset, .version = offset};
    ck_assert_int_eq(sl_hub_publish(hub, &record), 0);
}

static void open_hub(struct sl_hub *hub, size_t events_max)
{
    sl_hub_init(hub, "orders", "1a2b3c4d", events_max, 1000000);
    sl_hub_set_partition_count(hub, 2);
    ck_assert_int_eq(sl_hub_set_start(hub, 0, 0), 0);
    ck_assert_int_eq(sl_hub_set_start(hub, 1, 0), 0);
}

static enum sl_hub_verdict check_id(
    const struct sl_hub *hub, const char *key, int32_t partition, int64_t offset)
{
    struct sl_event_id id = {.epoch = "1a2b3c4d",
        .place = sl_event_id_place(SL_TEXT("orders"), sl_text_of(key)),
        .partition = partition,
        .offset = offset};
    return sl_hub_check(hub, sl_text_of(key), &id);
}

START_TEST(only_the_listeners_of_a_key_hear_of_it)
{
    struct sl_hub hub;
    struct listener one = {0};
    struct listener two = {0};
    struct listener other = {0};
    open_hub(&hub, 10);
    subscribe(&hub, "k", &one);
    subscribe(&hub, "k", &two);
    subscribe(&hub, "other", &other);
    publish(&hub, "k", 0, 0);
    publish(&hub, "k", 0, 1);
    ck_assert_str_eq(one.seen, "0.0;0.1;");
    ck_assert_str_eq(two.seen, "0.0;0.1;");
    ck_assert_str_eq(other.seen, "");
    sl_hub_unsubscribe(&hub, &one.subscription);
    sl_hub_unsubscribe(&hub, &two.subscription);
    sl_hub_unsubscribe(&hub, &other.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_listener_may_leave_while_it_is_told)
{
    struct sl_hub hub;
    struct listener first = {.leaves_at_once = true};
    struct listener second = {.leaves_at_once = true};
    struct listener third = {0};
    open_hub(&hub, 10);
    subscribe(&hub, "k", &third);
    subscribe(&hub, "k", &second);
    subscribe(&hub, "k", &first);
    publish(&hub, "k", 0, 0);
    publish(&hub, "k", 0, 1);
    ck_assert_str_eq(first.seen, "0.0;");
    ck_assert_str_eq(second.seen, "0.0;");
    ck_assert_str_eq(third.seen, "0.0;0.1;");
    sl_hub_unsubscribe(&hub, &third.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(the_end_of_one_listener_leaves_the_others)
{
    struct sl_hub hub;
    struct listener older = {0};
    struct listener newer = {0};
    open_hub(&hub, 10);
    subscribe(&hub, "k", &older);
    subscribe(&hub, "k", &newer);
    sl_hub_unsubscribe(&hub, &older.subscription);
    sl_hub_unsubscribe(&hub, &older.subscription);
    publish(&hub, "k", 0, 0);
    ck_assert_str_eq(older.seen, "");
    ck_assert_str_eq(newer.seen, "0.0;");
    sl_hub_unsubscribe(&hub, &newer.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(the_window_is_exact_at_its_edges)
{
    struct sl_hub hub;
    open_hub(&hub, 3);
    for (int64_t offset = 0; offset < 10; offset++) {
        publish(&hub, "k", 1, offset);
    }
    /* Events 7, 8 and 9 are kept: who has 6 misses nothing, who has 5 may miss 6. */
    ck_assert_int_eq(check_id(&hub, "k", 1, 9), SL_HUB_RESUMES);
    ck_assert_int_eq(check_id(&hub, "k", 1, 6), SL_HUB_RESUMES);
    ck_assert_int_eq(check_id(&hub, "k", 1, 5), SL_HUB_TOO_OLD);
    ck_assert_int_eq(check_id(&hub, "k", 1, 10), SL_HUB_AHEAD);
    ck_assert_int_eq(check_id(&hub, "k", 0, 9), SL_HUB_MOVED);
    ck_assert_int_eq(check_id(&hub, "k", -1, -1), SL_HUB_TOO_OLD);
    ck_assert_uint_eq(hub.event_count, 3);
    struct sl_event_id foreign = {.epoch = "1a2b3c4e", .partition = 1, .offset = 9};
    ck_assert_int_eq(sl_hub_check(&hub, SL_TEXT("k"), &foreign), SL_HUB_FOREIGN_EPOCH);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(an_id_of_another_key_or_topic_is_no_place_to_resume_from)
{
    struct sl_hub hub;
    open_hub(&hub, 10);
    publish(&hub, "k", 1, 0);
    publish(&hub, "k", 1, 1);
    struct sl_event_id id = {.epoch = "1a2b3c4d", .partition = 1, .offset = 1, .version = 99};
    id.place = sl_event_id_place(SL_TEXT("orders"), SL_TEXT("other"));
    ck_assert_int_eq(sl_hub_check(&hub, SL_TEXT("k"), &id), SL_HUB_OTHER_PLACE);
    id.place = sl_event_id_place(SL_TEXT("users"), SL_TEXT("k"));
    ck_assert_int_eq(sl_hub_check(&hub, SL_TEXT("k"), &id), SL_HUB_OTHER_PLACE);
    id.place = sl_event_id_place(SL_TEXT("orders"), SL_TEXT("k"));
    ck_assert_int_eq(sl_hub_check(&hub, SL_TEXT("k"), &id), SL_HUB_RESUMES);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(an_event_of_another_key_that_is_dropped_moves_the_window_too)
{
    struct sl_hub hub;
    sl_hub_init(&hub, "orders", "1a2b3c4d", 1, 1000000);
    sl_hub_set_partition_count(&hub, 1);
    publish(&hub, "k", 0, 0);
    publish(&hub, "z", 0, 1);
    struct listener listener = {0};
    subscribe(&hub, "k", &listener);
    ck_assert_int_eq(check_id(&hub, "k", 0, -1), SL_HUB_TOO_OLD);
    ck_assert_int_eq(check_id(&hub, "k", 0, 0), SL_HUB_RESUMES);
    ck_assert(sl_hub_covers(&hub, 0, 0, 0));
    ck_assert(!sl_hub_covers(&hub, 0, -1, 0));
    ck_assert(sl_hub_covers(&hub, 0, -1, hub.loss_count));
    sl_hub_unsubscribe(&hub, &listener.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_place_that_was_never_read_is_not_covered)
{
    struct sl_hub hub;
    sl_hub_init(&hub, "orders", "1a2b3c4d", 100, 1000000);
    sl_hub_set_partition_count(&hub, 1);
    publish(&hub, "k", 0, 500);
    ck_assert_int_eq(check_id(&hub, "k", 0, 499), SL_HUB_RESUMES);
    ck_assert_int_eq(check_id(&hub, "k", 0, 498), SL_HUB_TOO_OLD);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_hole_in_a_partition_is_told_to_everybody_and_closes_the_window)
{
    struct sl_hub hub;
    struct listener listener = {0};
    open_hub(&hub, 100);
    publish(&hub, "k", 0, 0);
    subscribe(&hub, "k", &listener);
    publish(&hub, "z", 0, 5);
    ck_assert_str_eq(listener.seen, "lost;");
    ck_assert_int_eq(check_id(&hub, "k", 0, 0), SL_HUB_TOO_OLD);
    ck_assert_int_eq(check_id(&hub, "k", 0, 4), SL_HUB_RESUMES);
    sl_hub_unsubscribe(&hub, &listener.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_hole_where_offsets_have_holes_is_no_loss)
{
    struct sl_hub hub;
    struct listener listener = {0};
    open_hub(&hub, 10);
    hub.is_sparse = true;
    subscribe(&hub, "k", &listener);
    publish(&hub, "k", 0, 0);
    publish(&hub, "k", 0, 2); /* a transaction's mark lies between */
    publish(&hub, "k", 0, 90);
    ck_assert_str_eq(listener.seen, "0.0;0.2;0.90;");
    ck_assert_int_eq(check_id(&hub, "k", 0, 0), SL_HUB_RESUMES);
    ck_assert_int_eq(check_id(&hub, "k", 0, 1), SL_HUB_RESUMES);
    ck_assert_uint_eq(hub.loss_count, 0);
    /* A topic that was made anew begins again, which is one. */
    publish(&hub, "k", 0, 5);
    ck_assert_uint_eq(hub.loss_count, 1);
    ck_assert_int_eq(check_id(&hub, "k", 0, 2), SL_HUB_TOO_OLD);
    sl_hub_unsubscribe(&hub, &listener.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(records_that_tell_nothing_leave_no_hole)
{
    struct sl_hub hub;
    open_hub(&hub, 100);
    publish(&hub, "k", 0, 0);
    ck_assert_int_eq(sl_hub_skip(&hub, 0, 1), 0);
    publish(&hub, "k", 0, 2);
    ck_assert_int_eq(check_id(&hub, "k", 0, 0), SL_HUB_RESUMES);
    ck_assert_int_eq(sl_hub_skip(&hub, SL_HUB_PARTITIONS_MAX, 0), -1);
    ck_assert_int_eq(sl_hub_skip(&hub, -1, 0), -1);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(the_bytes_are_bounded_too)
{
    struct sl_hub hub;
    sl_hub_init(&hub, "orders", "1a2b3c4d", 1000, 2000);
    for (int64_t offset = 0; offset < 100; offset++) {
        publish(&hub, "k", 0, offset);
        ck_assert_uint_le(hub.bytes, 2000);
    }
    ck_assert_uint_lt(hub.event_count, 12);
    ck_assert_uint_gt(hub.event_count, 1);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_keys_latest_event_stays_while_somebody_listens)
{
    struct sl_hub hub;
    struct listener listener = {0};
    open_hub(&hub, 2);
    subscribe(&hub, "k", &listener);
    publish(&hub, "k", 0, 0);
    publish(&hub, "a", 0, 1);
    publish(&hub, "b", 0, 2);
    publish(&hub, "c", 0, 3);
    const struct sl_hub_key *key = listener.subscription.key;
    ck_assert_ptr_null(key->first);
    ck_assert_ptr_nonnull(key->latest);
    ck_assert_int_eq(key->latest->offset, 0);
    ck_assert_uint_eq(hub.keys.count, 3);
    sl_hub_unsubscribe(&hub, &listener.subscription);
    ck_assert_uint_eq(hub.keys.count, 2);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_generation_stands_in_the_id_before_the_final_mark)
{
    struct sl_hub hub;
    struct listener listener = {0};
    open_hub(&hub, 2);
    subscribe(&hub, "k", &listener);
    struct sl_hub_record record = {.key = SL_TEXT("k"), .type = SL_TEXT("done"),
        .payload = SL_TEXT("{}"), .version = 9, .is_final = true};
    ck_assert_int_eq(sl_hub_publish(&hub, &record), 0);
    const struct sl_hub_event *event = listener.subscription.key->latest;
    struct sl_frame *frame = sl_hub_frame_with_generation(event, 0xabc);
    struct sl_text data = {frame->bytes + frame->data_offset, frame->data_size};
    ck_assert(sl_text_equal(
        data, SL_TEXT("id: 1a2b3c4d-752a21d6-0-0-9-gabc-f\nevent: done\ndata: {}\n\n")));
    struct sl_text plain = {
        event->frame->bytes + event->frame->data_offset, event->frame->data_size};
    ck_assert(
        sl_text_equal(plain, SL_TEXT("id: 1a2b3c4d-752a21d6-0-0-9-f\nevent: done\ndata: {}\n\n")));
    sl_frame_unref(frame);
    sl_hub_unsubscribe(&hub, &listener.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(an_event_that_cannot_be_kept_is_lost_and_not_passed_over_in_silence)
{
    struct sl_hub hub;
    struct listener listener = {0};
    open_hub(&hub, 10);
    subscribe(&hub, "k", &listener);
    struct sl_hub_record record = {
        .key = SL_TEXT("k"), .type = SL_TEXT("a\nb"), .payload = SL_TEXT("{}")};
    ck_assert_int_eq(sl_hub_publish(&hub, &record), -1);
    ck_assert_str_eq(listener.seen, "lost;");
    sl_hub_unsubscribe(&hub, &listener.subscription);
    sl_hub_deinit(&hub);
}
END_TEST

UNIT_MAIN("hub", only_the_listeners_of_a_key_hear_of_it, a_listener_may_leave_while_it_is_told,
    the_end_of_one_listener_leaves_the_others, the_window_is_exact_at_its_edges,
    an_id_of_another_key_or_topic_is_no_place_to_resume_from,
    an_event_of_another_key_that_is_dropped_moves_the_window_too,
    a_place_that_was_never_read_is_not_covered,
    a_hole_in_a_partition_is_told_to_everybody_and_closes_the_window,
    a_hole_where_offsets_have_holes_is_no_loss, records_that_tell_nothing_leave_no_hole,
    the_bytes_are_bounded_too, a_keys_latest_event_stays_while_somebody_listens,
    a_generation_stands_in_the_id_before_the_final_mark,
    an_event_that_cannot_be_kept_is_lost_and_not_passed_over_in_silence)
