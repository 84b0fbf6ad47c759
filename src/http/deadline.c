#include "http/deadline.h"

#include <stddef.h>

void sl_deadline_set(struct sl_deadline *deadline, struct sl_deadline_list *list, int64_t now_ms)
{
    sl_deadline_clear(deadline);
    deadline->list = list;
    deadline->due_ms = now_ms + list->duration_ms;
    deadline->previous = list->last;
    if (list->last != NULL) {
        list->last->next = deadline;
    } else {
        list->first = deadline;
    }
    list->last = deadline;
}

void sl_deadline_clear(struct sl_deadline *deadline)
{
    struct sl_deadline_list *list = deadline->list;
    if (list == NULL) {
        return;
    }
    if (deadline->previous != NULL) {
        deadline->previous->next = deadline->next;
    } else {
        list->first = deadline->next;
    }
    if (deadline->next != NULL) {
        deadline->next->previous = deadline->previous;
    } else {
        list->last = deadline->previous;
    }
    *deadline = (struct sl_deadline) {0};
}

struct sl_deadline *sl_deadline_expired(struct sl_deadline_list *list, int64_t now_ms)
{
    struct sl_deadline *deadline = list->first;
    if (deadline == NULL || list->duration_ms <= 0 || deadline->due_ms > now_ms) {
        return NULL;
    }
    sl_deadline_clear(deadline);
    return deadline;
}
