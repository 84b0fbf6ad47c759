#include "store/held_copy.h"

#include "base/memory.h"

static void copy_part(struct sl_text *part, char **place)
{
    if (part->size > 0) {
        memcpy(*place, part->data, part->size);
    }
    part->data = *place;
    *place += part->size;
}

void sl_held_copy_take(void *context, const struct sl_held *held)
{
    struct sl_held_copy *copy = context;
    struct sl_event *event = &copy->event;
    *event = held->event;
    copy->number = held->number;
    copy->attempts = held->attempts;
    char *place = sl_allocate(event->topic.size + event->key.size + event->type.size +
        event->payload.size + event->headers.size);
    if (place == NULL) {
        copy->is_out_of_memory = true;
        return;
    }
    copy->bytes = place;
    copy->is_due = true;
    copy_part(&event->topic, &place);
    copy_part(&event->key, &place);
    copy_part(&event->type, &place);
    copy_part(&event->payload, &place);
    copy_part(&event->headers, &place);
}

void sl_held_copy_deinit(struct sl_held_copy *copy)
{
    sl_free(copy->bytes);
    *copy = (struct sl_held_copy) {0};
}
