#include "broker/local.h"

#include <stdio.h>

#include "base/memory.h"
#include "base/random.h"

extern const unsigned char sl_sql_local[];

#define LOG_VERSION "2"

static bool free_topic(void *context, struct sl_text name, void *value)
{
    (void) context;
    (void) name;
    sl_free(value);
    return true;
}

void sl_local_forget_topics(struct sl_local *local)
{
    sl_table_each(&local->topics, free_topic, NULL);
    sl_table_deinit(&local->topics);
}

static void close_log(struct sl_broker *broker)
{
    struct sl_local *local = (struct sl_local *) broker;
    sl_local_forget_topics(local);
    sl_sqlite_close(&local->connection);
    sl_free(local);
}

static int each_partition(
    struct sl_broker *broker, sl_partition_visit visit, void *context, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &((struct sl_local *) broker)->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT t.name, p.number, p.first_offset, p.next_offset "
        "FROM partition p JOIN topic t ON t.id = p.topic_id ORDER BY t.name, p.number",
        error);
    if (statement == NULL) {
        return -1;
    }
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct sl_partition_state state = {
            .topic = sl_sqlite_column(statement, 0),
            .partition = sqlite3_column_int(statement, 1),
            .first_offset = sqlite3_column_int64(statement, 2),
            .next_offset = sqlite3_column_int64(statement, 3),
        };
        visit(context, &state);
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE ? 0
                                 : sl_sqlite_fail(sqlite, result, "cannot read the topics", error);
}

static int each_source(
    struct sl_broker *broker, sl_source_visit visit, void *context, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &((struct sl_local *) broker)->connection;
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "SELECT id FROM source ORDER BY id", error);
    if (statement == NULL) {
        return -1;
    }
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        visit(context, sl_sqlite_column(statement, 0));
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE ? 0
                                 : sl_sqlite_fail(sqlite, result, "cannot read the sources", error);
}

static int time_at(struct sl_broker *broker, struct sl_text name, int32_t partition, int64_t offset,
    int64_t *ret_time_ms, struct sluice_error *error)
{
    struct sl_local *local = (struct sl_local *) broker;
    struct sl_local_topic *topic;
    bool is_found = false;
    int64_t time_ms = -1;
    if (sl_local_find_topic(local, name, false, &topic, error) != 0) {
        return -1;
    }
    if (topic != NULL && partition >= 0 && partition < topic->partition_count) {
        sqlite3_stmt *statement = sl_sqlite_prepare(&local->connection,
            "SELECT created_at FROM record WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT 1",
            error);
        if (statement == NULL) {
            return -1;
        }
        int64_t id = topic->partitions[partition].id;
        sqlite3_bind_int64(statement, 1, id << SL_LOCAL_OFFSET_BITS | offset);
        sqlite3_bind_int64(statement, 2, (id + 1) << SL_LOCAL_OFFSET_BITS);
        if (sl_sqlite_step_number(&local->connection, statement, "cannot read the log", &is_found,
                &time_ms, error) != 0) {
            return -1;
        }
    }
    *ret_time_ms = is_found ? time_ms : -1;
    return 0;
}

static const struct sl_broker_ops local_ops = {
    .close = close_log,
    .append = sl_local_append,
    .append_once = sl_local_append_once,
    .source_position = sl_local_source_position,
    .each_source = each_source,
    .each_partition = each_partition,
    .committed = sl_local_committed,
    .time_at = time_at,
    .retain = sl_local_retain,
    .open_reader = sl_local_open_reader,
};

/* Read the epoch; *ret_is_old tells a log that must be upgraded first. */
static int read_meta(
    struct sl_local *local, bool *ret_is_there, bool *ret_is_old, struct sluice_error *error)
{
    *ret_is_old = false;
    struct sl_sqlite *sqlite = &local->connection;
    int64_t number;
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "SELECT 1 FROM sqlite_master WHERE name = 'log_meta'", error);
    if (statement == NULL ||
        sl_sqlite_step_number(sqlite, statement, "cannot read", ret_is_there, &number, error) !=
            0) {
        return -1;
    }
    if (!*ret_is_there) {
        return 0;
    }
    statement = sl_sqlite_prepare(sqlite,
        "SELECT (SELECT value FROM log_meta WHERE name = 'version'),"
        " (SELECT value FROM log_meta WHERE name = 'epoch')",
        error);
    if (statement == NULL) {
        return -1;
    }
    int result = sqlite3_step(statement);
    int status = result == SQLITE_ROW ? 0 : sl_sqlite_fail(sqlite, result, "cannot read", error);
    struct sl_text version = sl_sqlite_column(statement, 0);
    struct sl_text epoch = sl_sqlite_column(statement, 1);
    *ret_is_old = status == 0 && sl_text_equal(version, SL_TEXT("1"));
    if (status == 0 &&
        ((!*ret_is_old && !sl_text_equal(version, SL_TEXT(LOG_VERSION))) ||
            epoch.size != SL_BROKER_EPOCH_SIZE - 1)) {
        status = sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "the log in %s has version %.*s, this program knows version %s; use the program that "
            "made it, or a newer one",
            sqlite->name, (int) version.size, version.data, LOG_VERSION);
    }
    if (status == 0) {
        memcpy(local->base.epoch, epoch.data, epoch.size);
    }
    sqlite3_reset(statement);
    return status;
}

static int make_tables(struct sl_local *local, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    char sql[128];
    snprintf(sql, sizeof(sql), "INSERT INTO log_meta VALUES ('version', '%s'), ('epoch', '%08x')",
        LOG_VERSION, (unsigned) (sl_random_u64() & 0xffffffffU));
    return sl_sqlite_run(sqlite, (const char *) sl_sql_local, "cannot create the log", error) == 0
        ? sl_sqlite_run(sqlite, sql, "cannot create the log", error)
        : -1;
}

/* Create the log, or bring one of version 1 to this one. */
static int create_log(struct sl_local *local, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    bool is_there = false;
    bool is_old = false;
    if (sl_sqlite_begin(sqlite, error) != 0) {
        return -1;
    }
    /* Another process may have made it while this one waited for the lock. */
    int status = read_meta(local, &is_there, &is_old, error);
    if (status == 0 && !is_there) {
        status = make_tables(local, error);
    } else if (status == 0 && is_old) {
        status = sl_sqlite_run(sqlite,
            "ALTER TABLE source ADD COLUMN tick INTEGER NOT NULL DEFAULT 0;"
            "UPDATE log_meta SET value = '" LOG_VERSION "' WHERE name = 'version'",
            "cannot upgrade the log", error);
    }
    status = status == 0 ? read_meta(local, &is_there, &is_old, error) : -1;
    if (status == 0) {
        return sl_sqlite_commit(sqlite, error);
    }
    sl_sqlite_rollback(sqlite);
    return -1;
}

int sl_local_open(const char *file, struct sl_broker **ret_broker, struct sluice_error *error)
{
    struct sl_local *local = sl_allocate(sizeof(*local));
    if (local == NULL) {
        return sl_fail_memory(error, "a log");
    }
    local->base.ops = &local_ops;
    local->base.is_dense = true;
    sl_table_init(&local->topics);
    bool is_there = false;
    bool is_old = false;
    if (sl_sqlite_open(&local->connection, file, SL_SQLITE_CREATE, error) != 0 ||
        read_meta(local, &is_there, &is_old, error) != 0 ||
        ((!is_there || is_old) && create_log(local, error) != 0)) {
        close_log(&local->base);
        return -1;
    }
    *ret_broker = &local->base;
    return 0;
}

static int load_partitions(
    struct sl_local *local, struct sl_local_topic *topic, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT number, id, first_offset, next_offset FROM partition WHERE topic_id = ?1 "
        "ORDER BY number",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(statement, 1, topic->id);
    int result;
    int32_t count = 0;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW && count < topic->partition_count) {
        topic->partitions[count++] = (struct sl_local_partition) {
            .id = sqlite3_column_int64(statement, 1),
            .first_offset = sqlite3_column_int64(statement, 2),
            .next_offset = sqlite3_column_int64(statement, 3),
        };
    }
    sqlite3_reset(statement);
    if (result != SQLITE_DONE || count != topic->partition_count) {
        return sl_sqlite_fail(sqlite, result == SQLITE_DONE ? SQLITE_CORRUPT : result,
            "cannot read the partitions", error);
    }
    return 0;
}

/* A topic's row: its id and number of partitions, or an id of 0. */
static int look_up(struct sl_local *local, struct sl_text name, int64_t *ret_id,
    int32_t *ret_partition_count, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement =
        sl_sqlite_prepare(sqlite, "SELECT id, partition_count FROM topic WHERE name = ?1", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, name);
    int result = sqlite3_step(statement);
    *ret_id = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    *ret_partition_count = result == SQLITE_ROW ? sqlite3_column_int(statement, 1) : 0;
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE
        ? 0
        : sl_sqlite_fail(sqlite, result, "cannot read the topics", error);
}

static int make_topic(struct sl_local *local, struct sl_text name, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(
        sqlite, "INSERT INTO topic (name, partition_count) VALUES (?1, ?2)", error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, name);
    sqlite3_bind_int(statement, 2, SL_LOCAL_PARTITION_COUNT);
    if (sl_sqlite_step_done(sqlite, statement, "cannot make a topic", error) != 0) {
        return -1;
    }
    int64_t topic_id = sqlite3_last_insert_rowid(sqlite->handle);
    for (int number = 0; number < SL_LOCAL_PARTITION_COUNT; number++) {
        statement = sl_sqlite_prepare(
            sqlite, "INSERT INTO partition (topic_id, number) VALUES (?1, ?2)", error);
        if (statement == NULL) {
            return -1;
        }
        sqlite3_bind_int64(statement, 1, topic_id);
        sqlite3_bind_int(statement, 2, number);
        if (sl_sqlite_step_done(sqlite, statement, "cannot make a topic", error) != 0) {
            return -1;
        }
    }
    return 0;
}

int sl_local_find_topic(struct sl_local *local, struct sl_text name, bool is_made,
    struct sl_local_topic **ret_topic, struct sluice_error *error)
{
    struct sl_local_topic *topic = sl_table_get(&local->topics, name);
    if (topic == NULL) {
        int64_t id;
        int32_t partition_count;
        if (look_up(local, name, &id, &partition_count, error) != 0) {
            return -1;
        }
        if (id == 0 && !is_made) {
            *ret_topic = NULL;
            return 0;
        }
        if (id == 0 &&
            (make_topic(local, name, error) != 0 ||
                look_up(local, name, &id, &partition_count, error) != 0)) {
            return -1;
        }
        topic =
            sl_allocate(sizeof(*topic) + (size_t) partition_count * sizeof(topic->partitions[0]));
        if (topic == NULL || sl_table_put(&local->topics, name, topic) != 0) {
            sl_free(topic);
            return sl_fail_memory(error, "a topic");
        }
        topic->id = id;
        topic->partition_count = partition_count;
    }
    if (load_partitions(local, topic, error) != 0) {
        return -1;
    }
    *ret_topic = topic;
    return 0;
}
