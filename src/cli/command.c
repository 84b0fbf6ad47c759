#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/suggest.h"

/* One argument, and where to find the value of a flag if it is not behind a '='. */
struct cursor {
    int index;
    int count;
    char *const *texts;
};

static int fail(char reason[SL_OPTION_REASON_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int fail(char reason[SL_OPTION_REASON_SIZE], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, SL_OPTION_REASON_SIZE, format, arguments);
    va_end(arguments);
    return -1;
}

static int fail_unknown(
    const struct sl_command *command, struct sl_text name, char reason[SL_OPTION_REASON_SIZE])
{
    struct sl_suggestion suggestion;
    sl_suggestion_init(&suggestion, name);
    for (const struct sl_flag *flag = command->flags; flag->name != NULL; flag++) {
        sl_suggestion_offer(&suggestion, flag->name);
    }
    sl_suggestion_offer(&suggestion, "config");
    sl_suggestion_offer(&suggestion, "help");
    const char *best = suggestion.best == NULL ? sl_option_nearest(name) : suggestion.best;
    /* Sections and routes are keys of the file, but no flags. */
    best = best != NULL && suggestion.best == NULL && sl_option_find(sl_text_of(best)) < 0 ? NULL
                                                                                           : best;
    return fail(reason, "unknown flag '--%.*s'%s%s%s", (int) (name.size > 80 ? 80 : name.size),
        name.data, best == NULL ? "" : "; did you mean '--", best == NULL ? "" : best,
        best == NULL ? "" : "'?");
}

/* The value of the flag at the cursor: behind its '=', or the next argument. NULL: none. */
static const char *take_value(struct cursor *cursor, const char *equals)
{
    if (equals != NULL) {
        return equals + 1;
    }
    return cursor->index + 1 < cursor->count ? cursor->texts[++cursor->index] : NULL;
}

static int parse_own_flag(const struct sl_command *command, size_t row, const char *equals,
    struct cursor *cursor, struct sl_arguments *arguments, char reason[SL_OPTION_REASON_SIZE])
{
    const struct sl_flag *flag = &command->flags[row];
    const char *value = "";
    if (flag->value_name == NULL && equals != NULL) {
        return fail(reason, "--%s takes no value", flag->name);
    }
    if (flag->value_name != NULL) {
        value = take_value(cursor, equals);
    }
    if (value == NULL) {
        return fail(reason, "--%s needs a value: --%s %s", flag->name, flag->name,
            flag->value_name);
    }
    if (arguments->values[row] != NULL) {
        return fail(reason, "--%s is there twice; give it once", flag->name);
    }
    arguments->values[row] = value;
    return 0;
}

static int parse_config_flag(int id, const char *equals, struct cursor *cursor,
    struct sl_arguments *arguments, char reason[SL_OPTION_REASON_SIZE])
{
    const struct sl_option *option = sl_option_of((enum sl_option_id) id);
    const char *value = option->type == SL_OPTION_BOOL && equals == NULL
        ? "true"
        : take_value(cursor, equals);
    if (value == NULL) {
        return fail(reason, "--%s needs a value: --%s=VALUE", option->name, option->name);
    }
    if (arguments->config_flag_count == SL_CONFIG_FLAGS_MAX) {
        return fail(reason, "more than %d keys on the command line; write a config file",
            SL_CONFIG_FLAGS_MAX);
    }
    arguments->config_flags[arguments->config_flag_count++] =
        (struct sl_config_flag) {(enum sl_option_id) id, value};
    return 0;
}

static int parse_flag(const struct sl_command *command, struct cursor *cursor,
    struct sl_arguments *arguments, char reason[SL_OPTION_REASON_SIZE])
{
    const char *text = cursor->texts[cursor->index] + 2;
    const char *equals = strchr(text, '=');
    struct sl_text name = sl_text_of(text);
    if (equals != NULL) {
        name.size = (size_t) (equals - text);
    }
    for (size_t row = 0; command->flags[row].name != NULL; row++) {
        if (sl_text_equal(name, sl_text_of(command->flags[row].name))) {
            return parse_own_flag(command, row, equals, cursor, arguments, reason);
        }
    }
    if (sl_text_equal(name, SL_TEXT("help"))) {
        arguments->wants_help = true;
        return 0;
    }
    if (sl_text_equal(name, SL_TEXT("config"))) {
        if (arguments->config_file != NULL) {
            return fail(reason, "--config is there twice; give it once");
        }
        arguments->config_file = take_value(cursor, equals);
        return arguments->config_file != NULL ? 0
                                              : fail(reason, "--config needs a value: --config "
                                                             "FILE");
    }
    int id = sl_option_find(name);
    if (id >= 0) {
        return parse_config_flag(id, equals, cursor, arguments, reason);
    }
    return fail_unknown(command, name, reason);
}

int sl_arguments_parse(const struct sl_command *command, int count, char *const *texts,
    struct sl_arguments *ret_arguments, char reason[SL_OPTION_REASON_SIZE])
{
    struct sl_arguments arguments = {.command = command};
    struct cursor cursor = {0, count, texts};
    bool is_over = false;
    for (; cursor.index < count; cursor.index++) {
        const char *text = texts[cursor.index];
        if (!is_over && strcmp(text, "--") == 0) {
            is_over = true;
        } else if (!is_over && strcmp(text, "-h") == 0) {
            arguments.wants_help = true;
        } else if (!is_over && strncmp(text, "--", 2) == 0) {
            if (parse_flag(command, &cursor, &arguments, reason) != 0) {
                return -1;
            }
        } else if (!is_over && text[0] == '-' && text[1] != '\0') {
            return fail(reason, "unknown flag '%.80s'; flags begin with two dashes", text);
        } else if (arguments.positional_count == SL_POSITIONALS_MAX) {
            return fail(reason, "more than %d arguments", SL_POSITIONALS_MAX);
        } else {
            arguments.positionals[arguments.positional_count++] = text;
        }
    }
    *ret_arguments = arguments;
    return 0;
}

const char *sl_arguments_value(const struct sl_arguments *arguments, const char *name)
{
    for (size_t row = 0; arguments->command->flags[row].name != NULL; row++) {
        if (strcmp(arguments->command->flags[row].name, name) == 0) {
            return arguments->values[row];
        }
    }
    return NULL;
}

static void tell(const struct sl_problems *problems)
{
    struct sl_text rest = {problems->text.data, problems->text.size};
    struct sl_text line;
    while (sl_text_split(&rest, '\n', &line)) {
        if (line.size > 0) {
            sl_report("%.*s", (int) line.size, line.data);
        }
    }
}

int sl_arguments_load(const struct sl_arguments *arguments, struct sl_config *ret_config)
{
    struct sl_problems problems;
    struct sl_problems warnings;
    struct sl_config_sources sources = {arguments->config_file, arguments->environment,
        arguments->config_flags, arguments->config_flag_count};
    sl_problems_init(&problems);
    sl_problems_init(&warnings);
    int result = sl_config_load(&sources, ret_config, &problems);
    sl_config_check_environment(arguments->environment, &warnings);
    tell(&problems);
    tell(&warnings);
    sl_problems_deinit(&problems);
    sl_problems_deinit(&warnings);
    return result;
}

int sl_usage_error(const struct sl_command *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "sluice %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nusage: sluice %s %s\n`sluice help %s` tells more\n", command->name,
        command->usage, command->name);
    va_end(arguments);
    return SL_EXIT_USAGE;
}

int sl_report(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "sluice: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    return SL_EXIT_FAILED;
}

const char *sl_config_need(const struct sl_config *config, enum sl_option_id id)
{
    const char *text = sl_config_text(config, id);
    if (text == NULL) {
        const struct sl_option *option = sl_option_of(id);
        char name[64];
        sl_option_environment_name(option, name);
        sl_report("'%s' is not set; give --%s=%.*s:FILE, set %s, or name a file with --config FILE",
            option->name, option->name, (int) strcspn(option->choices, " "), option->choices, name);
    }
    return text;
}
