#include "console/metrics.h"

#include <string.h>

#include "support/unit.h"

START_TEST(a_family_has_its_help_and_type_and_then_its_samples)
{
    struct sl_metrics metrics;
    struct sl_metrics_label label = {"database", SL_TEXT("a.db")};
    sl_metrics_init(&metrics);
    sl_metrics_begin(&metrics, "outbox_unsent_events", SL_METRICS_GAUGE, "Unsent events.");
    sl_metrics_number(&metrics, &label, 1, 7);
    sl_metrics_number(&metrics, NULL, 0, -1);
    sl_metrics_begin(&metrics, "x_total", SL_METRICS_COUNTER, "More.");
    ck_assert_str_eq(metrics.text.data,
        "# HELP outbox_unsent_events Unsent events.\n# TYPE outbox_unsent_events gauge\n"
        "outbox_unsent_events{database=\"a.db\"} 7\noutbox_unsent_events -1\n"
        "# HELP x_total More.\n# TYPE x_total counter\n");
    sl_metrics_deinit(&metrics);
}
END_TEST

START_TEST(label_values_are_escaped)
{
    struct sl_metrics metrics;
    struct sl_metrics_label labels[] = {
        {"a", SL_TEXT("say \"x\\y\"\nand go")}, {"b", {NULL, 0}}};
    sl_metrics_init(&metrics);
    sl_metrics_begin(&metrics, "m", SL_METRICS_GAUGE, "h");
    sl_metrics_number(&metrics, labels, 2, 1);
    ck_assert_ptr_nonnull(
        strstr(metrics.text.data, "m{a=\"say \\\"x\\\\y\\\"\\nand go\",b=\"\"} 1\n"));
    sl_metrics_deinit(&metrics);
}
END_TEST

START_TEST(times_are_written_in_seconds_to_the_millisecond)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "m 0.000\n"}, {1, "m 0.001\n"}, {61234, "m 61.234\n"}, {-1500, "m -1.500\n"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sl_metrics metrics;
        sl_metrics_init(&metrics);
        sl_metrics_begin(&metrics, "m", SL_METRICS_GAUGE, "h");
        sl_metrics_time(&metrics, NULL, 0, rows[i].ms);
        ck_assert_ptr_nonnull(strstr(metrics.text.data, rows[i].text));
        sl_metrics_deinit(&metrics);
    }
}
END_TEST

START_TEST(a_histogram_is_cumulated_and_ends_with_its_sum_and_count)
{
    static const int64_t bounds_ms[] = {1, 250};
    static const int64_t counts[] = {3, 4, 5};
    struct sl_metrics metrics;
    struct sl_metrics_label label = {"sink", SL_TEXT("local")};
    struct sl_metrics_histogram histogram = {bounds_ms, counts, 3, 1234};
    sl_metrics_init(&metrics);
    sl_metrics_begin(&metrics, "m", SL_METRICS_HISTOGRAM, "h");
    sl_metrics_buckets(&metrics, &label, 1, &histogram);
    ck_assert_str_eq(metrics.text.data,
        "# HELP m h\n# TYPE m histogram\n"
        "m_bucket{sink=\"local\",le=\"0.001\"} 3\nm_bucket{sink=\"local\",le=\"0.250\"} 7\n"
        "m_bucket{sink=\"local\",le=\"+Inf\"} 12\nm_sum{sink=\"local\"} 1.234\n"
        "m_count{sink=\"local\"} 12\n");
    sl_metrics_deinit(&metrics);
}
END_TEST

START_TEST(a_full_page_ends_with_a_whole_line)
{
    struct sl_metrics metrics;
    char value[4000];
    memset(value, 'v', sizeof(value));
    struct sl_metrics_label label = {"a", {value, sizeof(value)}};
    sl_metrics_init(&metrics);
    sl_metrics_begin(&metrics, "m", SL_METRICS_GAUGE, "h");
    for (int i = 0; i < 400; i++) {
        sl_metrics_number(&metrics, &label, 1, i);
    }
    ck_assert(metrics.text.is_failed);
    ck_assert_uint_le(metrics.text.size, SL_METRICS_SIZE_MAX);
    ck_assert_uint_ge(metrics.text.size, SL_METRICS_SIZE_MAX - 5000);
    ck_assert_int_eq(metrics.text.data[metrics.text.size - 1], '\n');
    sl_metrics_deinit(&metrics);
}
END_TEST

UNIT_MAIN("metrics", a_family_has_its_help_and_type_and_then_its_samples, label_values_are_escaped,
    times_are_written_in_seconds_to_the_millisecond,
    a_histogram_is_cumulated_and_ends_with_its_sum_and_count, a_full_page_ends_with_a_whole_line)
