#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "console/state.h"
#include "store/mapping.h"

/* One database after the other, and what has been seen so far. */
struct work {
    const struct sl_arguments *arguments;
    struct sl_held_filter filter;
    const char *url;
    bool is_json;
    bool is_drop;
    json_t *list;
    int64_t count;
};

typedef int (*work_on_store)(struct work *work, struct sl_store *store, struct sluice_error *error);

static int each_store(struct work *work, work_on_store run)
{
    struct sl_config config;
    struct sluice_error error;
    int status = SL_EXIT_DONE;
    if (sl_arguments_load(work->arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    if (sl_config_need(&config, SL_OPTION_DATABASE) == NULL) {
        status = SL_EXIT_FAILED;
    }
    const struct sl_config_value *urls = &config.values[SL_OPTION_DATABASE];
    for (size_t i = 0; i < urls->item_count && status == SL_EXIT_DONE; i++) {
        struct sl_store *store = NULL;
        work->url = urls->items[i];
        if (sl_mapping_open_noted(work->url, &store, &error) != 0 ||
            run(work, store, &error) != 0) {
            status = sl_report("%s", error.text);
        }
        sl_store_close(store);
    }
    work->url = NULL;
    sl_config_deinit(&config);
    return status;
}

/* Read --stage, --topic, --key and --limit into the filter. */
static int read_filter(const struct sl_arguments *arguments, struct work *work)
{
    const char *limit = sl_arguments_value(arguments, "limit");
    work->arguments = arguments;
    work->is_json = sl_arguments_value(arguments, "json") != NULL;
    work->filter.stage = sl_arguments_value(arguments, "stage");
    work->filter.topic = sl_arguments_value(arguments, "topic");
    work->filter.key = sl_arguments_value(arguments, "key");
    if (limit != NULL &&
        (!sl_parse_i64(sl_text_of(limit), &work->filter.limit) || work->filter.limit < 1)) {
        return sl_usage_error(arguments->command,
            "--limit takes a whole number from 1 on, not "
            "'%s'",
            limit);
    }
    return SL_EXIT_DONE;
}

static json_t *held_as_json(const struct work *work, const struct sl_held *held, bool is_whole)
{
    char since[SL_CLOCK_TEXT_SIZE];
    sl_clock_format(held->held_ms, since);
    json_t *object = json_pack("{s:s, s:I, s:I, s:s, s:i, s:s, s:o}", "database", work->url,
        "number", (json_int_t) held->number, "position", (json_int_t) held->position.id, "state",
        sl_held_state_name(held->state), "attempts", held->attempts, "since", since, "reason",
        sl_state_text(held->reason));
    if (object == NULL || json_object_set_new(object, "stage", sl_state_text(held->stage)) != 0 ||
        sl_json_put_event(object, &held->event) != 0) {
        json_decref(object);
        return NULL;
    }
    if (!is_whole) {
        json_object_del(object, "payload");
        json_object_del(object, "payload_encoding");
        json_object_del(object, "headers");
    }
    return object;
}

static void print_column(struct sl_text text, int width)
{
    sl_print_clean(stdout, text);
    printf("%*s  ", text.size < (size_t) width ? width - (int) text.size : 0, "");
}

static void list_one(void *context, const struct sl_held *held)
{
    struct work *work = context;
    char number[32];
    char position[SL_POSITION_TEXT_SIZE];
    char since[SL_CLOCK_TEXT_SIZE];
    if (work->is_json) {
        json_array_append_new(work->list, held_as_json(work, held, false));
        return;
    }
    if (work->count++ == 0) {
        sl_print_color(SL_COLOR_DIM);
        printf("%-12s  %-16s  %-8s  %-36s  %-18s  %-8s  %-24s  %s\n", "STAGE", "KEY", "POSITION",
            "ID", "STATE", "ATTEMPTS", "SINCE", "REASON");
        sl_print_color(SL_COLOR_PLAIN);
    }
    print_column(held->stage, 12);
    print_column(held->event.has_key ? held->event.key : SL_TEXT("-"), 16);
    sl_position_write(held->position, position);
    print_column(held->position.id > 0 ? sl_text_of(position) : SL_TEXT("-"), 8);
    print_column(sl_text_of(held->event.id), 36);
    print_column(sl_text_of(sl_held_state_name(held->state)), 18);
    snprintf(number, sizeof(number), "%d", held->attempts);
    print_column(sl_text_of(number), 8);
    sl_clock_format(held->held_ms, since);
    print_column(sl_text_of(since), 24);
    sl_print_clean(stdout, held->reason);
    printf("\n");
}

static int list_store(struct work *work, struct sl_store *store, struct sluice_error *error)
{
    return sl_store_each_held(store, &work->filter, list_one, work, error);
}

static int run_list(const struct sl_arguments *arguments)
{
    struct work work = {0};
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command,
            "'%s' is one too much; choose with --stage, "
            "--topic and --key",
            arguments->positionals[0]);
    }
    if (read_filter(arguments, &work) != SL_EXIT_DONE) {
        return SL_EXIT_USAGE;
    }
    work.list = json_array();
    int status = each_store(&work, list_store);
    if (status == SL_EXIT_DONE && work.is_json) {
        json_dumpf(work.list, stdout, JSON_INDENT(2));
        printf("\n");
    } else if (status == SL_EXIT_DONE && work.count == 0) {
        fputs("no dead letters: nothing is parked, retrying or failed\n", stderr);
    }
    json_decref(work.list);
    return status;
}

static void show_one(void *context, const struct sl_held *held)
{
    struct work *work = context;
    json_array_append_new(work->list, held_as_json(work, held, true));
}

static int show_store(struct work *work, struct sl_store *store, struct sluice_error *error)
{
    return sl_store_each_held(store, &work->filter, show_one, work, error);
}

/* The fields of one dead letter, a line each; the payload last, as it may be long. */
static void show_text(const json_t *held)
{
    static const char *const names[] = {"database", "stage", "topic", "key", "id", "type", "time",
        "state", "attempts", "since", "number", "position", "reason", "headers", "payload"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *value = json_object_get(held, names[i]);
        printf("%-9s ", names[i]);
        if (json_is_string(value)) {
            sl_print_clean(
                stdout, (struct sl_text) {json_string_value(value), json_string_length(value)});
            printf("\n");
        } else {
            sl_print_json_line(value);
        }
    }
}

static int run_show(const struct sl_arguments *arguments)
{
    struct work work = {.arguments = arguments};
    if (arguments->positional_count != 1) {
        return sl_usage_error(arguments->command, "name one event by its id");
    }
    work.filter.event_id = arguments->positionals[0];
    work.list = json_array();
    int status = each_store(&work, show_store);
    size_t count = json_array_size(work.list);
    if (status == SL_EXIT_DONE && count == 0) {
        status = sl_report("no dead letter has the id '%s'; `sluice dead-letter list` shows them",
            arguments->positionals[0]);
    }
    for (size_t i = 0; status == SL_EXIT_DONE && i < count; i++) {
        const json_t *held = json_array_get(work.list, i);
        if (sl_arguments_value(arguments, "json") != NULL) {
            sl_print_json_line(held);
        } else {
            printf("%s", i == 0 ? "" : "\n");
            show_text(held);
        }
    }
    json_decref(work.list);
    return status;
}

static int change_store(struct work *work, struct sl_store *store, struct sluice_error *error)
{
    int64_t count;
    int64_t now_ms = sl_clock_wall_ms();
    int result = work->is_drop ? sl_store_drop(store, &work->filter, now_ms, &count, error)
                               : sl_store_redrive(store, &work->filter, now_ms, &count, error);
    if (result == 0) {
        work->count += count;
    }
    return result;
}

/* Redrive and drop: by ids, by key, or everything; never everything by accident. */
static int run_change(const struct sl_arguments *arguments, bool is_drop)
{
    struct work work = {.is_drop = is_drop};
    bool is_all = sl_arguments_value(arguments, "all") != NULL;
    const char *verb = is_drop ? "dropped" : "redriven";
    if (read_filter(arguments, &work) != SL_EXIT_DONE) {
        return SL_EXIT_USAGE;
    }
    bool is_key = work.filter.key != NULL;
    if ((arguments->positional_count > 0) + is_key + is_all != 1) {
        return sl_usage_error(arguments->command,
            "choose either by ids, or by --key KEY, or "
            "--all");
    }
    if (is_drop && sl_arguments_value(arguments, "yes") == NULL) {
        return sl_usage_error(arguments->command,
            "dropped events are gone for good; add --yes to "
            "mean it");
    }
    int status = SL_EXIT_DONE;
    for (size_t i = 0; status == SL_EXIT_DONE && i < arguments->positional_count; i++) {
        int64_t before = work.count;
        work.filter.event_id = arguments->positionals[i];
        status = each_store(&work, change_store);
        if (status == SL_EXIT_DONE && work.count == before) {
            status = sl_report(
                "no failed event has the id '%s' (one that is retrying or waiting "
                "needs no help); `sluice dead-letter list` shows them",
                arguments->positionals[i]);
        }
    }
    if (arguments->positional_count == 0) {
        status = each_store(&work, change_store);
        if (status == SL_EXIT_DONE && is_key && work.count == 0) {
            status = sl_report(
                "no failed event has the key '%s'; `sluice dead-letter list` shows "
                "them",
                work.filter.key);
        }
    }
    if (status == SL_EXIT_DONE || work.count > 0) {
        printf("%s %lld %s\n", verb, (long long) work.count, work.count == 1 ? "event" : "events");
    }
    return status;
}

static int run_redrive(const struct sl_arguments *arguments)
{
    return run_change(arguments, false);
}

static int run_drop(const struct sl_arguments *arguments)
{
    return run_change(arguments, true);
}

#define CHOICE                                                                                     \
    {"stage", "NAME", "only of this stage: relay, or a consumer's name"},                          \
        {"topic", "TOPIC", "only of this topic"}, {"key", "KEY", "only of this key"}

const struct sl_command sl_command_dead_letter_list = {
    .name = "dead-letter list",
    .summary = "List the events that do not flow, with the reason",
    .usage = "[--stage NAME] [--topic TOPIC] [--key KEY] [--limit N] [--json] --database URL",
    .text =
        "examples:\n  sluice dead-letter list --database sqlite:app.db\n"
        "  sluice dead-letter list --config app.yaml --stage payment --json\n\n"
        "Three states: RETRYING will be tried again by itself, WAITING stands behind another\n"
        "event of its key, FAILED_PERMANENTLY has used up its attempts and needs a person.\n",
    .sections = "database",
    .flags = {CHOICE, {"limit", "N", "at most so many a database (default 1000)"},
        {"json", NULL, "as JSON"}},
    .run = run_list,
};

const struct sl_command sl_command_dead_letter_show = {
    .name = "dead-letter show",
    .summary = "Show one of them with its headers and payload",
    .usage = "ID [--json] --database URL",
    .text = "examples:\n  sluice dead-letter show 019ab3c4-... --database sqlite:app.db\n",
    .sections = "database",
    .flags = {{"json", NULL, "as JSON"}},
    .run = run_show,
};

const struct sl_command sl_command_dead_letter_redrive = {
    .name = "dead-letter redrive",
    .summary = "Try failed events again, those of a key in their order",
    .usage = "(ID ... | --key KEY | --all) [--stage NAME] [--topic TOPIC] --database URL",
    .text =
        "examples:\n  sluice dead-letter redrive 019ab3c4-... --database sqlite:app.db\n"
        "  sluice dead-letter redrive --key order-7 --config app.yaml\n"
        "  sluice dead-letter redrive --all --stage relay --config app.yaml\n\n"
        "The relay or the consumer that holds them does the work when it runs.\n",
    .sections = "database",
    .flags = {CHOICE, {"all", NULL, "every failed event"}},
    .run = run_redrive,
};

const struct sl_command sl_command_dead_letter_drop = {
    .name = "dead-letter drop",
    .summary = "Delete failed events for good, so that their keys flow again",
    .usage = "(ID ... | --key KEY | --all) --yes [--stage NAME] [--topic TOPIC] --database URL",
    .text = "examples:\n  sluice dead-letter drop 019ab3c4-... --yes --database sqlite:app.db\n",
    .sections = "database",
    .flags = {CHOICE, {"all", NULL, "every failed event"},
        {"yes", NULL, "really; there is no way back"}},
    .run = run_drop,
};
