#include "options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basics.h"

static void print_help(const char *program, const struct option_field *fields)
{
    printf("usage: %s [options]\n", program);
    for (const struct option_field *field = fields; field->name != NULL; field++) {
        printf("  --%-22s %s", field->name, field->help);
        if (field->number != NULL) {
            printf(" (%" PRId64 ")\n", *field->number);
        } else {
            printf(*field->text != NULL ? " (%s)\n" : "\n", *field->text);
        }
    }
}

static int set_option(const struct option_field *field, const char *value)
{
    if (field->text != NULL) {
        *field->text = value;
        return 0;
    }
    int64_t number = strcmp(value, "0") == 0 ? 0 : parse_id(value);
    if (number < 0 || number > field->number_max) {
        fprintf(stderr, "--%s takes a whole number from 0 to %" PRId64 ", not '%s'\n", field->name,
            field->number_max, value);
        return -1;
    }
    *field->number = number;
    return 0;
}

void options_read(int argc, char **argv, const struct option_field *fields)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(argv[0], fields);
            exit(EXIT_SUCCESS);
        }
        const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        size_t name_size = strcspn(name, "=");
        const char *value = name[name_size] == '=' ? name + name_size + 1 : NULL;
        const struct option_field *field = fields;
        while (field->name != NULL &&
               !(strlen(field->name) == name_size && strncmp(field->name, name, name_size) == 0)) {
            field++;
        }
        if (field->name == NULL) {
            fprintf(stderr, "%s: unknown option '%s'; see --help\n", argv[0], argv[i]);
            exit(2);
        }
        if (value == NULL && i + 1 < argc) {
            value = argv[++i];
        }
        if (value == NULL || set_option(field, value) != 0) {
            fprintf(stderr, "%s: --%s needs a value; see --help\n", argv[0], field->name);
            exit(2);
        }
    }
}
