#include "base/clock.h"
#include "base/memory.h"
#include "console/console_internal.h"
#include "console/state.h"

static void show_one(void *context, const struct sl_held *held)
{
    json_t *list = context;
    json_t *payload = json_loadb(held->event.payload.size == 0 ? "" : held->event.payload.data,
        held->event.payload.size, JSON_DECODE_ANY, NULL);
    json_array_append_new(list,
        json_pack("{s:o, s:s, s:o, s:o, s:o, s:s, s:i, s:I, s:I, s:o, s:o, s:o}", "stage",
            sl_state_text(held->stage), "id", held->event.id, "topic",
            sl_state_text(held->event.topic), "key",
            held->event.has_key ? sl_state_text(held->event.key) : json_null(), "type",
            sl_state_text(held->event.type), "state", sl_held_state_name(held->state), "attempts",
            held->attempts, "time_ms", (json_int_t) held->event.time_ms, "held_since_ms",
            (json_int_t) held->held_ms, "reason", sl_state_text(held->reason), "headers",
            sl_state_text(held->event.headers), "payload",
            payload == NULL ? sl_state_text(held->event.payload) : payload));
}

/* An event's id says enough: it is looked for in every database. */
static void run_show(struct sl_job *job)
{
    struct sl_sampler *sampler = &job->console->sampler;
    struct sl_held_filter filter = {.event_id = job->event_id, .limit = 10};
    json_t *list = json_array();
    for (size_t i = 0; i < sampler->database_count; i++) {
        struct sl_store *store =
            sl_sampler_store(sampler, sampler->databases[i].name, &job->error);
        if (store == NULL || sl_store_each_held(store, &filter, show_one, list, &job->error) != 0) {
            json_decref(list);
            job->status = 503;
            return;
        }
    }
    job->status = 200;
    job->answer = json_pack("{s:o}", "dead_letters", list);
}

static void run_change(struct sl_job *job)
{
    struct sl_held_filter filter = {.stage = job->stage, .topic = job->topic, .key = job->key,
        .event_id = job->event_id};
    int64_t count = 0;
    int64_t now_ms = sl_clock_wall_ms();
    struct sl_store *store =
        sl_sampler_store(&job->console->sampler, job->database, &job->error);
    if (store == NULL) {
        job->status = job->error.code == SLUICE_NOT_FOUND ? 404 : 503;
        return;
    }
    int result = job->kind == SL_JOB_DROP
        ? sl_store_drop(store, &filter, now_ms, &count, &job->error)
        : sl_store_redrive(store, &filter, now_ms, &count, &job->error);
    job->status = result == 0 ? 200 : 503;
    job->answer = result == 0 ? json_pack("{s:I}", "events", (json_int_t) count) : NULL;
}

void sl_job_run(struct sl_job *job)
{
    switch (job->kind) {
    case SL_JOB_SAMPLE:
        sl_sampler_look(&job->console->sampler, &job->sample);
        return;
    case SL_JOB_SHOW:
        run_show(job);
        return;
    case SL_JOB_REDRIVE:
    case SL_JOB_DROP:
        run_change(job);
        return;
    }
}

void sl_job_answer(struct sl_job *job)
{
    struct sl_exchange *exchange = job->exchange;
    if (exchange == NULL) {
        return;
    }
    struct sl_buffer text;
    sl_buffer_init(&text, SL_STATE_SIZE_MAX);
    if (job->answer != NULL && sl_state_write(job->answer, &text) == 0) {
        sl_exchange_respond(exchange, job->status, "application/json", text.data, text.size);
    } else {
        sl_exchange_fail(exchange, job->status == 200 ? 500 : job->status, "%s",
            job->status == 200 ? "out of memory for the answer" : job->error.text);
    }
    sl_buffer_deinit(&text);
}

void sl_job_free(struct sl_job *job)
{
    if (job->waiter != NULL) {
        *job->waiter = NULL;
    }
    sl_free(job->database);
    sl_free(job->stage);
    sl_free(job->topic);
    sl_free(job->key);
    sl_free(job->event_id);
    sl_sample_deinit(&job->sample);
    json_decref(job->answer);
    sl_free(job);
}
