/* mariadb://user:password@host:port/database?parameter=value&... */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/parse.h"
#include "store/mariadb.h"

enum {
    PASSWORD_SIZE_MAX = 256,
    CONNECT_TIMEOUT_S = 5,
    READ_TIMEOUT_S = 10,
    TIMEOUT_MAX_S = 3600,
    PORT_DEFAULT = 3306
};

static const char *const schemes[] = {"mariadb://", "mysql://"};

static size_t scheme_size(const char *text)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
            return strlen(schemes[i]);
        }
    }
    return 0;
}

bool sl_mariadb_is_url(const char *text)
{
    return scheme_size(text) > 0;
}

void sl_mariadb_url_deinit(struct sl_mariadb_url *url)
{
    sl_free(url->memory);
    *url = (struct sl_mariadb_url) {0};
}

/* The block that the texts are put into, one after the other; it is as large as they can be. */
struct writer {
    char *next;
    struct sluice_error *error;
};

static int refuse(struct sluice_error *error, const char *what)
{
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "the MariaDB URL has %s; write it as mariadb://user:password@host:port/database", what);
}

/* Copy a part with its %XX turned into bytes; NULL for what is no such part. */
static const char *decode(struct writer *writer, struct sl_text part)
{
    const char *start = writer->next;
    for (size_t i = 0; i < part.size; i++) {
        uint64_t byte = (unsigned char) part.data[i];
        if (part.data[i] == '%') {
            if (i + 2 >= part.size ||
                !sl_parse_hex((struct sl_text) {part.data + i + 1, 2}, &byte) || byte == 0) {
                refuse(writer->error, "a '%' that two hexadecimal digits do not follow");
                return NULL;
            }
            i += 2;
        }
        *writer->next++ = (char) byte;
    }
    *writer->next++ = '\0';
    return start;
}

/* Cut `rest` behind the first of `separator`; if there is none, all of it is the part. */
static struct sl_text cut(struct sl_text *rest, char separator)
{
    const char *end = memchr(rest->data, separator, rest->size);
    struct sl_text part = {rest->data, end == NULL ? rest->size : (size_t) (end - rest->data)};
    rest->data += end == NULL ? part.size : part.size + 1;
    rest->size -= end == NULL ? part.size : part.size + 1;
    return part;
}

static int parse_timeout(
    struct sl_text value, unsigned int *ret_seconds, struct sluice_error *error)
{
    int64_t seconds;
    if (!sl_parse_i64(value, &seconds) || seconds < 1 || seconds > TIMEOUT_MAX_S) {
        return refuse(error, "a timeout that is no number of seconds from 1 to 3600");
    }
    *ret_seconds = (unsigned int) seconds;
    return 0;
}

static int read_password(
    struct writer *writer, struct sl_mariadb_url *url, const char *path, struct sluice_error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file == -1 ? -1 : read(file, writer->next, PASSWORD_SIZE_MAX);
    int number = errno;
    if (file != -1) {
        close(file);
    }
    if (size == -1) {
        return sl_fail_system(error, number, "cannot read the password file", path);
    }
    writer->next[size] = '\0';
    url->password = writer->next;
    writer->next += strcspn(writer->next, "\r\n");
    *writer->next++ = '\0';
    return 0;
}

static int parse_tls(struct sl_text value, struct sl_mariadb_url *url, struct sluice_error *error)
{
    url->is_tls_verified = sl_text_equal(value, SL_TEXT("verify"));
    url->is_tls = url->is_tls_verified || sl_text_equal(value, SL_TEXT("on"));
    return url->is_tls || sl_text_equal(value, SL_TEXT("off"))
        ? 0
        : refuse(error, "a tls that is none of off, on and verify");
}

static int parse_parameter(
    struct writer *writer, struct sl_mariadb_url *url, struct sl_text name, struct sl_text value)
{
    if (sl_text_equal(name, SL_TEXT("connect_timeout"))) {
        return parse_timeout(value, &url->connect_timeout_s, writer->error);
    }
    if (sl_text_equal(name, SL_TEXT("read_timeout"))) {
        return parse_timeout(value, &url->read_timeout_s, writer->error);
    }
    if (sl_text_equal(name, SL_TEXT("write_timeout"))) {
        return parse_timeout(value, &url->write_timeout_s, writer->error);
    }
    if (sl_text_equal(name, SL_TEXT("tls"))) {
        return parse_tls(value, url, writer->error);
    }
    const char *text = decode(writer, value);
    if (text == NULL) {
        return -1;
    }
    if (sl_text_equal(name, SL_TEXT("socket"))) {
        url->socket = text;
    } else if (sl_text_equal(name, SL_TEXT("tls_ca"))) {
        url->tls_ca = text;
    } else if (sl_text_equal(name, SL_TEXT("password_file"))) {
        return url->password != NULL ? 0 : read_password(writer, url, text, writer->error);
    } else {
        return refuse(writer->error,
            "a parameter that is none of socket, password_file, connect_timeout, read_timeout, "
            "write_timeout, tls and tls_ca");
    }
    return 0;
}

static int parse_address(struct writer *writer, struct sl_mariadb_url *url, struct sl_text address)
{
    struct sl_text port = {NULL, 0};
    struct sl_text host = address;
    if (address.size > 0 && address.data[0] == '[') {
        host.data++;
        host.size--;
        port = host;
        host = cut(&port, ']');
        port.data += port.size > 0 && port.data[0] == ':' ? 1 : 0;
        port.size -= port.size > 0 ? 1 : 0;
    } else {
        port = address;
        host = cut(&port, ':');
    }
    uint64_t number = PORT_DEFAULT;
    if (port.size > 0 && (!sl_parse_u64(port, &number) || number == 0 || number > 65535)) {
        return refuse(writer->error, "a port that is no number from 1 to 65535");
    }
    url->port = (unsigned int) number;
    url->host = decode(writer, host.size == 0 ? SL_TEXT("localhost") : host);
    return url->host == NULL ? -1 : 0;
}

static int parse_user(struct writer *writer, struct sl_mariadb_url *url, struct sl_text user)
{
    struct sl_text password = user;
    struct sl_text name = cut(&password, ':');
    bool has_password = name.size < user.size;
    url->user = decode(writer, name);
    url->password = has_password && url->user != NULL ? decode(writer, password) : NULL;
    return url->user == NULL || (has_password && url->password == NULL) ? -1 : 0;
}

static int parse_parts(struct writer *writer, struct sl_mariadb_url *url, struct sl_text rest)
{
    struct sl_text parameters = rest;
    struct sl_text path = cut(&parameters, '?');
    struct sl_text authority = cut(&path, '/');
    struct sl_text address = authority;
    const char *at = memrchr(authority.data, '@', authority.size);
    if (at != NULL) {
        struct sl_text user = {authority.data, (size_t) (at - authority.data)};
        address = (struct sl_text) {at + 1, authority.size - user.size - 1};
        if (parse_user(writer, url, user) != 0) {
            return -1;
        }
    }
    if (parse_address(writer, url, address) != 0) {
        return -1;
    }
    if (path.size == 0 || memchr(path.data, '/', path.size) != NULL) {
        return refuse(writer->error, "no database's name, or more than that, behind the host");
    }
    url->database = decode(writer, path);
    if (url->database == NULL) {
        return -1;
    }
    while (parameters.size > 0) {
        struct sl_text value = cut(&parameters, '&');
        struct sl_text name = cut(&value, '=');
        if (parse_parameter(writer, url, name, value) != 0) {
            return -1;
        }
    }
    return 0;
}

static void write_shown(struct writer *writer, struct sl_mariadb_url *url, size_t size)
{
    const char *user = url->user == NULL ? "" : url->user;
    const char *at = url->user == NULL ? "" : "@";
    url->shown = writer->next;
    if (url->socket != NULL) {
        snprintf(writer->next, size, "mariadb://%s%s/%s?socket=%s", user, at, url->database,
            url->socket);
    } else {
        snprintf(writer->next, size, "mariadb://%s%s%s:%u/%s", user, at, url->host, url->port,
            url->database);
    }
}

int sl_mariadb_url_parse(
    const char *text, struct sl_mariadb_url *ret_url, struct sluice_error *error)
{
    /* Every part once, and once more as it is shown; a password out of a file; NULs. */
    size_t size = strlen(text);
    size_t room = 2 * size + PASSWORD_SIZE_MAX + 128;
    struct sl_mariadb_url url = {
        .memory = sl_allocate(room),
        .connect_timeout_s = CONNECT_TIMEOUT_S,
        .read_timeout_s = READ_TIMEOUT_S,
        .write_timeout_s = READ_TIMEOUT_S,
    };
    if (url.memory == NULL) {
        return sl_fail_memory(error, "a URL");
    }
    struct writer writer = {url.memory, error};
    size_t skipped = scheme_size(text);
    if (parse_parts(&writer, &url, (struct sl_text) {text + skipped, size - skipped}) != 0) {
        sl_mariadb_url_deinit(&url);
        return -1;
    }
    if (url.password == NULL) {
        url.password = getenv("MYSQL_PWD"); /* as MariaDB's own programs do */
    }
    write_shown(&writer, &url, room - (size_t) (writer.next - url.memory));
    *ret_url = url;
    return 0;
}
