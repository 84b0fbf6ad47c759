/*
 * cli/broker_state.h - how the broker stands, and where the consumers are in it, as JSON.
 *
 *     {"url", "epoch", "topics": [{"topic", "partitions", "retained_events", "next_offsets"}],
 *      "places": [{"consumer", "topic", "partition", "offset", "next_offset", "lag_events",
 *                  "lag_ms"}]}
 *
 * A place is shown for each partition that a consumer has committed once. lag_ms is the age of the
 * first event that the consumer has not committed.
 */
#ifndef SL_CLI_BROKER_STATE_H
#define SL_CLI_BROKER_STATE_H

#include <jansson.h>

#include "broker/broker.h"

/**
 * Read how a broker stands, with the places of the consumers that `databases` (the JSON of
 * console/state.h, an array; may be NULL) knows.
 *
 * Blocks for the disk. On success `*ret_state` is the caller's to json_decref.
 */
int sl_state_of_broker(struct sl_broker *broker, const char *url, const json_t *databases,
    int64_t now_ms, json_t **ret_state, struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
