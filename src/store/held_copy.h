/*
 * store/held_copy.h - a held event that outlives its row, since the row changes while it is tried.
 */
#ifndef SL_STORE_HELD_COPY_H
#define SL_STORE_HELD_COPY_H

#include "store/store.h"

/* All zero: nothing was due. */
struct sl_held_copy {
    struct sl_event event;
    int64_t number;
    int attempts;
    char *bytes; /* what the event's views point into */
    bool is_due;
    bool is_out_of_memory; /* something was due and could not be copied */
};

/**
 * A visitor for sl_store_held_due: copies the event into the `struct sl_held_copy` that is the
 * context. What it holds is freed by sl_held_copy_deinit.
 */
void sl_held_copy_take(void *context, const struct sl_held *held);

/**
 * Free a copy's memory. Fine on a zeroed one.
 */
void sl_held_copy_deinit(struct sl_held_copy *copy);

#endif
