#include <sluice/event.h>

#include "base/memory.h"
#include "cli/dev_assets.h"
#include "cli/dev_internal.h"

/* A POST whose body is being read. */
struct posting {
    struct sl_dev *dev;
    struct sl_exchange *exchange;
    struct sl_buffer body;
    char key[SL_DEV_KEY_SIZE_MAX + 1];
    char type[SLUICE_TYPE_SIZE_MAX + 1];
};

static void respond_json(struct sl_exchange *exchange, int status, json_t *take_value)
{
    struct sl_buffer text;
    sl_buffer_init(&text, SL_STATE_SIZE_MAX);
    if (take_value == NULL || sl_state_write(take_value, &text) != 0) {
        sl_exchange_fail(exchange, 500, "out of memory for the answer");
    } else {
        sl_exchange_respond(exchange, status, "application/json", text.data, text.size);
    }
    sl_buffer_deinit(&text);
    json_decref(take_value);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
        : c >= 'a' && c <= 'f'  ? c - 'a' + 10
        : c >= 'A' && c <= 'F'  ? c - 'A' + 10
                                : -1;
}

/* Percent-decode into a text of `size` bytes at most. False for what does not fit or is no text. */
static bool decode(struct sl_text from, bool is_query, char *ret_text, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < from.size; i++) {
        char c = is_query && from.data[i] == '+' ? ' ' : from.data[i];
        if (c == '%') {
            int high = i + 2 < from.size ? hex_digit(from.data[i + 1]) : -1;
            int low = i + 2 < from.size ? hex_digit(from.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char) (high << 4 | low);
            i += 2;
        }
        if (length == size) {
            return false;
        }
        ret_text[length++] = c;
    }
    ret_text[length] = '\0';
    return sl_text_is_clean_utf8((struct sl_text) {ret_text, length});
}

/* A value of the query, decoded; the fallback if it is absent. False if it is no good. */
static bool query_value(struct sl_exchange *exchange, struct sl_text name, const char *fallback,
    char *ret_text, size_t size)
{
    struct sl_text query = sl_exchange_request(exchange)->query;
    struct sl_text part;
    while (sl_text_split(&query, '&', &part)) {
        if (part.size > name.size && part.data[name.size] == '=' &&
            memcmp(part.data, name.data, name.size) == 0) {
            struct sl_text value = {part.data + name.size + 1, part.size - name.size - 1};
            return value.size > 0 && decode(value, true, ret_text, size);
        }
    }
    return decode(sl_text_of(fallback), false, ret_text, size);
}

static void on_body(void *context, const char *data, size_t size)
{
    struct posting *posting = context;
    /* The server bounds the body; a failed buffer is told at the end. */
    sl_buffer_append(&posting->body, data, size);
}

/* A JSON object is taken as it is, other JSON as "data", and anything else as "text". */
static json_t *body_of(const struct posting *posting)
{
    const char *data = posting->body.data == NULL ? "" : posting->body.data;
    json_t *value = json_loadb(data, posting->body.size, JSON_DECODE_ANY, NULL);
    if (json_is_object(value)) {
        return value;
    }
    return value != NULL ? json_pack("{s:o}", "data", value)
                         : json_pack("{s:o}", "text",
                               sl_state_text((struct sl_text) {data, posting->body.size}));
}

static void on_body_end(void *context)
{
    struct posting *posting = context;
    struct sluice_error error;
    int64_t version;
    json_t *body = posting->body.is_failed ? NULL : body_of(posting);
    if (body == NULL) {
        sl_exchange_fail(posting->exchange, 503, "out of memory for the event");
        return;
    }
    if (sl_dev_publish(posting->dev, SL_DEV_TOPIC, sl_text_of(posting->key), posting->type, body,
            &version, &error) != 0) {
        bool is_refused = error.reaction == SLUICE_REJECT;
        sl_exchange_fail(posting->exchange,
            !is_refused                          ? 503
                : error.code == SLUICE_TOO_LARGE ? 429
                                                 : 400,
            "%s", error.text);
    } else {
        respond_json(posting->exchange, 202,
            json_pack("{s:s, s:s, s:s, s:I}", "topic", SL_DEV_TOPIC, "key", posting->key, "type",
                posting->type, "version", (json_int_t) version));
    }
    json_decref(body);
}

static void on_close(void *context, enum sl_exchange_end end)
{
    struct posting *posting = context;
    (void) end;
    sl_buffer_deinit(&posting->body);
    sl_free(posting);
}

static const struct sl_exchange_handlers posting_handlers = {
    .on_body = on_body, .on_body_end = on_body_end, .on_close = on_close};

static void serve_publish(struct sl_dev *dev, struct sl_exchange *exchange)
{
    struct posting *posting = sl_allocate(sizeof(*posting));
    if (posting == NULL) {
        sl_exchange_fail(exchange, 503, "out of memory for the request");
        return;
    }
    if (!query_value(exchange, SL_TEXT("key"), "hello", posting->key, SL_DEV_KEY_SIZE_MAX) ||
        !query_value(exchange, SL_TEXT("type"), "message", posting->type, SLUICE_TYPE_SIZE_MAX)) {
        sl_free(posting);
        sl_exchange_fail(exchange, 400, "key and type must be texts of 1 to %d and %d bytes, as in "
            "/publish?key=hello&type=greeting", SL_DEV_KEY_SIZE_MAX, SLUICE_TYPE_SIZE_MAX);
        return;
    }
    posting->dev = dev;
    posting->exchange = exchange;
    sl_buffer_init(&posting->body, SL_DEV_BODY_SIZE_MAX);
    sl_exchange_set_handlers(exchange, &posting_handlers, posting);
}

/* The latest event of the key behind the prefix; for a key without one an object of version 0. */
static bool serve_item(struct sl_dev *dev, struct sl_exchange *exchange, struct sl_text prefix)
{
    struct sl_text path = sl_exchange_request(exchange)->path;
    char key[SL_DEV_KEY_SIZE_MAX + 1];
    if (path.size <= prefix.size || memcmp(path.data, prefix.data, prefix.size) != 0) {
        return false;
    }
    struct sl_text rest = {path.data + prefix.size, path.size - prefix.size};
    if (memchr(rest.data, '/', rest.size) != NULL ||
        !decode(rest, false, key, SL_DEV_KEY_SIZE_MAX)) {
        return false;
    }
    const struct sl_dev_item *item = sl_table_get(&dev->items.table, sl_text_of(key));
    if (item == NULL || item->latest == NULL) {
        respond_json(exchange, 200,
            json_pack("{s:s, s:s, s:i}", "key", key, "type", "nothing_yet", "version", 0));
    } else {
        sl_exchange_respond(
            exchange, 200, "application/json", item->latest, strlen(item->latest));
    }
    return true;
}

static void serve_trace(struct sl_dev *dev, struct sl_exchange *exchange)
{
    char key[SL_DEV_KEY_SIZE_MAX + 1];
    char version[24];
    int64_t number;
    if (!query_value(exchange, SL_TEXT("key"), "", key, SL_DEV_KEY_SIZE_MAX) ||
        !query_value(exchange, SL_TEXT("version"), "", version, sizeof(version) - 1) ||
        !sl_parse_i64(sl_text_of(version), &number)) {
        sl_exchange_fail(exchange, 400, "name an event as /trace?key=hello&version=1");
        return;
    }
    const struct sl_dev_trace *trace =
        sl_dev_trace_of(&dev->items, sl_text_of(key), number, false);
    if (trace == NULL) {
        sl_exchange_fail(exchange, 404, "the last %d events are traced; this one is older, or of "
            "an earlier run", SL_DEV_TRACES_MAX);
        return;
    }
    respond_json(exchange, 200,
        json_pack("{s:I, s:I, s:I}", "begun_ms", (json_int_t) trace->begun_ms, "committed_ms",
            (json_int_t) trace->committed_ms, "logged_ms", (json_int_t) trace->logged_ms));
}

static bool serve_asset(struct sl_exchange *exchange)
{
    const struct {
        const char *path;
        const char *type;
        const unsigned char *data;
        size_t size;
    } assets[] = {
        {"/", "text/html; charset=utf-8", sl_dev_html, sl_dev_html_size},
        {"/dev.css", "text/css; charset=utf-8", sl_dev_css, sl_dev_css_size},
        {"/dev.js", "text/javascript; charset=utf-8", sl_dev_js, sl_dev_js_size},
    };
    for (size_t i = 0; i < sizeof(assets) / sizeof(assets[0]); i++) {
        if (sl_exchange_is_path(exchange, assets[i].path)) {
            sl_exchange_respond(
                exchange, 200, assets[i].type, assets[i].data, assets[i].size);
            return true;
        }
    }
    return false;
}

void sl_dev_serve(void *context, struct sl_exchange *exchange)
{
    struct sl_dev *dev = context;
    struct sl_text method = sl_exchange_request(exchange)->method;
    bool is_get = sl_text_equal(method, SL_TEXT("GET")) || sl_text_equal(method, SL_TEXT("HEAD"));
    if (sl_exchange_is_path(exchange, "/publish")) {
        if (sl_text_equal(method, SL_TEXT("POST"))) {
            serve_publish(dev, exchange);
        } else {
            sl_exchange_fail(exchange, 405, "publishing changes something: use POST, as in "
                "curl -d hello '/publish?key=hello&type=greeting'");
        }
    } else if (!is_get) {
        sl_exchange_fail(exchange, 405, "use GET here; events are posted to /publish");
    } else if (sl_exchange_is_path(exchange, "/trace")) {
        serve_trace(dev, exchange);
    } else if (sl_exchange_is_path(exchange, "/links")) {
        respond_json(exchange, 200, json_pack("{s:s?}", "console", dev->console_url));
    } else if (sl_exchange_is_path(exchange, "/orders/current")) {
        /* Not before its first status is in the log: the stream would begin with nothing. */
        const struct sl_dev_item *item =
            sl_table_get(&dev->items.table, sl_text_of(dev->order_key));
        bool is_there = item != NULL && item->latest != NULL;
        respond_json(exchange, 200, json_pack("{s:s}", "key", is_there ? dev->order_key : ""));
    } else if (!serve_item(dev, exchange, SL_TEXT("/items/")) &&
        !serve_item(dev, exchange, SL_TEXT("/orders/")) && !serve_asset(exchange)) {
        sl_exchange_fail(exchange, 404, "there is nothing at this path; the page is at /");
    }
}
