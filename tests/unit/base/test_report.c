/*
 * Clock, error and log: what people and programs read when something has happened.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "support/unit.h"

START_TEST(a_time_is_written_as_rfc_3339_in_utc)
{
    char text[SL_CLOCK_TEXT_SIZE];
    sl_clock_format(1795362309123, text);
    ck_assert_str_eq(text, "2026-11-22T15:45:09.123Z");
    sl_clock_format(0, text);
    ck_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
}
END_TEST

START_TEST(the_monotonic_clocks_agree_and_do_not_go_back)
{
    int64_t before_ms = sl_clock_monotonic_ms();
    int64_t now_us = sl_clock_monotonic_us();
    int64_t after_ms = sl_clock_monotonic_ms();
    ck_assert_int_le(before_ms, now_us / 1000);
    ck_assert_int_le(now_us / 1000, after_ms);
}
END_TEST

START_TEST(an_errno_and_a_libuv_error_get_a_code_and_a_reaction)
{
    struct sluice_error error;
    ck_assert_int_eq(sl_fail_system(&error, ENOSPC, "cannot write", "/x"), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_SPACE);
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    ck_assert_int_eq(error.library_code, ENOSPC);
    ck_assert_int_eq(sl_fail_system(&error, -EACCES, "cannot write", "/x"), -1);
    ck_assert_int_eq(error.code, SLUICE_READ_ONLY);
    ck_assert_ptr_nonnull(strstr(error.text, "cannot write /x"));
    ck_assert_int_eq(sl_fail_system(&error, EROFS, "cannot write", "/x"), -1);
    ck_assert_int_eq(error.code, SLUICE_READ_ONLY);
    ck_assert_int_eq(sl_fail_system(&error, EPIPE, "cannot write", "/x"), -1);
    ck_assert_int_eq(error.code, SLUICE_IO);
    static const struct {
        int number;
        enum sluice_code code;
        const char *remedy;
    } cases[] = {{ENOENT, SLUICE_UNAVAILABLE, "create the folder"},
        {ENOTDIR, SLUICE_UNAVAILABLE, "create the folder"},
        {EADDRINUSE, SLUICE_UNAVAILABLE, "choose another port"},
        {EMFILE, SLUICE_IO, "ulimit -n"},
        {ENOMEM, SLUICE_NO_MEMORY, ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(sl_fail_system(&error, cases[i].number, "cannot use", "/x"), -1);
        ck_assert_int_eq(error.code, cases[i].code);
        ck_assert_msg(strstr(error.text, cases[i].remedy) != NULL, "%s", error.text);
    }
    ck_assert_int_eq(sl_fail_system(NULL, EPIPE, "cannot write", "/x"), -1);
}
END_TEST

START_TEST(an_error_is_one_line_that_forges_nothing)
{
    struct sluice_error error;
    ck_assert_int_eq(
        sl_fail(&error, SLUICE_INVALID, SLUICE_REJECT, "a \"%s\"\n%s", "b", "c\x1b"), -1);
    ck_assert_str_eq(error.text, "a 'b'?c?");
    ck_assert_str_eq(sluice_code_name(SLUICE_NO_TRANSACTION), "SLUICE_NO_TRANSACTION");
    ck_assert_str_eq(sluice_code_name((enum sluice_code) 999), "SLUICE_INTERNAL");
    ck_assert_str_eq(sluice_code_name((enum sluice_code) -1), "SLUICE_INTERNAL");
}
END_TEST

/* What stderr gets while a line is logged at `level` under the limit `limit`. */
static const char *logged(enum sl_log_level limit, enum sl_log_level level, const char *value)
{
    static char text[4096];
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    sl_log_set_level(limit);
    sl_log(level, "it happened", "value=\"%s\"", value);
    dup2(kept, STDERR_FILENO);
    ssize_t size = read(ends[0], text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    close(kept);
    close(ends[0]);
    close(ends[1]);
    return text;
}

START_TEST(a_log_line_is_one_line_with_its_level_and_values)
{
    const char *line = logged(SL_LOG_INFO, SL_LOG_WARN, "a\nb");
    ck_assert_ptr_nonnull(strstr(line, "Z warn \"it happened\" value=\"a?b\"\n"));
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    ck_assert_str_eq(logged(SL_LOG_WARN, SL_LOG_INFO, "a"), "");
    ck_assert_ptr_nonnull(strstr(logged(SL_LOG_DEBUG, SL_LOG_DEBUG, "a"), " debug "));
}
END_TEST

START_TEST(a_long_log_line_is_cut_and_still_ends)
{
    static char value[5000];
    memset(value, 'x', sizeof(value) - 1);
    const char *line = logged(SL_LOG_INFO, SL_LOG_ERROR, value);
    ck_assert_uint_le(strlen(line), 2100);
    ck_assert_uint_ge(strlen(line), 1900);
    ck_assert_int_eq(line[strlen(line) - 1], '\n');
}
END_TEST

UNIT_MAIN("report", a_time_is_written_as_rfc_3339_in_utc,
    the_monotonic_clocks_agree_and_do_not_go_back,
    an_errno_and_a_libuv_error_get_a_code_and_a_reaction,
    an_error_is_one_line_that_forges_nothing,
    a_log_line_is_one_line_with_its_level_and_values,
    a_long_log_line_is_cut_and_still_ends)
