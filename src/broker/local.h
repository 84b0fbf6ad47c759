/*
 * broker/local.h - the local log: the broker in one SQLite file, for one machine.
 *
 * Several processes append and read at once. An append is one transaction of the file: its records,
 * the partitions' next offsets and the source's position are there together or not at all, which is
 * why a relay that was killed resumes without a duplicate.
 */
#ifndef SL_BROKER_LOCAL_H
#define SL_BROKER_LOCAL_H

#include "base/table.h"
#include "broker/ops.h"
#include "sqlite/connection.h"

enum {
    SL_LOCAL_PARTITION_COUNT = 4, /* of a topic that is made by its first event */
    SL_LOCAL_OFFSET_BITS = 40
};

struct sl_local_partition {
    int64_t id;
    int64_t first_offset;
    int64_t next_offset;
    bool is_changed; /* within an append: next_offset is to be written */
};

struct sl_local_topic {
    int64_t id;
    uint64_t loaded_in; /* the append that read its partitions last */
    int32_t partition_count;
    struct sl_local_partition partitions[];
};

struct sl_local {
    struct sl_broker base;
    struct sl_sqlite connection;
    struct sl_table topics; /* name -> struct sl_local_topic; a topic never changes its ids */
    uint64_t append_number;
};

/**
 * See sl_broker_open; `file` is a path.
 */
int sl_local_open(const char *file, struct sl_broker **ret_broker, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Find a topic with its partitions as they are now; `*ret_topic` is the log's, NULL if the topic
 * does not exist. With `is_made` a missing topic is made, which needs an open transaction.
 */
int sl_local_find_topic(struct sl_local *local, struct sl_text name, bool is_made,
    struct sl_local_topic **ret_topic, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Forget the topics that are known by name: after a rollback their ids may not exist.
 */
void sl_local_forget_topics(struct sl_local *local);

/** See broker/broker.h. */
int sl_local_append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error);
/** See broker/broker.h. */
int sl_local_append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error);
/** See broker/broker.h. */
int sl_local_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error);
/** See broker/broker.h. */
int sl_local_retain(struct sl_broker *broker, const struct sl_retention *retention,
    int64_t *ret_deleted, struct sluice_error *error);
/** See broker/broker.h. */
int sl_local_open_reader(struct sl_broker *broker, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error);
/** See broker/broker.h. */
int sl_local_committed(struct sl_broker *broker, const char *consumer, struct sl_text topic,
    int32_t partition, int64_t *ret_offset, struct sluice_error *error);

#endif
