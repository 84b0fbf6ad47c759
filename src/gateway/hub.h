/*
 * gateway/hub.h - the recent events of a topic, and who listens to which key.
 *
 * Pure: no descriptor, no clock, no loop. A hub keeps the last events in the order in which they
 * came, up to a number and a size; the oldest go first. Per key it knows its events and its
 * subscriptions. Per partition it knows what it covers:
 *
 *     floor < offsets of events that are here, or that have no place here <= last
 *
 * In Kafka offsets have holes (transactions' marks, compaction), which are places without an event;
 * in the local log they have none, so that a hole is something that was never read here.
 *
 * An event is one frame for all of a key's streams. Invariants: a key's record lives while it has
 * an event or a subscription, and its latest event stays while it has a subscription, whatever the
 * ring has dropped; the floor never falls; what cannot be vouched for is refused (sl_hub_check).
 */
#ifndef SL_GATEWAY_HUB_H
#define SL_GATEWAY_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "base/text.h"
#include "gateway/event_id.h"
#include "http/frame.h"

enum { SL_HUB_PARTITIONS_MAX = 4096 };

struct sl_hub_key;
struct sl_subscription;

/* An event as streams send it. */
struct sl_hub_event {
    struct sl_hub_event *next;        /* in the ring, to the newer one */
    struct sl_hub_event *next_of_key; /* to the key's newer one */
    struct sl_hub_key *key;
    struct sl_frame *frame; /* with an id without a generation */
    int64_t offset;
    int64_t version; /* -1: none */
    int32_t partition;
    uint32_t reference_count;
    uint32_t id_end; /* where in the frame's data the id's text ends */
    bool is_final;
};

/* What a feed hands over; borrowed for the call. */
struct sl_hub_record {
    struct sl_text key;
    struct sl_text type; /* empty: none */
    struct sl_text payload;
    int64_t offset;
    int64_t version; /* -1: none */
    int32_t partition;
    bool is_final;
};

/*
 * Hears of a key's events, and with NULL that at least one was lost before it got here. May end its
 * own subscription when it hears of an event, but no other one, and none when it hears of a loss.
 */
typedef void (*sl_hub_on_event)(struct sl_subscription *subscription,
    const struct sl_hub_event *event);

/* Embedded in whoever listens; all zero: not subscribed. */
struct sl_subscription {
    struct sl_subscription *previous;
    struct sl_subscription *next;
    struct sl_hub_key *key;
    sl_hub_on_event on_event;
};

/* A key with its events, the oldest first, and its subscriptions. */
struct sl_hub_key {
    struct sl_hub_event *first;
    struct sl_hub_event *last;
    struct sl_hub_event *latest; /* as `last`, but kept while there are subscriptions */
    struct sl_subscription *subscriptions;
    size_t size;
    uint32_t place; /* in the ids of its events */
    char text[];
};

struct sl_hub_partition {
    int64_t floor;
    int64_t last;
    bool is_known;
};

struct sl_hub {
    char epoch[SL_EVENT_ID_EPOCH_SIZE + 1];
    const char *topic; /* borrowed */
    size_t events_max;
    size_t bytes_max;
    struct sl_table keys;
    struct sl_hub_event *first;
    struct sl_hub_event *last;
    size_t event_count;
    size_t bytes;
    struct sl_hub_partition *partitions;
    int32_t partition_capacity;
    int32_t partition_count; /* of the topic; 0: not known yet */
    bool is_sparse;          /* an offset need not be a record's: a hole is no loss */
    uint64_t loss_count;     /* how often something stopped being covered */
};

/* Whether a client that comes back can be served from here. */
enum sl_hub_verdict {
    SL_HUB_RESUMES,
    SL_HUB_FOREIGN_EPOCH, /* the id is of other contents of the broker */
    SL_HUB_OTHER_PLACE,   /* the id is of another topic or key */
    SL_HUB_TOO_OLD,       /* events behind the id may have been dropped here */
    SL_HUB_AHEAD,         /* the id names a place that has not been read here */
    SL_HUB_MOVED          /* the id names another partition than the key's, or none */
};

/**
 * Start an empty hub for a topic, whose name must outlive it, and the broker's contents of `epoch`.
 */
void sl_hub_init(
    struct sl_hub *hub, const char *topic, const char *epoch, size_t events_max, size_t bytes_max);

/**
 * Free everything; there must be no subscriptions. NULL is fine.
 */
void sl_hub_deinit(struct sl_hub *hub);

/**
 * Note how many partitions the topic has.
 */
void sl_hub_set_partition_count(struct sl_hub *hub, int32_t count);

/**
 * Note that a partition's next record will have `next_offset`, unless records of it are known. -1
 * without memory or for a partition outside of 0..SL_HUB_PARTITIONS_MAX-1.
 */
int sl_hub_set_start(struct sl_hub *hub, int32_t partition, int64_t next_offset)
    __attribute__((warn_unused_result));

/**
 * Keep an event and tell the key's subscriptions of it. -1 without memory, for a bad partition or a
 * type that cannot be sent: nobody was told, and the place counts as not covered.
 */
int sl_hub_publish(struct sl_hub *hub, const struct sl_hub_record *record)
    __attribute__((warn_unused_result));

/**
 * Note that a record has been read which tells nobody anything.
 */
int sl_hub_skip(struct sl_hub *hub, int32_t partition, int64_t offset)
    __attribute__((warn_unused_result));

/**
 * Subscribe to a key from now on. -1 without memory.
 */
int sl_hub_subscribe(struct sl_hub *hub, struct sl_text key, struct sl_subscription *subscription,
    sl_hub_on_event on_event) __attribute__((warn_unused_result));

/**
 * End a subscription, and only this one. Of one that does not exist: nothing happens.
 */
void sl_hub_unsubscribe(struct sl_hub *hub, struct sl_subscription *subscription);

/**
 * The key's partition and the last offset that was read of it; -1 and -1 if it is not known yet.
 */
void sl_hub_position(const struct sl_hub *hub, struct sl_text key, int32_t *ret_partition,
    int64_t *ret_offset);

/**
 * Whether all events of the key behind the id are here.
 */
enum sl_hub_verdict sl_hub_check(const struct sl_hub *hub, struct sl_text key,
    const struct sl_event_id *id);

/**
 * Whether nothing behind a place is missing here that came since the hub's loss_count was what the
 * caller noted then. The partition may be -1, for a key whose partition was not known yet.
 */
bool sl_hub_covers(const struct sl_hub *hub, int32_t partition, int64_t offset,
    uint64_t loss_count);

/**
 * Build the frame of an event for one stream: with its generation in the id. The caller's to unref;
 * NULL without memory.
 */
struct sl_frame *sl_hub_frame_with_generation(const struct sl_hub_event *event,
    uint64_t generation) __attribute__((warn_unused_result));

#endif
