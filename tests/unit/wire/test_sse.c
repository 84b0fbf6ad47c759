#include <stdio.h>
#include <string.h>

#include "support/unit.h"
#include "wire/sse.h"

/* What a page would have seen, as text: "type|data|id;" for each event. */
struct seen {
    char text[1000];
    size_t size;
};

static void see(void *context, const struct sl_sse_dispatch *event)
{
    struct seen *seen = context;
    seen->size += (size_t) snprintf(seen->text + seen->size, sizeof(seen->text) - seen->size,
        "%.*s|%.*s|%.*s;", (int) event->type.size, event->type.data, (int) event->data.size,
        event->data.data, (int) event->id.size, event->id.data);
}

static void read_stream(const char *stream, size_t size, struct seen *ret_seen,
    struct sl_sse_parser *parser)
{
    *ret_seen = (struct seen) {{0}, 0};
    sl_sse_parser_init(parser, 1000);
    for (size_t i = 0; i < size; i++) {
        ck_assert_int_eq(sl_sse_parser_take(parser, stream + i, 1, see, ret_seen), 0);
    }
    sl_sse_parser_deinit(parser);
}

static void check_stream(const char *stream, const char *expected)
{
    struct seen seen;
    struct sl_sse_parser parser;
    read_stream(stream, strlen(stream), &seen, &parser);
    ck_assert_str_eq(seen.text, expected);
}

START_TEST(what_is_written_is_what_a_page_sees)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    struct sl_sse_event event = {SL_TEXT("1a-3"), SL_TEXT("paid"), SL_TEXT("{\"a\":\n1}"), 2500};
    ck_assert_int_eq(sl_sse_write(&buffer, &event), 0);
    ck_assert_str_eq(
        buffer.data, "retry: 2500\nid: 1a-3\nevent: paid\ndata: {\"a\":\ndata: 1}\n\n");
    struct seen seen;
    struct sl_sse_parser parser;
    read_stream(buffer.data, buffer.size, &seen, &parser);
    ck_assert_str_eq(seen.text, "paid|{\"a\":\n1}|1a-3;");
    ck_assert_int_eq(parser.retry_ms, 2500);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(data_is_split_at_every_kind_of_line_end)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    struct sl_sse_event event = {
        .data = SL_TEXT("a\rb\r\nc\n\nid: evil\n"), .retry_ms = -1};
    ck_assert_int_eq(sl_sse_write(&buffer, &event), 0);
    ck_assert_str_eq(buffer.data,
        "data: a\ndata: b\ndata: c\ndata: \ndata: id: evil\ndata: \n\n");
    check_stream(buffer.data, "message|a\nb\nc\n\nid: evil\n|;");
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(ids_and_names_that_could_start_a_field_are_refused)
{
    static const char *const bad[] = {"a\nb", "a\rb", "a\r\nb", "\n"};
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sl_sse_event id = {.id = sl_text_of(bad[i]), .data = SL_TEXT("x"), .retry_ms = -1};
        struct sl_sse_event type = {
            .type = sl_text_of(bad[i]), .data = SL_TEXT("x"), .retry_ms = -1};
        ck_assert_int_eq(sl_sse_write(&buffer, &id), -1);
        ck_assert_int_eq(sl_sse_write(&buffer, &type), -1);
    }
    struct sl_sse_event nul = {.id = SL_TEXT("a\0b"), .data = SL_TEXT("x"), .retry_ms = -1};
    ck_assert_int_eq(sl_sse_write(&buffer, &nul), -1);
    ck_assert_uint_eq(buffer.size, 0);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(an_event_that_does_not_fit_is_not_begun)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 30);
    ck_assert_int_eq(sl_buffer_append_text(&buffer, "before"), 0);
    struct sl_sse_event event = {
        .id = SL_TEXT("1"), .data = SL_TEXT("much longer than that"), .retry_ms = -1};
    ck_assert_int_eq(sl_sse_write(&buffer, &event), -1);
    ck_assert_str_eq(buffer.data, "before");
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(comments_are_no_events)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    ck_assert_int_eq(sl_sse_write_comment(&buffer, SL_TEXT("")), 0);
    ck_assert_int_eq(sl_sse_write_comment(&buffer, SL_TEXT("a\ndata: b")), 0);
    ck_assert_str_eq(buffer.data, ":\n\n: a\n: data: b\n\n");
    check_stream(buffer.data, "");
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(an_id_alone_moves_the_place_without_an_event)
{
    check_stream("id: 5\n\ndata: x\n\n", "message|x|5;");
    check_stream("id: 5\ndata: x\n\ndata: y\n\n", "message|x|5;message|y|5;");
    check_stream("id: 5\ndata: x\n\nid\ndata: y\n\n", "message|x|5;message|y|;");
}
END_TEST

START_TEST(reading_follows_the_standard)
{
    check_stream("\xef\xbb\xbf" "data: x\n\n", "message|x|;");
    check_stream("\xef\xbb\xbf\xef\xbb\xbf" "data: x\n\n", "");
    check_stream("data:x\rdata: y\r\n\r\n", "message|x\ny|;");
    check_stream("data:  x\n\n", "message| x|;");
    check_stream("data\n\n", "message||;");
    check_stream("data\ndata\n\n", "message|\n|;");
    check_stream("event: a\n\ndata: x\n\n", "message|x|;");
    check_stream("nonsense: y\ndata: x\n\n", "message|x|;");
    check_stream("data: unfinished", "");
    check_stream("data: unfinished\n", "");
}
END_TEST

START_TEST(only_digits_are_a_retry_and_nul_is_no_id)
{
    struct seen seen;
    struct sl_sse_parser parser;
    read_stream("retry: 7\nretry: 8x\nretry: -1\nretry:\n", 36, &seen, &parser);
    ck_assert_int_eq(parser.retry_ms, 7);
    read_stream("id: a\0b\ndata: x\n\n", 17, &seen, &parser);
    ck_assert_str_eq(seen.text, "message|x|;");
}
END_TEST

START_TEST(a_line_longer_than_the_maximum_stops_the_reader)
{
    struct sl_sse_parser parser;
    struct seen seen = {{0}, 0};
    sl_sse_parser_init(&parser, 10);
    ck_assert_int_eq(sl_sse_parser_take(&parser, "data: longer than ten", 21, see, &seen), -1);
    ck_assert_int_eq(sl_sse_parser_take(&parser, "\n\n", 2, see, &seen), -1);
    sl_sse_parser_deinit(&parser);
}
END_TEST

UNIT_MAIN("sse", what_is_written_is_what_a_page_sees, data_is_split_at_every_kind_of_line_end,
    ids_and_names_that_could_start_a_field_are_refused, an_event_that_does_not_fit_is_not_begun,
    comments_are_no_events, an_id_alone_moves_the_place_without_an_event,
    reading_follows_the_standard, only_digits_are_a_retry_and_nul_is_no_id,
    a_line_longer_than_the_maximum_stops_the_reader)
