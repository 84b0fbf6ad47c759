#include <stdio.h>

#include "base/memory.h"
#include "base/parse.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "cli/verify.h"

enum { HORIZON_MS = 5000 };

static const char *const consumer_form = "CONSUMER=URL, as in wallet-init=sqlite:wallet.db";

/* Take the positionals "CONSUMER=URL" apart; `names` owns the consumers' names. */
static int read_consumers(const struct sl_arguments *arguments,
    struct sl_verify_consumer *consumers, char *names[SL_POSITIONALS_MAX])
{
    for (size_t i = 0; i < arguments->positional_count; i++) {
        const char *text = arguments->positionals[i];
        const char *equals = strchr(text, '=');
        struct sl_text name = {text, equals == NULL ? 0 : (size_t) (equals - text)};
        if (!sl_event_is_consumer(name)) {
            return sl_usage_error(
                arguments->command, "'%s' is no consumer; write %s", text, consumer_form);
        }
        names[i] = sl_copy_bytes(name.data, name.size);
        if (names[i] == NULL) {
            return sl_report("no memory for the arguments");
        }
        consumers[i] = (struct sl_verify_consumer) {names[i], equals + 1};
    }
    return SL_EXIT_DONE;
}

static int read_options(const struct sl_arguments *arguments, struct sl_verify_options *options)
{
    const char *horizon = sl_arguments_value(arguments, "horizon");
    options->horizon_ms = HORIZON_MS;
    options->is_sole = sl_arguments_value(arguments, "all-sources") != NULL;
    if (horizon != NULL && !sl_parse_duration_ms(sl_text_of(horizon), &options->horizon_ms)) {
        return sl_usage_error(
            arguments->command, "--horizon takes a duration (5s, 1m), not '%s'", horizon);
    }
    return SL_EXIT_DONE;
}

static int64_t breach_count(const struct sl_verify_report *report)
{
    int64_t count = 0;
    for (int i = 0; i < SL_BREACH_COUNT; i++) {
        count += report->counts.breaches[i];
    }
    return count;
}

static void put(json_t *object, const char *name, const char *text)
{
    if (text[0] != '\0') {
        json_object_set_new(object, name, json_string(text));
    }
}

static json_t *wrong_as_json(const struct sl_wrong *wrong)
{
    char position[SL_POSITION_TEXT_SIZE];
    json_t *object = json_pack("{s:s}", "breach", sl_breach_name(wrong->breach));
    put(object, "id", wrong->id);
    put(object, "topic", wrong->topic);
    if (wrong->has_key) {
        put(object, "key", wrong->key);
    }
    put(object, "database", wrong->database);
    put(object, "consumer", wrong->consumer);
    if (wrong->position.id > 0) {
        sl_position_write(wrong->position, position);
        put(object, "position", position);
    }
    if (wrong->partition >= 0) {
        json_object_set_new(object, "partition", json_integer(wrong->partition));
        json_object_set_new(object, "offset", json_integer((json_int_t) wrong->offset));
    }
    return object;
}

static void print_json(const struct sl_verify_report *report)
{
    const struct sl_verify_counts *counts = &report->counts;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"committed", counts->committed}, {"published", counts->published},
        {"unsent", counts->unsent}, {"held", counts->held}, {"records", counts->records},
        {"foreign", counts->foreign}, {"duplicates", counts->duplicates}, {"late", counts->late},
        {"replayed", counts->replayed}, {"markers", counts->markers}, {"young", counts->young},
        {"removed", counts->removed}};
    json_t *all = json_object();
    json_t *breaches = json_object();
    json_t *wrong = json_array();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        json_object_set_new(all, numbers[i].name, json_integer((json_int_t) numbers[i].value));
    }
    for (int i = 0; i < SL_BREACH_COUNT; i++) {
        json_object_set_new(breaches, sl_breach_name((enum sl_breach) i),
            json_integer((json_int_t) counts->breaches[i]));
    }
    for (size_t i = 0; i < report->wrong_count; i++) {
        json_array_append_new(wrong, wrong_as_json(&report->wrong[i]));
    }
    json_t *whole = json_pack("{s:o, s:o, s:o, s:b, s:I, s:I}", "counts", all, "breaches", breaches,
        "wrong", wrong, "all_sources", report->is_sole, "consumers",
        (json_int_t) report->consumer_count, "idle_consumers", (json_int_t) report->idle_consumers);
    json_dumpf(whole, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(whole);
}

static void print_wrong(const struct sl_wrong *wrong)
{
    char position[SL_POSITION_TEXT_SIZE];
    sl_print_color(SL_COLOR_BAD);
    printf("%s:", sl_breach_name(wrong->breach));
    sl_print_color(SL_COLOR_PLAIN);
    if (wrong->topic[0] != '\0') {
        printf(" topic ");
        sl_print_clean(stdout, sl_text_of(wrong->topic));
    }
    if (wrong->has_key) {
        printf(" key ");
        sl_print_clean(stdout, sl_text_of(wrong->key));
    }
    if (wrong->id[0] != '\0') {
        printf(" id ");
        sl_print_clean(stdout, sl_text_of(wrong->id));
    }
    if (wrong->partition >= 0) {
        printf(" partition %d offset %lld", wrong->partition, (long long) wrong->offset);
    }
    if (wrong->position.id > 0) {
        sl_position_write(wrong->position, position);
        printf(" position %s", position);
    }
    if (wrong->consumer[0] != '\0') {
        printf(" consumer %s", wrong->consumer);
    }
    if (wrong->database[0] != '\0') {
        printf(" in %s", wrong->database);
    }
    printf(" (%s)\n", sl_breach_meaning(wrong->breach));
}

static void print_text(const struct sl_verify_report *report)
{
    const struct sl_verify_counts *counts = &report->counts;
    int64_t wrong = breach_count(report);
    printf("outboxes   %lld events committed: %lld published, %lld unsent, %lld held\n",
        (long long) counts->committed, (long long) counts->published, (long long) counts->unsent,
        (long long) counts->held);
    printf("topics     %lld records; %lld duplicates (%lld late, %lld replayed)\n",
        (long long) counts->records, (long long) counts->duplicates, (long long) counts->late,
        (long long) counts->replayed);
    printf("inboxes    %zu consumers, %lld markers\n", report->consumer_count,
        (long long) counts->markers);
    if (counts->young > 0 || counts->removed > 0 || counts->foreign > 0) {
        printf(
            "not judged %lld younger than the horizon, %lld whose other side retention may have "
            "removed, %lld of other sources\n",
            (long long) counts->young, (long long) counts->removed, (long long) counts->foreign);
    }
    if (report->idle_consumers > 0) {
        printf("not judged %zu consumers that have committed no place in this broker\n",
            report->idle_consumers);
    }
    for (int i = 0; i < SL_BREACH_COUNT; i++) {
        printf("%s%s=%lld", i == 0 ? "" : " ", sl_breach_name((enum sl_breach) i),
            (long long) counts->breaches[i]);
    }
    printf("\n");
    for (size_t i = 0; i < report->wrong_count; i++) {
        print_wrong(&report->wrong[i]);
    }
    if (wrong > (int64_t) report->wrong_count) {
        printf("... and %lld more\n", (long long) (wrong - (int64_t) report->wrong_count));
    }
    sl_print_color(wrong == 0 ? SL_COLOR_GOOD : SL_COLOR_BAD);
    printf(wrong == 0 ? "every promise held\n" : "promises are broken\n");
    sl_print_color(SL_COLOR_PLAIN);
}

static int verify(const struct sl_config *config, const struct sl_arguments *arguments,
    struct sl_verify_options *options)
{
    struct sluice_error error;
    struct sl_verify_report *report;
    const struct sl_config_value *urls = &config->values[SL_OPTION_DATABASE];
    options->databases = (const char *const *) urls->items;
    options->database_count = urls->item_count;
    options->broker = sl_config_need(config, SL_OPTION_BROKER);
    /* The first word of the option is raw: other envelopes change the payload. */
    options->is_raw = sl_config_number(config, SL_OPTION_RELAY_ENVELOPE) == 0;
    if (sl_config_need(config, SL_OPTION_DATABASE) == NULL || options->broker == NULL) {
        return SL_EXIT_FAILED;
    }
    if (sl_verify(options, &report, &error) != 0) {
        return sl_report("%s", error.text);
    }
    if (sl_arguments_value(arguments, "json") != NULL) {
        print_json(report);
    } else {
        print_text(report);
    }
    int status = breach_count(report) == 0 ? SL_EXIT_DONE : SL_EXIT_FAILED;
    sl_free(report);
    return status;
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    struct sl_verify_consumer consumers[SL_POSITIONALS_MAX];
    char *names[SL_POSITIONALS_MAX] = {NULL};
    struct sl_verify_options options = {
        .consumers = consumers, .consumer_count = arguments->positional_count};
    int status = read_options(arguments, &options);
    status = status == SL_EXIT_DONE ? read_consumers(arguments, consumers, names) : status;
    if (status == SL_EXIT_DONE) {
        status = sl_arguments_load(arguments, &config) == 0 ? SL_EXIT_DONE : SL_EXIT_FAILED;
        if (status == SL_EXIT_DONE) {
            status = verify(&config, arguments, &options);
            sl_config_deinit(&config);
        }
    }
    for (size_t i = 0; i < SL_POSITIONALS_MAX; i++) {
        sl_free(names[i]);
    }
    return status;
}

const struct sl_command sl_command_verify = {
    .name = "verify",
    .summary = "Compare outboxes, topics and inboxes: was every event delivered once, in order?",
    .usage = "--database URL --broker URL [CONSUMER=URL ...] [--horizon TIME] [--json]",
    .text =
        "examples:\n  sluice verify --config app.yaml\n"
        "  sluice verify --database sqlite:orders.db --broker local:events.db\n"
        "  sluice verify --config app.yaml wallet-init=sqlite:wallet.db --json\n\n"
        "Reads only, and works while the system runs. Judged are all events of the databases'\n"
        "outboxes, and of each database all consumers; CONSUMER=URL adds one whose inbox is\n"
        "elsewhere. The exit status is 1 if an event is wrong; the first 100 are named:\n\n"
        "  lost       confirmed by the relay, and not in its topic (dropped dead letters, too)\n"
        "  phantom    in a topic, and never committed\n"
        "  altered    in the topic with another topic, key, type or payload\n"
        "  reordered  overtaken by a later event of its key (as on_poison: skip lets happen)\n"
        "  split_key  in another partition than its key's event before it\n"
        "  hole       a partition or an outbox misses a number between two others\n"
        "  twice      two outbox rows have the same id\n"
        "  unapplied  a consumer is past it, and its inbox does not have it\n"
        "  unfounded  an inbox has it, and it never was\n\n"
        "Duplicates are counted and no breach: consumers skip them. Late ones stand behind a\n"
        "later event of their key. Not judged is what retention may have removed on the other\n"
        "side, and what is younger than the horizon. More than 128 MiB of comparing goes to an\n"
        "unnamed file in TMPDIR.\n",
    .sections = "database broker",
    .flags = {{"horizon", "TIME", "judge no event that is younger (default 5s)"},
        {"all-sources", NULL, "nobody else writes to these topics: what is not ours is a phantom"},
        {"json", NULL, "as JSON"}},
    .run = run,
};
