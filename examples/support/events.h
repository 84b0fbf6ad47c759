/*
 * support/events.h - events whose payload is a JSON object: read, judged, published.
 */
#ifndef EXAMPLES_SUPPORT_EVENTS_H
#define EXAMPLES_SUPPORT_EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include <sluice/consumer.h>

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
 * Publish a JSON object with the open transaction under a text key; the reference to `take_payload`
 * passes. `ret_id` may be NULL.
 */
int publish_keyed(sluice_database *database, const char *topic, const char *type, const char *key,
    json_t *take_payload, char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Publish a JSON object with the open transaction; the reference to `take_payload` passes.
 *
 * The key is `key` as decimal digits. `ret_id` may be NULL.
 */
int publish_object(sluice_database *database, const char *topic, const char *type, int64_t key,
    json_t *take_payload, char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
    __attribute__((warn_unused_result));

#endif
