/*
 * sluice/event.h - an event, as a producer hands it over and as a consumer gets it.
 */
#ifndef SLUICE_EVENT_H
#define SLUICE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include <sluice/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The limits. An event that breaks one is refused before anything is written. */
#define SLUICE_TOPIC_SIZE_MAX 249         /* bytes of [A-Za-z0-9._-], as Kafka has it */
#define SLUICE_KEY_SIZE_MAX 1024          /* bytes of UTF-8 without control characters */
#define SLUICE_TYPE_SIZE_MAX 255          /* bytes of UTF-8 without control characters */
#define SLUICE_PAYLOAD_SIZE_MAX (1 << 20) /* any bytes */
#define SLUICE_HEADER_COUNT_MAX 32
#define SLUICE_HEADER_NAME_SIZE_MAX 128   /* bytes of [A-Za-z0-9._-] */
#define SLUICE_HEADER_VALUE_SIZE_MAX 4096 /* bytes of UTF-8 without control characters */

/* An event id: a UUIDv7 in its 36 characters, and a NUL. */
#define SLUICE_EVENT_ID_SIZE 37

struct sluice_header {
    const char *name;
    const char *value;
};

/*
 * One event. To publish, set topic, type and payload, and the key if later events about the same
 * thing must not overtake this one; leave the rest 0. A consumer finds everything set. All memory
 * stays its owner's: the publisher's during the call, the library's during the handler.
 */
struct sluice_event {
    const char *topic;
    const char *key;     /* NULL: no key, so no order */
    const char *type;    /* "OrderPlaced" */
    const void *payload; /* JSON by custom; NULL only with size 0 */
    size_t payload_size;
    const struct sluice_header *headers;
    size_t header_count;
    const char *id;  /* consumers only */
    int64_t time_ms; /* consumers only: when it was published, Unix time in milliseconds */
};

#ifdef __cplusplus
}
#endif

#endif
