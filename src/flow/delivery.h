/*
 * flow/delivery.h - what becomes of one event: the policy that relay and consumers share.
 *
 * Pure: no clock, no descriptor, no memory. The driver tells what is known and what happened, and
 * carries out the verdict durably before it goes on.
 *
 * An event on its way is in one of these states; all but the first two are rows of the dead-letter
 * table, so that a crash loses neither an event nor an attempt.
 *
 *   state \ event       | delivered  | outage | failed, tries left | failed, none left, rejected
 *   --------------------+------------+--------+--------------------+----------------------------
 *   flowing             | done       | again  | retrying           | failed permanently
 *   retrying (the head  | done, the  | again  | retrying, later    | failed permanently
 *     of its key)       | next waits |        |                    |
 *                       | no longer  |        |                    |
 *   waiting behind it   |     -      |   -    |         -          |     -
 *   failed permanently  |     -      |   -    |         -          |     -  (redrive: retrying)
 *
 * "Outage" is anything that says nothing about this event: it uses up no attempt. A key with a
 * retrying or waiting event is held: later events of that key wait behind it, other keys flow. A
 * key whose head failed permanently stays held under `park`, flows on under `skip`; under `halt`
 * everything stops.
 */
#ifndef SL_FLOW_DELIVERY_H
#define SL_FLOW_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

enum sl_on_poison { SL_POISON_PARK, SL_POISON_SKIP, SL_POISON_HALT };

struct sl_delivery_policy {
    int attempts_max;           /* at least 1 */
    int64_t retry_delay_ms;     /* before the second attempt; doubled each time */
    int64_t retry_delay_max_ms; /* at least retry_delay_ms */
    enum sl_on_poison on_poison;
};

/* What is held of an event's key before it, and whether the event itself is held already. */
struct sl_key_state {
    int64_t pending_count; /* retrying or waiting */
    int64_t failed_count;  /* failed permanently */
    bool is_held;          /* a crash or a lost answer came between holding it and going on */
};

enum sl_answer {
    SL_ANSWER_DELIVERED, /* it is there, or was before */
    SL_ANSWER_OUTAGE,    /* says nothing about this event */
    SL_ANSWER_FAILED,    /* this event was refused, and may be taken another time */
    SL_ANSWER_REJECTED   /* this event will never be taken */
};

enum sl_verdict {
    SL_VERDICT_DONE,
    SL_VERDICT_AGAIN,       /* the same again after a pause; no attempt is counted */
    SL_VERDICT_RETRY,       /* hold it; try again at retry_at_ms */
    SL_VERDICT_DEAD_LETTER, /* hold it until a person redrives or drops it */
    SL_VERDICT_HALT         /* as before, and stop everything */
};

struct sl_decision {
    enum sl_verdict verdict;
    int attempts;        /* used up by now */
    int64_t retry_at_ms; /* for SL_VERDICT_RETRY */
};

/**
 * Whether an event that arrives must wait behind held ones of its key, or is held itself.
 */
bool sl_delivery_must_wait(const struct sl_delivery_policy *policy, const struct sl_key_state *key);

/**
 * Decide after an attempt. `attempts_before` is how many this event had used up; `random` is any
 * number, for jitter.
 */
struct sl_decision sl_delivery_decide(const struct sl_delivery_policy *policy, int attempts_before,
    enum sl_answer answer, int64_t now_ms, uint64_t random);

/**
 * The pause after the n-th failure in a row (n from 1): doubled from `first_ms` up to `max_ms`, and
 * between half and the whole of that by `random`, so that many who failed together do not return
 * together.
 */
int64_t sl_delivery_backoff_ms(int64_t first_ms, int64_t max_ms, int failures, uint64_t random);

#endif
