/*
 * Propagation: what becomes of work in a transaction when it, or what is around it, fails.
 */
#include <pthread.h>
#include <sqlite3.h>

#include "support/wallet.h"

/* A step of work: write a word, run another step by its propagation, then end as told. */
struct step {
    const char *word;
    enum sluice_propagation propagation; /* 0: no further step */
    struct step *next;
    bool is_ignoring; /* goes on though the next step has failed */
    int result;
    enum sluice_code seen; /* what the next step failed with */
    sluice_database *given;
};

static int run_step(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct step *step = context;
    struct sluice_error inner = {.code = SLUICE_OK};
    step->given = inside;
    put(inside, step->word);
    if (step->propagation != 0 &&
        sluice_transaction(inside, step->propagation, run_step, step->next, &inner) != 0) {
        step->seen = inner.code;
        if (!step->is_ignoring) {
            *why = inner;
            return -1;
        }
    }
    if (step->result != 0) {
        snprintf(why->text, sizeof(why->text), "%s fails", step->word);
    }
    return step->result;
}

static int run(enum sluice_propagation propagation, struct step *step)
{
    return sluice_transaction(database, propagation, run_step, step, &error);
}

START_TEST(required_begins_a_transaction_that_the_works_answer_ends)
{
    open_wallet();
    struct step good = {.word = "good"};
    struct step bad = {.word = "bad", .result = -1};
    ck_assert_int_eq(run(SLUICE_REQUIRED, &good), 0);
    ck_assert_int_eq(run(SLUICE_REQUIRED, &bad), -1);
    ck_assert_str_eq(error.text, "bad fails");
    ck_assert_int_eq(error.code, SLUICE_HANDLER);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_str_eq(words(), "good");
    ck_assert_int_eq(sluice_transaction(database, SLUICE_REQUIRED, run_step, &bad, NULL), -1);
    close_wallet();
}
END_TEST

START_TEST(required_takes_part_in_the_open_transaction)
{
    open_wallet();
    struct step inner = {.word = "inner"};
    struct step outer = {
        .word = "outer", .propagation = SLUICE_REQUIRED, .next = &inner, .result = -1};
    ck_assert_int_eq(run(SLUICE_REQUIRED, &outer), -1);
    ck_assert_str_eq(words(), "");
    ck_assert_ptr_eq(inner.given, outer.given);
    close_wallet();
}
END_TEST

START_TEST(an_inner_failure_that_is_swallowed_fails_the_commit_loudly)
{
    open_wallet();
    struct step inner = {.word = "inner", .result = -1};
    struct step outer = {
        .word = "outer", .propagation = SLUICE_REQUIRED, .next = &inner, .is_ignoring = true};
    ck_assert_int_eq(run(SLUICE_REQUIRED, &outer), -1);
    ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
    ck_assert_ptr_nonnull(strstr(error.text, "inner fails"));
    ck_assert_str_eq(words(), "");
    /* The same with the transaction begun by hand; nothing is published into it any more. */
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    put(database, "by-hand");
    ck_assert_int_eq(run(SLUICE_MANDATORY, &inner), -1);
    ck_assert_int_eq(publish_type(database, "T", &error), -1);
    ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
    ck_assert_int_eq(run(SLUICE_REQUIRED, &inner), -1);
    ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
    ck_assert_str_eq(words(), "");
    /* The next transaction knows nothing of it. */
    struct step good = {.word = "good"};
    ck_assert_int_eq(run(SLUICE_REQUIRED, &good), 0);
    close_wallet();
}
END_TEST

START_TEST(mandatory_without_a_transaction_calls_nothing)
{
    open_wallet();
    struct step step = {.word = "w"};
    ck_assert_int_eq(run(SLUICE_MANDATORY, &step), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_ptr_null(step.given);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(run(SLUICE_MANDATORY, &step), 0);
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_str_eq(words(), "w");
    close_wallet();
}
END_TEST

START_TEST(nested_is_undone_alone_at_any_depth)
{
    open_wallet();
    struct step e = {.word = "e"};
    struct step d = {.word = "d", .propagation = SLUICE_NESTED, .next = &e};
    struct step c = {.word = "c", .propagation = SLUICE_NESTED, .next = &d, .result = -1};
    struct step b = {.word = "b", .propagation = SLUICE_NESTED, .next = &c, .is_ignoring = true};
    struct step a = {.word = "a", .propagation = SLUICE_NESTED, .next = &b};
    struct step top = {.word = "top", .propagation = SLUICE_NESTED, .next = &a};
    ck_assert_int_eq(run(SLUICE_NESTED, &top), 0);
    ck_assert_str_eq(words(), "a b top");
    ck_assert_int_eq(b.seen, SLUICE_HANDLER);
    close_wallet();
}
END_TEST

START_TEST(a_failure_that_took_part_behind_a_savepoint_is_undone_with_it_and_no_more)
{
    open_wallet();
    struct step joined = {.word = "joined", .result = -1};
    struct step nested = {
        .word = "nested", .propagation = SLUICE_REQUIRED, .next = &joined, .is_ignoring = true};
    struct step outer = {
        .word = "outer", .propagation = SLUICE_NESTED, .next = &nested, .is_ignoring = true};
    ck_assert_int_eq(run(SLUICE_REQUIRED, &outer), 0);
    ck_assert_int_eq(outer.seen, SLUICE_ROLLBACK_ONLY);
    ck_assert_str_eq(words(), "outer");
    close_wallet();
}
END_TEST

/* Events of a savepoint go with it. */
static int publish_nested(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) why;
    publish(inside, context);
    return strcmp(context, "Undone") == 0 ? -1 : 0;
}

START_TEST(an_event_of_a_savepoint_that_was_undone_is_not_in_the_outbox)
{
    open_wallet();
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_NESTED, publish_nested, "Undone", &error), -1);
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_NESTED, publish_nested, "Kept", &error), 0);
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_str_eq(types(), "Kept");
    close_wallet();
}
END_TEST

START_TEST(requires_new_beside_the_one_write_lock_is_refused_at_once)
{
    open_wallet();
    struct step own = {.word = "own"};
    struct step outer = {.word = "outer", .propagation = SLUICE_REQUIRES_NEW, .next = &own};
    if (has_one_writer()) {
        ck_assert_int_eq(run(SLUICE_REQUIRED, &outer), -1);
        ck_assert_int_eq(error.code, SLUICE_BUSY);
        ck_assert_int_eq(error.reaction, SLUICE_REJECT);
        ck_assert_ptr_nonnull(strstr(error.text, "SLUICE_REQUIRES_NEW"));
        ck_assert_ptr_null(own.given);
    }
    close_wallet();
}
END_TEST

/* What may be called on the outer database while a work runs beside it: nothing. */
static int use_outer(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct sluice_error refused;
    ck_assert_ptr_ne(inside, database);
    ck_assert_int_eq(publish_type(database, "T", &refused), -1);
    ck_assert_int_eq(refused.code, SLUICE_INVALID);
    ck_assert_ptr_nonnull(strstr(refused.text, "suspended"));
    ck_assert_int_eq(sluice_commit(database, &refused), -1);
    return run_step(inside, context, why);
}

static int run_beside(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct step *step = context;
    if (sluice_transaction(inside, SLUICE_REQUIRES_NEW, use_outer, step, why) != 0) {
        return -1;
    }
    snprintf(why->text, sizeof(why->text), "the outer one fails");
    return -1;
}

START_TEST(requires_new_commits_whatever_becomes_of_the_transaction_around_it)
{
    open_wallet();
    struct step own = {.word = "own"};
    if (has_one_writer()) {
        /* One that only reads, begun by the service itself: the write lock is free. */
        ck_assert_int_eq(sluice_execute(database, "BEGIN", NULL, 0, NULL, &error), 0);
        ck_assert_str_eq(words(), "");
        int status = sluice_transaction(database, SLUICE_REQUIRES_NEW, use_outer, &own, &error);
        ck_assert_msg(status == 0, "%s", error.text);
        ck_assert_int_eq(sluice_rollback(database, &error), 0);
    } else {
        ck_assert_int_eq(
            sluice_transaction(database, SLUICE_REQUIRED, run_beside, &own, &error), -1);
        ck_assert_str_eq(error.text, "the outer one fails");
    }
    ck_assert_str_eq(words(), "own");
    /* The connection beside it is there already; without an outer one it is not needed. */
    struct step alone = {.word = "alone"};
    ck_assert_int_eq(run(SLUICE_REQUIRES_NEW, &alone), 0);
    ck_assert_ptr_eq(alone.given, database);
    close_wallet();
}
END_TEST

START_TEST(requires_new_on_an_adopted_connection_asks_for_a_url)
{
    open_wallet();
    sqlite3 *handle = sluice_database_sqlite(database);
    if (handle != NULL) {
        sluice_database *adopted;
        struct step own = {.word = "own"};
        ck_assert_int_eq(sluice_database_adopt_sqlite(handle, &adopted, &error), 0);
        ck_assert_int_eq(sqlite3_exec(handle, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
        ck_assert_int_eq(
            sluice_transaction(adopted, SLUICE_REQUIRES_NEW, run_step, &own, &error), -1);
        ck_assert_int_eq(error.code, SLUICE_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(error.text, "sluice_database_set_url"));
        ck_assert_int_eq(sluice_database_set_url(adopted, NULL, &error), -1);
        ck_assert_int_eq(sluice_database_set_url(adopted, place.url, &error), 0);
        ck_assert_int_eq(
            sluice_transaction(adopted, SLUICE_REQUIRES_NEW, run_step, &own, &error), 0);
        ck_assert_int_eq(sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        sluice_database_close(adopted);
        ck_assert_str_eq(words(), "own");
    }
    close_wallet();
}
END_TEST

START_TEST(in_a_transaction_of_the_services_own_failed_work_is_undone_at_once)
{
    open_wallet();
    struct step bad = {.word = "bad", .result = -1};
    struct step good = {.word = "good"};
    ck_assert_int_eq(sluice_execute(database, "BEGIN", NULL, 0, NULL, &error), 0);
    ck_assert_int_eq(run(SLUICE_REQUIRED, &bad), -1);
    ck_assert_int_eq(run(SLUICE_MANDATORY, &good), 0);
    ck_assert_int_eq(sluice_execute(database, "COMMIT", NULL, 0, NULL, &error), 0);
    ck_assert_str_eq(words(), "good");
    close_wallet();
}
END_TEST

/* Tries to end the transaction by our functions; says that all is well. */
static int end_inside(sluice_database *inside, void *context, struct sluice_error *why)
{
    put(inside, "w");
    ck_assert_int_eq(
        context == NULL ? sluice_commit(inside, why) : sluice_rollback(inside, why), -1);
    ck_assert_int_eq(why->code, SLUICE_INVALID);
    return 0;
}

START_TEST(a_work_cannot_commit_or_roll_back_what_it_runs_in)
{
    open_wallet();
    for (int i = 0; i < 2; i++) {
        void *choice = i == 0 ? NULL : &place;
        ck_assert_int_eq(
            sluice_transaction(database, SLUICE_REQUIRED, end_inside, choice, &error), -1);
        ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
        ck_assert_ptr_nonnull(strstr(error.text, "ends with the work"));
        ck_assert_int_eq(sluice_begin(database, &error), 0);
        ck_assert_int_eq(
            sluice_transaction(database, SLUICE_NESTED, end_inside, choice, &error), -1);
        ck_assert_int_eq(sluice_commit(database, &error), -1);
        ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
        ck_assert_int_eq(sluice_execute(database, "BEGIN", NULL, 0, NULL, &error), 0);
        ck_assert_int_eq(
            sluice_transaction(database, SLUICE_REQUIRED, end_inside, choice, &error), -1);
        ck_assert_int_eq(sluice_execute(database, "COMMIT", NULL, 0, NULL, &error), 0);
    }
    ck_assert_str_eq(words(), "");
    close_wallet();
}
END_TEST

static int commit_by_statement(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    return sluice_execute(inside, "COMMIT", NULL, 0, NULL, why);
}

START_TEST(a_work_that_ends_the_transaction_by_a_statement_is_told_so)
{
    open_wallet();
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_REQUIRED, commit_by_statement, NULL, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_HANDLER);
    ck_assert_int_eq(error.reaction, SLUICE_FATAL);
    ck_assert_ptr_nonnull(strstr(error.text, "by a statement of its own"));
    struct step good = {.word = "good"};
    ck_assert_int_eq(run(SLUICE_REQUIRED, &good), 0);
    close_wallet();
}
END_TEST

START_TEST(a_transaction_that_is_set_to_roll_back_does_so)
{
    open_wallet();
    ck_assert_int_eq(sluice_set_rollback_only(database, "why", &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    put(database, "w");
    ck_assert_int_eq(sluice_set_rollback_only(database, "a dry run", &error), 0);
    ck_assert_int_eq(sluice_set_rollback_only(database, NULL, &error), 0);
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "a dry run"));
    ck_assert_str_eq(words(), "");
    close_wallet();
}
END_TEST

static void *call_from_another_thread(void *context)
{
    struct sluice_error *refused = context;
    ck_assert_int_eq(publish_type(database, "T", refused), -1);
    ck_assert_int_eq(sluice_commit(database, refused), -1);
    return NULL;
}

static void call_elsewhere(struct sluice_error *refused)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, call_from_another_thread, refused), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static int let_another_thread_call(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) why;
    call_elsewhere(context);
    put(inside, "w");
    return 0;
}

static void *take_over_and_commit(void *context)
{
    ck_assert_int_eq(sluice_database_take_over(database, context), 0);
    ck_assert_int_eq(sluice_commit(database, context), 0);
    return NULL;
}

START_TEST(two_threads_on_one_database_are_refused_and_a_hand_over_is_said)
{
    open_wallet();
    struct sluice_error refused;
    pthread_t thread;
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_REQUIRED, let_another_thread_call, &refused, &error),
        0);
    ck_assert_int_eq(refused.code, SLUICE_INVALID);
    ck_assert_ptr_nonnull(strstr(refused.text, "in use by another thread at this moment"));
    ck_assert_int_eq(sluice_database_take_over(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_int_eq(sluice_begin(database, &error), 0);
    put(database, "v");
    call_elsewhere(&refused);
    ck_assert_int_eq(refused.code, SLUICE_INVALID);
    ck_assert_ptr_nonnull(strstr(refused.text, "sluice_database_take_over"));
    ck_assert_int_eq(pthread_create(&thread, NULL, take_over_and_commit, &refused), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_str_eq(words(), "v w");
    ck_assert_str_eq(types(), "");
    close_wallet();
}
END_TEST

static int close_inside(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    (void) why;
    sluice_database_close(inside);
    put(inside, "still-open");
    return 0;
}

START_TEST(what_makes_no_sense_is_refused_and_closing_in_use_does_nothing)
{
    open_wallet();
    struct step step = {.word = "w"};
    ck_assert_int_eq(sluice_transaction(NULL, SLUICE_REQUIRED, run_step, &step, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_int_eq(sluice_transaction(database, SLUICE_REQUIRED, NULL, &step, &error), -1);
    ck_assert_int_eq(
        sluice_transaction(database, (enum sluice_propagation) 0, run_step, &step, &error), -1);
    ck_assert_int_eq(sluice_begin(NULL, &error), -1);
    ck_assert_int_eq(sluice_commit(NULL, &error), -1);
    ck_assert_int_eq(sluice_rollback(NULL, &error), -1);
    ck_assert_int_eq(publish_type(NULL, "T", &error), -1);
    ck_assert_ptr_null(sluice_database_sqlite(NULL));
    ck_assert_int_eq(sluice_transaction(database, SLUICE_REQUIRED, close_inside, NULL, &error), 0);
    ck_assert_str_eq(words(), "still-open");
    close_wallet();
}
END_TEST

START_TEST(closing_with_an_open_transaction_rolls_it_back)
{
    open_wallet();
    sluice_database *second;
    ck_assert_int_eq(sluice_database_open(place.url, &second, &error), 0);
    ck_assert_int_eq(sluice_begin(second, &error), 0);
    put(second, "lost");
    publish(second, "Lost");
    sluice_database_close(second);
    ck_assert_str_eq(words(), "");
    ck_assert_str_eq(types(), "");
    sqlite3 *handle = sluice_database_sqlite(database);
    if (handle != NULL) {
        /* An adopted connection stays open, without our transaction. */
        ck_assert_int_eq(sluice_database_adopt_sqlite(handle, &second, &error), 0);
        ck_assert_int_eq(sluice_begin(second, &error), 0);
        sluice_database_close(second);
        ck_assert_int_ne(sqlite3_get_autocommit(handle), 0);
    }
    close_wallet();
}
END_TEST

DATABASE_UNIT_MAIN("transaction", required_begins_a_transaction_that_the_works_answer_ends,
    required_takes_part_in_the_open_transaction,
    an_inner_failure_that_is_swallowed_fails_the_commit_loudly,
    mandatory_without_a_transaction_calls_nothing, nested_is_undone_alone_at_any_depth,
    a_failure_that_took_part_behind_a_savepoint_is_undone_with_it_and_no_more,
    an_event_of_a_savepoint_that_was_undone_is_not_in_the_outbox,
    requires_new_beside_the_one_write_lock_is_refused_at_once,
    requires_new_commits_whatever_becomes_of_the_transaction_around_it,
    requires_new_on_an_adopted_connection_asks_for_a_url,
    in_a_transaction_of_the_services_own_failed_work_is_undone_at_once,
    a_work_cannot_commit_or_roll_back_what_it_runs_in,
    a_work_that_ends_the_transaction_by_a_statement_is_told_so,
    a_transaction_that_is_set_to_roll_back_does_so,
    two_threads_on_one_database_are_refused_and_a_hand_over_is_said,
    what_makes_no_sense_is_refused_and_closing_in_use_does_nothing,
    closing_with_an_open_transaction_rolls_it_back)
