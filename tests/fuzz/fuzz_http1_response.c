/* Response heads: the first byte tells whether the request was HEAD. */
#include "fuzz/check.h"
#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_http1_response response;
    struct sl_http1_refusal refusal = {0, NULL};
    if (size == 0) {
        return 0;
    }
    bool is_head_request = (data[0] & 1) != 0;
    const char *head = (const char *) data + 1;
    if (sl_http1_parse_response(head, size - 1, is_head_request, &response, &refusal) != 0) {
        CHECK(refusal.status == 502 && refusal.text != NULL);
        return 0;
    }
    CHECK(response.status >= 100 && response.status <= 599);
    CHECK(response.framing != SL_HTTP1_LENGTH || response.content_length > 0);
    CHECK(!is_head_request || response.framing == SL_HTTP1_NO_BODY);
    CHECK(!response.is_keep_alive || response.framing != SL_HTTP1_UNTIL_CLOSE);
    for (size_t i = 0; i < response.header_count; i++) {
        CHECK(sl_http1_is_token(response.headers[i].name));
    }
    return 0;
}
