#include "cli/routes.h"

#include <stddef.h>

#include "base/memory.h"
#include "base/parse.h"
#include "base/url.h"
#include "cli/suggest.h"
#include "event/event.h"

enum { ROUTE_TEXT_SIZE_MAX = 2048 };

enum form { FORM_PATH, FORM_URL, FORM_TEMPLATE, FORM_POINTER, FORM_TOPIC, FORM_TOKEN, FORM_SIZE };

/* A text of a route: its key, where it goes, and the form it must have. */
struct field {
    const char *name;
    size_t offset;
    enum form form;
};

static const struct field route_fields[] = {
    {"path", offsetof(struct sl_config_route, path), FORM_PATH},
    {"token", offsetof(struct sl_config_route, token), FORM_TOKEN},
    {"subject", offsetof(struct sl_config_route, subject), FORM_TEMPLATE},
    {"upstream", offsetof(struct sl_config_route, upstream), FORM_URL},
};
static const struct field stream_fields[] = {
    {"topic", offsetof(struct sl_config_route, topic), FORM_TOPIC},
    {"key", offsetof(struct sl_config_route, key), FORM_TEMPLATE},
    {"snapshot", offsetof(struct sl_config_route, snapshot), FORM_URL},
    {"event", offsetof(struct sl_config_route, event), FORM_POINTER},
    {"version", offsetof(struct sl_config_route, version), FORM_POINTER},
    {"owner", offsetof(struct sl_config_route, owner), FORM_TEMPLATE},
};

static const struct field publish_fields[] = {
    {"size_max", offsetof(struct sl_config_route, size_max), FORM_SIZE},
};

/* What reading a route carries along. */
struct reading {
    struct sl_yaml_file *file;
    struct sl_problems *problems;
    bool is_out_of_memory;
};

static char **field_of(struct sl_config_route *route, const struct field *field)
{
    return (char **) ((char *) route + field->offset);
}

static const char *fault_of(enum form form, struct sl_text text)
{
    struct sl_http_url url;
    int64_t size;
    switch (form) {
    case FORM_PATH:
        return text.data[0] == '/' ? NULL : "a path begins with '/', as in /orders/{id}/stream";
    case FORM_URL:
        return sl_url_parse_http(text, &url)
            ? NULL
            : "this is no http: URL with a host, as in http://127.0.0.1:9000/orders/{id}";
    case FORM_POINTER:
        return text.data[0] == '/' ? NULL : "a JSON pointer begins with '/', as in /version";
    case FORM_TOPIC:
        return sl_event_is_topic(text) ? NULL : "a topic is 1 to 249 of A-Z a-z 0-9 . _ -";
    case FORM_TOKEN:
        return sl_text_equal(text, SL_TEXT("required")) ||
                sl_text_equal(text, SL_TEXT("optional")) || sl_text_equal(text, SL_TEXT("none"))
            ? NULL
            : "it is required, optional or none";
    case FORM_SIZE:
        return sl_parse_size(text, &size) && size >= 1 && size <= SLUICE_PAYLOAD_SIZE_MAX
            ? NULL
            : "a size from 1 to 1MiB, as in 64KiB";
    case FORM_TEMPLATE:
        break; /* the gateway knows what a template may have */
    }
    return NULL;
}

static void read_text(
    struct reading *reading, const struct field *field, const struct sl_yaml_pair *pair, char **ret)
{
    struct sl_text text = sl_yaml_text(pair->value);
    const char *file = reading->file->name;
    if (pair->value->type != YAML_SCALAR_NODE) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: '%s' is %s; it takes "
            "one text", file, pair->line, field->name, sl_yaml_kind(pair->value));
        return;
    }
    if (text.size == 0 || sl_yaml_is_null(pair->value)) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: '%s' has no value",
            file, pair->line, field->name);
        return;
    }
    const char *fault = text.size > ROUTE_TEXT_SIZE_MAX || !sl_text_is_clean_utf8(text)
        ? "it is longer than 2048 bytes or has control characters"
        : fault_of(field->form, text);
    if (fault != NULL) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: %s '%.*s': %s", file,
            pair->line, field->name, (int) (text.size > 200 ? 200 : text.size), text.data, fault);
        return;
    }
    sl_free(*ret);
    *ret = sl_copy_bytes(text.data, text.size);
    reading->is_out_of_memory |= *ret == NULL;
}

static void report_unknown(struct reading *reading, const struct sl_yaml_pair *pair,
    const struct field *fields, size_t field_count, const char *const extra[2])
{
    struct sl_suggestion suggestion;
    sl_suggestion_init(&suggestion, pair->key);
    for (size_t i = 0; i < field_count; i++) {
        sl_suggestion_offer(&suggestion, fields[i].name);
    }
    for (size_t i = 0; i < 2 && extra[i] != NULL; i++) {
        sl_suggestion_offer(&suggestion, extra[i]);
    }
    sl_problems_add(reading->problems, "unknown key '%.*s' of a route in %s line %d%s%s%s",
        (int) (pair->key.size > 100 ? 100 : pair->key.size), pair->key.data, reading->file->name,
        pair->line, suggestion.best == NULL ? "" : "; did you mean '",
        suggestion.best == NULL ? "" : suggestion.best, suggestion.best == NULL ? "" : "'?");
}

static bool read_field(struct reading *reading, const struct field *fields, size_t field_count,
    const struct sl_yaml_pair *pair, struct sl_config_route *route)
{
    for (size_t i = 0; i < field_count; i++) {
        if (sl_text_equal(sl_text_of(fields[i].name), pair->key)) {
            read_text(reading, &fields[i], pair, field_of(route, &fields[i]));
            return true;
        }
    }
    return false;
}

static void read_finals(
    struct reading *reading, const struct sl_yaml_pair *pair, struct sl_config_route *route)
{
    const char *file = reading->file->name;
    const yaml_node_t *item;
    if (pair->value->type != YAML_SEQUENCE_NODE) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: 'final' is %s; it "
            "takes a list of event names, as in [completed, failed]", file, pair->line,
            sl_yaml_kind(pair->value));
        return;
    }
    for (size_t i = 0; (item = sl_yaml_item(reading->file, pair->value, i)) != NULL; i++) {
        struct sl_text text = sl_yaml_text(item);
        if (i == SL_ROUTE_FINALS_MAX || text.size == 0 || text.size > SLUICE_TYPE_SIZE_MAX ||
            !sl_text_is_clean_utf8(text)) {
            sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: 'final' takes at "
                "most %d event names of 1 to %d bytes each", file, sl_yaml_line(item),
                SL_ROUTE_FINALS_MAX, SLUICE_TYPE_SIZE_MAX);
            return;
        }
        char *copy = sl_copy_bytes(text.data, text.size);
        if (copy == NULL) {
            reading->is_out_of_memory = true;
            return;
        }
        route->finals[route->final_count++] = copy;
    }
}

static void read_stream(
    struct reading *reading, const struct sl_yaml_pair *stream, struct sl_config_route *route)
{
    const size_t field_count = sizeof(stream_fields) / sizeof(stream_fields[0]);
    const char *file = reading->file->name;
    struct sl_yaml_pair pair;
    size_t problems_before = reading->problems->count;
    if (stream->value->type != YAML_MAPPING_NODE) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: 'stream' is %s; it "
            "takes a mapping with topic and key", file, stream->line,
            sl_yaml_is_null(stream->value) ? "empty" : sl_yaml_kind(stream->value));
        return;
    }
    sl_yaml_check_keys(reading->file, stream->value, reading->problems);
    for (size_t i = 0; sl_yaml_pair(reading->file, stream->value, i, &pair); i++) {
        if (sl_text_equal(pair.key, SL_TEXT("final"))) {
            read_finals(reading, &pair, route);
        } else if (!read_field(reading, stream_fields, field_count, &pair, route)) {
            report_unknown(
                reading, &pair, stream_fields, field_count, (const char *const[2]) {"final"});
        }
    }
    if (reading->problems->count == problems_before &&
        (route->topic == NULL || route->key == NULL)) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: a stream needs '%s', "
            "as in %s", file, stream->line, route->topic == NULL ? "topic" : "key",
            route->topic == NULL ? "topic: order.status-changed.v1" : "key: \"{id}\"");
    }
}

static void read_topics(
    struct reading *reading, const struct sl_yaml_pair *pair, struct sl_config_route *route)
{
    const char *file = reading->file->name;
    const yaml_node_t *item;
    for (size_t i = 0; (item = sl_yaml_item(reading->file, pair->value, i)) != NULL; i++) {
        struct sl_text text = sl_yaml_text(item);
        if (i == SL_ROUTE_TOPICS_MAX || !sl_event_is_topic(text)) {
            sl_problems_add(reading->problems,
                "'gateway.routes' in %s line %d: 'topics' takes at "
                "most %d topics of 1 to 249 of A-Z a-z 0-9 . _ -",
                file, sl_yaml_line(item), SL_ROUTE_TOPICS_MAX);
            return;
        }
        char *copy = sl_copy_bytes(text.data, text.size);
        if (copy == NULL) {
            reading->is_out_of_memory = true;
            return;
        }
        route->publish[route->publish_count++] = copy;
    }
}

static void read_publish(
    struct reading *reading, const struct sl_yaml_pair *publish, struct sl_config_route *route)
{
    const size_t field_count = sizeof(publish_fields) / sizeof(publish_fields[0]);
    struct sl_yaml_pair pair;
    size_t problems_before = reading->problems->count;
    if (publish->value->type == YAML_MAPPING_NODE) {
        sl_yaml_check_keys(reading->file, publish->value, reading->problems);
        for (size_t i = 0; sl_yaml_pair(reading->file, publish->value, i, &pair); i++) {
            if (sl_text_equal(pair.key, SL_TEXT("topics")) &&
                pair.value->type == YAML_SEQUENCE_NODE) {
                read_topics(reading, &pair, route);
            } else if (!sl_text_equal(pair.key, SL_TEXT("topics")) &&
                !read_field(reading, publish_fields, field_count, &pair, route)) {
                report_unknown(
                    reading, &pair, publish_fields, field_count, (const char *const[2]) {"topics"});
            }
        }
    }
    if (reading->problems->count == problems_before && route->publish_count == 0) {
        sl_problems_add(reading->problems,
            "'gateway.routes' in %s line %d: 'publish' takes a list "
            "'topics' of those that may be published to, as in publish: {topics: [order.noted.v1]}",
            reading->file->name, publish->line);
    }
}

static void read_route(
    struct reading *reading, const yaml_node_t *node, struct sl_config_route *route)
{
    const size_t field_count = sizeof(route_fields) / sizeof(route_fields[0]);
    const char *file = reading->file->name;
    struct sl_yaml_pair pair;
    size_t problems_before = reading->problems->count;
    bool has_stream = false;
    bool has_publish = false;
    route->line = sl_yaml_line(node);
    if (node->type != YAML_MAPPING_NODE) {
        sl_problems_add(reading->problems,
            "'gateway.routes' in %s line %d: a route is a mapping "
            "with 'path' and either 'upstream', 'stream' or 'publish'",
            file, route->line);
        return;
    }
    sl_yaml_check_keys(reading->file, node, reading->problems);
    for (size_t i = 0; sl_yaml_pair(reading->file, node, i, &pair); i++) {
        if (sl_text_equal(pair.key, SL_TEXT("stream"))) {
            has_stream = true;
            read_stream(reading, &pair, route);
        } else if (sl_text_equal(pair.key, SL_TEXT("publish"))) {
            has_publish = true;
            read_publish(reading, &pair, route);
        } else if (!read_field(reading, route_fields, field_count, &pair, route)) {
            report_unknown(reading, &pair, route_fields, field_count,
                (const char *const[2]) {"stream", "publish"});
        }
    }
    if (reading->problems->count != problems_before) {
        return;
    }
    if (route->path == NULL) {
        sl_problems_add(reading->problems, "'gateway.routes' in %s line %d: a route needs 'path'",
            file, route->line);
        return;
    }
    int kind_count = (route->upstream != NULL) + has_stream + has_publish;
    if (kind_count != 1) {
        sl_problems_add(reading->problems,
            "'gateway.routes' in %s line %d: route %s has %s of "
            "'upstream', 'stream' and 'publish'; give it one of them",
            file, route->line, route->path, kind_count == 0 ? "none" : "more than one");
    }
}

int sl_routes_read(struct sl_yaml_file *file, const yaml_node_t *node,
    struct sl_config_routes *ret_routes, struct sl_problems *problems)
{
    struct reading reading = {.file = file, .problems = problems};
    const yaml_node_t *item;
    size_t count = 0;
    if (node->type != YAML_SEQUENCE_NODE) {
        sl_problems_add(problems, "'gateway.routes' in %s line %d is %s; it takes a list of routes "
            "(lines that begin with '- path:')", file->name, sl_yaml_line(node),
            sl_yaml_kind(node));
        return 0;
    }
    while (sl_yaml_item(file, node, count) != NULL) {
        count++;
    }
    if (count > SL_ROUTES_MAX) {
        sl_problems_add(problems, "'gateway.routes' in %s line %d has %zu routes; at most %d",
            file->name, sl_yaml_line(node), count, SL_ROUTES_MAX);
        return 0;
    }
    ret_routes->routes = sl_allocate(count * sizeof(struct sl_config_route));
    if (ret_routes->routes == NULL) {
        return -1;
    }
    for (size_t i = 0; (item = sl_yaml_item(file, node, i)) != NULL; i++) {
        ret_routes->count = i + 1;
        read_route(&reading, item, &ret_routes->routes[i]);
    }
    return reading.is_out_of_memory ? -1 : 0;
}

void sl_routes_deinit(struct sl_config_routes *routes)
{
    for (size_t i = 0; i < routes->count; i++) {
        struct sl_config_route *route = &routes->routes[i];
        for (size_t j = 0; j < sizeof(route_fields) / sizeof(route_fields[0]); j++) {
            sl_free(*field_of(route, &route_fields[j]));
        }
        for (size_t j = 0; j < sizeof(stream_fields) / sizeof(stream_fields[0]); j++) {
            sl_free(*field_of(route, &stream_fields[j]));
        }
        for (size_t j = 0; j < sizeof(publish_fields) / sizeof(publish_fields[0]); j++) {
            sl_free(*field_of(route, &publish_fields[j]));
        }
        for (size_t j = 0; j < route->final_count; j++) {
            sl_free(route->finals[j]);
        }
        for (size_t j = 0; j < route->publish_count; j++) {
            sl_free(route->publish[j]);
        }
    }
    sl_free(routes->routes);
    *routes = (struct sl_config_routes) {NULL, 0};
}

/* A text in double quotes; what was read has no control characters, so two escapes are enough. */
static void write_quoted(struct sl_buffer *buffer, const char *text)
{
    sl_buffer_append_text(buffer, "\"");
    for (const char *c = text; *c != '\0'; c++) {
        sl_buffer_append_format(buffer, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    sl_buffer_append_text(buffer, "\"");
}

static void write_fields(struct sl_buffer *buffer, const struct field *fields, size_t field_count,
    const struct sl_config_route *route, int indent)
{
    for (size_t i = 0; i < field_count; i++) {
        const char *text = *field_of((struct sl_config_route *) route, &fields[i]);
        if (text != NULL) {
            bool is_first = fields[i].form == FORM_PATH;
            sl_buffer_append_format(buffer, "%*s%s%s: ", is_first ? indent - 2 : indent, "",
                is_first ? "- " : "", fields[i].name);
            write_quoted(buffer, text);
            sl_buffer_append_text(buffer, "\n");
        }
    }
}

static void write_list(
    struct sl_buffer *buffer, int indent, const char *name, char *const *items, size_t count)
{
    if (count == 0) {
        return;
    }
    sl_buffer_append_format(buffer, "%*s%s: [", indent, "", name);
    for (size_t i = 0; i < count; i++) {
        sl_buffer_append_text(buffer, i == 0 ? "" : ", ");
        write_quoted(buffer, items[i]);
    }
    sl_buffer_append_text(buffer, "]\n");
}

void sl_routes_write_yaml(
    const struct sl_config_routes *routes, int indent, struct sl_buffer *buffer)
{
    for (size_t i = 0; i < routes->count; i++) {
        const struct sl_config_route *route = &routes->routes[i];
        write_fields(buffer, route_fields, sizeof(route_fields) / sizeof(route_fields[0]), route,
            indent + 2);
        if (route->publish_count > 0) {
            sl_buffer_append_format(buffer, "%*spublish:\n", indent + 2, "");
            write_list(buffer, indent + 4, "topics", route->publish, route->publish_count);
            write_fields(buffer, publish_fields, sizeof(publish_fields) / sizeof(publish_fields[0]),
                route, indent + 4);
        }
        if (route->topic == NULL) {
            continue;
        }
        sl_buffer_append_format(buffer, "%*sstream:\n", indent + 2, "");
        write_fields(buffer, stream_fields, sizeof(stream_fields) / sizeof(stream_fields[0]),
            route, indent + 4);
        write_list(buffer, indent + 4, "final", route->finals, route->final_count);
    }
}
