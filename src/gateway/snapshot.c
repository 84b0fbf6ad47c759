/* Reading the present state of a key from the service that owns it. */
#include "base/memory.h"
#include "gateway/internal.h"

struct sl_snapshot_call {
    struct sl_call *call;
    const struct sl_snapshot_handlers *handlers;
    void *context;
    int status;
    struct sl_buffer body;
};

static void free_call(struct sl_snapshot_call *snapshot)
{
    sl_buffer_deinit(&snapshot->body);
    sl_free(snapshot);
}

void sl_snapshot_cancel(struct sl_snapshot_call *snapshot)
{
    if (snapshot != NULL) {
        sl_call_cancel(snapshot->call);
        free_call(snapshot);
    }
}

static void on_head(void *context, const struct sl_http1_response *response)
{
    struct sl_snapshot_call *snapshot = context;
    snapshot->status = response->status;
}

static void on_body(void *context, const char *data, size_t size)
{
    struct sl_snapshot_call *snapshot = context;
    /* A body that is too long is judged at its end: is_failed remembers it. */
    sl_buffer_append(&snapshot->body, data, size);
}

static void on_end(void *context)
{
    struct sl_snapshot_call *snapshot = context;
    struct sl_text body = {
        snapshot->body.data == NULL ? "" : snapshot->body.data, snapshot->body.size};
    if (snapshot->body.is_failed) {
        snapshot->handlers->on_unavailable(
            snapshot->context, "the snapshot is longer than 1 MiB");
    } else {
        snapshot->handlers->on_answer(snapshot->context, snapshot->status, body);
    }
    free_call(snapshot);
}

static void on_fail(
    void *context, enum sl_call_failure failure, const struct sluice_error *error)
{
    struct sl_snapshot_call *snapshot = context;
    (void) failure;
    snapshot->handlers->on_unavailable(snapshot->context, error->text);
    free_call(snapshot);
}

static const struct sl_call_handlers handlers = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

int sl_snapshot_start(struct sl_gateway *gateway, const struct sl_compiled_route *route,
    const struct sl_snapshot_request *asked, const struct sl_snapshot_handlers *snapshot_handlers,
    void *context, struct sl_snapshot_call **ret_call, struct sluice_error *error)
{
    const struct sl_http1_request *request = asked->request;
    /* Who asks decides what may be seen: the fields that say who asks go along. */
    static const char *const passed[] = {"authorization", "cookie", "accept-language"};
    struct sl_http1_header headers[7] = {
        {SL_TEXT("Host"), sl_text_of(route->target.authority)},
        {SL_TEXT("Accept"), SL_TEXT("application/json")},
        {SL_TEXT("Cache-Control"), SL_TEXT("no-cache")},
    };
    size_t count = 3;
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        struct sl_text name = sl_text_of(passed[i]);
        struct sl_text value = sl_http1_find(request->headers, request->header_count, name);
        if (value.data != NULL) {
            headers[count++] = (struct sl_http1_header) {name, value};
        }
    }
    if (asked->subject.size > 0) {
        headers[count++] =
            (struct sl_http1_header) {sl_text_of(gateway->gate.subject_header), asked->subject};
    }
    struct sl_snapshot_call *snapshot = sl_allocate(sizeof(*snapshot));
    if (snapshot == NULL) {
        return sl_fail_memory(error, "a snapshot");
    }
    snapshot->handlers = snapshot_handlers;
    snapshot->context = context;
    sl_buffer_init(&snapshot->body, SL_SNAPSHOT_SIZE_MAX);
    struct sl_call_request call = {
        .host = sl_text_of(route->target.host),
        .port = route->target.port,
        .method = SL_TEXT("GET"),
        .target = asked->target,
        .headers = headers,
        .header_count = count,
        .handlers = &handlers,
        .context = snapshot,
    };
    if (sl_call_start(gateway->snapshots, &call, &snapshot->call, error) != 0) {
        free_call(snapshot);
        return -1;
    }
    *ret_call = snapshot;
    return 0;
}
