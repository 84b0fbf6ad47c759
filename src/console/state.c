#include "console/state.h"

#include "base/error.h"
#include "base/memory.h"
#include "store/look.h"

struct collecting {
    json_t *stages;
    json_t *consumers;
    json_t *parked;
    int64_t now_ms;
    int64_t held_count;
};

json_t *sl_state_text(struct sl_text text)
{
    json_t *string = json_stringn(text.size == 0 ? "" : text.data, text.size);
    if (string != NULL) {
        return string;
    }
    char *copy = sl_copy_bytes(text.data, text.size);
    if (copy == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < text.size; i++) {
        copy[i] = (unsigned char) copy[i] >= 0x80 ? '?' : copy[i];
    }
    string = json_stringn(copy, text.size);
    sl_free(copy);
    return string;
}

char *sl_state_name(const char *url)
{
    const char *slashes = strstr(url, "://");
    const char *authority = slashes == NULL ? "" : slashes + 3;
    const char *at = memrchr(authority, '@', strcspn(authority, "/?"));
    if (at == NULL) {
        return sl_copy_text(url);
    }
    struct sl_buffer name;
    sl_buffer_init(&name, 65536);
    sl_buffer_append(&name, url, (size_t) (slashes + 3 - url));
    sl_buffer_append_text(&name, at + 1);
    char *copy = name.is_failed ? NULL : sl_copy_text(name.data);
    sl_buffer_deinit(&name);
    return copy;
}

static void visit_stage(void *context, const struct sl_held_count *count)
{
    struct collecting *collecting = context;
    json_array_append_new(collecting->stages,
        json_pack("{s:o, s:I, s:I, s:I, s:I}", "stage", sl_state_text(count->stage), "retrying",
            (json_int_t) count->retrying_count, "waiting", (json_int_t) count->waiting_count,
            "failed", (json_int_t) count->failed_count, "parked_keys",
            (json_int_t) count->held_keys));
}

static void visit_consumer(void *context, const struct sl_consumer_count *count)
{
    struct collecting *collecting = context;
    json_array_append_new(collecting->consumers,
        json_pack("{s:o, s:I, s:I, s:I, s:I}", "name", sl_state_text(count->name), "applied_total",
            (json_int_t) count->applied_total, "duplicates_total",
            (json_int_t) count->duplicates_total, "failures_total",
            (json_int_t) count->failures_total, "idle_ms",
            (json_int_t) (collecting->now_ms - count->updated_ms)));
}

static bool is_text(const json_t *object, const char *name, struct sl_text text)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) &&
        sl_text_equal((struct sl_text) {json_string_value(value), json_string_length(value)}, text);
}

/* The visits come by stage, topic, key and number: a key's events follow each other. */
static void visit_held(void *context, const struct sl_held *held)
{
    struct collecting *collecting = context;
    const struct sl_event *event = &held->event;
    json_t *last = json_array_get(collecting->parked, json_array_size(collecting->parked) - 1);
    collecting->held_count++;
    if (last != NULL && event->has_key && is_text(last, "key", event->key) &&
        is_text(last, "topic", event->topic) && is_text(last, "stage", held->stage)) {
        json_int_t events = json_integer_value(json_object_get(last, "events"));
        json_object_set_new(last, "events", json_integer(events + 1));
        return;
    }
    int64_t next_ms =
        held->state == SL_HELD_RETRYING ? held->next_attempt_ms - collecting->now_ms : 0;
    json_array_append_new(collecting->parked,
        json_pack("{s:o, s:o, s:o, s:i, s:s, s:o, s:s, s:i, s:I, s:I, s:o}", "stage",
            sl_state_text(held->stage), "topic", sl_state_text(event->topic), "key",
            event->has_key ? sl_state_text(event->key) : json_null(), "events", 1, "id", event->id,
            "type", sl_state_text(event->type), "state", sl_held_state_name(held->state),
            "attempts", held->attempts, "held_ms",
            (json_int_t) (collecting->now_ms - held->held_ms), "next_attempt_in_ms",
            (json_int_t) (next_ms < 0 ? 0 : next_ms), "reason", sl_state_text(held->reason)));
}

static int collect(struct sl_store *store, struct collecting *collecting,
    struct sl_outbox_state *ret_outbox, struct sluice_error *error)
{
    struct sl_held_filter all = {.limit = SL_STATE_HELD_MAX};
    if (sl_store_outbox_state(store, ret_outbox, error) != 0 ||
        sl_store_each_held_count(store, visit_stage, collecting, error) != 0 ||
        sl_store_each_consumer(store, visit_consumer, collecting, error) != 0 ||
        sl_store_each_held(store, &all, visit_held, collecting, error) != 0) {
        return -1;
    }
    return 0;
}

int sl_state_of_store(struct sl_store *store, const char *name, int64_t now_ms, json_t **ret_state,
    struct sluice_error *error)
{
    struct sl_outbox_state outbox = {0};
    struct sl_relay_row relay;
    char paused_by[SL_PAUSE_TEXT_SIZE];
    struct collecting collecting = {.stages = json_array(),
        .consumers = json_array(),
        .parked = json_array(),
        .now_ms = now_ms};
    if (collect(store, &collecting, &outbox, error) != 0 ||
        sl_store_relay_row(store, &relay, error) != 0 ||
        sl_store_paused(store, paused_by, error) != 0) {
        json_decref(collecting.stages);
        json_decref(collecting.consumers);
        json_decref(collecting.parked);
        return -1;
    }
    int64_t age_ms = outbox.unsent_count == 0 ? 0 : now_ms - outbox.oldest_unsent_ms;
    json_t *state = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:s?, s:o, s:o, s:o, s:b}", "name", name,
        "id", sl_store_id(store), "oldest_unsent_age_ms", (json_int_t) (age_ms < 0 ? 0 : age_ms),
        "unsent_events", (json_int_t) outbox.unsent_count, "position",
        (json_int_t) outbox.position.id, "tick", (json_int_t) outbox.position.tick, "last_position",
        (json_int_t) outbox.last.id, "lease_holder", relay.holder, "lease_term",
        (json_int_t) relay.term, "paused", paused_by[0] == '\0' ? NULL : paused_by, "stages",
        collecting.stages, "consumers", collecting.consumers, "parked", collecting.parked,
        "parked_is_cut", collecting.held_count >= SL_STATE_HELD_MAX);
    if (state == NULL) {
        return sl_fail_memory(error, "the state of a database");
    }
    *ret_state = state;
    return 0;
}

static int append(const char *data, size_t size, void *context)
{
    return sl_buffer_append(context, data, size);
}

int sl_state_write(const json_t *value, struct sl_buffer *buffer)
{
    int result = json_dump_callback(value, append, buffer, JSON_COMPACT | JSON_ENCODE_ANY);
    return result == 0 && !buffer->is_failed ? 0 : -1;
}
