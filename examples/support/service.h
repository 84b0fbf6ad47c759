/*
 * support/service.h - what every example service needs around its own work: its options, an HTTP
 * server, its consumers' threads, its events, and a clean end.
 *
 * All requests are handled on one thread, one after another; each consumer has a thread of its own.
 */
#ifndef EXAMPLES_SUPPORT_SERVICE_H
#define EXAMPLES_SUPPORT_SERVICE_H

#include <sluice/consumer.h>

#include "basics.h"
#include "events.h"
#include "http.h"
#include "options.h"

/* One consumer: the events of one topic, under a name that must never change. */
struct subscription {
    const char *consumer;
    const char *topic;
    sluice_handler handler;
};

struct service;

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

#endif
