/*
 * cli/suggest.h - "did you mean": the candidate that is nearest to a mistyped word.
 */
#ifndef SL_CLI_SUGGEST_H
#define SL_CLI_SUGGEST_H

#include "base/text.h"

struct sl_suggestion {
    struct sl_text wrong;
    const char *best; /* NULL: nothing near so far */
    size_t distance;
};

/**
 * Start looking for what `wrong` was meant to be; the text must outlive the suggestion.
 */
void sl_suggestion_init(struct sl_suggestion *suggestion, struct sl_text wrong);

/**
 * Consider one candidate, which must outlive the suggestion. A candidate counts as near if at most
 * a third of the word's letters (and always at least one) would have to change.
 */
void sl_suggestion_offer(struct sl_suggestion *suggestion, const char *candidate);

#endif
