/*
 * broker/ops.h - the vtable behind broker/broker.h: what a broker must be able to do.
 *
 * Each member does what the function of the same name in broker.h documents; that comment is not
 * repeated here. An implementation embeds `struct sl_broker` or `struct sl_reader` as its first
 * member.
 */
#ifndef SL_BROKER_OPS_H
#define SL_BROKER_OPS_H

#include "broker/broker.h"

typedef void (*sl_source_visit)(void *context, struct sl_text source_id);
typedef void (*sl_partition_visit)(void *context, const struct sl_partition_state *state);

/* What wakes a reader. */
struct sl_reader_wake {
    uv_loop_t *loop; /* NULL: nobody */
    sl_reader_on_readable on_readable;
    void *context;
};

struct sl_retention {
    int64_t now_ms;
    int64_t age_ms_max;
    int64_t size_max;
};

struct sl_broker_ops {
    void (*close)(struct sl_broker *broker);
    const char *(*epoch)(struct sl_broker *broker); /* NULL: that of the struct is it */
    int (*append)(struct sl_broker *broker, const struct sl_append *append, size_t *ret_rejected,
        struct sluice_error *error);
    int (*append_once)(
        struct sl_broker *broker, const struct sl_append *append, struct sluice_error *error);
    int (*source_position)(struct sl_broker *broker, const struct sl_source *source,
        struct sl_position *ret_position, struct sluice_error *error);
    int (*each_source)(struct sl_broker *broker, sl_source_visit visit, void *context,
        struct sluice_error *error); /* NULL: does not know */
    int (*attach)(struct sl_broker *broker, uv_loop_t *loop, struct sluice_error *error);
    int (*each_partition)(struct sl_broker *broker, sl_partition_visit visit, void *context,
        struct sluice_error *error);
    int (*committed)(struct sl_broker *broker, const char *consumer, struct sl_text topic,
        int32_t partition, int64_t *ret_offset, struct sluice_error *error);
    int (*time_at)(struct sl_broker *broker, struct sl_text topic, int32_t partition,
        int64_t offset, int64_t *ret_time_ms, struct sluice_error *error);
    int (*retain)(struct sl_broker *broker, const struct sl_retention *retention,
        int64_t *ret_deleted, struct sluice_error *error);
    int (*open_reader)(struct sl_broker *broker, const struct sl_reader_options *options,
        const struct sl_reader_wake *wake, struct sl_reader **ret_reader,
        struct sluice_error *error);
};

struct sl_reader_ops {
    int (*next)(struct sl_reader *reader, size_t count_max, const struct sl_record **ret_records,
        size_t *ret_count, struct sluice_error *error);
    int (*commit)(struct sl_reader *reader, struct sl_text topic, int32_t partition, int64_t offset,
        struct sluice_error *error);
    int (*flush)(struct sl_reader *reader, struct sluice_error *error);
    int (*rewind)(struct sl_reader *reader, struct sluice_error *error);
    int64_t (*position)(const struct sl_reader *reader, struct sl_text topic,
        int32_t partition);                             /* NULL: never known */
    bool (*is_cut_off)(const struct sl_reader *reader); /* NULL: never */
    void (*close)(struct sl_reader *reader);
};

struct sl_broker {
    const struct sl_broker_ops *ops;
    char epoch[SL_BROKER_EPOCH_SIZE];
    bool needs_lease;
    bool is_dense;
};

struct sl_reader {
    const struct sl_reader_ops *ops;
};

#endif
