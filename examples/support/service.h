/*
 * support/service.h - what every example service needs around its own work: options, an HTTP server
 * (libmicrohttpd), JSON answers (jansson), its consumers' threads, and a clean end.
 *
 * All requests are handled on one thread, one after another; each consumer has a thread of its own.
 */
#ifndef EXAMPLES_SUPPORT_SERVICE_H
#define EXAMPLES_SUPPORT_SERVICE_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdint.h>

#include <sluice/consumer.h>

/* The biggest request body; a bigger one is answered with 413. */
enum { BODY_SIZE_MAX = 64 * 1024 };

/* The most connections at a time; a further one waits in the kernel's queue. */
enum { CONNECTION_COUNT_MAX = 2000 };

struct request {
    struct MHD_Connection *connection;
    const char *method;
    const char *path;
    const char *body; /* ends with a NUL beyond body_size */
    size_t body_size;
};

/* Answers a request by one of the answer functions below. */
typedef enum MHD_Result (*request_handler)(void *context, const struct request *request);

/* One consumer: the events of one topic, under a name that must never change. */
struct subscription {
    const char *consumer;
    const char *topic;
    sluice_handler handler;
};

struct service;

/* An option `--name=value` or `--name value`, with a whole number or a text. */
struct option_field {
    const char *name;
    const char **text; /* one of text and number is set */
    int64_t *number;
    int64_t number_max; /* numbers are 0 ... number_max */
    const char *help;
};

/**
 * Read the command line into the fields; the table ends with a field without a name.
 *
 * Prints help and ends the process for --help, and with status 2 for anything it does not know.
 */
void options_read(int argc, char **argv, const struct option_field *fields);

/* What a service is made of. Texts and tables outlive it; the contexts go to the handlers. */
struct service_options {
    const char *listen_address; /* "HOST:PORT"; port 0: any free one */
    request_handler handler;
    void *context;
    const char *database; /* of the consumers: "sqlite:FILE" */
    const char *broker;   /* "local:FILE" */
    const struct subscription *subscriptions;
    size_t subscription_count;
    void *subscription_context;
};

/**
 * Start to serve and to consume.
 *
 * SIGTERM and SIGINT are blocked in all threads from here on; service_wait takes them. A consumer
 * that fails for good ends the process with status 1. NULL with `error` filled in if the address or
 * a database cannot be had.
 */
struct service *service_start(const struct service_options *options, struct sluice_error *error);

/**
 * The port that is bound.
 */
int service_port(const struct service *service);

/**
 * Wait up to `wait_ms` for SIGTERM or SIGINT: 1 if one came, 0 if the time is over.
 */
int service_wait(int wait_ms);

/**
 * End all: no request and no handler runs when this returns.
 */
void service_stop(struct service *service);

/**
 * Answer with a JSON body; the reference to `take_body` passes.
 */
enum MHD_Result answer_json(const struct request *request, unsigned int status, json_t *take_body);

/* A field of an answer; a list of them ends with a NULL name. */
struct answer_header {
    const char *name;
    const char *value;
};

/**
 * The same with further fields, all of which are copied.
 */
enum MHD_Result answer_json_with(const struct request *request, unsigned int status,
    const struct answer_header *headers, json_t *take_body);

/**
 * Answer with {"message": ...}: how every error is told. `format` is printf's.
 */
enum MHD_Result answer_message(const struct request *request, unsigned int status,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

/**
 * The same with further fields.
 */
enum MHD_Result answer_message_with(const struct request *request, unsigned int status,
    const struct answer_header *headers, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/**
 * Answer with constant bytes, a page for example.
 */
enum MHD_Result answer_bytes(
    const struct request *request, const char *content_type, const void *bytes, size_t size);

/**
 * Whether the request has this method (NULL: any; GET is HEAD, too) and a path of this pattern,
 * where `*` stands for a whole number above 0, which goes to `*ret_number`. At most one `*`.
 */
int request_is(
    const struct request *request, const char *method, const char *pattern, int64_t *ret_number);

/**
 * A header's or a query parameter's value; NULL if there is none. Borrowed from the request.
 */
const char *request_header(const struct request *request, const char *name);
const char *request_parameter(const struct request *request, const char *name);

/**
 * Whether a text is UTF-8; a path, a query and the texts of a JSON body have been checked.
 */
int is_utf8(const char *text);

/**
 * A whole number above 0 out of decimal digits and nothing else, or -1.
 */
int64_t parse_id(const char *text);

/**
 * The payload of an event as a JSON object, for the caller to json_decref; NULL with the reason in
 * `error` if it is none.
 */
json_t *event_object(const struct sluice_event *event, struct sluice_error *error);

/**
 * What a handler answers after a failure: an outage is waited out, all else counts as an attempt.
 */
enum sluice_outcome outcome_of(const struct sluice_error *error);

/**
 * Publish a JSON object with the open transaction; the reference to `take_payload` passes.
 *
 * The key is `key` as decimal digits. `ret_id` may be NULL.
 */
int publish_object(sluice_database *database, const char *topic, const char *type, int64_t key,
    json_t *take_payload, char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Now, as Unix time in milliseconds.
 */
int64_t now_ms(void);

#endif
