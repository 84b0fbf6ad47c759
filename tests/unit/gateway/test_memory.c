/*
 * What a stream makes of memory that runs out, at each allocation in turn: it tells everything, or
 * it ends so that the client knows. It never goes on in silence.
 */
#include "base/memory.h"

#include <string.h>

#include "gateway/owners.h"
#include "gateway/session.h"
#include "support/unit.h"

/* A client without allocations of its own. */
struct client {
    struct sl_session session; /* first */
    char seen[4096];
    size_t size;
    int end;
};

static int send_frame(struct sl_session *session, struct sl_frame *frame, bool is_event)
{
    struct client *client = (struct client *) session;
    (void) is_event;
    ck_assert_uint_lt(client->size + frame->data_size, sizeof(client->seen));
    memcpy(client->seen + client->size, frame->bytes + frame->data_offset, frame->data_size);
    client->size += frame->data_size;
    return 0;
}

static size_t queued_of(const struct sl_session *session)
{
    (void) session;
    return 0;
}

static void ignore(struct sl_session *session)
{
    (void) session;
}

static void end_session(struct sl_session *session, enum sl_session_end end)
{
    ((struct client *) session)->end = (int) end;
}

static const struct sl_session_sink sink = {
    .send = send_frame,
    .queued = queued_of,
    .drop_queued = ignore,
    .end = end_session,
    .on_lagged = ignore,
};

static int publish(struct sl_hub *hub, int64_t offset, const char *type)
{
    struct sl_hub_record record = {.key = SL_TEXT("k"), .type = sl_text_of(type),
        .payload = SL_TEXT("{}"), .offset = offset, .version = offset + 1};
    return sl_hub_publish(hub, &record);
}

/* Open, miss, snapshot, live. True if the client began and neither was told nor ended. */
static bool is_left_in_silence(uint64_t generation)
{
    struct sl_hub hub;
    struct client client = {.end = -1};
    enum sl_session_begin begun;
    struct sl_snapshot snapshot = {SL_TEXT("zero"), SL_TEXT("{}"), 1, false};
    bool is_silent = false;
    client.session.sink = &sink;
    client.session.generation = generation;
    client.session.queue_size_max = 100000;
    sl_hub_init(&hub, "orders", "1a2b3c4d", 100, 100000);
    sl_hub_set_partition_count(&hub, 1);
    (void) publish(&hub, 0, "zero");
    if (sl_session_begin(&client.session, &hub, SL_TEXT("k"), SL_SESSION_ID_NONE, NULL, true,
            &begun) == 0) {
        (void) publish(&hub, 1, "one");
        bool is_taken = sl_session_take_snapshot(&client.session, &snapshot);
        (void) publish(&hub, 2, "two");
        bool has_all = strstr(client.seen, "event: one") != NULL &&
                       strstr(client.seen, "event: two") != NULL;
        is_silent = is_taken && !has_all && client.end != SL_SESSION_LOST;
    }
    sl_session_close(&client.session);
    sl_hub_deinit(&hub);
    return is_silent;
}

START_TEST(a_stream_that_loses_an_event_to_memory_is_cut_and_not_silent)
{
    for (uint64_t generation = 0; generation < 2; generation++) {
        for (long countdown = 1; countdown < 100; countdown++) {
            sl_memory_fail_after(countdown);
            bool is_silent = is_left_in_silence(generation);
            sl_memory_fail_after(0);
            ck_assert_msg(!is_silent, "allocation %ld", countdown);
        }
        ck_assert(!is_left_in_silence(generation));
    }
}
END_TEST

START_TEST(an_owner_keeps_its_place_when_memory_runs_out)
{
    static int first, second;
    struct sl_owners owners;
    uint64_t generation = 0;
    void *replaced = NULL;
    sl_owners_init(&owners);
    ck_assert_int_eq(sl_owners_claim(&owners, SL_TEXT("a"), SL_TEXT("k"), 0, 1, &first,
                         &generation, &replaced), 1);
    for (long countdown = 1; countdown < 20; countdown++) {
        sl_memory_fail_after(countdown);
        int result = sl_owners_claim(&owners, SL_TEXT("b"), SL_TEXT("k"), 0, 1, &second,
            &generation, &replaced);
        sl_memory_fail_after(0);
        ck_assert(result == 1 || (result == -1 && owners.entries.count == 1));
        sl_owners_release(&owners, SL_TEXT("b"), SL_TEXT("k"), &second);
    }
    sl_owners_release(&owners, SL_TEXT("a"), SL_TEXT("k"), &first);
    ck_assert_uint_eq(owners.entries.count, 0);
    sl_owners_deinit(&owners);
}
END_TEST

START_TEST(the_build_of_this_test_really_fails_allocations)
{
    sl_memory_fail_after(1);
    ck_assert_ptr_null(sl_allocate(1));
    sl_memory_fail_after(0);
}
END_TEST

UNIT_MAIN("memory", a_stream_that_loses_an_event_to_memory_is_cut_and_not_silent,
    an_owner_keeps_its_place_when_memory_runs_out,
    the_build_of_this_test_really_fails_allocations)
