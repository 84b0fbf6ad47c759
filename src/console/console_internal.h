/*
 * console/console_internal.h - what console.c and handlers.c share: the console itself.
 *
 * Work on the databases is done by jobs on libuv's workers, one at a time and in order, so that the
 * sampler is never used by two threads at once.
 */
#ifndef SL_CONSOLE_CONSOLE_INTERNAL_H
#define SL_CONSOLE_CONSOLE_INTERNAL_H

#include "console/sampler.h"
#include "http/server.h"

/* Samples kept for the sparklines: five minutes at one a second. */
enum { SL_HISTORY_SAMPLES = 300, SL_JOBS_MAX = 32 };

enum sl_job_kind { SL_JOB_SAMPLE, SL_JOB_SHOW, SL_JOB_REDRIVE, SL_JOB_DROP };

/* Something to do on a worker. Texts are the job's own; NULL does not restrict. */
struct sl_job {
    struct sl_job *next;
    struct sl_console *console;
    struct sl_exchange *exchange; /* who waits for the answer; NULL once it has gone */
    struct sl_job **waiter;       /* where the waiting one keeps this job; emptied when it ends */
    enum sl_job_kind kind;
    char *database;
    char *stage;
    char *topic;
    char *key;
    char *event_id;
    struct sl_sample sample; /* SAMPLE's result */
    json_t *answer;          /* the others' */
    int status;              /* HTTP's */
    struct sluice_error error;
};

struct sl_history {
    /* Thousandths of events published and delivered a second; the oldest unsent age in ms. */
    int64_t values[3][SL_HISTORY_SAMPLES];
    int64_t last_total[2];
    int64_t last_ms;
    size_t count; /* ever */
};

struct sl_console {
    uv_loop_t *loop;
    struct sl_http_server *server;
    uv_timer_t timer;
    uv_work_t work;
    struct sl_job *running;
    struct sl_job *first;
    struct sl_job *last;
    size_t job_count;
    struct sl_sampler sampler; /* the running job's, while there is one */
    struct sl_console_source sources[SL_CONSOLE_SOURCES_MAX];
    size_t source_count;
    struct sl_sample sample;
    struct sl_history history;
    bool has_sample;
    bool is_loopback;
    int open_parts; /* that must close before the console is freed: server, timer, job */
    bool is_stopping;
    void (*on_stopped)(void *context);
    void *context;
};

/**
 * Answer a request; sl_http_on_request with the console as its context.
 */
void sl_console_serve(void *context, struct sl_exchange *exchange);

/**
 * Queue a job, which passes to the console also on failure. -1 while SL_JOBS_MAX are waiting.
 */
int sl_console_submit(struct sl_console *console, struct sl_job *take_job)
    __attribute__((warn_unused_result));

/**
 * Do a job's work; on a worker's thread.
 */
void sl_job_run(struct sl_job *job);

/**
 * Answer the exchange that waits for a job, if it still does; on the loop's thread.
 */
void sl_job_answer(struct sl_job *job);

/**
 * Free a job and what it holds.
 */
void sl_job_free(struct sl_job *job);

/**
 * Everything that the console knows now: the last sample and what the loop's sources say. The
 * caller's, to be given to sl_sample_deinit.
 */
void sl_console_compose(struct sl_console *console, struct sl_sample *ret_sample);

#endif
