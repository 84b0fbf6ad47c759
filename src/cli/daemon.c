#include "cli/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/broker_state.h"
#include "cli/command.h"

enum { STOP_GRACE_MS = 3000, SIGNAL_COUNT = 3 };

struct sl_daemon {
    uv_loop_t *loop;
    struct sl_daemon_options options;
    struct sl_relay_thread *relays;
    struct sl_gateway_part *gateway;
    struct sl_console *console;
    struct sl_broker *broker; /* the console's own connection; used on its worker only */
    uv_signal_t signals[SIGNAL_COUNT];
    int status;
    int open_signals;
    bool is_stopping;
    bool is_stopped;
    struct sl_mapping mapping; /* the relays' */
    void (*on_stop)(void *context);
    void *stop_context;
};

static void on_relays_stopped(void *context)
{
    struct sl_daemon *daemon = context;
    daemon->relays = NULL;
    daemon->is_stopped = true;
}

static void on_console_stopped(void *context)
{
    struct sl_daemon *daemon = context;
    daemon->console = NULL;
    /* Only the console asked these for what they know; now they may go. */
    sl_broker_close(daemon->broker);
    daemon->broker = NULL;
    if (daemon->relays != NULL) {
        sl_relay_thread_stop(daemon->relays, on_relays_stopped, daemon);
    } else {
        on_relays_stopped(daemon);
    }
}

static void on_gateway_stopped(void *context)
{
    struct sl_daemon *daemon = context;
    daemon->gateway = NULL;
    if (daemon->console != NULL) {
        sl_console_stop(daemon->console, on_console_stopped, daemon);
    } else {
        on_console_stopped(daemon);
    }
}

/* From the outside in: first the clients' streams, last the relays, which confirm what is done. */
static void stop_parts(struct sl_daemon *daemon)
{
    if (daemon->gateway != NULL) {
        sl_gateway_part_stop(daemon->gateway, STOP_GRACE_MS, on_gateway_stopped, daemon);
    } else {
        on_gateway_stopped(daemon);
    }
}

static void stop(struct sl_daemon *daemon, int status)
{
    if (daemon->is_stopping) {
        return;
    }
    daemon->is_stopping = true;
    daemon->status = status;
    if (daemon->on_stop != NULL) {
        daemon->on_stop(daemon->stop_context);
    }
    stop_parts(daemon);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct sl_daemon *daemon = handle->data;
    if (daemon->is_stopping) {
        _exit(128 + number);
    }
    sl_log(SL_LOG_INFO, "stopping", "signal=%d", number);
    stop(daemon, SL_EXIT_DONE);
}

static void on_halt(void *context, const struct sluice_error *error)
{
    struct sl_daemon *daemon = context;
    (void) error; /* the relay has logged it; the console shows it */
    /* Beside a gateway the streams stay up: /health/ready fails and names the relay's error. */
    if (!daemon->options.has_gateway) {
        sl_report("%s", error->text);
        stop(daemon, SL_EXIT_FAILED);
    }
}

static int open_relays(struct sl_daemon *daemon, struct sluice_error *error)
{
    const struct sl_config *config = daemon->options.config;
    const struct sl_config_value *databases = &config->values[SL_OPTION_DATABASE];
    struct sl_relay_options options[SL_OPTION_ITEMS_MAX];
    bool is_mapped = sl_config_mapping(config, &daemon->mapping);
    for (size_t i = 0; i < databases->item_count; i++) {
        options[i] = (struct sl_relay_options) {
            .database = databases->items[i],
            .broker = sl_config_text(config, SL_OPTION_BROKER),
            .mapping = is_mapped ? &daemon->mapping : NULL,
            .policy = {
                .attempts_max = (int) sl_config_number(config, SL_OPTION_RELAY_ATTEMPTS_MAX),
                .retry_delay_ms = sl_config_number(config, SL_OPTION_RELAY_RETRY_DELAY),
                .retry_delay_max_ms = sl_config_number(config, SL_OPTION_RELAY_RETRY_DELAY_MAX),
                /* The option's words stand in the order of the enum. */
                .on_poison =
                    (enum sl_on_poison) sl_config_number(config, SL_OPTION_RELAY_ON_POISON),
            },
            .batch_events_max = sl_config_number(config, SL_OPTION_RELAY_BATCH_EVENTS),
            .poll_interval_ms = sl_config_number(config, SL_OPTION_RELAY_POLL_INTERVAL),
            .retention_ms = sl_config_number(config, SL_OPTION_RELAY_RETENTION),
            .broker_retention_ms = sl_config_number(config, SL_OPTION_LOCAL_RETENTION),
            .broker_size_max = sl_config_number(config, SL_OPTION_LOCAL_SIZE_MAX),
        };
    }
    return sl_relay_thread_start(daemon->loop, options, databases->item_count, on_halt, daemon,
        &daemon->relays, error);
}

/* Topics and the consumers' places; on the console's worker. */
static void collect_broker(void *context, struct sl_console_writer *writer)
{
    struct sl_daemon *daemon = context;
    const char *url = sl_config_text(daemon->options.config, SL_OPTION_BROKER);
    struct sluice_error error;
    json_t *state;
    size_t index;
    const json_t *place;
    if (sl_state_of_broker(daemon->broker, url, json_object_get(writer->state, "databases"),
            sl_clock_wall_ms(), &state, &error) != 0) {
        json_array_append_new(writer->not_ready, json_string(error.text));
        return;
    }
    json_object_set_new(writer->state, "broker", state);
    for (int is_time = 0; is_time < 2; is_time++) {
        sl_metrics_begin(writer->metrics,
            is_time ? "inbox_lag_seconds" : "inbox_lag_events", SL_METRICS_GAUGE,
            is_time ? "Age of the first event that a consumer has not committed."
                    : "Events that a consumer has not committed.");
        json_array_foreach(json_object_get(state, "places"), index, place) {
            char partition[16];
            snprintf(partition, sizeof(partition), "%d",
                (int) json_integer_value(json_object_get(place, "partition")));
            struct sl_metrics_label labels[] = {
                {"consumer", sl_text_of(json_string_value(json_object_get(place, "consumer")))},
                {"topic", sl_text_of(json_string_value(json_object_get(place, "topic")))},
                {"partition", sl_text_of(partition)}};
            int64_t value = (int64_t) json_integer_value(
                json_object_get(place, is_time ? "lag_ms" : "lag_events"));
            if (is_time) {
                sl_metrics_time(writer->metrics, labels, 3, value);
            } else {
                sl_metrics_number(writer->metrics, labels, 3, value);
            }
        }
    }
}

static int open_console(struct sl_daemon *daemon, struct sluice_error *error)
{
    const struct sl_config *config = daemon->options.config;
    const struct sl_config_value *databases = &config->values[SL_OPTION_DATABASE];
    struct sl_console_source sources[3];
    size_t source_count = 0;
    const char *broker = sl_config_text(config, SL_OPTION_BROKER);
    if (broker != NULL) {
        if (sl_broker_open(broker, &daemon->broker, error) != 0) {
            return -1;
        }
        sources[source_count++] = (struct sl_console_source) {daemon, true, collect_broker};
    }
    if (daemon->relays != NULL) {
        sources[source_count++] = sl_relay_thread_source(daemon->relays);
    }
    if (daemon->gateway != NULL) {
        sources[source_count++] = sl_gateway_part_source(daemon->gateway);
    }
    struct sl_console_options options = {
        .address = sl_config_text(config, SL_OPTION_CONSOLE_LISTEN),
        .databases = (const char *const *) databases->items,
        /* Whether the outbox moves is the relay's matter, and no reason to restart a gateway. */
        .database_count = daemon->options.has_relay ? databases->item_count : 0,
        .ready_age_max_ms = sl_config_number(config, SL_OPTION_CONSOLE_READY_AGE_MAX),
        .sources = sources,
        .source_count = source_count,
    };
    return sl_console_open(daemon->loop, &options, &daemon->console, error);
}

static int open_parts(struct sl_daemon *daemon, struct sluice_error *error)
{
    const struct sl_config *config = daemon->options.config;
    if (daemon->options.has_relay && open_relays(daemon, error) != 0) {
        return -1;
    }
    if (daemon->options.has_gateway &&
        sl_gateway_part_open(daemon->loop, config, &daemon->gateway, error) != 0) {
        return -1;
    }
    if (strcmp(sl_config_text(config, SL_OPTION_CONSOLE_LISTEN), "off") != 0 &&
        open_console(daemon, error) != 0) {
        return -1;
    }
    return 0;
}

static void on_signal_closed(uv_handle_t *handle)
{
    struct sl_daemon *daemon = handle->data;
    if (--daemon->open_signals == 0) {
        sl_free(daemon);
    }
}

/* Others may have handles on the loop: turn it until our own parts have stopped, and no longer. */
static void wait_for_end(struct sl_daemon *daemon)
{
    while (!daemon->is_stopped) {
        uv_run(daemon->loop, UV_RUN_ONCE);
    }
}

/* As many descriptors as this user may have: each stream needs one, and 1,024 is soon used up. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int sl_daemon_open(uv_loop_t *loop, const struct sl_daemon_options *options,
    struct sl_daemon **ret_daemon, struct sluice_error *error)
{
    /* A terminal that is closed ends us as Ctrl-C does; there is no reload to ask for by SIGHUP. */
    static const int numbers[SIGNAL_COUNT] = {SIGINT, SIGTERM, SIGHUP};
    struct sl_daemon *daemon = sl_allocate(sizeof(*daemon));
    if (daemon == NULL) {
        return sl_fail_memory(error, "the daemon");
    }
    daemon->loop = loop;
    daemon->options = *options;
    raise_descriptor_limit();
    sl_log_set_level((enum sl_log_level) sl_config_number(options->config, SL_OPTION_LOG_LEVEL));
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_init(loop, &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
        daemon->open_signals++;
    }
    if (open_parts(daemon, error) != 0) {
        stop(daemon, SL_EXIT_FAILED);
        wait_for_end(daemon);
        sl_daemon_close(daemon);
        return -1;
    }
    *ret_daemon = daemon;
    return 0;
}

static void print_ready(const struct sl_daemon *daemon)
{
    const char *gateway = sl_daemon_gateway_url(daemon);
    const char *console = sl_daemon_console_url(daemon);
    const char *data = daemon->options.data_folder;
    printf("ready%s%s%s%s%s%s\n", gateway == NULL ? "" : " gateway=",
        gateway == NULL ? "" : gateway, console == NULL ? "" : " console=",
        console == NULL ? "" : console, data == NULL ? "" : " data=", data == NULL ? "" : data);
    fflush(stdout);
}

int sl_daemon_run(struct sl_daemon *daemon, void (*on_stop)(void *context), void *context)
{
    daemon->on_stop = on_stop;
    daemon->stop_context = context;
    print_ready(daemon);
    wait_for_end(daemon);
    return daemon->status;
}

void sl_daemon_close(struct sl_daemon *daemon)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *) &daemon->signals[i], on_signal_closed);
    }
}

const char *sl_daemon_gateway_url(const struct sl_daemon *daemon)
{
    return daemon->gateway == NULL ? NULL : sl_gateway_part_url(daemon->gateway);
}

const char *sl_daemon_console_url(const struct sl_daemon *daemon)
{
    return daemon->console == NULL ? NULL : sl_console_url(daemon->console);
}
