#include "base/memory.h"
#include "console/assets.h"
#include "console/console_internal.h"
#include "console/guard.h"
#include "console/state.h"

enum { BODY_SIZE_MAX = 16384 };

/* A request that is answered later: while its body is read, and while a job runs for it. */
struct waiting {
    struct sl_console *console;
    struct sl_exchange *exchange;
    struct sl_job *job; /* once submitted; until it is answered */
    struct sl_buffer body;
    enum sl_job_kind kind;
};

static void respond(
    struct sl_exchange *exchange, int status, const char *type, const void *body, size_t size)
{
    const struct sl_http1_header headers[] = {{SL_TEXT("Content-Type"), sl_text_of(type)},
        {SL_TEXT("Cache-Control"), SL_TEXT("no-store")},
        {SL_TEXT("X-Content-Type-Options"), SL_TEXT("nosniff")},
        {SL_TEXT("Referrer-Policy"), SL_TEXT("no-referrer")},
        {SL_TEXT("Content-Security-Policy"),
            SL_TEXT("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")}};
    struct sl_http_response response = {.status = status, .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]), .content_length = (int64_t) size};
    if (sl_exchange_start(exchange, &response) != 0) {
        sl_exchange_fail(exchange, 500, "out of memory for the answer");
        return;
    }
    if (size > 0 && sl_exchange_write(exchange, body, size) != 0) {
        sl_exchange_abort(exchange);
        return;
    }
    sl_exchange_finish(exchange);
}

static void respond_json(struct sl_exchange *exchange, int status, const json_t *value)
{
    struct sl_buffer text;
    sl_buffer_init(&text, SL_STATE_SIZE_MAX);
    if (sl_state_write(value, &text) != 0) {
        sl_exchange_fail(exchange, 500, "out of memory for the answer");
    } else {
        respond(exchange, status, "application/json", text.data, text.size);
    }
    sl_buffer_deinit(&text);
}

static void serve_metrics(struct sl_console *console, struct sl_exchange *exchange)
{
    struct sl_sample sample;
    sl_console_compose(console, &sample);
    const struct sl_buffer *text = &sample.metrics.text;
    respond(exchange, 200, "text/plain; version=0.0.4; charset=utf-8",
        text->data == NULL ? "" : text->data, text->size);
    sl_sample_deinit(&sample);
}

/* 200 while there is no reason against it, else 503 with the reasons. */
static void serve_health(struct sl_console *console, struct sl_exchange *exchange, bool is_ready)
{
    struct sl_sample sample;
    sl_console_compose(console, &sample);
    json_t *reasons = is_ready ? sample.not_ready : sample.not_alive;
    bool is_good = json_array_size(reasons) == 0;
    json_t *answer = json_pack(
        "{s:s, s:O}", "status", is_good ? "ok" : "failing", "reasons", reasons);
    respond_json(exchange, is_good ? 200 : 503, answer);
    json_decref(answer);
    sl_sample_deinit(&sample);
}

static void serve_state(struct sl_console *console, struct sl_exchange *exchange)
{
    struct sl_sample sample;
    sl_console_compose(console, &sample);
    respond_json(exchange, 200, sample.state);
    sl_sample_deinit(&sample);
}

static struct sl_text query_value(struct sl_text query, struct sl_text name)
{
    struct sl_text part;
    while (sl_text_split(&query, '&', &part)) {
        if (part.size > name.size && part.data[name.size] == '=' &&
            memcmp(part.data, name.data, name.size) == 0) {
            return (struct sl_text) {part.data + name.size + 1, part.size - name.size - 1};
        }
    }
    return (struct sl_text) {NULL, 0};
}

/* A text of the body's object, copied; absent and null stay NULL. False if it is no text. */
static bool take_text(const json_t *body, const char *name, char **ret_text)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        return false;
    }
    *ret_text = sl_copy_text(json_string_value(value));
    return *ret_text != NULL;
}

/* Read what to redrive or drop; NULL if it is right, else why not. */
static const char *read_change(struct waiting *waiting, struct sl_job *job)
{
    json_t *body = json_loadb(waiting->body.data == NULL ? "" : waiting->body.data,
        waiting->body.size, JSON_REJECT_DUPLICATES, NULL);
    bool is_read = json_is_object(body) && take_text(body, "database", &job->database) &&
        take_text(body, "stage", &job->stage) && take_text(body, "topic", &job->topic) &&
        take_text(body, "key", &job->key) && take_text(body, "id", &job->event_id);
    json_decref(body);
    if (!is_read) {
        return "the body must be a JSON object with the texts database, stage, and either topic "
               "and key, or id";
    }
    if (job->database == NULL || job->stage == NULL ||
        (job->event_id == NULL && (job->topic == NULL || job->key == NULL))) {
        return "the body must name database and stage, and either topic and key, or id";
    }
    return NULL;
}

/* Give the job away; whoever waits hears of it, and the two forget each other in either order. */
static void submit(struct waiting *waiting, struct sl_job *take_job)
{
    take_job->exchange = waiting->exchange;
    take_job->waiter = &waiting->job;
    waiting->job = take_job;
    if (sl_console_submit(waiting->console, take_job) != 0) {
        sl_exchange_fail(waiting->exchange, 503, "the console is busy; try again");
    }
}

static void on_post_body(void *context, const char *data, size_t size)
{
    struct waiting *waiting = context;
    /* The server bounds the body; a full buffer is noted and told at the end. */
    sl_buffer_append(&waiting->body, data, size);
}

static void on_post_end(void *context)
{
    struct waiting *waiting = context;
    struct sl_job *job = sl_allocate(sizeof(*job));
    if (job == NULL || waiting->body.is_failed) {
        sl_free(job);
        sl_exchange_fail(waiting->exchange, 503, "out of memory for the request");
        return;
    }
    job->kind = waiting->kind;
    const char *fault = read_change(waiting, job);
    if (fault != NULL) {
        sl_job_free(job);
        sl_exchange_fail(waiting->exchange, 400, "%s", fault);
        return;
    }
    submit(waiting, job);
}

static void on_close(void *context, enum sl_exchange_end end)
{
    struct waiting *waiting = context;
    (void) end;
    if (waiting->job != NULL) {
        waiting->job->exchange = NULL;
        waiting->job->waiter = NULL;
    }
    sl_buffer_deinit(&waiting->body);
    sl_free(waiting);
}

static const struct sl_exchange_handlers posting_handlers = {
    .on_body = on_post_body, .on_body_end = on_post_end, .on_close = on_close};
static const struct sl_exchange_handlers showing_handlers = {.on_close = on_close};

static struct waiting *wait_with(struct sl_console *console, struct sl_exchange *exchange,
    const struct sl_exchange_handlers *handlers)
{
    struct waiting *waiting = sl_allocate(sizeof(*waiting));
    if (waiting == NULL) {
        sl_exchange_fail(exchange, 503, "out of memory for the request");
        return NULL;
    }
    *waiting = (struct waiting) {.console = console, .exchange = exchange};
    sl_buffer_init(&waiting->body, BODY_SIZE_MAX);
    sl_exchange_set_handlers(exchange, handlers, waiting);
    return waiting;
}

static void serve_dead_letter(struct sl_console *console, struct sl_exchange *exchange)
{
    struct sl_text id = query_value(sl_exchange_request(exchange)->query, SL_TEXT("id"));
    if (!sl_event_is_id(id)) {
        sl_exchange_fail(exchange, 400, "name an event as ?id=..., a UUID in 36 characters");
        return;
    }
    struct sl_job *job = sl_allocate(sizeof(*job));
    struct waiting *waiting =
        job == NULL ? NULL : wait_with(console, exchange, &showing_handlers);
    if (waiting == NULL) {
        sl_free(job);
        if (job == NULL) {
            sl_exchange_fail(exchange, 503, "out of memory for the request");
        }
        return;
    }
    job->kind = SL_JOB_SHOW;
    job->event_id = sl_copy_bytes(id.data, id.size);
    submit(waiting, job);
}

static void serve_change(
    struct sl_console *console, struct sl_exchange *exchange, enum sl_job_kind kind)
{
    struct waiting *waiting = wait_with(console, exchange, &posting_handlers);
    if (waiting != NULL) {
        waiting->kind = kind;
    }
}

static const char *refusal_of(const struct sl_console *console, struct sl_exchange *exchange)
{
    const struct sl_http1_request *request = sl_exchange_request(exchange);
    struct sl_guard_request guarded = {.host = request->host,
        .origin = sl_exchange_header(exchange, "Origin"),
        .fetch_site = sl_exchange_header(exchange, "Sec-Fetch-Site"),
        .console_header = sl_exchange_header(exchange, "X-Sluice-Console"),
        .is_change = sl_text_equal(request->method, SL_TEXT("POST")),
        .is_loopback = console->is_loopback};
    return sl_guard_refusal(&guarded);
}

static bool serve_asset(struct sl_exchange *exchange)
{
    const struct {
        const char *path;
        const char *type;
        const unsigned char *data;
        size_t size;
    } assets[] = {
        {"/", "text/html; charset=utf-8", sl_console_html, sl_console_html_size},
        {"/console.css", "text/css; charset=utf-8", sl_console_css, sl_console_css_size},
        {"/console.js", "text/javascript; charset=utf-8", sl_console_js, sl_console_js_size},
    };
    for (size_t i = 0; i < sizeof(assets) / sizeof(assets[0]); i++) {
        if (sl_exchange_is_path(exchange, assets[i].path)) {
            respond(exchange, 200, assets[i].type, assets[i].data, assets[i].size);
            return true;
        }
    }
    return false;
}

static void serve_get(struct sl_console *console, struct sl_exchange *exchange)
{
    if (sl_exchange_is_path(exchange, "/metrics")) {
        serve_metrics(console, exchange);
    } else if (sl_exchange_is_path(exchange, "/health/live")) {
        serve_health(console, exchange, false);
    } else if (sl_exchange_is_path(exchange, "/health/ready")) {
        serve_health(console, exchange, true);
    } else if (sl_exchange_is_path(exchange, "/api/state")) {
        serve_state(console, exchange);
    } else if (sl_exchange_is_path(exchange, "/api/dead-letters")) {
        serve_dead_letter(console, exchange);
    } else if (sl_exchange_is_path(exchange, "/api/redrive") ||
        sl_exchange_is_path(exchange, "/api/drop")) {
        sl_exchange_fail(exchange, 405, "this changes something: use POST");
    } else if (!serve_asset(exchange)) {
        sl_exchange_fail(exchange, 404, "the console has no such path; the page is at /");
    }
}

void sl_console_serve(void *context, struct sl_exchange *exchange)
{
    struct sl_console *console = context;
    struct sl_text method = sl_exchange_request(exchange)->method;
    /* Scrapers and orchestrators come by any name; they get nothing that could be misused. */
    bool is_open = sl_exchange_is_path(exchange, "/metrics") ||
        sl_exchange_is_path(exchange, "/health/live") ||
        sl_exchange_is_path(exchange, "/health/ready");
    const char *refusal = is_open ? NULL : refusal_of(console, exchange);
    if (refusal != NULL) {
        sl_exchange_fail(exchange, 403, "%s", refusal);
    } else if (sl_text_equal(method, SL_TEXT("GET")) || sl_text_equal(method, SL_TEXT("HEAD"))) {
        serve_get(console, exchange);
    } else if (!sl_text_equal(method, SL_TEXT("POST"))) {
        sl_exchange_fail(exchange, 405, "the console knows GET and POST");
    } else if (sl_exchange_is_path(exchange, "/api/redrive")) {
        serve_change(console, exchange, SL_JOB_REDRIVE);
    } else if (sl_exchange_is_path(exchange, "/api/drop")) {
        serve_change(console, exchange, SL_JOB_DROP);
    } else {
        sl_exchange_fail(exchange, 405, "nothing can be posted here");
    }
}
