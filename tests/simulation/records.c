#include "records.h"

#include <string.h>

#include "base/error.h"
#include "database.h"

enum {
    LANES = 4, /* partitions of all topics: the topic of lane n is n % TOPICS */
    TOPICS = 2,
    RECORDS_MAX = 3 * DB_ROWS_MAX,
    BATCH_MAX = 16,
    READERS_MAX = 2 * SIM_PROCESSES
};

struct reader {
    struct sl_reader reader; /* first, so that one is the other */
    struct sl_broker broker;
    bool is_used;
    bool is_open; /* the reader */
    int process;
    struct sl_reader_wake wake;
    struct sl_record batch[BATCH_MAX];
    int64_t next[LANES];
    int64_t noted[LANES];
};

static struct reader readers[READERS_MAX];
static int records[LANES][RECORDS_MAX]; /* rows */
static int record_count[LANES];
static int64_t committed[LANES];
static int owner[LANES]; /* the process that has the partition */
static int process_count;

static struct reader *of(struct sl_reader *reader)
{
    return (struct reader *) (void *) reader;
}

static struct reader *of_broker(struct sl_broker *broker)
{
    return (struct reader *) (void *) ((char *) broker - offsetof(struct reader, broker));
}

static int lane_of(int row)
{
    return database.rows[row].key % LANES;
}

void records_reset(int count)
{
    memset(readers, 0, sizeof(readers));
    memset(record_count, 0, sizeof(record_count));
    memset(committed, 0, sizeof(committed));
    process_count = count;
    for (int i = 0; i < LANES; i++) {
        owner[i] = (int) sim_random((uint64_t) count);
    }
}

static void append(int row)
{
    int lane = lane_of(row);
    if (record_count[lane] < RECORDS_MAX) {
        records[lane][record_count[lane]++] = row;
    }
}

void records_publish(int count)
{
    for (; count > 0; count--) {
        int row = db_add_row((int) sim_random(DB_KEYS));
        if (row < 0) {
            return;
        }
        append(row);
        int lane = lane_of(row);
        if (sim_once_in(30)) {
            /* A relay that did not know sends the last ones again, in order. */
            int again = 1 + (int) sim_random(5);
            int end = record_count[lane];
            for (int i = end > again ? end - again : 0; i < end; i++) {
                append(records[lane][i]);
            }
        }
    }
}

static void go_back(struct reader *reader, int lane)
{
    reader->next[lane] = committed[lane];
    reader->noted[lane] = committed[lane];
}

void records_reassign(void)
{
    int lane = (int) sim_random(LANES);
    owner[lane] = (int) sim_random((uint64_t) process_count);
    sim_trace("partition %d goes to p%d", lane, owner[lane]);
    for (int i = 0; i < READERS_MAX; i++) {
        if (readers[i].is_open && readers[i].process == owner[lane]) {
            go_back(&readers[i], lane);
        }
    }
}

static bool has_lane(const struct reader *reader, int lane)
{
    return owner[lane] == reader->process;
}

static int next(struct sl_reader *base, size_t count_max, const struct sl_record **ret_records,
    size_t *ret_count, struct sluice_error *error)
{
    struct reader *reader = of(base);
    bool is_lost;
    if (db_enter(reader->process, &is_lost, error) != 0) {
        return -1;
    }
    int lane = (int) sim_random(LANES);
    size_t count = 0;
    for (int i = 0; i < LANES; i++, lane = (lane + 1) % LANES) {
        while (has_lane(reader, lane) && reader->next[lane] < record_count[lane] &&
            count < BATCH_MAX && count < count_max) {
            int64_t offset = reader->next[lane]++;
            reader->batch[count++] = (struct sl_record) {
                .event = database.rows[records[lane][offset]].event,
                .partition = lane / TOPICS,
                .offset = offset,
            };
        }
    }
    *ret_records = reader->batch;
    *ret_count = count;
    return 0;
}

/* All that is before a committed offset has been applied, or is held. */
static void check_applied(int lane, int64_t offset)
{
    const struct db_data *data = db_seen_by(NULL);
    for (int64_t i = committed[lane]; i < offset; i++) {
        int row = records[lane][i];
        if (!data->is_marked[row] && !db_is_held(row)) {
            sim_fail(
                "offset %lld of partition %d is committed, but event %d is neither applied "
                "nor held",
                (long long) offset, lane, row);
        }
    }
}

static int commit(struct sl_reader *base, struct sl_text topic, int32_t partition, int64_t offset,
    struct sluice_error *error)
{
    struct reader *reader = of(base);
    bool is_lost;
    if (db_enter(reader->process, &is_lost, error) != 0) {
        return -1;
    }
    int lane = partition * TOPICS + (topic.data[1] - '0');
    if (has_lane(reader, lane) && offset > reader->noted[lane]) {
        reader->noted[lane] = offset;
    }
    return is_lost ? sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "simulated: answer lost") : 0;
}

static int flush(struct sl_reader *base, struct sluice_error *error)
{
    struct reader *reader = of(base);
    bool is_lost;
    if (sim_keeps_timers) {
        return 0; /* the consumer's loop has not really ended */
    }
    if (db_enter(reader->process, &is_lost, error) != 0) {
        return -1;
    }
    for (int i = 0; i < LANES; i++) {
        if (has_lane(reader, i) && reader->noted[i] > committed[i]) {
            check_applied(i, reader->noted[i]);
            committed[i] = reader->noted[i];
        }
    }
    return is_lost ? sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "simulated: answer lost") : 0;
}

static int rewind_reader(struct sl_reader *base, struct sluice_error *error)
{
    struct reader *reader = of(base);
    (void) error;
    bool is_noted_enough = sim_once_in(2); /* what is noted may count as committed */
    for (int i = 0; i < LANES; i++) {
        if (is_noted_enough) {
            reader->next[i] = reader->noted[i];
        } else {
            go_back(reader, i);
        }
    }
    return 0;
}

static void close_reader(struct sl_reader *base)
{
    of(base)->is_open = false;
}

static int open_reader(struct sl_broker *broker, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error)
{
    static const struct sl_reader_ops ops = {
        .next = next,
        .commit = commit,
        .flush = flush,
        .rewind = rewind_reader,
        .close = close_reader,
    };
    struct reader *reader = of_broker(broker);
    (void) options;
    (void) error;
    reader->reader.ops = &ops;
    reader->wake = *wake;
    reader->is_open = true;
    for (int i = 0; i < LANES; i++) {
        go_back(reader, i);
    }
    *ret_reader = &reader->reader;
    return 0;
}

static void close_broker(struct sl_broker *broker)
{
    of_broker(broker)->is_used = false;
}

struct sl_broker *records_open(void)
{
    static const struct sl_broker_ops ops = {.open_reader = open_reader, .close = close_broker};
    struct reader *reader = readers;
    while (reader->is_used) {
        reader++;
    }
    *reader = (struct reader) {
        .broker = {.ops = &ops, .is_dense = true}, .is_used = true, .process = sim_current};
    return &reader->broker;
}

bool records_wake(int process)
{
    for (int i = 0; i < READERS_MAX; i++) {
        struct reader *reader = &readers[i];
        bool has_news = false;
        for (int lane = 0; lane < LANES; lane++) {
            has_news =
                has_news || (has_lane(reader, lane) && reader->next[lane] < record_count[lane]);
        }
        if (reader->is_open && reader->process == process && has_news) {
            sim_current = process;
            reader->wake.on_readable(reader->wake.context);
            return true;
        }
    }
    return false;
}

bool records_are_done(void)
{
    for (int i = 0; i < LANES; i++) {
        if (committed[i] < record_count[i]) {
            return false;
        }
    }
    return true;
}
