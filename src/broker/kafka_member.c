/*
 * A reader that is a member of a consumer group: Kafka shares the partitions out among those that
 * have the consumer's name.
 *
 * The assignment is `range`, as Java's clients have it by default, and changes at once for all:
 * when partitions are taken away, what was noted is committed, what was taken and not handed out is
 * dropped, and later notes for them are ignored, since their next owner begins at the commit. What
 * it gets twice, the inbox passes over.
 *
 * Whoever does not come for records within max.poll.interval.ms is taken for dead by the group. A
 * timer of the loop comes for them while there are none; a handler that takes longer loses its
 * partitions, and gets them again with its next turn.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/kafka.h"
#include "broker/kafka_records.h"
#include "broker/kafka_wake.h"

enum {
    CHECK_INTERVAL_MS = 1000,
    COMMIT_TIMEOUT_MS = 2000,
    LEAVE_TIMEOUT_MS = 3000,
    POLLED_TIMEOUT_MS = 500 /* a member without a loop waits for a moment, for a first record */
};

/* A partition that is ours, or was. */
struct place {
    char *topic;
    int32_t partition;
    bool is_owned;
    bool is_dirty; /* noted and not committed */
    bool is_at_end;
    int64_t first_offset; /* the first that was taken since the assignment; -1: none */
    int64_t next_offset;  /* behind what was taken; -1: nothing was */
    int64_t noted_offset; /* -1: nothing was noted since the assignment */
    int64_t seek_offset;  /* to be gone back to before anything else is taken; -1: nothing */
};

struct member {
    struct sl_reader base;
    struct sl_kafka *kafka;
    struct sl_kafka_client client;
    rd_kafka_queue_t *queue;
    struct sl_kafka_wake *wake;
    struct sl_reader_wake owner;
    struct place *places;
    size_t place_count;
    size_t place_capacity;
    bool is_assigned;
    bool is_out_of_memory;
    bool is_taking; /* records are being taken for the call in hand */
    struct sl_kafka_records records;
    rd_kafka_message_t *kept; /* came when nobody had asked; goes out first */
    bool has_failure;
    struct sluice_error failure;
};

static struct place *find_place(struct member *member, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < member->place_count; i++) {
        if (member->places[i].partition == partition &&
            strcmp(member->places[i].topic, topic) == 0) {
            return &member->places[i];
        }
    }
    return NULL;
}

static struct place *make_place(struct member *member, const char *topic, int32_t partition)
{
    struct place *place = find_place(member, topic, partition);
    if (place != NULL) {
        return place;
    }
    if (member->place_count == member->place_capacity) {
        size_t capacity = member->place_capacity == 0 ? 16 : member->place_capacity * 2;
        struct place *places = sl_reallocate(member->places, capacity * sizeof(*places));
        if (places == NULL) {
            return NULL;
        }
        member->places = places;
        member->place_capacity = capacity;
    }
    place = &member->places[member->place_count];
    *place = (struct place) {.topic = sl_copy_text(topic), .partition = partition};
    if (place->topic == NULL) {
        return NULL;
    }
    member->place_count++;
    return place;
}

static void drop_kept(struct member *member)
{
    if (member->kept != NULL) {
        rd_kafka_message_destroy(member->kept);
        member->kept = NULL;
    }
}

/* Commit what is noted of the owned partitions, within a bounded time. */
static rd_kafka_resp_err_t commit_noted(struct member *member)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < member->place_count; i++) {
        const struct place *place = &member->places[i];
        if (place->is_owned && place->is_dirty) {
            rd_kafka_topic_partition_list_add(list, place->topic, place->partition)->offset =
                place->noted_offset;
        }
    }
    if (list->cnt > 0) {
        rd_kafka_queue_t *answers = rd_kafka_queue_new(member->client.handle);
        code = rd_kafka_commit_queue(member->client.handle, list, answers, NULL, NULL);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_event_t *answer = rd_kafka_queue_poll(answers, COMMIT_TIMEOUT_MS);
            code = answer == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(answer);
            rd_kafka_event_destroy(answer);
        }
        rd_kafka_queue_destroy(answers);
    }
    rd_kafka_topic_partition_list_destroy(list);
    for (size_t i = 0; i < member->place_count && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        member->places[i].is_dirty = false;
    }
    return code;
}

static void on_assigned(struct member *member, const rd_kafka_topic_partition_list_t *partitions)
{
    for (int i = 0; i < partitions->cnt; i++) {
        const rd_kafka_topic_partition_t *each = &partitions->elems[i];
        struct place *place = make_place(member, each->topic, each->partition);
        if (place == NULL) {
            member->is_out_of_memory = true;
            continue;
        }
        place->is_owned = true;
        place->is_dirty = false;
        place->is_at_end = false;
        place->first_offset = -1;
        place->next_offset = -1;
        place->noted_offset = -1;
        place->seek_offset = -1;
    }
    member->is_assigned = true;
}

static void on_revoked(struct member *member, bool is_lost)
{
    rd_kafka_resp_err_t code = is_lost ? RD_KAFKA_RESP_ERR_NO_ERROR : commit_noted(member);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        sl_log(SL_LOG_INFO, "partitions go without a last commit; their next owner skips doubles",
            "error=\"%s\"", rd_kafka_err2str(code));
    }
    for (size_t i = 0; i < member->place_count; i++) {
        member->places[i].is_owned = false;
        member->places[i].is_dirty = false;
    }
    /* What the call in hand has taken is not handed out: it is not ours any more. */
    if (member->is_taking) {
        sl_kafka_records_clear(&member->records);
    }
    drop_kept(member);
}

static void on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t code,
    rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    struct member *member = ((struct sl_kafka_client *) opaque)->owner;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assigned(member, partitions);
        rd_kafka_assign(handle, partitions);
        return;
    }
    on_revoked(member, rd_kafka_assignment_lost(handle) != 0);
    rd_kafka_assign(handle, NULL);
}

static int take_error(
    struct member *member, const rd_kafka_message_t *message, struct sluice_error *error)
{
    struct place *place = NULL;
    char reason[256];
    switch ((int) message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        place = find_place(member, rd_kafka_topic_name(message->rkt), message->partition);
        if (place != NULL) {
            place->is_at_end = true;
        }
        return 0;
    case RD_KAFKA_RESP_ERR__FATAL:
        rd_kafka_fatal_error(member->client.handle, reason, sizeof(reason));
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_FATAL,
            "the Kafka consumer cannot go on: %.300s; start it again", reason);
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        sl_log(SL_LOG_WARN, "a handler took so long that its partitions went to another consumer",
            "reason=\"%s\"", rd_kafka_message_errstr(message));
        return 0;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        sl_kafka_fail(&member->client, message->err, "cannot consume", error);
        error->reaction = SLUICE_RETRY; /* the right may be given while we wait */
        return -1;
    default:
        /* A topic that is missing is waited for; connections are made again by librdkafka. */
        return 0;
    }
}

/* Take one message: 1 if there was something, 0 if not. */
static int take_one(struct member *member, int timeout_ms, struct sluice_error *error)
{
    rd_kafka_message_t *message = member->kept;
    member->kept = NULL;
    if (message == NULL) {
        message = rd_kafka_consumer_poll(member->client.handle, timeout_ms);
    }
    if (message == NULL) {
        return 0;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        int status = take_error(member, message, error);
        rd_kafka_message_destroy(message);
        return status == 0 ? 1 : -1;
    }
    struct place *place = find_place(member, rd_kafka_topic_name(message->rkt), message->partition);
    if (place == NULL || !place->is_owned) {
        rd_kafka_message_destroy(message);
        return 1;
    }
    if (sl_kafka_records_take(&member->records, message) != 0) {
        member->kept = message;
        return sl_fail_memory(error, "the records of a topic");
    }
    place->first_offset = place->first_offset < 0 ? message->offset : place->first_offset;
    place->next_offset = message->offset + 1;
    place->is_at_end = false;
    return 1;
}

static bool is_read_up(const struct member *member)
{
    for (size_t i = 0; i < member->place_count; i++) {
        if (member->places[i].is_owned && !member->places[i].is_at_end) {
            return false;
        }
    }
    return member->is_assigned;
}

static int take_all(struct member *member, size_t count_max, struct sluice_error *error)
{
    int64_t end_ms = sl_clock_monotonic_ms() + POLLED_TIMEOUT_MS;
    bool is_polled = member->owner.loop == NULL;
    int status = 1;
    while (status >= 0 && sl_kafka_records_have_room(&member->records, count_max)) {
        bool may_wait = is_polled && member->records.count == 0 && !is_read_up(member) &&
            sl_clock_monotonic_ms() < end_ms;
        status = take_one(member, may_wait ? 100 : 0, error);
        if (status == 0 && !may_wait) {
            break;
        }
    }
    return status < 0 ? -1 : 0;
}

/* A record that is not handed out, but has left the client's queue, is one to be gone back to. */
static void put_back(struct member *member, rd_kafka_message_t *message)
{
    struct place *place = message->err == RD_KAFKA_RESP_ERR_NO_ERROR
        ? find_place(member, rd_kafka_topic_name(message->rkt), message->partition)
        : NULL;
    if (place != NULL && place->is_owned &&
        (place->seek_offset < 0 || message->offset < place->seek_offset)) {
        place->seek_offset = message->offset;
    }
    rd_kafka_message_destroy(message);
}

static void put_back_kept(struct member *member)
{
    rd_kafka_message_t *kept = member->kept;
    member->kept = NULL;
    if (kept != NULL) {
        put_back(member, kept);
    }
}

static bool is_going_back(const struct member *member)
{
    for (size_t i = 0; i < member->place_count; i++) {
        if (member->places[i].is_owned && member->places[i].seek_offset >= 0) {
            return true;
        }
    }
    return false;
}

/*
 * Go back where that is still to be done. Until it has worked nothing more is taken: what stands
 * between would be passed over, and what has come meanwhile would overtake it.
 */
static int go_back(struct member *member, struct sluice_error *error)
{
    if (!is_going_back(member)) {
        return 0;
    }
    put_back_kept(member);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (size_t i = 0; i < member->place_count; i++) {
        const struct place *place = &member->places[i];
        if (place->is_owned && place->seek_offset >= 0) {
            rd_kafka_topic_partition_list_add(list, place->topic, place->partition)->offset =
                place->seek_offset;
        }
    }
    rd_kafka_error_t *failure =
        rd_kafka_seek_partitions(member->client.handle, list, COMMIT_TIMEOUT_MS);
    rd_kafka_resp_err_t code =
        failure == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(failure);
    for (int i = 0; failure == NULL && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *each = &list->elems[i];
        struct place *place = find_place(member, each->topic, each->partition);
        if (each->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = each->err;
            continue;
        }
        place->next_offset = place->next_offset < 0 ? -1 : place->seek_offset;
        place->seek_offset = -1;
    }
    rd_kafka_error_destroy(failure);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
        ? 0
        : sl_kafka_fail(&member->client, code, "cannot go back in a topic", error);
}

/*
 * The client is polled all the same, so that partitions can go and come. What it gives is put back;
 * only a client that cannot go on says more than the failure that brought us here.
 */
static void hear_rebalances(struct member *member, struct sluice_error *error)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(member->client.handle, 0);
    if (message == NULL) {
        return;
    }
    struct sluice_error failure;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && take_error(member, message, &failure) != 0) {
        *error = failure;
    }
    put_back(member, message);
}

static int next(struct sl_reader *base, size_t count_max, const struct sl_record **ret_records,
    size_t *ret_count, struct sluice_error *error)
{
    struct member *member = (struct member *) base;
    sl_kafka_records_clear(&member->records);
    if (member->has_failure) {
        member->has_failure = false;
        *error = member->failure;
        return -1;
    }
    if (go_back(member, error) != 0) {
        hear_rebalances(member, error);
        return -1;
    }
    member->is_taking = true;
    int status = take_all(member, count_max, &member->failure);
    member->is_taking = false;
    if (status == 0 && member->is_out_of_memory) {
        status = sl_fail_memory(&member->failure, "a consumer's partitions");
        member->failure.reaction = SLUICE_FATAL;
    }
    if (status != 0 && member->records.count == 0) {
        *error = member->failure;
        return -1;
    }
    member->has_failure = status != 0;
    sl_kafka_learn_epoch(member->kafka, member->client.handle, 0);
    sl_kafka_records_settle(&member->records);
    *ret_records = member->records.items;
    *ret_count = member->records.count;
    return 0;
}

static int commit(struct sl_reader *base, struct sl_text topic, int32_t partition, int64_t offset,
    struct sluice_error *error)
{
    struct member *member = (struct member *) base;
    for (size_t i = 0; i < member->place_count; i++) {
        struct place *place = &member->places[i];
        if (place->partition != partition || !sl_text_equal(sl_text_of(place->topic), topic)) {
            continue;
        }
        /* What was taken before a partition went and came back is no measure for it now. */
        if (place->is_owned && offset <= place->next_offset && offset > place->noted_offset) {
            place->noted_offset = offset;
            place->is_dirty = true;
        }
        return 0;
    }
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "the reader does not follow partition %d of %.*s", (int) partition, (int) topic.size,
        topic.data);
}

static int flush(struct sl_reader *base, struct sluice_error *error)
{
    struct member *member = (struct member *) base;
    rd_kafka_resp_err_t code = commit_noted(member);
    switch ((int) code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return 0;
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
        /* The partitions are about to go, or have gone: the rebalance tells, with the next call. */
        return 0;
    default:
        return sl_kafka_fail(&member->client, code, "cannot commit a consumer's offsets", error);
    }
}

static int rewind_member(struct sl_reader *base, struct sluice_error *error)
{
    struct member *member = (struct member *) base;
    for (size_t i = 0; i < member->place_count; i++) {
        struct place *place = &member->places[i];
        int64_t target = place->noted_offset >= 0 ? place->noted_offset : place->first_offset;
        if (place->is_owned && target >= 0 && target != place->next_offset) {
            place->seek_offset = target;
        }
    }
    put_back_kept(member);
    return go_back(member, error);
}

/*
 * Leave the group, so that the others need not wait for a time-out. With a commit on its way to a
 * cluster that is away, the end of the client takes up to session.timeout.ms more.
 */
static void leave(struct member *member)
{
    int64_t end_ms = sl_clock_monotonic_ms() + LEAVE_TIMEOUT_MS;
    rd_kafka_t *handle = member->client.handle;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_error_t *failure = rd_kafka_consumer_close_queue(handle, queue);
    while (
        failure == NULL && !rd_kafka_consumer_closed(handle) && sl_clock_monotonic_ms() < end_ms) {
        /* As events: records may be among them, which no callback takes. */
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 50);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
            on_rebalance(handle, rd_kafka_event_error(event),
                rd_kafka_event_topic_partition_list(event), &member->client);
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_error_destroy(failure);
    rd_kafka_queue_destroy(queue);
}

static void close_member(struct sl_reader *base)
{
    struct member *member = (struct member *) base;
    sl_kafka_wake_close(member->wake);
    sl_kafka_records_deinit(&member->records);
    drop_kept(member);
    if (member->queue != NULL) {
        rd_kafka_queue_destroy(member->queue);
    }
    if (member->client.handle != NULL) {
        leave(member);
    }
    sl_kafka_client_close(&member->client);
    for (size_t i = 0; i < member->place_count; i++) {
        sl_free(member->places[i].topic);
    }
    sl_free(member->places);
    sl_free(member);
}

static const struct sl_reader_ops member_ops = {
    .next = next,
    .commit = commit,
    .flush = flush,
    .rewind = rewind_member,
    .close = close_member,
};

static void on_wake(void *context)
{
    struct member *member = context;
    member->owner.on_readable(member->owner.context);
}

/* Show the group that we are here, also when there is nothing to read. */
static void on_time(void *context)
{
    struct member *member = context;
    if (member->kept == NULL) {
        member->kept = rd_kafka_consumer_poll(member->client.handle, 0);
    }
    if (member->kept != NULL) {
        member->owner.on_readable(member->owner.context);
    }
}

static int subscribe(
    struct member *member, const struct sl_reader_options *options, struct sluice_error *error)
{
    rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new((int) options->topic_count);
    for (size_t i = 0; i < options->topic_count; i++) {
        rd_kafka_topic_partition_list_add(topics, options->topics[i], RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(member->client.handle, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
        ? 0
        : sl_kafka_fail(&member->client, code, "cannot consume", error);
}

static int start(
    struct member *member, const struct sl_reader_options *options, struct sluice_error *error)
{
    static const char *const defaults[] = {"queued.min.messages", "10000",
        "queued.max.messages.kbytes", "16384", "session.timeout.ms", "10000",
        "heartbeat.interval.ms", "3000", "max.poll.interval.ms", "600000",
        "topic.metadata.refresh.interval.ms", "1000", "fetch.error.backoff.ms", "100", NULL};
    static const char *const properties[] = {"enable.partition.eof", "true", "enable.auto.commit",
        "false", "enable.auto.offset.store", "false", "auto.offset.reset", "earliest",
        "partition.assignment.strategy", "range", NULL};
    const struct sl_kafka_setup setup = {.type = RD_KAFKA_CONSUMER,
        .group = options->consumer,
        .defaults = defaults,
        .properties = properties,
        .on_rebalance = on_rebalance};
    if (sl_kafka_client_open(member->kafka, &setup, &member->client, error) != 0) {
        return -1;
    }
    member->client.owner = member;
    member->client.is_member = true;
    rd_kafka_poll_set_consumer(member->client.handle);
    member->queue = rd_kafka_queue_get_consumer(member->client.handle);
    if (subscribe(member, options, error) != 0) {
        return -1;
    }
    return member->owner.loop == NULL
        ? 0
        : sl_kafka_wake_open(member->owner.loop, member->queue, on_wake, CHECK_INTERVAL_MS, on_time,
              member, &member->wake, error);
}

int sl_kafka_open_member(struct sl_kafka *kafka, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error)
{
    struct member *member = sl_allocate(sizeof(*member));
    if (member == NULL) {
        return sl_fail_memory(error, "a reader");
    }
    member->base.ops = &member_ops;
    member->kafka = kafka;
    member->owner = *wake;
    sl_kafka_records_init(&member->records);
    if (start(member, options, error) != 0) {
        close_member(&member->base);
        return -1;
    }
    *ret_reader = &member->base;
    return 0;
}
