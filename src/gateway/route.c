#include "gateway/route.h"

#include <stdio.h>

#include "base/memory.h"
#include "base/url.h"
#include "event/event.h"
#include "wire/json_pointer.h"

enum { FINAL_STATUSES_MAX = 64, PUBLISH_TOPICS_MAX = 64, PUBLISH_SIZE = 256 * 1024 };

/* Put "route PATH: WHAT: " before an error's text. */
static int name_route(const char *path, const char *what, struct sluice_error *error)
{
    if (error != NULL) {
        struct sluice_error cause = *error;
        return sl_fail(error, cause.code, cause.reaction, "route %s: %s: %s", path, what,
            cause.text);
    }
    return -1;
}

static int copy(const char *text, char **ret_copy, struct sluice_error *error)
{
    if (text == NULL) {
        return 0;
    }
    *ret_copy = sl_copy_text(text);
    return *ret_copy == NULL ? sl_fail_memory(error, "a route") : 0;
}

static int format_authority(
    const struct sl_http_url *url, struct sl_target *target, struct sluice_error *error)
{
    char text[300];
    bool is_v6 = memchr(url->host.data, ':', url->host.size) != NULL;
    if (url->host.size > 255) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the host's name is too long");
    }
    snprintf(text, sizeof(text), is_v6 ? "[%.*s]:%u" : "%.*s:%u", (int) url->host.size,
        url->host.data, url->port);
    target->host = sl_copy_bytes(url->host.data, url->host.size);
    target->authority = sl_copy_text(text);
    target->port = url->port;
    return target->host == NULL || target->authority == NULL ? sl_fail_memory(error, "a route")
                                                             : 0;
}

static int compile_upstream(
    const char *text, struct sl_target *target, struct sluice_error *error)
{
    struct sl_http_url url;
    if (!sl_url_parse_http(sl_text_of(text), &url)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "\"%s\" is no URL like http://127.0.0.1:9000", text);
    }
    while (url.path.size > 0 && url.path.data[url.path.size - 1] == '/') {
        url.path.size--;
    }
    for (size_t i = 0; i < url.path.size; i++) {
        unsigned char byte = (unsigned char) url.path.data[i];
        if (byte <= 0x20 || byte >= 0x7f || memchr("?#\"<>\\{}*", byte, 9) != NULL) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "\"%s\" has more than a plain path behind its port", text);
        }
    }
    target->prefix = sl_copy_bytes(url.path.data, url.path.size);
    return target->prefix == NULL ? sl_fail_memory(error, "a route")
                                  : format_authority(&url, target, error);
}

static int compile_snapshot(struct sl_compiled_route *route, const char *text,
    struct sluice_error *error)
{
    struct sl_http_url url;
    struct sl_stream_route *stream = route->stream;
    if (!sl_url_parse_http(sl_text_of(text), &url) ||
        memchr(url.host.data, '{', url.host.size) != NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "\"%s\" is no URL like http://127.0.0.1:9000/orders/{id}, whose host is fixed", text);
    }
    stream->snapshot_text =
        url.path.size == 0 ? sl_copy_text("/") : sl_copy_bytes(url.path.data, url.path.size);
    if (stream->snapshot_text == NULL) {
        return sl_fail_memory(error, "a route");
    }
    for (const char *each = stream->snapshot_text; *each != '\0'; each++) {
        unsigned char byte = (unsigned char) *each;
        if (byte <= 0x20 || byte >= 0x7f || memchr("#\"<>\\", byte, 5) != NULL) {
            return sl_fail(
                error, SLUICE_INVALID, SLUICE_REJECT, "'%c' cannot stand in a URL", byte);
        }
    }
    return sl_template_parse(sl_text_of(stream->snapshot_text), &route->pattern,
               &stream->snapshot, error) != 0
               ? -1
               : format_authority(&url, &route->target, error);
}

static int copy_pointer(
    const char *text, char **ret_copy, const char *what, struct sluice_error *error)
{
    if (text != NULL && (text[0] == '\0' || !sl_json_is_pointer(sl_text_of(text)))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "%s: \"%s\" is no JSON pointer like /type", what, text);
    }
    return copy(text, ret_copy, error);
}

static int compile_rules(const struct sl_stream_options *options, struct sl_stream_route *stream,
    struct sluice_error *error)
{
    if (copy_pointer(options->event, &stream->event, "event", error) != 0 ||
        copy_pointer(options->version, &stream->version, "version", error) != 0) {
        return -1;
    }
    if (options->final_count > FINAL_STATUSES_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "final: at most %d names",
            FINAL_STATUSES_MAX);
    }
    if (options->final_count > 0 && options->event == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "final: names need `event`, the pointer to a payload's name");
    }
    stream->final_statuses = sl_allocate((options->final_count + 1) * sizeof(char *));
    if (stream->final_statuses == NULL) {
        return sl_fail_memory(error, "a route");
    }
    for (size_t i = 0; i < options->final_count; i++) {
        if (copy(options->final_statuses[i], &stream->final_statuses[i], error) != 0) {
            return -1;
        }
    }
    stream->rules = (struct sl_payload_rules) {stream->event, stream->version,
        (const char *const *) stream->final_statuses, options->final_count};
    return 0;
}

static int compile_template(const struct sl_compiled_route *route, const char *what,
    const char *text, char **ret_copy, struct sl_template *ret_template,
    struct sluice_error *error)
{
    if (text == NULL) {
        return 0;
    }
    if (text[0] == '\0') {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "route %s: %s is empty",
            route->path, what);
    }
    if (copy(text, ret_copy, error) != 0 ||
        sl_template_parse(sl_text_of(*ret_copy), &route->pattern, ret_template, error) != 0) {
        return name_route(route->path, what, error);
    }
    return 0;
}

static int compile_stream(const struct sl_stream_options *options,
    struct sl_compiled_route *route, struct sluice_error *error)
{
    struct sl_stream_route *stream = route->stream = sl_allocate(sizeof(*stream));
    if (stream == NULL) {
        return sl_fail_memory(error, "a route");
    }
    sl_owners_init(&stream->owners);
    if (options->topic == NULL || !sl_event_is_topic(sl_text_of(options->topic))) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "route %s: topic: \"%s\" is no topic's name (1 to 249 of A-Z a-z 0-9 . _ -)",
            route->path, options->topic == NULL ? "" : options->topic);
    }
    if (options->key == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "route %s: key is missing: say which key a client hears of, as \"{id}\"",
            route->path);
    }
    if (copy(options->topic, &stream->topic_name, error) != 0 ||
        compile_template(
            route, "key", options->key, &stream->key_text, &stream->key, error) != 0 ||
        compile_template(
            route, "owner", options->owner, &stream->owner_text, &stream->owner, error) != 0) {
        return -1;
    }
    if (compile_rules(options, stream, error) != 0) {
        return name_route(route->path, "stream", error);
    }
    if (options->snapshot != NULL && compile_snapshot(route, options->snapshot, error) != 0) {
        return name_route(route->path, "snapshot", error);
    }
    return 0;
}

static int compile_publish(const struct sl_publish_options *options,
    struct sl_compiled_route *route, struct sluice_error *error)
{
    struct sl_publish_route *publish = route->publish = sl_allocate(sizeof(*publish));
    if (publish == NULL) {
        return sl_fail_memory(error, "a route");
    }
    publish->topics = sl_allocate((options->topic_count + 1) * sizeof(char *));
    if (publish->topics == NULL) {
        return sl_fail_memory(error, "a route");
    }
    if (options->topic_count == 0 || options->topic_count > PUBLISH_TOPICS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "topics: name 1 to %d topics that may be published to", PUBLISH_TOPICS_MAX);
    }
    for (size_t i = 0; i < options->topic_count; i++) {
        if (!sl_event_is_topic(sl_text_of(options->topics[i]))) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "topics: \"%s\" is no topic's name (1 to 249 of A-Z a-z 0-9 . _ -)",
                options->topics[i]);
        }
        if (copy(options->topics[i], &publish->topics[i], error) != 0) {
            return -1;
        }
        publish->topic_count++;
    }
    for (size_t i = 0; i < route->pattern.name_count; i++) {
        if (sl_text_equal(route->pattern.names[i], SL_TEXT("topic"))) {
            publish->topic_index = i;
            publish->has_parameter = true;
        }
    }
    if (!publish->has_parameter && publish->topic_count > 1) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "with several topics the path must say which one: /publish/{topic}");
    }
    publish->size_max = options->size_max == 0 ? PUBLISH_SIZE : options->size_max;
    if (publish->size_max > SLUICE_PAYLOAD_SIZE_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "size_max: a payload has at most %d bytes", SLUICE_PAYLOAD_SIZE_MAX);
    }
    return 0;
}

/* Who may come: after the rest of the route, whose templates may ask for a token. */
static int compile_access(
    const struct sl_route *options, struct sl_compiled_route *route, struct sluice_error *error)
{
    const struct sl_stream_route *stream = route->stream;
    if (compile_template(route, "subject", options->subject, &route->subject_text, &route->subject,
            error) != 0) {
        return -1;
    }
    if (sl_template_needs_token(&route->subject)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "route %s: subject: say what the token's subject must be, as \"{user}\"; the token "
            "cannot be compared with itself",
            route->path);
    }
    bool is_needed = route->subject_text != NULL ||
        (stream != NULL &&
            (sl_template_needs_token(&stream->key) || sl_template_needs_token(&stream->owner) ||
                sl_template_needs_token(&stream->snapshot)));
    route->token = options->token;
    if (options->token == SL_TOKEN_BY_KIND) {
        bool is_required = is_needed || route->publish != NULL;
        route->token = is_required ? SL_TOKEN_REQUIRED : SL_TOKEN_NONE;
    }
    if (is_needed && route->token != SL_TOKEN_REQUIRED) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "route %s: %s needs a token: leave `token` out, or make it `required`", route->path,
            route->subject_text != NULL ? "subject" : "a template with {token. }");
    }
    return 0;
}

int sl_route_compile(const struct sl_route *route, struct sl_compiled_route *ret_route,
    struct sluice_error *error)
{
    const char *path = route->path == NULL ? "" : route->path;
    *ret_route = (struct sl_compiled_route) {0};
    if (copy(path, &ret_route->path, error) != 0) {
        return -1;
    }
    if (sl_pattern_parse(sl_text_of(ret_route->path), &ret_route->pattern, error) != 0) {
        return name_route(path, "path", error);
    }
    if ((route->upstream != NULL) + (route->stream != NULL) + (route->publish != NULL) != 1) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "route %s: a route has either `upstream` or `stream` or `publish`", path);
    }
    if (route->stream != NULL && compile_stream(route->stream, ret_route, error) != 0) {
        return -1;
    }
    if (route->publish != NULL && compile_publish(route->publish, ret_route, error) != 0) {
        return name_route(path, "publish", error);
    }
    if (route->upstream != NULL &&
        compile_upstream(route->upstream, &ret_route->target, error) != 0) {
        return name_route(path, "upstream", error);
    }
    return compile_access(route, ret_route, error);
}

static void free_texts(char **texts)
{
    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++) {
        sl_free(texts[i]);
    }
    sl_free(texts);
}

void sl_route_deinit(struct sl_compiled_route *route)
{
    struct sl_stream_route *stream = route->stream;
    sl_free(route->path);
    sl_free(route->target.host);
    sl_free(route->target.authority);
    sl_free(route->target.prefix);
    sl_free(route->subject_text);
    if (route->publish != NULL) {
        free_texts(route->publish->topics);
        sl_free(route->publish);
    }
    if (stream != NULL) {
        free_texts(stream->final_statuses);
        sl_free(stream->topic_name);
        sl_free(stream->key_text);
        sl_free(stream->snapshot_text);
        sl_free(stream->owner_text);
        sl_free(stream->event);
        sl_free(stream->version);
        sl_owners_deinit(&stream->owners);
        sl_free(stream);
    }
    *route = (struct sl_compiled_route) {0};
}
