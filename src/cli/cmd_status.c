#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/url.h"
#include "cli/broker_state.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "console/state.h"
#include "store/mapping.h"

static int read_database(const char *url, json_t *databases)
{
    struct sluice_error error;
    struct sl_store *store;
    json_t *state;
    struct sl_buffer name;
    if (sl_mapping_open_noted(url, &store, &error) != 0) {
        return sl_report("%s", error.text);
    }
    sl_buffer_init(&name, SL_OPTION_VALUE_SIZE_MAX * 2);
    sl_option_write_masked(sl_option_of(SL_OPTION_DATABASE), sl_text_of(url), &name);
    int result = sl_state_of_store(
        store, name.data == NULL ? "" : name.data, sl_clock_wall_ms(), &state, &error);
    sl_buffer_deinit(&name);
    sl_store_close(store);
    if (result != 0) {
        return sl_report("%s", error.text);
    }
    json_array_append_new(databases, state);
    return SL_EXIT_DONE;
}

/* The broker, if it is there: a log that no relay has made yet is no failure. */
static int read_broker(const char *url, const json_t *databases, json_t **ret_state)
{
    struct sluice_error error;
    struct sl_broker *broker;
    struct sl_text file;
    if (url == NULL ||
        (sl_url_parse_file(sl_text_of(url), "local", &file) && access(file.data, F_OK) != 0)) {
        *ret_state = json_null();
        return SL_EXIT_DONE;
    }
    if (sl_broker_open(url, &broker, &error) != 0) {
        return sl_report("%s", error.text);
    }
    int result =
        sl_state_of_broker(broker, url, databases, sl_clock_wall_ms(), ret_state, &error);
    sl_broker_close(broker);
    return result == 0 ? SL_EXIT_DONE : sl_report("%s", error.text);
}

static int64_t number(const json_t *object, const char *name)
{
    return (int64_t) json_integer_value(json_object_get(object, name));
}

static void print_text(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    sl_print_clean(
        stdout, json_is_string(value)
            ? (struct sl_text) {json_string_value(value), json_string_length(value)}
            : SL_TEXT("-"));
}

static void print_database(const json_t *database)
{
    char age[24];
    size_t index;
    const json_t *item;
    int64_t unsent = number(database, "unsent_events");
    print_text(database, "name");
    sl_format_age(number(database, "oldest_unsent_age_ms"), age);
    printf("\n  unsent        ");
    sl_print_color(unsent == 0 ? SL_COLOR_GOOD : SL_COLOR_BAD);
    if (unsent == 0) {
        printf("nothing");
    } else {
        printf("%lld %s, the oldest %s old", (long long) unsent, unsent == 1 ? "event" : "events",
            age);
    }
    sl_print_color(SL_COLOR_PLAIN);
    printf("\n  position      %lld of %lld\n", (long long) number(database, "position"),
        (long long) number(database, "last_position"));
    if (json_is_string(json_object_get(database, "paused"))) {
        sl_print_color(SL_COLOR_BAD);
        printf("  paused        by ");
        print_text(database, "paused");
        sl_print_color(SL_COLOR_PLAIN);
        printf("\n");
    }
    json_array_foreach(json_object_get(database, "stages"), index, item) {
        printf("  stage         ");
        print_text(item, "stage");
        printf(": %lld parked keys, %lld failed, %lld retrying, %lld waiting\n",
            (long long) number(item, "parked_keys"), (long long) number(item, "failed"),
            (long long) number(item, "retrying"), (long long) number(item, "waiting"));
    }
    json_array_foreach(json_object_get(database, "parked"), index, item) {
        printf("  parked        ");
        print_text(item, "key");
        printf(" in ");
        print_text(item, "topic");
        printf(" by ");
        print_text(item, "stage");
        sl_print_color(SL_COLOR_BAD);
        printf(" (%lld %s): ", (long long) number(item, "events"),
            number(item, "events") == 1 ? "event" : "events");
        print_text(item, "reason");
        sl_print_color(SL_COLOR_PLAIN);
        printf("\n");
    }
    json_array_foreach(json_object_get(database, "consumers"), index, item) {
        printf("  consumer      ");
        print_text(item, "name");
        printf(": %lld applied, %lld duplicates, %lld failures\n",
            (long long) number(item, "applied_total"), (long long) number(item, "duplicates_total"),
            (long long) number(item, "failures_total"));
    }
}

static void print_broker(const json_t *broker)
{
    size_t index;
    const json_t *item;
    if (!json_is_object(broker)) {
        return;
    }
    print_text(broker, "url");
    printf("\n");
    json_array_foreach(json_object_get(broker, "topics"), index, item) {
        printf("  topic         ");
        print_text(item, "topic");
        printf(": %lld events kept in %lld partitions\n",
            (long long) number(item, "retained_events"), (long long) number(item, "partitions"));
    }
    json_array_foreach(json_object_get(broker, "places"), index, item) {
        char age[24];
        int64_t lag = number(item, "lag_events");
        sl_format_age(number(item, "lag_ms"), age);
        printf("  place         ");
        print_text(item, "consumer");
        printf(" at %lld of %lld in ", (long long) number(item, "offset"),
            (long long) number(item, "next_offset"));
        print_text(item, "topic");
        printf("/%lld", (long long) number(item, "partition"));
        if (lag > 0) {
            sl_print_color(SL_COLOR_BAD);
            printf(", %lld behind, %s", (long long) lag, age);
            sl_print_color(SL_COLOR_PLAIN);
        }
        printf("\n");
    }
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    size_t index;
    const json_t *database;
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command, "'%s' is one too much; name the database with "
            "--database URL", arguments->positionals[0]);
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    json_t *databases = json_array();
    json_t *broker = NULL;
    const struct sl_config_value *urls = &config.values[SL_OPTION_DATABASE];
    int status =
        sl_config_need(&config, SL_OPTION_DATABASE) == NULL ? SL_EXIT_FAILED : SL_EXIT_DONE;
    for (size_t i = 0; i < urls->item_count && status == SL_EXIT_DONE; i++) {
        status = read_database(urls->items[i], databases);
    }
    if (status == SL_EXIT_DONE) {
        status = read_broker(sl_config_text(&config, SL_OPTION_BROKER), databases, &broker);
    }
    if (status == SL_EXIT_DONE && sl_arguments_value(arguments, "json") != NULL) {
        json_t *all = json_pack("{s:O, s:O}", "databases", databases, "broker", broker);
        json_dumpf(all, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(all);
    } else if (status == SL_EXIT_DONE) {
        json_array_foreach(databases, index, database) {
            print_database(database);
        }
        print_broker(broker);
    }
    json_decref(databases);
    json_decref(broker);
    sl_config_deinit(&config);
    return status;
}

const struct sl_command sl_command_status = {
    .name = "status",
    .summary = "Show what is unsent, parked and failed, and where consumers are",
    .usage = "[--config FILE] [--json] --database URL [--broker URL]",
    .text = "examples:\n  sluice status --config app.yaml\n"
            "  sluice status --database sqlite:app.db --json\n\n"
            "Everything is read from the tables themselves; no daemon has to run.\n",
    .sections = "database broker",
    .flags = {{"json", NULL, "as JSON"}},
    .run = run,
};
