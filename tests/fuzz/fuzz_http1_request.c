/*
 * Request heads: what is taken must be within the input, hold no line end, and mean the same when
 * it is written again; where the input is cut must not matter.
 */
#include <string.h>

#include "fuzz/check.h"
#include "wire/http1.h"

static enum sl_http1_result scan(const uint8_t *data, size_t size, size_t step, size_t *ret_size)
{
    struct sl_http1_scan state = {0};
    struct sl_http1_refusal refusal;
    enum sl_http1_result result = SL_HTTP1_INCOMPLETE;
    for (size_t end = step; result == SL_HTTP1_INCOMPLETE; end += step) {
        end = end > size ? size : end;
        result = sl_http1_scan(&state, (const char *) data, end, ret_size, &refusal);
        if (end == size) {
            break;
        }
    }
    return result;
}

static void write_again(const struct sl_http1_request *request)
{
    struct sl_buffer buffer;
    struct sl_http1_request again;
    struct sl_http1_refusal refusal;
    sl_buffer_init(&buffer, 100000);
    CHECK(sl_http1_write_request_line(&buffer, request->method, request->target) == 0);
    for (size_t i = 0; i < request->header_count; i++) {
        CHECK(sl_http1_write_header(
                  &buffer, request->headers[i].name, request->headers[i].value) == 0);
    }
    CHECK(sl_http1_write_head_end(&buffer) == 0);
    int result = sl_http1_parse_request(buffer.data, buffer.size, &again, &refusal);
    /* An HTTP/1.0 head without a Host is none of HTTP/1.1. */
    if (request->minor_version == 1) {
        CHECK(result == 0);
        CHECK(sl_text_equal(again.target, request->target));
        CHECK(again.framing == request->framing);
        CHECK(again.header_count == request->header_count);
        CHECK(again.content_length == request->content_length);
    }
    sl_buffer_deinit(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t head_size = 0;
    size_t cut_size = 0;
    struct sl_http1_request request;
    struct sl_http1_refusal refusal = {0, NULL};
    if (size == 0) {
        return 0;
    }
    enum sl_http1_result result = scan(data, size, size, &head_size);
    CHECK(scan(data, size, 1, &cut_size) == result);
    if (result != SL_HTTP1_COMPLETE) {
        return 0;
    }
    CHECK(head_size == cut_size && head_size <= size);
    if (sl_http1_parse_request((const char *) data, head_size, &request, &refusal) != 0) {
        CHECK(refusal.status >= 400 && refusal.text != NULL);
        return 0;
    }
    CHECK(request.method.size > 0 && request.target.size > 0);
    CHECK(request.minor_version == 0 || request.host.size > 0);
    for (size_t i = 0; i < request.header_count; i++) {
        struct sl_text value = request.headers[i].value;
        CHECK(value.size == 0 || memchr(value.data, '\n', value.size) == NULL);
        CHECK(value.size == 0 || memchr(value.data, '\r', value.size) == NULL);
        CHECK(value.size == 0 || memchr(value.data, '\0', value.size) == NULL);
    }
    write_again(&request);
    return 0;
}
