/*
 * gateway/owners.h - at most one live stream per owner and key, without a ping-pong.
 *
 * Pure. Each stream of an owner has a generation, which its ids carry; the newest generation is the
 * one that lives. A stream that was replaced is told so by an id with a mark, and its browser's
 * automatic reconnect, which brings that id, is answered 204. One that did not hear it comes back
 * with an older generation than the live one's and is told then. Generations are made of the wall
 * clock, so that they grow across restarts and nodes without anything being stored.
 *
 *   the request has      the live stream has    then
 *   none                 any, or there is none  it lives, newer; the other is replaced
 *   the same             the same               it lives: the client's own reconnect
 *   a newer one          an older one           it lives; the other is replaced
 *   an older one         a newer one            it is refused, and told that it was replaced
 *   any                  there is none          it lives, with its own generation
 */
#ifndef SL_GATEWAY_OWNERS_H
#define SL_GATEWAY_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/table.h"

struct sl_owner_entry;

struct sl_owners {
    struct sl_table entries;
};

/**
 * Start without any owner.
 */
void sl_owners_init(struct sl_owners *owners);

/**
 * Free the table; all must have been released. NULL is fine.
 */
void sl_owners_deinit(struct sl_owners *owners);

/**
 * Let `holder` (not NULL) be the live stream of an owner's key, if its generation (0: none) allows.
 *
 * 1: it is; `*ret_generation` is its own, `*ret_replaced` the holder that must be told to go, or
 * NULL. 0: a newer stream lives, nothing changed. -1: no memory, nothing changed.
 */
int sl_owners_claim(struct sl_owners *owners, struct sl_text owner, struct sl_text key,
    uint64_t generation, int64_t now_ms, void *holder, uint64_t *ret_generation,
    void **ret_replaced) __attribute__((warn_unused_result));

/**
 * Whether a claim with this generation would be refused now.
 */
bool sl_owners_would_refuse(const struct sl_owners *owners, struct sl_text owner,
    struct sl_text key, uint64_t generation);

/**
 * The holder's stream has ended. Does nothing if another one holds the place by now.
 */
void sl_owners_release(
    struct sl_owners *owners, struct sl_text owner, struct sl_text key, const void *holder);

#endif
