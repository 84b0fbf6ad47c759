/*
 * Transactions on the loop's own thread, where the database's client can: the same works, and the
 * same outcomes, with a thread where it cannot.
 */
#include <dirent.h>
#include <sluice/listener.h>

#include "support/on_loop.h"

START_TEST(a_job_commits_its_data_and_its_events_together_or_neither)
{
    set_up(1);
    struct errand first = {.word = "a"};
    struct errand same = {.word = "a"};
    struct errand last = {.word = "b"};
    start_on(workers[0], &first, put_and_publish);
    start_on(workers[0], &same, put_and_publish);
    start_on(workers[0], &last, put_and_publish);
    ck_assert(!first.is_done); /* nothing begins before the loop turns */
    run_loop();
    ck_assert_int_eq(first.code, SLUICE_OK);
    ck_assert_int_eq(same.code, SLUICE_CONSTRAINT);
    ck_assert_int_eq(last.code, SLUICE_OK);
    ck_assert_str_eq(words(), "a b");
    ck_assert_str_eq(types(), "a b");
    tear_down();
}
END_TEST

static int put_inner(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) why;
    put(inside, context);
    publish(inside, context);
    return strcmp(context, "undone") == 0 ? -1 : 0;
}

/* A savepoint that is undone, one that is kept, and a work that takes part. */
static int nest(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    struct sluice_error inner = {.code = SLUICE_OK};
    ck_assert_int_eq(sluice_transaction(inside, SLUICE_NESTED, put_inner, "undone", &inner), -1);
    ck_assert_int_eq(inner.code, SLUICE_HANDLER);
    ck_assert_int_eq(sluice_transaction(inside, SLUICE_NESTED, put_inner, "kept", why), 0);
    ck_assert_int_eq(sluice_transaction(inside, SLUICE_MANDATORY, put_inner, "joined", why), 0);
    return 0;
}

/* A failure of a work that takes part, which the outer one ignores. */
static int ignore_failure(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    (void) why;
    struct sluice_error inner = {.code = SLUICE_OK};
    ck_assert_int_eq(sluice_transaction(inside, SLUICE_REQUIRED, put_inner, "undone", &inner), -1);
    return 0;
}

/* Before anything else is written, since SQLite has one writer; then the outer one fails. */
static int fail_around_a_new_one(sluice_database *inside, void *context, struct sluice_error *why)
{
    if (sluice_transaction(inside, SLUICE_REQUIRES_NEW, put_inner, "own", why) != 0) {
        ck_assert_int_eq(why->code, SLUICE_BUSY); /* on SQLite */
        ck_assert(has_one_writer());
    }
    struct errand *errand = context;
    put(inside, errand->word);
    return -1;
}

START_TEST(propagation_is_what_it_is_elsewhere)
{
    set_up(1);
    struct errand errand = {.word = "outer"};
    run_job(&errand, nest);
    ck_assert_int_eq(errand.code, SLUICE_OK);
    ck_assert_str_eq(words(), "joined kept");
    ck_assert_str_eq(types(), "joined kept");
    struct errand doomed = {.word = "outer"};
    run_job(&doomed, ignore_failure);
    ck_assert_int_eq(doomed.code, SLUICE_ROLLBACK_ONLY);
    struct errand around = {.word = "outer"};
    start_on(workers[0], &around, fail_around_a_new_one);
    run_loop();
    ck_assert_int_ne(around.code, SLUICE_OK);
    ck_assert_str_eq(words(), has_one_writer() ? "joined kept" : "joined kept own");
    tear_down();
}
END_TEST

/* What listeners heard, in order. */
static char heard[200];

static int hear(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    size_t end = strlen(heard);
    snprintf(heard + end, sizeof(heard) - end, "%s%s:%s", end == 0 ? "" : " ",
        (const char *) context, notice->event->type);
    bool is_before = strcmp(context, "before") == 0;
    if (is_before && strcmp(notice->event->type, "veto") == 0) {
        return -1;
    }
    return is_before && strcmp(notice->event->type, "chain") == 0
        ? publish_type(inside, "link", why)
        : 0;
}

static void add_listener(enum sluice_phase phase, const char *name)
{
    struct sluice_listener_options options = {
        .name = name, .phase = phase, .context = (void *) (uintptr_t) name};
    int status = sluice_listen(sluice_worker_database(workers[0]), &options, hear, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

START_TEST(listeners_hear_in_their_phases_and_may_publish_and_veto)
{
    set_up(1);
    heard[0] = '\0';
    add_listener(SLUICE_BEFORE_COMMIT, "before");
    add_listener(SLUICE_AFTER_COMMIT, "commit");
    add_listener(SLUICE_AFTER_ROLLBACK, "rollback");
    struct errand chain = {.word = "chain"};
    run_job(&chain, put_and_publish);
    ck_assert_int_eq(chain.code, SLUICE_OK);
    ck_assert_str_eq(heard, "before:chain before:link commit:chain commit:link");
    heard[0] = '\0';
    struct errand veto = {.word = "veto"};
    run_job(&veto, put_and_publish);
    ck_assert_int_eq(veto.code, SLUICE_LISTENER);
    ck_assert_str_eq(heard, "before:veto rollback:veto");
    ck_assert_str_eq(words(), "chain");
    ck_assert_str_eq(types(), "chain link");
    tear_down();
}
END_TEST

/* A promise that the loop's thread keeps: by a timer, while the work waits. */
static void grant(uv_async_t *signal)
{
    sluice_task_succeed(wished);
    uv_close((uv_handle_t *) signal, NULL);
}

START_TEST(a_work_waits_for_a_task_that_the_loop_itself_keeps)
{
    set_up(1);
    struct errand errand = {.word = "w"};
    ck_assert_int_eq(uv_async_init(&loop, &wish, grant), 0);
    run_job(&errand, wish_and_await);
    ck_assert_msg(errand.code == SLUICE_OK, "%s", errand.error.text);
    ck_assert_str_eq(words(), "w");
    tear_down();
}
END_TEST

static void *grant_elsewhere(void *context)
{
    sluice_task_succeed(context);
    return NULL;
}

static int wish_of_a_thread(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    sluice_task *task;
    pthread_t thread;
    put(inside, errand->word);
    ck_assert_int_eq(sluice_task_new(inside, &task, why), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, grant_elsewhere, task), 0);
    ck_assert_int_eq(pthread_detach(thread), 0);
    return sluice_task_await(inside, task, 0, why);
}

static int forget_a_task(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    return sluice_task_new(inside, &wished, why);
}

static int await_too_long(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    put(inside, errand->word);
    ck_assert_int_eq(sluice_task_new(inside, &wished, why), 0);
    return sluice_task_await(inside, wished, 30, why);
}

START_TEST(a_task_is_kept_by_a_thread_or_forgotten_or_too_late)
{
    set_up(1);
    struct errand kept = {.word = "kept"};
    run_job(&kept, wish_of_a_thread);
    ck_assert_msg(kept.code == SLUICE_OK, "%s", kept.error.text);
    struct errand forgotten = {.word = "forgotten"};
    run_job(&forgotten, forget_a_task);
    ck_assert_int_eq(forgotten.code, SLUICE_LISTENER);
    ck_assert_ptr_nonnull(strstr(forgotten.error.text, "was not handed back"));
    ck_assert_int_ne(sluice_task_is_cancelled(wished), 0);
    sluice_task_succeed(wished);
    struct errand late = {.word = "late"};
    run_job(&late, await_too_long);
    ck_assert_int_eq(late.code, SLUICE_BUSY);
    ck_assert_ptr_nonnull(strstr(late.error.text, "was not done within 30 ms"));
    sluice_task_fail(wished, NULL);
    ck_assert_str_eq(words(), "kept");
    tear_down();
}
END_TEST

/* Two works that wait for each other on one thread: the first for the loop, which looks whether
 * the second has come to the row that the first holds. */
static struct errand *second;
static uv_timer_t look;

static void let_the_first_go(uv_timer_t *timer)
{
    sluice_task_succeed(wished);
    uv_close((uv_handle_t *) timer, NULL);
}

static void start_the_second(uv_async_t *signal)
{
    start_on(workers[1], second, put_and_publish);
    ck_assert_int_eq(uv_timer_start(&look, let_the_first_go, 100, 0), 0);
    uv_close((uv_handle_t *) signal, NULL);
}

START_TEST(a_work_that_waits_for_a_lock_holds_up_neither_the_loop_nor_who_has_the_lock)
{
    set_up(2);
    struct errand first = {.word = "same"};
    struct errand other = {.word = "same"};
    second = &other;
    ck_assert_int_eq(uv_timer_init(&loop, &look), 0);
    ck_assert_int_eq(uv_async_init(&loop, &wish, start_the_second), 0);
    start_on(workers[0], &first, wish_and_await);
    run_loop();
    ck_assert_msg(first.code == SLUICE_OK, "%s", first.error.text);
    ck_assert_int_eq(other.code, SLUICE_CONSTRAINT);
    ck_assert_str_eq(words(), "same");
    ck_assert_str_eq(types(), "");
    tear_down();
}
END_TEST

static int count_threads(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

static int add_number(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    char word[20];
    snprintf(word, sizeof(word), "%d", errand->number);
    return put_word(inside, word, why) != 0 ? -1 : publish_type(inside, "Number", why);
}

static void keep_number(void *context, const struct sluice_value *columns, size_t count)
{
    (void) count;
    *(int64_t *) context = columns[0].integer;
}

static int64_t count_words(void)
{
    int64_t number = -1;
    int status =
        sluice_query(database, "SELECT count(*) FROM word", NULL, 0, keep_number, &number, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return number;
}

START_TEST(many_workers_share_one_loop_and_on_postgresql_no_thread_is_made)
{
    enum { JOBS = 10 };
    bool is_threadless = test_database_is("postgresql");
    int count = is_threadless ? WORKERS_MAX : 4;
    int threads = count_threads();
    static struct errand errands[WORKERS_MAX * JOBS];
    memset(errands, 0, sizeof(errands));
    set_up(count);
    for (int i = 0; i < count * JOBS; i++) {
        errands[i].number = i;
        start_on(workers[i % count], &errands[i], add_number);
    }
    run_loop();
    for (int i = 0; i < count * JOBS; i++) {
        ck_assert_msg(errands[i].code == SLUICE_OK, "%s", errands[i].error.text);
    }
    if (is_threadless) {
        ck_assert_int_le(count_threads(), threads);
    }
    ck_assert_int_eq(count_words(), count * JOBS);
    tear_down();
}
END_TEST

DATABASE_UNIT_MAIN("worker_on_loop", a_job_commits_its_data_and_its_events_together_or_neither,
    propagation_is_what_it_is_elsewhere, listeners_hear_in_their_phases_and_may_publish_and_veto,
    a_work_waits_for_a_task_that_the_loop_itself_keeps,
    a_task_is_kept_by_a_thread_or_forgotten_or_too_late,
    a_work_that_waits_for_a_lock_holds_up_neither_the_loop_nor_who_has_the_lock,
    many_workers_share_one_loop_and_on_postgresql_no_thread_is_made)
