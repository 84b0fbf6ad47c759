#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/output.h"

enum { RECORDS_AT_ONCE = 256, OUTPUT_CHECK_INTERVAL_MS = 500 };

struct tail {
    uv_loop_t loop;
    uv_signal_t interrupt;
    uv_signal_t terminate;
    uv_timer_t output_check;
    struct sl_broker *broker;
    struct sl_reader *reader;
    bool is_json;
    bool is_exit;
    int status;
};

static void print_record(const struct tail *tail, const struct sl_record *record)
{
    const struct sl_event *event = &record->event;
    if (tail->is_json) {
        json_t *line = json_pack("{s:i, s:I}", "partition", record->partition, "offset",
            (json_int_t) record->offset);
        if (line != NULL && sl_json_put_event(line, event) == 0) {
            sl_print_json_line(line);
        }
        json_decref(line);
        return;
    }
    char time[SL_CLOCK_TEXT_SIZE];
    sl_clock_format(event->time_ms, time);
    sl_print_color(SL_COLOR_DIM);
    printf("%s %.*s/%d@%lld", time, (int) event->topic.size, event->topic.data, record->partition,
        (long long) record->offset);
    sl_print_color(SL_COLOR_PLAIN);
    printf(" key=");
    sl_print_clean(stdout, event->has_key ? event->key : SL_TEXT("-"));
    printf(" ");
    sl_print_color(SL_COLOR_GOOD);
    sl_print_clean(stdout, event->type);
    sl_print_color(SL_COLOR_PLAIN);
    printf(" ");
    sl_print_clean(stdout, event->payload);
    printf("\n");
}

static void finish(struct tail *tail, int status)
{
    tail->status = status;
    uv_stop(&tail->loop);
}

static void on_readable(void *context)
{
    struct tail *tail = context;
    struct sluice_error error;
    const struct sl_record *records;
    size_t count;
    do {
        if (sl_reader_next(tail->reader, RECORDS_AT_ONCE, &records, &count, &error) != 0) {
            if (error.reaction == SLUICE_RETRY && !tail->is_exit) {
                sl_report("%s; waiting", error.text);
                return;
            }
            finish(tail, sl_report("%s", error.text));
            return;
        }
        for (size_t i = 0; i < count; i++) {
            print_record(tail, &records[i]);
        }
        if (count > 0 && fflush(stdout) != 0) {
            /* The reader of our output has gone (tail | head): there is nothing left to do. */
            finish(tail, SL_EXIT_DONE);
            return;
        }
    } while (count > 0);
    if (tail->is_exit) {
        finish(tail, SL_EXIT_DONE);
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void) number;
    finish(signal->data, SL_EXIT_DONE);
}

/*
 * Whether whoever reads our output has gone, as in `sluice tail | head -1`: without new events no
 * write would ever tell. A watcher of the loop would make stdout non-blocking, for others too.
 */
static void on_output_check(uv_timer_t *timer)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    if (poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0) {
        finish(timer->data, SL_EXIT_DONE);
    }
}

static int follow(struct tail *tail, const char *url, const struct sl_reader_options *options)
{
    struct sluice_error error;
    if (sl_open_existing_broker(url, &tail->broker, &error) != 0) {
        return sl_report("%s", error.text);
    }
    if (sl_reader_open(tail->broker, options, tail->is_exit ? NULL : &tail->loop,
        tail->is_exit ? NULL : on_readable, tail, &tail->reader, &error) != 0) {
        sl_broker_close(tail->broker);
        return sl_report("%s", error.text);
    }
    uv_signal_t *signals[] = {&tail->interrupt, &tail->terminate};
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&tail->loop, signals[i]);
        signals[i]->data = tail;
        uv_signal_start(signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
    }
    uv_timer_init(&tail->loop, &tail->output_check);
    tail->output_check.data = tail;
    if (tail->is_exit) {
        on_readable(tail);
    } else {
        uv_timer_start(&tail->output_check, on_output_check, OUTPUT_CHECK_INTERVAL_MS,
            OUTPUT_CHECK_INTERVAL_MS);
        uv_run(&tail->loop, UV_RUN_DEFAULT);
    }
    sl_reader_close(tail->reader);
    sl_broker_close(tail->broker);
    uv_close((uv_handle_t *) &tail->output_check, NULL);
    for (size_t i = 0; i < 2; i++) {
        uv_close((uv_handle_t *) signals[i], NULL);
    }
    return tail->status;
}

static int read_start(const struct sl_arguments *arguments, struct sl_reader_options *options)
{
    const char *from = sl_arguments_value(arguments, "from");
    if (from == NULL || strcmp(from, "end") == 0) {
        options->start = SL_READ_END;
    } else if (strcmp(from, "start") == 0) {
        options->start = SL_READ_START;
    } else if (sl_parse_time_ms(sl_text_of(from), sl_clock_wall_ms(), &options->time_ms)) {
        options->start = SL_READ_TIME;
    } else {
        return sl_usage_error(arguments->command, "--from takes start, end, a time "
            "(2026-11-22T13:05:09Z) or a duration before now (10m), not '%s'", from);
    }
    return SL_EXIT_DONE;
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_config config;
    const char *topic = sl_arguments_value(arguments, "topic");
    struct sl_reader_options options = {.topics = &topic, .topic_count = 1};
    struct tail tail = {.is_json = sl_arguments_value(arguments, "json") != NULL,
        .is_exit = sl_arguments_value(arguments, "exit") != NULL};
    if (arguments->positional_count > 0 || topic == NULL) {
        return sl_usage_error(arguments->command, "name the topic with --topic TOPIC");
    }
    if (!sl_event_is_topic(sl_text_of(topic))) {
        return sl_usage_error(arguments->command, "'%s' is no topic: 1 to 249 of A-Z a-z 0-9 . _ -",
            topic);
    }
    if (read_start(arguments, &options) != SL_EXIT_DONE) {
        return SL_EXIT_USAGE;
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    const char *url = sl_config_need(&config, SL_OPTION_BROKER);
    int status = SL_EXIT_FAILED;
    if (url != NULL) {
        uv_loop_init(&tail.loop);
        status = follow(&tail, url, &options);
        while (uv_run(&tail.loop, UV_RUN_DEFAULT) != 0) {
        }
        uv_loop_close(&tail.loop);
    }
    sl_config_deinit(&config);
    return status;
}

const struct sl_command sl_command_tail = {
    .name = "tail",
    .summary = "Print the events of a topic as they come",
    .usage = "--broker URL --topic TOPIC [--from start|end|TIME] [--exit] [--json]",
    .text = "examples:\n  sluice tail --broker local:events.db --topic order.status-changed.v1\n"
            "  sluice tail --config app.yaml --topic orders --from 10m --json | jq .payload\n"
            "  sluice tail --config app.yaml --topic orders --from start --exit\n\n"
            "One event a line. JSON lines have topic, partition, offset, key, id, type, time,\n"
            "headers and payload; a payload that is no JSON is a string, and payload_encoding\n"
            "says which: text or base64.\n",
    .sections = "broker",
    .flags = {{"topic", "TOPIC", "which topic"},
        {"from", "WHERE", "start, end (the default), a time, or a duration before now"},
        {"exit", NULL, "end when there is nothing more"}, {"json", NULL, "as JSON"}},
    .run = run,
};
