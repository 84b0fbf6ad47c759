#include "store/store.h"
#include "support/cut_proxy.h"
#include "support/postgresql.h"
#include "support/unit.h"

static struct test_database place;
static struct sl_store *store;
static struct sluice_error error;

static void open_store(void)
{
    int status = sl_store_open(test_database_make(&place), SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_store(void)
{
    sl_store_close(store);
    test_database_remove(&place);
}

static struct sl_event event(int number)
{
    struct sl_event event = {
        .topic = SL_TEXT("t"),
        .has_key = true,
        .key = SL_TEXT("k"),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("payload"),
        .headers = SL_TEXT("{\"a\":\"b\"}"),
        .time_ms = 1577836800123, /* 2020-01-01 */
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    return event;
}

static void publish(int number)
{
    struct sl_event one = event(number);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), 0);
    int status = sl_store_commit(store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static size_t count_events(void)
{
    struct sl_outbox_batch batch = {0};
    int status = sl_store_outbox_read(store, SL_POSITION_START, 100, 1 << 20, &batch, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    size_t count = batch.count;
    sl_outbox_batch_deinit(&batch);
    return count;
}

START_TEST(an_event_comes_back_as_it_was_written)
{
    open_store();
    publish(1);
    struct sl_outbox_batch batch = {0};
    ck_assert_int_eq(
        sl_store_outbox_read(store, SL_POSITION_START, 100, 1 << 20, &batch, &error), 0);
    ck_assert_uint_eq(batch.count, 1);
    struct sl_event wanted = event(1);
    const struct sl_event *got = &batch.events[0];
    ck_assert_str_eq(got->id, wanted.id);
    ck_assert(sl_text_equal(got->topic, wanted.topic) && sl_text_equal(got->key, wanted.key));
    ck_assert(sl_text_equal(got->type, wanted.type));
    ck_assert(sl_text_equal(got->payload, wanted.payload));
    ck_assert(sl_text_equal(got->headers, SL_TEXT("{\"a\":\"b\"}")));
    ck_assert_int_eq(got->time_ms, wanted.time_ms);
    sl_outbox_batch_deinit(&batch);
    close_store();
}
END_TEST

START_TEST(any_language_publishes_and_marks_with_the_right_to_use_the_schema_alone)
{
    open_store();
    PGconn *owner = pg_open(place.url);
    char role[40];
    snprintf(role, sizeof(role), "sluice_test_role_%d", (int) getpid());
    pg_run(owner, "CREATE ROLE %s; GRANT USAGE ON SCHEMA sluice TO %s", role, role);
    pg_run(owner, "SET ROLE %s", role);
    ck_assert_str_eq(pg_fail(owner, "SELECT * FROM sluice.outbox"), "42501");
    ck_assert_uint_eq(
        strlen(pg_run(owner,
            "SELECT sluice.publish(topic => 'user-topic', key => 'u1',"
            " payload => '{\"a\":\"\\\\n\"}', type => 'UserCreated', headers => '{}')")),
        36);
    ck_assert_str_eq(pg_fail(owner, "SELECT sluice.publish('a topic', 'k', 'x', 'T')"), "23514");
    ck_assert_str_eq(pg_fail(owner, "SELECT sluice.publish('t', 'k', 'x', '')"), "23514");
    ck_assert_str_eq(pg_fail(owner, "SELECT sluice.publish('t', 'k', NULL::text, 'T')"), "23514");
    static const char begin[] =
        "SELECT sluice.inbox_begin('wallet-init', '00000000-0000-7000-8000-000000000001')";
    ck_assert_str_eq(pg_run(owner, "%s", begin), "t");
    ck_assert_str_eq(pg_run(owner, "%s", begin), "f");
    pg_run(owner, "RESET ROLE");
    ck_assert_uint_eq(count_events(), 1);
    ck_assert_str_eq(pg_run(owner, "SELECT status FROM sluice.event_status"), "PENDING");
    ck_assert_int_eq(sl_store_confirm(store, (struct sl_position) {1, 1}, 1, &error), 0);
    ck_assert_str_eq(pg_run(owner, "SELECT status FROM sluice.event_status"), "SENT");
    pg_run(owner, "DROP OWNED BY %s; DROP ROLE %s", role, role);
    PQfinish(owner);
    close_store();
}
END_TEST

START_TEST(ids_that_the_database_makes_are_uuids_of_version_7_and_of_now)
{
    open_store();
    PGconn *connection = pg_open(place.url);
    ck_assert_str_eq(
        pg_run(connection,
            "SELECT count(DISTINCT id) FROM (SELECT sluice.new_id() AS id"
            " FROM generate_series(1, 10000)) made WHERE id::text ~"
            " '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'"),
        "10000");
    /* The time's 48 bits, as hexadecimal digits, beside those of before and after. */
    ck_assert_str_eq(pg_run(connection,
                         "SELECT bool_and(time BETWEEN earlier AND later) FROM (SELECT"
                         " lpad(to_hex(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint"
                         " - 1), 12, '0') AS earlier,"
                         " left(replace(sluice.new_id()::text, '-', ''), 12) AS time,"
                         " lpad(to_hex(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint"
                         " + 1), 12, '0') AS later FROM generate_series(1, 1000)) made"),
        "t");
    PQfinish(connection);
    close_store();
}
END_TEST

START_TEST(a_connection_of_the_callers_is_adopted_in_the_middle_of_its_transaction)
{
    open_store();
    PGconn *connection = pg_open(place.url);
    struct sl_store *adopted;
    pg_run(connection, "CREATE TABLE work (n integer)");
    for (int i = 0; i < 2; i++) {
        struct sl_event one = event(i);
        pg_run(connection, "BEGIN");
        pg_run(connection, "INSERT INTO work VALUES (%d)", i);
        int status = sl_store_adopt_postgresql(connection, &adopted, &error);
        ck_assert_msg(status == 0, "%s", error.text);
        ck_assert_ptr_eq(sl_store_postgresql(adopted), connection);
        ck_assert_int_eq(sl_store_outbox_insert(adopted, &one, &error), 0);
        sl_store_close(adopted);
        pg_run(connection, i == 0 ? "ROLLBACK" : "COMMIT");
    }
    ck_assert_uint_eq(count_events(), 1);
    ck_assert_str_eq(pg_run(connection, "SELECT count(*) FROM work"), "1");
    ck_assert_str_eq(pg_run(connection, "SELECT count(*) FROM pg_prepared_statements"), "0");
    PQfinish(connection);
    close_store();
}
END_TEST

static void end_backend_of(struct sl_store *victim)
{
    PGconn *connection = pg_open(place.url);
    ck_assert_str_eq(pg_run(connection, "SELECT pg_terminate_backend(%d, 5000)",
                         PQbackendPID(sl_store_postgresql(victim))),
        "t");
    PQfinish(connection);
}

START_TEST(a_lost_connection_costs_its_transaction_and_is_made_again)
{
    open_store();
    struct sl_event one = event(1);
    publish(0);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), 0);
    end_backend_of(store);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert(sl_store_in_transaction(store)); /* nothing may be written outside of it */
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), -1);
    ck_assert_int_eq(sl_store_commit(store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert(!sl_store_in_transaction(store));
    publish(2);
    end_backend_of(store);
    publish(3); /* it was idle: not even noticed */
    ck_assert_uint_eq(count_events(), 3);
    close_store();
}
END_TEST

START_TEST(a_failed_statement_dooms_the_transaction_with_its_reason_but_not_past_a_savepoint)
{
    open_store();
    struct sl_event one = event(1);
    struct sl_event bad = event(2);
    bad.type = SL_TEXT("T\xff");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), 0);
    ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &bad, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_str_eq(error.sqlstate, "22021");
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "can only be rolled back"));
    ck_assert_int_eq(sl_store_savepoint_end(store, false, &error), 0);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &bad, &error), -1);
    ck_assert_int_eq(sl_store_commit(store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert(!sl_store_in_transaction(store));
    ck_assert_uint_eq(count_events(), 1);
    close_store();
}
END_TEST

static int commit_through_a_cut(bool is_passed_on)
{
    struct sl_store *through;
    int status = sl_store_open(proxy_start(&place), SL_STORE_EXISTING, &through, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    struct sl_event one = event(7);
    ck_assert_int_eq(sl_store_begin(through, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(through, &one, &error), 0);
    proxy_cut_at_commit(is_passed_on);
    status = sl_store_commit(through, &error);
    ck_assert(proxy_has_cut());
    ck_assert(!sl_store_in_transaction(through));
    sl_store_close(through);
    proxy_stop();
    return status;
}

START_TEST(a_commit_whose_answer_is_lost_is_looked_up_and_was_committed)
{
    open_store();
    int status = commit_through_a_cut(true);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_eq(count_events(), 1);
    close_store();
}
END_TEST

START_TEST(a_commit_that_never_arrived_is_looked_up_and_was_rolled_back)
{
    open_store();
    ck_assert_int_eq(commit_through_a_cut(false), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "was rolled back"));
    ck_assert_uint_eq(count_events(), 0);
    close_store();
}
END_TEST

START_TEST(an_outbox_from_another_cluster_is_read_only_under_a_new_identity)
{
    open_store();
    publish(1);
    publish(2);
    ck_assert_uint_eq(count_events(), 2);
    ck_assert_int_eq(sl_store_confirm(store, (struct sl_position) {1, 2}, 1, &error), 0);
    PGconn *connection = pg_open(place.url);
    pg_run(connection, "UPDATE sluice.meta SET value = '1/2' WHERE name = 'identity'");
    sl_store_close(store);
    ck_assert_int_eq(sl_store_open(place.url, SL_STORE_EXISTING, &store, &error), 0);
    struct sl_outbox_batch batch = {0};
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_read(store, SL_POSITION_START, 9, 99, &batch, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_CONFLICT);
    ck_assert_int_eq(error.reaction, SLUICE_FATAL);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice init --new-identity"));
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), -1);
    publish(3); /* the service goes on */
    int status = sl_store_renew_id(store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_eq(count_events(), 3);
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.unsent_count, 3);
    PQfinish(connection);
    close_store();
}
END_TEST

START_TEST(retention_drops_a_day_once_all_of_it_is_confirmed)
{
    open_store();
    PGconn *connection = pg_open(place.url);
    int64_t deleted;
    struct sl_outbox_state state;
    pg_run(connection,
        "CREATE TABLE sluice.outbox_20200101 PARTITION OF sluice.outbox"
        " FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-01-02 00:00:00+00')");
    publish(1);
    publish(2);
    ck_assert_uint_eq(count_events(), 2);
    ck_assert_int_eq(sl_store_confirm(store, (struct sl_position) {1, 1}, 1, &error), 0);
    int status = sl_store_outbox_retain(store, 1577923200000, 100, &deleted, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_eq(count_events(), 2);
    ck_assert_int_eq(sl_store_confirm(store, (struct sl_position) {1, 2}, 1, &error), 0);
    ck_assert_int_eq(sl_store_outbox_retain(store, 1577923199999, 100, &deleted, &error), 0);
    ck_assert_uint_eq(count_events(), 2); /* the day is not over */
    pg_run(connection, "BEGIN");
    pg_run(connection, "LOCK TABLE sluice.outbox_20200101 IN ROW EXCLUSIVE MODE");
    ck_assert_int_eq(sl_store_outbox_retain(store, 1577923200000, 100, &deleted, &error), 0);
    ck_assert_uint_eq(count_events(), 2); /* somebody still writes into it */
    pg_run(connection, "ROLLBACK");
    ck_assert_int_eq(sl_store_outbox_retain(store, 1577923200000, 100, &deleted, &error), 0);
    ck_assert_int_gt(deleted, 0);
    ck_assert_str_eq(pg_run(connection, "SELECT to_regclass('sluice.outbox_20200101')"), "-");
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(sl_position_compare(state.retained_after, (struct sl_position) {1, 2}), 0);
    PQfinish(connection);
    close_store();
}
END_TEST

START_TEST(what_is_missing_is_named_with_the_way_out)
{
    open_store();
    char url[300];
    struct sl_store *none;
    PGconn *connection = pg_open(place.url);
    snprintf(url, sizeof(url), "%s_not", place.url);
    ck_assert_int_eq(sl_store_open(url, SL_STORE_CREATE, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_int_eq(error.reaction, SLUICE_FATAL);
    ck_assert_ptr_nonnull(strstr(error.text, "create it with CREATE DATABASE"));
    ck_assert_int_eq(
        sl_store_open("postgresql://a:secret@127.0.0.1:1/b", SL_STORE_CREATE, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_ptr_null(strstr(error.text, "secret"));
    pg_run(connection, "UPDATE sluice.meta SET value = '99' WHERE name = 'schema_version'");
    ck_assert_int_eq(sl_store_open(place.url, SL_STORE_CREATE, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SCHEMA);
    ck_assert_ptr_nonnull(strstr(error.text, "have version 99, this program knows version 1"));
    pg_run(connection, "DROP SCHEMA sluice CASCADE");
    ck_assert_int_eq(sl_store_open(place.url, SL_STORE_EXISTING, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SCHEMA);
    ck_assert_ptr_nonnull(strstr(error.text, "create them with: sluice init"));
    PQfinish(connection);
    close_store();
}
END_TEST

POSTGRESQL_UNIT_MAIN("postgresql", an_event_comes_back_as_it_was_written,
    any_language_publishes_and_marks_with_the_right_to_use_the_schema_alone,
    ids_that_the_database_makes_are_uuids_of_version_7_and_of_now,
    a_connection_of_the_callers_is_adopted_in_the_middle_of_its_transaction,
    a_lost_connection_costs_its_transaction_and_is_made_again,
    a_failed_statement_dooms_the_transaction_with_its_reason_but_not_past_a_savepoint,
    a_commit_whose_answer_is_lost_is_looked_up_and_was_committed,
    a_commit_that_never_arrived_is_looked_up_and_was_rolled_back,
    an_outbox_from_another_cluster_is_read_only_under_a_new_identity,
    retention_drops_a_day_once_all_of_it_is_confirmed, what_is_missing_is_named_with_the_way_out)
