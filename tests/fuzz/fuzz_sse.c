/*
 * Events: parse(write(x)) = x, for every x that is not refused; and the parser takes any bytes.
 * The input's parts are divided by 0xff bytes: id, type, data.
 */
#include <string.h>

#include "fuzz/check.h"
#include "wire/sse.h"

struct expected {
    struct sl_text id;
    struct sl_text type;
    struct sl_buffer data;
    int count;
};

static bool has_line_end(struct sl_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0') {
            return true;
        }
    }
    return false;
}

static void compare(void *context, const struct sl_sse_dispatch *event)
{
    struct expected *expected = context;
    struct sl_text data = {
        expected->data.data == NULL ? "" : expected->data.data, expected->data.size};
    expected->count++;
    CHECK(sl_text_equal(event->id, expected->id));
    CHECK(sl_text_equal(
        event->type, expected->type.size == 0 ? SL_TEXT("message") : expected->type));
    CHECK(sl_text_equal(event->data, data));
}

static void ignore(void *context, const struct sl_sse_dispatch *event)
{
    int *count = context;
    CHECK(event->type.size > 0);
    (*count)++;
}

/* Data as a page gets it: each kind of line end has become LF. */
static void normalise(struct sl_text data, struct sl_buffer *ret_data)
{
    for (size_t i = 0; i < data.size; i++) {
        char byte = data.data[i];
        if (byte == '\r') {
            byte = '\n';
            i += i + 1 < data.size && data.data[i + 1] == '\n' ? 1 : 0;
        }
        CHECK(sl_buffer_append(ret_data, &byte, 1) == 0);
    }
}

static void round_trip(struct sl_text id, struct sl_text type, struct sl_text data)
{
    struct sl_buffer stream;
    struct sl_sse_parser parser;
    struct expected expected = {id, type, {0}, 0};
    struct sl_sse_event event = {id, type, data, 7};
    sl_buffer_init(&stream, 16 * 1024 * 1024);
    sl_buffer_init(&expected.data, data.size + 1);
    sl_sse_parser_init(&parser, 16 * 1024 * 1024);
    int result = sl_sse_write(&stream, &event);
    if (has_line_end(id) || has_line_end(type)) {
        CHECK(result == -1 && stream.size == 0);
    } else {
        CHECK(result == 0);
        normalise(data, &expected.data);
        CHECK(sl_sse_write_comment(&stream, data) == 0);
        CHECK(sl_sse_parser_take(&parser, stream.data, stream.size, compare, &expected) == 0);
        CHECK(expected.count == 1);
        CHECK(parser.retry_ms == 7);
    }
    sl_sse_parser_deinit(&parser);
    sl_buffer_deinit(&expected.data);
    sl_buffer_deinit(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_text rest = {(const char *) data, size};
    struct sl_text id = SL_TEXT("");
    struct sl_text type = SL_TEXT("");
    struct sl_sse_parser parser;
    int count = 0;
    sl_sse_parser_init(&parser, 4096);
    if (size > 0 && sl_sse_parser_take(&parser, rest.data, rest.size, ignore, &count) != 0) {
        CHECK(parser.is_failed);
    }
    sl_sse_parser_deinit(&parser);
    if (size > 0 && sl_text_split(&rest, '\xff', &id) && sl_text_split(&rest, '\xff', &type)) {
        round_trip(id, type, rest.data == NULL ? SL_TEXT("") : rest);
    }
    return 0;
}
