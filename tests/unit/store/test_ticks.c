/* What the reader of PostgreSQL's outbox promises, each rule with the transaction that breaks it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "store/store.h"
#include "support/database.h"
#include "support/postgresql.h"
#include "support/unit.h"

static struct test_database place;
static struct sl_store *store;
static struct sluice_error error;
static struct sl_outbox_batch batch;
static struct sl_position position;

static void open_store(void)
{
    int status = sl_store_open(test_database_make(&place), SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    position = SL_POSITION_START;
}

static void close_store(void)
{
    sl_outbox_batch_deinit(&batch);
    sl_store_close(store);
    test_database_remove(&place);
}

static void insert(PGconn *connection, const char *payload)
{
    pg_run(connection,
        "INSERT INTO sluice.outbox (aggregatetype, aggregateid, type, payload)"
        " VALUES ('t', 'k', 'T', '%s')",
        payload);
}

static void insert_rows(PGconn *connection, const char *payload, int count)
{
    pg_run(connection,
        "INSERT INTO sluice.outbox (aggregatetype, type, payload)"
        " SELECT 't', 'T', '%s' FROM generate_series(1, %d)",
        payload, count);
}

static void read_page(size_t count_max)
{
    int status = sl_store_outbox_read(store, position, count_max, 1 << 20, &batch, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    for (size_t i = 0; i < batch.count; i++) {
        ck_assert_int_gt(sl_position_compare(batch.positions[i], position), 0);
        position = batch.positions[i];
    }
}

/* The payloads that are new, as one text: "a b ". */
static const char *news(void)
{
    static char text[200];
    size_t size = 0;
    text[0] = '\0';
    for (read_page(100); batch.count > 0; read_page(100)) {
        for (size_t i = 0; i < batch.count; i++) {
            struct sl_text payload = batch.events[i].payload;
            size += (size_t) snprintf(
                text + size, sizeof(text) - size, "%.*s ", (int) payload.size, payload.data);
        }
    }
    return text;
}

START_TEST(a_row_whose_number_is_lower_but_whose_commit_is_later_is_not_lost)
{
    open_store();
    PGconn *slow = pg_open(place.url);
    PGconn *quick = pg_open(place.url);
    pg_run(slow, "BEGIN");
    insert(slow, "slow");
    insert(quick, "quick");
    ck_assert_str_eq(news(), "quick ");
    insert(quick, "next");
    ck_assert_str_eq(news(), "next ");
    pg_run(slow, "COMMIT");
    ck_assert_str_eq(news(), "slow ");
    PQfinish(slow);
    PQfinish(quick);
    close_store();
}
END_TEST

START_TEST(an_older_transaction_that_writes_later_comes_later)
{
    open_store();
    PGconn *older = pg_open(place.url);
    PGconn *younger = pg_open(place.url);
    pg_run(older, "BEGIN");
    pg_run(older, "SELECT pg_current_xact_id()");
    insert(younger, "first");
    insert(older, "second");
    pg_run(older, "COMMIT");
    ck_assert_str_eq(news(), "first second ");
    PQfinish(older);
    PQfinish(younger);
    close_store();
}
END_TEST

START_TEST(a_prepared_transaction_holds_up_nobody_but_itself_in_any_database)
{
    open_store();
    char elsewhere[40];
    PGconn *server = test_database_server();
    PGconn *here = pg_open(place.url);
    PGconn *writer = pg_open(place.url);
    snprintf(elsewhere, sizeof(elsewhere), "elsewhere_%d", (int) getpid());
    pg_run(server, "BEGIN");
    pg_run(server, "SELECT pg_current_xact_id()");
    pg_run(server, "PREPARE TRANSACTION '%s'", elsewhere);
    pg_run(here, "BEGIN");
    insert(here, "prepared");
    pg_run(here, "PREPARE TRANSACTION 'here_%s'", elsewhere);
    insert(writer, "a");
    ck_assert_str_eq(news(), "a ");
    insert(writer, "b");
    ck_assert_str_eq(news(), "b ");
    pg_run(here, "COMMIT PREPARED 'here_%s'", elsewhere);
    ck_assert_str_eq(news(), "prepared ");
    pg_run(server, "ROLLBACK PREPARED '%s'", elsewhere);
    PQfinish(server);
    PQfinish(here);
    PQfinish(writer);
    close_store();
}
END_TEST

START_TEST(what_was_rolled_back_whole_or_to_a_savepoint_is_never_seen)
{
    open_store();
    PGconn *writer = pg_open(place.url);
    pg_run(writer, "BEGIN");
    insert(writer, "kept");
    pg_run(writer, "SAVEPOINT s");
    insert(writer, "undone");
    pg_run(writer, "ROLLBACK TO s");
    pg_run(writer, "SAVEPOINT t");
    insert(writer, "released");
    pg_run(writer, "RELEASE t");
    pg_run(writer, "COMMIT");
    pg_run(writer, "BEGIN");
    insert(writer, "gone");
    pg_run(writer, "ROLLBACK");
    ck_assert_str_eq(news(), "kept released ");
    PQfinish(writer);
    close_store();
}
END_TEST

START_TEST(a_tick_is_committed_and_flushed_before_its_rows_are_handed_out)
{
    open_store();
    PGconn *writer = pg_open(place.url);
    char end[40];
    pg_run(writer, "SET synchronous_commit = off");
    insert(writer, "a");
    snprintf(end, sizeof(end), "%s", pg_run(writer, "SELECT pg_current_wal_insert_lsn()"));
    read_page(100);
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_str_eq(pg_run(writer, "SELECT pg_current_wal_flush_lsn() >= '%s'", end), "t");
    ck_assert_str_eq(pg_run(writer, "SELECT count(*) FROM sluice.tick WHERE number = %lld",
                         (long long) position.tick),
        "1");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_read(store, position, 1, 1, &batch, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_IN_TRANSACTION);
    sl_store_rollback(store);
    PQfinish(writer);
    close_store();
}
END_TEST

START_TEST(an_idle_outbox_makes_no_ticks_whatever_others_write)
{
    open_store();
    PGconn *writer = pg_open(place.url);
    pg_run(writer, "CREATE TABLE other (n integer)");
    insert(writer, "a");
    ck_assert_str_eq(news(), "a ");
    for (int i = 0; i < 10; i++) {
        pg_run(writer, "INSERT INTO other VALUES (%d)", i);
        ck_assert_str_eq(news(), "");
    }
    ck_assert_str_eq(pg_run(writer, "SELECT max(number) FROM sluice.tick"), "1");
    PQfinish(writer);
    close_store();
}
END_TEST

START_TEST(a_big_tick_comes_page_by_page_without_those_of_other_ticks_between)
{
    open_store();
    PGconn *slow = pg_open(place.url);
    PGconn *writer = pg_open(place.url);
    pg_run(slow, "BEGIN");
    insert(slow, "slow");
    for (int i = 0; i < 10; i++) {
        insert_rows(writer, "x", 1000);
        insert(slow, "slow");
    }
    size_t count = 0;
    for (read_page(300); batch.count > 0; read_page(300)) {
        ck_assert_uint_le(batch.count, 300);
        ck_assert_int_eq(position.tick, 1);
        count += batch.count;
    }
    ck_assert_uint_eq(count, 10000);
    pg_run(slow, "COMMIT");
    for (read_page(4); batch.count > 0; read_page(4)) {
        ck_assert(sl_text_equal(batch.events[0].payload, SL_TEXT("slow")));
        ck_assert_int_eq(position.tick, 2);
        count += batch.count;
    }
    ck_assert_uint_eq(count, 10011);
    PQfinish(slow);
    PQfinish(writer);
    close_store();
}
END_TEST

/* Read a tick to its end: so many rows with that payload, and no others. */
static void expect_tick(int64_t tick, const char *payload, size_t wanted)
{
    size_t count = 0;
    for (read_page(300); batch.count > 0; read_page(300)) {
        for (size_t i = 0; i < batch.count; i++) {
            ck_assert(sl_text_equal(batch.events[i].payload, sl_text_of(payload)));
            ck_assert_int_eq(batch.positions[i].tick, tick);
        }
        count += batch.count;
    }
    ck_assert_uint_eq(count, wanted);
}

START_TEST(two_big_ticks_whose_rows_lie_side_by_side_are_told_apart)
{
    open_store();
    PGconn *slow = pg_open(place.url);
    PGconn *writer = pg_open(place.url);
    pg_run(slow, "BEGIN");
    for (int i = 0; i < 10; i++) {
        insert_rows(writer, "quick", 500);
        insert_rows(slow, "slow", 500);
    }
    expect_tick(1, "quick", 5000);
    pg_run(slow, "COMMIT");
    expect_tick(2, "slow", 5000);
    PQfinish(slow);
    PQfinish(writer);
    close_store();
}
END_TEST

START_TEST(a_reader_begins_anywhere_again)
{
    open_store();
    PGconn *writer = pg_open(place.url);
    insert(writer, "a");
    ck_assert_str_eq(news(), "a ");
    struct sl_position first = position;
    insert(writer, "b");
    insert(writer, "c");
    ck_assert_str_eq(news(), "b c ");
    position.id--;
    ck_assert_str_eq(news(), "c ");
    position = first;
    ck_assert_str_eq(news(), "b c ");
    position = SL_POSITION_START;
    ck_assert_str_eq(news(), "a b c ");
    struct sl_store *other;
    int status = sl_store_open(place.url, SL_STORE_EXISTING, &other, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    status = sl_store_outbox_read(other, first, 100, 1, &batch, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_eq(batch.count, 1); /* not more than the size asked for */
    ck_assert(sl_text_equal(batch.events[0].payload, SL_TEXT("b")));
    sl_outbox_batch_deinit(&batch);
    sl_store_close(other);
    PQfinish(writer);
    close_store();
}
END_TEST

enum { WRITERS = 8, KEYS = 6, TRANSACTIONS = 60 };

static atomic_int writers_left;

/* Each transaction takes the next number of a key under its row's lock, and sometimes fails. */
static void *write_numbers(void *argument)
{
    unsigned seed = (unsigned) (uintptr_t) argument;
    PGconn *connection = PQconnectdb(place.url);
    for (int i = 0; i < TRANSACTIONS; i++) {
        char sql[400];
        seed = seed * 1103515245u + 12345u;
        snprintf(sql, sizeof(sql),
            "BEGIN; %s UPDATE counter SET n = n + 1 WHERE k = %u;"
            "INSERT INTO sluice.outbox (aggregatetype, aggregateid, type, payload)"
            " SELECT 't', k::text, 'T', convert_to(n::text, 'UTF8') FROM counter WHERE k = %u; %s",
            seed & 0x10000 ? "SELECT pg_current_xact_id();" : "", (seed >> 20) % KEYS,
            (seed >> 20) % KEYS, (seed >> 18) % 5 == 0 ? "ROLLBACK" : "COMMIT");
        PQclear(PQexec(connection, sql));
    }
    PQfinish(connection);
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

START_TEST(events_of_a_key_come_once_and_in_order_from_writers_at_once)
{
    open_store();
    PGconn *connection = pg_open(place.url);
    pthread_t threads[WRITERS];
    long seen[KEYS] = {0};
    pg_run(connection, "CREATE TABLE counter (k integer PRIMARY KEY, n integer)");
    pg_run(connection, "INSERT INTO counter SELECT k, 0 FROM generate_series(0, %d) k", KEYS - 1);
    atomic_store(&writers_left, WRITERS);
    for (uintptr_t i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_numbers, (void *) (i + 1)), 0);
    }
    bool is_last_round;
    do {
        is_last_round = atomic_load(&writers_left) == 0;
        for (read_page(50); batch.count > 0; read_page(50)) {
            for (size_t i = 0; i < batch.count; i++) {
                const struct sl_event *event = &batch.events[i];
                long *last = &seen[event->key.data[0] - '0'];
                char number[20];
                snprintf(
                    number, sizeof(number), "%.*s", (int) event->payload.size, event->payload.data);
                ck_assert_int_eq(strtol(number, NULL, 10), ++*last);
            }
        }
    } while (!is_last_round);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int k = 0; k < KEYS; k++) {
        ck_assert_int_eq(
            strtol(pg_run(connection, "SELECT n FROM counter WHERE k = %d", k), NULL, 10), seen[k]);
    }
    PQfinish(connection);
    close_store();
}
END_TEST

POSTGRESQL_UNIT_MAIN("ticks", a_row_whose_number_is_lower_but_whose_commit_is_later_is_not_lost,
    an_older_transaction_that_writes_later_comes_later,
    a_prepared_transaction_holds_up_nobody_but_itself_in_any_database,
    what_was_rolled_back_whole_or_to_a_savepoint_is_never_seen,
    a_tick_is_committed_and_flushed_before_its_rows_are_handed_out,
    an_idle_outbox_makes_no_ticks_whatever_others_write,
    a_big_tick_comes_page_by_page_without_those_of_other_ticks_between,
    two_big_ticks_whose_rows_lie_side_by_side_are_told_apart, a_reader_begins_anywhere_again,
    events_of_a_key_come_once_and_in_order_from_writers_at_once)
