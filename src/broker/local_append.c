#include "base/clock.h"
#include "broker/local.h"

static int insert_record(struct sl_local *local, const struct sl_event *event,
    struct sl_local_topic *topic, int64_t now_ms, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(
        sqlite, "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", error);
    if (statement == NULL) {
        return -1;
    }
    struct sl_text hashed = event->has_key ? event->key : sl_text_of(event->id);
    struct sl_local_partition *partition =
        &topic->partitions[sl_broker_partition_of(hashed, topic->partition_count)];
    int64_t place = partition->id << SL_LOCAL_OFFSET_BITS | partition->next_offset;
    sqlite3_bind_int64(statement, 1, place);
    sl_sqlite_bind_text(statement, 2, sl_text_of(event->id));
    if (event->has_key) {
        sl_sqlite_bind_text(statement, 3, event->key);
    } else {
        sqlite3_bind_null(statement, 3);
    }
    sl_sqlite_bind_text(statement, 4, event->type);
    sl_sqlite_bind_bytes(statement, 5, event->payload);
    sl_sqlite_bind_text(statement, 6, event->headers);
    sqlite3_bind_int64(statement, 7, event->time_ms);
    sqlite3_bind_int64(statement, 8, now_ms);
    if (sl_sqlite_step_done(sqlite, statement, "cannot append to the log", error) != 0) {
        return -1;
    }
    partition->next_offset++;
    partition->is_changed = true;
    return 0;
}

/* The topic of an event, with its partitions as they are in this transaction. */
static struct sl_local_topic *topic_of(
    struct sl_local *local, struct sl_text name, struct sluice_error *error)
{
    struct sl_local_topic *topic = sl_table_get(&local->topics, name);
    if (topic != NULL && topic->loaded_in == local->append_number) {
        return topic;
    }
    if (sl_local_find_topic(local, name, true, &topic, error) != 0) {
        return NULL;
    }
    topic->loaded_in = local->append_number;
    return topic;
}

static int insert_records(struct sl_local *local, const struct sl_append *append,
    size_t *ret_rejected, struct sluice_error *error)
{
    int64_t now_ms = sl_clock_wall_ms();
    for (size_t i = 0; i < append->count; i++) {
        const struct sl_event *event = &append->events[i];
        if (sl_event_check_row(event, error) != 0) {
            if (error->reaction == SLUICE_REJECT) {
                *ret_rejected = i;
            }
            return -1;
        }
        struct sl_local_topic *topic = topic_of(local, event->topic, error);
        if (topic == NULL || insert_record(local, event, topic, now_ms, error) != 0) {
            return -1;
        }
    }
    return 0;
}

struct next_offsets {
    struct sl_local *local;
    struct sluice_error *error;
    int status;
};

static bool write_next_offsets(void *context, struct sl_text name, void *value)
{
    (void) name;
    struct next_offsets *writing = context;
    struct sl_sqlite *sqlite = &writing->local->connection;
    struct sl_local_topic *topic = value;
    for (int32_t i = 0; i < topic->partition_count && writing->status == 0; i++) {
        struct sl_local_partition *partition = &topic->partitions[i];
        if (!partition->is_changed) {
            continue;
        }
        partition->is_changed = false;
        sqlite3_stmt *statement = sl_sqlite_prepare(
            sqlite, "UPDATE partition SET next_offset = ?1 WHERE id = ?2", writing->error);
        if (statement == NULL) {
            writing->status = -1;
            break;
        }
        sqlite3_bind_int64(statement, 1, partition->next_offset);
        sqlite3_bind_int64(statement, 2, partition->id);
        writing->status =
            sl_sqlite_step_done(sqlite, statement, "cannot append to the log", writing->error);
    }
    return writing->status == 0;
}

static int write_offsets(struct sl_local *local, struct sluice_error *error)
{
    struct next_offsets writing = {.local = local, .error = error};
    sl_table_each(&local->topics, write_next_offsets, &writing);
    return writing.status;
}

int sl_local_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &((struct sl_local *) broker)->connection;
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "SELECT tick, position FROM source WHERE id = ?1", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(source->id));
    struct sl_position position = SL_POSITION_START;
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        position.tick = sqlite3_column_int64(statement, 0);
        position.id = sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        return sl_sqlite_fail(sqlite, result, "cannot read the position", error);
    }
    *ret_position = position;
    return 0;
}

static int move_source(
    struct sl_local *local, const struct sl_append *append, struct sluice_error *error)
{
    struct sl_position position;
    struct sl_source source = {.id = append->source_id};
    if (sl_local_source_position(&local->base, &source, &position, error) != 0) {
        return -1;
    }
    if (sl_position_compare(position, append->position_before) != 0) {
        char here[SL_POSITION_TEXT_SIZE];
        char before[SL_POSITION_TEXT_SIZE];
        sl_position_write(position, here);
        sl_position_write(append->position_before, before);
        return sl_fail(error, SLUICE_CONFLICT, SLUICE_RETRY,
            "the log has source %s at position %s, not %s: another relay was faster",
            append->source_id, here, before);
    }
    sqlite3_stmt *statement = sl_sqlite_prepare(&local->connection,
        "INSERT INTO source (id, position, tick) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (id) DO UPDATE SET position = ?2, tick = ?3",
        error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(append->source_id));
    sqlite3_bind_int64(statement, 2, append->position_after.id);
    sqlite3_bind_int64(statement, 3, append->position_after.tick);
    return sl_sqlite_step_done(&local->connection, statement, "cannot move the position", error);
}

/* Commit, or roll back and forget what the transaction had made in the topics' table. */
static int finish(struct sl_local *local, int status, struct sluice_error *error)
{
    if (status == 0 && sl_sqlite_commit(&local->connection, error) == 0) {
        return 0;
    }
    sl_sqlite_rollback(&local->connection);
    sl_local_forget_topics(local);
    return -1;
}

int sl_local_append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error)
{
    struct sl_local *local = (struct sl_local *) broker;
    if (sl_sqlite_begin(&local->connection, error) != 0) {
        return -1;
    }
    local->append_number++;
    int status = move_source(local, append, error);
    status = status == 0 ? insert_records(local, append, ret_rejected, error) : -1;
    status = status == 0 ? write_offsets(local, error) : -1;
    return finish(local, status, error);
}

/* Note that an event goes out of its turn; *ret_is_new is false if it went before. */
static int mark_redriven(struct sl_local *local, const struct sl_event *event, bool *ret_is_new,
    struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(
        sqlite, "INSERT INTO redriven VALUES (?1, ?2) ON CONFLICT DO NOTHING", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(event->id));
    sqlite3_bind_int64(statement, 2, sl_clock_wall_ms());
    if (sl_sqlite_step_done(sqlite, statement, "cannot append to the log", error) != 0) {
        return -1;
    }
    *ret_is_new = sqlite3_changes64(sqlite->handle) == 1;
    return 0;
}

int sl_local_append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error)
{
    struct sl_local *local = (struct sl_local *) broker;
    size_t rejected;
    bool is_new = false;
    if (sl_sqlite_begin(&local->connection, error) != 0) {
        return -1;
    }
    local->append_number++;
    int status = mark_redriven(local, append->events, &is_new, error);
    if (status == 0 && is_new) {
        status = insert_records(local, append, &rejected, error);
        status = status == 0 ? write_offsets(local, error) : -1;
    }
    return finish(local, status, error);
}
