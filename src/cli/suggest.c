#include "cli/suggest.h"

void sl_suggestion_init(struct sl_suggestion *suggestion, struct sl_text wrong)
{
    size_t farthest = wrong.size / 3 < 1 ? 1 : wrong.size / 3;
    *suggestion = (struct sl_suggestion) {.wrong = wrong, .distance = farthest + 1};
}

void sl_suggestion_offer(struct sl_suggestion *suggestion, const char *candidate)
{
    size_t distance = sl_text_distance(suggestion->wrong, sl_text_of(candidate));
    if (distance < suggestion->distance) {
        suggestion->distance = distance;
        suggestion->best = candidate;
    }
}
