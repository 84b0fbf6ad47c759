/* Paths, queries and templates: a path, a query and a template, each on a line. */
#include <string.h>

#include "fuzz/check.h"
#include "gateway/template.h"

static void check_clean(struct sl_text value)
{
    for (size_t i = 0; i < value.size; i++) {
        CHECK((unsigned char) value.data[i] >= 0x20 && value.data[i] != 0x7f);
    }
}

static void expand(const struct sl_pattern *pattern, const struct sl_match *match,
    const struct sl_http1_request *request, struct sl_text text)
{
    struct sl_template template;
    struct sl_buffer buffer;
    struct sluice_error error;
    if (sl_template_parse(text, pattern, &template, &error) != 0) {
        return;
    }
    sl_buffer_init(&buffer, 10000);
    struct sl_values values = {match, request, NULL};
    (void) !sl_template_expand(&template, &values, true, &buffer, &error);
    sl_buffer_deinit(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sl_match match;
    char value[SL_VALUE_SIZE_MAX];
    size_t value_size;
    struct sl_pattern pattern;
    struct sl_pattern own;
    struct sl_http1_request request = {.header_count = 0};
    struct sl_text rest = {(const char *) data, size};
    struct sl_text path;
    struct sl_text query = {NULL, 0};
    if (size == 0 || !sl_text_split(&rest, '\n', &path)) {
        return 0;
    }
    sl_text_split(&rest, '\n', &query);
    CHECK(sl_pattern_parse(SL_TEXT("/a/{id}/{x}"), &pattern, NULL) == 0);
    (void) sl_path_has_dots(path);
    if (sl_query_find(query, SL_TEXT("x"), value, &value_size)) {
        check_clean((struct sl_text) {value, value_size});
    }
    if (sl_pattern_match(&pattern, path, &match) == SL_MATCHES) {
        CHECK(match.value_count == 2);
        for (size_t i = 0; i < 2; i++) {
            check_clean(match.values[i]);
            CHECK(memchr(match.values[i].data, '/', match.values[i].size) == NULL);
        }
        request.query = query;
        expand(&pattern, &match, &request, rest);
    }
    if (sl_pattern_parse(path, &own, NULL) == 0) {
        (void) sl_pattern_match(&own, path, &match);
    }
    return 0;
}
