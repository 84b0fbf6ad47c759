#include "cli/option.h"

#include "cli/suggest.h"
#include "support/unit.h"

static void expect_masked(enum sl_option_id id, const char *value, const char *masked)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 1000);
    sl_option_write_masked(sl_option_of(id), sl_text_of(value), &buffer);
    ck_assert_str_eq(buffer.data, masked);
    sl_buffer_deinit(&buffer);
}

START_TEST(passwords_in_urls_are_masked)
{
    expect_masked(SL_OPTION_DATABASE, "postgresql://app:s3cret@host/app?x=1",
        "postgresql://app:****@host/app?x=1");
    expect_masked(
        SL_OPTION_DATABASE, "postgresql://app:s:c@r@host/app", "postgresql://app:****@host/app");
    expect_masked(SL_OPTION_DATABASE, "postgresql://host/app?user=a&password=b&c=d",
        "postgresql://host/app?user=a&password=****&c=d");
    expect_masked(SL_OPTION_DATABASE, "postgresql://u:p@h/a?password=q",
        "postgresql://u:****@h/a?password=****");
    expect_masked(SL_OPTION_DATABASE, "postgresql://app@host/app", "postgresql://app@host/app");
    expect_masked(SL_OPTION_DATABASE, "sqlite:app.db", "sqlite:app.db");
    expect_masked(SL_OPTION_BROKER, "kafka://a:9092,b:9092", "kafka://a:9092,b:9092");
}
END_TEST

START_TEST(every_option_has_a_good_default_and_a_variable_of_its_own)
{
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        const struct sl_option *option = sl_option_of((enum sl_option_id) i);
        char reason[SL_OPTION_REASON_SIZE];
        char name[64];
        int64_t number;
        ck_assert_ptr_nonnull(option->name);
        ck_assert_ptr_nonnull(option->help);
        ck_assert_int_eq(sl_option_find(sl_text_of(option->name)), i);
        if (option->default_text != NULL) {
            ck_assert_msg(sl_option_check(
                option, sl_text_of(option->default_text), &number, reason) == 0, "%s", reason);
        }
        sl_option_environment_name(option, name);
        ck_assert_uint_eq(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), strlen(name));
    }
}
END_TEST

START_TEST(only_near_words_are_suggested)
{
    struct sl_suggestion suggestion;
    sl_suggestion_init(&suggestion, SL_TEXT("tial"));
    sl_suggestion_offer(&suggestion, "relay");
    ck_assert_ptr_null(suggestion.best);
    sl_suggestion_offer(&suggestion, "tail");
    ck_assert_str_eq(suggestion.best, "tail");
    ck_assert_str_eq(sl_option_nearest(SL_TEXT("relay.attempt_max")), "relay.attempts_max");
    ck_assert_str_eq(sl_option_nearest(SL_TEXT("gateway.attempts_max")), "relay.attempts_max");
    ck_assert_ptr_null(sl_option_nearest(SL_TEXT("zzzzzzzz")));
}
END_TEST

UNIT_MAIN("option", passwords_in_urls_are_masked,
    every_option_has_a_good_default_and_a_variable_of_its_own, only_near_words_are_suggested)
