/*
 * broker/broker.h - topics of events that producers append to and consumers read.
 *
 * One const vtable with an implementation each: the local log (a SQLite file), and Kafka.
 * A topic has partitions; a key's events are all in one of them (murmur2, as Java's clients), and
 * an event's place there is its offset, which never repeats. A broker has an epoch: it changes when
 * the broker's contents are another's, so that an offset of one is never taken for the other's.
 *
 * A broker object and what is opened on it belong to one thread.
 */
#ifndef SL_BROKER_BROKER_H
#define SL_BROKER_BROKER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "event/event.h"
#include "event/position.h"

enum { SL_BROKER_EPOCH_SIZE = 9, SL_BROKER_TOPICS_MAX = 64 };

struct sl_broker;
struct sl_reader;

/* What sl_broker_append answers when its end will be told later. */
enum { SL_APPEND_PENDING = 1 };

/*
 * How a pending append ended, on the loop's thread, once: `status` is 0 or -1 as sl_broker_append
 * has it, `rejected` the index of a condemned event or SIZE_MAX. `error` is borrowed, and only to
 * be read if the status is -1.
 */
typedef void (*sl_append_on_done)(
    void *context, int status, size_t rejected, const struct sluice_error *error);

/* A piece of the outbox on its way. */
struct sl_append {
    const struct sl_event *events;      /* borrowed until the append is done */
    size_t count;                       /* may be 0: only the position moves */
    const char *source_id;              /* whose events these are: the id of the outbox database */
    struct sl_position position_before; /* where that source must stand in the broker now, ... */
    struct sl_position position_after;  /* ... and where it stands with these */
    sl_append_on_done on_done;          /* NULL: wait for the end */
    void *context;
};

/* A source as its own database has it. */
struct sl_source {
    const char *id;
    struct sl_position confirmed; /* all up to here is in the broker ... */
    int64_t confirmed_ms;         /* ... since then (Unix time) */
};

/* An event as it stands in a topic. */
struct sl_record {
    struct sl_event event;
    int32_t partition;
    int64_t offset;
};

enum sl_reader_start {
    SL_READ_COMMITTED, /* where the consumer's commits end; at the start if there are none */
    SL_READ_START,     /* everything that is retained */
    SL_READ_END,       /* only what comes from now on */
    SL_READ_TAIL,      /* the last tail_count records of each partition, then what comes */
    SL_READ_TIME       /* from the first record that was appended at or after time_ms */
};

struct sl_reader_options {
    const char *const *topics; /* borrowed for the call; a topic that is missing is waited for */
    size_t topic_count;
    enum sl_reader_start start;
    int64_t tail_count;   /* SL_READ_TAIL */
    int64_t time_ms;      /* SL_READ_TIME */
    const char *consumer; /* SL_READ_COMMITTED, and for sl_reader_commit; else NULL */
};

/* The ends of one partition, and a consumer's place in it. */
struct sl_partition_state {
    struct sl_text topic;
    int32_t partition;
    int64_t first_offset; /* the oldest that is retained */
    int64_t next_offset;  /* the next one to be appended */
};

typedef void (*sl_reader_on_readable)(void *context);

/**
 * Open the broker of a URL: "local:FILE" (made if it is missing), or
 * "kafka://host:port[,host:port...]", with "?properties=FILE" for TLS and passwords.
 *
 * On success `*ret_broker` is the caller's. May block for disk access; Kafka is not connected to
 * before something is asked of it. SLUICE_INVALID for what is no broker's URL, else as the disk
 * answers.
 */
int sl_broker_open(const char *url, struct sl_broker **ret_broker, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Close the broker; all its readers must be closed. What is pending is given up: nobody is told.
 * NULL is fine.
 */
void sl_broker_close(struct sl_broker *broker);

/**
 * The epoch: 8 hexadecimal characters that change when the broker's contents are another's. Kafka's
 * is made of the cluster's id; may wait for a moment to hear it, and is 00000000 until it is heard.
 */
const char *sl_broker_epoch(struct sl_broker *broker);

/**
 * Let the broker work on a loop, of which it becomes a part until sl_broker_close: appends with
 * `on_done` may then be pending. Brokers that do everything at once have no need of it.
 */
int sl_broker_attach(struct sl_broker *broker, uv_loop_t *loop, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Whether nothing in the broker keeps two relays of one source apart, so that a relay must hold its
 * database's lease while it appends.
 */
bool sl_broker_needs_lease(const struct sl_broker *broker);

/**
 * Whether a partition's offsets have no holes but at its beginning.
 */
bool sl_broker_is_dense(const struct sl_broker *broker);

/**
 * Append a piece of a source's events and move the source's position, durably.
 *
 * 0 if that is done; SL_APPEND_PENDING if `append->on_done` will tell (only with an on_done, on a
 * broker that is attached to a loop; one append at a time). SLUICE_CONFLICT if the source does not
 * stand at position_before: another relay has moved it, ask sl_broker_source_position. A
 * SLUICE_REJECT error condemns one event; `*ret_rejected` is its index, and no event behind it of
 * the same key was appended. What was appended all the same is passed over when it is appended
 * again. Other errors are outages: ask sl_broker_source_position, then try again.
 */
int sl_broker_append(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Append one event out of its turn (a redrive, or one of no outbox), unless its id was appended
 * this way before, as far as the broker can tell. The source and its positions are of no account;
 * the rest is as sl_broker_append has it, but that any number may be pending.
 */
int sl_broker_append_once(struct sl_broker *broker, const struct sl_append *append,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * From where a source's events are to be appended: behind it, none is in the broker, or the broker
 * will know those that are and pass over them. May block, for a bounded time.
 */
int sl_broker_source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Visit the id of every source whose events were ever appended here. SLUICE_UNSUPPORTED on a broker
 * that does not know: others may write to its topics, too.
 */
int sl_broker_each_source(struct sl_broker *broker,
    void (*visit)(void *context, struct sl_text source_id), void *context,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Visit every partition of every topic, by topic name and partition number.
 */
int sl_broker_each_partition(struct sl_broker *broker,
    void (*visit)(void *context, const struct sl_partition_state *state), void *context,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The offset up to which a consumer has committed a partition, or -1 if it never has.
 */
int sl_broker_committed(struct sl_broker *broker, const char *consumer, struct sl_text topic,
    int32_t partition, int64_t *ret_offset, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The time of the event at an offset of a partition, or of the first one behind it; -1 if there is
 * none. For looking: it joins no consumer.
 */
int sl_broker_time_at(struct sl_broker *broker, struct sl_text topic, int32_t partition,
    int64_t offset, int64_t *ret_time_ms, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Delete what is older than `age_ms_max` (0: no limit) at `now_ms`, and the oldest records of all
 * topics while the payloads take more than `size_max` bytes (0: no limit). Does a bounded piece of
 * work; `*ret_deleted` is how many went, call again while it is not 0.
 */
int sl_broker_retain(struct sl_broker *broker, int64_t now_ms, int64_t age_ms_max, int64_t size_max,
    int64_t *ret_deleted, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Open a reader on all partitions of some topics.
 *
 * `on_readable` (may be NULL, and `loop` with it, for a reader that is only polled) is called on
 * the loop's thread when there may be something to read, at once if there is. On success
 * `*ret_reader` is the caller's.
 */
int sl_reader_open(struct sl_broker *broker, const struct sl_reader_options *options,
    uv_loop_t *loop, sl_reader_on_readable on_readable, void *context,
    struct sl_reader **ret_reader, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Take up to `count_max` records that are there now; `*ret_count` 0 means that there are none.
 *
 * Within a partition records come in offset order, without a gap but for what retention deleted.
 * The records are the reader's until the next call on it. Does not wait. After a failure nothing is
 * taken: the next call gives what this one would have.
 */
int sl_reader_next(struct sl_reader *reader, size_t count_max, const struct sl_record **ret_records,
    size_t *ret_count, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Where a reader stands in a partition: all records below have been handed out, or are none. -1 if
 * it does not read the partition yet. An offset below the partition's end need not be a record's,
 * so a reader that waits for "everything up to here" asks this and does not wait for a last record.
 */
int64_t sl_reader_position(const struct sl_reader *reader, struct sl_text topic, int32_t partition);

/**
 * Whether the broker cannot be reached for now. What it has comes once it can; nothing is lost.
 */
bool sl_reader_is_cut_off(const struct sl_reader *reader);

/**
 * Note that the consumer is done with everything below `offset` of a partition. Durable with the
 * next sl_reader_flush; call it only after the database has committed.
 */
int sl_reader_commit(struct sl_reader *reader, struct sl_text topic, int32_t partition,
    int64_t offset, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Make the noted commits durable; does nothing if there are none.
 */
int sl_reader_flush(struct sl_reader *reader, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Go back to the committed places: what was taken and not committed comes again.
 */
int sl_reader_rewind(struct sl_reader *reader, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Close the reader; no callback comes after this. NULL is fine.
 */
void sl_reader_close(struct sl_reader *reader);

/**
 * The partition of a key among `partition_count`: murmur2 as Kafka's Java client computes it.
 */
int32_t sl_broker_partition_of(struct sl_text key, int32_t partition_count);

#endif
