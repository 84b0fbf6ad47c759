/*
 * console/sampler.h - looks at the databases and asks the blocking sources, on a worker's thread.
 *
 * A sampler is used by one thread at a time, but not always by the same.
 */
#ifndef SL_CONSOLE_SAMPLER_H
#define SL_CONSOLE_SAMPLER_H

#include "console/console.h"
#include "store/store.h"

/* A database that is looked at, and how its position has moved. */
struct sl_sampled_database {
    char *url;
    char *name; /* the URL with its password masked */
    struct sl_store *store;
    struct sl_position position;
    int64_t moved_ms; /* monotonic: when the position last moved, or nothing was unsent */
};

struct sl_sampler {
    struct sl_sampled_database databases[SL_CONSOLE_DATABASES_MAX];
    size_t database_count;
    int64_t ready_age_max_ms;
    struct sl_console_source sources[SL_CONSOLE_SOURCES_MAX];
    size_t source_count;
};

/* What one look has found; the metrics page is complete but for the loop's sources. */
struct sl_sample {
    struct sl_metrics metrics;
    json_t *state;
    json_t *not_ready;
    json_t *not_alive;
};

/**
 * Take over the databases and sources of the options. -1 without memory.
 */
int sl_sampler_init(struct sl_sampler *sampler, const struct sl_console_options *options)
    __attribute__((warn_unused_result));

/**
 * Close the databases and free the rest.
 */
void sl_sampler_deinit(struct sl_sampler *sampler);

/**
 * Look. Blocks for the disk. The sample is the caller's, to be given to sl_sample_deinit.
 */
void sl_sampler_look(struct sl_sampler *sampler, struct sl_sample *ret_sample);

/**
 * Free a sample; it is empty afterwards. Fine on a zeroed one.
 */
void sl_sample_deinit(struct sl_sample *sample);

/**
 * The store of a database by its shown name, opened if need be; NULL with `error` if there is none
 * or it does not open. The sampler's.
 */
struct sl_store *sl_sampler_store(
    struct sl_sampler *sampler, const char *name, struct sluice_error *error);

#endif
