/*
 * cli/dev.h - what `sluice dev` adds to a relay and a gateway: a small publisher with a page.
 *
 * It is a service as a user would write one: it publishes in a transaction (sluice/outbox.h), and
 * what it shows comes back through log, gateway and EventSource. It listens on a free port of the
 * loopback, to which the gateway proxies.
 *
 *   POST /publish?key=K&type=T   the body is the text or JSON to send; answers when committed
 *   GET  /items/{key}            the latest event of a key: the snapshot of /items/{key}/stream
 *   GET  /orders/current         which example order is on its way
 *   GET  /orders/{key}           as /items/{key}, of the example orders
 *   GET  /trace?key=K&version=N  when an event was committed and when it was in the log
 *   GET  /links                  where the console is
 *   GET  /                       the page
 *
 * Limits: 1,000 keys (429 beyond), bodies of 64 KiB, the last 512 traces.
 */
#ifndef SL_CLI_DEV_H
#define SL_CLI_DEV_H

#include <jansson.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

#define SL_DEV_TOPIC "demo.events.v1"
#define SL_DEV_ORDER_TOPIC "demo.order-status.v1"

struct sl_dev;

struct sl_dev_options {
    const char *database; /* borrowed for the open, as the others */
    const char *broker;
};

/**
 * Open database and log, remember what the log holds, and listen on a free port.
 *
 * On success `*ret_dev` is the caller's, to be ended with sl_dev_stop. Blocks for the disk.
 */
int sl_dev_open(uv_loop_t *loop, const struct sl_dev_options *options, struct sl_dev **ret_dev,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Where it listens: "http://127.0.0.1:38123". The object's.
 */
const char *sl_dev_url(const struct sl_dev *dev);

/**
 * Start the example order, which moves through its statuses for ever. `console_url` (may be NULL)
 * is where the page's link leads; it must live until sl_dev_stop.
 */
void sl_dev_start(struct sl_dev *dev, const char *console_url);

/**
 * Stop; the memory is freed by the loop.
 */
void sl_dev_stop(struct sl_dev *dev);

#endif
