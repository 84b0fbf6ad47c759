/* Chunked bodies: however the input is cut, the same data, the same end, the same judgement. */
#include <string.h>

#include "fuzz/check.h"
#include "wire/http1.h"

struct outcome {
    enum sl_http1_result result;
    size_t taken;
    struct sl_buffer data;
};

static void decode(const char *body, size_t size, size_t step, struct outcome *ret_outcome)
{
    struct sl_http1_chunks chunks = {0};
    struct sl_http1_refusal refusal;
    size_t place = 0;
    sl_buffer_init(&ret_outcome->data, size + 1);
    ret_outcome->result = SL_HTTP1_INCOMPLETE;
    while (place < size && ret_outcome->result == SL_HTTP1_INCOMPLETE) {
        size_t end = size - place < step ? size : place + step;
        struct sl_text data;
        size_t taken = 0;
        ret_outcome->result = sl_http1_decode_chunks(
            &chunks, body + place, end - place, &data, &taken, &refusal);
        if (ret_outcome->result == SL_HTTP1_INVALID) {
            break;
        }
        CHECK(taken > 0 && taken <= end - place);
        CHECK(data.size <= taken);
        CHECK(sl_buffer_append(&ret_outcome->data, data.data, data.size) == 0);
        place += taken;
    }
    ret_outcome->taken = place;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole;
    if (size == 0) {
        return 0;
    }
    decode((const char *) data, size, size, &whole);
    for (size_t step = 1; step <= 3; step++) {
        struct outcome cut;
        decode((const char *) data, size, step, &cut);
        CHECK(cut.result == whole.result);
        if (whole.result != SL_HTTP1_INVALID) {
            CHECK(cut.taken == whole.taken);
            CHECK(cut.data.size == whole.data.size);
            CHECK(cut.data.size == 0 ||
                  memcmp(cut.data.data, whole.data.data, cut.data.size) == 0);
        }
        sl_buffer_deinit(&cut.data);
    }
    sl_buffer_deinit(&whole.data);
    return 0;
}
