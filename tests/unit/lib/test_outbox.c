#include <sluice/inbox.h>
#include <sluice/outbox.h>
#include <sluice/version.h>
#include <sqlite3.h>

#include "support/temp.h"
#include "support/unit.h"

static struct temp temp;
static sluice_database *database;
static struct sluice_error error;
static const struct sluice_event order_placed = {
    .topic = "orders", .key = "7", .type = "OrderPlaced", .payload = "{}", .payload_size = 2};

static void open_database(void)
{
    temp_make(&temp);
    int status = sluice_database_open(temp_url(&temp, "sqlite", "app.db"), &database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_database(void)
{
    sluice_database_close(database);
    temp_remove(&temp);
}

static int count_rows(sqlite3 *handle)
{
    sqlite3_stmt *statement;
    ck_assert_int_eq(
        sqlite3_prepare_v2(handle, "SELECT count(*) FROM sluice_outbox", -1, &statement, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return count;
}

START_TEST(publishing_outside_of_a_transaction_fails_and_writes_nothing)
{
    open_database();
    char id[SLUICE_EVENT_ID_SIZE] = "untouched";
    ck_assert_int_eq(sluice_publish(database, &order_placed, id, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_str_eq(sluice_code_name(error.code), "SLUICE_NO_TRANSACTION");
    ck_assert_str_eq(id, "untouched");
    ck_assert_int_eq(count_rows(sluice_database_sqlite(database)), 0);
    close_database();
}
END_TEST

START_TEST(an_event_leaves_with_the_commit_and_vanishes_with_the_rollback)
{
    open_database();
    char id[SLUICE_EVENT_ID_SIZE];
    sqlite3 *handle = sluice_database_sqlite(database);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_publish(database, &order_placed, id, &error), 0);
    ck_assert_int_eq(sluice_rollback(database, &error), 0);
    ck_assert_int_eq(count_rows(handle), 0);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_publish(database, &order_placed, id, &error), 0);
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_int_eq(count_rows(handle), 1);
    ck_assert_uint_eq(strlen(id), 36);
    close_database();
}
END_TEST

START_TEST(a_refused_event_leaves_the_transaction_as_it_was)
{
    open_database();
    struct sluice_event bad = order_placed;
    bad.topic = "no topic";
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_publish(database, &order_placed, NULL, &error), 0);
    ck_assert_int_eq(sluice_publish(database, &bad, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_int_eq(count_rows(sluice_database_sqlite(database)), 1);
    close_database();
}
END_TEST

START_TEST(a_full_disk_under_a_publish_is_told_and_nothing_goes_on_by_itself)
{
    open_database();
    static const char payload[500000];
    struct sluice_event large = order_placed;
    large.payload = payload;
    large.payload_size = sizeof(payload);
    sqlite3 *handle = sluice_database_sqlite(database);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_publish(database, &order_placed, NULL, &error), 0);
    ck_assert_int_eq(
        sqlite3_exec(handle, "PRAGMA max_page_count = 1", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sluice_publish(database, &large, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SPACE);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    /* SQLite has rolled back: what would go on as if nothing had happened is refused. */
    ck_assert_int_eq(sluice_publish(database, &order_placed, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(count_rows(handle), 0);
    ck_assert_int_eq(
        sqlite3_exec(handle, "PRAGMA max_page_count = 100000", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_publish(database, &large, NULL, &error), 0);
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_int_eq(count_rows(handle), 1);
    close_database();
}
END_TEST

START_TEST(a_service_hands_over_its_own_connection_in_the_middle_of_a_transaction)
{
    open_database();
    sqlite3 *own;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &own), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(own, "BEGIN; CREATE TABLE mine (x)", NULL, NULL, NULL), 0);
    sluice_database *adopted;
    ck_assert_int_eq(sluice_database_adopt_sqlite(own, &adopted, &error), 0);
    ck_assert_int_eq(sluice_publish(adopted, &order_placed, NULL, &error), 0);
    sluice_database_close(adopted);
    ck_assert_int_eq(sqlite3_get_autocommit(own), 0);
    ck_assert_int_eq(sqlite3_exec(own, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(count_rows(own), 1);
    sqlite3_close(own);
    close_database();
}
END_TEST

START_TEST(transactions_are_begun_and_ended_in_turn)
{
    open_database();
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_rollback(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_begin(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_IN_TRANSACTION);
    close_database();
}
END_TEST

START_TEST(the_inbox_says_once_that_an_event_is_new)
{
    open_database();
    const char *id = "01a20398-f6d2-7d74-8e39-d97973311863";
    int is_new;
    ck_assert_int_eq(sluice_inbox_begin(database, "wallet", id, &is_new, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_inbox_begin(database, "wallet", id, &is_new, &error), 0);
    ck_assert_int_eq(is_new, 1);
    ck_assert_int_eq(sluice_inbox_begin(database, "wallet", id, &is_new, &error), 0);
    ck_assert_int_eq(is_new, 0);
    ck_assert_int_eq(sluice_inbox_begin(database, "relay", id, &is_new, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(sluice_inbox_begin(database, "wallet", "7", &is_new, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    close_database();
}
END_TEST

START_TEST(errors_may_be_ignored_and_the_version_is_known)
{
    open_database();
    ck_assert_int_eq(sluice_publish(database, &order_placed, NULL, NULL), -1);
    ck_assert_int_gt((int) strlen(sluice_version()), 0);
    ck_assert_str_eq(sluice_code_name((enum sluice_code) 9999), "SLUICE_INTERNAL");
    sluice_database_close(NULL);
    close_database();
}
END_TEST

UNIT_MAIN("outbox", publishing_outside_of_a_transaction_fails_and_writes_nothing,
    an_event_leaves_with_the_commit_and_vanishes_with_the_rollback,
    a_refused_event_leaves_the_transaction_as_it_was,
    a_full_disk_under_a_publish_is_told_and_nothing_goes_on_by_itself,
    a_service_hands_over_its_own_connection_in_the_middle_of_a_transaction,
    transactions_are_begun_and_ended_in_turn, the_inbox_says_once_that_an_event_is_new,
    errors_may_be_ignored_and_the_version_is_known)
