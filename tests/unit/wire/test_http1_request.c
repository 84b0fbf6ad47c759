#include <stdio.h>
#include <string.h>

#include "support/unit.h"
#include "wire/http1.h"

/* Scan and parse a head; its status if it is refused, 0 if it is taken, 1 if it is not complete. */
static int take(const char *head, size_t size, struct sl_http1_request *ret_request)
{
    struct sl_http1_scan scan = {0};
    struct sl_http1_refusal refusal = {0, NULL};
    size_t head_size;
    enum sl_http1_result result = sl_http1_scan(&scan, head, size, &head_size, &refusal);
    if (result == SL_HTTP1_INVALID) {
        ck_assert_ptr_nonnull(refusal.text);
        return refusal.status;
    }
    if (result == SL_HTTP1_INCOMPLETE) {
        return 1;
    }
    return sl_http1_parse_request(head, head_size, ret_request, &refusal) == 0 ? 0
                                                                               : refusal.status;
}

static int status_of(const char *head)
{
    struct sl_http1_request request;
    return take(head, strlen(head), &request);
}

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"

START_TEST(plain_request_is_taken_apart)
{
    struct sl_http1_request request;
    const char *head = "POST /orders/7?x=1&y HTTP/1.1\r\nHost: shop.example:8080\r\n"
                       "Content-Length: 12\r\nX-Empty:\r\nX-Spaces: \t a b \t\r\n\r\n";
    ck_assert_int_eq(take(head, strlen(head), &request), 0);
    ck_assert(sl_text_equal(request.method, SL_TEXT("POST")));
    ck_assert(sl_text_equal(request.target, SL_TEXT("/orders/7?x=1&y")));
    ck_assert(sl_text_equal(request.path, SL_TEXT("/orders/7")));
    ck_assert(sl_text_equal(request.query, SL_TEXT("x=1&y")));
    ck_assert(sl_text_equal(request.host, SL_TEXT("shop.example:8080")));
    ck_assert_int_eq(request.minor_version, 1);
    ck_assert_int_eq(request.framing, SL_HTTP1_LENGTH);
    ck_assert_uint_eq(request.content_length, 12);
    ck_assert(request.is_keep_alive);
    ck_assert_uint_eq(request.header_count, 4);
    struct sl_text empty = sl_http1_find(request.headers, 4, SL_TEXT("x-empty"));
    ck_assert_ptr_nonnull(empty.data);
    ck_assert_uint_eq(empty.size, 0);
    ck_assert(sl_text_equal(
        sl_http1_find(request.headers, 4, SL_TEXT("X-SPACES")), SL_TEXT("a b")));
    ck_assert_ptr_null(sl_http1_find(request.headers, 4, SL_TEXT("x")).data);
}
END_TEST

START_TEST(head_that_comes_byte_by_byte_is_found_at_its_end)
{
    const char *head = GET HOST "\r\n";
    struct sl_http1_scan scan = {0};
    struct sl_http1_refusal refusal;
    size_t size = 0;
    for (size_t i = 1; i < strlen(head); i++) {
        ck_assert_int_eq(
            sl_http1_scan(&scan, head, i, &size, &refusal), SL_HTTP1_INCOMPLETE);
    }
    ck_assert_int_eq(
        sl_http1_scan(&scan, head, strlen(head), &size, &refusal), SL_HTTP1_COMPLETE);
    ck_assert_uint_eq(size, strlen(head));
}
END_TEST

START_TEST(bytes_behind_a_head_are_left_alone)
{
    const char *two = GET HOST "\r\nGET /next";
    struct sl_http1_scan scan = {0};
    struct sl_http1_refusal refusal;
    size_t size = 0;
    ck_assert_int_eq(
        sl_http1_scan(&scan, two, strlen(two), &size, &refusal), SL_HTTP1_COMPLETE);
    ck_assert_uint_eq(size, strlen(GET HOST "\r\n"));
}
END_TEST

START_TEST(bare_line_feeds_are_refused)
{
    ck_assert_int_eq(status_of("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET "Host: a\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "\n"), 400);
    ck_assert_int_eq(status_of(GET "Host: a\nX: b\r\n\r\n"), 400);
    ck_assert_int_eq(status_of("\n" GET HOST "\r\n"), 400);
}
END_TEST

START_TEST(bare_carriage_returns_are_refused)
{
    ck_assert_int_eq(status_of("GET / HTTP/1.1\rHost: a\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET "Host: a\rX: b\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "\r\r\n"), 400);
    ck_assert_int_eq(status_of(GET "Host: a\r\r\n\r\n"), 400);
}
END_TEST

START_TEST(empty_lines_before_a_request_are_refused)
{
    ck_assert_int_eq(status_of("\r\n" GET HOST "\r\n"), 400);
}
END_TEST

START_TEST(folded_lines_are_refused)
{
    ck_assert_int_eq(status_of(GET HOST "X: a\r\n b\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "X: a\r\n\tb\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET " Host: a\r\n\r\n"), 400);
}
END_TEST

START_TEST(blanks_before_a_colon_are_refused)
{
    ck_assert_int_eq(status_of(GET HOST "Content-Length : 5\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "Transfer-Encoding\t: chunked\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST ": x\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "no colon\r\n\r\n"), 400);
}
END_TEST

START_TEST(length_beside_transfer_coding_is_refused)
{
    ck_assert_int_eq(
        status_of(GET HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    ck_assert_int_eq(
        status_of(GET HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), 400);
}
END_TEST

START_TEST(transfer_codings_other_than_chunked_are_refused)
{
    static const struct {
        const char *value;
        int status;
    } cases[] = {
        {"gzip", 501}, {"chunked, chunked", 501}, {"gzip, chunked", 501}, {"identity", 501},
        {"Chunked", 501}, {"xchunked", 501}, {"chunked;q=1", 501}, {"", 501}, {"\"chunked\"", 501},
        {"chunked,", 501}, {"\x0b" "chunked", 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char head[200];
        snprintf(head, sizeof(head), GET HOST "Transfer-Encoding: %s\r\n\r\n", cases[i].value);
        ck_assert_int_eq(status_of(head), cases[i].status);
    }
    ck_assert_int_eq(
        status_of(GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400);
    ck_assert_int_eq(status_of(GET HOST "Transfer-Encoding: chunked\r\n\r\n"), 0);
}
END_TEST

START_TEST(lengths_that_are_no_plain_number_are_refused)
{
    static const char *const values[] = {"", "+5", "-5", "5 5", "5,5", "0x5", "5.0", " 5_0",
        "99999999999999999999", "1e3", "\xc2\xb2"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char head[200];
        snprintf(head, sizeof(head), GET HOST "Content-Length: %s\r\n\r\n", values[i]);
        ck_assert_int_eq(status_of(head), 400);
    }
}
END_TEST

START_TEST(two_lengths_are_refused_even_if_they_agree)
{
    ck_assert_int_eq(
        status_of(GET HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400);
    ck_assert_int_eq(
        status_of(GET HOST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n"), 400);
}
END_TEST

START_TEST(host_must_be_there_once_and_be_one)
{
    ck_assert_int_eq(status_of(GET "\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("GET / HTTP/1.0\r\n\r\n"), 0);
    static const char *const bad[] = {"", "a b", "a/b", "a@b", "a:", "a:b", "a:123456", "[::1",
        "[::g]", "a,b", ":80", "[]"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char head[200];
        snprintf(head, sizeof(head), GET "Host: %s\r\n\r\n", bad[i]);
        ck_assert_int_eq(status_of(head), 400);
    }
    ck_assert_int_eq(status_of(GET "Host: [::1]:8080\r\n\r\n"), 0);
    ck_assert_int_eq(status_of(GET "Host: a-b.example:80\r\n\r\n"), 0);
}
END_TEST

START_TEST(transfer_coding_in_http_1_0_is_refused)
{
    ck_assert_int_eq(
        status_of("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}
END_TEST

START_TEST(versions_other_than_1_x_are_refused)
{
    ck_assert_int_eq(status_of("GET / HTTP/2.0\r\n" HOST "\r\n"), 505);
    ck_assert_int_eq(status_of("GET / HTTP/0.9\r\n" HOST "\r\n"), 505);
    ck_assert_int_eq(status_of("GET / HTTP/1.2\r\n" HOST "\r\n"), 505);
    ck_assert_int_eq(status_of("GET / http/1.1\r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("GET / HTTP/1.1 \r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("GET / HTTP/11\r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("GET /\r\n\r\n"), 400);
    ck_assert_int_eq(status_of("PRI * HTTP/2.0\r\n\r\n"), 505);
}
END_TEST

START_TEST(request_lines_with_other_spaces_are_refused)
{
    ck_assert_int_eq(status_of("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of(" GET / HTTP/1.1\r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("GET / HTTP/1.1 x\r\n" HOST "\r\n"), 400);
    ck_assert_int_eq(status_of("G(T / HTTP/1.1\r\n" HOST "\r\n"), 400);
}
END_TEST

START_TEST(targets_that_are_no_path_are_refused)
{
    static const char *const bad[] = {"orders", "//a b", "/%zz", "/%4", "/a#b", "/\"", "/<", "/\\",
        "*", "/\x7f", "/\xc3\xa9", "http://", "https://a/", "ftp://a/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char head[200];
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", bad[i]);
        ck_assert_int_eq(status_of(head), 400);
    }
    ck_assert_int_eq(status_of("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 0);
}
END_TEST

START_TEST(absolute_targets_are_taken_only_for_the_own_host)
{
    struct sl_http1_request request;
    const char *own = "GET http://a:80/x?y HTTP/1.1\r\nHost: A:80\r\n\r\n";
    ck_assert_int_eq(take(own, strlen(own), &request), 0);
    ck_assert(sl_text_equal(request.target, SL_TEXT("/x?y")));
    ck_assert_int_eq(status_of("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    ck_assert_int_eq(status_of("GET http://a@b/x HTTP/1.1\r\nHost: b\r\n\r\n"), 400);
    ck_assert_int_eq(status_of("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}
END_TEST

START_TEST(connect_and_endless_methods_are_not_served)
{
    ck_assert_int_eq(status_of("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"), 501);
    ck_assert_int_eq(
        status_of("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI / HTTP/1.1\r\n" HOST "\r\n"), 501);
    ck_assert_int_eq(status_of("get / HTTP/1.1\r\n" HOST "\r\n"), 0);
}
END_TEST

START_TEST(nul_and_control_characters_are_refused)
{
    struct sl_http1_request request;
    static const char nul[] = GET "Host: a\r\nX: a\0b\r\n\r\n";
    ck_assert_int_eq(take(nul, sizeof(nul) - 1, &request), 400);
    ck_assert_int_eq(status_of(GET HOST "X: a\x01" "b\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "X: a\x7f\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "X\x80: a\r\n\r\n"), 400);
    ck_assert_int_eq(status_of(GET HOST "X: \xc3\xa9\r\n\r\n"), 0);
}
END_TEST

START_TEST(only_100_continue_may_be_expected)
{
    struct sl_http1_request request;
    const char *head =
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n";
    ck_assert_int_eq(take(head, strlen(head), &request), 0);
    ck_assert(request.expects_continue);
    ck_assert_int_eq(status_of(GET HOST "Expect: 200-ok\r\n\r\n"), 417);
    ck_assert_int_eq(
        status_of(GET HOST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n"), 400);
}
END_TEST

START_TEST(connection_close_and_http_1_0_end_the_connection)
{
    struct sl_http1_request request;
    const char *closing = GET HOST "Connection: X-Hop , CLOSE\r\n\r\n";
    const char *old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    ck_assert_int_eq(take(closing, strlen(closing), &request), 0);
    ck_assert(!request.is_keep_alive);
    ck_assert_int_eq(take(old, strlen(old), &request), 0);
    ck_assert(!request.is_keep_alive);
}
END_TEST

START_TEST(oversized_heads_are_refused_with_the_status_that_says_so)
{
    static char head[SL_HTTP1_HEAD_SIZE_MAX + 100];
    memset(head, 'a', sizeof(head));
    memcpy(head, "GET /", 5);
    struct sl_http1_request request;
    ck_assert_int_eq(take(head, SL_HTTP1_LINE_SIZE_MAX, &request), 1);
    ck_assert_int_eq(take(head, SL_HTTP1_LINE_SIZE_MAX + 1, &request), 414);
    memcpy(head, GET "X: ", strlen(GET "X: "));
    ck_assert_int_eq(take(head, SL_HTTP1_HEAD_SIZE_MAX, &request), 1);
    ck_assert_int_eq(take(head, SL_HTTP1_HEAD_SIZE_MAX + 1, &request), 431);
}
END_TEST

START_TEST(a_hundred_fields_are_taken_and_one_more_is_refused)
{
    for (int count = SL_HTTP1_HEADERS_MAX; count <= SL_HTTP1_HEADERS_MAX + 1; count++) {
        char head[4000];
        int size = snprintf(head, sizeof(head), GET HOST);
        for (int i = 1; i < count; i++) {
            size += snprintf(head + size, sizeof(head) - (size_t) size, "X-%d: y\r\n", i);
        }
        snprintf(head + size, sizeof(head) - (size_t) size, "\r\n");
        ck_assert_int_eq(status_of(head), count == SL_HTTP1_HEADERS_MAX ? 0 : 431);
    }
}
END_TEST

UNIT_MAIN("http1 request", plain_request_is_taken_apart,
    head_that_comes_byte_by_byte_is_found_at_its_end, bytes_behind_a_head_are_left_alone,
    bare_line_feeds_are_refused, bare_carriage_returns_are_refused,
    empty_lines_before_a_request_are_refused, folded_lines_are_refused,
    blanks_before_a_colon_are_refused, length_beside_transfer_coding_is_refused,
    transfer_codings_other_than_chunked_are_refused,
    lengths_that_are_no_plain_number_are_refused,
    two_lengths_are_refused_even_if_they_agree, host_must_be_there_once_and_be_one,
    transfer_coding_in_http_1_0_is_refused, versions_other_than_1_x_are_refused,
    request_lines_with_other_spaces_are_refused, targets_that_are_no_path_are_refused,
    absolute_targets_are_taken_only_for_the_own_host,
    connect_and_endless_methods_are_not_served, nul_and_control_characters_are_refused,
    only_100_continue_may_be_expected, connection_close_and_http_1_0_end_the_connection,
    oversized_heads_are_refused_with_the_status_that_says_so,
    a_hundred_fields_are_taken_and_one_more_is_refused)
