#include "broker/broker.h"

#include "base/error.h"
#include "base/url.h"
#include "broker/kafka.h"
#include "broker/local.h"
#include "broker/ops.h"

int sl_broker_open(const char *url, struct sl_broker **ret_broker, struct sluice_error *error)
{
    struct sl_text file;
    if (url != NULL && sl_url_parse_file(sl_text_of(url), "local", &file)) {
        return sl_local_open(file.data, ret_broker, error);
    }
    if (url != NULL && strncmp(url, "kafka:", 6) == 0) {
        return sl_kafka_open(url, ret_broker, error);
    }
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "'%.*s...' is no broker's URL; use local:FILE or kafka://host:port",
        url == NULL ? 0 : (int) strcspn(url, ":@"), url == NULL ? "" : url);
}

void sl_broker_close(struct sl_broker *broker)
{
    if (broker != NULL) {
        broker->ops->close(broker);
    }
}

const char *sl_broker_epoch(struct sl_broker *broker)
{
    return broker->ops->epoch == NULL ? broker->epoch : broker->ops->epoch(broker);
}

int sl_broker_append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error)
{
    return broker->ops->append(broker, append, ret_rejected, error);
}

int sl_broker_append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error)
{
    return broker->ops->append_once(broker, append, error);
}

int sl_broker_attach(struct sl_broker *broker, uv_loop_t *loop, struct sluice_error *error)
{
    return broker->ops->attach == NULL ? 0 : broker->ops->attach(broker, loop, error);
}

bool sl_broker_needs_lease(const struct sl_broker *broker)
{
    return broker->needs_lease;
}

bool sl_broker_is_dense(const struct sl_broker *broker)
{
    return broker->is_dense;
}

int sl_broker_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
{
    return broker->ops->source_position(broker, source, ret_position, error);
}

int sl_broker_each_source(
    struct sl_broker *broker, sl_source_visit visit, void *context, struct sluice_error *error)
{
    if (broker->ops->each_source == NULL) {
        return sl_fail(error, SLUICE_UNSUPPORTED, SLUICE_REJECT,
            "this broker does not know who wrote to its topics");
    }
    return broker->ops->each_source(broker, visit, context, error);
}

int sl_broker_each_partition(
    struct sl_broker *broker, sl_partition_visit visit, void *context, struct sluice_error *error)
{
    return broker->ops->each_partition(broker, visit, context, error);
}

int sl_broker_committed(struct sl_broker *broker, const char *consumer, struct sl_text topic,
    int32_t partition, int64_t *ret_offset, struct sluice_error *error)
{
    return broker->ops->committed(broker, consumer, topic, partition, ret_offset, error);
}

int sl_broker_time_at(struct sl_broker *broker, struct sl_text topic, int32_t partition,
    int64_t offset, int64_t *ret_time_ms, struct sluice_error *error)
{
    return broker->ops->time_at(broker, topic, partition, offset, ret_time_ms, error);
}

int sl_broker_retain(struct sl_broker *broker, int64_t now_ms, int64_t age_ms_max, int64_t size_max,
    int64_t *ret_deleted, struct sluice_error *error)
{
    struct sl_retention retention = {
        .now_ms = now_ms, .age_ms_max = age_ms_max, .size_max = size_max};
    return broker->ops->retain(broker, &retention, ret_deleted, error);
}

int sl_reader_open(struct sl_broker *broker, const struct sl_reader_options *options,
    uv_loop_t *loop, sl_reader_on_readable on_readable, void *context,
    struct sl_reader **ret_reader, struct sluice_error *error)
{
    struct sl_reader_wake wake = {
        .loop = on_readable == NULL ? NULL : loop, .on_readable = on_readable, .context = context};
    for (size_t i = 0; i < options->topic_count; i++) {
        if (!sl_event_is_topic(sl_text_of(options->topics[i]))) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "'%.64s' is no topic name; use 1 to %d letters, digits, '.', '_' and '-'",
                options->topics[i], SLUICE_TOPIC_SIZE_MAX);
        }
    }
    if (options->topic_count > SL_BROKER_TOPICS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "more than %d topics for one reader",
            SL_BROKER_TOPICS_MAX);
    }
    return broker->ops->open_reader(broker, options, &wake, ret_reader, error);
}

int sl_reader_next(struct sl_reader *reader, size_t count_max, const struct sl_record **ret_records,
    size_t *ret_count, struct sluice_error *error)
{
    return reader->ops->next(reader, count_max, ret_records, ret_count, error);
}

int64_t sl_reader_position(const struct sl_reader *reader, struct sl_text topic, int32_t partition)
{
    return reader->ops->position == NULL ? -1 : reader->ops->position(reader, topic, partition);
}

bool sl_reader_is_cut_off(const struct sl_reader *reader)
{
    return reader->ops->is_cut_off != NULL && reader->ops->is_cut_off(reader);
}

int sl_reader_commit(struct sl_reader *reader, struct sl_text topic, int32_t partition,
    int64_t offset, struct sluice_error *error)
{
    return reader->ops->commit(reader, topic, partition, offset, error);
}

int sl_reader_flush(struct sl_reader *reader, struct sluice_error *error)
{
    return reader->ops->flush(reader, error);
}

int sl_reader_rewind(struct sl_reader *reader, struct sluice_error *error)
{
    return reader->ops->rewind(reader, error);
}

void sl_reader_close(struct sl_reader *reader)
{
    if (reader != NULL) {
        reader->ops->close(reader);
    }
}
