/*
 * cli/dev_internal.h - what dev.c and dev_http.c share: the publisher itself.
 */
#ifndef SL_CLI_DEV_INTERNAL_H
#define SL_CLI_DEV_INTERNAL_H

#include "base/parse.h"
#include "cli/dev.h"
#include "cli/dev_items.h"
#include "console/state.h"
#include "http/server.h"

enum { SL_DEV_BODY_SIZE_MAX = 65536 };

struct sluice_database;
struct sl_broker;
struct sl_reader;

struct sl_dev {
    struct sluice_database *database;
    struct sl_broker *broker;
    struct sl_reader *reader; /* of both topics, from their start */
    struct sl_http_server *server;
    uv_timer_t timer; /* the example order's */
    struct sl_dev_items items;
    size_t step;
    int64_t order_number;
    char order_key[32];
    const char *console_url; /* or NULL */
    int open_parts;
};

/**
 * Answer a request; sl_http_on_request with the publisher as its context.
 */
void sl_dev_serve(void *context, struct sl_exchange *exchange);

/**
 * Publish an event in a transaction of its own; key, type and the key's next version are put into
 * `body`, an object, which becomes the payload. Blocks for the commit.
 */
int sl_dev_publish(struct sl_dev *dev, const char *topic, struct sl_text key, const char *type,
    json_t *body, int64_t *ret_version, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
