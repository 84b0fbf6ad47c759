/*
 * Who writes the outbox: transactions that commit in another order than their numbers were given,
 * roll back, wholly or to a savepoint, or die with the database. A key is written by one
 * transaction at a time, as a service's row lock has it, so that a key's events have an order.
 */
#include <stdio.h>

#include "database.h"

static int insert(int key)
{
    int index = database.row_count++;
    struct db_row *row = &database.rows[index];
    row->key = key;
    row->is_poison = sim_once_in(20);
    row->is_stubborn = sim_once_in(2);
    row->state = ROW_OPEN;
    row->event = (struct sl_event) {
        .has_key = true,
        .topic = key % 2 == 0 ? SL_TEXT("t0") : SL_TEXT("t1"),
        .key = sl_text_of(database.keys[key]),
        .type = SL_TEXT("T"),
        .headers = SL_TEXT("{}"),
        .time_ms = sim_now_ms,
    };
    snprintf(row->event.id, sizeof(row->event.id), "%d", index);
    return index;
}

static void commit_row(int index)
{
    struct db_row *row = &database.rows[index];
    row->state = ROW_COMMITTED;
    row->sequence = database.next_sequence[row->key]++;
    if (database.kind == DB_ONE_WRITER) {
        database.order[database.order_count++] = index;
    }
}

static void undo_rows(struct db_writer *writer, int from)
{
    for (int i = from; i < writer->row_count; i++) {
        database.rows[writer->rows[i]].state = ROW_GONE;
    }
    writer->row_count = from;
}

static void end(int number, bool is_committed)
{
    struct db_writer *writer = &database.writers[number];
    if (!writer->is_open) {
        return;
    }
    sim_trace("publisher %d %s %d events", number, is_committed ? "commits" : "rolls back",
        writer->row_count);
    for (int i = 0; i < writer->row_count && is_committed; i++) {
        commit_row(writer->rows[i]);
    }
    undo_rows(writer, is_committed ? writer->row_count : 0);
    for (int i = 0; i < DB_KEYS; i++) {
        database.key_writer[i] = database.key_writer[i] == number ? -1 : database.key_writer[i];
    }
    *writer = (struct db_writer) {.savepoint = -1};
}

static void go_on(int number)
{
    struct db_writer *writer = &database.writers[number];
    int key = (int) sim_random(DB_KEYS);
    if (!writer->is_open) {
        *writer = (struct db_writer) {.is_open = true, .savepoint = -1};
    }
    switch (sim_random(20)) {
    case 0:
        writer->savepoint = writer->row_count;
        break;
    case 1:
        if (writer->savepoint >= 0 && writer->savepoint <= writer->row_count) {
            undo_rows(writer, writer->savepoint);
        }
        break;
    case 2:
        end(number, false);
        break;
    case 3:
    case 4:
    case 5:
        end(number, true);
        break;
    default:
        if (writer->row_count < 8 && database.row_count < DB_ROWS_MAX &&
            (database.key_writer[key] == -1 || database.key_writer[key] == number)) {
            database.key_writer[key] = number;
            writer->rows[writer->row_count++] = insert(key);
        }
    }
}

void db_write(void)
{
    if (sim_now_ms < database.down_until_ms) {
        return;
    }
    if (database.kind == DB_TICKS) {
        go_on((int) sim_random(DB_WRITERS));
        return;
    }
    for (uint64_t i = 1 + sim_random(6); i > 0; i--) {
        go_on(0);
    }
    end(0, true);
}

int db_add_row(int key)
{
    if (database.row_count == DB_ROWS_MAX) {
        return -1;
    }
    int index = insert(key);
    commit_row(index);
    return index;
}

void db_finish_writers(void)
{
    for (int i = 0; i < DB_WRITERS; i++) {
        end(i, true);
    }
}

void db_crash(int64_t until_ms)
{
    sim_trace("the database crashes, and is away for %lld ms", (long long) (until_ms - sim_now_ms));
    database.down_until_ms = until_ms;
    database.fault_count++;
    for (int i = 0; i < DB_WRITERS; i++) {
        end(i, false);
    }
    if (database.owner >= 0) {
        struct sl_store *nobody = NULL;
        database.data = *db_seen_by(nobody);
        database.owner = -1;
        database.depth = 0;
    }
}
