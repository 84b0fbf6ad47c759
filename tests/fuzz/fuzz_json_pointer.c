/* The first line is a pointer, the rest a JSON text; strings that are written are JSON again. */
#include <string.h>

#include "fuzz/check.h"
#include "wire/json_pointer.h"

static void write_string(struct sl_text text)
{
    struct sl_buffer buffer;
    struct sl_buffer value;
    struct sl_json *json;
    sl_buffer_init(&buffer, text.size * 6 + 10);
    sl_buffer_init(&value, text.size * 6 + 10);
    CHECK(sl_buffer_append_text(&buffer, "[") == 0);
    CHECK(sl_json_append_string(&buffer, text) == 0);
    CHECK(sl_buffer_append_text(&buffer, "]") == 0);
    /* NUL is JSON, but the parser does not take it. */
    if (text.size == 0 || memchr(text.data, '\0', text.size) == NULL) {
        CHECK(sl_json_parse((struct sl_text) {buffer.data, buffer.size}, &json, NULL) == 0);
        CHECK(sl_json_find_scalar(json, SL_TEXT("/0"), &value, NULL) == 0);
        if (sl_text_is_clean_utf8(text)) {
            CHECK(sl_text_equal((struct sl_text) {value.data, value.size}, text));
        }
        sl_json_free(json);
    }
    sl_buffer_deinit(&value);
    sl_buffer_deinit(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_text rest = {(const char *) data, size};
    struct sl_text pointer;
    struct sl_json *json;
    struct sl_buffer value;
    struct sluice_error error;
    if (size == 0 || !sl_text_split(&rest, '\n', &pointer)) {
        return 0;
    }
    write_string((struct sl_text) {(const char *) data, size});
    if (sl_json_parse(rest, &json, &error) != 0) {
        return 0;
    }
    sl_buffer_init(&value, 1000);
    int result = sl_json_find_scalar(json, pointer, &value, &error);
    CHECK(result == 0 || value.size == 0);
    CHECK(result == 0 || error.code == SLUICE_NOT_FOUND || error.code == SLUICE_TOO_LARGE);
    sl_buffer_deinit(&value);
    sl_json_free(json);
    return 0;
}
