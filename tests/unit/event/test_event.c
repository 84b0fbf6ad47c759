#include "event/event.h"

#include <stdio.h>
#include <string.h>

#include "event/headers.h"
#include "event/id.h"
#include "support/unit.h"

static struct sluice_event good(void)
{
    return (struct sluice_event) {
        .topic = "orders", .key = "7", .type = "OrderPlaced", .payload = "{}", .payload_size = 2};
}

static void expect(const struct sluice_event *event, enum sluice_code code, const char *text)
{
    struct sluice_error error = {.code = SLUICE_OK};
    ck_assert_int_eq(sl_event_check(event, &error), -1);
    ck_assert_int_eq(error.code, code);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_msg(strstr(error.text, text) != NULL, "\"%s\" is not in \"%s\"", text, error.text);
}

START_TEST(an_event_within_the_limits_passes)
{
    static const struct sluice_header headers[] = {{"traceparent", "00-ab-cd-01"}, {"x", "Grüße"}};
    struct sluice_event event = good();
    event.headers = headers;
    event.header_count = 2;
    ck_assert_int_eq(sl_event_check(&event, NULL), 0);
    event.key = NULL;
    event.payload = NULL;
    event.payload_size = 0;
    ck_assert_int_eq(sl_event_check(&event, NULL), 0);
}
END_TEST

START_TEST(each_field_is_refused_by_name_and_limit)
{
    static char long_text[SLUICE_HEADER_VALUE_SIZE_MAX + 2];
    memset(long_text, 'a', sizeof(long_text) - 1);
    struct sluice_event event = good();
    event.topic = "no topic";
    expect(&event, SLUICE_INVALID, "'no topic' is no topic name");
    event.topic = NULL;
    expect(&event, SLUICE_INVALID, "no topic name");
    event = good();
    event.key = long_text;
    expect(&event, SLUICE_TOO_LARGE, "key has 4097 bytes; at most 1024");
    event.key = "a\nb";
    expect(&event, SLUICE_INVALID, "key is no UTF-8 text, or has control characters");
    event = good();
    event.type = "";
    expect(&event, SLUICE_INVALID, "no type");
    event.type = "\xff";
    expect(&event, SLUICE_INVALID, "type is no UTF-8");
    event = good();
    event.payload_size = SLUICE_PAYLOAD_SIZE_MAX + 1;
    expect(&event, SLUICE_TOO_LARGE, "payload has 1048577 bytes; at most 1048576");
    event.payload = NULL;
    expect(&event, SLUICE_INVALID, "payload is NULL");
}
END_TEST

START_TEST(headers_are_refused_by_name_count_and_repetition)
{
    static char long_text[SLUICE_HEADER_VALUE_SIZE_MAX + 2];
    memset(long_text, 'a', sizeof(long_text) - 1);
    struct sluice_header headers[SLUICE_HEADER_COUNT_MAX + 1];
    for (int i = 0; i <= SLUICE_HEADER_COUNT_MAX; i++) {
        headers[i] = (struct sluice_header) {"same", "value"};
    }
    struct sluice_event event = good();
    event.headers = headers;
    event.header_count = SLUICE_HEADER_COUNT_MAX + 1;
    expect(&event, SLUICE_TOO_LARGE, "has 33 headers; at most 32");
    event.header_count = 2;
    expect(&event, SLUICE_INVALID, "header 'same' is there twice");
    event.header_count = 1;
    headers[0] = (struct sluice_header) {"bad name", "v"};
    expect(&event, SLUICE_INVALID, "'bad name' is no header name");
    headers[0] = (struct sluice_header) {"name", NULL};
    expect(&event, SLUICE_INVALID, "has no value");
    headers[0] = (struct sluice_header) {"name", long_text};
    expect(&event, SLUICE_TOO_LARGE, "header value has 4097 bytes");
}
END_TEST

START_TEST(a_row_that_anybody_wrote_is_checked_like_a_published_event)
{
    struct sl_event row = {.id = "01a20398-f6d2-7d74-8e39-d97973311863",
        .topic = SL_TEXT("t"),
        .type = SL_TEXT("T"),
        .headers = SL_TEXT("{\"a\":\"b\"}")};
    struct sluice_error error;
    ck_assert_int_eq(sl_event_check_row(&row, &error), 0);
    row.headers = SL_TEXT("{\"a\":1}");
    ck_assert_int_eq(sl_event_check_row(&row, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "header 'a' is no string"));
    row.headers = SL_TEXT("[]");
    ck_assert_int_eq(sl_event_check_row(&row, &error), -1);
    row.headers = SL_TEXT("{\"a\":\"1\",\"a\":\"2\"}");
    ck_assert_int_eq(sl_event_check_row(&row, &error), -1);
    row.headers = SL_TEXT("{}");
    snprintf(row.id, sizeof(row.id), "7");
    ck_assert_int_eq(sl_event_check_row(&row, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "'7' is no event id"));
}
END_TEST

START_TEST(headers_survive_their_json_text)
{
    struct sluice_header headers[] = {{"a", "\"quoted\" \\ /"}, {"b", "\xf0\x9f\x90\xb0"}};
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    ck_assert_int_eq(sl_headers_write(&buffer, headers, 2), 0);
    struct sl_headers parsed;
    ck_assert_int_eq(
        sl_headers_parse((struct sl_text) {buffer.data, buffer.size}, &parsed, NULL), 0);
    ck_assert_uint_eq(parsed.count, 2);
    ck_assert_str_eq(parsed.items[0].value, headers[0].value);
    ck_assert_str_eq(parsed.items[1].value, headers[1].value);
    sl_headers_deinit(&parsed);
    sl_buffer_deinit(&buffer);
}
END_TEST

START_TEST(consumer_names_are_short_and_not_the_relays)
{
    ck_assert(sl_event_is_consumer(SL_TEXT("point-initializer-v1")));
    ck_assert(!sl_event_is_consumer(SL_TEXT("relay")));
    ck_assert(!sl_event_is_consumer(SL_TEXT("")));
    ck_assert(!sl_event_is_consumer(SL_TEXT("a b")));
    ck_assert(!sl_event_is_topic(SL_TEXT("..")));
}
END_TEST

START_TEST(a_rows_id_is_the_same_each_time_and_no_other_rows)
{
    static const char source[] = "01a22879-1dc8-7d8e-b7a5-c7cc45d61def";
    static const int64_t numbers[] = {0, 1, 2, -1, INT64_MAX, INT64_MIN, (int64_t) 1 << 62};
    char ids[8][SLUICE_EVENT_ID_SIZE];
    char again[SLUICE_EVENT_ID_SIZE];
    for (size_t i = 0; i < 7; i++) {
        sl_id_of_number(source, numbers[i], ids[i]);
        sl_id_of_number(source, numbers[i], again);
        ck_assert_str_eq(ids[i], again);
        ck_assert(sl_event_is_id(sl_text_of(ids[i])));
        ck_assert_int_eq(ids[i][14], '8');
        ck_assert_ptr_nonnull(strchr("89ab", ids[i][19]));
        for (size_t j = 0; j < i; j++) {
            ck_assert_str_ne(ids[i], ids[j]);
        }
    }
    ck_assert_str_eq(ids[1] + 19, "8000-000000000001"); /* a person finds the number in it */
    sl_id_of_number("01a22879-1dc8-7d8e-b7a5-c7cc45d61dee", 1, again);
    ck_assert_str_ne(ids[1], again);
    sl_id_of_text(source, "a", ids[0]);
    sl_id_of_text(source, "b", ids[1]);
    sl_id_of_text(source, "a", again);
    ck_assert(sl_event_is_id(sl_text_of(ids[0])));
    ck_assert_str_ne(ids[0], ids[1]);
    ck_assert_str_eq(ids[0], again);
}
END_TEST

UNIT_MAIN("event", an_event_within_the_limits_passes, each_field_is_refused_by_name_and_limit,
    headers_are_refused_by_name_count_and_repetition,
    a_row_that_anybody_wrote_is_checked_like_a_published_event, headers_survive_their_json_text,
    consumer_names_are_short_and_not_the_relays, a_rows_id_is_the_same_each_time_and_no_other_rows)
