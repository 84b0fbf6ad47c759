/* Ports, processes, files and limits: what the operating system knows. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/url.h"
#include "cli/doctor.h"

enum {
    ANSWER_SIZE_MAX = 64 << 10,
    ANSWER_SECONDS = 3,
    SPACE_WARN_PERCENT = 10,
    SPACE_FAIL_PERCENT = 2
};

#define SPACE_FAIL_BYTES ((uint64_t) 50 << 20)

/* A socket for an address, bound or connected; -1 with errno, or -2 if the name is unknown. */
static int open_address(const char *address, bool is_connecting)
{
    struct sl_text host;
    uint16_t port;
    char name[256];
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    if (!sl_url_parse_address(sl_text_of(address), &host, &port)) {
        return -2;
    }
    snprintf(name, sizeof(name), "%.*s", (int) host.size, host.data);
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(name, service, &hints, &found) != 0) {
        return -2;
    }
    int handle = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    if (handle >= 0) {
        setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        int result = is_connecting ? connect(handle, found->ai_addr, found->ai_addrlen)
                                   : bind(handle, found->ai_addr, found->ai_addrlen);
        /* Another listener is met by listening, not by binding, where SO_REUSEADDR is set. */
        if (result == 0 && !is_connecting) {
            result = listen(handle, 1);
        }
        if (result != 0) {
            int number = errno;
            close(handle);
            handle = -1;
            errno = number;
        }
    }
    freeaddrinfo(found);
    return handle;
}

/* Ask whoever listens there whether it is ready; NULL if it is no sluice console. */
static json_t *ask_health(const char *address, bool *ret_is_ready)
{
    static const char request[] =
        "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static char answer[ANSWER_SIZE_MAX];
    size_t size = 0;
    int handle = open_address(address, true);
    if (handle < 0) {
        return NULL;
    }
    if (send(handle, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1) {
        ssize_t got;
        while (size < sizeof(answer) - 1 &&
            (got = recv(handle, answer + size, sizeof(answer) - 1 - size, 0)) > 0) {
            size += (size_t) got;
        }
    }
    close(handle);
    answer[size] = '\0';
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *health = body == NULL ? NULL : json_loads(body + 4, 0, NULL);
    if (!json_is_array(json_object_get(health, "reasons"))) {
        json_decref(health);
        return NULL;
    }
    *ret_is_ready = strncmp(answer, "HTTP/1.1 200", 12) == 0;
    return health;
}

/* Returns whether a console of ours answers there. */
static bool look_at_console(struct sl_doctor *doctor, const char *address)
{
    bool is_ready = false;
    json_t *health = ask_health(address, &is_ready);
    size_t index;
    const json_t *reason;
    if (health == NULL) {
        return false;
    }
    if (is_ready) {
        sl_doctor_find(doctor, SL_FINDING_OK, "process", address, "a sluice process serves, ready");
    }
    json_array_foreach(json_object_get(health, "reasons"), index, reason)
    {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "process", address,
            "the running process is not ready: %s", json_string_value(reason));
    }
    json_decref(health);
    return true;
}

static void look_at_port(
    struct sl_doctor *doctor, const char *key, const char *address, bool is_running)
{
    int handle = open_address(address, false);
    if (handle >= 0) {
        close(handle);
        sl_doctor_find(doctor, SL_FINDING_OK, "port", address, "free for %s", key);
    } else if (handle == -2) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "port", address,
            "%s names no address of this machine; use a number such as 127.0.0.1:8080", key);
    } else if (errno == EADDRINUSE && is_running) {
        sl_doctor_find(
            doctor, SL_FINDING_OK, "port", address, "taken, as the running process has it");
    } else if (errno == EADDRINUSE) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "port", address,
            "another program listens there; stop it (`ss -ltnp` names it), or set %s to another "
            "address",
            key);
    } else {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "port", address,
            "cannot listen there: %s; set %s to an address of this machine, and to a port that "
            "this user may have",
            strerror(errno), key);
    }
}

static void look_at_limit(struct sl_doctor *doctor)
{
    struct rlimit limit;
    int64_t wanted = sl_config_number(doctor->config, SL_OPTION_GATEWAY_CONNECTIONS_MAX) + 100;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    if (limit.rlim_max != RLIM_INFINITY && (int64_t) limit.rlim_max < wanted) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "open files", "gateway.connections_max",
            "this user may open %lld files, and the gateway may need %lld; raise the limit "
            "(LimitNOFILE= of the service, or ulimit -Hn), or lower gateway.connections_max",
            (long long) limit.rlim_max, (long long) wanted);
        return;
    }
    sl_doctor_find(doctor, SL_FINDING_OK, "open files", "gateway.connections_max",
        "the limit is above what the gateway may need");
}

void sl_doctor_look_at_machine(struct sl_doctor *doctor)
{
    const struct sl_config *config = doctor->config;
    const char *console = sl_config_text(config, SL_OPTION_CONSOLE_LISTEN);
    const struct sl_config_value *gateways = &config->values[SL_OPTION_GATEWAY_LISTEN];
    bool is_off = console == NULL || strcmp(console, "off") == 0;
    bool is_running = !is_off && look_at_console(doctor, console);
    if (!is_off) {
        look_at_port(doctor, "console.listen", console, is_running);
    }
    for (size_t i = 0; config->routes.count > 0 && i < gateways->item_count; i++) {
        look_at_port(doctor, "gateway.listen", gateways->items[i], is_running);
    }
    if (config->routes.count > 0) {
        look_at_limit(doctor);
    }
}

static void look_at_space(struct sl_doctor *doctor, const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0 || space.f_blocks == 0) {
        return;
    }
    uint64_t free_bytes = (uint64_t) space.f_bavail * space.f_frsize;
    int percent = (int) (space.f_bavail * 100 / space.f_blocks);
    long long free_mib = (long long) (free_bytes >> 20);
    if (percent < SPACE_FAIL_PERCENT || free_bytes < SPACE_FAIL_BYTES) {
        sl_doctor_find(doctor, SL_FINDING_FAIL, "disk space", path,
            "%lld MiB (%d %%) are left; when nothing is, publishing fails and the relay waits: "
            "make room, or move the file",
            free_mib, percent);
    } else if (percent < SPACE_WARN_PERCENT) {
        sl_doctor_find(doctor, SL_FINDING_WARN, "disk space", path,
            "%lld MiB (%d %%) are left; make room before it is full", free_mib, percent);
    } else {
        sl_doctor_find(doctor, SL_FINDING_OK, "disk space", path, "%lld MiB (%d %%) are left",
            free_mib, percent);
    }
}

/* SQLite's files belong together: one of another user's, left by a command run as root, locks out.
 */
void sl_doctor_look_at_file(struct sl_doctor *doctor, const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct stat main_file;
    bool is_good = true;
    if (stat(path, &main_file) != 0) {
        return; /* opening it tells */
    }
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char name[4096 + 8];
        struct stat file;
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        if (stat(name, &file) != 0) {
            continue;
        }
        if (access(name, R_OK | W_OK) != 0) {
            is_good = false;
            sl_doctor_find(doctor, SL_FINDING_FAIL, "file", name,
                "this user (%u) may not read and write it, it belongs to user %u; give it to the "
                "user that the services run as (chown)",
                (unsigned) geteuid(), (unsigned) file.st_uid);
        } else if (file.st_uid != main_file.st_uid) {
            is_good = false;
            sl_doctor_find(doctor, SL_FINDING_FAIL, "file", name,
                "it belongs to user %u, and the database to user %u, who cannot use it then; a "
                "command was run as another user: give it back (chown %u '%s')",
                (unsigned) file.st_uid, (unsigned) main_file.st_uid, (unsigned) main_file.st_uid,
                name);
        }
    }
    if (is_good) {
        sl_doctor_find(doctor, SL_FINDING_OK, "file", path, "this user may read and write it");
    }
    look_at_space(doctor, path);
}
