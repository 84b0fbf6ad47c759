#include "console/console.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/url.h"
#include "console/console_internal.h"

enum {
    SAMPLE_INTERVAL_MS = 1000,
    STOP_GRACE_MS = 500,
    CONNECTIONS_MAX = 64,
    BODY_SIZE_MAX = 16384
};

static void start_next_job(struct sl_console *console);

static void part_closed(struct sl_console *console)
{
    if (--console->open_parts > 0) {
        return;
    }
    void (*on_stopped)(void *) = console->on_stopped;
    void *context = console->context;
    sl_sampler_deinit(&console->sampler);
    sl_sample_deinit(&console->sample);
    sl_free(console);
    if (on_stopped != NULL) {
        on_stopped(context);
    }
}

static void on_server_stopped(void *context)
{
    part_closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

/* What the sources have counted, summed over the values of one object of the state. */
static int64_t total_of(const json_t *state, const char *name)
{
    return (int64_t) json_integer_value(json_object_get(json_object_get(state, "totals"), name));
}

/* Turn totals into rates; the first sample has no predecessor, and a total that fell no rate. */
static void remember(struct sl_console *console, const struct sl_sample *sample)
{
    struct sl_history *history = &console->history;
    const int64_t totals[2] = {
        total_of(sample->state, "published"), total_of(sample->state, "delivered")};
    int64_t now_ms = sl_clock_monotonic_ms();
    int64_t span_ms = now_ms - history->last_ms;
    size_t slot = history->count % SL_HISTORY_SAMPLES;
    for (size_t i = 0; i < 2; i++) {
        int64_t grown = totals[i] - history->last_total[i];
        bool is_first = history->count == 0;
        history->values[i][slot] =
            is_first || grown < 0 || span_ms < 1 ? 0 : grown * 1000000 / span_ms;
        history->last_total[i] = totals[i];
    }
    int64_t oldest_ms = 0;
    size_t index;
    const json_t *database;
    json_array_foreach(json_object_get(sample->state, "databases"), index, database) {
        int64_t age_ms =
            (int64_t) json_integer_value(json_object_get(database, "oldest_unsent_age_ms"));
        oldest_ms = age_ms > oldest_ms ? age_ms : oldest_ms;
    }
    history->values[2][slot] = oldest_ms;
    history->last_ms = now_ms;
    history->count++;
}

static json_t *history_as_json(const struct sl_history *history)
{
    static const char *const names[3] = {"published", "delivered", "oldest_unsent_age_ms"};
    size_t count = history->count < SL_HISTORY_SAMPLES ? history->count : SL_HISTORY_SAMPLES;
    json_t *object = json_object();
    for (size_t i = 0; i < 3; i++) {
        json_t *values = json_array();
        for (size_t j = history->count - count; j < history->count; j++) {
            int64_t value = history->values[i][j % SL_HISTORY_SAMPLES];
            json_array_append_new(values,
                i < 2 ? json_real((double) value / 1000) : json_integer((json_int_t) value));
        }
        json_object_set_new(object, names[i], values);
    }
    return object;
}

static void ask_loop_sources(struct sl_console *console, struct sl_sample *sample)
{
    struct sl_console_writer writer = {
        &sample->metrics, sample->state, sample->not_ready, sample->not_alive};
    /* While the process stops, what a source speaks of may be gone already. */
    for (size_t i = 0; i < console->source_count && !console->is_stopping; i++) {
        if (!console->sources[i].is_blocking) {
            console->sources[i].collect(console->sources[i].context, &writer);
        }
    }
}

void sl_console_compose(struct sl_console *console, struct sl_sample *ret_sample)
{
    struct sl_sample sample = {.state = json_object(), .not_ready = json_array(),
        .not_alive = json_array()};
    sl_metrics_init(&sample.metrics);
    if (console->has_sample) {
        json_object_update(sample.state, console->sample.state);
        /* The sources add to the totals; the sample that was kept must not change with them. */
        json_object_set_new(
            sample.state, "totals", json_copy(json_object_get(sample.state, "totals")));
        json_array_extend(sample.not_ready, console->sample.not_ready);
        json_array_extend(sample.not_alive, console->sample.not_alive);
        sl_buffer_append(&sample.metrics.text, console->sample.metrics.text.data,
            console->sample.metrics.text.size);
    } else {
        json_array_append_new(sample.not_ready, json_string("nothing has been measured yet"));
    }
    ask_loop_sources(console, &sample);
    json_object_set_new(sample.state, "history", history_as_json(&console->history));
    json_object_set(sample.state, "not_ready", sample.not_ready);
    json_object_set_new(sample.state, "time_ms", json_integer((json_int_t) sl_clock_wall_ms()));
    json_object_set_new(sample.state, "version", json_string(SLUICE_VERSION));
    *ret_sample = sample;
}

static void keep_sample(struct sl_console *console, struct sl_job *job)
{
    struct sl_sample composed;
    sl_sample_deinit(&console->sample);
    console->sample = job->sample;
    console->has_sample = true;
    job->sample = (struct sl_sample) {0};
    sl_console_compose(console, &composed);
    remember(console, &composed);
    sl_sample_deinit(&composed);
}

static void on_work(uv_work_t *work)
{
    struct sl_console *console = work->data;
    sl_job_run(console->running);
}

static void on_work_done(uv_work_t *work, int status)
{
    struct sl_console *console = work->data;
    struct sl_job *job = console->running;
    (void) status;
    console->running = NULL;
    if (job->kind == SL_JOB_SAMPLE && !console->is_stopping) {
        keep_sample(console, job);
    }
    sl_job_answer(job);
    sl_job_free(job);
    start_next_job(console);
    part_closed(console);
}

static void start_next_job(struct sl_console *console)
{
    struct sl_job *job = console->first;
    if (job == NULL || console->running != NULL) {
        return;
    }
    console->first = job->next;
    console->last = console->first == NULL ? NULL : console->last;
    console->job_count--;
    console->running = job;
    console->work.data = console;
    console->open_parts++;
    uv_queue_work(console->loop, &console->work, on_work, on_work_done);
}

int sl_console_submit(struct sl_console *console, struct sl_job *take_job)
{
    if (console->job_count == SL_JOBS_MAX || console->is_stopping) {
        sl_job_free(take_job);
        return -1;
    }
    take_job->console = console;
    if (console->last == NULL) {
        console->first = take_job;
    } else {
        console->last->next = take_job;
    }
    console->last = take_job;
    console->job_count++;
    start_next_job(console);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct sl_console *console = timer->data;
    /* A look that takes longer than a second is not followed by another one at once. */
    if (console->running != NULL || console->first != NULL) {
        return;
    }
    struct sl_job *job = sl_allocate(sizeof(*job));
    if (job == NULL) {
        return;
    }
    job->kind = SL_JOB_SAMPLE;
    if (sl_console_submit(console, job) != 0) {
        sl_log(SL_LOG_WARN, "the console took no sample", "reason=\"too many jobs\"");
    }
}

static bool is_loopback(const char *address)
{
    struct sl_text host;
    uint16_t port;
    return sl_url_parse_address(sl_text_of(address), &host, &port) &&
        (sl_text_equal(host, SL_TEXT("localhost")) || sl_text_equal(host, SL_TEXT("::1")) ||
            (host.size > 4 && memcmp(host.data, "127.", 4) == 0));
}

int sl_console_open(uv_loop_t *loop, const struct sl_console_options *options,
    struct sl_console **ret_console, struct sluice_error *error)
{
    struct sl_console *console = sl_allocate(sizeof(*console));
    if (console == NULL || sl_sampler_init(&console->sampler, options) != 0) {
        sl_free(console);
        return sl_fail_memory(error, "the console");
    }
    struct sl_http_server_options server = {.addresses = &options->address, .address_count = 1,
        .on_request = sl_console_serve, .context = console, .connections_max = CONNECTIONS_MAX,
        .body_size_max = BODY_SIZE_MAX};
    console->loop = loop;
    console->is_loopback = is_loopback(options->address);
    for (size_t i = 0; i < options->source_count && i < SL_CONSOLE_SOURCES_MAX; i++) {
        console->sources[console->source_count++] = options->sources[i];
    }
    if (sl_http_server_open(loop, &server, &console->server, error) != 0) {
        sl_sampler_deinit(&console->sampler);
        sl_free(console);
        return -1;
    }
    uv_timer_init(loop, &console->timer);
    console->timer.data = console;
    uv_timer_start(&console->timer, on_timer, 0, SAMPLE_INTERVAL_MS);
    console->open_parts = 2;
    *ret_console = console;
    return 0;
}

const char *sl_console_url(const struct sl_console *console)
{
    return sl_http_server_url(console->server, 0);
}

void sl_console_stop(struct sl_console *console, void (*on_stopped)(void *context), void *context)
{
    console->is_stopping = true;
    console->on_stopped = on_stopped;
    console->context = context;
    while (console->first != NULL) {
        struct sl_job *job = console->first;
        console->first = job->next;
        job->status = 503;
        sl_fail(&job->error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "the console is stopping");
        sl_job_answer(job);
        sl_job_free(job);
    }
    console->last = NULL;
    sl_http_server_stop(console->server, STOP_GRACE_MS, on_server_stopped, console);
    uv_close((uv_handle_t *) &console->timer, on_timer_closed);
}
