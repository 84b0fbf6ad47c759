#include "base/error.h"
#include "mapped_place.h"
#include "store/look.h"
#include "support/unit.h"

static void set_up(void)
{
    make_tables();
    open_mapped(&seed);
}

/* Row `id`: topic t. */
static void write_row(int id, const char *key)
{
    char sql[300];
    snprintf(sql, sizeof(sql),
        "INSERT INTO outbox_event (id, topic, message_key, payload)"
        " VALUES (%d, 't', '%s', '{\"id\": %d}')",
        id, key, id);
    run(sql);
}

static struct sl_position end_of_batch(void)
{
    return batch.positions[batch.count - 1];
}

static void confirm(struct sl_position position)
{
    int status = sl_store_confirm(store, position, 1000, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void hold_row(size_t row, enum sl_held_state state, int attempts)
{
    struct sl_hold hold = {.stage = SL_STAGE_RELAY,
        .event = &batch.events[row],
        .position = batch.positions[row],
        .state = state,
        .attempts = attempts,
        .reason = "because"};
    int status = sl_store_hold(store, &hold, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void keep_number(void *context, const struct sl_held *held)
{
    *(int64_t *) context = held->number;
}

static int64_t held_number(void)
{
    int64_t number = 0;
    struct sl_held_filter everything = {0};
    ck_assert_int_eq(sl_store_each_held(store, &everything, keep_number, &number, &error), 0);
    return number;
}

static const char *statuses(void)
{
    return query(
        "SELECT status, retry_count, CASE WHEN sent_at IS NULL THEN 'never' ELSE 'at' END"
        " FROM outbox_event ORDER BY id");
}

START_TEST(rows_are_read_with_a_tick_and_marked_once_they_are_confirmed)
{
    set_up();
    write_row(7, "a");
    write_row(3, "b");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    ck_assert_int_eq(batch.positions[0].tick, 1);
    ck_assert_int_eq(batch.positions[0].id, 3);
    ck_assert_int_eq(batch.positions[1].id, 7);
    const struct sl_event *event = &batch.events[1];
    ck_assert(sl_text_equal(event->topic, SL_TEXT("t")));
    ck_assert(sl_text_equal(event->key, SL_TEXT("a")));
    ck_assert(sl_text_equal(event->type, SL_TEXT("PostSync")));
    ck_assert(sl_text_equal(event->payload, SL_TEXT("{\"id\": 7}")));
    ck_assert(sl_text_equal(event->headers, SL_TEXT("{}")));
    ck_assert_int_eq(sl_event_check_row(event, &error), 0);
    ck_assert_int_gt(event->time_ms, 1500000000000);
    ck_assert_str_eq(statuses(), "PENDING 0 never PENDING 0 never");
    confirm(batch.positions[0]);
    ck_assert_str_eq(statuses(), "SENT 0 at PENDING 0 never");
    confirm(batch.positions[1]);
    ck_assert_str_eq(statuses(), "SENT 0 at SENT 0 at");
    ck_assert_uint_eq(read_after(batch.positions[1]), 0);
    tear_down();
}
END_TEST

START_TEST(a_smaller_id_that_is_committed_later_gets_a_later_tick)
{
    set_up();
    write_row(10, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    struct sl_position first = end_of_batch();
    confirm(first);
    write_row(4, "a");
    write_row(11, "a");
    ck_assert_uint_eq(read_after(first), 2);
    ck_assert_int_eq(batch.positions[0].tick, 2);
    ck_assert_int_eq(batch.positions[0].id, 4);
    confirm(end_of_batch());
    ck_assert_str_eq(query("SELECT count(*) FROM outbox_event WHERE status = 'SENT'"), "3");
    tear_down();
}
END_TEST

START_TEST(a_claim_is_there_before_its_rows_are_handed_out_and_is_read_again)
{
    set_up();
    write_row(1, "a");
    write_row(2, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    char id[SLUICE_EVENT_ID_SIZE];
    memcpy(id, batch.events[1].id, sizeof(id));
    char source[SLUICE_EVENT_ID_SIZE];
    memcpy(source, sl_store_id(store), sizeof(source));
    sl_store_close(store);
    write_row(3, "a");
    open_mapped(&seed);
    ck_assert_str_eq(sl_store_id(store), source);
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    ck_assert_str_eq(batch.events[1].id, id);
    ck_assert_uint_eq(read_after(batch.positions[0]), 1);
    ck_assert_str_eq(batch.events[0].id, id);
    ck_assert_uint_eq(read_after(end_of_batch()), 1);
    ck_assert_int_eq(batch.positions[0].tick, 2);
    tear_down();
}
END_TEST

START_TEST(of_two_rows_with_the_same_topic_and_key_each_is_marked_by_its_own_id)
{
    set_up();
    write_row(1, "a");
    write_row(2, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    hold_row(0, SL_HELD_RETRYING, 1);
    ck_assert_str_eq(statuses(), "PENDING 1 never PENDING 0 never");
    confirm(end_of_batch());
    ck_assert_str_eq(statuses(), "PENDING 1 never SENT 0 at");
    ck_assert_int_eq(
        sl_store_held_update(store, held_number(), SL_HELD_FAILED, 3, 0, NULL, &error), 0);
    ck_assert_str_eq(statuses(), "FAILED_PERMANENTLY 3 never SENT 0 at");
    tear_down();
}
END_TEST

START_TEST(a_redriven_row_is_pending_again_and_sent_when_it_has_got_through)
{
    set_up();
    write_row(1, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    hold_row(0, SL_HELD_FAILED, 3);
    confirm(end_of_batch());
    ck_assert_str_eq(statuses(), "FAILED_PERMANENTLY 3 never");
    struct sl_store *operator_store;
    int status = sl_mapping_open_noted(place.url, &operator_store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    struct sl_held_filter everything = {0};
    int64_t count = 0;
    ck_assert_int_eq(sl_store_redrive(operator_store, &everything, 1, &count, &error), 0);
    sl_store_close(operator_store);
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(statuses(), "PENDING 0 never");
    ck_assert_int_eq(sl_store_held_remove(store, held_number(), 1, &error), 0);
    ck_assert_str_eq(statuses(), "SENT 0 at");
    ck_assert_uint_eq(read_after(end_of_batch()), 0);
    tear_down();
}
END_TEST

START_TEST(a_redrive_that_does_not_know_the_mapping_ends_in_the_right_status_too)
{
    set_up();
    write_row(1, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    hold_row(0, SL_HELD_FAILED, 3);
    struct sl_held_filter everything = {0};
    int64_t count = 0;
    ck_assert_int_eq(sl_store_redrive(writer, &everything, 1, &count, &error), 0);
    ck_assert_int_eq(sl_store_held_remove(store, held_number(), 1, &error), 0);
    ck_assert_str_eq(query("SELECT status FROM outbox_event"), "SENT");
    tear_down();
}
END_TEST

START_TEST(a_dropped_row_stays_failed_and_is_claimed_no_more)
{
    set_up();
    write_row(1, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    hold_row(0, SL_HELD_FAILED, 3);
    confirm(end_of_batch());
    struct sl_held_filter everything = {0};
    int64_t count = 0;
    ck_assert_int_eq(sl_store_drop(store, &everything, 1, &count, &error), 0);
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(statuses(), "FAILED_PERMANENTLY 3 never");
    ck_assert_uint_eq(read_after(end_of_batch()), 0);
    tear_down();
}
END_TEST

START_TEST(a_row_that_was_sent_is_never_sent_again_nor_marked_otherwise)
{
    set_up();
    write_row(1, "a");
    write_row(2, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    run("UPDATE outbox_event SET status = 'SENT' WHERE id = 1"); /* by the old scheduler */
    hold_row(0, SL_HELD_FAILED, 3);
    confirm(end_of_batch());
    ck_assert_str_eq(query("SELECT status FROM outbox_event ORDER BY id"), "SENT SENT");
    run("UPDATE outbox_event SET status = 'PENDING' WHERE id = 2"); /* a write of an old copy */
    ck_assert_uint_eq(read_after(end_of_batch()), 0);
    tear_down();
}
END_TEST

START_TEST(debeziums_layout_is_read_by_default_and_its_rows_stay)
{
    make_tables();
    open_mapped(&debezium);
    run("INSERT INTO outbox VALUES ('018F0000-0000-7000-8000-00000000000A', 'orders', 'k',"
        " 'OrderPlaced', '{}')");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    ck_assert_str_eq(batch.events[0].id, "018f0000-0000-7000-8000-00000000000a");
    ck_assert(sl_text_equal(batch.events[0].type, SL_TEXT("OrderPlaced")));
    ck_assert(sl_text_equal(batch.events[0].topic, SL_TEXT("orders")));
    confirm(end_of_batch());
    ck_assert_uint_eq(read_after(end_of_batch()), 0);
    int64_t deleted;
    ck_assert_int_eq(sl_store_outbox_retain(store, INT64_MAX, 100, &deleted, &error), 0);
    ck_assert_uint_eq(read_after(SL_POSITION_END), 0);
    ck_assert_str_eq(query("SELECT count(*) FROM outbox"), "1");
    tear_down();
}
END_TEST

START_TEST(rows_can_be_deleted_once_they_are_confirmed_and_failed_ones_stay)
{
    make_tables();
    struct sl_mapping mapping = debezium;
    mapping.deletes_sent = true;
    open_mapped(&mapping);
    run("INSERT INTO outbox VALUES ('a', 'orders', 'k', 'T', '1'), ('b', 'orders', 'k', 'T', '2')");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    ck_assert_int_eq(sl_event_check_row(&batch.events[0], &error), 0);
    hold_row(1, SL_HELD_FAILED, 3);
    confirm(end_of_batch());
    ck_assert_str_eq(query("SELECT id FROM outbox"),
        test_database_is("postgresql") ? "b                                   " : "b");
    tear_down();
}
END_TEST

START_TEST(an_unreadable_row_becomes_a_dead_letter_with_its_reason_and_the_others_flow)
{
    make_tables();
    struct sl_mapping mapping = debezium;
    mapping.columns[SL_MAPPED_HEADERS] = "aggregateid"; /* anything that is no JSON */
    open_mapped(&mapping);
    run("INSERT INTO outbox VALUES ('1', 'orders', 'no JSON', 'T', '1'),"
        " ('2', 'orders', '{}', 'T', 'x'), ('3', NULL, '{}', 'T', 'x')");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 3);
    ck_assert_int_eq(sl_event_check_row(&batch.events[0], &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "headers"));
    hold_row(0, SL_HELD_FAILED, 3);
    ck_assert_int_eq(sl_event_check_row(&batch.events[1], &error), 0);
    ck_assert_int_eq(sl_event_check_row(&batch.events[2], &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "no topic name"));
    hold_row(2, SL_HELD_FAILED, 3);
    confirm(end_of_batch());
    ck_assert_uint_eq(read_after(end_of_batch()), 0);
    tear_down();
}
END_TEST

START_TEST(the_state_counts_what_is_claimed_and_what_is_not)
{
    set_up();
    struct sl_outbox_state state;
    write_row(1, "a");
    write_row(2, "a");
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.unsent_count, 2);
    ck_assert_int_gt(state.oldest_unsent_ms, 1500000000000);
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    write_row(3, "a");
    confirm(batch.positions[0]);
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.unsent_count, 2);
    ck_assert_int_eq(state.position.tick, 1);
    ck_assert_int_eq(state.position.id, 1);
    ck_assert_int_eq(state.last.id, 2);
    ck_assert_int_eq(state.confirmed_ms, 1000);
    tear_down();
}
END_TEST

START_TEST(claims_are_cleaned_up_to_the_first_that_is_open)
{
    set_up();
    for (int i = 1; i <= 3; i++) {
        write_row(i, "a");
    }
    ck_assert_uint_eq(read_after(SL_POSITION_START), 3);
    hold_row(1, SL_HELD_FAILED, 3);
    confirm(end_of_batch());
    int64_t deleted = 0;
    ck_assert_int_eq(sl_store_outbox_retain(store, 1, 100, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 0);
    ck_assert_int_eq(sl_store_outbox_retain(store, INT64_MAX, 100, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 1);
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.retained_after.id, 1);
    ck_assert_uint_eq(read_after(end_of_batch()), 0);
    tear_down();
}
END_TEST

START_TEST(more_rows_than_a_tick_holds_come_in_several_each_once)
{
    set_up();
    int64_t seen = 0;
    struct sl_position position = SL_POSITION_START;
    run("INSERT INTO outbox_event (topic, message_key, payload) WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800) SELECT 't', 'k', 'p' FROM n");
    while (read_after(position) > 0) {
        for (size_t i = 0; i < batch.count; i++) {
            ck_assert_int_eq(batch.positions[i].id, ++seen);
        }
        position = end_of_batch();
    }
    ck_assert_int_eq(seen, 800);
    ck_assert_int_eq(position.tick, 2);
    confirm(position);
    ck_assert_str_eq(query("SELECT count(*) FROM outbox_event WHERE status = 'SENT'"), "800");
    tear_down();
}
END_TEST

START_TEST(a_row_that_its_owner_deleted_holds_up_nothing)
{
    set_up();
    write_row(1, "a");
    write_row(2, "a");
    write_row(3, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 3);
    run("DELETE FROM outbox_event WHERE id IN (1, 2)");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    ck_assert_int_eq(batch.positions[0].id, 3);
    confirm(end_of_batch());
    ck_assert_str_eq(query("SELECT status FROM outbox_event"), "SENT");
    tear_down();
}
END_TEST

static void see_row(void *context, struct sl_position position, const struct sl_event *event)
{
    ck_assert(sl_text_equal(event->key, SL_TEXT("b")));
    *(int64_t *) context = position.id;
}

START_TEST(an_event_is_found_by_its_id)
{
    set_up();
    int64_t found = 0;
    write_row(1, "a");
    write_row(2, "b");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    int status = sl_store_outbox_find(store, batch.events[1].id, see_row, &found, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(found, 2);
    tear_down();
}
END_TEST

/* Opening fails, with all of the words in its text. */
static void expect_refusal(const struct sl_mapping *mapping, const char *first, const char *second)
{
    struct sl_store *none;
    ck_assert_int_eq(sl_mapping_open(place.url, mapping, &none, &error), -1);
    ck_assert_msg(
        strstr(error.text, first) != NULL && strstr(error.text, second) != NULL, "%s", error.text);
}

START_TEST(what_is_wrong_with_a_mapping_is_told_at_the_start_with_what_there_is)
{
    set_up();
    struct sl_mapping mapping = seed;
    mapping.columns[SL_MAPPED_KEY] = "msg_key";
    expect_refusal(&mapping, "no column 'msg_key' (relay.columns.key)",
        "id, topic, message_key, payload, status, retry_count");
    mapping = seed;
    mapping.type = NULL;
    expect_refusal(&mapping, "no column 'type'", "relay.type");
    mapping = seed;
    mapping.table = "outbox_evnt";
    expect_refusal(&mapping, "no table 'outbox_evnt'", "relay.table");
    mapping.table = "a.b.c";
    expect_refusal(&mapping, "relay.table", "no table's name");
    mapping.table = "x\"; DROP TABLE outbox_event; --";
    expect_refusal(&mapping, "relay.table", "no table's name");
    mapping = seed;
    mapping.columns[SL_MAPPED_STATUS] = NULL;
    expect_refusal(&mapping, "relay.columns.retry_count", "relay.columns.status");
    mapping = seed;
    mapping.columns[SL_MAPPED_ID] = "created_at";
    expect_refusal(&mapping, "relay.columns.id", "whole number");
    tear_down();
}
END_TEST

START_TEST(another_table_is_mapped_only_when_nothing_of_the_first_is_open)
{
    set_up();
    write_row(1, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    expect_refusal(&debezium, "outbox_event", "on their way");
    confirm(end_of_batch());
    sl_store_close(store);
    open_mapped(&debezium);
    ck_assert_uint_eq(read_after(SL_POSITION_START), 0);
    tear_down();
}
END_TEST

START_TEST(a_relay_without_a_mapping_reads_the_outbox_and_so_do_those_who_look)
{
    set_up();
    char mapped_id[SLUICE_EVENT_ID_SIZE];
    memcpy(mapped_id, sl_store_id(store), sizeof(mapped_id));
    sl_store_close(store);
    ck_assert_int_eq(sl_mapping_open_noted(place.url, &store, &error), 0);
    ck_assert_str_eq(sl_store_id(store), mapped_id);
    sl_store_close(store);
    ck_assert_int_eq(sl_mapping_open(place.url, NULL, &store, &error), 0);
    ck_assert_str_eq(sl_store_id(store), sl_store_id(writer));
    sl_store_close(store);
    ck_assert_int_eq(sl_mapping_open_noted(place.url, &store, &error), 0);
    ck_assert_str_eq(sl_store_id(store), sl_store_id(writer));
    tear_down();
}
END_TEST

START_TEST(a_new_identity_hands_out_every_claim_again)
{
    set_up();
    write_row(1, "a");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 1);
    char id[SLUICE_EVENT_ID_SIZE];
    memcpy(id, batch.events[0].id, sizeof(id));
    confirm(end_of_batch());
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_renew_id(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.position.tick, 0);
    ck_assert_uint_eq(read_after(state.position), 1);
    ck_assert_str_eq(batch.events[0].id, id);
    tear_down();
}
END_TEST

DATABASE_UNIT_MAIN("mapping", rows_are_read_with_a_tick_and_marked_once_they_are_confirmed,
    a_smaller_id_that_is_committed_later_gets_a_later_tick,
    a_claim_is_there_before_its_rows_are_handed_out_and_is_read_again,
    of_two_rows_with_the_same_topic_and_key_each_is_marked_by_its_own_id,
    a_redriven_row_is_pending_again_and_sent_when_it_has_got_through,
    a_redrive_that_does_not_know_the_mapping_ends_in_the_right_status_too,
    a_dropped_row_stays_failed_and_is_claimed_no_more,
    a_row_that_was_sent_is_never_sent_again_nor_marked_otherwise,
    debeziums_layout_is_read_by_default_and_its_rows_stay,
    rows_can_be_deleted_once_they_are_confirmed_and_failed_ones_stay,
    an_unreadable_row_becomes_a_dead_letter_with_its_reason_and_the_others_flow,
    the_state_counts_what_is_claimed_and_what_is_not,
    claims_are_cleaned_up_to_the_first_that_is_open,
    more_rows_than_a_tick_holds_come_in_several_each_once,
    a_row_that_its_owner_deleted_holds_up_nothing, an_event_is_found_by_its_id,
    what_is_wrong_with_a_mapping_is_told_at_the_start_with_what_there_is,
    another_table_is_mapped_only_when_nothing_of_the_first_is_open,
    a_relay_without_a_mapping_reads_the_outbox_and_so_do_those_who_look,
    a_new_identity_hands_out_every_claim_again)
