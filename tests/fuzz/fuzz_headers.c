/* Headers: what is parsed is within the limits, and survives being written and parsed again. */
#include "event/headers.h"
#include "fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_headers headers;
    struct sl_headers again;
    struct sl_buffer buffer;
    struct sl_text input = {(const char *) data, size};
    if (sl_headers_parse(input, &headers, NULL) != 0) {
        return 0;
    }
    CHECK(headers.count <= SLUICE_HEADER_COUNT_MAX);
    sl_buffer_init(&buffer, 1 << 20);
    CHECK(sl_headers_write(&buffer, headers.items, headers.count) == 0);
    CHECK(sl_headers_parse((struct sl_text) {buffer.data, buffer.size}, &again, NULL) == 0);
    CHECK(again.count == headers.count);
    for (size_t i = 0; i < headers.count; i++) {
        CHECK(sl_text_equal(sl_text_of(headers.items[i].name), sl_text_of(again.items[i].name)));
        CHECK(sl_text_equal(sl_text_of(headers.items[i].value), sl_text_of(again.items[i].value)));
    }
    sl_headers_deinit(&headers);
    sl_headers_deinit(&again);
    sl_buffer_deinit(&buffer);
    return 0;
}
