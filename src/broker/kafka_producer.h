/*
 * broker/kafka_producer.h - appending to Kafka: nothing lost, nothing overtaken, and a restart adds
 * no duplicates.
 *
 * One idempotent producer with all acknowledgements and no delivery time-out. librdkafka sends
 * again by itself what a broker has not acknowledged, in order; we never do that with a single
 * message. As soon as a message is reported as failed, the producer is given up with all that it
 * holds, every append in hand fails, and the relay asks for the source's position again. Behind a
 * failed message of a partition none is let through, by the sequence numbers that a broker checks.
 * It takes any number, though, from a producer that it does not know: so the first message to a
 * partition goes alone, and the others behind it when it is acknowledged.
 *
 * Whether a message that was on its way is in the log is then unknown. So after a failure, and
 * after a start, each topic's tail is read before the first append to it, and an event whose id is
 * there is passed over. The same goes for the others of a piece in which one event was condemned.
 *
 * A broker refuses a batch of messages as a whole: one message too large condemns its neighbours.
 * If an answer condemns more than one message, the next append sends each message alone, which
 * names the one that is meant.
 *
 *   answer                              | what becomes of the append
 *   ------------------------------------+--------------------------------------------------
 *   all acknowledged                    | done
 *   one message condemned               | rejected, with its index
 *   several in one batch condemned      | outage; the next append sends one by one
 *   not all within SL_KAFKA_APPEND_MS   | outage
 *   all else                            | outage
 */
#ifndef SL_BROKER_KAFKA_PRODUCER_H
#define SL_BROKER_KAFKA_PRODUCER_H

#include "broker/kafka.h"
#include "broker/kafka_wake.h"

enum {
    SL_KAFKA_ONCE_MAX = 4096, /* redriven events that are remembered */
    SL_KAFKA_APPEND_MS = 6000 /* a relay's lease outlives an append that began under it */
};

struct sl_kafka_piece;

struct sl_kafka_topic;

/* An event of a piece, and its message on its way: what librdkafka keeps for us. */
struct sl_kafka_slot {
    struct sl_kafka_piece *piece;
    struct sl_kafka_topic *topic;
    rd_kafka_headers_t *headers; /* until it is sent */
    int32_t partition;           /* where its key puts it; -1: without a key, anywhere */
    bool is_sent;                /* or passed over */
    bool is_acknowledged;
};

/* An append in hand. */
struct sl_kafka_piece {
    struct sl_kafka_piece *next;
    struct sl_append append;
    int64_t begun_ms;     /* monotonic */
    size_t unsent_count;  /* messages that must wait for others */
    size_t waiting_count; /* messages that nothing is known of yet */
    size_t condemned_count;
    size_t condemned; /* the first of them */
    rd_kafka_resp_err_t condemned_code;
    bool is_once;
    struct sl_kafka_slot slots[];
};

/* What a partition knows of this client. */
enum sl_kafka_acquaintance { SL_KAFKA_STRANGER, SL_KAFKA_INTRODUCING, SL_KAFKA_KNOWN };

/* A topic that is written. */
struct sl_kafka_topic {
    rd_kafka_topic_t *handle; /* the producer's; NULL until it is needed */
    enum sl_kafka_acquaintance *partitions;
    int32_t partition_count;
    bool is_prepared;    /* it exists, and its tail has been read since the last doubt */
    bool is_written;     /* since then */
    int64_t prepared_ms; /* monotonic */
    int64_t tail_ms;     /* Unix time: the tail has been read from here on */
    int64_t size_max;    /* max.message.bytes; 0: not known */
};

struct sl_kafka_producer {
    struct sl_kafka *kafka;
    struct sl_kafka_client client;
    rd_kafka_queue_t *queue;
    struct sl_kafka_wake *wake;
    int64_t batch_size;   /* the client's; a batch must fit each topic, too */
    bool is_one_by_one;   /* the client's */
    bool is_isolating;    /* the next client is to send one by one */
    bool has_compression; /* then sizes are only known by the broker */
    bool is_failed;       /* a message was reported as failed */
    rd_kafka_resp_err_t failure;
    size_t flying_count; /* messages on their way */
    struct sl_kafka_piece *pieces;
    struct sl_table topics; /* name -> struct sl_kafka_topic */
    struct sl_kafka_seen seen;
    struct sl_kafka_seen once; /* redriven, acknowledged */
    bool *ret_is_closed;       /* somebody up the stack wants to know */
};

/**
 * The producer of a broker, made if need be; connects to nothing yet. NULL without memory.
 */
struct sl_kafka_producer *sl_kafka_producer_of(struct sl_kafka *kafka);

/**
 * Give up what is pending, and the producer. NULL is fine.
 */
void sl_kafka_producer_close(struct sl_kafka_producer *producer);

/**
 * Make the client, or another if what it must do has changed and nothing is on its way.
 */
int sl_kafka_producer_start(struct sl_kafka_producer *producer, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * End the client and forget what is on its way; every topic is in doubt again.
 */
void sl_kafka_producer_stop(struct sl_kafka_producer *producer);

/**
 * From now on it is unknown what is in the topics: their tails are read again.
 */
void sl_kafka_producer_doubt(struct sl_kafka_producer *producer);

/**
 * Free a piece, and what has not been sent of it. NULL is fine.
 */
void sl_kafka_piece_free(struct sl_kafka_piece *piece);

/**
 * Send what may be sent of a piece. -1: the producer must be given up (is_failed).
 */
int sl_kafka_piece_send(struct sl_kafka_producer *producer, struct sl_kafka_piece *piece,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Take what librdkafka has to report, and end the pieces that are done or have failed. The broker
 * may be closed by a piece's on_done: false then.
 */
bool sl_kafka_producer_serve(struct sl_kafka_producer *producer, int timeout_ms);

/**
 * Whether an event of that time may lie before what was read of the topic's tail, and be one of
 * those that a relay has sent before: a transaction that was open for long has such events.
 */
bool sl_kafka_topic_is_unread(
    const struct sl_kafka_producer *producer, const struct sl_kafka_topic *topic, int64_t time_ms);

/**
 * Make sure that a topic exists, learn its limit, and read its tail. `time_ms` is the oldest time
 * of an event that is to be looked for. `*ret_topic` is the producer's. A topic that may not be
 * made is SLUICE_REJECT.
 */
int sl_kafka_topic_prepare(struct sl_kafka_producer *producer, struct sl_text name, int64_t time_ms,
    struct sl_kafka_topic **ret_topic, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The topic's max.message.bytes as it is now; 0 if the cluster does not tell.
 */
int64_t sl_kafka_topic_size_max(struct sl_kafka_producer *producer, struct sl_text name);

/**
 * Read the end of a topic's partitions, from `time_ms` on and a few records more, and add the ids
 * to `seen`. Blocks for a bounded time; beyond a bound of records it is cut and says so in the log.
 */
int sl_kafka_tail_read(struct sl_kafka *kafka, const char *topic, int partition_count,
    int64_t time_ms, struct sl_kafka_seen *seen, struct sluice_error *error)
    __attribute__((warn_unused_result));

/** See broker/broker.h. */
int sl_kafka_append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error);
/** See broker/broker.h. */
int sl_kafka_append_once(
    struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error);
/** See broker/broker.h. */
int sl_kafka_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error);

#endif
