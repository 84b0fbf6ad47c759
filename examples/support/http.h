/*
 * support/http.h - an HTTP server (libmicrohttpd) that hands whole requests to one function, and
 * its answers: JSON (jansson), messages, pages. All requests are handled on one thread, one after
 * another.
 */
#ifndef EXAMPLES_SUPPORT_HTTP_H
#define EXAMPLES_SUPPORT_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdint.h>

#include "basics.h"

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

struct http_server;

/**
 * Serve on "HOST:PORT", port 0 being any free one. NULL with `error` if the address cannot be had.
 */
struct http_server *http_start(const char *listen_address, request_handler handler, void *context,
    struct sluice_error *error);

/**
 * The port that is bound.
 */
int http_port(const struct http_server *server);

/**
 * End it: no request is handled when this returns. NULL is fine.
 */
void http_stop(struct http_server *server);

#endif
