/*
 * Codecs, tables and the gateway's routes with memory that runs out: told, nothing half done, and
 * nothing said about the text in hand.
 */
#include "base/buffer.h"
#include "base/table.h"
#include "event/headers.h"
#include "fault/sweep.h"
#include "gateway/owners.h"
#include "gateway/route.h"
#include "wire/http1.h"
#include "wire/json_pointer.h"
#include "wire/sse.h"

static struct sluice_error error;

START_TEST(a_good_json_text_is_never_called_a_broken_one)
{
    static const char text[] = "{\"a\": [1, 2.5, \"x\\u00e9\"], \"b\": {\"c\": true}}";
    struct sl_json *json;
    SWEEP(sweep)
    {
        sweep_arm(&sweep);
        int status = sl_json_parse(SL_TEXT(text), &json, &error);
        sweep_disarm(&sweep, status, &error);
        ck_assert(status == 0 || error.code == SLUICE_NO_MEMORY);
        if (status == 0) {
            sl_json_free(json);
        }
    }
    SWEEP(sweep)
    {
        /* Nor is a broken one let through. What it is called may be an outage, and comes again. */
        sweep_arm(&sweep);
        int status = sl_json_parse(SL_TEXT("{\"a\": [1, 2"), &json, &error);
        sweep.is_complete = sl_memory_fail_after(0) > 0;
        ck_assert_int_eq(status, -1);
        ck_assert(error.code == (sweep.is_complete ? SLUICE_INVALID : error.code));
    }
}
END_TEST

START_TEST(a_scalar_is_appended_whole_or_not_at_all)
{
    struct sl_json *json;
    ck_assert_int_eq(sl_json_parse(SL_TEXT("{\"a/b\": \"value\"}"), &json, &error), 0);
    for (long countdown = 1; countdown < 5; countdown++) {
        struct sl_buffer value;
        sl_buffer_init(&value, 100);
        sl_memory_fail_after(countdown);
        int status = sl_json_find_scalar(json, SL_TEXT("/a~1b"), &value, &error);
        sl_memory_fail_after(0);
        ck_assert_uint_eq(value.size, status == 0 ? 5 : 0);
        sl_buffer_clear(&value);
        ck_assert_int_eq(sl_json_find_scalar(json, SL_TEXT("/a~1b"), &value, &error), 0);
        ck_assert_str_eq(value.data, "value");
        sl_buffer_deinit(&value);
    }
    sl_json_free(json);
}
END_TEST

START_TEST(headers_are_written_and_read_whole)
{
    static const struct sluice_header written[] = {{"one", "1"}, {"two", "a \"b\""}};
    SWEEP(sweep)
    {
        struct sl_buffer buffer;
        struct sl_headers headers;
        sl_buffer_init(&buffer, 1000);
        sweep_arm(&sweep);
        int status = sl_headers_write(&buffer, written, 2);
        if (status == 0) {
            status = sl_headers_parse(
                (struct sl_text) {buffer.data, buffer.size}, &headers, &error);
        } else {
            status = sl_fail_memory(&error, "headers");
        }
        sweep_disarm(&sweep, status, &error);
        if (status == 0) {
            ck_assert_uint_eq(headers.count, 2);
            ck_assert_str_eq(headers.items[1].value, "a \"b\"");
            sl_headers_deinit(&headers);
        }
        sl_buffer_deinit(&buffer);
    }
}
END_TEST

static void count_event(void *context, const struct sl_sse_dispatch *event)
{
    ck_assert(sl_text_equal(event->data, SL_TEXT("line one\nline two")));
    ck_assert(sl_text_equal(event->id, SL_TEXT("7")));
    ++*(int *) context;
}

START_TEST(an_sse_event_is_written_whole_and_read_whole_or_not_at_all)
{
    struct sl_sse_event event = {.id = SL_TEXT("7"), .type = SL_TEXT("paid"),
        .data = SL_TEXT("line one\nline two"), .retry_ms = 100};
    SWEEP(sweep)
    {
        int count = 0;
        struct sl_buffer buffer;
        struct sl_sse_parser parser;
        sl_buffer_init(&buffer, 1000);
        sl_sse_parser_init(&parser, 1000);
        sweep_arm(&sweep);
        int status = sl_sse_write(&buffer, &event);
        ck_assert(status == 0 || buffer.size == 0);
        if (status == 0) {
            status = sl_sse_parser_take(&parser, buffer.data, buffer.size, count_event, &count);
        }
        if (status != 0) {
            sl_fail_memory(&error, "an event");
        }
        sweep_disarm(&sweep, status, &error);
        ck_assert_int_eq(count, status == 0 ? 1 : 0);
        sl_sse_parser_deinit(&parser);
        sl_buffer_deinit(&buffer);
    }
}
END_TEST

START_TEST(a_field_of_http_is_written_whole_or_not_at_all)
{
    for (long countdown = 1; countdown < 4; countdown++) {
        struct sl_buffer buffer;
        sl_buffer_init(&buffer, 4096);
        sl_memory_fail_after(countdown);
        int line = sl_http1_write_request_line(&buffer, SL_TEXT("GET"), SL_TEXT("/a"));
        size_t after_line = buffer.size;
        int header = sl_http1_write_header(&buffer, SL_TEXT("Name"), SL_TEXT("value"));
        sl_memory_fail_after(0);
        ck_assert_uint_eq(after_line, line == 0 ? strlen("GET /a HTTP/1.1\r\n") : 0);
        ck_assert_uint_eq(
            buffer.size - after_line, header == 0 ? strlen("Name: value\r\n") : 0);
        ck_assert(countdown > 1 || line == -1);
        sl_buffer_deinit(&buffer);
    }
}
END_TEST

START_TEST(a_table_keeps_what_it_has_when_it_cannot_take_more)
{
    static int values[40];
    SWEEP(sweep)
    {
        struct sl_table table;
        int put_count = 0;
        sl_table_init(&table);
        sweep_arm(&sweep);
        int status = 0;
        for (int i = 0; i < 40 && status == 0; i++) {
            char name[8];
            snprintf(name, sizeof(name), "%d", i);
            status = sl_table_put(&table, sl_text_of(name), &values[i]);
            put_count += status == 0 ? 1 : 0;
        }
        if (status != 0) {
            sl_fail_memory(&error, "a table");
        }
        sweep_disarm(&sweep, status, &error);
        ck_assert_uint_eq(table.count, (size_t) put_count);
        for (int i = 0; i < 40; i++) {
            char name[8];
            snprintf(name, sizeof(name), "%d", i);
            ck_assert_ptr_eq(
                sl_table_get(&table, sl_text_of(name)), i < put_count ? &values[i] : NULL);
        }
        sl_table_deinit(&table);
    }
}
END_TEST

START_TEST(a_route_that_cannot_be_compiled_says_so_and_leaves_nothing)
{
    static const char *const finals[] = {"completed", "failed"};
    struct sl_stream_options stream = {.topic = "orders.v1", .key = "{id}",
        .snapshot = "http://127.0.0.1:9000/orders/{id}", .event = "/type", .version = "/version",
        .final_statuses = finals, .final_count = 2, .owner = "{header.x-user}"};
    struct sl_route routes[] = {{.path = "/orders/{id}/stream", .stream = &stream},
        {.path = "/**", .upstream = "http://127.0.0.1:9000/api"}};
    for (size_t i = 0; i < 2; i++) {
        SWEEP(sweep)
        {
            struct sl_compiled_route compiled;
            sweep_arm(&sweep);
            int status = sl_route_compile(&routes[i], &compiled, &error);
            sweep_disarm(&sweep, status, &error);
            sl_route_deinit(&compiled);
        }
    }
}
END_TEST

FAULT_MAIN("fault_pure", a_good_json_text_is_never_called_a_broken_one,
    a_scalar_is_appended_whole_or_not_at_all, headers_are_written_and_read_whole,
    an_sse_event_is_written_whole_and_read_whole_or_not_at_all,
    a_field_of_http_is_written_whole_or_not_at_all,
    a_table_keeps_what_it_has_when_it_cannot_take_more,
    a_route_that_cannot_be_compiled_says_so_and_leaves_nothing)
