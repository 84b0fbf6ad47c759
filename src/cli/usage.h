/*
 * cli/usage.h - the help texts, made from the tables of commands and options.
 */
#ifndef SL_CLI_USAGE_H
#define SL_CLI_USAGE_H

#include <stdio.h>

#include "cli/command.h"

/**
 * Write what sluice is, its commands and where to begin.
 */
void sl_usage_write_overview(FILE *stream);

/**
 * Write one command's usage, examples, flags and keys.
 */
void sl_usage_write_command(FILE *stream, const struct sl_command *command);

/**
 * Write every key with its type, default, variable and meaning.
 */
void sl_usage_write_keys(FILE *stream);

#endif
