#include <stdio.h>

#include "cli/command.h"
#include "cli/commands.h"
#include "store/mapping.h"

static int print_schema(const char *url)
{
    struct sluice_error error;
    const char *sql;
    if (sl_store_schema(url, &sql, &error) != 0) {
        return sl_report("%s", error.text);
    }
    fputs(sql, stdout);
    return SL_EXIT_DONE;
}

/* Make or upgrade the tables; or, where they are, give the database a new identity. */
static int create(const char *url, bool is_new_identity)
{
    struct sluice_error error;
    struct sl_store *store;
    int status = is_new_identity ? sl_mapping_open_noted(url, &store, &error)
                                 : sl_store_open(url, SL_STORE_CREATE, &store, &error);
    if (status != 0) {
        return sl_report("%s", error.text);
    }
    if (is_new_identity && sl_store_renew_id(store, &error) != 0) {
        sl_store_close(store);
        return sl_report("%s", error.text);
    }
    struct sl_buffer shown; /* without the password */
    sl_buffer_init(&shown, 2 * SL_OPTION_VALUE_SIZE_MAX);
    sl_option_write_masked(sl_option_of(SL_OPTION_DATABASE), sl_text_of(url), &shown);
    printf(is_new_identity ? "%s: a new identity, %s; the relay sends every retained event again\n"
                           : "%s: the tables are there; this database's id is %s\n",
        shown.data == NULL ? "the database" : shown.data, sl_store_id(store));
    sl_buffer_deinit(&shown);
    sl_store_close(store);
    return SL_EXIT_DONE;
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    int status = SL_EXIT_DONE;
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command, "'%s' is one too much; name the database with "
            "--database URL", arguments->positionals[0]);
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    if (sl_config_need(&config, SL_OPTION_DATABASE) == NULL) {
        status = SL_EXIT_FAILED;
    }
    const struct sl_config_value *urls = &config.values[SL_OPTION_DATABASE];
    bool is_print = sl_arguments_value(arguments, "print") != NULL;
    bool is_new_identity = sl_arguments_value(arguments, "new-identity") != NULL;
    if (is_print && is_new_identity) {
        status =
            sl_usage_error(arguments->command, "--print and --new-identity do not go together");
    }
    for (size_t i = 0; i < urls->item_count && status == SL_EXIT_DONE; i++) {
        status = is_print ? print_schema(urls->items[i])
                          : create(urls->items[i], is_new_identity);
    }
    sl_config_deinit(&config);
    return status;
}

const struct sl_command sl_command_init = {
    .name = "init",
    .summary = "Create or upgrade sluice's tables in a database",
    .usage = "--database URL [--print | --new-identity]",
    .text = "examples:\n  sluice init --database sqlite:app.db\n"
            "  sluice init --database sqlite:app.db --print   # the SQL first\n"
            "  sluice init --database sqlite:app.db --new-identity   # after a restore\n\n"
            "Your own tables are not touched. Running it again changes nothing. With a new\n"
            "identity the relay takes the database for a new one and sends every retained event\n"
            "again; consumers skip what they have applied.\n",
    .sections = "database",
    .flags = {{"print", NULL, "show the SQL and change nothing"},
        {"new-identity", NULL, "for a database that was restored or copied"}},
    .run = run,
};
