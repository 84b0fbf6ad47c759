/*
 * tests/unit/cli/config_support.h - a config out of texts, as a user would give them.
 */
#ifndef TESTS_UNIT_CLI_CONFIG_SUPPORT_H
#define TESTS_UNIT_CLI_CONFIG_SUPPORT_H

#include <stdio.h>
#include <unistd.h>

#include "cli/config.h"
#include "support/temp.h"
#include "support/unit.h"

/* Write `text` to the file "app.yaml" of a new folder, and go there: messages name the file so. */
static inline void write_config(const char *text, size_t size)
{
    struct temp temp;
    temp_make(&temp);
    ck_assert_int_eq(chdir(temp.folder), 0);
    FILE *file = fopen("app.yaml", "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void remove_config(void)
{
    char folder[256];
    unlink("app.yaml");
    ck_assert_ptr_nonnull(getcwd(folder, sizeof(folder)));
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(folder);
}

/* The file must be refused with exactly these lines. */
static inline void expect_problems_of(const char *yaml, size_t size, const char *lines)
{
    struct sl_config config;
    struct sl_problems problems;
    struct sl_config_sources sources = {.file = "app.yaml"};
    write_config(yaml, size);
    sl_problems_init(&problems);
    ck_assert_int_eq(sl_config_load(&sources, &config, &problems), -1);
    ck_assert_str_eq(problems.text.data, lines);
    sl_problems_deinit(&problems);
    remove_config();
}

static inline void expect_problems(const char *yaml, const char *lines)
{
    expect_problems_of(yaml, strlen(yaml), lines);
}

/* The file must be accepted; the config is the caller's. */
static inline struct sl_config load_config(const struct sl_config_sources *sources)
{
    struct sl_config config;
    struct sl_problems problems;
    sl_problems_init(&problems);
    int result = sl_config_load(sources, &config, &problems);
    ck_assert_msg(result == 0, "%s", problems.text.data);
    sl_problems_deinit(&problems);
    return config;
}

#endif
