/* What verify reads: rows, records, markers and held events become entries. */
#include <endian.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/verify_internal.h"

enum {
    ROWS_AT_ONCE = 5000,
    ROWS_SIZE_MAX = 8 << 20,
    MARKERS_AT_ONCE = 20000,
    RECORDS_AT_ONCE = 5000,
    READ_PAUSE_MS = 5,
    READ_PATIENCE_MS = 10000, /* a broker that gives nothing for so long has nothing more */
    SINCE_SLACK_MS = 60000    /* for rows that were written long before they committed */
};

static uint64_t mix(uint64_t hash, uint64_t word)
{
    __uint128_t product = (__uint128_t) (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

/* Nobody has a reason to make two of their own events collide: it only has to spread well. */
static uint64_t hash_text(uint64_t hash, struct sl_text text)
{
    size_t i = 0;
    hash = mix(hash, text.size + 0x243f6a8885a308d3ULL);
    for (; i + 8 <= text.size; i += 8) {
        uint64_t word;
        memcpy(&word, text.data + i, sizeof(word));
        hash = mix(hash, word);
    }
    uint64_t rest = 0;
    for (; i < text.size; i++) {
        rest = rest << 8 | (unsigned char) text.data[i];
    }
    return mix(hash, rest + 0x13198a2e03707344ULL);
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A UUID's bytes, so that its order stays; else a hash. True if it was a UUID. */
static bool pack_id(struct sl_text text, unsigned char ret_id[SL_VERIFY_ID_SIZE])
{
    if (sl_event_is_id(text)) {
        for (size_t i = 0, out = 0; i < text.size; i++) {
            if (text.data[i] != '-') {
                ret_id[out++] =
                    (unsigned char) (hex_of(text.data[i]) << 4 | hex_of(text.data[i + 1]));
                i++;
            }
        }
        return true;
    }
    uint64_t words[2] = {hash_text(1, text), hash_text(2, text)};
    memcpy(ret_id, words, sizeof(words));
    return false;
}

void sl_verify_write_id(
    const unsigned char id[SL_VERIFY_ID_SIZE], bool is_hashed, char ret_text[40])
{
    static const char digits[] = "0123456789abcdef";
    size_t size = 0;
    for (size_t i = 0; i < SL_VERIFY_ID_SIZE && !is_hashed; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            ret_text[size++] = '-';
        }
        ret_text[size++] = digits[id[i] >> 4];
        ret_text[size++] = digits[id[i] & 15];
    }
    ret_text[size] = '\0';
}

static struct sl_text text_of_id(const struct sl_event *event)
{
    return (struct sl_text) {event->id, strnlen(event->id, sizeof(event->id))};
}

/* What all entries of an event have; false if the topic could not be noted. */
static bool describe(
    struct sl_verify *verify, const struct sl_event *event, struct sl_entry *ret_entry)
{
    int64_t topic = sl_verify_topic(verify, event->topic);
    if (topic < 0) {
        return false;
    }
    *ret_entry = (struct sl_entry) {.time_ms = event->time_ms, .topic = (uint32_t) topic};
    if (!pack_id(text_of_id(event), ret_entry->id)) {
        ret_entry->flags |= SL_ENTRY_HASHED_ID;
    }
    if (event->has_key) {
        uint64_t hash = hash_text(0, event->key);
        ret_entry->key_hash = hash == 0 ? 1 : hash;
    }
    ret_entry->content_hash = hash_text(hash_text(3, event->type), event->payload);
    return true;
}

static int add(struct sl_verify *verify, struct sl_entry *entry, enum sl_entry_kind kind)
{
    entry->kind = htobe32(kind);
    entry->group = htobe32(entry->group);
    entry->first = htobe64(entry->first);
    entry->second = htobe64(entry->second);
    return sl_sorter_add(verify->entries, entry, verify->error);
}

/* Widen what is known of the oldest of something: the latest time among the first few. */
static void widen(int64_t *since_ms, int64_t *seen, int64_t time_ms)
{
    if (*seen < SL_VERIFY_FIRST_RECORDS) {
        ++*seen;
        if (time_ms + SINCE_SLACK_MS > *since_ms) {
            *since_ms = time_ms + SINCE_SLACK_MS;
        }
    }
}

static int add_row(struct sl_verify *verify, size_t number, const struct sl_event *event,
    struct sl_position position)
{
    struct sl_verify_store *store = &verify->stores[number];
    struct sl_entry entry;
    if (!describe(verify, event, &entry)) {
        return sl_fail_memory(verify->error, "comparing");
    }
    entry.group = (uint32_t) number;
    entry.first = (uint64_t) position.tick;
    entry.second = (uint64_t) position.id;
    if (sl_position_compare(position, store->confirmed) <= 0) {
        entry.flags |= SL_ENTRY_CONFIRMED;
    }
    widen(&store->since_ms, &store->first_rows, event->time_ms);
    return add(verify, &entry, SL_ENTRY_ROW);
}

/* Positions of an outbox in SQLite rise by one: a transaction that fails gives its numbers back. */
static void check_hole(struct sl_verify *verify, const struct sl_verify_store *store,
    struct sl_position before, struct sl_position position)
{
    struct sl_outbox_state now;
    if (sl_store_sqlite(store->store) == NULL || before.id == 0 || position.id == before.id + 1) {
        return;
    }
    /* Retention may have deleted the rows before while they were read. */
    if (sl_store_outbox_state(store->store, &now, NULL) != 0 || now.retained_after.id > before.id) {
        return;
    }
    struct sl_wrong wrong = {.breach = SL_BREACH_HOLE, .position = before, .partition = -1};
    wrong.position.id++;
    snprintf(wrong.database, sizeof(wrong.database), "%s", store->shown);
    sl_verify_note(verify, &wrong);
}

int sl_verify_read_outbox(struct sl_verify *verify, size_t number, struct sl_position after)
{
    struct sl_verify_store *store = &verify->stores[number];
    struct sl_outbox_state state;
    struct sl_outbox_batch batch = {0};
    int status = sl_store_outbox_state(store->store, &state, verify->error);
    if (status != 0) {
        return -1;
    }
    if (!store->is_read) {
        store->is_read = true;
        store->retained_after = state.retained_after;
        store->confirmed = state.position;
        after = state.retained_after;
    }
    store->last = state.last;
    /* Not beyond what has a position already: reading on would make a server give out new ones. */
    struct sl_position end = state.last;
    while (status == 0 && sl_position_compare(after, end) < 0) {
        status = sl_store_outbox_read(
            store->store, after, ROWS_AT_ONCE, ROWS_SIZE_MAX, &batch, verify->error);
        for (size_t i = 0; i < batch.count && status == 0; i++) {
            if (sl_position_compare(batch.positions[i], end) > 0) {
                break;
            }
            check_hole(verify, store, i == 0 ? after : batch.positions[i - 1], batch.positions[i]);
            status = add_row(verify, number, &batch.events[i], batch.positions[i]);
        }
        if (batch.count == 0) {
            break;
        }
        after = batch.positions[batch.count - 1];
    }
    sl_outbox_batch_deinit(&batch);
    return status;
}

struct held_context {
    struct sl_verify *verify;
    uint32_t consumer;
};

static void add_held(void *context, const struct sl_held *held)
{
    struct held_context *holding = context;
    struct sl_verify *verify = holding->verify;
    struct sl_entry entry;
    if (verify->is_failed) {
        return;
    }
    if (!describe(verify, &held->event, &entry)) {
        sl_fail_memory(verify->error, "comparing");
        verify->is_failed = true;
        return;
    }
    entry.group = holding->consumer;
    verify->is_failed = add(verify, &entry, SL_ENTRY_HELD) != 0;
}

static int read_stage(
    struct sl_verify *verify, struct sl_store *store, const char *stage, uint32_t consumer)
{
    struct sl_held_filter filter = {.stage = stage, .limit = INT32_MAX};
    struct held_context context = {verify, consumer};
    int status = sl_store_each_held(store, &filter, add_held, &context, verify->error);
    return status == 0 && !verify->is_failed ? 0 : -1;
}

int sl_verify_read_held(struct sl_verify *verify, size_t store)
{
    return read_stage(verify, verify->stores[store].store, SL_STAGE_RELAY, SL_VERIFY_RELAY_STAGE);
}

struct marker_context {
    struct sl_verify *verify;
    size_t consumer;
    int64_t count;
    char last[64];
};

static void add_marker(
    void *context, struct sl_text consumer, struct sl_text event_id, int64_t applied_ms)
{
    struct marker_context *reading = context;
    struct sl_verify *verify = reading->verify;
    struct sl_entry entry = {.group = (uint32_t) reading->consumer, .time_ms = applied_ms};
    (void) consumer;
    if (!pack_id(event_id, entry.id)) {
        entry.flags |= SL_ENTRY_HASHED_ID;
    }
    snprintf(reading->last, sizeof(reading->last), "%.*s", (int) event_id.size, event_id.data);
    reading->count++;
    struct sl_verify_member *member = &verify->consumers[reading->consumer];
    if (member->marker_count++ == 0) {
        /* The first id is the oldest event; what its marker would have stood behind is removed. */
        uint64_t word = 0;
        memcpy(&word, entry.id, sizeof(word));
        member->since_ms = (int64_t) (be64toh(word) >> 16);
    }
    verify->is_failed = verify->is_failed || add(verify, &entry, SL_ENTRY_MARKER) != 0;
}

int sl_verify_read_inbox(struct sl_verify *verify, size_t consumer)
{
    struct sl_verify_member *member = &verify->consumers[consumer];
    struct sl_store *store = verify->stores[member->store].store;
    struct marker_context context = {
        .verify = verify, .consumer = consumer, .last = SL_MARKER_START};
    if (read_stage(verify, store, member->name, (uint32_t) consumer) != 0) {
        return -1;
    }
    do {
        char after[sizeof(context.last)];
        memcpy(after, context.last, sizeof(after));
        context.count = 0;
        if (sl_store_inbox_read(store, member->name, after, MARKERS_AT_ONCE, add_marker, &context,
                verify->error) != 0 ||
            verify->is_failed) {
            return -1;
        }
    } while (context.count == MARKERS_AT_ONCE);
    return 0;
}

static struct sl_verify_partition *find_partition(
    struct sl_verify *verify, uint32_t topic, int32_t number)
{
    for (size_t i = 0; i < verify->partition_count; i++) {
        /* Records come in runs of one partition: begin with the one that was asked for last. */
        size_t index = (verify->last_partition + i) % verify->partition_count;
        struct sl_verify_partition *partition = &verify->partitions[index];
        if (partition->topic == topic && partition->number == number) {
            verify->last_partition = index;
            return partition;
        }
    }
    return NULL;
}

static struct sl_verify_partition *make_partition(
    struct sl_verify *verify, const struct sl_partition_state *state, uint32_t topic)
{
    if (verify->partition_count == verify->partition_capacity) {
        size_t capacity = verify->partition_capacity == 0 ? 64 : verify->partition_capacity * 2;
        struct sl_verify_partition *grown =
            sl_reallocate(verify->partitions, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        verify->partitions = grown;
        verify->partition_capacity = capacity;
    }
    struct sl_verify_partition *made = &verify->partitions[verify->partition_count++];
    *made = (struct sl_verify_partition) {
        .topic = topic, .number = state->partition, .next_offset = -1, .since_ms = INT64_MIN};
    for (size_t i = 0; i < SL_VERIFY_CONSUMERS_MAX; i++) {
        made->committed[i] = -1;
    }
    return made;
}

/* The places of all consumers in one partition; a topic is noted only if somebody has one. */
static void note_places(void *context, const struct sl_partition_state *state)
{
    struct sl_verify *verify = context;
    for (size_t i = 0; i < verify->consumer_count && !verify->is_failed; i++) {
        int64_t offset = -1;
        if (sl_broker_committed(verify->broker, verify->consumers[i].name, state->topic,
                state->partition, &offset, verify->error) != 0) {
            verify->is_failed = true;
            return;
        }
        if (offset < 0) {
            continue;
        }
        int64_t topic = sl_verify_topic(verify, state->topic);
        struct sl_verify_partition *partition =
            topic < 0 ? NULL : find_partition(verify, (uint32_t) topic, state->partition);
        if (topic >= 0 && partition == NULL) {
            partition = make_partition(verify, state, (uint32_t) topic);
        }
        if (partition == NULL) {
            sl_fail_memory(verify->error, "comparing");
            verify->is_failed = true;
            return;
        }
        partition->committed[i] = offset;
        verify->consumers[i].has_place = true;
        verify->readers[topic] |= UINT64_C(1) << i;
    }
}

int sl_verify_read_places(struct sl_verify *verify)
{
    int status = sl_broker_each_partition(verify->broker, note_places, verify, verify->error);
    return status == 0 && !verify->is_failed ? 0 : -1;
}

static void note_ends(void *context, const struct sl_partition_state *state)
{
    struct sl_verify *verify = context;
    if (verify->is_failed ||
        (!verify->report->is_sole && sl_table_get(&verify->topic_numbers, state->topic) == NULL)) {
        return;
    }
    int64_t topic = sl_verify_topic(verify, state->topic);
    struct sl_verify_partition *partition =
        topic < 0 ? NULL : find_partition(verify, (uint32_t) topic, state->partition);
    if (topic >= 0 && partition == NULL) {
        partition = make_partition(verify, state, (uint32_t) topic);
    }
    if (partition == NULL) {
        sl_fail_memory(verify->error, "comparing");
        verify->is_failed = true;
        return;
    }
    partition->first_offset = state->first_offset;
    partition->end_offset = state->next_offset;
    partition->is_trimmed = state->first_offset > 0;
}

int sl_verify_read_ends(struct sl_verify *verify)
{
    int status = sl_broker_each_partition(verify->broker, note_ends, verify, verify->error);
    return status == 0 && !verify->is_failed ? 0 : -1;
}

static bool is_replay(const struct sl_event *event)
{
    return event->headers.size > 2 &&
        memmem(event->headers.data, event->headers.size, "\"sluice-replay\"", 15) != NULL;
}

static int add_record(struct sl_verify *verify, const struct sl_record *record)
{
    struct sl_entry entry;
    if (!describe(verify, &record->event, &entry)) {
        return sl_fail_memory(verify->error, "comparing");
    }
    struct sl_verify_partition *partition = find_partition(verify, entry.topic, record->partition);
    if (partition == NULL || record->offset >= partition->end_offset) {
        return 0; /* it came after the ends were read */
    }
    /* A jump at the beginning is retention's, which works while we read. */
    if (partition->next_offset < 0 && record->offset > partition->first_offset) {
        partition->is_trimmed = true;
    }
    if (partition->next_offset >= 0 && record->offset != partition->next_offset &&
        sl_broker_is_dense(verify->broker)) {
        struct sl_wrong wrong = {.breach = SL_BREACH_HOLE,
            .partition = record->partition,
            .offset = partition->next_offset};
        snprintf(wrong.topic, sizeof(wrong.topic), "%s", verify->topics[entry.topic]);
        sl_verify_note(verify, &wrong);
    }
    partition->next_offset = record->offset + 1;
    widen(&partition->since_ms, &partition->first_records, record->event.time_ms);
    entry.group = entry.topic;
    entry.first = (uint64_t) record->partition;
    entry.second = (uint64_t) record->offset;
    entry.flags |= is_replay(&record->event) ? SL_ENTRY_REPLAYED : 0;
    return add(verify, &entry, SL_ENTRY_RECORD);
}

/* A bounded number of topics that are read together: their numbers are in order. */
struct chunk {
    const char *names[SL_BROKER_TOPICS_MAX];
    size_t count;
    uint32_t first;
    uint32_t last;
};

/* Whether everything up to the ends of these topics has been read. */
static bool is_read(const struct sl_verify *verify, const struct chunk *chunk)
{
    for (size_t i = 0; i < verify->partition_count; i++) {
        const struct sl_verify_partition *partition = &verify->partitions[i];
        if (partition->topic >= chunk->first && partition->topic <= chunk->last &&
            partition->end_offset > partition->first_offset &&
            partition->next_offset < partition->end_offset) {
            return false;
        }
    }
    return true;
}

static int read_chunk(struct sl_verify *verify, const struct chunk *chunk)
{
    struct sl_reader_options options = {
        .topics = chunk->names, .topic_count = chunk->count, .start = SL_READ_START};
    struct sl_reader *reader;
    int64_t deadline_ms = sl_clock_monotonic_ms() + READ_PATIENCE_MS;
    bool is_over = false;
    if (sl_reader_open(verify->broker, &options, NULL, NULL, NULL, &reader, verify->error) != 0) {
        return -1;
    }
    int status = 0;
    while (status == 0 && !is_over && !is_read(verify, chunk)) {
        const struct sl_record *records;
        size_t count;
        status = sl_reader_next(reader, RECORDS_AT_ONCE, &records, &count, verify->error);
        for (size_t i = 0; status == 0 && i < count; i++) {
            status = add_record(verify, &records[i]);
        }
        if (status == 0 && count > 0) {
            deadline_ms = sl_clock_monotonic_ms() + READ_PATIENCE_MS;
        } else if (status == 0) {
            /* Of a log that holds no holes this is all; a server may still be sending. */
            is_over = sl_broker_is_dense(verify->broker) || sl_clock_monotonic_ms() > deadline_ms;
            nanosleep(&(struct timespec) {.tv_nsec = READ_PAUSE_MS * 1000000L}, NULL);
        }
    }
    sl_reader_close(reader);
    return status;
}

static bool has_records(const struct sl_verify *verify, uint32_t topic)
{
    for (size_t i = 0; i < verify->partition_count; i++) {
        const struct sl_verify_partition *partition = &verify->partitions[i];
        if (partition->topic == topic && partition->end_offset > partition->first_offset) {
            return true;
        }
    }
    return false;
}

int sl_verify_read_topics(struct sl_verify *verify)
{
    struct chunk chunk = {.count = 0};
    uint32_t topic_count = (uint32_t) verify->topic_count;
    for (uint32_t i = 0; i < topic_count; i++) {
        /* Only what is there: asking a server for a topic may make it. */
        if (has_records(verify, i)) {
            chunk.first = chunk.count == 0 ? i : chunk.first;
            chunk.last = i;
            chunk.names[chunk.count++] = verify->topics[i];
        }
        bool is_full = chunk.count == SL_BROKER_TOPICS_MAX || i + 1 == topic_count;
        if (is_full && chunk.count > 0) {
            if (read_chunk(verify, &chunk) != 0) {
                return -1;
            }
            chunk.count = 0;
        }
    }
    return 0;
}
