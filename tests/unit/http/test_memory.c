/*
 * A server and a client of one loop whose memory runs out, at each allocation in turn: the call
 * ends, with an answer or an error, and everything can be closed.
 */
#include "base/memory.h"

#include <string.h>

#include "base/url.h"
#include "http/client.h"
#include "http/server.h"
#include "support/unit.h"

struct world {
    uv_loop_t loop;
    uv_timer_t guard;
    struct sl_http_server *server;
    struct sl_http_client *client;
    int answer_count;
    int end_count;
    bool is_late;
};

static void on_request(void *context, struct sl_exchange *exchange)
{
    struct sl_http_response response = {.status = 200, .content_length = -1};
    (void) context;
    if (sl_exchange_start(exchange, &response) != 0) {
        sl_exchange_fail(exchange, 503, "no memory");
        return;
    }
    if (sl_exchange_write(exchange, "hello", 5) != 0) {
        sl_exchange_abort(exchange);
        return;
    }
    sl_exchange_finish(exchange);
}

static void on_body(void *context, const char *data, size_t size)
{
    struct world *world = context;
    world->answer_count += size == 5 && memcmp(data, "hello", 5) == 0 ? 1 : 0;
}

static void on_end(void *context)
{
    ((struct world *) context)->end_count++;
}

static void on_fail(
    void *context, enum sl_call_failure failure, const struct sluice_error *error)
{
    (void) failure;
    ck_assert_ptr_nonnull(error);
    ((struct world *) context)->end_count++;
}

static const struct sl_call_handlers handlers = {
    .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void on_late(uv_timer_t *timer)
{
    ((struct world *) timer->data)->is_late = true;
}

static int open_world(struct world *world)
{
    static const char *const address = "127.0.0.1:0";
    struct sl_http_server_options options = {
        .addresses = &address, .address_count = 1, .on_request = on_request};
    uv_loop_init(&world->loop);
    uv_timer_init(&world->loop, &world->guard);
    world->guard.data = world;
    uv_timer_start(&world->guard, on_late, 20000, 0);
    return sl_http_server_open(&world->loop, &options, &world->server, NULL) == 0 &&
                   sl_http_client_open(&world->loop, NULL, &world->client, NULL) == 0
               ? 0
               : -1;
}

static void call_twice(struct world *world)
{
    struct sl_http_url url;
    struct sl_call *call;
    const struct sl_http1_header host = {SL_TEXT("Host"), SL_TEXT("a")};
    ck_assert(sl_url_parse_http(sl_text_of(sl_http_server_url(world->server, 0)), &url));
    for (int i = 1; i <= 2; i++) {
        struct sl_call_request request = {.host = url.host, .port = url.port,
            .method = SL_TEXT("GET"), .target = SL_TEXT("/"), .headers = &host,
            .header_count = 1, .handlers = &handlers, .context = world};
        if (sl_call_start(world->client, &request, &call, NULL) != 0) {
            world->end_count++;
        }
        while (world->end_count < i && !world->is_late) {
            uv_run(&world->loop, UV_RUN_ONCE);
        }
    }
}

/* True if both calls were answered. */
static bool run_world(void)
{
    struct world world = {0};
    int result = open_world(&world);
    if (result == 0) {
        call_twice(&world);
    }
    ck_assert(!world.is_late);
    sl_http_client_close(world.client);
    if (world.server != NULL) {
        sl_http_server_stop(world.server, 0, NULL, NULL);
    }
    uv_close((uv_handle_t *) &world.guard, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&world.loop), 0);
    return result == 0 && world.answer_count == 2;
}

START_TEST(calls_end_whichever_allocation_fails)
{
    int answered_count = 0;
    int failed_count = 0;
    for (long countdown = 1; countdown < 60; countdown++) {
        sl_memory_fail_after(countdown);
        bool is_answered = run_world();
        sl_memory_fail_after(0);
        answered_count += is_answered ? 1 : 0;
        failed_count += is_answered ? 0 : 1;
    }
    ck_assert_int_gt(failed_count, 5);
    ck_assert_int_gt(answered_count, 5);
    ck_assert(run_world());
}
END_TEST

UNIT_MAIN("memory", calls_end_whichever_allocation_fails)
