/*
 * console/metrics.h - Prometheus' text format, written family by family.
 *
 * A family is begun once, with its help and type, and its samples follow at once: the format wants
 * them together. Times are given in ms and written in seconds, as the format's custom is.
 */
#ifndef SL_CONSOLE_METRICS_H
#define SL_CONSOLE_METRICS_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

enum sl_metrics_type { SL_METRICS_COUNTER, SL_METRICS_GAUGE, SL_METRICS_HISTOGRAM };

/* The most bytes of one page of metrics; what would pass it is left out, and the page says so. */
enum { SL_METRICS_SIZE_MAX = 1 << 20 };

struct sl_metrics {
    struct sl_buffer text;
    const char *name;
};

/* The value may hold any bytes; they are escaped. */
struct sl_metrics_label {
    const char *name;
    struct sl_text value;
};

struct sl_metrics_histogram {
    const int64_t *bounds_ms; /* upper bounds, rising; one fewer than counts, the last is open */
    const int64_t *counts;    /* of each bucket by itself */
    size_t count;             /* how many counts */
    int64_t sum_ms;
};

/**
 * Start an empty page.
 */
void sl_metrics_init(struct sl_metrics *metrics);

/**
 * Free the page.
 */
void sl_metrics_deinit(struct sl_metrics *metrics);

/**
 * Begin a family. `name` and `help` are constants of the program and outlive the page.
 */
void sl_metrics_begin(struct sl_metrics *metrics, const char *name, enum sl_metrics_type type,
    const char *help);

/**
 * One sample of the family: a whole number.
 */
void sl_metrics_number(struct sl_metrics *metrics, const struct sl_metrics_label *labels,
    size_t label_count, int64_t value);

/**
 * One sample of the family: a time, given in ms, written in seconds.
 */
void sl_metrics_time(struct sl_metrics *metrics, const struct sl_metrics_label *labels,
    size_t label_count, int64_t value_ms);

/**
 * One histogram of the family: its buckets, cumulated, its sum and its count.
 */
void sl_metrics_buckets(struct sl_metrics *metrics, const struct sl_metrics_label *labels,
    size_t label_count, const struct sl_metrics_histogram *histogram);

#endif
