/*
 * Tasks that a commit waits for, asynchronous listeners, and detached ones.
 */
#include <pthread.h>
#include <sluice/listener.h>
#include <uv.h>

#include "base/clock.h"
#include "support/wallet.h"

static void listen_async(const char *name, sluice_async_listener listener, void *context)
{
    struct sluice_listener_options options = {
        .name = name, .type = "A", .task_timeout_ms = 200, .context = context};
    int status = sluice_listen_async(database, &options, listener, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

/* Publish A in a transaction; what its commit returns. */
static int commit_a(void)
{
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    put(database, "w");
    publish(database, "A");
    return sluice_commit(database, &error);
}

static void check_refused(const char *part)
{
    ck_assert_int_eq(commit_a(), -1);
    ck_assert_msg(strstr(error.text, part) != NULL, "no '%s' in '%s'", part, error.text);
    ck_assert_str_eq(words(), "");
    ck_assert_str_eq(types(), "");
}

static sluice_task *hand_back_nothing(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    (void) inside;
    (void) notice;
    if (context != NULL) {
        snprintf(why->text, sizeof(why->text), "%s", (const char *) context);
    }
    return NULL;
}

START_TEST(an_asynchronous_listener_that_hands_back_no_task_fails_loudly_and_rolls_back)
{
    open_wallet();
    listen_async("forgets", hand_back_nothing, NULL);
    check_refused("the asynchronous listener 'forgets' handed back no task");
    ck_assert_int_eq(error.code, SLUICE_LISTENER);
    close_wallet();
}
END_TEST

START_TEST(an_asynchronous_listener_may_veto)
{
    open_wallet();
    listen_async("vetoes", hand_back_nothing, "not today");
    check_refused("the listener 'vetoes' refused the commit: not today");
    close_wallet();
}
END_TEST

static int write_in_task(sluice_database *inside, void *context, struct sluice_error *why)
{
    ck_assert_ptr_eq(inside, database);
    put(inside, "by-the-task");
    publish(inside, "ByTask");
    if (context != NULL) {
        snprintf(why->text, sizeof(why->text), "%s", (const char *) context);
        return -1;
    }
    return 0;
}

static sluice_task *begin_work(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    sluice_task *task = NULL;
    (void) notice;
    int status = sluice_task_work(inside, write_in_task, context, &task, why);
    ck_assert_int_eq(status, 0);
    return task;
}

START_TEST(the_work_of_a_task_runs_inside_of_the_transaction)
{
    open_wallet();
    listen_async("works", begin_work, NULL);
    int status = commit_a();
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_str_eq(words(), "by-the-task w");
    ck_assert_str_eq(types(), "A ByTask");
    close_wallet();
    open_wallet();
    listen_async("works", begin_work, "the task has its reasons");
    check_refused("the task of the listener 'works' failed: the task has its reasons");
    close_wallet();
}
END_TEST

/* A promise that another thread keeps, once the committing thread can be seen to wait or later. */
struct keeper {
    sluice_task *task;
    pthread_t thread;
    bool is_failing;
    bool is_waiting_for_cancel;
    bool is_begun;
};

static void *keep_promise(void *context)
{
    struct keeper *keeper = context;
    struct timespec pause = {.tv_nsec = 5000000};
    struct sluice_error why = {.code = SLUICE_UNAVAILABLE, .reaction = SLUICE_RETRY};
    while (keeper->is_waiting_for_cancel && !sluice_task_is_cancelled(keeper->task)) {
        nanosleep(&pause, NULL);
    }
    snprintf(why.text, sizeof(why.text), "the other service is away");
    if (keeper->is_failing) {
        sluice_task_fail(keeper->task, &why);
    } else {
        pause.tv_nsec = 100000000; /* so long that a commit which does not wait is over before */
        nanosleep(&pause, NULL);
        sluice_task_succeed(keeper->task);
    }
    return NULL;
}

static sluice_task *begin_promise(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    struct keeper *keeper = context;
    (void) notice;
    ck_assert_int_eq(sluice_task_new(inside, &keeper->task, why), 0);
    ck_assert_int_eq(pthread_create(&keeper->thread, NULL, keep_promise, keeper), 0);
    keeper->is_begun = true;
    return keeper->task;
}

static void join(struct keeper *keeper)
{
    ck_assert(keeper->is_begun);
    ck_assert_int_eq(pthread_join(keeper->thread, NULL), 0);
}

START_TEST(a_commit_waits_for_a_promise_that_another_thread_keeps)
{
    open_wallet();
    struct keeper keeper = {0};
    listen_async("asks", begin_promise, &keeper);
    int status = commit_a();
    ck_assert_msg(status == 0, "%s", error.text);
    join(&keeper);
    ck_assert_str_eq(words(), "w");
    close_wallet();
}
END_TEST

START_TEST(a_promise_that_is_broken_rolls_back_with_its_reason)
{
    open_wallet();
    struct keeper keeper = {.is_failing = true};
    listen_async("asks", begin_promise, &keeper);
    check_refused("the task of the listener 'asks' failed: the other service is away");
    ck_assert_int_eq(error.reaction, SLUICE_RETRY);
    join(&keeper);
    close_wallet();
}
END_TEST

START_TEST(a_promise_that_nobody_keeps_in_time_rolls_back_and_is_cancelled)
{
    open_wallet();
    struct keeper keeper = {.is_waiting_for_cancel = true};
    listen_async("asks", begin_promise, &keeper);
    check_refused("a task of 'asks' was not done within 200 ms");
    join(&keeper); /* ends only once it has seen that nobody waits */
    close_wallet();
}
END_TEST

/* Hands back another task than the one it has begun last, which nobody would wait for. */
static sluice_task *hand_back_the_first(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    sluice_task *forgotten;
    sluice_task *task = begin_work(inside, notice, context, why);
    ck_assert_int_eq(sluice_task_work(inside, write_in_task, NULL, &forgotten, why), 0);
    return task;
}

START_TEST(a_task_that_is_begun_and_not_handed_back_rolls_back)
{
    open_wallet();
    listen_async("drops-one", hand_back_the_first, NULL);
    check_refused("a task that 'drops-one' began was not handed back");
    close_wallet();
}
END_TEST

static int begin_and_forget(sluice_database *inside, void *context, struct sluice_error *why)
{
    sluice_task *task;
    (void) context;
    put(inside, "w");
    return sluice_task_work(inside, write_in_task, NULL, &task, why);
}

static int begin_and_await(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct keeper *keeper = context;
    sluice_task *task;
    begin_promise(inside, NULL, keeper, why);
    ck_assert_int_eq(sluice_task_await(inside, keeper->task, 5000, why), 0);
    ck_assert_int_eq(sluice_task_work(inside, write_in_task, NULL, &task, why), 0);
    return sluice_task_await(inside, task, 0, why);
}

START_TEST(a_work_awaits_the_tasks_that_it_begins)
{
    open_wallet();
    struct keeper keeper = {0};
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_REQUIRED, begin_and_forget, NULL, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "the service began was not handed back"));
    ck_assert_str_eq(words(), "");
    int status = sluice_transaction(database, SLUICE_REQUIRED, begin_and_await, &keeper, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    join(&keeper);
    ck_assert_str_eq(words(), "by-the-task");
    close_wallet();
}
END_TEST

/* Gives up too early on a promise; the commit itself waits for it. */
static int give_up(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct keeper *keeper = context;
    struct sluice_error early;
    ck_assert_int_eq(sluice_task_new(inside, &keeper->task, why), 0);
    ck_assert_int_eq(sluice_task_await(inside, keeper->task, 1, &early), -1);
    ck_assert_int_eq(early.code, SLUICE_BUSY);
    put(inside, "w");
    ck_assert_int_eq(pthread_create(&keeper->thread, NULL, keep_promise, keeper), 0);
    keeper->is_begun = true;
    return 0;
}

START_TEST(nothing_commits_while_a_task_is_outstanding)
{
    open_wallet();
    struct keeper keeper = {.is_failing = true};
    ck_assert_int_eq(sluice_transaction(database, SLUICE_REQUIRED, give_up, &keeper, &error), -1);
    join(&keeper);
    ck_assert_str_eq(error.text, "the other service is away");
    ck_assert_str_eq(words(), "");
    close_wallet();
}
END_TEST

static sluice_task *hand_back_anothers(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    sluice_task **place_of_task = context;
    (void) inside;
    (void) notice;
    (void) why;
    return *place_of_task;
}

START_TEST(a_task_of_another_transaction_is_not_taken)
{
    open_wallet();
    sluice_task *other_task = (sluice_task *) &place;
    listen_async("mixes-up", hand_back_anothers, &other_task);
    check_refused("'mixes-up' handed back a task of another transaction");
    ck_assert_int_eq(sluice_task_new(database, &other_task, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_task_work(database, NULL, NULL, &other_task, &error), -1);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(sluice_task_await(database, other_task, 0, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(sluice_rollback(database, &error), 0);
    close_wallet();
}
END_TEST

static int begin_and_fail(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) why;
    begin_promise(inside, NULL, context, why);
    return -1;
}

START_TEST(a_task_of_a_savepoint_that_is_undone_is_cancelled_with_it)
{
    open_wallet();
    struct keeper keeper = {.is_waiting_for_cancel = true};
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_NESTED, begin_and_fail, &keeper, &error), -1);
    join(&keeper);
    put(database, "w");
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_str_eq(words(), "w");
    close_wallet();
}
END_TEST

/* Detached listeners. What they and the failure function note is read after the close. */
static pthread_t detached_thread;
static sluice_database *detached_database;
static char detached_failure[600];

static int work_detached(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    detached_thread = pthread_self();
    detached_database = inside;
    ck_assert_int_eq(notice->completion, SLUICE_COMMITTED);
    put(inside, "detached");
    if (strcmp(notice->event->type, "A") == 0) {
        publish(inside, "Answer");
    }
    if (context != NULL) {
        snprintf(why->text, sizeof(why->text), "%s", (const char *) context);
        return -1;
    }
    return 0;
}

static void note_failure(const char *listener, const struct sluice_event *event,
    const struct sluice_error *why, void *context)
{
    (void) context;
    snprintf(
        detached_failure, sizeof(detached_failure), "%s %s %s", listener, event->type, why->text);
}

static void listen_detached(void *context)
{
    struct sluice_listener_options options = {.name = "mail", .type = "A", .context = context};
    detached_failure[0] = '\0';
    sluice_on_listener_failure(database, note_failure, NULL);
    int status = sluice_listen_detached(database, &options, work_detached, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void reopen(void)
{
    sluice_database_close(database); /* waits for what is detached */
    ck_assert_int_eq(sluice_database_open(place.url, &database, &error), 0);
}

START_TEST(a_detached_listener_has_a_thread_and_a_transaction_of_its_own)
{
    open_wallet();
    listen_detached(NULL);
    ck_assert_int_eq(commit_a(), 0);
    reopen();
    ck_assert_str_eq(words(), "detached w");
    ck_assert_str_eq(types(), "A Answer");
    ck_assert(!pthread_equal(detached_thread, pthread_self()));
    ck_assert_str_eq(detached_failure, "");
    close_wallet();
}
END_TEST

START_TEST(a_detached_listener_that_fails_undoes_its_own_work_only_and_is_told)
{
    open_wallet();
    listen_detached("no mail today");
    ck_assert_int_eq(commit_a(), 0);
    reopen();
    ck_assert_str_eq(words(), "w");
    ck_assert_str_eq(types(), "A");
    ck_assert_str_eq(detached_failure, "mail A the detached listener 'mail' failed: no mail today");
    close_wallet();
}
END_TEST

START_TEST(a_detached_listener_hears_nothing_of_a_rollback)
{
    open_wallet();
    listen_detached(NULL);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    publish(database, "A");
    ck_assert_int_eq(sluice_rollback(database, &error), 0);
    reopen();
    ck_assert_str_eq(words(), "");
    close_wallet();
}
END_TEST

START_TEST(a_detached_listener_on_an_adopted_connection_asks_for_a_url)
{
    open_wallet();
    if (sluice_database_sqlite(database) != NULL) {
        struct sluice_listener_options options = {.name = "mail"};
        sluice_database *adopted;
        ck_assert_int_eq(
            sluice_database_adopt_sqlite(sluice_database_sqlite(database), &adopted, &error), 0);
        ck_assert_int_eq(sluice_listen_detached(adopted, &options, work_detached, &error), -1);
        ck_assert_int_eq(error.code, SLUICE_UNSUPPORTED);
        ck_assert_int_eq(sluice_database_set_url(adopted, place.url, &error), 0);
        ck_assert_int_eq(sluice_listen_detached(adopted, &options, work_detached, &error), 0);
        sluice_database_close(adopted);
    }
    close_wallet();
}
END_TEST

DATABASE_UNIT_MAIN("task",
    an_asynchronous_listener_that_hands_back_no_task_fails_loudly_and_rolls_back,
    an_asynchronous_listener_may_veto, the_work_of_a_task_runs_inside_of_the_transaction,
    a_commit_waits_for_a_promise_that_another_thread_keeps,
    a_promise_that_is_broken_rolls_back_with_its_reason,
    a_promise_that_nobody_keeps_in_time_rolls_back_and_is_cancelled,
    a_task_that_is_begun_and_not_handed_back_rolls_back, a_work_awaits_the_tasks_that_it_begins,
    nothing_commits_while_a_task_is_outstanding, a_task_of_another_transaction_is_not_taken,
    a_task_of_a_savepoint_that_is_undone_is_cancelled_with_it,
    a_detached_listener_has_a_thread_and_a_transaction_of_its_own,
    a_detached_listener_that_fails_undoes_its_own_work_only_and_is_told,
    a_detached_listener_hears_nothing_of_a_rollback,
    a_detached_listener_on_an_adopted_connection_asks_for_a_url)
