#include <stdio.h>

#include "base/clock.h"
#include "cli/broker_state.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "console/state.h"
#include "store/mapping.h"

/* The names of the consumers to look for, in the form that sl_state_of_broker knows. */
static int add_consumers(const struct sl_arguments *arguments, json_t *databases)
{
    json_t *consumers = json_array();
    int status = SL_EXIT_DONE;
    for (size_t i = 0; i < arguments->positional_count; i++) {
        const char *name = arguments->positionals[i];
        if (!sl_event_is_consumer(sl_text_of(name))) {
            status = sl_usage_error(arguments->command, "'%s' is no consumer's name", name);
            break;
        }
        json_array_append_new(consumers, json_pack("{s:s}", "name", name));
    }
    json_array_append_new(databases, json_pack("{s:o}", "consumers", consumers));
    return status;
}

static int add_database(const char *url, json_t *databases)
{
    struct sluice_error error;
    struct sl_store *store;
    json_t *state;
    if (sl_mapping_open_noted(url, &store, &error) != 0) {
        return sl_report("%s", error.text);
    }
    int result = sl_state_of_store(store, "", sl_clock_wall_ms(), &state, &error);
    sl_store_close(store);
    if (result != 0) {
        return sl_report("%s", error.text);
    }
    json_array_append_new(databases, state);
    return SL_EXIT_DONE;
}

static void print_places(const json_t *places)
{
    size_t index;
    const json_t *place;
    sl_print_color(SL_COLOR_DIM);
    printf("%-32s  %-36s  %9s  %10s  %10s  %8s  %s\n", "CONSUMER", "TOPIC", "PARTITION", "OFFSET",
        "END", "LAG", "AGE");
    sl_print_color(SL_COLOR_PLAIN);
    json_array_foreach(places, index, place)
    {
        char age[24];
        long long lag = json_integer_value(json_object_get(place, "lag_events"));
        sl_format_age((int64_t) json_integer_value(json_object_get(place, "lag_ms")), age);
        printf("%-32s  %-36s  %9lld  %10lld  %10lld  ",
            json_string_value(json_object_get(place, "consumer")),
            json_string_value(json_object_get(place, "topic")),
            json_integer_value(json_object_get(place, "partition")),
            json_integer_value(json_object_get(place, "offset")),
            json_integer_value(json_object_get(place, "next_offset")));
        sl_print_color(lag > 0 ? SL_COLOR_BAD : SL_COLOR_GOOD);
        printf("%8lld  %s\n", lag, lag > 0 ? age : "-");
        sl_print_color(SL_COLOR_PLAIN);
    }
}

static int show(const struct sl_arguments *arguments, const char *url, const json_t *databases)
{
    struct sluice_error error;
    struct sl_broker *broker;
    json_t *state;
    if (sl_open_existing_broker(url, &broker, &error) != 0) {
        return sl_report("%s", error.text);
    }
    int result = sl_state_of_broker(broker, "", databases, sl_clock_wall_ms(), &state, &error);
    sl_broker_close(broker);
    if (result != 0) {
        return sl_report("%s", error.text);
    }
    const json_t *places = json_object_get(state, "places");
    if (sl_arguments_value(arguments, "json") != NULL) {
        json_dumpf(places, stdout, JSON_INDENT(2));
        printf("\n");
    } else if (json_array_size(places) == 0) {
        fputs("no consumer has committed a place in a topic of this broker\n", stderr);
    } else {
        print_places(places);
    }
    json_decref(state);
    return SL_EXIT_DONE;
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    json_t *databases = json_array();
    int status = add_consumers(arguments, databases);
    if (status == SL_EXIT_DONE) {
        status = sl_arguments_load(arguments, &config) == 0 ? SL_EXIT_DONE : SL_EXIT_FAILED;
        if (status == SL_EXIT_DONE) {
            const struct sl_config_value *urls = &config.values[SL_OPTION_DATABASE];
            const char *broker = sl_config_need(&config, SL_OPTION_BROKER);
            bool is_named = arguments->positional_count > 0;
            status =
                broker == NULL || (!is_named && sl_config_need(&config, SL_OPTION_DATABASE) == NULL)
                ? SL_EXIT_FAILED
                : SL_EXIT_DONE;
            for (size_t i = 0; !is_named && i < urls->item_count && status == SL_EXIT_DONE; i++) {
                status = add_database(urls->items[i], databases);
            }
            status = status == SL_EXIT_DONE ? show(arguments, broker, databases) : status;
            sl_config_deinit(&config);
        }
    }
    json_decref(databases);
    return status;
}

const struct sl_command sl_command_lag = {
    .name = "lag",
    .summary = "Show how far each consumer is behind, partition by partition",
    .usage = "[CONSUMER ...] --broker URL [--database URL] [--json]",
    .text =
        "examples:\n  sluice lag --config app.yaml\n"
        "  sluice lag wallet-init --broker kafka://localhost:9092\n\n"
        "Without a name: all consumers of the databases. AGE is that of the first event which\n"
        "the consumer has not committed. Of a topic that it reads, a partition which it never\n"
        "committed counts from its start.\n",
    .sections = "database broker",
    .flags = {{"json", NULL, "as JSON"}},
    .run = run,
};
