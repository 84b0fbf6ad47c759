/*
 * cli/gateway_part.h - a gateway and its broker as the config wants them, and what they report.
 */
#ifndef SL_CLI_GATEWAY_PART_H
#define SL_CLI_GATEWAY_PART_H

#include "cli/config.h"
#include "console/console.h"
#include "gateway/gateway.h"

struct sl_gateway_part;

/**
 * Open the broker, if a route is a stream, and the gateway on it.
 *
 * `config` is borrowed for the call. On success `*ret_part` is the caller's, to be ended with
 * sl_gateway_part_stop. After a failure the loop must turn once more.
 */
int sl_gateway_part_open(uv_loop_t *loop, const struct sl_config *config,
    struct sl_gateway_part **ret_part, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Check the routes as opening does, without opening anything.
 */
int sl_gateway_part_check(const struct sl_config *config, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The first address that is listened on: "http://127.0.0.1:8080". The part's.
 */
const char *sl_gateway_part_url(const struct sl_gateway_part *part);

/**
 * Stop; requests other than streams get up to `grace_ms`. `on_stopped` is called once from the
 * loop, and the part is freed.
 */
void sl_gateway_part_stop(struct sl_gateway_part *part, int64_t grace_ms,
    void (*on_stopped)(void *context), void *context);

/**
 * The gateway's metrics and live streams, for the console. The part must outlive it.
 */
struct sl_console_source sl_gateway_part_source(struct sl_gateway_part *part);

#endif
