#include <jansson.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/commands.h"
#include "cli/gateway_part.h"

/* An item as it may be shown: a URL's password masked. The buffer is the caller's to clear. */
static const char *masked(enum sl_option_id id, const char *item, struct sl_buffer *buffer)
{
    sl_buffer_clear(buffer);
    sl_option_write_masked(sl_option_of(id), sl_text_of(item), buffer);
    return buffer->data == NULL ? "" : buffer->data;
}

static int run_lint(const struct sl_arguments *arguments)
{
    struct sl_config config;
    struct sluice_error error;
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command, "'%s' is one too much; name the file with "
            "--config FILE", arguments->positionals[0]);
    }
    if (arguments->config_file == NULL) {
        return sl_usage_error(arguments->command, "which file? name it with --config FILE");
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    if (sl_gateway_part_check(&config, &error) != 0) {
        sl_config_deinit(&config);
        return sl_report("%s: %s", arguments->config_file, error.text);
    }
    printf("%s: ok: keys, types, values and %zu routes; not checked: whether the database, the "
           "broker, the ports and the upstreams can be used\n", config.file, config.routes.count);
    sl_config_deinit(&config);
    return SL_EXIT_DONE;
}

static void show_text(const struct sl_config *config)
{
    struct sl_buffer value;
    struct sl_buffer place;
    sl_buffer_init(&value, SL_OPTION_VALUE_SIZE_MAX * 2);
    sl_buffer_init(&place, SL_OPTION_VALUE_SIZE_MAX);
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        enum sl_option_id id = (enum sl_option_id) i;
        const struct sl_config_value *found = &config->values[i];
        sl_buffer_clear(&place);
        sl_config_write_place(config, id, &place);
        for (size_t j = 0; j < (found->item_count == 0 ? 1 : found->item_count); j++) {
            printf("%-28s %-28s # %s\n", j == 0 ? sl_option_of(id)->name : "",
                found->item_count == 0 ? "(not set)" : masked(id, found->items[j], &value),
                place.data == NULL ? "" : place.data);
        }
    }
    sl_buffer_deinit(&value);
    sl_buffer_deinit(&place);
    struct sl_buffer routes;
    sl_buffer_init(&routes, 4 << 20);
    sl_routes_write_yaml(&config->routes, 0, &routes);
    if (routes.size > 0) {
        printf("%-28s # %s\n%s", "gateway.routes", config->file, routes.data);
    }
    sl_buffer_deinit(&routes);
}

static json_t *route_as_json(const struct sl_config_route *route)
{
    json_t *finals = json_array();
    for (size_t i = 0; i < route->final_count; i++) {
        json_array_append_new(finals, json_string(route->finals[i]));
    }
    return json_pack("{s:s, s:i, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:o}", "path",
        route->path, "line", route->line, "upstream", route->upstream, "topic", route->topic, "key",
        route->key, "snapshot", route->snapshot, "event", route->event, "version", route->version,
        "owner", route->owner, "final", finals);
}

static void show_json(const struct sl_config *config)
{
    struct sl_buffer text;
    sl_buffer_init(&text, SL_OPTION_VALUE_SIZE_MAX * 2);
    json_t *keys = json_array();
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        enum sl_option_id id = (enum sl_option_id) i;
        const struct sl_config_value *found = &config->values[i];
        json_t *values = json_array();
        for (size_t j = 0; j < found->item_count; j++) {
            json_array_append_new(values, json_string(masked(id, found->items[j], &text)));
        }
        sl_buffer_clear(&text);
        sl_config_write_place(config, id, &text);
        json_array_append_new(keys, json_pack("{s:s, s:o, s:s}", "key", sl_option_of(id)->name,
            "values", values, "from", text.data == NULL ? "" : text.data));
    }
    json_t *routes = json_array();
    for (size_t i = 0; i < config->routes.count; i++) {
        json_array_append_new(routes, route_as_json(&config->routes.routes[i]));
    }
    json_t *all = json_pack("{s:o, s:o}", "keys", keys, "routes", routes);
    json_dumpf(all, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(all);
    sl_buffer_deinit(&text);
}

static int run_show(const struct sl_arguments *arguments)
{
    struct sl_config config;
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command, "'%s' is one too much; name the file with "
            "--config FILE", arguments->positionals[0]);
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    if (sl_arguments_value(arguments, "json") != NULL) {
        show_json(&config);
    } else {
        show_text(&config);
    }
    sl_config_deinit(&config);
    return SL_EXIT_DONE;
}

const struct sl_command sl_command_config_lint = {
    .name = "config lint",
    .summary = "Check a config file without starting anything",
    .usage = "--config FILE",
    .text = "examples:\n  sluice config lint --config app.yaml\n\n"
            "Tells every mistake with its line. Databases, ports and upstreams are not touched.\n",
    .run = run_lint,
};

const struct sl_command sl_command_config_show = {
    .name = "config show",
    .summary = "Show every value that holds and where it comes from",
    .usage = "[--config FILE] [--json] [--key=value ...]",
    .text = "examples:\n  sluice config show --config app.yaml\n"
            "  SLUICE_RELAY_ATTEMPTS_MAX=5 sluice config show --json\n\n"
            "Passwords in URLs are masked.\n",
    .flags = {{"json", NULL, "as JSON"}},
    .run = run_show,
};
