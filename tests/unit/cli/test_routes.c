#include "cli/routes.h"

#include "unit/cli/config_support.h"

#define HEAD "broker: local:a\ngateway:\n  routes:\n"

START_TEST(the_routes_of_the_design_are_read_and_written_back)
{
    static const char yaml[] = HEAD
        "    - path: /orders/{id}/stream\n      stream:\n        topic: order.status-changed.v1\n"
        "        key: \"{id}\"\n        snapshot: http://127.0.0.1:9000/orders/{id}\n"
        "        event: /type\n        version: /version\n"
        "        final: [completed, failed]\n"
        "    - path: /**\n      upstream: http://127.0.0.1:9000\n";
    struct sl_config_sources sources = {.file = "app.yaml"};
    write_config(yaml, sizeof(yaml) - 1);
    struct sl_config config = load_config(&sources);
    ck_assert_uint_eq(config.routes.count, 2);
    const struct sl_config_route *route = &config.routes.routes[0];
    ck_assert_str_eq(route->topic, "order.status-changed.v1");
    ck_assert_str_eq(route->snapshot, "http://127.0.0.1:9000/orders/{id}");
    ck_assert_uint_eq(route->final_count, 2);
    ck_assert_str_eq(route->finals[1], "failed");
    ck_assert_ptr_null(route->upstream);
    ck_assert_str_eq(config.routes.routes[1].upstream, "http://127.0.0.1:9000");
    struct sl_buffer written;
    sl_buffer_init(&written, 10000);
    sl_routes_write_yaml(&config.routes, 4, &written);
    ck_assert_str_eq(written.data,
        "    - path: \"/orders/{id}/stream\"\n      stream:\n"
        "        topic: \"order.status-changed.v1\"\n        key: \"{id}\"\n"
        "        snapshot: \"http://127.0.0.1:9000/orders/{id}\"\n        event: \"/type\"\n"
        "        version: \"/version\"\n        final: [\"completed\", \"failed\"]\n"
        "    - path: \"/**\"\n      upstream: \"http://127.0.0.1:9000\"\n");
    sl_buffer_deinit(&written);
    sl_config_deinit(&config);
    remove_config();
}
END_TEST

START_TEST(every_mistake_of_a_route_is_told_with_its_line)
{
    expect_problems(HEAD
        "    - path: orders\n      upstrem: http://h\n"
        "    - path: /a\n      upstream: ftp://h\n"
        "    - path: /b\n"
        "    - path: /c\n      upstream: http://h\n      stream: {topic: t, key: k}\n"
        "    - upstream: http://h\n"
        "    - /d\n"
        "    - path:\n      upstream: [a]\n",
        "'gateway.routes' in app.yaml line 4: path 'orders': a path begins with '/', as in "
        "/orders/{id}/stream\n"
        "unknown key 'upstrem' of a route in app.yaml line 5; did you mean 'upstream'?\n"
        "'gateway.routes' in app.yaml line 7: upstream 'ftp://h': this is no http: URL with a "
        "host, as in http://127.0.0.1:9000/orders/{id}\n"
        "'gateway.routes' in app.yaml line 8: route /b has none of 'upstream', 'stream' and "
        "'publish'; give it one of them\n"
        "'gateway.routes' in app.yaml line 9: route /c has more than one of 'upstream', 'stream' "
        "and 'publish'; give it one of them\n"
        "'gateway.routes' in app.yaml line 12: a route needs 'path'\n"
        "'gateway.routes' in app.yaml line 13: a route is a mapping with 'path' and either "
        "'upstream', 'stream' or 'publish'\n"
        "'gateway.routes' in app.yaml line 14: 'path' has no value\n"
        "'gateway.routes' in app.yaml line 15: 'upstream' is a list; it takes one text\n");
}
END_TEST

START_TEST(every_mistake_of_a_stream_is_told_with_its_line)
{
    expect_problems(HEAD
        "    - path: /a\n      stream: yes\n"
        "    - path: /b\n      stream:\n        topic: a b\n        key: k\n"
        "    - path: /c\n      stream:\n        key: k\n"
        "    - path: /d\n      stream: {topic: t}\n"
        "    - path: /e\n      stream: {topic: t, key: k, event: type, finals: [a]}\n"
        "    - path: /f\n      stream: {topic: t, key: k, final: done}\n"
        "    - path: /g\n      token: sometimes\n      publish: {topics: [t], size_max: 2MiB}\n"
        "    - path: /g\n      publish: {topic: t}\n"
        "    - path: /g\n      publish: [t]\n"
        "    - path: /g\n      publish: {topics: ['a b']}\n"
        "    - path: /h\n      stream: {topic: t, topic: u, key: k, final: ['']}\n",
        "'gateway.routes' in app.yaml line 5: 'stream' is a single value; it takes a mapping with "
        "topic and key\n"
        "'gateway.routes' in app.yaml line 8: topic 'a b': a topic is 1 to 249 of A-Z a-z 0-9 . _ "
        "-\n"
        "'gateway.routes' in app.yaml line 11: a stream needs 'topic', as in topic: "
        "order.status-changed.v1\n"
        "'gateway.routes' in app.yaml line 14: a stream needs 'key', as in key: \"{id}\"\n"
        "'gateway.routes' in app.yaml line 16: event 'type': a JSON pointer begins with '/', as in "
        "/version\n"
        "unknown key 'finals' of a route in app.yaml line 16; did you mean 'final'?\n"
        "'gateway.routes' in app.yaml line 18: 'final' is a single value; it takes a list of event "
        "names, as in [completed, failed]\n"
        "'gateway.routes' in app.yaml line 20: token 'sometimes': it is required, optional or "
        "none\n"
        "'gateway.routes' in app.yaml line 21: size_max '2MiB': a size from 1 to 1MiB, as in "
        "64KiB\n"
        "unknown key 'topic' of a route in app.yaml line 23; did you mean 'topics'?\n"
        "'gateway.routes' in app.yaml line 25: 'publish' takes a list 'topics' of those that may "
        "be published to, as in publish: {topics: [order.noted.v1]}\n"
        "'gateway.routes' in app.yaml line 27: 'topics' takes at most 64 topics of 1 to 249 of A-Z "
        "a-z 0-9 . _ -\n"
        "app.yaml line 29: key 'topic' is there twice, first in line 29; remove one of them\n"
        "'gateway.routes' in app.yaml line 29: 'final' takes at most 32 event names of 1 to 255 "
        "bytes each\n");
}
END_TEST

START_TEST(a_stream_without_a_broker_is_told)
{
    expect_problems("gateway:\n  routes:\n    - path: /a\n      stream: {topic: t, key: k}\n",
        "'gateway.routes' in app.yaml line 3: stream /a needs 'broker', which is not set; add a "
        "line as 'broker: local:events.db'\n");
}
END_TEST

UNIT_MAIN("routes", the_routes_of_the_design_are_read_and_written_back,
    every_mistake_of_a_route_is_told_with_its_line,
    every_mistake_of_a_stream_is_told_with_its_line, a_stream_without_a_broker_is_told)
