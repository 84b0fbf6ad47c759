/*
 * cli/option.h - the one table of what can be set.
 *
 * The YAML file, the environment, the command line, `config show`, the help texts and the reference
 * page are all made from it, so that a key has one name, one type and one set of limits everywhere:
 * `relay.attempts_max` in the file is SLUICE_RELAY_ATTEMPTS_MAX in the environment and
 * --relay.attempts_max=5 on the command line. Routes are the one thing that is no flat key; they
 * live in cli/routes.h.
 */
#ifndef SL_CLI_OPTION_H
#define SL_CLI_OPTION_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

enum sl_option_id {
    SL_OPTION_DATABASE,
    SL_OPTION_BROKER,
    SL_OPTION_RELAY_READ,
    SL_OPTION_RELAY_ENVELOPE,
    SL_OPTION_RELAY_ON_POISON,
    SL_OPTION_RELAY_ATTEMPTS_MAX,
    SL_OPTION_RELAY_RETRY_DELAY,
    SL_OPTION_RELAY_RETRY_DELAY_MAX,
    SL_OPTION_RELAY_BATCH_EVENTS,
    SL_OPTION_RELAY_POLL_INTERVAL,
    SL_OPTION_RELAY_RETENTION,
    SL_OPTION_RELAY_TABLE,
    SL_OPTION_RELAY_COLUMNS_ID,
    SL_OPTION_RELAY_COLUMNS_TOPIC,
    SL_OPTION_RELAY_COLUMNS_KEY,
    SL_OPTION_RELAY_COLUMNS_TYPE,
    SL_OPTION_RELAY_COLUMNS_PAYLOAD,
    SL_OPTION_RELAY_COLUMNS_HEADERS,
    SL_OPTION_RELAY_COLUMNS_CREATED_AT,
    SL_OPTION_RELAY_COLUMNS_STATUS,
    SL_OPTION_RELAY_COLUMNS_RETRY_COUNT,
    SL_OPTION_RELAY_COLUMNS_SENT_AT,
    SL_OPTION_RELAY_TYPE,
    SL_OPTION_RELAY_DELETE_SENT,
    SL_OPTION_LOCAL_RETENTION,
    SL_OPTION_LOCAL_SIZE_MAX,
    SL_OPTION_GATEWAY_LISTEN,
    SL_OPTION_GATEWAY_ORIGINS,
    SL_OPTION_GATEWAY_HEARTBEAT,
    SL_OPTION_GATEWAY_REPLAY_EVENTS,
    SL_OPTION_GATEWAY_REPLAY_SIZE,
    SL_OPTION_GATEWAY_CONNECTIONS_MAX,
    SL_OPTION_GATEWAY_STREAM_QUEUE_SIZE,
    SL_OPTION_GATEWAY_STREAM_QUEUE_AGE,
    SL_OPTION_GATEWAY_QUEUE_BUDGET,
    SL_OPTION_GATEWAY_RETRY,
    SL_OPTION_GATEWAY_CONNECT_TIMEOUT,
    SL_OPTION_GATEWAY_SNAPSHOT_TIMEOUT,
    SL_OPTION_GATEWAY_UPSTREAM_TIMEOUT,
    SL_OPTION_GATEWAY_TOKEN_KEY_FILES,
    SL_OPTION_GATEWAY_TOKEN_SECRET,
    SL_OPTION_GATEWAY_TOKEN_AUDIENCE,
    SL_OPTION_GATEWAY_TOKEN_ISSUER,
    SL_OPTION_GATEWAY_TOKEN_COOKIE,
    SL_OPTION_GATEWAY_TOKEN_LEEWAY,
    SL_OPTION_GATEWAY_TOKEN_SUBJECT_HEADER,
    SL_OPTION_CONSOLE_LISTEN,
    SL_OPTION_CONSOLE_READY_AGE_MAX,
    SL_OPTION_LOG_LEVEL,
    SL_OPTION_COUNT
};

enum sl_option_type {
    SL_OPTION_INT,
    SL_OPTION_DURATION,
    SL_OPTION_SIZE,
    SL_OPTION_BOOL,
    SL_OPTION_CHOICE,
    SL_OPTION_ADDRESS,   /* host:port */
    SL_OPTION_ADDRESSES, /* one or several */
    SL_OPTION_URL,
    SL_OPTION_URLS,    /* one or several */
    SL_OPTION_ORIGINS, /* scheme://host[:port], one or several */
    SL_OPTION_FILES,   /* names of files, one or several */
    SL_OPTION_TEXT,
    SL_OPTION_SECRET /* a text that only the environment, or a file that it names, may hold */
};

struct sl_option {
    const char *name;
    enum sl_option_type type;
    const char *default_text; /* as it would be written; NULL: not set */
    int64_t minimum;          /* of a number, in its own unit: 1, ms, bytes */
    int64_t maximum;
    const char *choices; /* the words of a choice, or the schemes of a URL, with spaces between */
    const char *later;   /* more of them, which are known but not in this version; or NULL */
    bool is_secret;      /* may hold a password: masked when shown, readable from a file */
    const char *help;    /* one line */
};

/* The longest value of one item, and the most items of a list. */
enum { SL_OPTION_VALUE_SIZE_MAX = 4096, SL_OPTION_ITEMS_MAX = 16, SL_OPTION_REASON_SIZE = 400 };

/**
 * The row of an option; the id must be one of the table. Never NULL; constant.
 */
const struct sl_option *sl_option_of(enum sl_option_id id);

/**
 * The option of a name, or -1.
 */
int sl_option_find(struct sl_text name);

/**
 * Whether a name is a section: whether there are options "NAME.something".
 */
bool sl_option_is_section(struct sl_text name);

/**
 * Whether an option takes several values.
 */
bool sl_option_is_list(const struct sl_option *option);

/**
 * Check one value (one item of a list) against the option's type and limits.
 *
 * `*ret_number` becomes its number (durations in ms, sizes in bytes, bools 0 and 1, choices their
 * index, others 0). On -1 `reason` says what is wrong with the value and what is allowed.
 */
int sl_option_check(const struct sl_option *option, struct sl_text value, int64_t *ret_number,
    char reason[SL_OPTION_REASON_SIZE]) __attribute__((warn_unused_result));

/**
 * Say what the option accepts, for an error or a help text: "a duration from 1ms to 1h".
 */
void sl_option_describe(const struct sl_option *option, struct sl_buffer *buffer);

/**
 * The option's environment variable: "SLUICE_RELAY_ATTEMPTS_MAX".
 */
void sl_option_environment_name(const struct sl_option *option, char ret_name[64]);

/**
 * The name in the table that a wrong one was probably meant to be, or NULL if none is near. A name
 * without its section, or with a wrong one, finds the full one too.
 */
const char *sl_option_nearest(struct sl_text wrong_name);

/**
 * Write a value with the password of a URL masked, if the option may hold one.
 */
void sl_option_write_masked(
    const struct sl_option *option, struct sl_text value, struct sl_buffer *buffer);

#endif
