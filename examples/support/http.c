#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http_server {
    struct MHD_Daemon *daemon;
    request_handler handler;
    void *context;
    int port;
};

/* A request while its body arrives. */
struct upload {
    char *body;
    size_t size;
    int is_too_large;
};

int request_is(
    const struct request *request, const char *method, const char *pattern, int64_t *ret_number)
{
    int is_head =
        method != NULL && strcmp(method, "GET") == 0 &&
        strcmp(request->method, "HEAD") == 0; /* the same without the body, which is left out */
    if (method != NULL && !is_head && strcmp(request->method, method) != 0) {
        return 0;
    }
    const char *star = strchr(pattern, '*');
    if (star == NULL) {
        return strcmp(request->path, pattern) == 0;
    }
    size_t prefix_size = (size_t)(star - pattern);
    if (strncmp(request->path, pattern, prefix_size) != 0) {
        return 0;
    }
    const char *digits = request->path + prefix_size;
    size_t digit_count = strspn(digits, "0123456789");
    if (strcmp(digits + digit_count, star + 1) != 0) {
        return 0;
    }
    char text[24];
    snprintf(text, sizeof(text), "%.*s", (int)digit_count, digits);
    int64_t number = digit_count < sizeof(text) ? parse_id(text) : -1;
    if (number > 0 && ret_number != NULL) {
        *ret_number = number;
    }
    return number > 0;
}

const char *request_header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *request_parameter(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result answer(const struct request *request, unsigned int status, const char *type,
    const struct answer_header *headers, struct MHD_Response *body)
{
    if (body == NULL) {
        return MHD_NO; /* no memory: the connection is closed */
    }
    for (; headers != NULL && headers->name != NULL; headers++) {
        if (MHD_add_response_header(body, headers->name, headers->value) != MHD_YES) {
            MHD_destroy_response(body);
            return MHD_NO; /* without it the answer would say something else */
        }
    }
    MHD_add_response_header(body, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(body, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result result = MHD_queue_response(request->connection, status, body);
    MHD_destroy_response(body);
    return result;
}

enum MHD_Result answer_json(const struct request *request, unsigned int status, json_t *take_body)
{
    return answer_json_with(request, status, NULL, take_body);
}

enum MHD_Result answer_json_with(const struct request *request, unsigned int status,
    const struct answer_header *headers, json_t *take_body)
{
    char *text = json_dumps(take_body, JSON_COMPACT);
    json_decref(take_body);
    if (text == NULL) {
        return MHD_NO;
    }
    return answer(request, status, "application/json", headers,
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

/* What a message quotes may be cut in the middle of a character, or be no text at all. */
static void make_utf8(char *text)
{
    while (*text != '\0') {
        unsigned char lead = (unsigned char)*text;
        size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        char character[5];
        snprintf(character, sizeof(character), "%.*s", (int)size, text);
        if (!is_utf8(character)) {
            *text = '?';
            size = 1;
        }
        text += size;
    }
}

enum MHD_Result answer_message(
    const struct request *request, unsigned int status, const char *format, ...)
{
    char message[SLUICE_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    return answer_message_with(request, status, NULL, "%s", message);
}

enum MHD_Result answer_message_with(const struct request *request, unsigned int status,
    const struct answer_header *headers, const char *format, ...)
{
    char message[SLUICE_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    make_utf8(message);
    return answer_json_with(request, status, headers, json_pack("{s:s}", "message", message));
}

enum MHD_Result answer_bytes(
    const struct request *request, const char *content_type, const void *bytes, size_t size)
{
    /* Persistent memory is only read; the cast is for the library's older signature. */
    return answer(request, MHD_HTTP_OK, content_type, NULL,
        MHD_create_response_from_buffer(size, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result check_argument(
    void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    int *is_text = context;
    *is_text = *is_text && is_utf8(name) && (value == NULL || is_utf8(value));
    return MHD_YES;
}

/* Whether path and query are UTF-8, so that a database can be asked for what they say. */
static int is_text(const struct request *request)
{
    int result = is_utf8(request->path);
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, check_argument, &result);
    return result;
}

/* libmicrohttpd calls this with the head, then with each piece of the body, then with size 0. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *data_size,
    void **upload_slot)
{
    (void)version;
    struct http_server *server = context;
    struct upload *upload = *upload_slot;
    if (upload == NULL) {
        *upload_slot = calloc(1, sizeof(*upload));
        return *upload_slot != NULL ? MHD_YES : MHD_NO;
    }
    if (*data_size != 0) {
        if (upload->size + *data_size > BODY_SIZE_MAX) {
            upload->is_too_large = 1; /* the rest is read and dropped, so that the answer arrives */
        } else {
            char *body = realloc(upload->body, upload->size + *data_size + 1);
            if (body == NULL) {
                return MHD_NO;
            }
            memcpy(body + upload->size, data, *data_size);
            upload->body = body;
            upload->size += *data_size;
            body[upload->size] = '\0';
        }
        *data_size = 0;
        return MHD_YES;
    }
    struct request request = {.connection = connection,
        .method = method,
        .path = url,
        .body = upload->body != NULL ? upload->body : "",
        .body_size = upload->size};
    if (upload->is_too_large) {
        return answer_message(&request, MHD_HTTP_CONTENT_TOO_LARGE,
            "the body is larger than %d bytes", BODY_SIZE_MAX);
    }
    if (!is_text(&request)) {
        return answer_message(&request, MHD_HTTP_BAD_REQUEST, "path and query must be UTF-8");
    }
    return server->handler(server->context, &request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **upload_slot,
    enum MHD_RequestTerminationCode code)
{
    (void)context, (void)connection, (void)code;
    struct upload *upload = *upload_slot;
    if (upload != NULL) {
        free(upload->body);
        free(upload);
        *upload_slot = NULL;
    }
}

struct http_server *http_start(const char *listen_address, request_handler handler, void *context,
    struct sluice_error *error)
{
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(listen_address, ':');
    int64_t port = colon == NULL ? -1 : strcmp(colon, ":0") == 0 ? 0 : parse_id(colon + 1);
    if (colon != NULL && (size_t)(colon - listen_address) < sizeof(host)) {
        snprintf(host, sizeof(host), "%.*s", (int)(colon - listen_address), listen_address);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (port < 0 || port > 65535 || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fail_with(error, SLUICE_INVALID, SLUICE_FATAL,
            "listen address '%s' is not like 127.0.0.1:9000", listen_address);
        return NULL;
    }
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        fail_with(error, SLUICE_NO_MEMORY, SLUICE_RETRY, "no memory to serve");
        return NULL;
    }
    server->handler = handler;
    server->context = context;
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME, 0,
            NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned int)CONNECTION_COUNT_MAX, MHD_OPTION_CONNECTION_TIMEOUT, 60U, MHD_OPTION_END);
    if (server->daemon == NULL) {
        fail_with(error, SLUICE_IO, SLUICE_FATAL, "cannot listen on %s: %s", listen_address,
            strerror(errno));
        free(server);
        return NULL;
    }
    server->port = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return server;
}

int http_port(const struct http_server *server)
{
    return server->port;
}

void http_stop(struct http_server *server)
{
    if (server != NULL) {
        MHD_stop_daemon(server->daemon);
        free(server);
    }
}
