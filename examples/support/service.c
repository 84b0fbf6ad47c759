#include "service.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct consumer_thread {
    sluice_consumer *consumer;
    const char *name;
    pthread_t thread;
    int is_running;
};

struct service {
    struct http_server *http;
    size_t consumer_count;
    struct consumer_thread consumers[];
};

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
        return fail_with(error, SLUICE_IO, SLUICE_FATAL,
            "cannot start a thread for consumer %s: %s", thread->name, strerror(code));
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
        fail_with(error, SLUICE_NO_MEMORY, SLUICE_FATAL, "no memory to start");
        return NULL;
    }
    service->consumer_count = count;
    for (size_t i = 0; i < count; i++) {
        if (start_consumer(&service->consumers[i], &options->subscriptions[i], options, error) !=
            0) {
            service_stop(service);
            return NULL;
        }
    }
    service->http = http_start(options->listen_address, options->handler, options->context, error);
    if (service->http == NULL) {
        service_stop(service);
        return NULL;
    }
    return service;
}

int service_port(const struct service *service)
{
    return http_port(service->http);
}

int service_wait(int wait_ms)
{
    sigset_t signals = end_signals();
    struct timespec limit = {wait_ms / 1000, (wait_ms % 1000) * 1000000L};
    return sigtimedwait(&signals, NULL, &limit) > 0;
}

void service_stop(struct service *service)
{
    http_stop(service->http);
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
