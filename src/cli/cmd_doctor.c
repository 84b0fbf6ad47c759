#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/url.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "console/state.h"

static const char *const level_names[] = {
    [SL_FINDING_OK] = "ok", [SL_FINDING_WARN] = "warn", [SL_FINDING_FAIL] = "fail"};

const char *sl_finding_name(enum sl_finding_level level)
{
    return level_names[level];
}

void sl_doctor_find(struct sl_doctor *doctor, enum sl_finding_level level, const char *check,
    const char *subject, const char *format, ...)
{
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    json_array_append_new(doctor->findings,
        json_pack("{s:s, s:s, s:o, s:o}", "level", level_names[level], "check", check, "subject",
            sl_state_text(sl_text_of(subject)), "text", sl_state_text(sl_text_of(text))));
    doctor->counts[level]++;
}

/* Every mistake of the config is a finding; -1 if there is nothing to go on with. */
static int look_at_config(
    struct sl_doctor *doctor, const struct sl_arguments *arguments, struct sl_config *ret_config)
{
    struct sl_problems problems;
    struct sl_problems warnings;
    struct sl_config_sources sources = {arguments->config_file, arguments->environment,
        arguments->config_flags, arguments->config_flag_count};
    const char *file = arguments->config_file == NULL ? "arguments" : arguments->config_file;
    sl_problems_init(&problems);
    sl_problems_init(&warnings);
    int result = sl_config_load(&sources, ret_config, &problems);
    sl_config_check_environment(arguments->environment, &warnings);
    const struct sl_problems *both[] = {&problems, &warnings};
    for (size_t i = 0; i < 2; i++) {
        struct sl_text rest = {both[i]->text.data, both[i]->text.size};
        struct sl_text line;
        while (sl_text_split(&rest, '\n', &line)) {
            if (line.size > 0) {
                sl_doctor_find(doctor, i == 0 ? SL_FINDING_FAIL : SL_FINDING_WARN, "config", file,
                    "%.*s", (int) line.size, line.data);
            }
        }
    }
    if (result == 0) {
        sl_doctor_find(doctor, SL_FINDING_OK, "config", file, "keys, types and values are right");
    }
    sl_problems_deinit(&problems);
    sl_problems_deinit(&warnings);
    return result;
}

static struct sl_broker *open_broker(struct sl_doctor *doctor)
{
    const char *url = sl_config_text(doctor->config, SL_OPTION_BROKER);
    struct sl_broker *broker = NULL;
    struct sluice_error error;
    struct sl_text file;
    if (url == NULL) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "broker", "broker",
            "not set, so that topics and consumers were not looked at; give --broker=URL");
        return NULL;
    }
    if (sl_url_parse_file(sl_text_of(url), "local", &file)) {
        sl_doctor_look_at_file(doctor, file.data);
    }
    if (sl_open_existing_broker(url, &broker, &error) != 0) {
        char *shown = sl_shown_url(url);
        sl_doctor_find(doctor, error.code == SLUICE_NOT_FOUND ? SL_FINDING_WARN : SL_FINDING_FAIL,
            "broker", shown == NULL ? "" : shown, "%s", error.text);
        sl_free(shown);
    }
    return broker;
}

static void look_at_all(struct sl_doctor *doctor)
{
    const struct sl_config_value *urls = &doctor->config->values[SL_OPTION_DATABASE];
    json_t *states = json_array();
    sl_doctor_look_at_machine(doctor);
    struct sl_broker *broker = open_broker(doctor);
    for (size_t i = 0; i < urls->item_count; i++) {
        sl_doctor_look_at_database(doctor, urls->items[i], broker, states);
    }
    if (urls->item_count == 0) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "database", "database",
            "not set, so that none was looked at; give --database=URL");
    }
    doctor->databases = states;
    sl_doctor_look_at_broker(doctor, broker);
    sl_broker_close(broker);
    json_decref(states);
    doctor->databases = NULL;
}

static void print_finding(const json_t *finding)
{
    const char *level = json_string_value(json_object_get(finding, "level"));
    sl_print_color(strcmp(level, "ok") == 0 ? SL_COLOR_GOOD : SL_COLOR_BAD);
    printf("%-5s", level);
    sl_print_color(SL_COLOR_PLAIN);
    printf(" %-11s ", json_string_value(json_object_get(finding, "check")));
    sl_print_clean(stdout, sl_text_of(json_string_value(json_object_get(finding, "subject"))));
    printf(": ");
    sl_print_clean(stdout, sl_text_of(json_string_value(json_object_get(finding, "text"))));
    printf("\n");
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    size_t index;
    const json_t *finding;
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command,
            "'%s' is one too much; name the config with --config FILE", arguments->positionals[0]);
    }
    struct sl_doctor doctor = {
        .config = &config, .findings = json_array(), .now_ms = sl_clock_wall_ms()};
    if (look_at_config(&doctor, arguments, &config) == 0) {
        look_at_all(&doctor);
        sl_config_deinit(&config);
    }
    if (sl_arguments_value(arguments, "json") != NULL) {
        json_dumpf(doctor.findings, stdout, JSON_INDENT(2));
        printf("\n");
    } else {
        json_array_foreach(doctor.findings, index, finding)
        {
            print_finding(finding);
        }
        printf("%zu ok, %zu warnings, %zu failures\n", doctor.counts[SL_FINDING_OK],
            doctor.counts[SL_FINDING_WARN], doctor.counts[SL_FINDING_FAIL]);
    }
    json_decref(doctor.findings);
    return doctor.counts[SL_FINDING_FAIL] == 0 ? SL_EXIT_DONE : SL_EXIT_FAILED;
}

const struct sl_command sl_command_doctor = {
    .name = "doctor",
    .summary = "Find out why something does not work: config, rights, ports, disks, lag",
    .usage = "[--config FILE] [--json] --database URL --broker URL",
    .text =
        "examples:\n  sluice doctor --config app.yaml\n"
        "  sluice doctor --database sqlite:app.db --broker local:events.db --json\n\n"
        "One line for each thing looked at: ok, warn or fail; what, why, and what to do. Run it\n"
        "as the user that the services run as. Rights are tried in a transaction that is rolled\n"
        "back. The exit status is 1 if something failed.\n",
    .sections = "database broker relay gateway console",
    .flags = {{"json", NULL, "as JSON"}},
    .run = run,
};
