#include "console/state.h"

#include "support/temp.h"
#include "support/unit.h"

static void hold(struct sl_store *store, int number, const char *key, enum sl_held_state state)
{
    struct sluice_error error;
    struct sl_event event = {.topic = SL_TEXT("orders"),
        .has_key = key != NULL,
        .key = sl_text_of(key),
        .type = SL_TEXT("T"),
        .payload = SL_TEXT("{}"),
        .headers = SL_TEXT("{}")};
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    struct sl_hold row = {.stage = "relay",
        .event = &event,
        .state = state,
        .attempts = 3,
        .next_attempt_ms = 1500,
        .now_ms = 400,
        .reason = "because"};
    ck_assert_int_eq(sl_store_hold(store, &row, &error), 0);
}

static json_int_t integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

START_TEST(an_empty_database_has_nothing_unsent)
{
    struct temp temp;
    struct sl_store *store;
    struct sluice_error error;
    json_t *state;
    temp_make(&temp);
    ck_assert_int_eq(
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_CREATE, &store, &error), 0);
    ck_assert_int_eq(sl_state_of_store(store, "shown", 1000, &state, &error), 0);
    ck_assert_str_eq(json_string_value(json_object_get(state, "name")), "shown");
    ck_assert_int_eq(integer(state, "oldest_unsent_age_ms"), 0);
    ck_assert_int_eq(integer(state, "unsent_events"), 0);
    ck_assert(json_is_false(json_object_get(state, "parked_is_cut")));
    json_decref(state);
    sl_store_close(store);
    temp_remove(&temp);
}
END_TEST

START_TEST(a_key_is_shown_once_with_its_first_event_and_how_many_wait)
{
    struct temp temp;
    struct sl_store *store;
    struct sluice_error error;
    json_t *state;
    temp_make(&temp);
    ck_assert_int_eq(
        sl_store_open(temp_url(&temp, "sqlite", "app.db"), SL_STORE_CREATE, &store, &error), 0);
    hold(store, 1, "a", SL_HELD_FAILED);
    hold(store, 2, "b", SL_HELD_RETRYING);
    hold(store, 3, "a", SL_HELD_WAITING);
    hold(store, 4, NULL, SL_HELD_FAILED);
    hold(store, 5, NULL, SL_HELD_FAILED);
    ck_assert_int_eq(sl_state_of_store(store, "x", 1000, &state, &error), 0);
    const json_t *parked = json_object_get(state, "parked");
    ck_assert_uint_eq(json_array_size(parked), 4);
    size_t index;
    const json_t *row;
    int without_key = 0;
    json_array_foreach(parked, index, row) {
        const char *key = json_string_value(json_object_get(row, "key"));
        without_key += key == NULL;
        ck_assert_int_eq(integer(row, "held_ms"), 600);
        if (key != NULL && strcmp(key, "a") == 0) {
            ck_assert_int_eq(integer(row, "events"), 2);
            ck_assert_str_eq(json_string_value(json_object_get(row, "id")),
                "00000000-0000-7000-8000-000000000001");
        } else {
            ck_assert_int_eq(integer(row, "events"), 1);
        }
        if (key != NULL && strcmp(key, "b") == 0) {
            ck_assert_int_eq(integer(row, "next_attempt_in_ms"), 500);
        }
    }
    ck_assert_int_eq(without_key, 2);
    json_decref(state);
    sl_store_close(store);
    temp_remove(&temp);
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_shown_as_question_marks)
{
    json_t *text = sl_state_text((struct sl_text) {"a\xff\xfe z", 5});
    ck_assert_str_eq(json_string_value(text), "a?? z");
    json_decref(text);
    text = sl_state_text((struct sl_text) {NULL, 0});
    ck_assert_str_eq(json_string_value(text), "");
    json_decref(text);
}
END_TEST

START_TEST(an_answer_that_is_too_large_is_refused_and_not_cut)
{
    struct sl_buffer buffer;
    sl_buffer_init(&buffer, 8);
    json_t *value = json_string("much longer than eight bytes");
    ck_assert_int_eq(sl_state_write(value, &buffer), -1);
    json_decref(value);
    sl_buffer_deinit(&buffer);
}
END_TEST

UNIT_MAIN("state", an_empty_database_has_nothing_unsent,
    a_key_is_shown_once_with_its_first_event_and_how_many_wait,
    bytes_that_are_no_utf8_are_shown_as_question_marks,
    an_answer_that_is_too_large_is_refused_and_not_cut)
