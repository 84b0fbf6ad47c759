#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "console/state.h"
#include "store/look.h"

/* Who asks, and when: "ann@shop-1 at 2026-11-29T17:00:00.000Z". */
static void describe_caller(char ret_by[SL_PAUSE_TEXT_SIZE])
{
    char host[64] = "?";
    char time[SL_CLOCK_TEXT_SIZE];
    const struct passwd *user = getpwuid(getuid());
    gethostname(host, sizeof(host) - 1);
    sl_clock_format(sl_clock_wall_ms(), time);
    snprintf(ret_by, SL_PAUSE_TEXT_SIZE, "%.60s@%.60s at %s", user == NULL ? "?" : user->pw_name,
        host, time);
}

static int change(const char *url, bool is_paused, const char *by)
{
    struct sluice_error error;
    struct sl_store *store;
    char before[SL_PAUSE_TEXT_SIZE];
    char *name = sl_state_name(url);
    if (name == NULL || sl_store_open(url, SL_STORE_EXISTING, &store, &error) != 0) {
        sl_free(name);
        return sl_report("%s", name == NULL ? "no memory" : error.text);
    }
    int status = sl_store_paused(store, before, &error);
    bool is_there = status == 0 && (before[0] != '\0') == is_paused;
    if (status == 0 && !is_there) {
        status = sl_store_set_paused(store, is_paused, by, &error);
    }
    sl_store_close(store);
    if (status != 0) {
        sl_report("%s", error.text);
    } else if (is_there) {
        printf("%s: %s%s\n", name, is_paused ? "paused already, by " : "is not paused", before);
    } else if (is_paused) {
        printf(
            "%s: paused; its relays stop within a second, and stay so when they restart; "
            "services go on publishing\n",
            name);
    } else {
        printf("%s: resumed; it was paused by %s\n", name, before);
    }
    sl_free(name);
    return status == 0 ? SL_EXIT_DONE : SL_EXIT_FAILED;
}

static int run(const struct sl_arguments *arguments, bool is_paused)
{
    struct sl_config config;
    char by[SL_PAUSE_TEXT_SIZE];
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command,
            "'%s' is one too much; name the database with --database URL",
            arguments->positionals[0]);
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    describe_caller(by);
    const struct sl_config_value *urls = &config.values[SL_OPTION_DATABASE];
    int status =
        sl_config_need(&config, SL_OPTION_DATABASE) == NULL ? SL_EXIT_FAILED : SL_EXIT_DONE;
    for (size_t i = 0; i < urls->item_count && status == SL_EXIT_DONE; i++) {
        status = change(urls->items[i], is_paused, by);
    }
    sl_config_deinit(&config);
    return status;
}

static int run_pause(const struct sl_arguments *arguments)
{
    return run(arguments, true);
}

static int run_resume(const struct sl_arguments *arguments)
{
    return run(arguments, false);
}

const struct sl_command sl_command_pause = {
    .name = "pause",
    .summary = "Let a database's relays rest, until they are resumed",
    .usage = "--database URL",
    .text =
        "examples:\n  sluice pause --database postgresql://localhost/shop\n\n"
        "Kept in the database, with who asked and when, so that it outlives restarts; `sluice\n"
        "status` shows it. Services go on publishing, and nothing is lost: it waits. Consumers\n"
        "go on with what is in the topics.\n",
    .sections = "database",
    .run = run_pause,
};

const struct sl_command sl_command_resume = {
    .name = "resume",
    .summary = "Let them go on",
    .usage = "--database URL",
    .text = "examples:\n  sluice resume --database postgresql://localhost/shop\n",
    .sections = "database",
    .run = run_resume,
};
