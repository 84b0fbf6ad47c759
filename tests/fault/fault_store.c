/*
 * Every function of store/store.h with memory that runs out, SQLite's included: it tells, nothing
 * is half written, and the same store does it the next time.
 */
#include "store/store.h"

#include "fault/sweep.h"
#include "store/look.h"
#include "support/sqlite_rows.h"
#include "support/temp.h"

enum { OPEN_STRIDE = 7 }; /* an open allocates some hundred times, mostly for SQLite's parser */

static struct temp temp;
static struct sluice_error error;
static sqlite3 *handle;
static struct sl_store *store;
static int visits;
static struct sl_event event;

static void open_file(void)
{
    struct sl_store *created;
    temp_make(&temp);
    int status =
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_CREATE, &created, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    sl_store_close(created);
    ck_assert_int_eq(sqlite3_open(temp_url(&temp, "", "app.db"), &handle), SQLITE_OK);
    /* Else small allocations come from memory that SQLite has put aside, and do not fail. */
    ck_assert_int_eq(sqlite3_db_config(handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0), SQLITE_OK);
    event = (struct sl_event) {
        .id = "00000000-0000-7000-8000-000000000009",
        .topic = SL_TEXT("t"),
        .has_key = true,
        .key = SL_TEXT("k"),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("payload"),
        .headers = SL_TEXT("{}"),
        .time_ms = 5,
    };
}

static void close_file(void)
{
    sqlite3_close(handle);
    temp_remove(&temp);
}

/* Something of everything: rows, markers, and a key with a failed head and one that waits. */
static void fill(void)
{
    run_sql(handle,
        "INSERT INTO sluice_outbox (topic, message_key, type, payload, created_at) VALUES"
        " ('t', 'k', 'T', 'one', 1), ('t', NULL, 'T', 'two', 2), ('t', 'k', 'T', 'three', 3);"
        "UPDATE sluice_relay SET position = 2;"
        "INSERT INTO sluice_inbox VALUES ('c', '00000000-0000-7000-8000-000000000001', 1);"
        "INSERT INTO sluice_consumer VALUES ('c', 1, 2, 3, 4);"
        "INSERT INTO sluice_dead_letter (number, stage, event_id, topic, message_key, type,"
        " payload, headers, created_at, state, attempts, next_attempt_at, held_at, reason)"
        " VALUES"
        " (1, 'c', 'a', 't', 'k', 'T', '{}', '{}', 1, 'FAILED_PERMANENTLY', 3, 0, 1, 'r'),"
        " (2, 'c', 'b', 't', 'k', 'T', '{}', '{}', 1, 'WAITING', 0, 0, 1, 'r'),"
        " (3, 'c', 'd', 't', 'l', 'T', '{}', '{}', 1, 'RETRYING', 1, 9, 1, 'r')");
}

/* One number for all that the tables hold. */
static int64_t fingerprint(void)
{
    return number_of(handle,
        "SELECT (SELECT total(position * 31 + length(payload)) FROM sluice_outbox) * 7"
        " + (SELECT total(length(event_id) + applied_at) FROM sluice_inbox) * 11"
        " + (SELECT total(applied_total * 3 + duplicates_total * 5 + updated_at)"
        "    FROM sluice_consumer) * 13"
        " + (SELECT total(position + updated_at) FROM sluice_relay) * 17"
        " + (SELECT total(unicode(value)) FROM sluice_meta) * 19"
        " + (SELECT total(number * (length(state) * 3 + attempts * 5 + next_attempt_at * 7 +"
        "    length(reason))) FROM sluice_dead_letter) * 23");
}

static void visit_held(void *context, const struct sl_held *held)
{
    (void) context;
    ck_assert_uint_gt(held->reason.size, 0);
    visits++;
}

static void visit_held_count(void *context, const struct sl_held_count *count)
{
    (void) context;
    ck_assert(sl_text_equal(count->stage, SL_TEXT("c")));
    visits++;
}

static void visit_consumer(void *context, const struct sl_consumer_count *count)
{
    (void) context;
    ck_assert(sl_text_equal(count->name, SL_TEXT("c")));
    visits++;
}

static int do_insert(void)
{
    return sl_store_outbox_insert(store, &event, &error);
}

static int do_read(void)
{
    struct sl_outbox_batch batch = {0};
    int status =
        sl_store_outbox_read(store, (struct sl_position) {0, 0}, 10, 1 << 20, &batch, &error);
    if (status == 0) {
        ck_assert_uint_eq(batch.count, 3);
        ck_assert(sl_text_equal(batch.events[2].payload, SL_TEXT("three")));
    } else {
        ck_assert_uint_eq(batch.count, 0);
    }
    sl_outbox_batch_deinit(&batch);
    return status;
}

static int do_state(void)
{
    struct sl_outbox_state state = {.position = {0, -5}};
    int status = sl_store_outbox_state(store, &state, &error);
    ck_assert_int_eq(state.position.id, status == 0 ? 2 : -5);
    return status;
}

static int do_confirm(void)
{
    return sl_store_confirm(store, (struct sl_position) {0, 3}, 77, &error);
}

static int do_outbox_retain(void)
{
    int64_t deleted = -5;
    int status = sl_store_outbox_retain(store, 99, 100, &deleted, &error);
    ck_assert_int_eq(deleted, status == 0 ? 2 : -5);
    return status;
}

static int do_inbox_begin(void)
{
    bool is_new = false;
    int status = sl_store_inbox_begin(store, "c", event.id, 5, &is_new, &error);
    ck_assert(is_new == (status == 0));
    return status;
}

static int do_inbox_retain(void)
{
    int64_t deleted = -5;
    int status = sl_store_inbox_retain(store, "c", 1000, 100, &deleted, &error);
    ck_assert_int_eq(deleted, status == 0 ? 1 : -5);
    return status;
}

static int do_count(void)
{
    return sl_store_count_consumed(store, "c", 1, 1, 1, 99, &error);
}

static int do_each_consumer(void)
{
    return sl_store_each_consumer(store, visit_consumer, NULL, &error);
}

static int do_key_state(void)
{
    struct sl_key_state state = {.failed_count = -5};
    int status = sl_store_key_state(store, "c", &event, SL_POSITION_END, &state, &error);
    ck_assert_int_eq(state.failed_count, status == 0 ? 1 : -5);
    return status;
}

static int do_has_held(void)
{
    bool has_held = false;
    int status = sl_store_has_held(store, "c", &has_held, &error);
    ck_assert(has_held == (status == 0));
    return status;
}

static int do_hold(void)
{
    struct sl_hold hold = {.stage = "c", .event = &event, .state = SL_HELD_WAITING, .reason = "r"};
    return sl_store_hold(store, &hold, &error);
}

static int do_held_update(void)
{
    return sl_store_held_update(store, 3, SL_HELD_FAILED, 2, 0, "worse", &error);
}

static int do_held_remove(void)
{
    return sl_store_held_remove(store, 1, 50, &error);
}

static int do_held_next(void)
{
    return sl_store_held_next(store, 1, 50, &error);
}

static int do_held_due(void)
{
    int64_t due_ms = -5;
    int status = sl_store_held_due(
        store, "c", (struct sl_position) {0, 9}, 99, visit_held, NULL, &due_ms, &error);
    ck_assert_int_eq(due_ms, status == 0 ? 9 : -5);
    return status;
}

static int do_held_lock(void)
{
    bool is_ours = false;
    int status = sl_store_held_lock(store, 1, 0, &is_ours, &error);
    ck_assert(!is_ours || status == 0);
    return status;
}

static int do_each_held(void)
{
    struct sl_held_filter filter = {.stage = "c"};
    return sl_store_each_held(store, &filter, visit_held, NULL, &error);
}

static int do_each_held_count(void)
{
    return sl_store_each_held_count(store, visit_held_count, NULL, &error);
}

static int do_redrive(void)
{
    int64_t count = -5;
    struct sl_held_filter filter = {.topic = "t"};
    int status = sl_store_redrive(store, &filter, 99, &count, &error);
    ck_assert_int_eq(count, status == 0 ? 1 : -5);
    return status;
}

static int do_drop(void)
{
    int64_t count = -5;
    struct sl_held_filter filter = {.key = "k"};
    int status = sl_store_drop(store, &filter, 99, &count, &error);
    ck_assert_int_eq(count, status == 0 ? 1 : -5);
    return status;
}

static int do_savepoint(void)
{
    return sl_store_savepoint(store, &error);
}

static int do_renew_id(void)
{
    char before[SLUICE_EVENT_ID_SIZE];
    snprintf(before, sizeof(before), "%s", sl_store_id(store));
    int status = sl_store_renew_id(store, &error);
    ck_assert((strcmp(before, sl_store_id(store)) == 0) == (status != 0));
    return status;
}

static void visit_marker(
    void *context, struct sl_text consumer, struct sl_text event_id, int64_t applied_ms)
{
    (void) context;
    (void) event_id;
    (void) applied_ms;
    ck_assert(sl_text_equal(consumer, SL_TEXT("c")));
    visits++;
}

static void visit_row(void *context, struct sl_position position, const struct sl_event *row)
{
    (void) context;
    (void) row;
    ck_assert_int_gt(position.id, 0);
    visits++;
}

static int do_inbox_read(void)
{
    return sl_store_inbox_read(store, "c", SL_MARKER_START, 10, visit_marker, NULL, &error);
}

static int do_inbox_find(void)
{
    return sl_store_inbox_find(
        store, "00000000-0000-7000-8000-000000000001", visit_marker, NULL, &error);
}

static int do_outbox_find(void)
{
    return sl_store_outbox_find(store, event.id, visit_row, NULL, &error);
}

static int do_relay_row(void)
{
    struct sl_relay_row row = {.term = -5};
    int status = sl_store_relay_row(store, &row, &error);
    ck_assert((row.term == -5) == (status != 0));
    return status;
}

static int do_paused(void)
{
    char by[SL_PAUSE_TEXT_SIZE];
    return sl_store_paused(store, by, &error);
}

static int do_set_paused(void)
{
    return sl_store_set_paused(store, true, "a test", &error);
}

struct operation {
    const char *name;
    int (*run)(void);
    bool is_writing;
    bool is_compound; /* of several statements: after a failure the caller must roll back */
};

static const struct operation operations[] = {
    {"outbox_insert", do_insert, true, false},
    {"outbox_read", do_read, false, false},
    {"outbox_state", do_state, false, false},
    {"confirm", do_confirm, true, false},
    {"outbox_retain", do_outbox_retain, true, false},
    {"inbox_begin", do_inbox_begin, true, false},
    {"inbox_retain", do_inbox_retain, true, false},
    {"count_consumed", do_count, true, false},
    {"each_consumer", do_each_consumer, false, false},
    {"key_state", do_key_state, false, false},
    {"has_held", do_has_held, false, false},
    {"hold", do_hold, true, false},
    {"held_update", do_held_update, true, false},
    {"held_remove", do_held_remove, true, true},
    {"held_next", do_held_next, true, false},
    {"held_due", do_held_due, false, false},
    {"held_lock", do_held_lock, false, false},
    {"each_held", do_each_held, false, false},
    {"each_held_count", do_each_held_count, false, false},
    {"redrive", do_redrive, true, true},
    {"drop", do_drop, true, true},
    {"inbox_read", do_inbox_read, false, false},
    {"inbox_find", do_inbox_find, false, false},
    {"outbox_find", do_outbox_find, false, false},
    {"relay_row", do_relay_row, false, false},
    {"paused", do_paused, false, false},
    {"set_paused", do_set_paused, true, true},
    {"savepoint", do_savepoint, false, false},
    {"renew_id", do_renew_id, true, true},
};

static void adopt(void)
{
    int status = sl_store_adopt_sqlite(handle, &store, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void begin_filled(void)
{
    ck_assert_int_eq(sl_store_begin(store, &error), 0);
    fill();
}

/*
 * In the caller's transaction: a failure adds nothing to it. SQLite itself may have rolled the
 * transaction back, and then all of it is gone, never a part.
 */
static void sweep_operation(const struct operation *operation)
{
    int64_t empty = fingerprint();
    SWEEP(sweep)
    {
        adopt();
        begin_filled();
        int64_t before = fingerprint();
        sweep_arm(&sweep);
        int status = operation->run();
        sweep_disarm(&sweep, status, &error);
        bool is_open = sl_store_in_transaction(store);
        ck_assert_msg(is_open || status != 0, "%s, allocation %ld: no transaction", operation->name,
            sweep.countdown);
        bool is_changed = fingerprint() != (is_open ? before : empty);
        bool is_part = status != 0 && is_open && operation->is_compound;
        ck_assert_msg(is_part || is_changed == (status == 0 && operation->is_writing),
            "%s, allocation %ld: status %d, changed %d", operation->name, sweep.countdown, status,
            is_changed);
        if (is_part) {
            sl_store_rollback(store);
            ck_assert_int_eq(fingerprint(), empty);
        }
        if (!sl_store_in_transaction(store)) {
            begin_filled();
        }
        if (status != 0) {
            ck_assert_msg(operation->run() == 0, "%s after %ld: %s", operation->name,
                sweep.countdown, error.text);
        }
        sl_store_rollback(store);
        sl_store_close(store);
        if (sweep.is_complete) {
            ck_assert_msg(sweep.failed > 3, "%s: only %ld", operation->name, sweep.failed);
        }
    }
}

START_TEST(each_function_of_the_store_tells_that_memory_ran_out_and_works_the_next_time)
{
    open_file();
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        sweep_operation(&operations[i]);
    }
    close_file();
}
END_TEST

START_TEST(a_change_without_a_transaction_of_the_caller_is_whole_or_not_there)
{
    static int (*const changes[])(void) = {do_redrive, do_drop, do_held_remove, do_renew_id};
    open_file();
    fill();
    run_sql(handle,
        "CREATE TEMP TABLE kept AS SELECT * FROM sluice_dead_letter;"
        "CREATE TEMP TABLE kept_meta AS SELECT * FROM sluice_meta;"
        "PRAGMA synchronous = OFF");
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        SWEEP_EACH(sweep, 3)
        {
            run_sql(handle,
                "BEGIN; DELETE FROM sluice_dead_letter;"
                "INSERT INTO sluice_dead_letter SELECT * FROM kept;"
                "REPLACE INTO sluice_meta SELECT * FROM kept_meta;"
                "UPDATE sluice_relay SET position = 2; COMMIT");
            int64_t before = fingerprint();
            adopt();
            sweep_arm(&sweep);
            int status = changes[i]();
            sweep_disarm(&sweep, status, &error);
            ck_assert(!sl_store_in_transaction(store));
            ck_assert_msg((fingerprint() == before) == (status != 0), "change %zu, allocation %ld",
                i, sweep.countdown);
            sl_store_close(store);
        }
    }
    close_file();
}
END_TEST

START_TEST(a_commit_that_fails_has_rolled_back)
{
    open_file();
    run_sql(handle, "PRAGMA synchronous = OFF");
    SWEEP(sweep)
    {
        adopt();
        int64_t before = number_of(handle, "SELECT count(*) FROM sluice_outbox");
        ck_assert_int_eq(sl_store_begin(store, &error), 0);
        ck_assert_int_eq(do_insert(), 0);
        sweep_arm(&sweep);
        int status = sl_store_commit(store, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert(!sl_store_in_transaction(store));
        ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_outbox"),
            before + (status == 0 ? 1 : 0));
        sl_store_close(store);
    }
    close_file();
}
END_TEST

START_TEST(a_savepoint_is_undone_or_the_failure_is_told)
{
    open_file();
    for (int is_kept = 0; is_kept < 2; is_kept++) {
        SWEEP(sweep)
        {
            adopt();
            ck_assert_int_eq(sl_store_begin(store, &error), 0);
            ck_assert_int_eq(sl_store_savepoint(store, &error), 0);
            ck_assert_int_eq(do_insert(), 0);
            sweep_arm(&sweep);
            int status = sl_store_savepoint_end(store, is_kept == 1, &error);
            sweep_disarm(&sweep, status, &error);
            if (status == 0) {
                ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_outbox"), is_kept);
            }
            sl_store_rollback(store);
            ck_assert_int_eq(number_of(handle, "SELECT count(*) FROM sluice_outbox"), 0);
            sl_store_close(store);
        }
    }
    close_file();
}
END_TEST

START_TEST(an_open_that_fails_leaves_a_file_that_the_next_one_opens)
{
    for (enum sl_store_mode mode = SL_STORE_CREATE; mode <= SL_STORE_EXISTING; mode++) {
        SWEEP_EACH(sweep, mode == SL_STORE_CREATE ? 3 * OPEN_STRIDE : OPEN_STRIDE)
        {
            temp_make(&temp);
            const char *url = temp_url(&temp, "sqlite", "app.db");
            if (mode == SL_STORE_EXISTING) {
                ck_assert_int_eq(sl_store_open(url, SL_STORE_CREATE, &store, &error), 0);
                sl_store_close(store);
            }
            store = NULL;
            sweep_arm(&sweep);
            int status = sl_store_open(url, mode, &store, &error);
            sweep_disarm(&sweep, status, &error);
            if (status != 0) {
                ck_assert_ptr_null(store);
                status = sl_store_open(url, mode, &store, &error);
                ck_assert_msg(status == 0, "%s", error.text);
            }
            ck_assert_uint_eq(strlen(sl_store_id(store)), SLUICE_EVENT_ID_SIZE - 1);
            sl_store_close(store);
            temp_remove(&temp);
        }
    }
}
END_TEST

START_TEST(an_adopted_connection_is_the_callers_whatever_fails)
{
    char id[SLUICE_EVENT_ID_SIZE];
    open_file();
    adopt();
    snprintf(id, sizeof(id), "%s", sl_store_id(store));
    sl_store_close(store);
    SWEEP(sweep)
    {
        sweep_arm(&sweep);
        int status = sl_store_adopt_sqlite(handle, &store, &error);
        sweep_disarm(&sweep, status, &error);
        if (status == 0) {
            ck_assert_str_eq(sl_store_id(store), id);
            sl_store_close(store);
        }
        ck_assert_int_eq(number_of(handle, "SELECT 1"), 1);
    }
    close_file();
}
END_TEST

START_TEST(a_look_for_changes_that_fails_says_that_there_may_be_some)
{
    open_file();
    adopt();
    SWEEP(sweep)
    {
        sl_store_close(store);
        adopt();
        (void) sl_store_has_changed(store);
        sweep_arm(&sweep);
        bool has_changed = sl_store_has_changed(store);
        sweep_disarm(&sweep, 0, &error);
        ck_assert(has_changed == false || !sweep.is_complete);
    }
    sl_store_close(store);
    close_file();
}
END_TEST

FAULT_MAIN("fault_store",
    each_function_of_the_store_tells_that_memory_ran_out_and_works_the_next_time,
    a_change_without_a_transaction_of_the_caller_is_whole_or_not_there,
    a_commit_that_fails_has_rolled_back, a_savepoint_is_undone_or_the_failure_is_told,
    an_open_that_fails_leaves_a_file_that_the_next_one_opens,
    an_adopted_connection_is_the_callers_whatever_fails,
    a_look_for_changes_that_fails_says_that_there_may_be_some)
