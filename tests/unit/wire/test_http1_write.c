#include <string.h>

#include "support/unit.h"
#include "wire/http1.h"

START_TEST(what_is_written_is_read_back)
{
    struct sl_buffer buffer;
    struct sl_http1_request request;
    struct sl_http1_refusal refusal;
    sl_buffer_init(&buffer, 1000);
    ck_assert_int_eq(sl_http1_write_request_line(&buffer, SL_TEXT("GET"), SL_TEXT("/a?b=%20")), 0);
    ck_assert_int_eq(sl_http1_write_header(&buffer, SL_TEXT("Host"), SL_TEXT("a:1")), 0);
    ck_assert_int_eq(sl_http1_write_header(&buffer, SL_TEXT("X"), SL_TEXT("y\tz")), 0);
    ck_assert_int_eq(sl_http1_write_head_end(&buffer), 0);
    ck_assert_str_eq(buffer.data, "GET /a?b=%20 HTTP/1.1\r\nHost: a:1\r\nX: y\tz\r\n\r\n");
    ck_assert_int_eq(
        sl_http1_parse_request(buffer.data, buffer.size, &request, &refusal), 0);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(values_that_could_end_a_line_are_refused)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    struct sl_text name = SL_TEXT("X");
    ck_assert_int_eq(sl_http1_write_header(&buffer, name, SL_TEXT("a\r\nSet-Cookie: b")), -1);
    ck_assert_int_eq(sl_http1_write_header(&buffer, name, SL_TEXT("a\nb")), -1);
    ck_assert_int_eq(sl_http1_write_header(&buffer, name, SL_TEXT("a\rb")), -1);
    ck_assert_int_eq(sl_http1_write_header(&buffer, name, SL_TEXT("a\0b")), -1);
    ck_assert_int_eq(sl_http1_write_header(&buffer, name, SL_TEXT(" a")), -1);
    ck_assert_int_eq(sl_http1_write_header(&buffer, SL_TEXT("X: y\r\nZ"), SL_TEXT("a")), -1);
    ck_assert_int_eq(sl_http1_write_header(&buffer, SL_TEXT(""), SL_TEXT("a")), -1);
    ck_assert_int_eq(
        sl_http1_write_request_line(&buffer, SL_TEXT("GET"), SL_TEXT("/ HTTP/1.1\r\nX: y")), -1);
    ck_assert_int_eq(sl_http1_write_request_line(&buffer, SL_TEXT("G T"), SL_TEXT("/")), -1);
    ck_assert_int_eq(sl_http1_write_status_line(&buffer, 99), -1);
    ck_assert_int_eq(sl_http1_write_status_line(&buffer, 600), -1);
    ck_assert_uint_eq(buffer.size, 0);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(a_header_that_does_not_fit_is_not_begun)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 10);
    ck_assert_int_eq(
        sl_http1_write_header(&buffer, SL_TEXT("Name"), SL_TEXT("a longer value")), -1);
    ck_assert_uint_eq(buffer.size, 0);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(status_lines_have_their_phrase)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 100);
    ck_assert_int_eq(sl_http1_write_status_line(&buffer, 431), 0);
    ck_assert_str_eq(buffer.data, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    sl_buffer_deinit(&buffer);
}
END_TEST

UNIT_MAIN("http1 write", what_is_written_is_read_back, values_that_could_end_a_line_are_refused,
    a_header_that_does_not_fit_is_not_begun, status_lines_have_their_phrase)
