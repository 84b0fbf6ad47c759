#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/dev.h"

enum { PATH_SIZE_MAX = 4000 };

/* Where the data is, and whether it goes when we go. */
struct folder {
    char path[PATH_SIZE_MAX];
    char database[PATH_SIZE_MAX + 40]; /* the URLs of the two files in it */
    char broker[PATH_SIZE_MAX + 40];
    bool is_temporary;
};

static int prepare_folder(const char *given, struct folder *folder)
{
    if (given != NULL) {
        if (strlen(given) == 0 || strlen(given) >= PATH_SIZE_MAX) {
            return sl_report("--data takes a folder's name of at most %d bytes", PATH_SIZE_MAX);
        }
        snprintf(folder->path, sizeof(folder->path), "%s", given);
        if (mkdir(given, 0700) != 0 && errno != EEXIST) {
            return sl_report("cannot make the folder '%s': %s; choose another one with --data DIR",
                given, strerror(errno));
        }
        struct stat status;
        if (stat(given, &status) != 0 || !S_ISDIR(status.st_mode)) {
            return sl_report("'%s' is no folder; choose another one with --data DIR", given);
        }
    } else {
        const char *base = getenv("TMPDIR");
        snprintf(folder->path, sizeof(folder->path), "%.3900s/sluice-dev-XXXXXX",
            base == NULL || base[0] == '\0' ? "/tmp" : base);
        if (mkdtemp(folder->path) == NULL) {
            return sl_report("cannot make a temporary folder '%s': %s; choose one with --data DIR",
                folder->path, strerror(errno));
        }
        folder->is_temporary = true;
    }
    snprintf(folder->database, sizeof(folder->database), "sqlite:%s/sluice.db", folder->path);
    snprintf(folder->broker, sizeof(folder->broker), "local:%s/events.db", folder->path);
    return SL_EXIT_DONE;
}

/* Remove what was made here and nothing else: a file that is not ours keeps the folder. */
static void remove_folder(const struct folder *folder)
{
    static const char *const names[] = {"sluice.db", "sluice.db-wal", "sluice.db-shm", "events.db",
        "events.db-wal", "events.db-shm"};
    char path[PATH_SIZE_MAX + 40];
    if (!folder->is_temporary) {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
        unlink(path);
    }
    rmdir(folder->path);
}

static char *joined(const char *first, const char *second)
{
    struct sl_buffer text;
    sl_buffer_init(&text, PATH_SIZE_MAX);
    sl_buffer_append_text(&text, first);
    sl_buffer_append_text(&text, second);
    char *copy = text.is_failed ? NULL : sl_copy_text(text.data);
    sl_buffer_deinit(&text);
    return copy;
}

/* The routes as a config file would have them: two streams, and the publisher for the rest. */
static int add_routes(struct sl_config *config, const char *upstream)
{
    static const char *const finals[] = {"completed", "cancelled", "failed"};
    struct sl_config_route *routes = sl_allocate(3 * sizeof(*routes));
    if (routes == NULL) {
        return -1;
    }
    config->routes = (struct sl_config_routes) {routes, 3};
    routes[0] = (struct sl_config_route) {.path = sl_copy_text("/items/{key}/stream"),
        .topic = sl_copy_text(SL_DEV_TOPIC), .key = sl_copy_text("{key}"),
        .snapshot = joined(upstream, "/items/{key}"), .version = sl_copy_text("/version")};
    routes[1] = (struct sl_config_route) {.path = sl_copy_text("/orders/{key}/stream"),
        .topic = sl_copy_text(SL_DEV_ORDER_TOPIC), .key = sl_copy_text("{key}"),
        .snapshot = joined(upstream, "/orders/{key}"), .event = sl_copy_text("/type"),
        .version = sl_copy_text("/version")};
    routes[2] = (struct sl_config_route) {
        .path = sl_copy_text("/**"), .upstream = sl_copy_text(upstream)};
    for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
        char *copy = sl_copy_text(finals[i]);
        if (copy == NULL) {
            return -1;
        }
        routes[1].finals[routes[1].final_count++] = copy;
    }
    for (size_t i = 0; i < 2; i++) {
        if (routes[i].path == NULL || routes[i].topic == NULL || routes[i].key == NULL ||
            routes[i].snapshot == NULL || routes[i].version == NULL) {
            return -1;
        }
    }
    return routes[1].event == NULL || routes[2].path == NULL || routes[2].upstream == NULL ? -1 : 0;
}

static void tell_what_to_do(const struct sl_daemon *daemon, const struct folder *folder)
{
    const char *gateway = sl_daemon_gateway_url(daemon);
    const char *console = sl_daemon_console_url(daemon);
    fprintf(stderr, "\nsluice dev: an event's whole way in one process (not for production)\n\n"
        "  open      %s/\n", gateway);
    if (console != NULL) {
        fprintf(stderr, "  console   %s/\n", console);
    }
    fprintf(stderr, "  data      %s%s\n\n"
        "watch a key in one terminal, publish to it in another:\n\n"
        "  curl -N %s/items/hello/stream\n"
        "  curl -d 'good morning' '%s/publish?key=hello&type=greeting'\n\n"
        "Ctrl-C ends it%s.\n\n",
        folder->path, folder->is_temporary ? " (removed at the end; keep it with --data DIR)" : "",
        gateway, gateway, folder->is_temporary ? " and removes the data" : "");
}

static void on_stop(void *context)
{
    sl_dev_stop(context);
}

static int serve(struct sl_config *config, const struct folder *folder)
{
    uv_loop_t loop;
    struct sluice_error error;
    struct sl_dev *dev;
    struct sl_daemon *daemon;
    struct sl_dev_options dev_options = {folder->database, folder->broker};
    struct sl_daemon_options options = {config, true, true, folder->path};
    int status = SL_EXIT_DONE;
    uv_loop_init(&loop);
    if (sl_dev_open(&loop, &dev_options, &dev, &error) != 0) {
        status = sl_report("%s", error.text);
    } else if (add_routes(config, sl_dev_url(dev)) != 0) {
        status = sl_report("out of memory for the routes");
        sl_dev_stop(dev);
    } else if (sl_daemon_open(&loop, &options, &daemon, &error) != 0) {
        status = sl_report("%s", error.text);
        sl_dev_stop(dev);
    } else {
        tell_what_to_do(daemon, folder);
        sl_dev_start(dev, sl_daemon_console_url(daemon));
        status = sl_daemon_run(daemon, on_stop, dev);
        sl_daemon_close(daemon);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return status;
}

static int run(const struct sl_arguments *arguments)
{
    struct sl_arguments own = *arguments;
    struct sl_config config;
    struct folder folder = {.is_temporary = false};
    if (arguments->positional_count > 0 || arguments->config_file != NULL) {
        return sl_usage_error(arguments->command, "it needs no config; for one's own database and "
            "routes there is `sluice run --config FILE`");
    }
    for (size_t i = 0; i < arguments->config_flag_count; i++) {
        enum sl_option_id id = arguments->config_flags[i].id;
        if (id == SL_OPTION_DATABASE || id == SL_OPTION_BROKER) {
            return sl_usage_error(arguments->command, "it brings its own %s; choose the folder "
                "with --data DIR, or use `sluice run`", sl_option_of(id)->name);
        }
    }
    if (own.config_flag_count + 2 > SL_CONFIG_FLAGS_MAX) {
        return sl_usage_error(arguments->command, "more than %d keys on the command line",
            SL_CONFIG_FLAGS_MAX - 2);
    }
    if (prepare_folder(sl_arguments_value(arguments, "data"), &folder) != SL_EXIT_DONE) {
        return SL_EXIT_FAILED;
    }
    own.config_flags[own.config_flag_count++] =
        (struct sl_config_flag) {SL_OPTION_DATABASE, folder.database};
    own.config_flags[own.config_flag_count++] =
        (struct sl_config_flag) {SL_OPTION_BROKER, folder.broker};
    int status = SL_EXIT_FAILED;
    if (sl_arguments_load(&own, &config) == 0) {
        status = serve(&config, &folder);
        sl_config_deinit(&config);
    }
    remove_folder(&folder);
    return status;
}

const struct sl_command sl_command_dev = {
    .name = "dev",
    .summary = "See an event on its way: everything in one process, nothing to set up",
    .usage = "[--data DIR] [--gateway.listen=ADDRESS] [--console.listen=ADDRESS]",
    .text = "examples:\n  sluice dev\n  sluice dev --data ./play --gateway.listen=127.0.0.1:0\n\n"
            "Starts SQLite, the local log, relay, gateway, console and a small publisher with a\n"
            "page, and says what to open and what to paste. Ctrl-C ends it.\n",
    .sections = "gateway console log",
    .flags = {{"data", "DIR", "keep the data here (default: a temporary folder, removed)"}},
    .run = run,
};
