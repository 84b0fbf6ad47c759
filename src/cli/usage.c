#include "cli/usage.h"

void sl_usage_write_overview(FILE *stream)
{
    fputs("sluice: reliable events, from the database transaction to the browser\n\n"
          "  sluice dev                      everything in one process: watch an event on its way\n"
          "  sluice init --database URL      prepare a database of your own\n"
          "  sluice run --config FILE        relay, gateway and console\n\ncommands:\n",
        stream);
    for (size_t i = 0; i < sl_command_count; i++) {
        fprintf(stream, "  %-20s %s\n", sl_commands[i]->name, sl_commands[i]->summary);
    }
    fputs("  help [COMMAND]       this text, or a command's\n"
          "  help config          every key of the config\n\n"
          "exit status: 0 done, 1 failed (the reason is on stderr), 2 used in a wrong way\n",
        stream);
}

static void write_key(FILE *stream, const struct sl_option *option)
{
    struct sl_buffer allowed;
    char variable[64];
    sl_buffer_init(&allowed, SL_OPTION_REASON_SIZE);
    sl_option_describe(option, &allowed);
    sl_option_environment_name(option, variable);
    fprintf(stream, "  %s\n      %s\n      %s; default %s; %s\n", option->name, option->help,
        allowed.data == NULL ? "" : allowed.data,
        option->default_text == NULL ? "none" : option->default_text, variable);
    sl_buffer_deinit(&allowed);
}

/* Whether the option's name or section is one of the words. */
static bool is_in_sections(const struct sl_option *option, const char *sections)
{
    struct sl_text section = sl_text_of(option->name);
    const char *dot = strchr(option->name, '.');
    if (dot != NULL) {
        section.size = (size_t) (dot - option->name);
    }
    struct sl_text rest = sl_text_of(sections);
    struct sl_text word;
    while (sl_text_split(&rest, ' ', &word)) {
        if (sl_text_equal(word, section)) {
            return true;
        }
    }
    return false;
}

void sl_usage_write_command(FILE *stream, const struct sl_command *command)
{
    fprintf(stream, "usage: sluice %s %s\n\n%s.\n\n%s", command->name, command->usage,
        command->summary, command->text);
    if (command->flags[0].name != NULL) {
        fputs("\nflags:\n", stream);
        for (const struct sl_flag *flag = command->flags; flag->name != NULL; flag++) {
            char name[64];
            snprintf(name, sizeof(name), "--%s%s%s", flag->name,
                flag->value_name == NULL ? "" : " ",
                flag->value_name == NULL ? "" : flag->value_name);
            fprintf(stream, "  %-20s %s\n", name, flag->help);
        }
    }
    if (command->sections == NULL) {
        return;
    }
    fputs("\nkeys (in the file of --config FILE, as --key=value, or in the environment):\n",
        stream);
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        const struct sl_option *option = sl_option_of((enum sl_option_id) i);
        if (is_in_sections(option, command->sections)) {
            write_key(stream, option);
        }
    }
}

void sl_usage_write_keys(FILE *stream)
{
    fputs(
        "Every key can stand in the YAML file of --config FILE, in the environment, or on the\n"
        "command line as --key=value. The command line wins over the environment, the\n"
        "environment over the file, the file over the default. `sluice config show` tells\n"
        "which value holds and where it comes from. VARIABLE_FILE names a file that holds\n"
        "the value (database, broker and gateway.token.secret only).\n\n",
        stream);
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        write_key(stream, sl_option_of((enum sl_option_id) i));
    }
    fputs(
        "  gateway.routes\n"
        "      what the gateway does with which path; in the file only, first match wins:\n"
        "        - path: /orders/{id}/stream        # {id} is a parameter\n"
        "          stream:\n"
        "            topic: order.status-changed.v1 # events of this topic ...\n"
        "            key: \"{id}\"                    # ... with this key\n"
        "            snapshot: http://127.0.0.1:9000/orders/{id}\n"
        "            event: /type                   # JSON pointers into snapshot and payload\n"
        "            version: /version\n"
        "            final: [completed, failed]     # the stream ends after one of these\n"
        "          token: required                  # or optional, or none\n"
        "          subject: \"{header.x-user}\"      # who the token must be of; a template\n"
        "        - path: /publish/{topic}           # POST ?key=...&type=...\n"
        "          publish:\n"
        "            topics: [order.noted.v1]       # what may be published to\n"
        "            size_max: 64KiB                # of a body; 256KiB if it is left out\n"
        "        - path: /**                        # anything else\n"
        "          upstream: http://127.0.0.1:9000\n",
        stream);
}
