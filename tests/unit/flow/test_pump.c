#include "flow/pump.h"

#include <stdbool.h>

#include "support/unit.h"

static struct sl_pump_effect give(struct sl_pump *pump, enum sl_pump_event_kind kind)
{
    struct sl_pump_event event = {.kind = kind};
    return sl_pump_step(pump, &event, 1000, 0);
}

static struct sl_pump_effect rows(struct sl_pump *pump, size_t count, int64_t last_position)
{
    struct sl_pump_event event = {
        .kind = SL_PUMP_EVENT_ROWS, .count = count, .position = {0, last_position}};
    return sl_pump_step(pump, &event, 1000, 0);
}

/* A pump that stands at position 10 and reads. */
static void start(struct sl_pump *pump)
{
    sl_pump_init(pump, 20, 5000);
    ck_assert_int_eq(give(pump, SL_PUMP_EVENT_START).kind, SL_PUMP_ASK_POSITION);
    struct sl_pump_event position = {.kind = SL_PUMP_EVENT_POSITION, .position = {0, 10}};
    struct sl_pump_effect effect = sl_pump_step(pump, &position, 0, 0);
    ck_assert_int_eq(effect.kind, SL_PUMP_READ);
    ck_assert_int_eq(effect.position.id, 10);
}

START_TEST(a_batch_moves_the_position_only_when_it_is_appended)
{
    struct sl_pump pump;
    start(&pump);
    ck_assert_int_eq(rows(&pump, 3, 13).kind, SL_PUMP_HOLD_WAITING);
    struct sl_pump_effect append = give(&pump, SL_PUMP_EVENT_HELD);
    ck_assert_int_eq(append.kind, SL_PUMP_APPEND);
    ck_assert_int_eq(append.position.id, 10);
    ck_assert_int_eq(append.to.id, 13);
    ck_assert_int_eq(pump.position.id, 10);
    struct sl_pump_effect read = give(&pump, SL_PUMP_EVENT_APPENDED);
    ck_assert_int_eq(read.kind, SL_PUMP_READ);
    ck_assert_int_eq(read.position.id, 13);
}
END_TEST

START_TEST(an_outage_in_any_state_asks_the_sink_where_it_stands_before_going_on)
{
    struct sl_pump pump;
    start(&pump);
    rows(&pump, 3, 13);
    give(&pump, SL_PUMP_EVENT_HELD);
    struct sl_pump_effect rest = give(&pump, SL_PUMP_EVENT_OUTAGE);
    ck_assert_int_eq(rest.kind, SL_PUMP_REST);
    ck_assert_int_gt(rest.until_ms, 1000);
    ck_assert_int_eq(pump.position.id, 10);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_WAKE).kind, SL_PUMP_NONE);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_TIMER).kind, SL_PUMP_ASK_POSITION);
}
END_TEST

START_TEST(pauses_grow_with_outages_in_a_row_and_start_small_after_success)
{
    struct sl_pump pump;
    start(&pump);
    int64_t first_ms = give(&pump, SL_PUMP_EVENT_OUTAGE).until_ms;
    struct sl_pump_event position = {.kind = SL_PUMP_EVENT_POSITION, .position = {0, 10}};
    for (int i = 0; i < 20; i++) {
        give(&pump, SL_PUMP_EVENT_TIMER);
        sl_pump_step(&pump, &position, 1000, 0);
        ck_assert_int_le(give(&pump, SL_PUMP_EVENT_OUTAGE).until_ms, 1000 + 5000);
    }
    give(&pump, SL_PUMP_EVENT_TIMER);
    sl_pump_step(&pump, &position, 1000, 0);
    rows(&pump, 0, 10);
    ck_assert_int_eq(pump.state, SL_PUMP_IDLE);
    give(&pump, SL_PUMP_EVENT_WAKE);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_OUTAGE).until_ms, first_ms);
}
END_TEST

START_TEST(a_refused_event_is_judged_and_the_rest_of_its_batch_looked_at_again)
{
    struct sl_pump pump;
    start(&pump);
    rows(&pump, 3, 13);
    give(&pump, SL_PUMP_EVENT_HELD);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_REJECTED).kind, SL_PUMP_JUDGE);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_HELD).kind, SL_PUMP_HOLD_WAITING);
    struct sl_pump_effect append = give(&pump, SL_PUMP_EVENT_HELD);
    ck_assert_int_eq(append.kind, SL_PUMP_APPEND);
    ck_assert_int_eq(append.position.id, 10);
    ck_assert_int_eq(append.to.id, 13);
}
END_TEST

START_TEST(another_relays_append_makes_this_one_ask_again)
{
    struct sl_pump pump;
    start(&pump);
    rows(&pump, 3, 13);
    give(&pump, SL_PUMP_EVENT_HELD);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_CONFLICT).kind, SL_PUMP_ASK_POSITION);
}
END_TEST

START_TEST(a_stopped_pump_stays_stopped)
{
    struct sl_pump pump;
    start(&pump);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_FATAL).kind, SL_PUMP_HALT);
    for (int kind = SL_PUMP_EVENT_POSITION; kind <= SL_PUMP_EVENT_FATAL; kind++) {
        ck_assert_int_eq(give(&pump, (enum sl_pump_event_kind) kind).kind, SL_PUMP_NONE);
    }
    ck_assert_str_eq(sl_pump_state_name(pump.state), "stopped");
}
END_TEST

START_TEST(events_that_do_not_belong_to_the_state_change_nothing)
{
    struct sl_pump pump;
    start(&pump);
    struct sl_pump before = pump;
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_WAKE).kind, SL_PUMP_NONE);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_APPENDED).kind, SL_PUMP_NONE);
    ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_START).kind, SL_PUMP_NONE);
    ck_assert_int_eq(pump.state, before.state);
    ck_assert_int_eq(pump.position.id, before.position.id);
}
END_TEST

/* The table of flow/pump.h: each row of it, and nothing for what is not in it. */
struct transition {
    enum sl_pump_state from;
    enum sl_pump_event_kind event;
    size_t count; /* of ROWS */
    enum sl_pump_state to;
    enum sl_pump_effect_kind effect;
};

static const struct transition table[] = {
    {SL_PUMP_STOPPED, SL_PUMP_EVENT_START, 0, SL_PUMP_ASKING, SL_PUMP_ASK_POSITION},
    {SL_PUMP_ASKING, SL_PUMP_EVENT_POSITION, 0, SL_PUMP_READING, SL_PUMP_READ},
    {SL_PUMP_ASKING, SL_PUMP_EVENT_STANDBY, 0, SL_PUMP_RESTING, SL_PUMP_REST},
    {SL_PUMP_READING, SL_PUMP_EVENT_ROWS, 0, SL_PUMP_IDLE, SL_PUMP_WAIT},
    {SL_PUMP_READING, SL_PUMP_EVENT_ROWS, 3, SL_PUMP_HOLDING, SL_PUMP_HOLD_WAITING},
    {SL_PUMP_HOLDING, SL_PUMP_EVENT_HELD, 0, SL_PUMP_APPENDING, SL_PUMP_APPEND},
    {SL_PUMP_APPENDING, SL_PUMP_EVENT_APPENDED, 0, SL_PUMP_READING, SL_PUMP_READ},
    {SL_PUMP_APPENDING, SL_PUMP_EVENT_REJECTED, 0, SL_PUMP_JUDGING, SL_PUMP_JUDGE},
    {SL_PUMP_JUDGING, SL_PUMP_EVENT_HELD, 0, SL_PUMP_HOLDING, SL_PUMP_HOLD_WAITING},
    {SL_PUMP_IDLE, SL_PUMP_EVENT_WAKE, 0, SL_PUMP_READING, SL_PUMP_READ},
    {SL_PUMP_RESTING, SL_PUMP_EVENT_TIMER, 0, SL_PUMP_ASKING, SL_PUMP_ASK_POSITION},
};

static struct transition expected(
    enum sl_pump_state state, enum sl_pump_event_kind event, size_t count)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].from == state && table[i].event == event && table[i].count == count) {
            return table[i];
        }
    }
    bool is_running = state != SL_PUMP_STOPPED;
    if (is_running && event == SL_PUMP_EVENT_CONFLICT) {
        return (struct transition) {.to = SL_PUMP_ASKING, .effect = SL_PUMP_ASK_POSITION};
    }
    if (is_running && event == SL_PUMP_EVENT_OUTAGE) {
        return (struct transition) {.to = SL_PUMP_RESTING, .effect = SL_PUMP_REST};
    }
    if (is_running && event == SL_PUMP_EVENT_FATAL) {
        return (struct transition) {.to = SL_PUMP_STOPPED, .effect = SL_PUMP_HALT};
    }
    return (struct transition) {.to = state, .effect = SL_PUMP_NONE};
}

START_TEST(every_event_in_every_state_does_what_the_table_says)
{
    for (int state = SL_PUMP_STOPPED; state <= SL_PUMP_RESTING; state++) {
        for (int kind = SL_PUMP_EVENT_START; kind <= SL_PUMP_EVENT_FATAL; kind++) {
            for (size_t count = 0; count <= 3; count += 3) {
                struct sl_pump pump;
                sl_pump_init(&pump, 20, 5000);
                pump.state = (enum sl_pump_state) state;
                pump.position = (struct sl_position) {2, 10};
                pump.batch_position = (struct sl_position) {3, 4};
                struct sl_pump_event event = {
                    .kind = (enum sl_pump_event_kind) kind,
                    .position = {3, 5},
                    .count = kind == SL_PUMP_EVENT_ROWS ? count : 0,
                };
                struct transition wanted = expected(pump.state, event.kind, event.count);
                struct sl_pump_effect effect = sl_pump_step(&pump, &event, 1000, 0);
                ck_assert_msg(pump.state == wanted.to && effect.kind == wanted.effect,
                    "state %s, event %d: %s, effect %d",
                    sl_pump_state_name((enum sl_pump_state) state), kind,
                    sl_pump_state_name(pump.state), (int) effect.kind);
            }
        }
    }
}
END_TEST

START_TEST(the_position_moves_to_what_the_sink_says_and_to_the_end_of_what_it_has_taken_only)
{
    for (int state = SL_PUMP_ASKING; state <= SL_PUMP_RESTING; state++) {
        for (int kind = SL_PUMP_EVENT_START; kind <= SL_PUMP_EVENT_FATAL; kind++) {
            struct sl_pump pump;
            sl_pump_init(&pump, 20, 5000);
            pump.state = (enum sl_pump_state) state;
            pump.position = (struct sl_position) {2, 10};
            pump.batch_position = (struct sl_position) {3, 4};
            struct sl_pump_event event = {
                .kind = (enum sl_pump_event_kind) kind, .position = {3, 5}, .count = 3};
            sl_pump_step(&pump, &event, 1000, 0);
            bool is_told = state == SL_PUMP_ASKING && kind == SL_PUMP_EVENT_POSITION;
            bool is_taken = state == SL_PUMP_APPENDING && kind == SL_PUMP_EVENT_APPENDED;
            struct sl_position wanted = is_told ? (struct sl_position) {3, 5}
                : is_taken                      ? (struct sl_position) {3, 4}
                                                : (struct sl_position) {2, 10};
            ck_assert_int_eq(sl_position_compare(pump.position, wanted), 0);
        }
    }
}
END_TEST

START_TEST(a_standby_is_no_outage)
{
    struct sl_pump pump;
    sl_pump_init(&pump, 20, 5000);
    give(&pump, SL_PUMP_EVENT_START);
    for (int i = 0; i < 50; i++) {
        struct sl_pump_effect rest = give(&pump, SL_PUMP_EVENT_STANDBY);
        ck_assert_int_eq(rest.kind, SL_PUMP_REST);
        ck_assert_int_le(rest.until_ms, 1000 + 1000);
        ck_assert_int_eq(pump.outages, 0);
        ck_assert_int_eq(give(&pump, SL_PUMP_EVENT_TIMER).kind, SL_PUMP_ASK_POSITION);
    }
}
END_TEST

UNIT_MAIN("pump", every_event_in_every_state_does_what_the_table_says,
    the_position_moves_to_what_the_sink_says_and_to_the_end_of_what_it_has_taken_only,
    a_standby_is_no_outage, a_batch_moves_the_position_only_when_it_is_appended,
    an_outage_in_any_state_asks_the_sink_where_it_stands_before_going_on,
    pauses_grow_with_outages_in_a_row_and_start_small_after_success,
    a_refused_event_is_judged_and_the_rest_of_its_batch_looked_at_again,
    another_relays_append_makes_this_one_ask_again, a_stopped_pump_stays_stopped,
    events_that_do_not_belong_to_the_state_change_nothing)
