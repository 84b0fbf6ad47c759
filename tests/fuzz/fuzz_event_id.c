/* Ids: what is taken is written again byte for byte, and is short enough for a browser. */
#include "fuzz/check.h"
#include "gateway/event_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_event_id id;
    char text[SL_EVENT_ID_SIZE_MAX + 1];
    struct sl_text input = {(const char *) data, size};
    if (!sl_event_id_parse(input, &id)) {
        return 0;
    }
    size_t again_size = sl_event_id_format(&id, text);
    CHECK(again_size <= SL_EVENT_ID_SIZE_MAX);
    CHECK(sl_text_equal(input, (struct sl_text) {text, again_size}));
    CHECK(id.partition >= -1 && id.offset >= -1 && id.version >= -1);
    return 0;
}
