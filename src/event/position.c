#include "event/position.h"

#include <stdio.h>

int sl_position_compare(struct sl_position a, struct sl_position b)
{
    if (a.tick != b.tick) {
        return a.tick < b.tick ? -1 : 1;
    }
    return a.id < b.id ? -1 : a.id > b.id;
}

void sl_position_write(struct sl_position position, char ret_text[SL_POSITION_TEXT_SIZE])
{
    if (position.tick == 0) {
        snprintf(ret_text, SL_POSITION_TEXT_SIZE, "%lld", (long long) position.id);
    } else {
        snprintf(ret_text, SL_POSITION_TEXT_SIZE, "%lld.%lld", (long long) position.tick,
            (long long) position.id);
    }
}
