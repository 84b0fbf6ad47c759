#include "service.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct consumer_thread {
    sluice_consumer *consumer;
    const char *name;
    pthread_t thread;
    int is_running;
};

struct service {
    struct MHD_Daemon *daemon;
    request_handler handler;
    void *context;
    int port;
    size_t consumer_count;
    struct consumer_thread consumers[];
};

/* A request while its body arrives. */
struct upload {
    char *body;
    size_t size;
    int is_too_large;
};

static void fail(struct sluice_error *error, enum sluice_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct sluice_error *error, enum sluice_code code, const char *format, ...)
{
    *error = (struct sluice_error){.code = code, .reaction = SLUICE_FATAL};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
}

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t parse_id(const char *text)
{
    char *end = NULL;
    errno = 0;
    long long number =
        text != NULL && isdigit((unsigned char)text[0]) ? strtoll(text, &end, 10) : 0;
    return number > 0 && errno == 0 && *end == '\0' ? number : -1;
}

/* --- options --------------------------------------------------------------------------------- */

static void print_help(const char *program, const struct option_field *fields)
{
    printf("usage: %s [options]\n", program);
    for (const struct option_field *field = fields; field->name != NULL; field++) {
        printf("  --%-22s %s", field->name, field->help);
        if (field->number != NULL) {
            printf(" (%" PRId64 ")\n", *field->number);
        } else {
            printf(*field->text != NULL ? " (%s)\n" : "\n", *field->text);
        }
    }
}

static int set_option(const struct option_field *field, const char *value)
{
    if (field->text != NULL) {
        *field->text = value;
        return 0;
    }
    int64_t number = strcmp(value, "0") == 0 ? 0 : parse_id(value);
    if (number < 0 || number > field->number_max) {
        fprintf(stderr, "--%s takes a whole number from 0 to %" PRId64 ", not '%s'\n", field->name,
            field->number_max, value);
        return -1;
    }
    *field->number = number;
    return 0;
}

void options_read(int argc, char **argv, const struct option_field *fields)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(argv[0], fields);
            exit(EXIT_SUCCESS);
        }
        const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        size_t name_size = strcspn(name, "=");
        const char *value = name[name_size] == '=' ? name + name_size + 1 : NULL;
        const struct option_field *field = fields;
        while (field->name != NULL &&
               !(strlen(field->name) == name_size && strncmp(field->name, name, name_size) == 0)) {
            field++;
        }
        if (field->name == NULL) {
            fprintf(stderr, "%s: unknown option '%s'; see --help\n", argv[0], argv[i]);
            exit(2);
        }
        if (value == NULL && i + 1 < argc) {
            value = argv[++i];
        }
        if (value == NULL || set_option(field, value) != 0) {
            fprintf(stderr, "%s: --%s needs a value; see --help\n", argv[0], field->name);
            exit(2);
        }
    }
}

/* --- requests and answers -------------------------------------------------------------------- */

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

int is_utf8(const char *text)
{
    json_t *probe = json_string(text);
    json_decref(probe);
    return probe != NULL;
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
    struct service *service = context;
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
    return service->handler(service->context, &request);
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

static int start_http(
    struct service *service, const char *listen_address, struct sluice_error *error)
{
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(listen_address, ':');
    int64_t port = colon == NULL ? -1 : strcmp(colon, ":0") == 0 ? 0 : parse_id(colon + 1);
    if (colon != NULL && (size_t)(colon - listen_address) < sizeof(host)) {
        snprintf(host, sizeof(host), "%.*s", (int)(colon - listen_address), listen_address);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (port < 0 || port > 65535 || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fail(error, SLUICE_INVALID, "listen address '%s' is not like 127.0.0.1:9000",
            listen_address);
        return -1;
    }
    service->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME, 0,
            NULL, NULL, on_request, service, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned int)CONNECTION_COUNT_MAX, MHD_OPTION_CONNECTION_TIMEOUT, 60U, MHD_OPTION_END);
    if (service->daemon == NULL) {
        fail(error, SLUICE_IO, "cannot listen on %s: %s", listen_address, strerror(errno));
        return -1;
    }
    service->port = MHD_get_daemon_info(service->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return 0;
}

/* --- consumers and the whole ----------------------------------------------------------------- */

static void *run_consumer(void *argument)
{
    struct consumer_thread *thread = argument;
    struct sluice_error error;
    if (sluice_consumer_run(thread->consumer, &error) != 0) {
        fprintf(stderr, "consumer %s ended: %s\n", thread->name, error.text);
        _exit(EXIT_FAILURE); /* a service that only answers and no longer consumes helps nobody */
    }
    return NULL;
}

static int start_consumer(struct consumer_thread *thread, const struct subscription *subscription,
    const struct service_options *service, struct sluice_error *error)
{
    struct sluice_consumer_options options = {
        .name = subscription->consumer, .database = service->database, .broker = service->broker};
    thread->name = subscription->consumer;
    if (sluice_consumer_open(&options, &thread->consumer, error) != 0 ||
        sluice_consumer_subscribe(thread->consumer, subscription->topic, subscription->handler,
            service->subscription_context, error) != 0) {
        return -1;
    }
    int code = pthread_create(&thread->thread, NULL, run_consumer, thread);
    if (code != 0) {
        fail(error, SLUICE_IO, "cannot start a thread for consumer %s: %s", thread->name,
            strerror(code));
        return -1;
    }
    thread->is_running = 1;
    return 0;
}

static sigset_t end_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return signals;
}

struct service *service_start(const struct service_options *options, struct sluice_error *error)
{
    sigset_t signals = end_signals();
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    size_t count = options->subscription_count;
    struct service *service = calloc(1, sizeof(*service) + count * sizeof(service->consumers[0]));
    if (service == NULL) {
        fail(error, SLUICE_NO_MEMORY, "no memory to start");
        return NULL;
    }
    service->handler = options->handler;
    service->context = options->context;
    service->consumer_count = count;
    for (size_t i = 0; i < count; i++) {
        if (start_consumer(&service->consumers[i], &options->subscriptions[i], options, error) !=
            0) {
            service_stop(service);
            return NULL;
        }
    }
    if (start_http(service, options->listen_address, error) != 0) {
        service_stop(service);
        return NULL;
    }
    return service;
}

int service_port(const struct service *service)
{
    return service->port;
}

int service_wait(int wait_ms)
{
    sigset_t signals = end_signals();
    struct timespec limit = {wait_ms / 1000, (wait_ms % 1000) * 1000000L};
    return sigtimedwait(&signals, NULL, &limit) > 0;
}

void service_stop(struct service *service)
{
    if (service->daemon != NULL) {
        MHD_stop_daemon(service->daemon);
    }
    for (size_t i = 0; i < service->consumer_count; i++) {
        if (service->consumers[i].is_running) {
            sluice_consumer_stop(service->consumers[i].consumer);
        }
    }
    for (size_t i = 0; i < service->consumer_count; i++) {
        if (service->consumers[i].is_running) {
            pthread_join(service->consumers[i].thread, NULL);
        }
        sluice_consumer_close(service->consumers[i].consumer);
    }
    free(service);
}

/* --- events ---------------------------------------------------------------------------------- */

json_t *event_object(const struct sluice_event *event, struct sluice_error *error)
{
    json_error_t cause;
    json_t *object =
        json_loadb(event->payload, event->payload_size, JSON_REJECT_DUPLICATES, &cause);
    if (object == NULL) {
        fail(error, SLUICE_INVALID, "the payload is no JSON: %s", cause.text);
    } else if (!json_is_object(object)) {
        fail(error, SLUICE_INVALID, "the payload is no JSON object");
        json_decref(object);
        object = NULL;
    }
    return object;
}

enum sluice_outcome outcome_of(const struct sluice_error *error)
{
    return error->reaction == SLUICE_RETRY ? SLUICE_RETRY_LATER : SLUICE_FAILED;
}

int publish_object(sluice_database *database, const char *topic, const char *type, int64_t key,
    json_t *take_payload, char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
{
    char key_text[24];
    snprintf(key_text, sizeof(key_text), "%" PRId64, key);
    char *payload = json_dumps(take_payload, JSON_COMPACT);
    json_decref(take_payload);
    if (payload == NULL) {
        fail(error, SLUICE_NO_MEMORY, "no memory for an event of %s", topic);
        return -1;
    }
    struct sluice_event event = {.topic = topic,
        .key = key_text,
        .type = type,
        .payload = payload,
        .payload_size = strlen(payload)};
    int result = sluice_publish(database, &event, ret_id, error);
    free(payload);
    return result;
}
