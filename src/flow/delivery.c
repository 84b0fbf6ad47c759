#include "flow/delivery.h"

#include <assert.h>

bool sl_delivery_must_wait(const struct sl_delivery_policy *policy, const struct sl_key_state *key)
{
    return key->is_held || key->pending_count > 0 ||
        (key->failed_count > 0 && policy->on_poison != SL_POISON_SKIP);
}

int64_t sl_delivery_backoff_ms(int64_t first_ms, int64_t max_ms, int failures, uint64_t random)
{
    assert(failures >= 1);
    int64_t delay_ms = first_ms < 1 ? 1 : first_ms;
    for (int i = 1; i < failures && delay_ms < max_ms; i++) {
        delay_ms *= 2;
    }
    delay_ms = delay_ms > max_ms ? max_ms : delay_ms;
    int64_t half_ms = delay_ms / 2;
    return delay_ms - half_ms + (int64_t) (random % (uint64_t) (half_ms + 1));
}

struct sl_decision sl_delivery_decide(const struct sl_delivery_policy *policy, int attempts_before,
    enum sl_answer answer, int64_t now_ms, uint64_t random)
{
    assert(policy->attempts_max >= 1 && attempts_before >= 0);
    struct sl_decision decision = {.attempts = attempts_before};
    switch (answer) {
    case SL_ANSWER_DELIVERED:
        decision.verdict = SL_VERDICT_DONE;
        return decision;
    case SL_ANSWER_OUTAGE:
        decision.verdict = SL_VERDICT_AGAIN;
        return decision;
    case SL_ANSWER_FAILED:
    case SL_ANSWER_REJECTED:
        break;
    }
    decision.attempts++;
    if (answer == SL_ANSWER_FAILED && decision.attempts < policy->attempts_max) {
        decision.verdict = SL_VERDICT_RETRY;
        decision.retry_at_ms = now_ms +
            sl_delivery_backoff_ms(
                policy->retry_delay_ms, policy->retry_delay_max_ms, decision.attempts, random);
        return decision;
    }
    decision.verdict =
        policy->on_poison == SL_POISON_HALT ? SL_VERDICT_HALT : SL_VERDICT_DEAD_LETTER;
    return decision;
}
