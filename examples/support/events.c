#include "events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basics.h"

json_t *event_object(const struct sluice_event *event, struct sluice_error *error)
{
    json_error_t cause;
    json_t *object =
        json_loadb(event->payload, event->payload_size, JSON_REJECT_DUPLICATES, &cause);
    if (object == NULL) {
        fail_with(error, SLUICE_INVALID, SLUICE_FATAL, "the payload is no JSON: %s", cause.text);
    } else if (!json_is_object(object)) {
        fail_with(error, SLUICE_INVALID, SLUICE_FATAL, "the payload is no JSON object");
        json_decref(object);
        object = NULL;
    }
    return object;
}

enum sluice_outcome outcome_of(const struct sluice_error *error)
{
    return error->reaction == SLUICE_RETRY ? SLUICE_RETRY_LATER : SLUICE_FAILED;
}

int publish_keyed(sluice_database *database, const char *topic, const char *type, const char *key,
    json_t *take_payload, char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
{
    char *payload = json_dumps(take_payload, JSON_COMPACT);
    json_decref(take_payload);
    if (payload == NULL) {
        return fail_with(
            error, SLUICE_NO_MEMORY, SLUICE_RETRY, "no memory for an event of %s", topic);
    }
    struct sluice_event event = {.topic = topic,
        .key = key,
        .type = type,
        .payload = payload,
        .payload_size = strlen(payload)};
    int result = sluice_publish(database, &event, ret_id, error);
    free(payload);
    return result;
}

int publish_object(sluice_database *database, const char *topic, const char *type, int64_t key,
    json_t *take_payload, char ret_id[SLUICE_EVENT_ID_SIZE], struct sluice_error *error)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, key);
    return publish_keyed(database, topic, type, text, take_payload, ret_id, error);
}
