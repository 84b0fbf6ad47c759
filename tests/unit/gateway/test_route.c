#include "gateway/route.h"

#include <string.h>

#include "support/unit.h"

static const char *const finals[] = {"completed"};

static struct sl_stream_options good_stream(void)
{
    return (struct sl_stream_options) {.topic = "orders.v1", .key = "{id}",
        .snapshot = "http://127.0.0.1:9000/orders/{id}", .event = "/type", .version = "/version",
        .final_statuses = finals, .final_count = 1, .owner = "{header.x-user}"};
}

static void check_refused(struct sl_route route, enum sluice_code code, const char *part)
{
    struct sluice_error error;
    struct sl_compiled_route compiled;
    ck_assert_int_eq(sl_route_compile(&route, &compiled, &error), -1);
    sl_route_deinit(&compiled);
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.text, part) != NULL, "%s", error.text);
    if (route.path != NULL) {
        ck_assert_msg(strstr(error.text, route.path) != NULL, "%s", error.text);
    }
    struct sl_gateway_options options = {.routes = &route, .route_count = 1};
    ck_assert_int_eq(sl_gateway_check(&options, &error), -1);
}

START_TEST(a_stream_route_is_taken_apart)
{
    struct sl_stream_options stream = good_stream();
    struct sl_route route = {.path = "/orders/{id}/stream", .stream = &stream};
    struct sl_compiled_route compiled;
    struct sluice_error error;
    ck_assert_msg(sl_route_compile(&route, &compiled, &error) == 0, "%s", error.text);
    ck_assert_str_eq(compiled.target.host, "127.0.0.1");
    ck_assert_str_eq(compiled.target.authority, "127.0.0.1:9000");
    ck_assert_str_eq(compiled.stream->snapshot_text, "/orders/{id}");
    ck_assert_uint_eq(compiled.stream->snapshot.part_count, 2);
    sl_route_deinit(&compiled);
    struct sl_gateway_options options = {.routes = &route, .route_count = 1};
    ck_assert_int_eq(sl_gateway_check(&options, &error), 0);
}
END_TEST

START_TEST(an_upstream_route_keeps_its_prefix)
{
    struct sl_route route = {.path = "/**", .upstream = "http://[::1]:9000/api/"};
    struct sl_compiled_route compiled;
    struct sluice_error error;
    ck_assert_int_eq(sl_route_compile(&route, &compiled, &error), 0);
    ck_assert_str_eq(compiled.target.host, "::1");
    ck_assert_str_eq(compiled.target.authority, "[::1]:9000");
    ck_assert_str_eq(compiled.target.prefix, "/api");
    sl_route_deinit(&compiled);
}
END_TEST

START_TEST(errors_name_the_route_and_the_part)
{
    struct sl_stream_options stream = good_stream();
    struct sl_route both = {.path = "/a", .upstream = "http://a", .stream = &stream};
    check_refused(both, SLUICE_INVALID, "either");
    check_refused((struct sl_route) {.path = "/a"}, SLUICE_INVALID, "either");
    check_refused((struct sl_route) {.upstream = "http://a"}, SLUICE_INVALID, "begins with");
    check_refused(
        (struct sl_route) {.path = "/a", .upstream = "https://a"}, SLUICE_INVALID, "upstream");
    check_refused(
        (struct sl_route) {.path = "/a", .upstream = "http://a/?q"}, SLUICE_INVALID, "upstream");
    check_refused(
        (struct sl_route) {.path = "/a", .upstream = "http://a:0"}, SLUICE_INVALID, "upstream");
}
END_TEST

static void check_stream_refused(
    struct sl_stream_options stream, enum sluice_code code, const char *part)
{
    check_refused((struct sl_route) {.path = "/orders/{id}", .stream = &stream}, code, part);
}

START_TEST(each_part_of_a_stream_is_checked)
{
    struct sl_stream_options stream = good_stream();
    stream.topic = "no topic";
    check_stream_refused(stream, SLUICE_INVALID, "topic");
    stream = good_stream();
    stream.key = NULL;
    check_stream_refused(stream, SLUICE_INVALID, "key");
    stream.key = "{nothing}";
    check_stream_refused(stream, SLUICE_INVALID, "key");
    stream = good_stream();
    stream.event = "type";
    check_stream_refused(stream, SLUICE_INVALID, "event");
    stream = good_stream();
    stream.version = "/a~9";
    check_stream_refused(stream, SLUICE_INVALID, "version");
    stream = good_stream();
    stream.event = NULL;
    check_stream_refused(stream, SLUICE_INVALID, "final");
    stream = good_stream();
    stream.snapshot = "http://{id}/x";
    check_stream_refused(stream, SLUICE_INVALID, "snapshot");
    stream.snapshot = "http://a/{nothing}";
    check_stream_refused(stream, SLUICE_INVALID, "snapshot");
    stream.snapshot = "http://a/ b";
    check_stream_refused(stream, SLUICE_INVALID, "snapshot");
}
END_TEST

UNIT_MAIN("route", a_stream_route_is_taken_apart, an_upstream_route_keeps_its_prefix,
    errors_name_the_route_and_the_part, each_part_of_a_stream_is_checked)
