#include "cli/output.h"

#include "support/unit.h"

START_TEST(times_are_read_in_every_usual_form)
{
    static const struct {
        const char *text;
        int64_t time_ms;
    } rows[] = {{"2026-11-22T13:05:09Z", 1795352709000},
        {"2026-11-22T13:05:09.123Z", 1795352709123}, {"2026-11-22 13:05:09z", 1795352709000},
        {"2026-11-22T14:05:09+01:00", 1795352709000},
        {"2026-11-22T12:35:09.5-00:30", 1795352709500}, {"1970-01-01T00:00:00Z", 0},
        {"2024-02-29T00:00:00Z", 1709164800000}, {"10m", 1795352109000}, {"0s", 1795352709000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t time_ms = -1;
        struct sl_text text = sl_text_of(rows[i].text);
        ck_assert_msg(sl_parse_time_ms(text, 1795352709000, &time_ms), "%s", rows[i].text);
        ck_assert_int_eq(time_ms, rows[i].time_ms);
    }
}
END_TEST

START_TEST(what_is_no_time_is_refused)
{
    static const char *const texts[] = {"", "yesterday", "10", "2026-11-22", "2026-11-22T13:05:09",
        "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z",
        "2026-11-22T13:60:00Z", "2026-11-22T13:05:09+0100", "2026-11-22T13:05:09+25:00",
        "2026-11-22T13:05:09Zx", "2026/11/22T13:05:09Z", "-5m", "2026-1a-22T13:05:09Z"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t time_ms = 7;
        ck_assert_msg(!sl_parse_time_ms(sl_text_of(texts[i]), 1000, &time_ms), "%s", texts[i]);
        ck_assert_int_eq(time_ms, 7);
    }
}
END_TEST

START_TEST(ages_are_written_for_people)
{
    static const struct {
        int64_t age_ms;
        const char *text;
    } rows[] = {{-5, "0.0 s"}, {0, "0.0 s"}, {1250, "1.2 s"}, {9999, "9.9 s"}, {10000, "10 s"},
        {119999, "119 s"}, {120000, "2 min"}, {7200000, "2 h"}, {172800000, "2 d"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[24];
        sl_format_age(rows[i].age_ms, text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

static void expect_payload(struct sl_text payload, const char *json, const char *encoding)
{
    struct sl_event event = {.topic = SL_TEXT("t"), .type = SL_TEXT("T"), .payload = payload};
    json_t *object = json_object();
    ck_assert_int_eq(sl_json_put_event(object, &event), 0);
    char *text = json_dumps(json_object_get(object, "payload"), JSON_ENCODE_ANY | JSON_COMPACT);
    ck_assert_str_eq(text, json);
    ck_assert_pstr_eq(json_string_value(json_object_get(object, "payload_encoding")), encoding);
    ck_assert(json_is_null(json_object_get(object, "key")));
    ck_assert(json_is_object(json_object_get(object, "headers")));
    free(text);
    json_decref(object);
}

START_TEST(payloads_are_shown_as_json_text_or_base64)
{
    expect_payload(SL_TEXT("{\"a\": 1}"), "{\"a\":1}", NULL);
    expect_payload(SL_TEXT("7"), "7", NULL);
    expect_payload(SL_TEXT("good morning"), "\"good morning\"", "text");
    expect_payload((struct sl_text) {NULL, 0}, "\"\"", "text");
    expect_payload((struct sl_text) {"\xff", 1}, "\"/w==\"", "base64");
    expect_payload((struct sl_text) {"\xff\xfe", 2}, "\"//4=\"", "base64");
    expect_payload((struct sl_text) {"\xff\xfe\xfd", 3}, "\"//79\"", "base64");
}
END_TEST

static void expect_clean(struct sl_text text, const char *shown)
{
    char *data = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&data, &size);
    sl_print_clean(stream, text);
    fclose(stream);
    ck_assert_str_eq(data, shown);
    free(data);
}

START_TEST(no_event_can_drive_the_terminal)
{
    expect_clean(SL_TEXT("a\x1b[31mb\r\n\tc\x7f"), "a?[31mb???c?");
    expect_clean(SL_TEXT("Grüße"), "Grüße");
    expect_clean(SL_TEXT("Grüße\nzurück"), "Grüße?zurück");
    expect_clean((struct sl_text) {"a\xff z", 4}, "a? z");
    expect_clean((struct sl_text) {NULL, 0}, "");
}
END_TEST

UNIT_MAIN("output", times_are_read_in_every_usual_form, what_is_no_time_is_refused,
    ages_are_written_for_people, payloads_are_shown_as_json_text_or_base64,
    no_event_can_drive_the_terminal)
