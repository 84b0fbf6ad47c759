#include "event/headers.h"

#include <jansson.h>

#include "wire/json_pointer.h"

int sl_headers_write(
    struct sl_buffer *buffer, const struct sluice_header *headers, size_t header_count)
{
    sl_buffer_append(buffer, "{", 1);
    for (size_t i = 0; i < header_count; i++) {
        sl_buffer_append(buffer, ",", i == 0 ? 0 : 1);
        if (sl_json_append_string(buffer, sl_text_of(headers[i].name)) != 0 ||
            sl_buffer_append(buffer, ":", 1) != 0 ||
            sl_json_append_string(buffer, sl_text_of(headers[i].value)) != 0) {
            return -1;
        }
    }
    sl_buffer_append(buffer, "}", 1);
    return buffer->is_failed ? -1 : 0;
}

int sl_headers_parse(
    struct sl_text text, struct sl_headers *ret_headers, struct sluice_error *error)
{
    if (sl_text_equal(text, SL_TEXT("{}"))) {
        ret_headers->count = 0;
        ret_headers->document = NULL;
        return 0;
    }
    struct sl_json *json = NULL;
    struct sluice_error cause = {.text = "another JSON value"};
    int status = sl_json_parse(text, &json, &cause);
    json_t *object = (json_t *) json;
    if (status != 0 && cause.code == SLUICE_NO_MEMORY) {
        return sl_fail_memory(error, "the headers of an event");
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the headers are no JSON object of strings: %.200s", cause.text);
    }
    struct sl_headers headers = {.document = object};
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
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
    headers->document = NULL;
    headers->count = 0;
}
