#include "base/log.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/daemon.h"

static int serve(const struct sl_config *config, bool has_relay, bool has_gateway)
{
    uv_loop_t loop;
    struct sluice_error error;
    struct sl_daemon *daemon;
    struct sl_daemon_options options = {config, has_relay, has_gateway, NULL};
    uv_loop_init(&loop);
    if (has_gateway && config->routes.count == 0) {
        sl_log(SL_LOG_WARN, "there are no routes",
            "effect=\"every request is answered 404\" remedy=\"add gateway.routes to the file\"");
    }
    int status = sl_daemon_open(&loop, &options, &daemon, &error) != 0
        ? sl_report("%s", error.text)
        : SL_EXIT_DONE;
    if (status == SL_EXIT_DONE) {
        status = sl_daemon_run(daemon, NULL, NULL);
        sl_daemon_close(daemon);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return status;
}

static int run_parts(const struct sl_arguments *arguments, bool has_relay, bool has_gateway)
{
    struct sl_config config;
    int status = SL_EXIT_FAILED;
    if (arguments->positional_count > 0) {
        return sl_usage_error(arguments->command, "'%s' is one too much; name the file with "
            "--config FILE", arguments->positionals[0]);
    }
    if (sl_arguments_load(arguments, &config) != 0) {
        return SL_EXIT_FAILED;
    }
    if (!has_relay ||
        (sl_config_need(&config, SL_OPTION_DATABASE) != NULL &&
            sl_config_need(&config, SL_OPTION_BROKER) != NULL)) {
        status = serve(&config, has_relay, has_gateway);
    }
    sl_config_deinit(&config);
    return status;
}

static int run_both(const struct sl_arguments *arguments)
{
    return run_parts(arguments, true, true);
}

static int run_relay(const struct sl_arguments *arguments)
{
    return run_parts(arguments, true, false);
}

static int run_gateway(const struct sl_arguments *arguments)
{
    return run_parts(arguments, false, true);
}

#define SERVING                                                                                    \
    "\nWhen it serves it writes one line to stdout: ready, and where. Logs go to stderr.\n"        \
    "SIGTERM and SIGINT end it when what is under way is done; a second one ends it at once.\n"

const struct sl_command sl_command_run = {
    .name = "run",
    .summary = "Run relay, gateway and console in one process",
    .usage = "--config FILE [--key=value ...]",
    .text = "examples:\n  sluice run --config app.yaml\n"
            "  sluice run --config app.yaml --gateway.listen=:8080 --console.listen=off\n" SERVING,
    .sections = "database broker relay local gateway console log",
    .run = run_both,
};

const struct sl_command sl_command_relay = {
    .name = "relay",
    .summary = "Run the relay alone: events from the database to the broker",
    .usage = "--config FILE [--key=value ...]",
    .text = "examples:\n  sluice relay --config app.yaml\n"
            "  sluice relay --database sqlite:app.db --broker local:events.db\n" SERVING,
    .sections = "database broker relay local console log",
    .run = run_relay,
};

const struct sl_command sl_command_gateway = {
    .name = "gateway",
    .summary = "Run the gateway alone: proxy and live streams",
    .usage = "--config FILE [--key=value ...]",
    .text = "examples:\n  sluice gateway --config app.yaml\n" SERVING,
    .sections = "broker gateway console log",
    .run = run_gateway,
};
