#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/suggest.h"
#include "cli/usage.h"

/* Whether the command's name is made of these one or two words; returns how many it took. */
static int words_of(const struct sl_command *command, int count, char *const *words)
{
    struct sl_text rest = sl_text_of(command->name);
    struct sl_text part;
    int taken = 0;
    while (sl_text_split(&rest, ' ', &part)) {
        if (taken == count || !sl_text_equal(part, sl_text_of(words[taken]))) {
            return 0;
        }
        taken++;
    }
    return taken;
}

static const struct sl_command *find_command(int count, char *const *words, int *ret_taken)
{
    for (size_t i = 0; i < sl_command_count; i++) {
        int taken = words_of(sl_commands[i], count, words);
        if (taken > 0) {
            *ret_taken = taken;
            return sl_commands[i];
        }
    }
    return NULL;
}

/* A word that begins two-word commands: say which there are. False if there are none. */
static bool tell_subcommands(FILE *stream, const char *word)
{
    size_t size = strlen(word);
    bool is_group = false;
    for (size_t i = 0; i < sl_command_count; i++) {
        const char *name = sl_commands[i]->name;
        if (strncmp(name, word, size) == 0 && name[size] == ' ') {
            if (!is_group) {
                fprintf(stream, "sluice %s: which one?\n", word);
            }
            fprintf(stream, "  sluice %-20s %s\n", name, sl_commands[i]->summary);
            is_group = true;
        }
    }
    return is_group;
}

static int tell_unknown(int count, char *const *words)
{
    char both[128];
    struct sl_suggestion suggestion;
    snprintf(both, sizeof(both), "%.60s%s%.60s", words[0], count > 1 ? " " : "",
        count > 1 ? words[1] : "");
    sl_suggestion_init(&suggestion, sl_text_of(both));
    for (size_t i = 0; i < sl_command_count; i++) {
        sl_suggestion_offer(&suggestion, sl_commands[i]->name);
    }
    if (suggestion.best == NULL) {
        if (tell_subcommands(stderr, words[0])) {
            return SL_EXIT_USAGE;
        }
        sl_suggestion_init(&suggestion, sl_text_of(words[0]));
        for (size_t i = 0; i < sl_command_count; i++) {
            sl_suggestion_offer(&suggestion, sl_commands[i]->name);
        }
        sl_suggestion_offer(&suggestion, "help");
        sl_suggestion_offer(&suggestion, "dead-letter");
        sl_suggestion_offer(&suggestion, "config");
        snprintf(both, sizeof(both), "%.60s", words[0]);
    }
    fprintf(stderr, "sluice: there is no command '%s'%s%s%s\n`sluice help` lists the commands\n",
        both, suggestion.best == NULL ? "" : "; did you mean '",
        suggestion.best == NULL ? "" : suggestion.best, suggestion.best == NULL ? "" : "'?");
    return SL_EXIT_USAGE;
}

static int help(int count, char *const *words)
{
    int taken;
    if (count == 0) {
        sl_usage_write_overview(stdout);
        return SL_EXIT_DONE;
    }
    const struct sl_command *command = find_command(count, words, &taken);
    if (command != NULL) {
        sl_usage_write_command(stdout, command);
        return SL_EXIT_DONE;
    }
    if (count == 1 && strcmp(words[0], "config") == 0) {
        sl_usage_write_keys(stdout);
        return SL_EXIT_DONE;
    }
    if (count == 1 && tell_subcommands(stdout, words[0])) {
        return SL_EXIT_DONE;
    }
    return tell_unknown(count, words);
}

static int run(int count, char *const *words)
{
    struct sl_arguments arguments;
    char reason[SL_OPTION_REASON_SIZE];
    int taken;
    if (count == 0) {
        sl_usage_write_overview(stderr);
        return SL_EXIT_USAGE;
    }
    if (strcmp(words[0], "help") == 0) {
        return help(count - 1, words + 1);
    }
    if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0) {
        return help(0, NULL);
    }
    if (strcmp(words[0], "--version") == 0) {
        printf("sluice %s\n", SLUICE_VERSION);
        return SL_EXIT_DONE;
    }
    const struct sl_command *command = find_command(count, words, &taken);
    if (command == NULL) {
        bool wants_help =
            count == 2 && (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0);
        return wants_help ? help(1, words) : tell_unknown(count, words);
    }
    if (sl_arguments_parse(command, count - taken, words + taken, &arguments, reason) != 0) {
        return sl_usage_error(command, "%s", reason);
    }
    if (arguments.wants_help) {
        sl_usage_write_command(stdout, command);
        return SL_EXIT_DONE;
    }
    arguments.environment = environ;
    return command->run(&arguments);
}

int main(int argc, char **argv)
{
    /* A reader that went away (sluice tail | head) is an error of a write, not the end of us. */
    signal(SIGPIPE, SIG_IGN);
    int status = run(argc - 1, argv + 1);
    if (fflush(stdout) != 0 && errno != EPIPE && status == SL_EXIT_DONE) {
        return sl_report("cannot write to stdout: %s", strerror(errno));
    }
    return status;
}
