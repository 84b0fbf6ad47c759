/*
 * A table of the user's (store/mapping.h) with memory that runs out, SQLite's included: each row is
 * claimed once and marked by what has become of it, whatever failed before.
 */
#include "store/mapping.h"

#include "fault/sweep.h"
#include "support/sqlite_rows.h"
#include "support/temp.h"

enum { ROWS = 3, OPEN_STRIDE = 7 };

static const struct sl_mapping mapping = {.table = "outbox_event",
    .columns = {[SL_MAPPED_TOPIC] = "topic",
        [SL_MAPPED_KEY] = "message_key",
        [SL_MAPPED_STATUS] = "status",
        [SL_MAPPED_RETRY_COUNT] = "retry_count",
        [SL_MAPPED_SENT_AT] = "sent_at"},
    .type = "T"};

static struct temp temp;
static struct sluice_error error;
static sqlite3 *handle;
static struct sl_store *store;

static int open_mapped(void)
{
    return sl_mapping_open(temp_url(&temp, "sqlite", "app.db"), &mapping, &store, &error);
}

static void set_up(void)
{
    temp_make(&temp);
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    run_sql(handle,
        "CREATE TABLE outbox_event (id INTEGER PRIMARY KEY, topic TEXT, message_key TEXT,"
        " payload TEXT, status TEXT, retry_count INTEGER, sent_at INTEGER)");
}

static void tear_down(void)
{
    sqlite3_close(handle);
    temp_remove(&temp);
}

/* Rows that nobody has claimed, and a store that has seen none of them. */
static void begin_again(void)
{
    int status = open_mapped();
    ck_assert_msg(status == 0, "%s", error.text);
    run_sql(handle,
        "PRAGMA synchronous = OFF; BEGIN; DELETE FROM outbox_event; DELETE FROM sluice_claim;"
        "UPDATE sluice_mapping SET tick = 0, position = 0, claimed_tick = 0, claimed_position = 0;"
        "INSERT INTO outbox_event VALUES (1, 't', 'k', 'one', 'PENDING', 0, NULL),"
        " (2, 't', 'k', 'two', 'PENDING', 0, NULL), (3, 't', 'l', 'three', 'PENDING', 0, NULL);"
        "COMMIT");
}

static int read_rows(struct sl_outbox_batch *batch)
{
    return sl_store_outbox_read(store, (struct sl_position) {0, 0}, 10, 1 << 20, batch, &error);
}

static void read_ok(struct sl_outbox_batch *batch)
{
    int status = read_rows(batch);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_eq(batch->count, ROWS);
    ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_claim"), ROWS);
    ck_assert(sl_text_equal(batch->events[1].payload, SL_TEXT("two")));
}

START_TEST(a_mapped_table_whose_opening_fails_is_opened_the_next_time)
{
    set_up();
    SWEEP_EACH(sweep, OPEN_STRIDE)
    {
        sweep_arm(&sweep);
        int status = open_mapped();
        sweep_disarm(&sweep, status, &error);
        if (status == 0) {
            sl_store_close(store);
        }
    }
    tear_down();
}
END_TEST

START_TEST(rows_are_claimed_once_though_memory_runs_out_while_they_are_read)
{
    set_up();
    SWEEP_EACH(sweep, 3)
    {
        struct sl_outbox_batch batch = {0};
        begin_again();
        sweep_arm(&sweep);
        int status = read_rows(&batch);
        sweep_disarm(&sweep, status, &error);
        read_ok(&batch);
        sl_outbox_batch_deinit(&batch);
        sl_store_close(store);
    }
    tear_down();
}
END_TEST

START_TEST(rows_are_marked_together_and_before_the_position_moves)
{
    static const char sent[] = "SELECT count(*) FROM outbox_event WHERE status = 'SENT'";
    set_up();
    SWEEP_EACH(sweep, 3)
    {
        struct sl_outbox_batch batch = {0};
        begin_again();
        read_ok(&batch);
        struct sl_position last = batch.positions[ROWS - 1];
        sweep_arm(&sweep);
        int status = sl_store_confirm(store, last, 5, &error);
        sweep_disarm(&sweep, status, &error);
        bool has_moved = number_of(handle, "SELECT tick FROM sluice_mapping") == last.tick;
        int64_t marked = number_of(handle, sent);
        ck_assert(marked == ROWS || (marked == 0 && !has_moved));
        ck_assert(has_moved || status != 0);
        ck_assert_int_eq(sl_store_confirm(store, last, 5, &error), 0);
        ck_assert_int_eq(number_of(handle, sent), ROWS);
        sl_outbox_batch_deinit(&batch);
        sl_store_close(store);
    }
    tear_down();
}
END_TEST

START_TEST(how_a_mapped_table_stands_is_told_or_the_failure_is)
{
    set_up();
    begin_again();
    SWEEP(sweep)
    {
        struct sl_outbox_state state = {.unsent_count = -5};
        sweep_arm(&sweep);
        int status = sl_store_outbox_state(store, &state, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(state.unsent_count, status == 0 ? ROWS : -5);
    }
    sl_store_close(store);
    tear_down();
}
END_TEST

FAULT_MAIN("fault_mapping", a_mapped_table_whose_opening_fails_is_opened_the_next_time,
    rows_are_claimed_once_though_memory_runs_out_while_they_are_read,
    rows_are_marked_together_and_before_the_position_moves,
    how_a_mapped_table_stands_is_told_or_the_failure_is)
