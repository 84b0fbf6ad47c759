#include "event/headers.h"

#include <jansson.h>

int sl_headers_write(
    struct sl_buffer *buffer, const struct sluice_header *headers, size_t header_count)
{
    json_t *object = json_object();
    int status = object == NULL ? -1 : 0;
    for (size_t i = 0; i < header_count && status == 0; i++) {
        status = json_object_set_new(object, headers[i].name, json_string(headers[i].value));
    }
    char *text = status == 0 ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL) {
        return -1;
    }
    status = sl_buffer_append_text(buffer, text);
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    release(text);
    return status;
}

int sl_headers_parse(
    struct sl_text text, struct sl_headers *ret_headers, struct sluice_error *error)
{
    json_error_t where;
    json_t *object = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(object)) {
        json_decref(object);
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the headers are no JSON object of strings: %s",
            object == NULL ? where.text : "another JSON value");
    }
    struct sl_headers headers = {.document = object};
    const char *name;
    json_t *value;
    json_object_foreach (object, name, value) {
        if (headers.count == SLUICE_HEADER_COUNT_MAX) {
            json_decref(object);
            return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
                "more than %d headers; move some of them into the payload",
                SLUICE_HEADER_COUNT_MAX);
        }
        if (!json_is_string(value)) {
            sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "the header '%.64s' is no string; headers are a JSON object of strings", name);
            json_decref(object);
            return -1;
        }
        headers.items[headers.count++] =
            (struct sluice_header) {.name = name, .value = json_string_value(value)};
    }
    *ret_headers = headers;
    return 0;
}

void sl_headers_deinit(struct sl_headers *headers)
{
    json_decref(headers->document);
    *headers = (struct sl_headers) {0};
}
