#include "console/guard.h"

#include "support/unit.h"

/* A request of our own page on a console that listens on loopback. */
static struct sl_guard_request own_change(void)
{
    return (struct sl_guard_request) {.host = SL_TEXT("127.0.0.1:9090"),
        .origin = SL_TEXT("http://127.0.0.1:9090"),
        .fetch_site = SL_TEXT("same-origin"),
        .console_header = SL_TEXT("1"),
        .is_change = true,
        .is_loopback = true};
}

static void expect_refused(const struct sl_guard_request *request, const char *part)
{
    const char *refusal = sl_guard_refusal(request);
    ck_assert_ptr_nonnull(refusal);
    ck_assert_ptr_nonnull(strstr(refusal, part));
}

START_TEST(the_page_itself_and_a_command_line_client_may_change_things)
{
    struct sl_guard_request request = own_change();
    ck_assert_ptr_null(sl_guard_refusal(&request));
    request.origin = request.fetch_site = (struct sl_text) {NULL, 0};
    ck_assert_ptr_null(sl_guard_refusal(&request));
    request.fetch_site = SL_TEXT("none");
    ck_assert_ptr_null(sl_guard_refusal(&request));
}
END_TEST

START_TEST(a_change_without_our_header_is_refused)
{
    struct sl_guard_request request = own_change();
    request.console_header = (struct sl_text) {NULL, 0};
    expect_refused(&request, "X-Sluice-Console: 1");
    request.console_header = SL_TEXT("11");
    expect_refused(&request, "X-Sluice-Console: 1");
    request.is_change = false;
    ck_assert_ptr_null(sl_guard_refusal(&request));
}
END_TEST

START_TEST(a_change_from_another_origin_is_refused)
{
    static const char *const origins[] = {"null", "http://evil.example", "http://127.0.0.1:9091",
        "http://127.0.0.1:9090.evil.example", "ftp://127.0.0.1:9090", "127.0.0.1:9090"};
    for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
        struct sl_guard_request request = own_change();
        request.origin = sl_text_of(origins[i]);
        expect_refused(&request, "another origin");
    }
    struct sl_guard_request request = own_change();
    request.fetch_site = SL_TEXT("same-site");
    expect_refused(&request, "another site");
}
END_TEST

START_TEST(a_loopback_console_answers_to_its_own_names_only)
{
    static const char *const good[] = {
        "127.0.0.1:9090", "127.0.0.1", "[::1]:9090", "localhost:9090", "LOCALHOST", "10.0.0.7:80"};
    static const char *const bad[] = {
        "evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example",
        "", ":9090", "[evil"};
    struct sl_guard_request request = {.is_loopback = true};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        request.host = sl_text_of(good[i]);
        ck_assert_msg(sl_guard_refusal(&request) == NULL, "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        request.host = sl_text_of(bad[i]);
        ck_assert_msg(sl_guard_refusal(&request) != NULL, "%s", bad[i]);
    }
    request.is_loopback = false;
    request.host = SL_TEXT("console.example");
    ck_assert_ptr_null(sl_guard_refusal(&request));
}
END_TEST

UNIT_MAIN("guard", the_page_itself_and_a_command_line_client_may_change_things,
    a_change_without_our_header_is_refused, a_change_from_another_origin_is_refused,
    a_loopback_console_answers_to_its_own_names_only)
