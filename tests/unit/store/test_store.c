#include "store/store.h"

#include <time.h>

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

static struct sl_event event(int number, const char *key)
{
    struct sl_event event = {
        .topic = SL_TEXT("t"),
        .has_key = key != NULL,
        .key = sl_text_of(key),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("payload"),
        .headers = SL_TEXT("{}"),
        .time_ms = 1000 + number,
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    return event;
}

static void publish(int from, int to)
{
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    for (int i = from; i < to; i++) {
        struct sl_event one = event(i, i % 2 == 0 ? "even" : NULL);
        ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), 0);
    }
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
}

/* The position of the n-th event, from 1. */
static struct sl_position nth(size_t n)
{
    struct sl_outbox_batch batch = {0};
    int status = sl_store_outbox_read(store, SL_POSITION_START, 100, 1 << 20, &batch, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_ge(batch.count, n);
    struct sl_position position = batch.positions[n - 1];
    sl_outbox_batch_deinit(&batch);
    return position;
}

START_TEST(what_is_written_outside_of_a_transaction_is_refused)
{
    open_store();
    struct sl_event one = event(1, "k");
    bool is_new;
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sl_store_inbox_begin(store, "c", one.id, 0, &is_new, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sl_store_commit(store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sl_store_savepoint(store, &error), -1);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_begin(store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_IN_TRANSACTION);
    close_store();
}
END_TEST

START_TEST(rows_are_read_in_commit_order_after_a_position)
{
    open_store();
    publish(0, 5);
    struct sl_outbox_batch batch = {0};
    ck_assert_int_eq(sl_store_outbox_read(store, nth(2), 100, 1 << 20, &batch, &error), 0);
    ck_assert_uint_eq(batch.count, 3);
    ck_assert_int_eq(sl_position_compare(batch.positions[0], nth(3)), 0);
    ck_assert_str_eq(batch.events[0].id, "00000000-0000-7000-8000-000000000002");
    ck_assert(batch.events[0].has_key && sl_text_equal(batch.events[0].key, SL_TEXT("even")));
    ck_assert(!batch.events[1].has_key);
    ck_assert(sl_text_equal(batch.events[2].payload, SL_TEXT("payload")));
    ck_assert_int_eq(sl_store_outbox_read(store, SL_POSITION_START, 2, 1 << 20, &batch, &error), 0);
    ck_assert_uint_eq(batch.count, 2);
    ck_assert_int_eq(sl_store_outbox_read(store, SL_POSITION_START, 100, 1, &batch, &error), 0);
    ck_assert_uint_eq(batch.count, 1);
    sl_outbox_batch_deinit(&batch);
    close_store();
}
END_TEST

START_TEST(the_outbox_tells_its_oldest_unsent_event_and_how_many_there_are)
{
    open_store();
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.unsent_count, 0);
    ck_assert_int_eq(state.oldest_unsent_ms, 0);
    publish(0, 5);
    ck_assert_int_eq(sl_store_confirm(store, nth(2), 1, &error), 0);
    ck_assert_int_eq(sl_store_confirm(store, nth(1), 1, &error), 0);
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(sl_position_compare(state.position, nth(2)), 0);
    ck_assert_int_eq(state.unsent_count, 3);
    ck_assert_int_eq(state.oldest_unsent_ms, 1002);
    close_store();
}
END_TEST

START_TEST(retention_keeps_what_is_unsent_or_young)
{
    open_store();
    publish(0, 5);
    ck_assert_int_eq(sl_store_confirm(store, nth(4), 1, &error), 0);
    int64_t deleted;
    ck_assert_int_eq(sl_store_outbox_retain(store, 1002, 100, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 2);
    ck_assert_int_eq(sl_store_outbox_retain(store, 9000, 1, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 1);
    ck_assert_int_eq(sl_store_outbox_retain(store, 9000, 100, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 1);
    close_store();
}
END_TEST

START_TEST(a_marker_is_new_once_for_each_consumer)
{
    open_store();
    const char *id = "00000000-0000-7000-8000-000000000001";
    bool is_new;
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_inbox_begin(store, "c", id, 5, &is_new, &error), 0);
    ck_assert(is_new);
    ck_assert_int_eq(sl_store_inbox_begin(store, "c", id, 5, &is_new, &error), 0);
    ck_assert(!is_new);
    ck_assert_int_eq(sl_store_inbox_begin(store, "d", id, 5, &is_new, &error), 0);
    ck_assert(is_new);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    int64_t deleted;
    ck_assert_int_eq(sl_store_inbox_retain(store, "c", 1, 10, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 0);
    ck_assert_int_eq(sl_store_inbox_retain(store, "c", 1000, 10, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 1);
    close_store();
}
END_TEST

START_TEST(a_savepoint_is_kept_or_undone_inside_its_transaction)
{
    open_store();
    struct sl_event kept = event(1, "k");
    struct sl_event undone = event(2, "k");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &kept, &error), 0);
    ck_assert_int_eq(sl_store_savepoint_end(store, true, &error), 0);
    ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &undone, &error), 0);
    ck_assert_int_eq(sl_store_savepoint_end(store, false, &error), 0);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    struct sl_outbox_batch batch = {0};
    ck_assert_int_eq(
        sl_store_outbox_read(store, SL_POSITION_START, 100, 1 << 20, &batch, &error), 0);
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_str_eq(batch.events[0].id, kept.id);
    sl_outbox_batch_deinit(&batch);
    close_store();
}
END_TEST

START_TEST(a_new_identity_differs_and_forgets_the_position)
{
    open_store();
    char old_id[SLUICE_EVENT_ID_SIZE];
    snprintf(old_id, sizeof(old_id), "%s", sl_store_id(store));
    publish(0, 3);
    ck_assert_int_eq(sl_store_confirm(store, nth(3), 1, &error), 0);
    ck_assert_int_eq(sl_store_renew_id(store, &error), 0);
    ck_assert_str_ne(sl_store_id(store), old_id);
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(sl_position_compare(state.position, SL_POSITION_START), 0);
    close_store();
}
END_TEST

START_TEST(urls_that_are_none_are_refused_without_showing_a_password)
{
    ck_assert_int_eq(
        sl_store_open("mariadb://app:secret@host:0/db", SL_STORE_CREATE, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_ptr_null(strstr(error.text, "secret"));
    ck_assert_int_eq(sl_store_open("oracle:secret", SL_STORE_CREATE, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_ptr_null(strstr(error.text, "secret"));
}
END_TEST

static void keep_count(void *context, const struct sl_consumer_count *count)
{
    struct sl_consumer_count *kept = context;
    ck_assert(sl_text_equal(count->name, SL_TEXT("c")));
    *kept = *count;
}

START_TEST(a_consumers_counters_add_up)
{
    open_store();
    struct sl_consumer_count count = {0};
    ck_assert_int_eq(sl_store_count_consumed(store, "c", 3, 2, 1, 10, &error), 0);
    ck_assert_int_eq(sl_store_count_consumed(store, "c", 1, 1, 1, 20, &error), 0);
    ck_assert_int_eq(sl_store_each_consumer(store, keep_count, &count, &error), 0);
    ck_assert_int_eq(count.applied_total, 4);
    ck_assert_int_eq(count.duplicates_total, 3);
    ck_assert_int_eq(count.failures_total, 2);
    ck_assert_int_eq(count.updated_ms, 20);
    close_store();
}
END_TEST

static void read_after(struct sl_position position, struct sl_outbox_batch *batch)
{
    int status = sl_store_outbox_read(store, position, 100, 4 << 20, batch, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static bool is_held(const char *holder, int64_t ttl_ms)
{
    bool is_held = false;
    int status = sl_store_lease(store, holder, ttl_ms, &is_held, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return is_held;
}

START_TEST(a_row_of_a_rolled_back_transaction_is_never_read)
{
    open_store();
    struct sl_outbox_batch batch = {0};
    struct sl_event one = event(9, "k");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), 0);
    sl_store_rollback(store);
    ck_assert(!sl_store_in_transaction(store));
    read_after(SL_POSITION_START, &batch);
    ck_assert_uint_eq(batch.count, 0);
    publish(0, 1);
    read_after(SL_POSITION_START, &batch);
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_str_eq(batch.events[0].id, "00000000-0000-7000-8000-000000000000");
    sl_outbox_batch_deinit(&batch);
    close_store();
}
END_TEST

START_TEST(any_bytes_and_the_longest_texts_come_back_as_they_were)
{
    open_store();
    struct sl_outbox_batch batch = {0};
    static char payload[SLUICE_PAYLOAD_SIZE_MAX];
    static char key[SLUICE_KEY_SIZE_MAX];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (char) (i * 7 + i / 256);
    }
    for (size_t i = 0; i < sizeof(key); i += 4) {
        memcpy(key + i, "\xf0\x9f\x92\xa7", 4);
    }
    struct sl_event one = event(1, NULL);
    one.has_key = true;
    one.key = (struct sl_text) {key, sizeof(key)};
    one.payload = (struct sl_text) {payload, sizeof(payload)};
    one.headers = SL_TEXT("{\"a\":\"\\\"\xc3\xa4 ' \\\\ \"}");
    struct sl_event empty = event(2, "trailing space ");
    empty.payload = SL_TEXT("");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    int status = sl_store_outbox_insert(store, &one, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sl_store_outbox_insert(store, &empty, &error), 0);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    read_after(SL_POSITION_START, &batch);
    ck_assert_uint_eq(batch.count, 2);
    ck_assert(sl_text_equal(batch.events[0].payload, one.payload));
    ck_assert(sl_text_equal(batch.events[0].key, one.key));
    ck_assert(sl_text_equal(batch.events[0].headers, one.headers));
    ck_assert_uint_eq(batch.events[1].payload.size, 0);
    ck_assert(sl_text_equal(batch.events[1].key, empty.key));
    sl_outbox_batch_deinit(&batch);
    close_store();
}
END_TEST

START_TEST(a_position_of_a_deleted_row_never_comes_again)
{
    open_store();
    publish(0, 1);
    struct sl_position first = nth(1);
    int64_t deleted;
    ck_assert_int_eq(sl_store_confirm(store, first, 5000, &error), 0);
    ck_assert_int_eq(sl_store_outbox_retain(store, 9000, 100, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 1);
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(sl_position_compare(state.last, first), 0);
    publish(1, 2);
    ck_assert_int_gt(sl_position_compare(nth(1), first), 0);
    close_store();
}
END_TEST

START_TEST(one_relay_has_the_lease_until_it_ends_or_gives_it_up)
{
    open_store();
    ck_assert(is_held("first", 60000));
    ck_assert(is_held("first", 60000));
    ck_assert(!is_held("second", 60000));
    ck_assert_int_eq(sl_store_lease_end(store, "second", &error), 0);
    ck_assert(!is_held("second", 60000));
    ck_assert_int_eq(sl_store_lease_end(store, "first", &error), 0);
    ck_assert(is_held("second", 1));
    struct timespec pause = {0, 5000000}; /* the lease's own 1 ms, and more */
    nanosleep(&pause, NULL);
    ck_assert(is_held("first", 60000));
    close_store();
}
END_TEST

DATABASE_UNIT_MAIN("store", what_is_written_outside_of_a_transaction_is_refused,
    rows_are_read_in_commit_order_after_a_position,
    the_outbox_tells_its_oldest_unsent_event_and_how_many_there_are,
    retention_keeps_what_is_unsent_or_young, a_marker_is_new_once_for_each_consumer,
    a_savepoint_is_kept_or_undone_inside_its_transaction,
    a_new_identity_differs_and_forgets_the_position,
    urls_that_are_none_are_refused_without_showing_a_password, a_consumers_counters_add_up,
    a_row_of_a_rolled_back_transaction_is_never_read,
    any_bytes_and_the_longest_texts_come_back_as_they_were,
    a_position_of_a_deleted_row_never_comes_again,
    one_relay_has_the_lease_until_it_ends_or_gives_it_up)
