/*
 * What is special to MariaDB: the claim, transactions that the server ends, lost connections, and
 * connections of the caller's.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "store/look.h"
#include "unit/store/mariadb_place.h"

static void *claim_all(void *context)
{
    (void) context;
    read_after(SL_POSITION_START);
    return NULL;
}

/* Whether the claim has come as far as this row: it holds the row's lock, or has let it go again.
 */
static bool is_reached(MYSQL *connection, const char *probe)
{
    bool is_locked = mysql_query(connection, probe) != 0;
    MYSQL_RES *result = is_locked ? NULL : mysql_store_result(connection);
    bool is_claimed = false;
    if (result != NULL) {
        MYSQL_ROW row = mysql_fetch_row(result);
        is_claimed = row != NULL && row[0] != NULL;
        mysql_free_result(result);
    }
    return is_locked || is_claimed;
}

/*
 * A is open while the scan passes it; then A is committed, and B, of the same key, is written and
 * committed before the scan comes to its end. Whoever sends B must have sent A before.
 */
static void overtake(void)
{
    pthread_t thread;
    MYSQL *probe = mariadb_server_connect(database());
    do_on(other, "START TRANSACTION");
    insert_on(other, "k", "A");
    do_on(probe,
        "INSERT INTO sluice_outbox (topic, message_key, type, payload)"
        " SELECT 't', concat('other', seq), 'T', repeat('x', 100) FROM seq_1_to_8000");
    ck_assert_int_eq(pthread_create(&thread, NULL, claim_all, NULL), 0);
    int64_t deadline_ms = sl_clock_monotonic_ms() + 10000;
    while (!is_reached(probe,
        "SELECT tick FROM sluice_outbox WHERE position ="
        " (SELECT min(position) + 1 FROM sluice_outbox) FOR UPDATE NOWAIT")) {
        ck_assert_int_lt(sl_clock_monotonic_ms(), deadline_ms);
    }
    do_on(other, "COMMIT");
    insert_on(other, "k", "B");
    pthread_join(thread, NULL);
    mysql_close(probe);
}

/* The types of the key k, in the order in which they are read. */
static void note_types(char types[8])
{
    size_t count = strlen(types);
    for (size_t i = 0; i < batch.count && count < 7; i++) {
        if (sl_text_equal(batch.events[i].key, SL_TEXT("k"))) {
            types[count++] = batch.events[i].type.data[0];
        }
    }
    types[count] = '\0';
}

START_TEST(a_row_that_was_open_when_the_claim_came_by_is_not_overtaken_by_a_later_one_of_its_key)
{
    for (int round = 0; round < 4; round++) {
        char types[8] = "";
        set_up();
        overtake();
        note_types(types);
        while (batch.count > 0) {
            read_after(batch.positions[batch.count - 1]);
            note_types(types);
        }
        ck_assert_str_eq(types, "AB");
        tear_down();
    }
}
END_TEST

START_TEST(a_claim_and_open_transactions_wait_for_each_other_in_no_way)
{
    set_up();
    MYSQL *third = mariadb_server_connect(database());
    insert_on(other, "a", "1");
    do_on(third, "START TRANSACTION");
    insert_on(third, "b", "2");
    insert_on(other, "a", "3");
    do_on(other, "START TRANSACTION");
    insert_on(other, "c", "4");
    int64_t start_ms = sl_clock_monotonic_ms();
    read_after(SL_POSITION_START);
    ck_assert_int_lt(sl_clock_monotonic_ms() - start_ms, 3000);
    ck_assert_uint_eq(batch.count, 2);
    do_on(other, "COMMIT");
    do_on(third, "COMMIT");
    /* And while a claim is open, writers insert beside its rows. */
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    read_after(batch.positions[1]);
    ck_assert_uint_eq(batch.count, 2);
    do_on(other, "SET innodb_lock_wait_timeout = 1");
    insert_on(other, "a", "5");
    do_on(other, "SELECT sluice_outbox.position FROM sluice_outbox");
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    mysql_close(third);
    tear_down();
}
END_TEST

START_TEST(each_look_sees_what_has_been_committed_since_the_one_before)
{
    set_up();
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM sluice_outbox"), 0);
    insert_on(other, "k", "1");
    ck_assert_int_eq(number("SELECT count(*) FROM sluice_outbox"), 1);
    sl_store_rollback(store);
    read_after(SL_POSITION_START);
    ck_assert_uint_eq(batch.count, 1);
    insert_on(other, "k", "2");
    read_after(batch.positions[0]);
    ck_assert_uint_eq(batch.count, 1);
    tear_down();
}
END_TEST

START_TEST(gaps_that_rollbacks_leave_are_not_waited_for)
{
    set_up();
    do_on(other, "START TRANSACTION");
    insert_on(other, "k", "1");
    do_on(other, "ROLLBACK");
    insert_on(other, "k", "2");
    read_after(SL_POSITION_START);
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_int_eq(batch.positions[0].tick, 1);
    ck_assert_int_eq(batch.positions[0].id, 2);
    tear_down();
}
END_TEST

START_TEST(a_large_backlog_is_claimed_in_bounded_pieces_and_read_in_order)
{
    set_up();
    do_on(other,
        "INSERT INTO sluice_outbox (topic, message_key, type, payload)"
        " SELECT 't', 'k', 'T', seq FROM seq_1_to_25000");
    struct sl_position position = SL_POSITION_START;
    int64_t next = 1;
    do {
        int status = sl_store_outbox_read(store, position, 1000, 1 << 20, &batch, &error);
        ck_assert_msg(status == 0, "%s", error.text);
        for (size_t i = 0; i < batch.count; i++) {
            ck_assert_int_eq(batch.positions[i].id, next++);
            position = batch.positions[i];
        }
    } while (batch.count > 0);
    ck_assert_int_eq(next, 25001);
    ck_assert_int_eq(position.tick, 3);
    tear_down();
}
END_TEST

START_TEST(a_duplicate_key_leaves_the_transaction_open)
{
    set_up();
    do_on(other, "CREATE TABLE t (x INT PRIMARY KEY)");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), 0);
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), -1);
    ck_assert_int_eq(error.code, SLUICE_CONSTRAINT);
    ck_assert_str_eq(error.sqlstate, "23000");
    ck_assert(sl_store_in_transaction(store));
    ck_assert_int_eq(sl_store_explain_rollback(store, &error), 0);
    ck_assert_int_eq(sl_store_commit(store, &error), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 1);
    tear_down();
}
END_TEST

static void *second_lock(void *context)
{
    (void) context;
    int status = mysql_query(other, "UPDATE t SET y = 2 WHERE x = 1");
    (void) status; /* the one of the two that loses is told */
    return NULL;
}

START_TEST(a_deadlock_ends_the_transaction_and_nothing_commits_by_itself_after_it)
{
    set_up();
    pthread_t thread;
    do_on(other, "CREATE TABLE t (x INT PRIMARY KEY, y INT)");
    do_on(other, "INSERT INTO t VALUES (1, 0), (2, 0), (3, 0), (4, 0)");
    /* The other one has changed more, so that this one is the victim. */
    do_on(other, "START TRANSACTION");
    do_on(other, "UPDATE t SET y = 1 WHERE x >= 2");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(run("UPDATE t SET y = 9 WHERE x = 1"), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, second_lock, NULL), 0);
    ck_assert_int_eq(run("UPDATE t SET y = 9 WHERE x = 2"), -1);
    pthread_join(thread, NULL);
    ck_assert_int_eq(error.code, SLUICE_CONFLICT);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert(!sl_store_in_transaction(store));
    ck_assert_int_eq(sl_store_explain_rollback(store, &error), -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_int_eq(run("UPDATE t SET y = 9 WHERE x = 4"), -1);
    ck_assert_int_eq(error.code, SLUICE_CONFLICT);
    sl_store_rollback(store);
    do_on(other, "COMMIT");
    ck_assert_int_eq(sl_store_explain_rollback(store, &error), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM t WHERE y = 9"), 0);
    tear_down();
}
END_TEST

START_TEST(a_lost_connection_takes_its_transaction_along_and_is_made_anew_after_it)
{
    set_up();
    MYSQL *handle = sl_store_mariadb(store);
    do_on(other, "CREATE TABLE t (x INT PRIMARY KEY)");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), 0);
    kill_connection();
    ck_assert_int_eq(run("INSERT INTO t VALUES (2)"), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert(!sl_store_in_transaction(store));
    ck_assert_int_eq(sl_store_explain_rollback(store, &error), -1);
    ck_assert_int_eq(run("INSERT INTO t VALUES (3)"), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    sl_store_rollback(store);
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_ptr_eq(sl_store_mariadb(store), handle);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 0);
    sl_store_rollback(store);
    /* One that ends between transactions is not noticed at all. */
    kill_connection();
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    sl_store_rollback(store);
    tear_down();
}
END_TEST

START_TEST(a_connection_of_the_callers_may_be_in_a_transaction_however_it_was_begun)
{
    set_up();
    struct sl_store *adopted;
    mysql_set_character_set(other, "latin1");
    ck_assert_int_eq(sl_store_adopt_mariadb(other, &adopted, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    mysql_set_character_set(other, "utf8mb4");
    do_on(other, "START TRANSACTION");
    struct sl_store *own = store;
    int status = sl_store_adopt_mariadb(other, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_ptr_eq(sl_store_mariadb(store), other);
    ck_assert(sl_store_in_transaction(store));
    publish(1);
    do_on(other, "ROLLBACK");
    ck_assert(!sl_store_in_transaction(store));
    struct sl_event none = {.topic = SL_TEXT("t")};
    ck_assert_int_eq(sl_store_outbox_insert(store, &none, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    do_on(other, "SET autocommit = 0");
    ck_assert(sl_store_in_transaction(store));
    publish(2);
    sl_store_close(store);
    do_on(other, "COMMIT");
    store = own;
    ck_assert_int_eq(number("SELECT count(*) FROM sluice_outbox"), 1);
    tear_down();
}
END_TEST

static void note_who(void *context, struct sl_text who, int64_t age_ms)
{
    ck_assert_int_gt(age_ms, 0);
    snprintf(context, 100, "%.*s", (int) who.size, who.data);
}

START_TEST(an_open_transaction_and_the_servers_clock_are_told)
{
    set_up();
    char who[100] = "";
    char wanted[100];
    int64_t clock_ms = 0;
    int64_t before_ms = sl_clock_wall_ms();
    ck_assert_int_eq(sl_store_clock(store, &clock_ms, &error), 0);
    ck_assert_int_ge(clock_ms, before_ms);
    ck_assert_int_le(clock_ms, sl_clock_wall_ms());
    do_on(other, "START TRANSACTION");
    insert_on(other, "k", "1");
    snprintf(wanted, sizeof(wanted), "connection %lu of root@", mysql_thread_id(other));
    int64_t deadline_ms = sl_clock_monotonic_ms() + 10000;
    while (who[0] == '\0' && sl_clock_monotonic_ms() < deadline_ms) {
        int status = sl_store_open_transactions(store, 1, note_who, who, &error);
        ck_assert_msg(status == 0, "%s", error.text);
    }
    ck_assert_ptr_nonnull(strstr(who, wanted));
    tear_down();
}
END_TEST

START_TEST(writes_that_are_forbidden_fail_and_are_noticed)
{
    set_up();
    do_on(other, "CREATE TABLE t (x INT PRIMARY KEY)");
    ck_assert_int_eq(sl_store_forbid_writes(store, true, &error), 0);
    ck_assert(!sl_store_was_forbidden(store));
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), -1);
    ck_assert(sl_store_was_forbidden(store));
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 0);
    ck_assert(!sl_store_was_forbidden(store));
    ck_assert_int_eq(sl_store_forbid_writes(store, false, &error), 0);
    ck_assert_int_eq(run("INSERT INTO t VALUES (1)"), 0);
    tear_down();
}
END_TEST

static void *interrupt(void *context)
{
    struct timespec pause = {0, 10000000};
    for (int i = 0; i < 500 && !atomic_load((atomic_bool *) context); i++) {
        sl_store_interrupt(store);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

START_TEST(a_statement_that_runs_is_interrupted_by_another_thread)
{
    set_up();
    pthread_t thread;
    atomic_bool is_over = false;
    int64_t start_ms = sl_clock_monotonic_ms();
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt, &is_over), 0);
    int status = run("SELECT count(*) FROM seq_1_to_100000 a, seq_1_to_1000000 b");
    atomic_store(&is_over, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(status, -1);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_int_lt(sl_clock_monotonic_ms() - start_ms, 8000);
    ck_assert_int_eq(number("SELECT 7"), 7);
    tear_down();
}
END_TEST

START_TEST(values_of_every_type_come_as_numbers_texts_and_bytes)
{
    set_up();
    ck_assert_int_eq(number("SELECT 18446744073709551615 - 5 DIV 5 * 18446744073709551610"), 5);
    ck_assert_int_eq(number("SELECT sum(x) FROM (SELECT 3 AS x UNION SELECT 4) AS t"), 7);
    ck_assert_int_eq(number("SELECT length(repeat('x', 300000))"), 300000);
    ck_assert_int_eq(number("SELECT true"), 1);
    ck_assert_int_eq(run("SELECT no_column FROM sluice_meta"), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    tear_down();
}
END_TEST

static void run_as_it_is(const char *sql)
{
    do_on(other, sql);
    ck_assert_int_eq(sl_store_open(url, SL_STORE_EXISTING, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SCHEMA);
}

START_TEST(missing_older_and_newer_tables_are_refused_with_the_way_out)
{
    set_up();
    sl_store_close(store);
    run_as_it_is("UPDATE sluice_meta SET value = '99' WHERE name = 'schema_version'");
    ck_assert_ptr_nonnull(strstr(error.text, "have version 99"));
    ck_assert_int_eq(sl_store_open(url, SL_STORE_CREATE, &store, &error), -1);
    run_as_it_is("UPDATE sluice_meta SET value = '0' WHERE name = 'schema_version'");
    ck_assert_ptr_nonnull(strstr(error.text, "sluice init"));
    /* What is older, or was left half made, is completed. */
    do_on(other, "DROP FUNCTION sluice_publish");
    int status = sl_store_open(url, SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    do_on(other, "START TRANSACTION");
    do_on(other, "SELECT sluice_publish('t', 'k', 'p', 'T', NULL)");
    do_on(other, "COMMIT");
    sl_store_close(store);
    run_as_it_is("DROP TABLE sluice_meta");
    ck_assert_ptr_nonnull(strstr(error.text, "are missing in mariadb://"));
    status = sl_store_open(url, SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    read_after(SL_POSITION_START);
    ck_assert_uint_eq(batch.count, 1);
    tear_down();
}
END_TEST

UNIT_TESTS("mariadb",
    a_row_that_was_open_when_the_claim_came_by_is_not_overtaken_by_a_later_one_of_its_key,
    a_claim_and_open_transactions_wait_for_each_other_in_no_way,
    each_look_sees_what_has_been_committed_since_the_one_before,
    gaps_that_rollbacks_leave_are_not_waited_for,
    a_large_backlog_is_claimed_in_bounded_pieces_and_read_in_order,
    a_duplicate_key_leaves_the_transaction_open,
    a_deadlock_ends_the_transaction_and_nothing_commits_by_itself_after_it,
    a_lost_connection_takes_its_transaction_along_and_is_made_anew_after_it,
    a_connection_of_the_callers_may_be_in_a_transaction_however_it_was_begun,
    an_open_transaction_and_the_servers_clock_are_told,
    writes_that_are_forbidden_fail_and_are_noticed,
    a_statement_that_runs_is_interrupted_by_another_thread,
    values_of_every_type_come_as_numbers_texts_and_bytes,
    missing_older_and_newer_tables_are_refused_with_the_way_out)

int main(void)
{
    return getenv("SLUICE_TEST_MARIADB") == NULL ? 77 : run_unit_tests();
}
