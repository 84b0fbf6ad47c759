#include "store/batch.h"

#include "base/memory.h"

int sl_outbox_batch_start(struct sl_outbox_batch *batch, size_t count_max)
{
    batch->count = 0;
    batch->bytes.size = 0;
    if (batch->capacity >= count_max) {
        return 0;
    }
    struct sl_event *events = sl_reallocate(batch->events, count_max * sizeof(*events));
    if (events == NULL) {
        return -1;
    }
    batch->events = events;
    struct sl_position *positions = sl_reallocate(batch->positions, count_max * sizeof(*positions));
    if (positions == NULL) {
        return -1;
    }
    batch->positions = positions;
    batch->capacity = count_max;
    return 0;
}

int sl_outbox_batch_add(
    struct sl_outbox_batch *batch, const struct sl_event *event, struct sl_position position)
{
    struct sl_event *copy = &batch->events[batch->count];
    *copy = *event;
    if (sl_bytes_add(&batch->bytes, event->topic, &copy->topic) != 0 ||
        sl_bytes_add(&batch->bytes, event->key, &copy->key) != 0 ||
        sl_bytes_add(&batch->bytes, event->type, &copy->type) != 0 ||
        sl_bytes_add(&batch->bytes, event->payload, &copy->payload) != 0 ||
        sl_bytes_add(&batch->bytes, event->headers, &copy->headers) != 0) {
        return -1;
    }
    batch->positions[batch->count++] = position;
    return 0;
}

void sl_outbox_batch_settle(struct sl_outbox_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        sl_bytes_settle(&batch->bytes, &batch->events[i].topic);
        sl_bytes_settle(&batch->bytes, &batch->events[i].key);
        sl_bytes_settle(&batch->bytes, &batch->events[i].type);
        sl_bytes_settle(&batch->bytes, &batch->events[i].payload);
        sl_bytes_settle(&batch->bytes, &batch->events[i].headers);
    }
}
