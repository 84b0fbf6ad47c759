/*
 * From the broker into the hubs. A record that tells nobody anything (no key, no JSON, a pointer
 * that leads nowhere) is counted, named in the log once a second at most, and passed over: it must
 * not stop the events of others.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/internal.h"

enum {
    RECORDS_PER_READ = 256,
    RECORDS_PER_TURN = 1024,
    RETRY_MS = 500,
    LEARN_RETRY_MS = 3000, /* the question may take a while, during which nobody is served */
    LOG_INTERVAL_MS = 1000
};

/* A partition that held records at the start: the feed is ready when it has read them. */
struct target {
    struct target *next;
    int64_t next_offset;
    int32_t partition;
    char topic[];
};

struct sl_feed {
    struct sl_gateway *gateway;
    struct sl_reader *reader;
    struct target *targets; /* those that have not been reached */
    uv_timer_t timer;       /* fires at once to go on, later after an error */
    struct sl_buffer scratch;
    int64_t logged_ms;
    uint64_t unlogged_count;
    int64_t asked_ms; /* when the partitions were last asked for */
    bool has_learned; /* the partitions of the start are known, and with them the targets */
    bool has_epoch;
    bool is_ready;
    bool is_failing;
};

static void on_readable(void *context);
static void on_timer(uv_timer_t *timer);

/* Log at most once a second, and say how many lines were left out. */
static void complain(struct sl_feed *feed, const char *message, const struct sl_record *record,
    const char *reason)
{
    int64_t now_ms = sl_clock_monotonic_ms();
    if (feed->logged_ms != 0 && now_ms - feed->logged_ms < LOG_INTERVAL_MS) {
        feed->unlogged_count++;
        return;
    }
    sl_log(SL_LOG_WARN, message, "topic=%.*s partition=%d offset=%lld reason=\"%s\" more=%llu",
        record == NULL ? 0 : (int) record->event.topic.size,
        record == NULL ? "" : record->event.topic.data, record == NULL ? -1 : record->partition,
        record == NULL ? -1LL : (long long) record->offset, reason,
        (unsigned long long) feed->unlogged_count);
    feed->logged_ms = now_ms;
    feed->unlogged_count = 0;
}

struct learning {
    struct sl_gateway *gateway;
    bool is_first;
    int result;
};

static int add_target(struct sl_feed *feed, const struct sl_partition_state *state)
{
    struct target *target = sl_allocate(sizeof(*target) + state->topic.size + 1);
    if (target == NULL) {
        return -1;
    }
    memcpy(target->topic, state->topic.data, state->topic.size);
    target->partition = state->partition;
    target->next_offset = state->next_offset;
    target->next = feed->targets;
    feed->targets = target;
    return 0;
}

static void learn_partition(void *context, const struct sl_partition_state *state)
{
    struct learning *learning = context;
    bool is_ours = false;
    for (struct sl_topic *each = learning->gateway->topics; each != NULL; each = each->next) {
        if (!sl_text_equal(state->topic, sl_text_of(each->name))) {
            continue;
        }
        is_ours = true;
        if (state->partition >= each->hub.partition_count) {
            sl_hub_set_partition_count(&each->hub, state->partition + 1);
        }
        if (state->first_offset == state->next_offset &&
            sl_hub_set_start(&each->hub, state->partition, state->next_offset) != 0) {
            learning->result = -1;
        }
    }
    if (is_ours && learning->is_first && state->first_offset < state->next_offset &&
        add_target(learning->gateway->feed, state) != 0) {
        learning->result = -1;
    }
}

/* Ask the broker which partitions there are, and which of them are empty. */
static int learn_partitions(
    struct sl_gateway *gateway, bool is_first, struct sluice_error *error)
{
    struct learning learning = {gateway, is_first, 0};
    if (sl_broker_each_partition(gateway->broker, learn_partition, &learning, error) != 0) {
        return -1;
    }
    return learning.result == 0 ? 0 : sl_fail_memory(error, "the partitions of topics");
}

/* A partition has been read up to an offset: where there was no record, an empty one begins there.
 */
static void note_start(struct sl_feed *feed, const struct target *target, int64_t position)
{
    for (struct sl_topic *each = feed->gateway->topics; each != NULL; each = each->next) {
        if (strcmp(each->name, target->topic) == 0 &&
            sl_hub_set_start(&each->hub, target->partition, position) != 0) {
            complain(feed, "a partition's place cannot be noted", NULL, "out of memory");
        }
    }
}

/*
 * Strike out the targets that have been reached. What counts is where the reader stands: a
 * partition's last offset need not be a record's.
 */
static void note_progress(struct sl_feed *feed)
{
    struct target **link = &feed->targets;
    while (*link != NULL) {
        struct target *target = *link;
        int64_t position =
            sl_reader_position(feed->reader, sl_text_of(target->topic), target->partition);
        if (position < target->next_offset) {
            link = &target->next;
            continue;
        }
        note_start(feed, target, position);
        *link = target->next;
        sl_free(target);
    }
}

/* A broker that is not local tells its epoch only when it is reached: before the first record. */
static void learn_epoch(struct sl_feed *feed)
{
    struct sl_gateway *gateway = feed->gateway;
    const char *epoch = sl_broker_epoch(gateway->broker);
    for (struct sl_topic *each = gateway->topics; each != NULL; each = each->next) {
        snprintf(each->hub.epoch, sizeof(each->hub.epoch), "%s", epoch);
    }
    feed->has_epoch = strcmp(epoch, "00000000") != 0;
}

static void take_record_for(
    struct sl_feed *feed, struct sl_topic *topic, const struct sl_record *record)
{
    struct sl_payload_facts facts;
    struct sluice_error error;
    const struct sl_event *event = &record->event;
    int result = 0;
    if (!event->has_key) {
        result = sl_fail(&error, SLUICE_INVALID, SLUICE_REJECT, "the record has no key");
    } else {
        result = sl_payload_read(&topic->rules, event->payload, &feed->scratch, &facts, &error);
    }
    if (result != 0 && error.reaction == SLUICE_RETRY) {
        /* It may tell something: its place stays a hole, at which the hub resets its streams. */
        complain(feed, "a record cannot be kept", record, error.text);
        return;
    }
    if (result != 0) {
        feed->gateway->stats.events_unusable++;
        complain(feed, "a record tells no stream anything", record, error.text);
        if (sl_hub_skip(&topic->hub, record->partition, record->offset) != 0) {
            complain(feed, "a record's place cannot be noted", record, "out of memory");
        }
        return;
    }
    struct sl_hub_record out = {
        .key = event->key,
        .type = facts.type,
        .payload = event->payload,
        .offset = record->offset,
        .version = facts.version,
        .partition = record->partition,
        .is_final = facts.is_final,
    };
    if (sl_hub_publish(&topic->hub, &out) != 0) {
        complain(feed, "a record cannot be kept", record, "out of memory");
    }
}

static void take_record(struct sl_feed *feed, const struct sl_record *record)
{
    struct sluice_error error;
    struct sl_gateway *gateway = feed->gateway;
    gateway->stats.events_received++;
    for (struct sl_topic *each = gateway->topics; each != NULL; each = each->next) {
        if (!sl_text_equal(record->event.topic, sl_text_of(each->name))) {
            continue;
        }
        if (record->partition >= each->hub.partition_count &&
            learn_partitions(gateway, false, &error) != 0) {
            complain(feed, "the topics' partitions cannot be read", record, error.text);
        }
        take_record_for(feed, each, record);
    }
}

static void on_timer(uv_timer_t *timer)
{
    on_readable(timer->data);
}

static void note_ready(struct sl_feed *feed)
{
    if (feed->is_ready || !feed->has_learned) {
        return;
    }
    note_progress(feed);
    if (feed->targets == NULL) {
        if (!feed->has_epoch) {
            learn_epoch(feed);
        }
        feed->is_ready = true;
        sl_streams_on_feed_ready(feed->gateway);
    }
}

/* Ask for what there is to be read at the start. A broker that is away is asked again. */
static int learn_targets(struct sl_feed *feed, struct sluice_error *error)
{
    feed->asked_ms = sl_clock_monotonic_ms();
    if (learn_partitions(feed->gateway, true, error) != 0) {
        return -1;
    }
    feed->has_learned = true;
    return 0;
}

static void learn_later(struct sl_feed *feed)
{
    struct sluice_error error;
    if (feed->has_learned) {
        return;
    }
    if (sl_clock_monotonic_ms() - feed->asked_ms >= LEARN_RETRY_MS) {
        if (learn_targets(feed, &error) == 0) {
            note_ready(feed); /* nothing else may come that would */
            return;
        }
        complain(feed, "the topics' partitions cannot be read", NULL, error.text);
    }
    uv_timer_start(&feed->timer, on_timer, RETRY_MS, 0);
}

static void on_readable(void *context)
{
    struct sl_feed *feed = context;
    const struct sl_record *records;
    size_t count;
    struct sluice_error error;
    for (size_t taken = 0; taken < RECORDS_PER_TURN; taken += count) {
        if (sl_reader_next(feed->reader, RECORDS_PER_READ, &records, &count, &error) != 0) {
            complain(feed, "the topics cannot be read for now", NULL, error.text);
            feed->is_failing = true;
            uv_timer_start(&feed->timer, on_timer, RETRY_MS, 0);
            return;
        }
        feed->is_failing = false;
        if (count == 0) {
            note_ready(feed);
            learn_later(feed);
            return;
        }
        if (!feed->has_epoch) {
            learn_epoch(feed);
        }
        for (size_t i = 0; i < count; i++) {
            take_record(feed, &records[i]);
        }
    }
    /* Others want their turn, too. */
    note_ready(feed);
    uv_timer_start(&feed->timer, on_timer, 0, 0);
}

static int open_reader(struct sl_feed *feed, struct sluice_error *error)
{
    struct sl_gateway *gateway = feed->gateway;
    const char *names[SL_BROKER_TOPICS_MAX];
    size_t count = 0;
    for (struct sl_topic *each = gateway->topics; each != NULL; each = each->next) {
        bool is_known = false;
        for (size_t i = 0; i < count; i++) {
            is_known = is_known || strcmp(names[i], each->name) == 0;
        }
        if (is_known) {
            continue;
        }
        if (count == SL_BROKER_TOPICS_MAX) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "the stream routes name more than %d topics", SL_BROKER_TOPICS_MAX);
        }
        names[count++] = each->name;
    }
    struct sl_reader_options options = {
        .topics = names,
        .topic_count = count,
        .start = SL_READ_TAIL,
        .tail_count = (int64_t) gateway->options.replay_events,
    };
    return sl_reader_open(gateway->broker, &options, gateway->loop, on_readable, feed,
        &feed->reader, error);
}

int sl_feed_open(struct sl_gateway *gateway, struct sluice_error *error)
{
    struct sl_feed *feed = sl_allocate(sizeof(*feed));
    if (feed == NULL) {
        return sl_fail_memory(error, "the feed of streams");
    }
    feed->gateway = gateway;
    gateway->feed = feed;
    gateway->handle_count++;
    sl_buffer_init(&feed->scratch, 64 * 1024);
    uv_timer_init(gateway->loop, &feed->timer);
    feed->timer.data = feed;
    if (learn_targets(feed, error) != 0) {
        if (error->reaction != SLUICE_RETRY) {
            return -1;
        }
        /* What is not streamed can be served all the same. */
        complain(feed, "the topics' partitions cannot be read", NULL, error->text);
    }
    if (open_reader(feed, error) != 0) {
        return -1;
    }
    /* An empty broker is read at once: readiness must not wait for the first event. */
    uv_timer_start(&feed->timer, on_timer, 0, 0);
    return 0;
}

bool sl_feed_has_caught_up(const struct sl_feed *feed)
{
    return feed->is_ready;
}

bool sl_feed_is_ready(const struct sl_feed *feed, char *ret_reason, size_t size)
{
    const struct target *target = feed->targets;
    bool is_cut_off = feed->is_failing || sl_reader_is_cut_off(feed->reader);
    if (feed->is_ready && !is_cut_off) {
        return true;
    }
    if (ret_reason != NULL && (is_cut_off || !feed->has_learned)) {
        snprintf(ret_reason, size, "the broker's topics cannot be read for now");
    } else if (ret_reason != NULL && target != NULL) {
        int64_t position =
            sl_reader_position(feed->reader, sl_text_of(target->topic), target->partition);
        snprintf(ret_reason, size, "topic %s partition %d is read up to offset %lld of %lld",
            target->topic, target->partition, (long long) position - 1,
            (long long) target->next_offset - 1);
    } else if (ret_reason != NULL) {
        snprintf(ret_reason, size, "the topics have not been read yet");
    }
    return false;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct sl_feed *feed = handle->data;
    struct sl_gateway *gateway = feed->gateway;
    sl_free(feed);
    sl_gateway_release(gateway);
}

void sl_feed_close(struct sl_feed *feed)
{
    if (feed == NULL) {
        return;
    }
    sl_reader_close(feed->reader);
    feed->reader = NULL;
    while (feed->targets != NULL) {
        struct target *next = feed->targets->next;
        sl_free(feed->targets);
        feed->targets = next;
    }
    sl_buffer_deinit(&feed->scratch);
    uv_close((uv_handle_t *) &feed->timer, on_timer_closed);
}
