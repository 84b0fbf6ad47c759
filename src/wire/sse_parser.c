/* The stream parser of the HTML standard, section "Server-sent events". */
#include "base/parse.h"
#include "wire/sse.h"

void sl_sse_parser_init(struct sl_sse_parser *parser, size_t size_max)
{
    *parser = (struct sl_sse_parser) {.retry_ms = -1};
    sl_buffer_init(&parser->line, size_max);
    sl_buffer_init(&parser->data, size_max);
    sl_buffer_init(&parser->type, size_max);
    sl_buffer_init(&parser->id, size_max);
}

void sl_sse_parser_deinit(struct sl_sse_parser *parser)
{
    if (parser == NULL) {
        return;
    }
    sl_buffer_deinit(&parser->line);
    sl_buffer_deinit(&parser->data);
    sl_buffer_deinit(&parser->type);
    sl_buffer_deinit(&parser->id);
}

static struct sl_text view(const struct sl_buffer *buffer)
{
    return (struct sl_text) {buffer->data == NULL ? "" : buffer->data, buffer->size};
}

static void dispatch(struct sl_sse_parser *parser, sl_sse_on_event on_event, void *context)
{
    if (parser->data.size > 0) {
        parser->data.size--; /* the LF behind the last line */
        struct sl_sse_dispatch event = {
            .type = parser->type.size == 0 ? SL_TEXT("message") : view(&parser->type),
            .data = view(&parser->data),
            .id = view(&parser->id),
        };
        on_event(context, &event);
    }
    sl_buffer_clear(&parser->data);
    sl_buffer_clear(&parser->type);
}

static void take_retry(struct sl_sse_parser *parser, struct sl_text value)
{
    uint64_t number;
    if (value.size > 0 && value.data[0] >= '0' && value.data[0] <= '9' &&
        sl_parse_u64(value, &number) && number <= INT64_MAX) {
        parser->retry_ms = (int64_t) number;
    }
}

static int take_field(struct sl_sse_parser *parser, struct sl_text name, struct sl_text value)
{
    if (sl_text_equal(name, SL_TEXT("data"))) {
        if (sl_buffer_append(&parser->data, value.data, value.size) != 0) {
            return -1;
        }
        return sl_buffer_append(&parser->data, "\n", 1);
    }
    if (sl_text_equal(name, SL_TEXT("event"))) {
        sl_buffer_clear(&parser->type);
        return sl_buffer_append(&parser->type, value.data, value.size);
    }
    if (sl_text_equal(name, SL_TEXT("id"))) {
        if (value.size > 0 && memchr(value.data, '\0', value.size) != NULL) {
            return 0;
        }
        sl_buffer_clear(&parser->id);
        return sl_buffer_append(&parser->id, value.data, value.size);
    }
    if (sl_text_equal(name, SL_TEXT("retry"))) {
        take_retry(parser, value);
    }
    return 0;
}

static int take_line(struct sl_sse_parser *parser, sl_sse_on_event on_event, void *context)
{
    struct sl_text line = view(&parser->line);
    if (line.size == 0) {
        dispatch(parser, on_event, context);
        return 0;
    }
    if (line.data[0] == ':') {
        parser->comment_count++;
        return 0;
    }
    const char *colon = memchr(line.data, ':', line.size);
    if (colon == NULL) {
        return take_field(parser, line, SL_TEXT(""));
    }
    struct sl_text name = {line.data, (size_t) (colon - line.data)};
    struct sl_text value = {colon + 1, line.size - name.size - 1};
    if (value.size > 0 && value.data[0] == ' ') {
        value = (struct sl_text) {value.data + 1, value.size - 1};
    }
    return take_field(parser, name, value);
}

static int end_line(struct sl_sse_parser *parser, sl_sse_on_event on_event, void *context)
{
    if (!parser->has_started) {
        parser->has_started = true;
        if (parser->line.size >= 3 && memcmp(parser->line.data, "\xef\xbb\xbf", 3) == 0) {
            sl_buffer_consume(&parser->line, 3);
        }
    }
    int result = take_line(parser, on_event, context);
    sl_buffer_clear(&parser->line);
    return result;
}

int sl_sse_parser_take(struct sl_sse_parser *parser, const char *data, size_t size,
    sl_sse_on_event on_event, void *context)
{
    for (size_t i = 0; i < size && !parser->is_failed; i++) {
        char byte = data[i];
        bool is_second_half = byte == '\n' && parser->was_cr;
        parser->was_cr = byte == '\r';
        if (is_second_half) {
            continue;
        }
        int result = byte == '\r' || byte == '\n'
                         ? end_line(parser, on_event, context)
                         : sl_buffer_append(&parser->line, &byte, 1);
        parser->is_failed = result != 0;
    }
    return parser->is_failed ? -1 : 0;
}
