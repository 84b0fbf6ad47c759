/* The server and the client of one loop, talking to each other. */
#include "http/server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/url.h"
#include "http/client.h"
#include "support/unit.h"

struct world {
    uv_loop_t loop;
    struct sl_http_server *server;
    struct sl_http_client *client;
    struct sl_http_url url;
    void (*serve)(struct world *world, struct sl_exchange *exchange);
    struct sl_exchange *exchange;
    enum sl_exchange_end exchange_end;
    int close_count;
    int body_end_count;
    int drain_count;
    struct sl_buffer request_body;
    int status;
    struct sl_buffer answer;
    int end_count;
    int fail_count;
    enum sl_call_failure failure;
    bool is_stopped;
};

static void on_request(void *context, struct sl_exchange *exchange)
{
    struct world *world = context;
    world->serve(world, exchange);
}

static void on_stopped(void *context)
{
    ((struct world *) context)->is_stopped = true;
}

static void open_world(struct world *world,
    void (*serve)(struct world *world, struct sl_exchange *exchange),
    struct sl_http_server_options options)
{
    static const char *const address = "127.0.0.1:0";
    struct sluice_error error;
    *world = (struct world) {.serve = serve};
    options.addresses = &address;
    options.address_count = 1;
    options.on_request = on_request;
    options.context = world;
    ck_assert_int_eq(uv_loop_init(&world->loop), 0);
    ck_assert_int_eq(sl_http_server_open(&world->loop, &options, &world->server, &error), 0);
    ck_assert_int_eq(sl_http_client_open(&world->loop, NULL, &world->client, &error), 0);
    ck_assert(sl_url_parse_http(sl_text_of(sl_http_server_url(world->server, 0)), &world->url));
    sl_buffer_init(&world->answer, 100000000);
    sl_buffer_init(&world->request_body, 100000000);
}

static void close_world(struct world *world)
{
    sl_http_client_close(world->client);
    sl_http_server_stop(world->server, 0, on_stopped, world);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    ck_assert(world->is_stopped);
    ck_assert_int_eq(uv_loop_close(&world->loop), 0);
    sl_buffer_deinit(&world->answer);
    sl_buffer_deinit(&world->request_body);
}

static void on_head(void *context, const struct sl_http1_response *response)
{
    ((struct world *) context)->status = response->status;
}

static void on_body(void *context, const char *data, size_t size)
{
    struct world *world = context;
    ck_assert_int_eq(sl_buffer_append(&world->answer, data, size), 0);
}

static void on_end(void *context)
{
    ((struct world *) context)->end_count++;
}

static void on_fail(
    void *context, enum sl_call_failure failure, const struct sluice_error *error)
{
    struct world *world = context;
    ck_assert_ptr_nonnull(error);
    world->fail_count++;
    world->failure = failure;
}

static const struct sl_call_handlers call_handlers = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static struct sl_call *start(struct world *world, const char *method, int64_t content_length)
{
    struct sl_call *call;
    struct sluice_error error;
    const struct sl_http1_header host = {SL_TEXT("Host"), SL_TEXT("localhost")};
    struct sl_call_request request = {
        .host = world->url.host,
        .port = world->url.port,
        .method = sl_text_of(method),
        .target = SL_TEXT("/x"),
        .headers = &host,
        .header_count = 1,
        .content_length = content_length,
        .handlers = &call_handlers,
        .context = world,
    };
    ck_assert_int_eq(sl_call_start(world->client, &request, &call, &error), 0);
    return call;
}

static void run_until_over(struct world *world, int count)
{
    while (world->end_count + world->fail_count < count) {
        ck_assert_int_ne(uv_run(&world->loop, UV_RUN_ONCE), 0);
    }
}

static void serve_at_once(struct world *world, struct sl_exchange *exchange)
{
    (void) world;
    ck_assert(sl_exchange_is_path(exchange, "/x"));
    ck_assert_str_eq(sl_exchange_client(exchange), "127.0.0.1");
    ck_assert(sl_text_equal(sl_exchange_header(exchange, "HOST"), SL_TEXT("localhost")));
    sl_exchange_respond(exchange, 200, "text/plain", "hello", 5);
    sl_exchange_respond(exchange, 500, "text/plain", "twice", 5);
}

START_TEST(requests_share_a_kept_connection)
{
    struct world world;
    struct sl_http_server_stats stats;
    open_world(&world, serve_at_once, (struct sl_http_server_options) {0});
    for (int i = 1; i <= 5; i++) {
        start(&world, "GET", 0);
        run_until_over(&world, i);
    }
    ck_assert_int_eq(world.status, 200);
    ck_assert_str_eq(world.answer.data, "hellohellohellohellohello");
    sl_http_server_stats(world.server, &stats);
    ck_assert_uint_eq(stats.connections_opened, 1);
    ck_assert_uint_eq(stats.requests, 5);
    size_t open;
    size_t idle;
    sl_http_client_counts(world.client, &open, &idle);
    ck_assert_uint_eq(open, 1);
    ck_assert_uint_eq(idle, 1);
    close_world(&world);
}
END_TEST

static void keep_body(void *context, const char *data, size_t size)
{
    struct world *world = context;
    ck_assert_int_eq(sl_buffer_append(&world->request_body, data, size), 0);
}

static void answer_body(void *context)
{
    struct world *world = context;
    world->body_end_count++;
    sl_exchange_respond(world->exchange, 201, NULL, world->request_body.data,
        world->request_body.size);
}

static void note_drain(void *context)
{
    ((struct world *) context)->drain_count++;
}

static void note_close(void *context, enum sl_exchange_end end)
{
    struct world *world = context;
    world->close_count++;
    world->exchange_end = end;
    world->exchange = NULL;
}

static const struct sl_exchange_handlers exchange_handlers = {
    .on_body = keep_body,
    .on_body_end = answer_body,
    .on_drain = note_drain,
    .on_close = note_close,
};

static void serve_echo(struct world *world, struct sl_exchange *exchange)
{
    world->exchange = exchange;
    sl_exchange_set_handlers(exchange, &exchange_handlers, world);
}

static void send_body(struct world *world, int64_t announced)
{
    struct sl_call *call = start(world, "POST", announced);
    ck_assert_int_eq(sl_call_write(call, "0123456789", 10), 0);
    while (world->exchange == NULL) {
        uv_run(&world->loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(sl_call_write(call, "abcdefghij", 10), 0);
    ck_assert_int_eq(sl_call_write(call, "", 0), 0);
    if (announced > 0) {
        ck_assert_int_eq(sl_call_write(call, "too much", 8), -1);
    }
    sl_call_finish(call);
    run_until_over(world, 1);
    ck_assert_int_eq(world->status, 201);
    ck_assert_str_eq(world->answer.data, "0123456789abcdefghij");
    ck_assert_int_eq(world->body_end_count, 1);
    while (world->close_count == 0) {
        uv_run(&world->loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(world->exchange_end, SL_EXCHANGE_DONE);
}

START_TEST(bodies_come_with_a_length_and_in_chunks)
{
    for (int64_t announced = -1; announced <= 20; announced += 21) {
        struct world world;
        open_world(&world, serve_echo, (struct sl_http_server_options) {0});
        send_body(&world, announced);
        close_world(&world);
    }
}
END_TEST

static void serve_in_parts(struct world *world, struct sl_exchange *exchange)
{
    static const struct sl_exchange_handlers handlers = {
        .on_drain = note_drain, .on_close = note_close};
    struct sl_http_response response = {.status = 200, .content_length = 10};
    struct sl_http1_header bad[] = {{SL_TEXT("Transfer-Encoding"), SL_TEXT("chunked")},
        {SL_TEXT("X"), SL_TEXT("a\r\nb")}};
    world->exchange = exchange;
    sl_exchange_set_handlers(exchange, &handlers, world);
    for (size_t i = 0; i < 2; i++) {
        struct sl_http_response refused = {.status = 200, .headers = &bad[i], .header_count = 1};
        ck_assert_int_eq(sl_exchange_start(exchange, &refused), -1);
    }
    ck_assert_int_eq(sl_exchange_write(exchange, "early", 5), -1);
    ck_assert_int_eq(sl_exchange_start(exchange, &response), 0);
    ck_assert_ptr_null(sl_exchange_request(exchange));
    ck_assert_int_eq(sl_exchange_start(exchange, &response), -1);
    ck_assert_int_eq(sl_exchange_write(exchange, "01234", 5), 0);
    ck_assert_int_eq(sl_exchange_write(exchange, "012345", 6), -1);
    ck_assert_int_eq(sl_exchange_write(exchange, "56789", 5), 0);
    sl_exchange_finish(exchange);
    ck_assert_int_eq(sl_exchange_write(exchange, "late", 4), -1);
}

START_TEST(a_counted_answer_is_held_to_its_length)
{
    struct world world;
    open_world(&world, serve_in_parts, (struct sl_http_server_options) {0});
    start(&world, "GET", 0);
    run_until_over(&world, 1);
    ck_assert_str_eq(world.answer.data, "0123456789");
    ck_assert_int_eq(world.end_count, 1);
    close_world(&world);
}
END_TEST

static void serve_short(struct world *world, struct sl_exchange *exchange)
{
    struct sl_http_response response = {.status = 200, .content_length = 10};
    (void) world;
    ck_assert_int_eq(sl_exchange_start(exchange, &response), 0);
    ck_assert_int_eq(sl_exchange_write(exchange, "01234", 5), 0);
    sl_exchange_finish(exchange);
}

START_TEST(an_answer_shorter_than_its_length_is_cut_and_not_ended)
{
    struct world world;
    open_world(&world, serve_short, (struct sl_http_server_options) {0});
    start(&world, "GET", 0);
    run_until_over(&world, 1);
    ck_assert_int_eq(world.fail_count, 1);
    ck_assert_int_eq(world.failure, SL_CALL_CUT);
    close_world(&world);
}
END_TEST

static void serve_stream(struct world *world, struct sl_exchange *exchange)
{
    static const struct sl_exchange_handlers handlers = {
        .on_drain = note_drain, .on_close = note_close};
    struct sl_http_response response = {.status = 200, .content_length = -1};
    world->exchange = exchange;
    sl_exchange_set_handlers(exchange, &handlers, world);
    ck_assert_int_eq(sl_exchange_start(exchange, &response), 0);
}

START_TEST(a_queue_has_its_limit_and_tells_when_it_is_drained)
{
    struct world world;
    struct sl_call *call;
    static char piece[65536];
    size_t written = 0;
    open_world(&world, serve_stream,
        (struct sl_http_server_options) {.queue_size_max = 200000});
    call = start(&world, "GET", 0);
    while (world.status == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    sl_call_pause(call, true);
    sl_exchange_mark_stream(world.exchange, 65536);
    while (sl_exchange_write(world.exchange, piece, sizeof(piece)) == 0) {
        written += sizeof(piece);
        ck_assert_uint_le(sl_exchange_queued(world.exchange), 200000 + sizeof(piece) + 20);
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    /* The kernel may have let it drain on the way; from here on it is full. */
    world.drain_count = 0;
    sl_call_pause(call, false);
    while (world.drain_count == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    ck_assert_uint_eq(sl_exchange_queued(world.exchange), 0);
    sl_exchange_finish(world.exchange);
    run_until_over(&world, 1);
    ck_assert_int_eq(world.end_count, 1);
    ck_assert_uint_eq(world.answer.size, written);
    close_world(&world);
}
END_TEST

START_TEST(dropping_a_queue_keeps_the_frame_that_is_partly_out)
{
    struct world world;
    struct sl_call *call;
    open_world(&world, serve_stream, (struct sl_http_server_options) {0});
    call = start(&world, "GET", 0);
    while (world.status == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    sl_call_pause(call, true);
    sl_exchange_mark_stream(world.exchange, 65536);
    struct sl_buffer text;
    sl_buffer_init(&text, 40000);
    for (int i = 0; i < 4000; i++) {
        ck_assert_int_eq(sl_buffer_append_format(&text, "%09d\n", i), 0);
    }
    struct sl_frame *frame = sl_frame_new(text.data, text.size);
    size_t frame_count = 0;
    while (sl_exchange_queued(world.exchange) < 100000) {
        ck_assert_int_eq(sl_exchange_write_frame(world.exchange, frame), 0);
        frame_count++;
    }
    ck_assert_uint_gt(sl_exchange_drop_queued(world.exchange), 0);
    ck_assert_uint_le(sl_exchange_queued(world.exchange), frame->size);
    sl_exchange_finish(world.exchange);
    sl_call_pause(call, false);
    run_until_over(&world, 1);
    /* What arrives is whole frames: a frame that was cut would break the chunked coding. */
    ck_assert_int_eq(world.end_count, 1);
    ck_assert_uint_eq(world.answer.size % text.size, 0);
    ck_assert_uint_lt(world.answer.size, frame_count * text.size);
    sl_frame_unref(frame);
    sl_buffer_deinit(&text);
    close_world(&world);
}
END_TEST

START_TEST(a_call_that_is_given_up_ends_the_exchange)
{
    struct world world;
    open_world(&world, serve_stream, (struct sl_http_server_options) {0});
    struct sl_call *call = start(&world, "GET", 0);
    while (world.status == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    sl_call_cancel(call);
    while (world.close_count == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(world.exchange_end, SL_EXCHANGE_CLIENT_GONE);
    ck_assert_int_eq(world.end_count + world.fail_count, 0);
    close_world(&world);
}
END_TEST

START_TEST(a_server_that_stops_cuts_what_does_not_end_in_time)
{
    struct world world;
    open_world(&world, serve_stream, (struct sl_http_server_options) {0});
    start(&world, "GET", 0);
    while (world.status == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    sl_http_server_stop(world.server, 50, on_stopped, &world);
    run_until_over(&world, 1);
    ck_assert_int_eq(world.failure, SL_CALL_CUT);
    while (!world.is_stopped) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(world.exchange_end, SL_EXCHANGE_STOPPED);
    sl_http_client_close(world.client);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&world.loop), 0);
    sl_buffer_deinit(&world.answer);
    sl_buffer_deinit(&world.request_body);
}
END_TEST

static void hold(struct world *world, struct sl_exchange *exchange)
{
    static const struct sl_exchange_handlers handlers = {.on_close = note_close};
    ck_assert_ptr_null(world->exchange);
    world->exchange = exchange;
    sl_exchange_set_handlers(exchange, &handlers, world);
}

START_TEST(calls_over_the_limit_wait_for_their_turn)
{
    struct world world;
    struct sluice_error error;
    const struct sl_http_client_options options = {.calls_max = 1};
    open_world(&world, hold, (struct sl_http_server_options) {0});
    sl_http_client_close(world.client);
    ck_assert_int_eq(sl_http_client_open(&world.loop, &options, &world.client, &error), 0);
    start(&world, "GET", 0);
    struct sl_call *second = start(&world, "GET", 0);
    start(&world, "GET", 0);
    for (int i = 1; i <= 2; i++) {
        /* `hold` checks that no other request comes while one is held. */
        while (world.exchange == NULL) {
            uv_run(&world.loop, UV_RUN_ONCE);
        }
        sl_exchange_respond(world.exchange, 200, NULL, "x", 1);
        sl_call_cancel(i == 1 ? second : NULL);
        run_until_over(&world, i);
    }
    ck_assert_int_eq(world.end_count, 2);
    close_world(&world);
}
END_TEST

/* A client that sends what it is told, and what it gets until the server closes. */
static void talk(struct world *world, const char *said, struct sl_buffer *ret_heard)
{
    struct sockaddr_in address;
    char data[4096];
    ssize_t size;
    ck_assert_int_eq(uv_ip4_addr("127.0.0.1", world->url.port, &address), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
    ck_assert_int_eq(send(fd, said, strlen(said), 0), (ssize_t) strlen(said));
    while ((size = recv(fd, data, sizeof(data), MSG_DONTWAIT)) != 0) {
        if (size > 0) {
            ck_assert_int_eq(sl_buffer_append(ret_heard, data, (size_t) size), 0);
        }
        uv_run(&world->loop, UV_RUN_ONCE);
    }
    close(fd);
}

static void check_timeout(const char *said, const char *expected,
    struct sl_http_server_options options,
    void (*serve)(struct world *world, struct sl_exchange *exchange))
{
    struct world world;
    struct sl_buffer heard;
    sl_buffer_init(&heard, 100000);
    open_world(&world, serve, options);
    talk(&world, said, &heard);
    ck_assert_msg(heard.size >= strlen(expected) &&
                      strncmp(heard.data == NULL ? "" : heard.data, expected,
                          strlen(expected)) == 0,
        "%s", heard.data);
    ck_assert(expected[0] != '\0' || heard.size == 0);
    close_world(&world);
    sl_buffer_deinit(&heard);
}

START_TEST(a_head_a_body_and_the_next_request_must_come_in_time)
{
    const struct sl_http_server_options options = {
        .head_timeout_ms = 50, .body_timeout_ms = 50, .idle_timeout_ms = 50};
    check_timeout("GET / HTTP/1.1\r\nHost:", "HTTP/1.1 408 ", options, serve_at_once);
    check_timeout("", "", options, serve_at_once);
    check_timeout("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        "HTTP/1.1 408 ", options, serve_echo);
    check_timeout("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 ", options,
        serve_at_once);
}
END_TEST

START_TEST(a_body_over_the_limit_is_refused_however_it_is_framed)
{
    const struct sl_http_server_options options = {.body_size_max = 10};
    check_timeout("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", "HTTP/1.1 413 ",
        options, serve_echo);
    check_timeout("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "6\r\nabcdef\r\n6\r\nabcdef\r\n",
        "HTTP/1.1 413 ", options, serve_echo);
}
END_TEST

START_TEST(a_client_that_takes_nothing_is_cut)
{
    struct world world;
    static char piece[65536];
    open_world(&world, serve_stream,
        (struct sl_http_server_options) {.stream_write_timeout_ms = 50});
    struct sl_call *call = start(&world, "GET", 0);
    while (world.status == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    sl_call_pause(call, true);
    sl_exchange_mark_stream(world.exchange, 65536);
    while (world.close_count == 0) {
        if (world.exchange != NULL) {
            (void) !sl_exchange_write(world.exchange, piece, sizeof(piece));
        }
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(world.exchange_end, SL_EXCHANGE_TIMEOUT);
    sl_call_cancel(call);
    close_world(&world);
}
END_TEST

START_TEST(an_address_that_is_none_or_taken_is_an_error_that_names_it)
{
    struct world world;
    struct sluice_error error;
    struct sl_http_server *server;
    open_world(&world, serve_at_once, (struct sl_http_server_options) {0});
    const char *addresses[] = {"nonsense", "host.example:80", "127.0.0.1:99999",
        sl_http_server_url(world.server, 0) + strlen("http://")};
    for (size_t i = 0; i < 4; i++) {
        struct sl_http_server_options options = {.addresses = &addresses[i], .address_count = 1,
            .on_request = on_request};
        ck_assert_int_eq(sl_http_server_open(&world.loop, &options, &server, &error), -1);
        ck_assert_ptr_nonnull(strstr(error.text, addresses[i]));
    }
    close_world(&world);
}
END_TEST

UNIT_MAIN("server", requests_share_a_kept_connection, bodies_come_with_a_length_and_in_chunks,
    a_counted_answer_is_held_to_its_length,
    an_answer_shorter_than_its_length_is_cut_and_not_ended,
    a_queue_has_its_limit_and_tells_when_it_is_drained,
    dropping_a_queue_keeps_the_frame_that_is_partly_out,
    a_call_that_is_given_up_ends_the_exchange,
    a_server_that_stops_cuts_what_does_not_end_in_time,
    calls_over_the_limit_wait_for_their_turn,
    a_head_a_body_and_the_next_request_must_come_in_time,
    a_body_over_the_limit_is_refused_however_it_is_framed, a_client_that_takes_nothing_is_cut,
    an_address_that_is_none_or_taken_is_an_error_that_names_it)
