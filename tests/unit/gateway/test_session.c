#include "gateway/session.h"

#include <stdio.h>
#include <string.h>

#include "support/unit.h"
#include "wire/sse.h"

/* A stream whose socket is a buffer. `is_stuck`: the client takes nothing, all is queued. */
struct client {
    struct sl_session session; /* first */
    struct sl_sse_parser parser;
    struct sl_buffer queue;
    char seen[2000]; /* "type=data-id;" of each event that got through */
    bool is_stuck;
    int lag_count;
    int end; /* enum sl_session_end, or -1 */
};

static void see(void *context, const struct sl_sse_dispatch *event)
{
    struct client *client = context;
    size_t size = strlen(client->seen);
    /* What follows the epoch and the place of the key. */
    const char *id = event->id.size > 17 ? event->id.data + 17 : NULL;
    int id_size = id == NULL ? 0 : (int) (event->id.data + event->id.size - id);
    snprintf(client->seen + size, sizeof(client->seen) - size, "%.*s%.*s;",
        (int) event->type.size, event->type.data, id_size, id == NULL ? "" : id);
}

static void flush(struct client *client)
{
    ck_assert_int_eq(sl_sse_parser_take(&client->parser,
                         client->queue.data == NULL ? "" : client->queue.data,
                         client->queue.size, see, client), 0);
    sl_buffer_clear(&client->queue);
}

static int send_frame(struct sl_session *session, struct sl_frame *frame, bool is_event)
{
    struct client *client = (struct client *) session;
    (void) is_event;
    ck_assert_int_eq(client->end, -1);
    ck_assert_int_eq(sl_buffer_append(&client->queue, frame->bytes + frame->data_offset,
                         frame->data_size), 0);
    if (!client->is_stuck) {
        flush(client);
    }
    return 0;
}

static size_t queued_of(const struct sl_session *session)
{
    return ((const struct client *) session)->queue.size;
}

static void drop_queued(struct sl_session *session)
{
    sl_buffer_clear(&((struct client *) session)->queue);
}

static void end_session(struct sl_session *session, enum sl_session_end end)
{
    ((struct client *) session)->end = (int) end;
}

static void count_lag(struct sl_session *session)
{
    ((struct client *) session)->lag_count++;
}

static const struct sl_session_sink sink = {
    .send = send_frame,
    .queued = queued_of,
    .drop_queued = drop_queued,
    .end = end_session,
    .on_lagged = count_lag,
};

static void open_client(struct client *client)
{
    *client = (struct client) {.end = -1};
    client->session.sink = &sink;
    client->session.queue_size_max = 300;
    sl_buffer_init(&client->queue, 100000);
    sl_sse_parser_init(&client->parser, 10000);
}

static void close_client(struct client *client)
{
    sl_session_close(&client->session);
    sl_session_close(&client->session);
    sl_sse_parser_deinit(&client->parser);
    sl_buffer_deinit(&client->queue);
}

static void open_hub(struct sl_hub *hub)
{
    sl_hub_init(hub, "orders", "1a2b3c4d", 5, 1000000);
    sl_hub_set_partition_count(hub, 1);
    ck_assert_int_eq(sl_hub_set_start(hub, 0, 0), 0);
}

static void publish(struct sl_hub *hub, int64_t offset, int64_t version, const char *type)
{
    struct sl_hub_record record = {.key = SL_TEXT("k"), .type = sl_text_of(type),
        .payload = SL_TEXT("{}"), .offset = offset, .version = version,
        .is_final = strcmp(type, "done") == 0};
    ck_assert_int_eq(sl_hub_publish(hub, &record), 0);
}

static enum sl_session_begin begin(
    struct client *client, struct sl_hub *hub, const char *id_text, bool has_snapshots)
{
    enum sl_session_begin begun;
    struct sl_event_id id;
    enum sl_session_id kind = SL_SESSION_ID_NONE;
    if (id_text != NULL) {
        kind = sl_event_id_parse(sl_text_of(id_text), &id) ? SL_SESSION_ID_PARSED
                                                           : SL_SESSION_ID_FOREIGN;
    }
    ck_assert_int_eq(sl_session_begin(&client->session, hub, SL_TEXT("k"), kind, &id,
                         has_snapshots, &begun), 0);
    return begun;
}

static bool take_snapshot(struct client *client, int64_t version, const char *type)
{
    struct sl_snapshot snapshot = {
        sl_text_of(type), SL_TEXT("{}"), version, strcmp(type, "done") == 0};
    return sl_session_take_snapshot(&client->session, &snapshot);
}

START_TEST(an_event_between_registration_and_snapshot_is_not_lost)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 1, "accepted");
    ck_assert_int_eq(begin(&client, &hub, NULL, true), SL_SESSION_NEEDS_SNAPSHOT);
    /* The snapshot was read before this event, and arrives after it. */
    publish(&hub, 1, 2, "paid");
    ck_assert(take_snapshot(&client, 1, "accepted"));
    publish(&hub, 2, 3, "sent");
    ck_assert_str_eq(client.seen, "accepted-0-0-1;paid-0-1-2;sent-0-2-3;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(an_event_between_registration_and_snapshot_is_not_lost_without_versions)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, -1, "accepted");
    ck_assert_int_eq(begin(&client, &hub, NULL, true), SL_SESSION_NEEDS_SNAPSHOT);
    publish(&hub, 1, -1, "paid");
    ck_assert(take_snapshot(&client, -1, "accepted"));
    publish(&hub, 2, -1, "sent");
    ck_assert_str_eq(client.seen, "accepted-0-0-n;paid-0-1-n;sent-0-2-n;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(what_the_snapshot_has_already_is_not_sent_again)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    begin(&client, &hub, NULL, true);
    publish(&hub, 0, 1, "accepted");
    publish(&hub, 1, 2, "paid");
    ck_assert(take_snapshot(&client, 2, "paid"));
    publish(&hub, 2, 2, "paid");
    publish(&hub, 3, 3, "sent");
    ck_assert_str_eq(client.seen, "paid-0-n-2;sent-0-3-3;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_snapshot_from_a_copy_that_lags_behind_is_made_up_for)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 1, "accepted");
    publish(&hub, 1, 2, "paid");
    begin(&client, &hub, NULL, true);
    ck_assert(take_snapshot(&client, 1, "accepted"));
    ck_assert_str_eq(client.seen, "accepted-0-1-1;paid-0-1-2;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_final_event_ends_the_stream_and_its_ids_say_so)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    begin(&client, &hub, NULL, true);
    publish(&hub, 0, 1, "accepted");
    ck_assert(take_snapshot(&client, 1, "accepted"));
    publish(&hub, 1, 2, "done");
    publish(&hub, 2, 3, "after");
    ck_assert_ptr_nonnull(strstr(client.seen, ";done-0-1-2-f;end-0-1-2-f;"));
    ck_assert_ptr_null(strstr(client.seen, "after"));
    ck_assert_int_eq(client.end, SL_SESSION_FINAL);
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_final_snapshot_ends_the_stream)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 5, "done");
    begin(&client, &hub, NULL, true);
    ck_assert(take_snapshot(&client, 5, "done"));
    ck_assert_str_eq(client.seen, "done-0-0-5-f;end-0-0-5-f;");
    ck_assert_int_eq(client.end, SL_SESSION_FINAL);
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_client_that_comes_back_gets_exactly_what_it_missed)
{
    struct sl_hub hub;
    open_hub(&hub);
    for (int64_t offset = 0; offset < 8; offset++) {
        publish(&hub, offset, offset + 1, "step");
    }
    struct client client;
    open_client(&client);
    ck_assert_int_eq(begin(&client, &hub, "1a2b3c4d-752a21d6-0-5-6", true), SL_SESSION_RESUMES);
    ck_assert(sl_session_start(&client.session));
    publish(&hub, 8, 9, "step");
    ck_assert_str_eq(client.seen, "step-0-6-7;step-0-7-8;step-0-8-9;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(who_was_away_for_too_long_is_reset_and_begins_with_the_snapshot)
{
    static const char *const ids[] = {"1a2b3c4d-752a21d6-0-1-2", "ffffffff-752a21d6-0-7-8",
        "1a2b3c4d-752a21d6-0-99-100", "1a2b3c4d-752a21d6-1-7-8", "what is this"};
    struct sl_hub hub;
    open_hub(&hub);
    for (int64_t offset = 0; offset < 8; offset++) {
        publish(&hub, offset, offset + 1, "step");
    }
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct client client;
        open_client(&client);
        ck_assert_int_eq(begin(&client, &hub, ids[i], true), SL_SESSION_NEEDS_SNAPSHOT);
        ck_assert(take_snapshot(&client, 8, "step"));
        ck_assert_str_eq(client.seen, "reset;step-0-7-8;");
        close_client(&client);
    }
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_snapshot_that_took_longer_than_the_ring_lasts_is_asked_for_again)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    begin(&client, &hub, NULL, true);
    for (int64_t offset = 0; offset < 9; offset++) {
        publish(&hub, offset, offset + 1, "step");
    }
    ck_assert(!take_snapshot(&client, 1, "step"));
    ck_assert_str_eq(client.seen, "");
    ck_assert(take_snapshot(&client, 9, "step"));
    ck_assert_str_eq(client.seen, "step-0-8-9;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_resume_whose_events_went_while_it_was_checked_becomes_a_reset)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 1, "step");
    ck_assert_int_eq(begin(&client, &hub, "1a2b3c4d-752a21d6-0-0-1", true), SL_SESSION_RESUMES);
    for (int64_t offset = 1; offset < 9; offset++) {
        publish(&hub, offset, offset + 1, "step");
    }
    ck_assert(!sl_session_start(&client.session));
    ck_assert(take_snapshot(&client, 9, "step"));
    ck_assert_str_eq(client.seen, "reset;step-0-8-9;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(without_snapshots_nothing_of_before_is_sent_whatever_its_version)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 1, "before");
    publish(&hub, 1, 2, "before");
    ck_assert_int_eq(begin(&client, &hub, NULL, false), SL_SESSION_STARTS_LIVE);
    ck_assert(sl_session_start(&client.session));
    publish(&hub, 2, 3, "after");
    ck_assert_str_eq(client.seen, "after-0-2-3;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_route_without_snapshots_starts_live_with_a_place_to_come_back_to)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, -1, "before");
    ck_assert_int_eq(begin(&client, &hub, NULL, false), SL_SESSION_STARTS_LIVE);
    ck_assert(sl_session_start(&client.session));
    ck_assert_str_eq(client.seen, "");
    ck_assert_str_eq(client.parser.id.data, "1a2b3c4d-752a21d6-0-0-n");
    publish(&hub, 1, -1, "after");
    ck_assert_str_eq(client.seen, "after-0-1-n;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_slow_client_is_told_that_it_lagged_and_gets_the_latest_state)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 1, "step");
    begin(&client, &hub, NULL, true);
    ck_assert(take_snapshot(&client, 1, "step"));
    client.is_stuck = true;
    for (int64_t offset = 1; offset < 30; offset++) {
        publish(&hub, offset, offset + 1, "step");
        ck_assert_uint_le(client.queue.size, 300);
    }
    ck_assert_int_gt(client.lag_count, 0);
    client.is_stuck = false;
    flush(&client);
    sl_session_on_drain(&client.session);
    publish(&hub, 30, 31, "step");
    const char *lagged = strstr(client.seen, "lagged");
    ck_assert_ptr_nonnull(lagged);
    ck_assert_ptr_nonnull(strstr(lagged, "step-0-30-31;"));
    ck_assert_ptr_nonnull(strstr(lagged, "-30;"));
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_final_event_reaches_a_client_that_lagged)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    client.session.queue_size_max = 10;
    publish(&hub, 0, 1, "step");
    begin(&client, &hub, NULL, true);
    client.is_stuck = true;
    ck_assert(take_snapshot(&client, 1, "step"));
    publish(&hub, 1, 2, "done");
    client.is_stuck = false;
    flush(&client);
    sl_session_on_drain(&client.session);
    ck_assert_ptr_nonnull(strstr(client.seen, "lagged"));
    ck_assert_ptr_nonnull(strstr(client.seen, "done-0-1-2-f;end-0-1-2-f;"));
    ck_assert_int_eq(client.end, SL_SESSION_FINAL);
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_replaced_stream_hears_it_with_a_marked_id_and_ends)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    client.session.generation = 0xab;
    publish(&hub, 0, 1, "step");
    begin(&client, &hub, NULL, true);
    ck_assert(take_snapshot(&client, 1, "step"));
    sl_session_replace(&client.session);
    publish(&hub, 1, 2, "step");
    ck_assert_str_eq(client.seen, "step-0-0-1-gab;replaced-0-0-1-gab-r;");
    ck_assert_int_eq(client.end, SL_SESSION_REPLACED);
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_loss_cuts_the_stream_so_that_the_client_comes_back)
{
    struct sl_hub hub;
    struct client client;
    open_hub(&hub);
    open_client(&client);
    publish(&hub, 0, 1, "step");
    begin(&client, &hub, NULL, true);
    ck_assert(take_snapshot(&client, 1, "step"));
    publish(&hub, 7, 8, "step");
    ck_assert_str_eq(client.seen, "step-0-0-1;");
    ck_assert_int_eq(client.end, SL_SESSION_LOST);
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

START_TEST(a_client_from_before_the_topics_first_event_resumes_with_all_of_them)
{
    struct sl_hub hub;
    struct client client;
    sl_hub_init(&hub, "orders", "1a2b3c4d", 5, 1000000);
    open_client(&client);
    begin(&client, &hub, NULL, true);
    ck_assert(take_snapshot(&client, 1, "accepted"));
    ck_assert_str_eq(client.seen, "accepted-n-n-1;");
    close_client(&client);
    sl_hub_set_partition_count(&hub, 1);
    publish(&hub, 0, 2, "paid");
    open_client(&client);
    ck_assert_int_eq(begin(&client, &hub, "1a2b3c4d-752a21d6-n-n-1", true), SL_SESSION_RESUMES);
    ck_assert(sl_session_start(&client.session));
    ck_assert_str_eq(client.seen, "paid-0-0-2;");
    close_client(&client);
    sl_hub_deinit(&hub);
}
END_TEST

UNIT_MAIN("session", an_event_between_registration_and_snapshot_is_not_lost,
    an_event_between_registration_and_snapshot_is_not_lost_without_versions,
    what_the_snapshot_has_already_is_not_sent_again,
    a_snapshot_from_a_copy_that_lags_behind_is_made_up_for,
    a_final_event_ends_the_stream_and_its_ids_say_so, a_final_snapshot_ends_the_stream,
    a_client_that_comes_back_gets_exactly_what_it_missed,
    who_was_away_for_too_long_is_reset_and_begins_with_the_snapshot,
    a_snapshot_that_took_longer_than_the_ring_lasts_is_asked_for_again,
    a_resume_whose_events_went_while_it_was_checked_becomes_a_reset,
    without_snapshots_nothing_of_before_is_sent_whatever_its_version,
    a_route_without_snapshots_starts_live_with_a_place_to_come_back_to,
    a_slow_client_is_told_that_it_lagged_and_gets_the_latest_state,
    a_final_event_reaches_a_client_that_lagged,
    a_replaced_stream_hears_it_with_a_marked_id_and_ends,
    a_loss_cuts_the_stream_so_that_the_client_comes_back,
    a_client_from_before_the_topics_first_event_resumes_with_all_of_them)
