#include "base/bytes.h"
#include "base/memory.h"
#include "base/watch.h"
#include "broker/local.h"

enum { RECORDS_BYTES_MAX = 8 << 20 };

/* A reader's place in one partition. */
struct place {
    int64_t partition_id;
    int32_t partition;
    int64_t next_offset;
    int64_t read_offset;      /* behind what the call in hand has read of it */
    int64_t committed_offset; /* noted by sl_reader_commit, or as found at the start */
    bool is_dirty;            /* noted and not flushed */
};

struct followed_topic {
    char *name;
    struct place *places; /* NULL while the topic does not exist */
    int32_t place_count;
};

struct local_reader {
    struct sl_reader base;
    struct sl_local *local;
    struct sl_reader_wake wake;
    struct sl_watch *watch;
    int64_t data_version;
    enum sl_reader_start start;
    int64_t tail_count;
    int64_t time_ms;
    char *consumer;
    struct followed_topic topics[SL_BROKER_TOPICS_MAX];
    size_t topic_count;
    size_t turn; /* the topic that is read first next time, so that none starves */
    bool is_first_look_over;
    struct sl_record *records;
    size_t record_count;
    size_t record_capacity;
    struct sl_bytes bytes;
};

static void close_reader(struct sl_reader *base)
{
    struct local_reader *reader = (struct local_reader *) base;
    sl_watch_close(reader->watch);
    for (size_t i = 0; i < reader->topic_count; i++) {
        sl_free(reader->topics[i].name);
        sl_free(reader->topics[i].places);
    }
    sl_free(reader->consumer);
    sl_free(reader->records);
    sl_bytes_deinit(&reader->bytes);
    sl_free(reader);
}

int sl_local_committed(struct sl_broker *broker, const char *consumer, struct sl_text topic,
    int32_t partition, int64_t *ret_offset, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &((struct sl_local *) broker)->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT next_offset FROM consumer_position "
        "WHERE consumer = ?1 AND topic = ?2 AND partition = ?3",
        error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(consumer));
    sl_sqlite_bind_text(statement, 2, topic);
    sqlite3_bind_int(statement, 3, partition);
    bool is_found = false;
    int64_t offset = -1;
    if (sl_sqlite_step_number(sqlite, statement, "cannot read a consumer's position", &is_found,
            &offset, error) != 0) {
        return -1;
    }
    *ret_offset = is_found ? offset : -1;
    return 0;
}

/* The first offset of a partition that was appended at or after a time. */
static int offset_at_time(struct local_reader *reader, const struct sl_local_partition *partition,
    int64_t *ret_offset, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &reader->local->connection;
    int64_t low = partition->first_offset;
    int64_t high = partition->next_offset;
    /* Records are in the order of their appending, so halving finds the place. */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        sqlite3_stmt *statement = sl_sqlite_prepare(
            sqlite, "SELECT appended_at FROM record WHERE place >= ?1 LIMIT 1", error);
        if (statement == NULL) {
            return -1;
        }
        sqlite3_bind_int64(statement, 1, partition->id << SL_LOCAL_OFFSET_BITS | middle);
        bool is_found = false;
        int64_t appended_ms = INT64_MAX;
        if (sl_sqlite_step_number(
                sqlite, statement, "cannot read the log", &is_found, &appended_ms, error) != 0) {
            return -1;
        }
        if (appended_ms < reader->time_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_offset = low;
    return 0;
}

static int start_offset(struct local_reader *reader, struct sl_text topic, int32_t number,
    const struct sl_local_partition *partition, int64_t *ret_offset, struct sluice_error *error)
{
    int64_t offset = partition->first_offset;
    switch (reader->start) {
    case SL_READ_COMMITTED:
        if (sl_local_committed(
                &reader->local->base, reader->consumer, topic, number, &offset, error) != 0) {
            return -1;
        }
        break;
    case SL_READ_START:
        break;
    case SL_READ_END:
        offset = partition->next_offset;
        break;
    case SL_READ_TAIL:
        offset = partition->next_offset - reader->tail_count;
        break;
    case SL_READ_TIME:
        if (offset_at_time(reader, partition, &offset, error) != 0) {
            return -1;
        }
        break;
    }
    *ret_offset = offset < partition->first_offset ? partition->first_offset : offset;
    return 0;
}

/* Take up a topic that exists by now. One that came after the first look is read from its start. */
static int find_places(
    struct local_reader *reader, struct followed_topic *followed, struct sluice_error *error)
{
    struct sl_text name = sl_text_of(followed->name);
    struct sl_local_topic *topic;
    if (sl_local_find_topic(reader->local, name, false, &topic, error) != 0) {
        return -1;
    }
    if (topic == NULL) {
        return 0;
    }
    struct place *places = sl_allocate((size_t) topic->partition_count * sizeof(*places));
    if (places == NULL) {
        return sl_fail_memory(error, "a reader");
    }
    for (int32_t i = 0; i < topic->partition_count; i++) {
        const struct sl_local_partition *partition = &topic->partitions[i];
        places[i] = (struct place) {
            .partition_id = partition->id, .partition = i, .next_offset = partition->first_offset};
        bool is_late = reader->is_first_look_over && reader->start == SL_READ_END;
        if (!is_late &&
            start_offset(reader, name, i, partition, &places[i].next_offset, error) != 0) {
            sl_free(places);
            return -1;
        }
        places[i].committed_offset = places[i].next_offset;
    }
    followed->places = places;
    followed->place_count = topic->partition_count;
    return 0;
}

static int keep_record(struct local_reader *reader, const struct followed_topic *topic,
    const struct place *place, sqlite3_stmt *statement)
{
    if (reader->record_count == reader->record_capacity) {
        size_t capacity = reader->record_capacity == 0 ? 64 : reader->record_capacity * 2;
        struct sl_record *grown = sl_reallocate(reader->records, capacity * sizeof(*grown));
        if (grown == NULL) {
            return -1;
        }
        reader->records = grown;
        reader->record_capacity = capacity;
    }
    struct sl_record *record = &reader->records[reader->record_count];
    *record = (struct sl_record) {
        .partition = place->partition,
        .offset = sqlite3_column_int64(statement, 0) & ((1LL << SL_LOCAL_OFFSET_BITS) - 1),
        .event.topic = sl_text_of(topic->name),
        .event.has_key = sqlite3_column_type(statement, 2) != SQLITE_NULL,
        .event.time_ms = sqlite3_column_int64(statement, 6),
    };
    sl_sqlite_copy_column(statement, 1, record->event.id, sizeof(record->event.id));
    if (sl_bytes_add(&reader->bytes, sl_sqlite_column(statement, 2), &record->event.key) != 0 ||
        sl_bytes_add(&reader->bytes, sl_sqlite_column(statement, 3), &record->event.type) != 0 ||
        sl_bytes_add(&reader->bytes, sl_sqlite_column(statement, 4), &record->event.payload) != 0 ||
        sl_bytes_add(&reader->bytes, sl_sqlite_column(statement, 5), &record->event.headers) != 0) {
        return -1;
    }
    reader->record_count++;
    return 0;
}

static int read_partition(struct local_reader *reader, const struct followed_topic *topic,
    struct place *place, size_t count_max, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &reader->local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "SELECT place, event_id, message_key, type, payload, headers, created_at FROM record "
        "WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        error);
    if (statement == NULL) {
        return -1;
    }
    sqlite3_bind_int64(
        statement, 1, place->partition_id << SL_LOCAL_OFFSET_BITS | place->next_offset);
    sqlite3_bind_int64(statement, 2, (place->partition_id + 1) << SL_LOCAL_OFFSET_BITS);
    sqlite3_bind_int64(statement, 3, (int64_t) count_max);
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (keep_record(reader, topic, place, statement) != 0) {
            sqlite3_reset(statement);
            return sl_fail_memory(error, "records of the log");
        }
        place->read_offset = reader->records[reader->record_count - 1].offset + 1;
        if (reader->bytes.size >= RECORDS_BYTES_MAX) {
            result = SQLITE_DONE;
            break;
        }
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE ? 0
                                 : sl_sqlite_fail(sqlite, result, "cannot read the log", error);
}

static void settle_records(struct local_reader *reader)
{
    for (size_t i = 0; i < reader->record_count; i++) {
        struct sl_event *event = &reader->records[i].event;
        sl_bytes_settle(&reader->bytes, &event->key);
        sl_bytes_settle(&reader->bytes, &event->type);
        sl_bytes_settle(&reader->bytes, &event->payload);
        sl_bytes_settle(&reader->bytes, &event->headers);
    }
}

/* Read on from every partition's place, until enough is there. The places do not move yet. */
static int read_topics(struct local_reader *reader, size_t count_max, struct sluice_error *error)
{
    for (size_t i = 0; i < reader->topic_count; i++) {
        struct followed_topic *topic = &reader->topics[(reader->turn + i) % reader->topic_count];
        if (topic->places == NULL && find_places(reader, topic, error) != 0) {
            return -1;
        }
        for (int32_t j = 0; j < topic->place_count; j++) {
            struct place *place = &topic->places[j];
            place->read_offset = place->next_offset;
            if (reader->record_count >= count_max || reader->bytes.size >= RECORDS_BYTES_MAX) {
                continue;
            }
            if (read_partition(
                    reader, topic, place, count_max - reader->record_count, error) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int next(struct sl_reader *base, size_t count_max, const struct sl_record **ret_records,
    size_t *ret_count, struct sluice_error *error)
{
    struct local_reader *reader = (struct local_reader *) base;
    reader->record_count = 0;
    reader->bytes.size = 0;
    if (read_topics(reader, count_max, error) != 0) {
        return -1;
    }
    /* Only now, with all records to be handed over: a failure must skip nothing. */
    for (size_t i = 0; i < reader->topic_count; i++) {
        for (int32_t j = 0; j < reader->topics[i].place_count; j++) {
            struct place *place = &reader->topics[i].places[j];
            place->next_offset = place->read_offset;
        }
    }
    reader->is_first_look_over = true;
    reader->turn++;
    settle_records(reader);
    *ret_records = reader->records;
    *ret_count = reader->record_count;
    return 0;
}

static int64_t position(const struct sl_reader *base, struct sl_text topic, int32_t partition)
{
    const struct local_reader *reader = (const struct local_reader *) base;
    for (size_t i = 0; i < reader->topic_count; i++) {
        const struct followed_topic *followed = &reader->topics[i];
        if (sl_text_equal(sl_text_of(followed->name), topic) && partition >= 0 &&
            partition < followed->place_count) {
            return followed->places[partition].next_offset;
        }
    }
    return -1;
}

static int commit(struct sl_reader *base, struct sl_text topic, int32_t partition, int64_t offset,
    struct sluice_error *error)
{
    struct local_reader *reader = (struct local_reader *) base;
    for (size_t i = 0; i < reader->topic_count; i++) {
        struct followed_topic *followed = &reader->topics[i];
        if (sl_text_equal(sl_text_of(followed->name), topic) && partition >= 0 &&
            partition < followed->place_count) {
            struct place *place = &followed->places[partition];
            if (offset > place->committed_offset) {
                place->committed_offset = offset;
                place->is_dirty = true;
            }
            return 0;
        }
    }
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "the reader does not follow partition %d of %.*s", (int) partition, (int) topic.size,
        topic.data);
}

static int flush_place(struct local_reader *reader, const struct followed_topic *topic,
    const struct place *place, struct sluice_error *error)
{
    struct sl_sqlite *sqlite = &reader->local->connection;
    sqlite3_stmt *statement = sl_sqlite_prepare(sqlite,
        "INSERT INTO consumer_position VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET"
        " next_offset = max(next_offset, ?4)",
        error);
    if (statement == NULL) {
        return -1;
    }
    sl_sqlite_bind_text(statement, 1, sl_text_of(reader->consumer));
    sl_sqlite_bind_text(statement, 2, sl_text_of(topic->name));
    sqlite3_bind_int(statement, 3, place->partition);
    sqlite3_bind_int64(statement, 4, place->committed_offset);
    return sl_sqlite_step_done(sqlite, statement, "cannot commit a consumer's position", error);
}

static int flush(struct sl_reader *base, struct sluice_error *error)
{
    struct local_reader *reader = (struct local_reader *) base;
    bool is_open = false;
    for (size_t i = 0; i < reader->topic_count; i++) {
        for (int32_t j = 0; j < reader->topics[i].place_count; j++) {
            const struct place *place = &reader->topics[i].places[j];
            if (!place->is_dirty) {
                continue;
            }
            if (!is_open && sl_sqlite_begin(&reader->local->connection, error) != 0) {
                return -1;
            }
            is_open = true;
            if (flush_place(reader, &reader->topics[i], place, error) != 0) {
                sl_sqlite_rollback(&reader->local->connection);
                return -1;
            }
        }
    }
    if (is_open && sl_sqlite_commit(&reader->local->connection, error) != 0) {
        return -1;
    }
    for (size_t i = 0; is_open && i < reader->topic_count; i++) {
        for (int32_t j = 0; j < reader->topics[i].place_count; j++) {
            reader->topics[i].places[j].is_dirty = false;
        }
    }
    return 0;
}

static int rewind_reader(struct sl_reader *base, struct sluice_error *error)
{
    struct local_reader *reader = (struct local_reader *) base;
    (void) error;
    for (size_t i = 0; i < reader->topic_count; i++) {
        for (int32_t j = 0; j < reader->topics[i].place_count; j++) {
            struct place *place = &reader->topics[i].places[j];
            place->next_offset = place->committed_offset;
        }
    }
    return 0;
}

static const struct sl_reader_ops reader_ops = {
    .next = next,
    .commit = commit,
    .flush = flush,
    .rewind = rewind_reader,
    .position = position,
    .close = close_reader,
};

static bool look(void *context)
{
    struct local_reader *reader = context;
    int64_t version = sl_sqlite_data_version(&reader->local->connection);
    if (version != -1 && version == reader->data_version) {
        return false;
    }
    reader->data_version = version;
    reader->wake.on_readable(reader->wake.context);
    return true;
}

static int take_options(struct local_reader *reader, const struct sl_reader_options *options)
{
    reader->start = options->start;
    reader->tail_count = options->tail_count;
    reader->time_ms = options->time_ms;
    for (size_t i = 0; i < options->topic_count; i++) {
        reader->topics[i].name = sl_copy_text(options->topics[i]);
        if (reader->topics[i].name == NULL) {
            return -1;
        }
        reader->topic_count++;
    }
    if (options->consumer != NULL) {
        reader->consumer = sl_copy_text(options->consumer);
        return reader->consumer == NULL ? -1 : 0;
    }
    return 0;
}

int sl_local_open_reader(struct sl_broker *broker, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error)
{
    struct local_reader *reader = sl_allocate(sizeof(*reader));
    if (reader == NULL) {
        return sl_fail_memory(error, "a reader");
    }
    reader->base.ops = &reader_ops;
    reader->local = (struct sl_local *) broker;
    reader->wake = *wake;
    reader->data_version = -1;
    if (take_options(reader, options) != 0) {
        close_reader(&reader->base);
        return sl_fail_memory(error, "a reader");
    }
    /* The places are taken now: what is appended after the open comes, wherever one starts. */
    for (size_t i = 0; i < reader->topic_count; i++) {
        if (find_places(reader, &reader->topics[i], error) != 0) {
            close_reader(&reader->base);
            return -1;
        }
    }
    reader->is_first_look_over = true;
    if (wake->loop != NULL) {
        if (sl_watch_open(wake->loop, reader->local->connection.name, look, reader, &reader->watch,
                error) != 0) {
            close_reader(&reader->base);
            return -1;
        }
    }
    *ret_reader = &reader->base;
    return 0;
}
