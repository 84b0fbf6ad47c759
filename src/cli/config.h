/*
 * cli/config.h - what is set, where it was set, and nothing else.
 *
 * A value comes from the first of: command line, environment, file, default. All of them are
 * checked, also those that another one wins over, and all mistakes are reported together. Texts
 * belong to the config.
 */
#ifndef SL_CLI_CONFIG_H
#define SL_CLI_CONFIG_H

#include "cli/option.h"
#include "cli/routes.h"
#include "store/mapping.h"

enum sl_config_source { SL_FROM_DEFAULT, SL_FROM_FILE, SL_FROM_ENVIRONMENT, SL_FROM_FLAG };

struct sl_config_value {
    enum sl_config_source source;
    int line; /* SL_FROM_FILE */
    char *items[SL_OPTION_ITEMS_MAX];
    size_t item_count; /* 0: not set and no default */
    int64_t number;
};

struct sl_config {
    char *file; /* as named by --config, or NULL */
    struct sl_config_value values[SL_OPTION_COUNT];
    struct sl_config_routes routes;
};

/* An option on the command line. */
struct sl_config_flag {
    enum sl_option_id id;
    const char *value;
};

struct sl_config_sources {
    const char *file;        /* NULL: none */
    char *const *environment; /* as environ; NULL: none */
    const struct sl_config_flag *flags;
    size_t flag_count;
};

/**
 * Read the config from all its sources.
 *
 * Blocks for the file. On 0 `*ret_config` is the caller's, to be given to sl_config_deinit. On -1
 * `problems` holds at least one line, and nothing is to be freed but them.
 */
int sl_config_load(const struct sl_config_sources *sources, struct sl_config *ret_config,
    struct sl_problems *problems) __attribute__((warn_unused_result));

/**
 * Note the variables of an environment that look like one of ours but for a slip. They are no
 * mistakes of the config: other programs may set SLUICE_GATEWAY_PORT for reasons of their own (as
 * Kubernetes does for a service of that name).
 */
void sl_config_check_environment(char *const *environment, struct sl_problems *warnings);

/**
 * Free what the config holds.
 */
void sl_config_deinit(struct sl_config *config);

/**
 * The text of an option (of a list, its first item), or NULL if it is not set. The config's.
 */
const char *sl_config_text(const struct sl_config *config, enum sl_option_id id);

/**
 * The number of an option: an int, ms, bytes, 0 or 1, the index of a choice; 0 if it is not set.
 */
int64_t sl_config_number(const struct sl_config *config, enum sl_option_id id);

/**
 * Where a value comes from, as in "default", "app.yaml line 7", "SLUICE_BROKER", "--broker".
 */
void sl_config_write_place(
    const struct sl_config *config, enum sl_option_id id, struct sl_buffer *buffer);

/**
 * The mapped table that the relay is to read; false if it reads sluice's own outbox. The texts are
 * the config's.
 */
bool sl_config_mapping(const struct sl_config *config, struct sl_mapping *ret_mapping);

/**
 * Note what no single value shows: stream routes without a broker.
 */
void sl_config_check_whole(const struct sl_config *config, struct sl_problems *problems);

#endif
