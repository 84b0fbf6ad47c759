#include <string.h>

#include "support/unit.h"
#include "wire/http1.h"

/* Decode `size` bytes in steps of `step`; 1 complete, 0 incomplete, -1 refused. */
static int decode(const char *body, size_t size, size_t step, struct sl_buffer *ret_data,
    size_t *ret_rest)
{
    struct sl_http1_chunks chunks = {0};
    struct sl_http1_refusal refusal;
    size_t place = 0;
    size_t end = 0;
    while (place < size) {
        struct sl_text data;
        size_t taken;
        end = end < place + step ? place + step : end;
        end = end > size ? size : end;
        enum sl_http1_result result = sl_http1_decode_chunks(
            &chunks, body + place, end - place, &data, &taken, &refusal);
        if (result == SL_HTTP1_INVALID) {
            ck_assert_int_eq(refusal.status, 400);
            return -1;
        }
        ck_assert_int_eq(sl_buffer_append(ret_data, data.data, data.size), 0);
        place += taken;
        if (result == SL_HTTP1_COMPLETE) {
            *ret_rest = size - place;
            return 1;
        }
        end = taken == 0 ? end + step : end;
    }
    return 0;
}

static int result_of(const char *body)
{
    struct sl_buffer data;
    size_t rest;
    sl_buffer_init(&data, 100000);
    int result = decode(body, strlen(body), strlen(body), &data, &rest);
    sl_buffer_deinit(&data);
    return result;
}

START_TEST(chunks_come_out_whole_however_they_are_cut)
{
    const char *body = "5\r\nhello\r\n1;ext=\"a b\"\r\n \r\nB\r\nwide world!\r\n0\r\nT: x\r\n\r\n"
                       "GET / HTTP/1.1";
    for (size_t step = 1; step <= strlen(body); step++) {
        struct sl_buffer data;
        size_t rest = 0;
        sl_buffer_init(&data, 1000);
        ck_assert_int_eq(decode(body, strlen(body), step, &data, &rest), 1);
        ck_assert_str_eq(data.data, "hello wide world!");
        ck_assert_uint_eq(rest, strlen("GET / HTTP/1.1"));
        sl_buffer_deinit(&data);
    }
}
END_TEST

START_TEST(malformed_chunks_are_refused)
{
    static const char *const bodies[] = {"\r\n", "g\r\n", "5\nhello\r\n", "5\r\nhello\n",
        "5\r\nhelloX", " 5\r\nhello\r\n", "5 \r\nhello\r\n", "+5\r\nhello\r\n", "0x5\r\nhello\r\n",
        "-1\r\n", "1234567890abcdef\r\n", "5;a\nhello", "5;a\rb\r\nhello\r\n", "0\r\n \r\n",
        "0\r\n: x\r\n\r\n", "0\r\nX: a\nY: b\r\n\r\n", "5\r\rhello", "0\r\n\rX",
        "2;\x01\r\nab\r\n"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        ck_assert_int_eq(result_of(bodies[i]), -1);
    }
}
END_TEST

START_TEST(endless_extensions_and_trailers_are_refused)
{
    static char body[SL_HTTP1_TRAILERS_SIZE_MAX + 100];
    memset(body, 'a', sizeof(body) - 1);
    memcpy(body, "5;", 2);
    ck_assert_int_eq(result_of(body), -1);
    memcpy(body, "0\r\na:", 5);
    ck_assert_int_eq(result_of(body), -1);
}
END_TEST

START_TEST(an_unfinished_body_is_incomplete)
{
    ck_assert_int_eq(result_of("5\r\nhel"), 0);
    ck_assert_int_eq(result_of("5\r\nhello\r\n0\r\n"), 0);
}
END_TEST

START_TEST(size_lines_are_what_the_decoder_reads)
{
    static const uint64_t sizes[] = {0, 1, 15, 16, 255, 65536, 0xfffffffffffffffULL};
    static const char *const lines[] = {"0\r\n", "1\r\n", "f\r\n", "10\r\n", "ff\r\n", "10000\r\n",
        "fffffffffffffff\r\n"};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char line[20];
        size_t size = sl_http1_chunk_line(sizes[i], line);
        ck_assert_uint_eq(size, strlen(lines[i]));
        ck_assert(memcmp(line, lines[i], size) == 0);
    }
}
END_TEST

UNIT_MAIN("http1 chunks", chunks_come_out_whole_however_they_are_cut,
    malformed_chunks_are_refused, endless_extensions_and_trailers_are_refused,
    an_unfinished_body_is_incomplete, size_lines_are_what_the_decoder_reads)
