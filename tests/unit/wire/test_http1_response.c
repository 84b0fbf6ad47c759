#include <string.h>

#include "support/unit.h"
#include "wire/http1.h"

static int take(const char *head, bool is_head_request, struct sl_http1_response *ret_response)
{
    struct sl_http1_refusal refusal;
    int result =
        sl_http1_parse_response(head, strlen(head), is_head_request, ret_response, &refusal);
    if (result != 0) {
        ck_assert_int_eq(refusal.status, 502);
    }
    return result;
}

#define OK "HTTP/1.1 200 OK\r\n"

START_TEST(response_framing_follows_the_fields)
{
    struct sl_http1_response response;
    ck_assert_int_eq(take(OK "Content-Length: 3\r\n\r\n", false, &response), 0);
    ck_assert_int_eq(response.status, 200);
    ck_assert(sl_text_equal(response.reason, SL_TEXT("OK")));
    ck_assert_int_eq(response.framing, SL_HTTP1_LENGTH);
    ck_assert_uint_eq(response.content_length, 3);
    ck_assert(response.is_keep_alive);
    ck_assert_int_eq(take(OK "Transfer-Encoding: chunked\r\n\r\n", false, &response), 0);
    ck_assert_int_eq(response.framing, SL_HTTP1_CHUNKED);
    ck_assert_int_eq(take(OK "\r\n", false, &response), 0);
    ck_assert_int_eq(response.framing, SL_HTTP1_UNTIL_CLOSE);
    ck_assert(!response.is_keep_alive);
    ck_assert_int_eq(take(OK "Content-Length: 0\r\n\r\n", false, &response), 0);
    ck_assert_int_eq(response.framing, SL_HTTP1_NO_BODY);
}
END_TEST

START_TEST(statuses_and_head_requests_without_a_body_have_none)
{
    struct sl_http1_response response;
    ck_assert_int_eq(take(OK "Content-Length: 3\r\n\r\n", true, &response), 0);
    ck_assert_int_eq(response.framing, SL_HTTP1_NO_BODY);
    ck_assert_uint_eq(response.content_length, 3);
    static const char *const heads[] = {"HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(take(heads[i], false, &response), 0);
        ck_assert_int_eq(response.framing, SL_HTTP1_NO_BODY);
    }
}
END_TEST

START_TEST(malformed_answers_are_refused)
{
    static const char *const heads[] = {"HTTP/1.1 200\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
        OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        OK "Transfer-Encoding: gzip\r\n\r\n", OK "X : y\r\n\r\n", OK "X: y\r\n folded\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", OK "X: y\r\n"};
    struct sl_http1_response response;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        ck_assert_int_eq(take(heads[i], false, &response), -1);
    }
    ck_assert_int_eq(take("HTTP/1.1 200 \r\n\r\n", false, &response), 0);
}
END_TEST

START_TEST(connection_close_ends_the_connection)
{
    struct sl_http1_response response;
    ck_assert_int_eq(
        take(OK "Content-Length: 1\r\nConnection: close\r\n\r\n", false, &response), 0);
    ck_assert(!response.is_keep_alive);
    ck_assert_int_eq(
        take("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false, &response), 0);
    ck_assert(!response.is_keep_alive);
}
END_TEST

UNIT_MAIN("http1 response", response_framing_follows_the_fields,
    statuses_and_head_requests_without_a_body_have_none, malformed_answers_are_refused,
    connection_close_ends_the_connection)
