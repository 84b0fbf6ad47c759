/*
 * broker/kafka.h - Apache Kafka behind the broker seam, through librdkafka.
 *
 * What is made when it is first needed, so that a command which only looks pays for nothing else:
 *
 *   look      a client without a group: metadata, offsets, topics, the tails of topics
 *   producer  an idempotent producer; see kafka_producer.h
 *   groups    a client for each consumer whose committed offsets are asked for
 *
 * Readers have clients of their own. librdkafka's threads never call into ours but to log: what
 * they have to tell waits in queues, whose descriptor wakes the loop.
 */
#ifndef SL_BROKER_KAFKA_H
#define SL_BROKER_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "base/buffer.h"
#include "base/table.h"
#include "broker/kafka_seen.h"
#include "broker/ops.h"

enum {
    SL_KAFKA_PROPERTIES_MAX = 64,
    SL_KAFKA_CAUSE_SIZE = 256,
    SL_KAFKA_ASK_TIMEOUT_MS = 2000, /* for one question to the cluster */
    SL_KAFKA_DOWN_MS = 3000         /* how long an unanswered question answers the next ones */
};

struct sl_kafka;

/* A client property of the user's, out of the properties file. */
struct sl_kafka_property {
    char *name;
    char *value;
};

/* A librdkafka client, and the last that it said about its connections. */
struct sl_kafka_client {
    rd_kafka_t *handle; /* NULL: not made */
    struct sl_kafka *kafka;
    void *owner;    /* for callbacks */
    bool is_member; /* all it has to say comes with its records, and must not be polled for alone */
    bool is_down;
    char cause[SL_KAFKA_CAUSE_SIZE];
};

/* What differs from client to client; NULL and 0 are defaults. */
struct sl_kafka_setup {
    rd_kafka_type_t type;
    const char *group;
    const char *const *defaults;   /* name, value, ..., NULL; the user's properties go over them */
    const char *const *properties; /* these go over the user's */
    void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *);
    void (*on_rebalance)(
        rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *);
};

struct sl_kafka_producer;

struct sl_kafka {
    struct sl_broker base;
    char *servers; /* host:port[,host:port...] */
    struct sl_kafka_property properties[SL_KAFKA_PROPERTIES_MAX];
    size_t property_count;
    bool may_create_topics;
    int partition_count;   /* of topics that are made; -1: the cluster's default */
    uv_loop_t *loop;       /* NULL until attached */
    int64_t append_ms_max; /* an append that takes longer is an outage */
    struct sl_kafka_client look;
    struct sl_table groups; /* name -> struct sl_kafka_client */
    int64_t down_until_ms;  /* monotonic: until then nobody asks again */
    struct sluice_error down_error;
    struct sl_kafka_producer *producer;
};

/**
 * See sl_broker_open; `url` begins with "kafka:". Connects to nothing yet.
 *
 * kafka://host:port[,host:port...][?create_topics=true|false][&partitions=N][&properties=FILE]
 */
int sl_kafka_open(const char *url, struct sl_broker **ret_broker, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Make a client; `client` must be zeroed but for nothing. SLUICE_INVALID if librdkafka refuses a
 * property. Does not wait for a connection.
 */
int sl_kafka_client_open(struct sl_kafka *kafka, const struct sl_kafka_setup *setup,
    struct sl_kafka_client *client, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * End a client; its queues and topics must have been given back. Fine if it was not made. Ends its
 * threads, which takes milliseconds whether or not the cluster answers.
 */
void sl_kafka_client_close(struct sl_kafka_client *client);

/**
 * Make the client that looks, if it is not there. SLUICE_UNAVAILABLE at once if the cluster has
 * left a question unanswered a moment ago.
 */
int sl_kafka_look(struct sl_kafka *kafka, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Report a failure of librdkafka as ours: an answer that condemns a message is SLUICE_REJECT,
 * everything else SLUICE_RETRY. `what` says what could not be done: "cannot read topic t".
 * Always -1.
 */
int sl_kafka_fail(struct sl_kafka_client *client, rd_kafka_resp_err_t code, const char *what,
    struct sluice_error *error);

/**
 * As sl_kafka_fail, and if nobody answered, the next questions of this broker fail at once for
 * SL_KAFKA_DOWN_MS.
 */
int sl_kafka_fail_ask(struct sl_kafka_client *client, rd_kafka_resp_err_t code, const char *what,
    struct sluice_error *error);

/**
 * Whether an answer condemns the message that it is given to.
 */
bool sl_kafka_is_condemning(rd_kafka_resp_err_t code);

/**
 * Take the offsets of `list`, whose offsets are times or RD_KAFKA_OFFSET_BEGINNING / _END, in one
 * question. A time after the last record gives RD_KAFKA_OFFSET_END.
 */
int sl_kafka_ask_offsets(struct sl_kafka_client *client, rd_kafka_topic_partition_list_t *list,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Set the epoch from the cluster's id, if it is known by now; waits for it `timeout_ms` at most.
 */
void sl_kafka_learn_epoch(struct sl_kafka *kafka, rd_kafka_t *handle, int timeout_ms);

/** See broker/broker.h. */
int sl_kafka_each_partition(
    struct sl_broker *broker, sl_partition_visit visit, void *context, struct sluice_error *error);
/** See broker/broker.h. */
int sl_kafka_committed(struct sl_broker *broker, const char *consumer, struct sl_text topic,
    int32_t partition, int64_t *ret_offset, struct sluice_error *error);
/** See broker/broker.h. */
int sl_kafka_time_at(struct sl_broker *broker, struct sl_text topic, int32_t partition,
    int64_t offset, int64_t *ret_time_ms, struct sluice_error *error);
/** See broker/broker.h: a reader without a group. */
int sl_kafka_open_reader(struct sl_kafka *kafka, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error);
/** See broker/broker.h: a member of a group. */
int sl_kafka_open_member(struct sl_kafka *kafka, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error);

#endif
