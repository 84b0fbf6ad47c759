#include "gateway/template.h"

#include <sys/types.h>

#include "base/parse.h"

static bool is_name_char(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
}

static bool is_name(struct sl_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_name_char(text.data[i])) {
            return false;
        }
    }
    return text.size > 0 && text.size <= 64;
}

static bool is_parameter(struct sl_text segment)
{
    return segment.size >= 2 && segment.data[0] == '{' && segment.data[segment.size - 1] == '}';
}

static bool find_parameter(
    const struct sl_pattern *pattern, struct sl_text name, size_t *ret_index)
{
    for (size_t i = 0; i < pattern->name_count; i++) {
        if (sl_text_equal(pattern->names[i], name)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static int add_parameter(
    struct sl_pattern *pattern, struct sl_text segment, struct sluice_error *error)
{
    size_t index;
    struct sl_text name = {segment.data + 1, segment.size - 2};
    if (!is_name(name)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the parameter \"%.*s\" is not a name", (int) segment.size, segment.data);
    }
    if (find_parameter(pattern, name, &index)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the parameter {%.*s} stands there twice", (int) name.size, name.data);
    }
    if (pattern->name_count == SL_PATTERN_PARAMETERS_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "a path has at most %d parameters",
            SL_PATTERN_PARAMETERS_MAX);
    }
    pattern->names[pattern->name_count++] = name;
    return 0;
}

int sl_pattern_parse(struct sl_text text, struct sl_pattern *ret_pattern,
    struct sluice_error *error)
{
    struct sl_pattern pattern = {.text = text};
    struct sl_text rest = text;
    struct sl_text segment;
    if (text.size == 0 || text.data[0] != '/') {
        return sl_fail(
            error, SLUICE_INVALID, SLUICE_REJECT, "a path begins with '/', as in /orders/{id}");
    }
    sl_text_split(&rest, '/', &segment);
    while (sl_text_split(&rest, '/', &segment)) {
        if (is_parameter(segment)) {
            if (add_parameter(&pattern, segment, error) != 0) {
                return -1;
            }
        } else if (sl_text_equal(segment, SL_TEXT("**"))) {
            if (rest.data != NULL) {
                return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                    "** stands for the whole rest of a path and so only at its end");
            }
        } else {
            for (size_t i = 0; i < segment.size; i++) {
                if (memchr("{}*?# ", segment.data[i], 6) != NULL) {
                    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                        "'%c' cannot stand in a path's segment; a parameter is a whole segment",
                        segment.data[i]);
                }
            }
        }
    }
    *ret_pattern = pattern;
    return 0;
}

/* Undo %XX, and '+' if asked to. The size, or -1 if it is too long or not clean. */
static ssize_t decode(struct sl_text text, bool is_plus_space, char *ret_bytes)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i];
        if (size == SL_VALUE_SIZE_MAX) {
            return -1;
        }
        if (byte == '%') {
            uint64_t number;
            if (text.size - i < 3 ||
                !sl_parse_hex((struct sl_text) {text.data + i + 1, 2}, &number)) {
                return -1;
            }
            byte = (char) number;
            i += 2;
        } else if (byte == '+' && is_plus_space) {
            byte = ' ';
        }
        ret_bytes[size++] = byte;
    }
    return sl_text_is_clean_utf8((struct sl_text) {ret_bytes, size}) ? (ssize_t) size : -1;
}

static enum sl_match_result match_parameter(struct sl_match *match, struct sl_text segment)
{
    char *bytes = match->bytes + match->value_count * SL_VALUE_SIZE_MAX;
    if (segment.size == 0) {
        return SL_MATCHES_NOT;
    }
    ssize_t size = decode(segment, false, bytes);
    if (size < 0 || memchr(bytes, '/', (size_t) size) != NULL) {
        return SL_MATCH_REFUSED;
    }
    match->values[match->value_count++] = (struct sl_text) {bytes, (size_t) size};
    return SL_MATCHES;
}

/* Whether a segment says what the pattern has. An escape must not lead past a route's rules. */
static bool is_literal(struct sl_text wanted, struct sl_text segment)
{
    char bytes[SL_VALUE_SIZE_MAX];
    if (sl_text_equal(wanted, segment)) {
        return true;
    }
    ssize_t size = decode(segment, false, bytes);
    return size >= 0 && sl_text_equal(wanted, (struct sl_text) {bytes, (size_t) size});
}

enum sl_match_result sl_pattern_match(
    const struct sl_pattern *pattern, struct sl_text path, struct sl_match *ret_match)
{
    struct sl_text wanted = pattern->text;
    struct sl_text wanted_segment;
    struct sl_text segment;
    bool is_refused = false;
    ret_match->value_count = 0;
    while (sl_text_split(&wanted, '/', &wanted_segment)) {
        if (sl_text_equal(wanted_segment, SL_TEXT("**"))) {
            return is_refused ? SL_MATCH_REFUSED : SL_MATCHES;
        }
        if (!sl_text_split(&path, '/', &segment)) {
            return SL_MATCHES_NOT;
        }
        if (is_parameter(wanted_segment)) {
            enum sl_match_result result =
                is_refused ? SL_MATCHES : match_parameter(ret_match, segment);
            if (result == SL_MATCHES_NOT) {
                return result;
            }
            is_refused = is_refused || result == SL_MATCH_REFUSED;
        } else if (!is_literal(wanted_segment, segment)) {
            return SL_MATCHES_NOT;
        }
    }
    if (path.data != NULL) {
        return SL_MATCHES_NOT;
    }
    return is_refused ? SL_MATCH_REFUSED : SL_MATCHES;
}

bool sl_path_has_dots(struct sl_text path)
{
    struct sl_text segment;
    while (sl_text_split(&path, '/', &segment)) {
        size_t dots = 0;
        size_t place = 0;
        while (place < segment.size) {
            struct sl_text next = {segment.data + place, segment.size - place};
            if (next.data[0] == '.') {
                place++;
            } else if (next.size >= 3 &&
                       sl_text_equal_nocase((struct sl_text) {next.data, 3}, SL_TEXT("%2e"))) {
                place += 3;
            } else {
                break;
            }
            dots++;
        }
        if (place == segment.size && (dots == 1 || dots == 2)) {
            return true;
        }
    }
    return false;
}

/* What stands between braces. */
static int parse_reference(struct sl_text text, const struct sl_pattern *pattern,
    struct sl_template_part *part, struct sluice_error *error)
{
    static const struct {
        const char *prefix;
        enum sl_template_source source;
    } sources[] = {{"query.", SL_FROM_QUERY}, {"header.", SL_FROM_HEADER},
        {"cookie.", SL_FROM_COOKIE}, {"token.", SL_FROM_TOKEN}};
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        size_t size = strlen(sources[i].prefix);
        if (text.size > size && memcmp(text.data, sources[i].prefix, size) == 0) {
            part->source = sources[i].source;
            part->text = (struct sl_text) {text.data + size, text.size - size};
            if (is_name(part->text)) {
                return 0;
            }
        }
    }
    part->source = SL_FROM_PATH;
    part->text = text;
    if (!find_parameter(pattern, text, &part->index)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "{%.*s} is no parameter of the path; there are also {query.x}, {header.x}, {cookie.x} "
            "and {token.sub}",
            (int) text.size, text.data);
    }
    return 0;
}

int sl_template_parse(struct sl_text text, const struct sl_pattern *pattern,
    struct sl_template *ret_template, struct sluice_error *error)
{
    size_t place = 0;
    ret_template->part_count = 0;
    while (place < text.size) {
        if (ret_template->part_count == SL_TEMPLATE_PARTS_MAX) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the template has too many parts");
        }
        struct sl_template_part *part = &ret_template->parts[ret_template->part_count++];
        struct sl_text rest = {text.data + place, text.size - place};
        const char *open = memchr(rest.data, '{', rest.size);
        size_t literal_size = open == NULL ? rest.size : (size_t) (open - rest.data);
        if (literal_size > 0) {
            *part = (struct sl_template_part) {SL_FROM_LITERAL, {rest.data, literal_size}, 0};
            if (memchr(rest.data, '}', literal_size) != NULL) {
                return sl_fail(
                    error, SLUICE_INVALID, SLUICE_REJECT, "a '}' stands there without its '{'");
            }
            place += literal_size;
            continue;
        }
        const char *close = memchr(rest.data, '}', rest.size);
        if (close == NULL) {
            return sl_fail(
                error, SLUICE_INVALID, SLUICE_REJECT, "a '{' stands there without its '}'");
        }
        struct sl_text name = {rest.data + 1, (size_t) (close - rest.data) - 1};
        if (parse_reference(name, pattern, part, error) != 0) {
            return -1;
        }
        place += name.size + 2;
    }
    return 0;
}

bool sl_query_find(struct sl_text query, struct sl_text name, char *ret_value, size_t *ret_size)
{
    struct sl_text pair;
    while (sl_text_split(&query, '&', &pair)) {
        struct sl_text value = pair;
        struct sl_text found;
        if (sl_text_split(&value, '=', &found) && sl_text_equal(found, name) &&
            value.data != NULL) {
            ssize_t size = decode(value, true, ret_value);
            *ret_size = size < 0 ? 0 : (size_t) size;
            return size >= 0;
        }
    }
    return false;
}

struct sl_text sl_cookie_find(const struct sl_http1_request *request, struct sl_text name)
{
    struct sl_text rest =
        sl_http1_find(request->headers, request->header_count, SL_TEXT("cookie"));
    struct sl_text pair;
    while (sl_text_split(&rest, ';', &pair)) {
        struct sl_text value = sl_text_trim(pair);
        struct sl_text found;
        if (sl_text_split(&value, '=', &found) && sl_text_equal(found, name)) {
            return value;
        }
    }
    return (struct sl_text) {NULL, 0};
}

static int append_value(struct sl_buffer *buffer, struct sl_text value, bool is_url)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char byte = (unsigned char) value.data[i];
        bool is_plain = !is_url || is_name_char((char) byte) || byte == '.' || byte == '~';
        if (is_plain) {
            sl_buffer_append(buffer, value.data + i, 1);
        } else {
            sl_buffer_append_format(buffer, "%%%02X", byte);
        }
    }
    return buffer->is_failed ? -1 : 0;
}

bool sl_template_needs_token(const struct sl_template *template)
{
    for (size_t i = 0; i < template->part_count; i++) {
        if (template->parts[i].source == SL_FROM_TOKEN) {
            return true;
        }
    }
    return false;
}

int sl_template_expand(const struct sl_template *template, const struct sl_values *values,
    bool is_url, struct sl_buffer *ret_text, struct sluice_error *error)
{
    char decoded[SL_VALUE_SIZE_MAX];
    const struct sl_match *match = values->match;
    const struct sl_http1_request *request = values->request;
    for (size_t i = 0; i < template->part_count; i++) {
        const struct sl_template_part *part = &template->parts[i];
        struct sl_text value = {NULL, 0};
        size_t size;
        if (part->source == SL_FROM_LITERAL) {
            sl_buffer_append(ret_text, part->text.data, part->text.size);
            continue;
        }
        if (part->source == SL_FROM_PATH && part->index < match->value_count) {
            value = match->values[part->index];
        } else if (part->source == SL_FROM_QUERY &&
                   sl_query_find(request->query, part->text, decoded, &size)) {
            value = (struct sl_text) {decoded, size};
        } else if (part->source == SL_FROM_HEADER) {
            value = sl_http1_find(request->headers, request->header_count, part->text);
        } else if (part->source == SL_FROM_COOKIE) {
            value = sl_cookie_find(request, part->text);
        } else if (part->source == SL_FROM_TOKEN && values->claims != NULL) {
            value = sl_claims_text(values->claims, part->text);
        }
        if (value.size == 0 || value.size > SL_VALUE_SIZE_MAX || !sl_text_is_clean_utf8(value)) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "the request lacks a usable value for \"%.*s\"", (int) part->text.size,
                part->text.data);
        }
        append_value(ret_text, value, is_url);
    }
    return ret_text->is_failed ? sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
                                     "the request's values are too long")
                               : 0;
}
