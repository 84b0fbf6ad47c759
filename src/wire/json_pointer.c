#include "wire/json_pointer.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* A parsed text is jansson's object; the struct exists to keep jansson out of other layers. */
static json_t *from_json(const struct sl_json *json)
{
    return (json_t *) (uintptr_t) json;
}

bool sl_json_is_pointer(struct sl_text pointer)
{
    size_t depth = 0;
    if (pointer.size > 0 && pointer.data[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < pointer.size; i++) {
        char byte = pointer.data[i];
        if (byte == '\0') {
            return false;
        }
        depth += byte == '/' ? 1 : 0;
        if (byte == '~' && (i + 1 == pointer.size ||
                               (pointer.data[i + 1] != '0' && pointer.data[i + 1] != '1'))) {
            return false;
        }
    }
    return depth <= SL_JSON_POINTER_DEPTH_MAX;
}

/*
 * jansson reports a lack of memory as a mistake of the text, at whatever place it had come to. A
 * verdict is believed if it is the same the second time, and if there is memory for what the text
 * may need: a payload must not be condemned for an outage.
 */
static bool is_out_of_memory(struct sl_text text, const json_error_t *first)
{
    json_error_t second;
    json_t *json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &second);
    if (json != NULL || first->text[0] == '\0' || first->position != second.position ||
        strcmp(first->text, second.text) != 0) {
        json_decref(json);
        return true;
    }
    void *probe = sl_allocate(text.size + 65536);
    sl_free(probe);
    return probe == NULL;
}

int sl_json_parse(struct sl_text text, struct sl_json **ret_json, struct sluice_error *error)
{
    json_error_t found;
    if (text.size > SL_JSON_SIZE_MAX) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "the JSON text has %zu bytes; at most %d are parsed", text.size, SL_JSON_SIZE_MAX);
    }
    text.data = text.size == 0 ? "" : text.data;
    json_t *json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &found);
    if (json == NULL && is_out_of_memory(text, &found)) {
        return sl_fail_memory(error, "a JSON text");
    }
    if (json == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "not JSON: line %d, column %d: %s",
            found.line, found.column, found.text);
    }
    *ret_json = (struct sl_json *) json;
    return 0;
}

void sl_json_free(struct sl_json *json)
{
    json_decref(from_json(json));
}

/* Decode "~1" and "~0" of one reference token. */
static int decode_token(struct sl_text token, struct sl_buffer *decoded)
{
    sl_buffer_clear(decoded);
    for (size_t i = 0; i < token.size; i++) {
        char byte = token.data[i];
        if (byte == '~' && i + 1 < token.size) {
            byte = token.data[++i] == '1' ? '/' : '~';
        }
        if (sl_buffer_append(decoded, &byte, 1) != 0) {
            return -1;
        }
    }
    return sl_buffer_append(decoded, "", 0);
}

/* An array's member by a decimal index without leading zeros. */
static json_t *find_member(json_t *array, const struct sl_buffer *token)
{
    size_t index = 0;
    if (token->size == 0 || token->size > 9 || (token->size > 1 && token->data[0] == '0')) {
        return NULL;
    }
    for (size_t i = 0; i < token->size; i++) {
        if (token->data[i] < '0' || token->data[i] > '9') {
            return NULL;
        }
        index = index * 10 + (size_t) (token->data[i] - '0');
    }
    return json_array_get(array, index);
}

static json_t *find(json_t *value, struct sl_text pointer)
{
    struct sl_buffer token;
    struct sl_text part;
    struct sl_text rest = pointer;
    sl_buffer_init(&token, 4096);
    if (rest.size > 0) {
        sl_text_split(&rest, '/', &part); /* what stands before the first '/': nothing */
    } else {
        rest.data = NULL;
    }
    while (value != NULL && sl_text_split(&rest, '/', &part)) {
        if (decode_token(part, &token) != 0) {
            value = NULL;
        } else if (json_is_array(value)) {
            value = find_member(value, &token);
        } else {
            value = json_object_getn(value, token.data, token.size);
        }
    }
    sl_buffer_deinit(&token);
    return value;
}

static int append_scalar(const json_t *value, struct sl_buffer *buffer)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return sl_buffer_append(buffer, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return sl_buffer_append_format(buffer, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return sl_buffer_append_format(buffer, "%.17g", json_real_value(value));
    case JSON_TRUE:
        return sl_buffer_append_text(buffer, "true");
    default:
        return sl_buffer_append_text(buffer, "false");
    }
}

int sl_json_find_scalar(const struct sl_json *json, struct sl_text pointer,
    struct sl_buffer *ret_value, struct sluice_error *error)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_NULL] = "null"};
    json_t *value = find(from_json(json), pointer);
    if (value == NULL) {
        return sl_fail(error, SLUICE_NOT_FOUND, SLUICE_REJECT, "there is nothing at %.*s",
            (int) pointer.size, pointer.data);
    }
    if (json_is_object(value) || json_is_array(value) || json_is_null(value)) {
        return sl_fail(error, SLUICE_NOT_FOUND, SLUICE_REJECT,
            "%s stands at %.*s, not a string, number or boolean", names[json_typeof(value)],
            (int) pointer.size, pointer.data);
    }
    if (append_scalar(value, ret_value) != 0) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT, "the value at %.*s is too long",
            (int) pointer.size, pointer.data);
    }
    return 0;
}

/* The size of the valid UTF-8 character at the text's front, 0 if there is none. */
static size_t character_size(const char *data, size_t size)
{
    unsigned char first = (unsigned char) data[0];
    if (first < 0x80) {
        return 1;
    }
    size_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    bool is_valid = first >= 0xc2 && first <= 0xf4 && wanted <= size &&
                    sl_text_is_clean_utf8((struct sl_text) {data, wanted});
    return is_valid ? wanted : 0;
}

int sl_json_append_string(struct sl_buffer *buffer, struct sl_text text)
{
    sl_buffer_append(buffer, "\"", 1);
    for (size_t i = 0; i < text.size;) {
        unsigned char byte = (unsigned char) text.data[i];
        size_t size = character_size(text.data + i, text.size - i);
        if (size == 0) {
            sl_buffer_append_text(buffer, "\xef\xbf\xbd");
            size = 1;
        } else if (byte == '"' || byte == '\\') {
            char escape[2] = {'\\', (char) byte};
            sl_buffer_append(buffer, escape, 2);
        } else if (byte < 0x20 || byte == 0x7f) {
            sl_buffer_append_format(buffer, "\\u%04x", byte);
        } else {
            sl_buffer_append(buffer, text.data + i, size);
        }
        i += size;
    }
    sl_buffer_append(buffer, "\"", 1);
    return buffer->is_failed ? -1 : 0;
}
