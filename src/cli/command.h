/*
 * cli/command.h - what a subcommand is, and the table of all of them.
 *
 * Data goes to stdout, messages to stderr. A command returns the exit status: 0 done, 1 failed,
 * 2 used in a wrong way.
 */
#ifndef SL_CLI_COMMAND_H
#define SL_CLI_COMMAND_H

#include "cli/config.h"

enum sl_exit { SL_EXIT_DONE = 0, SL_EXIT_FAILED = 1, SL_EXIT_USAGE = 2 };

enum { SL_FLAGS_MAX = 8, SL_POSITIONALS_MAX = 64, SL_CONFIG_FLAGS_MAX = 64 };

/* A flag of one command; config keys are flags of every command and need no row. */
struct sl_flag {
    const char *name;       /* without the dashes */
    const char *value_name; /* "TOPIC", or NULL if it takes no value */
    const char *help;
};

struct sl_arguments;

struct sl_command {
    const char *name;    /* "tail", "dead-letter list" */
    const char *summary; /* one line, for the list of commands */
    const char *usage;   /* what follows the name in the usage line */
    const char *text;    /* examples first, then what one must know; ends with a line end */
    const char *sections; /* which options its help lists, with spaces: "database relay" */
    struct sl_flag flags[SL_FLAGS_MAX];
    int (*run)(const struct sl_arguments *arguments);
};

/* A command line taken apart. All texts are argv's. */
struct sl_arguments {
    const struct sl_command *command;
    const char *config_file; /* --config FILE, or NULL */
    struct sl_config_flag config_flags[SL_CONFIG_FLAGS_MAX];
    size_t config_flag_count;
    const char *values[SL_FLAGS_MAX]; /* by the row of the command's flag; NULL: not given */
    const char *positionals[SL_POSITIONALS_MAX];
    size_t positional_count;
    bool wants_help;
    char *const *environment; /* as environ */
};

extern const struct sl_command *const sl_commands[];
extern const size_t sl_command_count;

/**
 * Take a command line (without program and command) apart.
 *
 * 0, or -1 with `reason` saying what is wrong and what was probably meant. Pure.
 */
int sl_arguments_parse(const struct sl_command *command, int count, char *const *texts,
    struct sl_arguments *ret_arguments, char reason[SL_OPTION_REASON_SIZE])
    __attribute__((warn_unused_result));

/**
 * The value of a flag by its name: NULL if it was not given, "" for a flag without value.
 */
const char *sl_arguments_value(const struct sl_arguments *arguments, const char *name);

/**
 * Read the config that the arguments ask for; on -1 every mistake has been told on stderr.
 */
int sl_arguments_load(const struct sl_arguments *arguments, struct sl_config *ret_config)
    __attribute__((warn_unused_result));

/**
 * Tell on stderr that the command was used in a wrong way; printf's format. Returns SL_EXIT_USAGE.
 */
int sl_usage_error(const struct sl_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/**
 * Tell on stderr that something failed; printf's format. Returns SL_EXIT_FAILED.
 */
int sl_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * The first database of the config, or NULL after having told that none is set.
 */
const char *sl_config_need(const struct sl_config *config, enum sl_option_id id);

#endif
