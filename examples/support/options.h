/*
 * support/options.h - a program's command line.
 */
#ifndef EXAMPLES_SUPPORT_OPTIONS_H
#define EXAMPLES_SUPPORT_OPTIONS_H

#include <stdint.h>

/* An option `--name=value` or `--name value`, with a whole number or a text. */
struct option_field {
    const char *name;
    const char **text; /* one of text and number is set */
    int64_t *number;
    int64_t number_max; /* numbers are 0 ... number_max */
    const char *help;
};

/**
 * Read the command line into the fields; the table ends with a field without a name.
 *
 * Prints help and ends the process for --help, and with status 2 for anything it does not know.
 */
void options_read(int argc, char **argv, const struct option_field *fields);

#endif
