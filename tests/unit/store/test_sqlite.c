#include "store/store.h"

#include <sqlite3.h>

#include "support/temp.h"
#include "support/unit.h"

static struct temp temp;
static struct sl_store *store;
static struct sluice_error error;

static void open_store(void)
{
    temp_make(&temp);
    const char *url = temp_url(&temp, "sqlite", "app.db");
    int status = sl_store_open(url, SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void close_store(void)
{
    sl_store_close(store);
    temp_remove(&temp);
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

START_TEST(a_position_of_a_rolled_back_row_comes_again_and_of_a_deleted_one_never)
{
    open_store();
    struct sl_event one = event(1, "k");
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), 0);
    sl_store_rollback(store);
    publish(0, 1);
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.last.id, 1);
    ck_assert_int_eq(sl_store_confirm(store, (struct sl_position) {0, 1}, 5000, &error), 0);
    int64_t deleted;
    ck_assert_int_eq(sl_store_outbox_retain(store, 9000, 100, &deleted, &error), 0);
    ck_assert_int_eq(deleted, 1);
    publish(1, 2);
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.last.id, 2);
    ck_assert_int_eq(state.retained_after.id, 1);
    close_store();
}
END_TEST

START_TEST(a_database_that_keeps_its_texts_in_utf_16_is_read_as_utf_8)
{
    temp_make(&temp);
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(handle, "PRAGMA encoding = 'UTF-16'; CREATE TABLE t (x)", NULL, NULL, NULL),
        SQLITE_OK);
    const char *url = temp_url(&temp, "sqlite", "app.db");
    int status = sl_store_open(url, SL_STORE_CREATE, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    publish(0, 1);
    struct sl_outbox_batch batch = {0};
    ck_assert_int_eq(
        sl_store_outbox_read(store, (struct sl_position) {0, 0}, 10, 1 << 20, &batch, &error), 0);
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_str_eq(batch.events[0].id, "00000000-0000-7000-8000-000000000000");
    ck_assert(sl_text_equal(batch.events[0].key, SL_TEXT("even")));
    ck_assert(sl_text_equal(batch.events[0].payload, SL_TEXT("payload")));
    sl_outbox_batch_deinit(&batch);
    sqlite3_close(handle);
    close_store();
}
END_TEST

START_TEST(missing_and_newer_tables_are_refused_with_the_way_out)
{
    temp_make(&temp);
    const char *url = temp_url(&temp, "sqlite", "app.db");
    ck_assert_int_eq(sl_store_open(url, SL_STORE_EXISTING, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_UNAVAILABLE);
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(handle, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sl_store_open(url, SL_STORE_EXISTING, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SCHEMA);
    ck_assert_ptr_nonnull(strstr(error.text, "create them with: sluice init --database sqlite:"));
    ck_assert_int_eq(sl_store_adopt_sqlite(handle, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SCHEMA);
    ck_assert_int_eq(sl_store_open(url, SL_STORE_CREATE, &store, &error), 0);
    sl_store_close(store);
    ck_assert_int_eq(
        sqlite3_exec(handle, "UPDATE sluice_meta SET value = '99' WHERE name = 'schema_version'",
            NULL, NULL, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sl_store_open(url, SL_STORE_CREATE, &store, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "have version 99, this program knows version 2"));
    sqlite3_close(handle);
    temp_remove(&temp);
}
END_TEST

/* What version 2 added, taken away again. */
static const char back_to_version_1[] =
    "ALTER TABLE sluice_dead_letter DROP COLUMN tick;"
    "ALTER TABLE sluice_relay DROP COLUMN tick;"
    "ALTER TABLE sluice_relay DROP COLUMN holder;"
    "ALTER TABLE sluice_relay DROP COLUMN term;"
    "ALTER TABLE sluice_relay DROP COLUMN lease_ends_at;"
    "UPDATE sluice_meta SET value = '1' WHERE name = 'schema_version'";

START_TEST(older_tables_are_named_with_the_way_out_and_init_upgrades_them_with_what_they_hold)
{
    open_store();
    publish(0, 3);
    ck_assert_int_eq(sl_store_confirm(store, (struct sl_position) {.id = 1}, 1000, &error), 0);
    sl_store_close(store);
    sqlite3 *handle;
    const char *url = temp_url(&temp, "sqlite", "app.db");
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(handle, back_to_version_1, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
    ck_assert_int_eq(sl_store_open(url, SL_STORE_EXISTING, &store, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SCHEMA);
    ck_assert_ptr_nonnull(strstr(error.text,
        "version 1, older than this program's 2; upgrade them "
        "with: sluice init --database sqlite:"));
    ck_assert_int_eq(sl_store_open(url, SL_STORE_CREATE, &store, &error), 0);
    sl_store_close(store);
    int status = sl_store_open(url, SL_STORE_EXISTING, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    struct sl_outbox_state state;
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), 0);
    ck_assert_int_eq(state.position.id, 1);
    ck_assert_int_eq(state.unsent_count, 2);
    bool is_held = false;
    ck_assert_int_eq(sl_store_lease(store, "relay", 1000, &is_held, &error), 0);
    ck_assert(is_held);
    close_store();
}
END_TEST

START_TEST(a_change_by_another_connection_is_seen_once)
{
    open_store();
    sl_store_has_changed(store);
    ck_assert(!sl_store_has_changed(store));
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(handle, "INSERT INTO sluice_outbox (topic, type, payload) VALUES ('t','T','')",
            NULL, NULL, NULL),
        SQLITE_OK);
    ck_assert(sl_store_has_changed(store));
    ck_assert(!sl_store_has_changed(store));
    sqlite3_close(handle);
    close_store();
}
END_TEST

static void keep_count(void *context, const struct sl_consumer_count *count)
{
    struct sl_consumer_count *kept = context;
    *kept = *count;
}

static void look_away(void *context, const struct sl_held *held)
{
    (void) context;
    (void) held;
}

START_TEST(a_table_that_was_dropped_is_named_by_every_call_that_needs_it)
{
    open_store();
    struct sl_event one = event(1, "k");
    struct sl_outbox_batch batch = {0};
    struct sl_outbox_state state;
    struct sl_consumer_count count;
    struct sl_held_filter filter = {0};
    int64_t number;
    ck_assert_int_eq(sqlite3_exec(sl_store_sqlite(store),
                         "DROP VIEW sluice_event_status; DROP TABLE sluice_outbox;"
                         "DROP TABLE sluice_inbox; DROP TABLE sluice_consumer;"
                         "DROP TABLE sluice_dead_letter",
                         NULL, NULL, NULL),
        SQLITE_OK);
    ck_assert_int_eq(
        sl_store_outbox_read(store, (struct sl_position) {0, 0}, 1, 1, &batch, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice_outbox"));
    ck_assert_int_eq(sl_store_outbox_state(store, &state, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice_outbox"));
    ck_assert_int_eq(sl_store_outbox_retain(store, 1, 1, &number, &error), -1);
    ck_assert_int_eq(sl_store_inbox_retain(store, "c", 1, 1, &number, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice_inbox"));
    ck_assert_int_eq(sl_store_each_consumer(store, keep_count, &count, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice_consumer"));
    ck_assert_int_eq(
        sl_store_held_due(store, "c", SL_POSITION_START, 1, look_away, NULL, &number, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice_dead_letter"));
    ck_assert_int_eq(sl_store_redrive(store, &filter, 1, &number, &error), -1);
    ck_assert_int_eq(sl_store_drop(store, &filter, 1, &number, &error), -1);
    ck_assert(!sl_store_in_transaction(store));
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    ck_assert_int_eq(sl_store_outbox_insert(store, &one, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "sluice_outbox"));
    sl_outbox_batch_deinit(&batch);
    close_store();
}
END_TEST

UNIT_MAIN("sqlite", a_position_of_a_rolled_back_row_comes_again_and_of_a_deleted_one_never,
    a_database_that_keeps_its_texts_in_utf_16_is_read_as_utf_8,
    missing_and_newer_tables_are_refused_with_the_way_out,
    older_tables_are_named_with_the_way_out_and_init_upgrades_them_with_what_they_hold,
    a_change_by_another_connection_is_seen_once,
    a_table_that_was_dropped_is_named_by_every_call_that_needs_it)
