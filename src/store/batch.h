/*
 * store/batch.h - filling a `struct sl_outbox_batch` with rows, whatever database they come from.
 */
#ifndef SL_STORE_BATCH_H
#define SL_STORE_BATCH_H

#include "store/store.h"

/**
 * Empty the batch and make room for `count_max` rows. -1 without memory.
 */
int sl_outbox_batch_start(struct sl_outbox_batch *batch, size_t count_max)
    __attribute__((warn_unused_result));

/**
 * Copy a row to the end; `event`'s views need live no longer. There is room, see
 * sl_outbox_batch_start. -1 without memory.
 */
int sl_outbox_batch_add(struct sl_outbox_batch *batch, const struct sl_event *event,
    struct sl_position position) __attribute__((warn_unused_result));

/**
 * No more rows come: turn what was copied into views.
 */
void sl_outbox_batch_settle(struct sl_outbox_batch *batch);

#endif
