#include "gateway/template.h"

#include <stdio.h>
#include <string.h>

#include "support/unit.h"

static struct sl_pattern pattern_of(const char *text)
{
    struct sl_pattern pattern;
    struct sluice_error error;
    ck_assert_msg(sl_pattern_parse(sl_text_of(text), &pattern, &error) == 0, "%s", error.text);
    return pattern;
}

static enum sl_match_result match(const char *pattern_text, const char *path,
    struct sl_match *ret_match)
{
    struct sl_pattern pattern = pattern_of(pattern_text);
    return sl_pattern_match(&pattern, sl_text_of(path), ret_match);
}

START_TEST(patterns_match_whole_segments)
{
    struct sl_match found;
    ck_assert_int_eq(match("/orders/{id}/stream", "/orders/7/stream", &found), SL_MATCHES);
    ck_assert(sl_text_equal(found.values[0], SL_TEXT("7")));
    ck_assert_int_eq(match("/orders/{id}/stream", "/orders/7", &found), SL_MATCHES_NOT);
    ck_assert_int_eq(match("/orders/{id}/stream", "/orders//stream", &found), SL_MATCHES_NOT);
    ck_assert_int_eq(match("/orders/{id}/stream", "/orders/7/stream/", &found), SL_MATCHES_NOT);
    ck_assert_int_eq(match("/orders/{id}/stream", "/orders/7/8/stream", &found), SL_MATCHES_NOT);
    ck_assert_int_eq(match("/a/{b}/{c}", "/a/x/y", &found), SL_MATCHES);
    ck_assert(sl_text_equal(found.values[1], SL_TEXT("y")));
}
END_TEST

START_TEST(two_stars_match_any_rest)
{
    struct sl_match found;
    ck_assert_int_eq(match("/**", "/", &found), SL_MATCHES);
    ck_assert_int_eq(match("/**", "/a/b", &found), SL_MATCHES);
    ck_assert_int_eq(match("/wallet/**", "/wallet/point", &found), SL_MATCHES);
    ck_assert_int_eq(match("/wallet/**", "/wallet", &found), SL_MATCHES);
    ck_assert_int_eq(match("/wallet/**", "/wallets", &found), SL_MATCHES_NOT);
}
END_TEST

START_TEST(parameters_are_decoded_with_care)
{
    static const char *const refused[] = {"/o/a%2Fb", "/o/a%2fb", "/o/a%00b", "/o/a%0d%0ab",
        "/o/a%0Ab", "/o/%7f", "/o/%ff", "/o/%c3", "/o/%ed%a0%80"};
    struct sl_match found;
    ck_assert_int_eq(match("/o/{id}", "/o/a%20%C3%A9%25", &found), SL_MATCHES);
    ck_assert(sl_text_equal(found.values[0], SL_TEXT("a \xc3\xa9%")));
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ck_assert_int_eq(match("/o/{id}", refused[i], &found), SL_MATCH_REFUSED);
    }
    char path[SL_VALUE_SIZE_MAX + 10];
    memset(path, 'a', sizeof(path));
    memcpy(path, "/o/", 3);
    path[SL_VALUE_SIZE_MAX + 4] = '\0';
    ck_assert_int_eq(match("/o/{id}", path, &found), SL_MATCH_REFUSED);
    path[SL_VALUE_SIZE_MAX + 3] = '\0';
    ck_assert_int_eq(match("/o/{id}", path, &found), SL_MATCHES);
    /* A bad part of another route's path is none of this route's business. */
    ck_assert_int_eq(match("/o/{id}/x", "/o/%00/y", &found), SL_MATCHES_NOT);
}
END_TEST

START_TEST(dot_segments_are_noticed_however_they_are_written)
{
    static const char *const dotted[] = {
        "/a/../b", "/..", "/.", "/a/./b", "/a/%2e%2E/b", "/a/.%2e", "/%2e"};
    static const char *const plain[] = {"/a/...", "/a/.b", "/a..", "/", "/a/%2ex", "/a//b"};
    for (size_t i = 0; i < sizeof(dotted) / sizeof(dotted[0]); i++) {
        ck_assert_msg(sl_path_has_dots(sl_text_of(dotted[i])), "%s", dotted[i]);
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        ck_assert_msg(!sl_path_has_dots(sl_text_of(plain[i])), "%s", plain[i]);
    }
}
END_TEST

START_TEST(bad_patterns_are_refused)
{
    static const char *const bad[] = {"", "orders", "/a/{b", "/a/b}", "/{}", "/{a}/{a}", "/**/a",
        "/a*", "/a?b", "/x{id}", "/{a b}", "/{1}/{2}/{3}/{4}/{5}/{6}/{7}/{8}/{9}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sl_pattern pattern;
        struct sluice_error error;
        ck_assert_msg(
            sl_pattern_parse(sl_text_of(bad[i]), &pattern, &error) == -1, "%s", bad[i]);
        ck_assert_int_eq(error.code, SLUICE_INVALID);
    }
}
END_TEST

START_TEST(a_segment_is_what_it_means_and_not_how_it_is_spelt)
{
    struct sl_match found;
    struct sl_pattern pattern = pattern_of("/private/{id}");
    struct sl_pattern tail = pattern_of("/private/**");
    ck_assert_int_eq(sl_pattern_match(&pattern, SL_TEXT("/%70riv%61te/7"), &found), SL_MATCHES);
    ck_assert_int_eq(sl_pattern_match(&tail, SL_TEXT("/privat%65/7/8"), &found), SL_MATCHES);
    ck_assert_int_eq(sl_pattern_match(&tail, SL_TEXT("/privat%2565/7"), &found), SL_MATCHES_NOT);
    ck_assert_int_eq(sl_pattern_match(&tail, SL_TEXT("/private%2f7"), &found), SL_MATCHES_NOT);
    ck_assert_int_eq(sl_pattern_match(&tail, SL_TEXT("/private%/7"), &found), SL_MATCHES_NOT);
    ck_assert_int_eq(sl_pattern_match(&tail, SL_TEXT("/Private/7"), &found), SL_MATCHES_NOT);
}
END_TEST

static int expand(const char *template_text, bool is_url, char *ret_text, size_t size)
{
    struct sl_pattern pattern = pattern_of("/o/{id}");
    struct sl_match found;
    struct sl_template template;
    struct sluice_error error;
    struct sl_buffer buffer;
    struct sl_http1_request request = {.query = SL_TEXT("x=a%2Fb+c&y&lang=de&bad=%0a"),
        .headers = {{SL_TEXT("X-User"), SL_TEXT("ann")},
            {SL_TEXT("Cookie"), SL_TEXT("a=1; session=s%20x ; b=2")}},
        .header_count = 2};
    ck_assert_int_eq(sl_pattern_match(&pattern, SL_TEXT("/o/7%20%26"), &found), SL_MATCHES);
    ck_assert_int_eq(
        sl_template_parse(sl_text_of(template_text), &pattern, &template, &error), 0);
    sl_buffer_init(&buffer, size - 1);
    struct sl_values values = {&found, &request, NULL};
    int result = sl_template_expand(&template, &values, is_url, &buffer, &error);
    snprintf(ret_text, size, "%s", buffer.data == NULL ? "" : buffer.data);
    sl_buffer_deinit(&buffer);
    return result;
}

START_TEST(values_come_from_path_query_headers_and_cookies)
{
    char text[200];
    ck_assert_int_eq(expand("{id}|{query.x}|{header.x-user}|{cookie.session}", false, text,
                         sizeof(text)), 0);
    ck_assert_str_eq(text, "7 &|a/b c|ann|s%20x");
}
END_TEST

START_TEST(values_in_a_url_are_encoded)
{
    char text[200];
    ck_assert_int_eq(expand("/orders/{id}?u={query.x}", true, text, sizeof(text)), 0);
    ck_assert_str_eq(text, "/orders/7%20%26?u=a%2Fb%20c");
}
END_TEST

START_TEST(a_value_that_is_missing_or_unclean_is_an_error)
{
    char text[200];
    ck_assert_int_eq(expand("{query.none}", false, text, sizeof(text)), -1);
    ck_assert_int_eq(expand("{query.y}", false, text, sizeof(text)), -1);
    ck_assert_int_eq(expand("{query.bad}", false, text, sizeof(text)), -1);
    ck_assert_int_eq(expand("{header.none}", false, text, sizeof(text)), -1);
    ck_assert_int_eq(expand("{cookie.none}", false, text, sizeof(text)), -1);
    ck_assert_int_eq(expand("{id}{id}{id}", false, text, 5), -1);
}
END_TEST

START_TEST(templates_that_cannot_work_are_refused)
{
    static const struct {
        const char *text;
        enum sluice_code code;
    } cases[] = {{"{other}", SLUICE_INVALID}, {"{id", SLUICE_INVALID}, {"id}", SLUICE_INVALID},
        {"{}", SLUICE_INVALID}, {"{query.}", SLUICE_INVALID}, {"{token.}", SLUICE_INVALID},
        {"{token}", SLUICE_INVALID}};
    struct sl_pattern pattern = pattern_of("/o/{id}");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sl_template template;
        struct sluice_error error;
        ck_assert_int_eq(
            sl_template_parse(sl_text_of(cases[i].text), &pattern, &template, &error), -1);
        ck_assert_int_eq(error.code, cases[i].code);
    }
}
END_TEST

UNIT_MAIN("template", a_segment_is_what_it_means_and_not_how_it_is_spelt,
    patterns_match_whole_segments, two_stars_match_any_rest, parameters_are_decoded_with_care,
    dot_segments_are_noticed_however_they_are_written, bad_patterns_are_refused,
    values_come_from_path_query_headers_and_cookies, values_in_a_url_are_encoded,
    a_value_that_is_missing_or_unclean_is_an_error, templates_that_cannot_work_are_refused)
