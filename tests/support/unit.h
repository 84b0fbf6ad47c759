/*
 * tests/support/unit.h - what a unit test program needs around Check.
 *
 * A test is named as a sentence: START_TEST(batch_closes_when_byte_limit_is_reached). Each program
 * ends with UNIT_MAIN(suite name, test, test, ...). Tests run each in a process of its own, but not
 * under sanitizers, where CK_FORK=no is set by meson. CK_RUN_CASE=name runs one of them.
 */
#ifndef TESTS_SUPPORT_UNIT_H
#define TESTS_SUPPORT_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* `run_unit_tests()`: run the tests, for a program with a main of its own. */
#define UNIT_TESTS(suite_name, ...)                                                                \
    static int run_unit_tests(void)                                                                \
    {                                                                                              \
        const TTest *tests[] = {__VA_ARGS__};                                                      \
        Suite *suite = suite_create(suite_name);                                                   \
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {                            \
            TCase *unit_case = tcase_create(tests[i]->name);                                       \
            tcase_set_timeout(unit_case, 30);                                                      \
            tcase_add_test(unit_case, tests[i]);                                                   \
            suite_add_tcase(suite, unit_case);                                                     \
        }                                                                                          \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_NORMAL);                                                        \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                          \
    }

/* Like UNIT_MAIN, for tests that need a server: where the environment variable that has its URL is
 * not set, the program counts as skipped. tools/servers/run sets them. */
#define UNIT_MAIN_WITH_SERVER(variable, suite_name, ...)                                           \
    UNIT_TESTS(suite_name, __VA_ARGS__)                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        if (getenv(variable) == NULL) {                                                            \
            fprintf(stderr, "skipped: %s is not set\n", variable);                                 \
            return 77; /* meson's word for skipped */                                              \
        }                                                                                          \
        return run_unit_tests();                                                                   \
    }

#define UNIT_MAIN(suite_name, ...)                                                                 \
    UNIT_TESTS(suite_name, __VA_ARGS__)                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        return run_unit_tests();                                                                   \
    }

#endif
