#include "gateway/hub.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "broker/broker.h"
#include "wire/sse.h"

enum { FRAME_SIZE_MAX = 8 * 1024 * 1024, BOOKKEEPING_SIZE = 160 };

void sl_hub_init(
    struct sl_hub *hub, const char *topic, const char *epoch, size_t events_max, size_t bytes_max)
{
    *hub = (struct sl_hub){.topic = topic, .events_max = events_max, .bytes_max = bytes_max};
    snprintf(hub->epoch, sizeof(hub->epoch), "%s", epoch);
    sl_table_init(&hub->keys);
}

static void unref_event(struct sl_hub_event *event)
{
    if (event != NULL && --event->reference_count == 0) {
        sl_frame_unref(event->frame);
        sl_free(event);
    }
}

static struct sl_text key_text(const struct sl_hub_key *key)
{
    return (struct sl_text) {key->text, key->size};
}

static void free_key_if_unused(struct sl_hub *hub, struct sl_hub_key *key)
{
    if (key->first != NULL || key->subscriptions != NULL) {
        return;
    }
    unref_event(key->latest);
    sl_table_remove(&hub->keys, key_text(key));
    sl_free(key);
}

static struct sl_hub_key *find_or_add_key(struct sl_hub *hub, struct sl_text text)
{
    struct sl_hub_key *key = sl_table_get(&hub->keys, text);
    if (key != NULL) {
        return key;
    }
    key = sl_allocate(sizeof(*key) + text.size);
    if (key == NULL) {
        return NULL;
    }
    key->size = text.size;
    key->place = sl_event_id_place(sl_text_of(hub->topic), text);
    if (text.size > 0) {
        memcpy(key->text, text.data, text.size);
    }
    if (sl_table_put(&hub->keys, text, key) != 0) {
        sl_free(key);
        return NULL;
    }
    return key;
}

static size_t cost_of(const struct sl_hub_event *event)
{
    return event->frame->size + BOOKKEEPING_SIZE + event->key->size;
}

/* Drop the oldest event: what lies at or before it can be vouched for no more. */
static void drop_oldest(struct sl_hub *hub)
{
    struct sl_hub_event *event = hub->first;
    struct sl_hub_key *key = event->key;
    struct sl_hub_partition *partition = &hub->partitions[event->partition];
    assert(key->first == event);
    hub->bytes -= cost_of(event);
    hub->event_count--;
    hub->first = event->next;
    hub->last = hub->first == NULL ? NULL : hub->last;
    key->first = event->next_of_key;
    key->last = key->first == NULL ? NULL : key->last;
    partition->floor = event->offset > partition->floor ? event->offset : partition->floor;
    hub->loss_count++;
    unref_event(event);
    free_key_if_unused(hub, key);
}

void sl_hub_deinit(struct sl_hub *hub)
{
    if (hub == NULL) {
        return;
    }
    while (hub->first != NULL) {
        drop_oldest(hub);
    }
    sl_table_deinit(&hub->keys);
    sl_free(hub->partitions);
    hub->partitions = NULL;
    hub->partition_capacity = 0;
}

void sl_hub_set_partition_count(struct sl_hub *hub, int32_t count)
{
    hub->partition_count = count;
}

/* The record of a partition, made if it is missing; NULL without memory or for a bad number. */
static struct sl_hub_partition *find_partition(struct sl_hub *hub, int32_t number)
{
    if (number < 0 || number >= SL_HUB_PARTITIONS_MAX) {
        return NULL;
    }
    if (number >= hub->partition_capacity) {
        int32_t capacity = hub->partition_capacity == 0 ? 8 : hub->partition_capacity;
        while (capacity <= number) {
            capacity *= 2;
        }
        struct sl_hub_partition *partitions =
            sl_reallocate(hub->partitions, (size_t) capacity * sizeof(*partitions));
        if (partitions == NULL) {
            return NULL;
        }
        memset(partitions + hub->partition_capacity, 0,
            (size_t) (capacity - hub->partition_capacity) * sizeof(*partitions));
        hub->partitions = partitions;
        hub->partition_capacity = capacity;
    }
    return &hub->partitions[number];
}

int sl_hub_set_start(struct sl_hub *hub, int32_t partition, int64_t next_offset)
{
    struct sl_hub_partition *found = find_partition(hub, partition);
    if (found == NULL) {
        return -1;
    }
    if (!found->is_known) {
        *found = (struct sl_hub_partition) {next_offset - 1, next_offset - 1, true};
    }
    return 0;
}

static void tell(struct sl_hub_key *key, const struct sl_hub_event *event)
{
    struct sl_subscription *next;
    for (struct sl_subscription *each = key->subscriptions; each != NULL; each = next) {
        next = each->next;
        each->on_event(each, event);
    }
}

static bool tell_of_loss(void *context, struct sl_text text, void *value)
{
    (void) context;
    (void) text;
    tell(value, NULL);
    return true;
}

/* Move a partition's end to `offset`. What lies in a hole before it was never read here. */
static void advance(struct sl_hub *hub, struct sl_hub_partition *partition, int64_t offset)
{
    bool was_known = partition->is_known;
    int64_t expected = was_known ? partition->last + 1 : 0;
    partition->is_known = true;
    partition->last = offset;
    if (offset == expected || (hub->is_sparse && was_known && offset > expected)) {
        partition->floor = was_known ? partition->floor : -1;
        return;
    }
    partition->floor = offset - 1;
    hub->loss_count++;
    if (was_known) {
        sl_table_each(&hub->keys, tell_of_loss, NULL);
    }
}

int sl_hub_skip(struct sl_hub *hub, int32_t partition, int64_t offset)
{
    struct sl_hub_partition *found = find_partition(hub, partition);
    if (found == NULL) {
        return -1;
    }
    advance(hub, found, offset);
    return 0;
}

static struct sl_frame *build_frame(const struct sl_hub *hub, const struct sl_hub_key *key,
    const struct sl_hub_record *record, uint32_t *ret_id_end)
{
    struct sl_buffer buffer;
    struct sl_frame *frame = NULL;
    char id_text[SL_EVENT_ID_SIZE_MAX + 1];
    struct sl_event_id id = {.place = key->place,
        .partition = record->partition,
        .offset = record->offset,
        .version = record->version};
    memcpy(id.epoch, hub->epoch, sizeof(id.epoch));
    /* A generation, where there is one, stands before the mark of a final event. */
    *ret_id_end = (uint32_t) (strlen("id: ") + sl_event_id_format(&id, id_text));
    id.is_final = record->is_final;
    size_t id_size = sl_event_id_format(&id, id_text);
    struct sl_sse_event event = {
        .id = {id_text, id_size},
        .type = record->type,
        .data = record->payload.data == NULL ? SL_TEXT("") : record->payload,
        .retry_ms = -1,
    };
    sl_buffer_init(&buffer, FRAME_SIZE_MAX);
    if (sl_sse_write(&buffer, &event) == 0) {
        frame = sl_frame_new(buffer.data, buffer.size);
    }
    sl_buffer_deinit(&buffer);
    return frame;
}

struct sl_frame *sl_hub_frame_with_generation(
    const struct sl_hub_event *event, uint64_t generation)
{
    struct sl_buffer buffer;
    const char *data = event->frame->bytes + event->frame->data_offset;
    struct sl_frame *frame = NULL;
    sl_buffer_init(&buffer, FRAME_SIZE_MAX + 64);
    sl_buffer_append(&buffer, data, event->id_end);
    sl_buffer_append_format(&buffer, "-g%" PRIx64, generation);
    sl_buffer_append(&buffer, data + event->id_end, event->frame->data_size - event->id_end);
    if (!buffer.is_failed) {
        frame = sl_frame_new(buffer.data, buffer.size);
    }
    sl_buffer_deinit(&buffer);
    return frame;
}

static void append_event(struct sl_hub *hub, struct sl_hub_key *key, struct sl_hub_event *event)
{
    event->key = key;
    event->reference_count = 2; /* the ring's and the key's */
    if (hub->last != NULL) {
        hub->last->next = event;
    } else {
        hub->first = event;
    }
    hub->last = event;
    if (key->last != NULL) {
        key->last->next_of_key = event;
    } else {
        key->first = event;
    }
    key->last = event;
    unref_event(key->latest);
    key->latest = event;
    hub->event_count++;
    hub->bytes += cost_of(event);
}

/* An event could not be kept: its place is not covered, and whoever listens must know. */
static void lose(struct sl_hub *hub, const struct sl_hub_record *record)
{
    struct sl_hub_partition *partition = find_partition(hub, record->partition);
    struct sl_hub_key *key = sl_table_get(&hub->keys, record->key);
    hub->loss_count++;
    if (partition != NULL) {
        advance(hub, partition, record->offset);
        partition->floor = record->offset;
    }
    if (key != NULL) {
        tell(key, NULL);
        free_key_if_unused(hub, key);
    }
}

int sl_hub_publish(struct sl_hub *hub, const struct sl_hub_record *record)
{
    uint32_t id_end;
    struct sl_hub_partition *partition = find_partition(hub, record->partition);
    struct sl_hub_event *event = sl_allocate(sizeof(*event));
    struct sl_hub_key *key = find_or_add_key(hub, record->key);
    struct sl_frame *frame = key == NULL ? NULL : build_frame(hub, key, record, &id_end);
    if (partition == NULL || event == NULL || frame == NULL || key == NULL) {
        sl_free(event);
        sl_frame_unref(frame);
        lose(hub, record);
        return -1;
    }
    advance(hub, partition, record->offset);
    event->frame = frame;
    event->partition = record->partition;
    event->offset = record->offset;
    event->version = record->version;
    event->is_final = record->is_final;
    event->id_end = id_end;
    append_event(hub, key, event);
    event->reference_count++; /* ours, while we tell */
    while (hub->event_count > hub->events_max ||
           (hub->bytes > hub->bytes_max && hub->event_count > 1)) {
        drop_oldest(hub);
    }
    if (key->subscriptions != NULL) {
        tell(key, event);
    }
    unref_event(event);
    return 0;
}

int sl_hub_subscribe(struct sl_hub *hub, struct sl_text key, struct sl_subscription *subscription,
    sl_hub_on_event on_event)
{
    struct sl_hub_key *found = find_or_add_key(hub, key);
    if (found == NULL) {
        return -1;
    }
    *subscription = (struct sl_subscription) {
        .next = found->subscriptions, .key = found, .on_event = on_event};
    if (found->subscriptions != NULL) {
        found->subscriptions->previous = subscription;
    }
    found->subscriptions = subscription;
    return 0;
}

void sl_hub_unsubscribe(struct sl_hub *hub, struct sl_subscription *subscription)
{
    struct sl_hub_key *key = subscription->key;
    if (key == NULL) {
        return;
    }
    if (subscription->previous != NULL) {
        subscription->previous->next = subscription->next;
    } else {
        key->subscriptions = subscription->next;
    }
    if (subscription->next != NULL) {
        subscription->next->previous = subscription->previous;
    }
    *subscription = (struct sl_subscription) {0};
    free_key_if_unused(hub, key);
}

void sl_hub_position(const struct sl_hub *hub, struct sl_text key, int32_t *ret_partition,
    int64_t *ret_offset)
{
    const struct sl_hub_key *found = sl_table_get(&hub->keys, key);
    int32_t partition = -1;
    if (found != NULL && found->latest != NULL) {
        partition = found->latest->partition;
    } else if (hub->partition_count > 0) {
        partition = sl_broker_partition_of(key, hub->partition_count);
    }
    if (partition >= hub->partition_capacity || partition < 0 ||
        !hub->partitions[partition].is_known) {
        *ret_partition = -1;
        *ret_offset = -1;
        return;
    }
    *ret_partition = partition;
    *ret_offset = hub->partitions[partition].last;
}

enum sl_hub_verdict sl_hub_check(const struct sl_hub *hub, struct sl_text key,
    const struct sl_event_id *id)
{
    int32_t partition;
    int64_t last;
    if (memcmp(id->epoch, hub->epoch, SL_EVENT_ID_EPOCH_SIZE) != 0) {
        return SL_HUB_FOREIGN_EPOCH;
    }
    sl_hub_position(hub, key, &partition, &last);
    if (id->place != sl_event_id_place(sl_text_of(hub->topic), key)) {
        return SL_HUB_OTHER_PLACE;
    }
    if (id->partition < 0 && id->offset < 0) {
        /* The topic had no events yet: the client needs all of them, from the first on. */
        bool has_all = partition < 0 || hub->partitions[partition].floor < 0;
        return has_all ? SL_HUB_RESUMES : SL_HUB_TOO_OLD;
    }
    if (id->partition < 0 || id->partition != partition) {
        return SL_HUB_MOVED;
    }
    if (id->offset < hub->partitions[partition].floor) {
        return SL_HUB_TOO_OLD;
    }
    return id->offset > last ? SL_HUB_AHEAD : SL_HUB_RESUMES;
}

bool sl_hub_covers(const struct sl_hub *hub, int32_t partition, int64_t offset,
    uint64_t loss_count)
{
    if (hub->loss_count == loss_count) {
        return true;
    }
    return partition >= 0 && partition < hub->partition_capacity &&
           hub->partitions[partition].is_known && offset >= hub->partitions[partition].floor;
}
