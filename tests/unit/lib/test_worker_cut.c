/*
 * Workers on a loop and PostgreSQL: the outcome of a commit whose answer is lost, and what the
 * non-blocking parts of libpq must get right.
 */
#include <sluice/task.h>

#include "support/cut_proxy.h"
#include "support/on_loop.h"
#include "support/postgresql.h"

static int cut_the_commit(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    if (put_and_publish(inside, context, why) != 0) {
        return -1;
    }
    proxy_cut_at_commit(errand->number == 1);
    return 0;
}

static void commit_through_a_cut(struct errand *errand)
{
    set_up(0);
    open_one(proxy_start(&place));
    run_job(errand, cut_the_commit);
    ck_assert(proxy_has_cut());
    struct errand next = {.word = "next"};
    run_job(&next, put_and_publish);
    ck_assert_msg(next.code == SLUICE_OK, "%s", next.error.text);
}

static void end_cut(void)
{
    tear_down();
    proxy_stop();
}

START_TEST(a_job_whose_commit_was_not_answered_is_looked_up_and_was_committed)
{
    struct errand errand = {.word = "a", .number = 1};
    commit_through_a_cut(&errand);
    ck_assert_msg(errand.code == SLUICE_OK, "%s", errand.error.text);
    ck_assert_str_eq(words(), "a next");
    ck_assert_str_eq(types(), "a next");
    end_cut();
}
END_TEST

START_TEST(a_job_whose_commit_never_arrived_is_looked_up_and_was_rolled_back)
{
    struct errand errand = {.word = "a"};
    commit_through_a_cut(&errand);
    ck_assert_int_eq(errand.code, SLUICE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(errand.error.text, "was rolled back"));
    ck_assert_str_eq(words(), "next");
    ck_assert_str_eq(types(), "next");
    end_cut();
}
END_TEST

/* More than sockets hold, both ways. */
enum { LARGE_SIZE = 8 << 20 };

static void keep_size(void *context, const struct sluice_value *columns, size_t count)
{
    (void) count;
    *(size_t *) context = columns[0].size;
}

static int send_and_fetch(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    struct sluice_value value = sluice_bytes(errand->word, LARGE_SIZE);
    size_t size = 0;
    int status = sluice_query(inside, "SELECT ?1 || ?1", &value, 1, keep_size, &size, why);
    ck_assert_uint_eq(size, status == 0 ? 2 * (size_t) LARGE_SIZE : 0);
    return status != 0 ? -1 : put_word(inside, "large", why);
}

START_TEST(what_no_socket_holds_is_sent_and_fetched_piece_by_piece)
{
    set_up(1);
    static const char large[LARGE_SIZE];
    struct errand errand = {.word = large};
    run_job(&errand, send_and_fetch);
    ck_assert_msg(errand.code == SLUICE_OK, "%s", errand.error.text);
    ck_assert_str_eq(words(), "large");
    tear_down();
}
END_TEST

static int begin_copy(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    return sluice_execute(inside, "COPY word FROM STDIN", NULL, 0, NULL, why);
}

START_TEST(a_copy_that_a_job_begins_by_mistake_is_undone_with_the_job)
{
    set_up(1);
    struct errand errand = {.word = "copy"};
    run_job(&errand, begin_copy);
    ck_assert_int_ne(errand.code, SLUICE_OK);
    struct errand next = {.word = "next"};
    run_job(&next, put_and_publish);
    ck_assert_msg(next.code == SLUICE_OK, "%s", next.error.text);
    ck_assert_str_eq(words(), "next");
    tear_down();
}
END_TEST

/* The loop's thread is the one that the work runs on; still it is not the work. */
static enum sluice_code code_of_others;

static void use_the_database(uv_async_t *signal)
{
    struct sluice_error why = {.code = SLUICE_OK};
    uv_close((uv_handle_t *) signal, NULL);
    code_of_others = SLUICE_OK;
    if (put_word(sluice_worker_database(workers[0]), "stranger", &why) != 0) {
        code_of_others = why.code;
    }
    sluice_task_succeed(wished);
}

START_TEST(the_loop_cannot_write_into_the_transaction_of_a_job_that_rests)
{
    set_up(1);
    struct errand errand = {.word = "w"};
    ck_assert_int_eq(uv_async_init(&loop, &wish, use_the_database), 0);
    run_job(&errand, wish_and_await);
    ck_assert_msg(errand.code == SLUICE_OK, "%s", errand.error.text);
    ck_assert_int_eq(code_of_others, SLUICE_INVALID);
    ck_assert_str_eq(words(), "w");
    tear_down();
}
END_TEST

/* A lock of the test's own, which one job waits for and the other lets go of at its end. */
static PGconn *holder;

static int wait_for_lock(sluice_database *inside, void *context, struct sluice_error *why)
{
    return sluice_execute(inside, "SELECT pg_advisory_xact_lock(1)", NULL, 0, NULL, why) != 0
        ? -1
        : put_and_publish(inside, context, why);
}

static void unlock(struct errand *errand)
{
    (void) errand;
    pg_run(holder, "SELECT pg_advisory_unlock(1)");
}

START_TEST(a_statement_that_waits_in_the_server_holds_up_no_other_worker)
{
    set_up(2);
    struct errand waits = {.word = "waits"};
    struct errand other = {.word = "other", .then = unlock};
    holder = pg_open(place.url);
    pg_run(holder, "SELECT pg_advisory_lock(1)");
    start_on(workers[0], &waits, wait_for_lock);
    start_on(workers[1], &other, put_and_publish);
    run_loop();
    ck_assert_msg(waits.code == SLUICE_OK, "%s", waits.error.text);
    ck_assert_msg(other.code == SLUICE_OK, "%s", other.error.text);
    ck_assert_str_eq(words(), "other waits");
    PQfinish(holder);
    tear_down();
}
END_TEST

static int lose(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    return lose_connection(inside, why);
}

START_TEST(a_server_that_is_away_fails_the_job_with_its_name_and_is_found_again)
{
    set_up(0);
    open_one(proxy_start(&place));
    struct errand lost = {.word = "lost"};
    run_job(&lost, lose);
    ck_assert_int_eq(lost.code, SLUICE_UNAVAILABLE);
    proxy_stop();
    struct errand away = {.word = "away"};
    run_job(&away, put_and_publish);
    ck_assert_int_eq(away.code, SLUICE_UNAVAILABLE);
    ck_assert_int_eq(away.error.reaction, SLUICE_RETRY);
    ck_assert_ptr_nonnull(strstr(away.error.text, "cannot connect to database 'sluice_test_"));
    ck_assert_ptr_nonnull(strstr(away.error.text, "check that the server runs"));
    ck_assert_str_eq(words(), "");
    tear_down();
}
END_TEST

/* A server that takes connections and never says a word. */
static int open_silent(int timeout_seconds, char *ret_url, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int silent = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(silent, (struct sockaddr *) &address, length), 0);
    ck_assert_int_eq(listen(silent, 5), 0);
    ck_assert_int_eq(getsockname(silent, (struct sockaddr *) &address, &length), 0);
    snprintf(ret_url, size,
        "postgresql://postgres@127.0.0.1:%d/x?sslmode=disable&connect_timeout=%d",
        ntohs(address.sin_port), timeout_seconds);
    return silent;
}

static int use_a_silent_server(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct errand *errand = context;
    struct sluice_error other = {.code = SLUICE_OK};
    sluice_database *none = NULL;
    ck_assert_int_eq(sluice_database_open(errand->word, &none, &other), -1);
    ck_assert_int_eq(other.code, SLUICE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(other.text, "cannot connect to"));
    return put_word(inside, "after", why);
}

START_TEST(a_server_that_never_answers_is_given_up)
{
    char url[120];
    set_up(1);
    int silent = open_silent(2, url, sizeof(url));
    struct errand errand = {.word = url};
    run_job(&errand, use_a_silent_server);
    ck_assert_msg(errand.code == SLUICE_OK, "%s", errand.error.text);
    ck_assert_str_eq(words(), "after");
    close(silent);
    tear_down();
}
END_TEST

/* The other job's end is what ends the silence. */
static int silent_listener;

static void end_silence(struct errand *errand)
{
    (void) errand;
    close(silent_listener);
}

START_TEST(a_server_that_does_not_answer_holds_up_no_other_worker)
{
    char url[120];
    set_up(2);
    silent_listener = open_silent(600, url, sizeof(url));
    struct errand errand = {.word = url};
    struct errand other = {.word = "other", .then = end_silence};
    start_on(workers[0], &errand, use_a_silent_server);
    start_on(workers[1], &other, put_and_publish);
    run_loop();
    ck_assert_msg(errand.code == SLUICE_OK, "%s", errand.error.text);
    ck_assert_int_eq(other.code, SLUICE_OK);
    ck_assert_str_eq(words(), "after other");
    tear_down();
}
END_TEST

POSTGRESQL_UNIT_MAIN("worker_cut",
    a_job_whose_commit_was_not_answered_is_looked_up_and_was_committed,
    a_job_whose_commit_never_arrived_is_looked_up_and_was_rolled_back,
    what_no_socket_holds_is_sent_and_fetched_piece_by_piece,
    a_copy_that_a_job_begins_by_mistake_is_undone_with_the_job,
    the_loop_cannot_write_into_the_transaction_of_a_job_that_rests,
    a_statement_that_waits_in_the_server_holds_up_no_other_worker,
    a_server_that_is_away_fails_the_job_with_its_name_and_is_found_again,
    a_server_that_never_answers_is_given_up, a_server_that_does_not_answer_holds_up_no_other_worker)
