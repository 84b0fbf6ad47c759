/*
 * Listeners by phase: who is called when, and what each of them may do.
 */
#include <sluice/listener.h>
#include <sqlite3.h>

#include "base/error.h"
#include "lib/database.h"
#include "store/ops.h"
#include "support/wallet.h"

/* What was heard, as "name:Type:completion ..."; and what failed after the end. */
static char heard[1000];
static char failures[2000];

static void note(const char *name, const struct sluice_notice *notice)
{
    static const char *const ends[] = {"open", "committed", "rolled-back", "unknown"};
    size_t end = strlen(heard);
    snprintf(heard + end, sizeof(heard) - end, "%s%s:%s:%s", end == 0 ? "" : " ", name,
        notice->event->type, ends[notice->completion]);
}

static void on_failure(const char *listener, const struct sluice_event *event,
    const struct sluice_error *why, void *context)
{
    ck_assert_ptr_eq(context, failures);
    ck_assert_int_eq(why->code, SLUICE_LISTENER);
    ck_assert_uint_eq(strlen(event->id), 36);
    size_t end = strlen(failures);
    snprintf(failures + end, sizeof(failures) - end, "[%s] %s; ", listener, why->text);
}

static int hear(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) inside;
    (void) why;
    note(context, notice);
    return 0;
}

static void listen(const char *name, const char *type, enum sluice_phase phase,
    sluice_listener listener, void *context)
{
    struct sluice_listener_options options = {
        .name = name, .type = type, .phase = phase, .context = context};
    int status = sluice_listen(database, &options, listener, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void set_up(void)
{
    open_wallet();
    heard[0] = '\0';
    failures[0] = '\0';
    sluice_on_listener_failure(database, on_failure, failures);
}

static void hear_every_phase(void)
{
    listen("before", NULL, SLUICE_BEFORE_COMMIT, hear, "before");
    listen("after", NULL, SLUICE_AFTER_COMMIT, hear, "after");
    listen("rollback", NULL, SLUICE_AFTER_ROLLBACK, hear, "rollback");
    listen("completion", NULL, SLUICE_AFTER_COMPLETION, hear, "completion");
}

static void begin(void)
{
    int status = sluice_begin(database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void commit(void)
{
    int status = sluice_commit(database, &error);
    ck_assert_msg(status == 0, "%s", error.text);
}

static void check_failure(const char *part)
{
    ck_assert_msg(strstr(failures, part) != NULL, "no '%s' in '%s'", part, failures);
}

START_TEST(each_phase_is_told_at_its_time)
{
    set_up();
    hear_every_phase();
    begin();
    publish(database, "A");
    ck_assert_str_eq(heard, "");
    publish(database, "B");
    commit();
    ck_assert_str_eq(heard,
        "before:A:open before:B:open after:A:committed after:B:committed "
        "completion:A:committed completion:B:committed");
    heard[0] = '\0';
    begin();
    publish(database, "A");
    ck_assert_int_eq(sluice_rollback(database, &error), 0);
    ck_assert_str_eq(heard, "rollback:A:rolled-back completion:A:rolled-back");
    close_wallet();
}
END_TEST

START_TEST(a_listener_hears_the_topic_and_type_that_it_asks_for)
{
    set_up();
    struct sluice_listener_options other = {
        .name = "other-topic", .topic = "others", .phase = SLUICE_AFTER_COMMIT, .context = "other"};
    ck_assert_int_eq(sluice_listen(database, &other, hear, &error), 0);
    listen("type", "B", SLUICE_AFTER_COMMIT, hear, "type");
    begin();
    publish(database, "A");
    publish(database, "B");
    commit();
    ck_assert_str_eq(heard, "type:B:committed");
    close_wallet();
}
END_TEST

static int veto(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) notice;
    put(inside, "written-by-the-veto");
    snprintf(why->text, sizeof(why->text), "%s", (const char *) context);
    return -1;
}

START_TEST(a_veto_before_the_commit_rolls_everything_back_in_its_name)
{
    set_up();
    hear_every_phase();
    listen("reserved-names", "A", SLUICE_BEFORE_COMMIT, veto, "this name is reserved");
    begin();
    put(database, "w");
    publish(database, "A");
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_LISTENER);
    ck_assert_int_eq(error.reaction, SLUICE_REJECT);
    ck_assert_str_eq(
        error.text, "the listener 'reserved-names' refused the commit: this name is reserved");
    ck_assert_str_eq(words(), "");
    ck_assert_str_eq(types(), "");
    ck_assert_str_eq(heard, "before:A:open rollback:A:rolled-back completion:A:rolled-back");
    close_wallet();
}
END_TEST

/* Answers an event with the next one: A with B, B with C. */
static int answer_with_next(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    (void) why;
    char next[2] = {(char) (notice->event->type[0] + 1), '\0'};
    note(context, notice);
    if (next[0] <= 'C') {
        publish(inside, next);
    }
    return 0;
}

START_TEST(what_a_before_commit_listener_publishes_is_committed_and_heard_before_the_commit)
{
    set_up();
    listen("chain", NULL, SLUICE_BEFORE_COMMIT, answer_with_next, "chain");
    listen("after", NULL, SLUICE_AFTER_COMMIT, hear, "after");
    begin();
    publish(database, "A");
    commit();
    ck_assert_str_eq(types(), "A B C");
    ck_assert_str_eq(heard,
        "chain:A:open chain:B:open chain:C:open after:A:committed after:B:committed "
        "after:C:committed");
    close_wallet();
}
END_TEST

/* Publishes what it hears itself, and does not mind if it fails. */
static int echo(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) context;
    int status = publish_type(inside, notice->event->type, why);
    (void) status;
    return 0;
}

START_TEST(listeners_that_publish_without_end_are_stopped_by_name)
{
    set_up();
    listen("echo", NULL, SLUICE_BEFORE_COMMIT, echo, NULL);
    begin();
    publish(database, "A");
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_ROLLBACK_ONLY);
    ck_assert_ptr_nonnull(strstr(error.text, "'echo' publishes events about events 16 deep"));
    ck_assert_str_eq(types(), "");
    close_wallet();
}
END_TEST

static void skip_row(void *context, const struct sluice_value *columns, size_t count)
{
    (void) context;
    (void) columns;
    (void) count;
}

static int write_after(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    const char *what = context;
    (void) notice;
    if (strcmp(what, "publish") == 0) {
        ck_assert_int_eq(publish_type(inside, "Late", why), -1);
        ck_assert_int_eq(why->code, SLUICE_LISTENER);
    } else if (strcmp(what, "execute") == 0) {
        ck_assert_int_eq(put_word(inside, "late", why), -1);
    } else if (strcmp(what, "begin") == 0) {
        ck_assert_int_eq(sluice_begin(inside, why), -1);
    } else if (sluice_database_sqlite(inside) != NULL) {
        ck_assert_int_eq(sqlite3_exec(sluice_database_sqlite(inside),
                             "INSERT INTO word VALUES ('raw')", NULL, NULL, NULL),
            SQLITE_READONLY);
    } else {
        ck_assert_int_eq(
            sluice_query(inside, "INSERT INTO word (text) VALUES ('raw') RETURNING text", NULL, 0,
                skip_row, NULL, why),
            -1);
    }
    return 0; /* says that all is well */
}

START_TEST(an_after_commit_write_without_a_transaction_fails_in_the_listeners_name)
{
    set_up();
    listen("publishes", NULL, SLUICE_AFTER_COMMIT, write_after, "publish");
    listen("executes", NULL, SLUICE_AFTER_COMMIT, write_after, "execute");
    listen("begins", NULL, SLUICE_AFTER_COMPLETION, write_after, "begin");
    listen("raw", NULL, SLUICE_AFTER_COMMIT, write_after, "raw");
    listen("innocent", NULL, SLUICE_AFTER_COMMIT, hear, "innocent");
    begin();
    publish(database, "A");
    commit();
    ck_assert_str_eq(types(), "A");
    ck_assert_str_eq(words(), "");
    check_failure("[publishes] the listener 'publishes' cannot publish after the end");
    check_failure("[executes] the listener 'executes' cannot write after the end");
    check_failure("[raw] the listener 'raw' cannot write after the end");
    check_failure("[begins] the listener 'begins' cannot begin a transaction of its own");
    ck_assert_ptr_null(strstr(failures, "innocent"));
    /* Writing works again. */
    put(database, "next");
    close_wallet();
}
END_TEST

static int put_and_publish(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) why;
    put(inside, context);
    publish(inside, context);
    return 0;
}

static int answer_in_own(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    struct sluice_error refused;
    (void) notice;
    ck_assert_int_eq(
        sluice_transaction(inside, SLUICE_REQUIRED, put_and_publish, context, &refused), -1);
    ck_assert_int_eq(refused.code, SLUICE_LISTENER);
    int status = sluice_transaction(inside, SLUICE_REQUIRES_NEW, put_and_publish, context, why);
    ck_assert_int_eq(put_word(inside, "after-its-own", &refused), -1);
    return status;
}

START_TEST(an_after_commit_listener_writes_in_a_transaction_of_its_own)
{
    set_up();
    listen("answers", "A", SLUICE_AFTER_COMMIT, answer_in_own, "Answer");
    listen("after", NULL, SLUICE_AFTER_COMMIT, hear, "after");
    begin();
    publish(database, "A");
    commit();
    ck_assert_str_eq(types(), "A Answer");
    ck_assert_str_eq(words(), "Answer");
    /* The inner transaction ends, and is heard, inside of the outer one's after-phase. */
    ck_assert_str_eq(heard, "after:Answer:committed after:A:committed");
    close_wallet();
}
END_TEST

static int publish_again(sluice_database *inside, void *context, struct sluice_error *why)
{
    return publish_type(inside, context, why);
}

static int echo_in_own(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) context;
    return sluice_transaction(
        inside, SLUICE_REQUIRES_NEW, publish_again, (void *) notice->event->type, why);
}

START_TEST(transactions_of_listeners_about_each_other_end_at_the_depth_limit)
{
    set_up();
    listen("echo-in-own", NULL, SLUICE_AFTER_COMMIT, echo_in_own, NULL);
    begin();
    publish(database, "A");
    commit();
    ck_assert_uint_eq(strlen(types()), 2 * (SLUICE_LISTENER_DEPTH_MAX + 1) - 1);
    check_failure("16 deep");
    close_wallet();
}
END_TEST

static int fail_after(sluice_database *inside, const struct sluice_notice *notice, void *context,
    struct sluice_error *why)
{
    (void) inside;
    (void) notice;
    (void) context;
    snprintf(why->text, sizeof(why->text), "the mail server is away");
    return -1;
}

START_TEST(what_fails_after_the_commit_is_told_and_does_not_fail_the_commit)
{
    set_up();
    listen("mail", NULL, SLUICE_AFTER_COMMIT, fail_after, NULL);
    begin();
    publish(database, "A");
    commit();
    ck_assert_str_eq(failures, "[mail] the listener 'mail' failed: the mail server is away; ");
    ck_assert_str_eq(types(), "A");
    close_wallet();
}
END_TEST

static int publish_and_fail(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) why;
    publish(inside, context);
    return -1;
}

START_TEST(events_of_a_savepoint_that_was_undone_are_not_heard)
{
    set_up();
    hear_every_phase();
    begin();
    publish(database, "Kept");
    ck_assert_int_eq(
        sluice_transaction(database, SLUICE_NESTED, publish_and_fail, "Undone", &error), -1);
    commit();
    ck_assert_str_eq(heard, "before:Kept:open after:Kept:committed completion:Kept:committed");
    close_wallet();
}
END_TEST

START_TEST(an_event_whose_listeners_could_not_be_told_is_not_published)
{
    set_up();
    listen("after", "Heard", SLUICE_AFTER_COMMIT, hear, "after");
    ck_assert_int_eq(sluice_execute(database, "BEGIN", NULL, 0, NULL, &error), 0);
    ck_assert_int_eq(publish_type(database, "Heard", &error), -1);
    ck_assert_int_eq(error.code, SLUICE_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "'after' could not be told"));
    publish(database, "Unheard");
    ck_assert_int_eq(sluice_commit(database, &error), 0);
    ck_assert_str_eq(types(), "Unheard");
    close_wallet();
}
END_TEST

START_TEST(a_transaction_that_somebody_else_ended_is_told_as_unknown)
{
    set_up();
    hear_every_phase();
    begin();
    publish(database, "A");
    ck_assert_int_eq(sluice_execute(database, "COMMIT", NULL, 0, NULL, &error), 0);
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    ck_assert_int_eq(error.code, SLUICE_NO_TRANSACTION);
    ck_assert_str_eq(heard, "completion:A:unknown");
    close_wallet();
}
END_TEST

static int (*real_commit)(struct sl_store *store, struct sluice_error *why);

/* The commit reaches the database and its answer does not come back. */
static int commit_without_answer(struct sl_store *store, struct sluice_error *why)
{
    ck_assert_int_eq(real_commit(store, why), 0);
    return sl_fail(why, SLUICE_OUTCOME_UNKNOWN, SLUICE_FATAL, "no answer came");
}

START_TEST(an_unknown_outcome_is_told_to_after_completion_and_to_nobody_else)
{
    set_up();
    hear_every_phase();
    struct sl_store_ops ops = *database->store->ops;
    const struct sl_store_ops *real = database->store->ops;
    real_commit = ops.commit;
    ops.commit = commit_without_answer;
    begin();
    publish(database, "A");
    database->store->ops = &ops;
    ck_assert_int_eq(sluice_commit(database, &error), -1);
    database->store->ops = real;
    ck_assert_int_eq(error.code, SLUICE_OUTCOME_UNKNOWN);
    ck_assert_str_eq(heard, "before:A:open completion:A:unknown");
    close_wallet();
}
END_TEST

START_TEST(closing_with_an_open_transaction_tells_of_its_rollback)
{
    set_up();
    hear_every_phase();
    begin();
    publish(database, "A");
    sluice_database_close(database);
    ck_assert_str_eq(heard, "rollback:A:rolled-back completion:A:rolled-back");
    test_database_remove(&place);
}
END_TEST

static int lose_it(sluice_database *inside, void *context, struct sluice_error *why)
{
    (void) context;
    put(inside, "lost");
    publish(inside, "A");
    return lose_connection(inside, why);
}

START_TEST(a_lost_connection_is_told_as_a_rollback_and_the_next_transaction_has_another)
{
    set_up();
    hear_every_phase();
    if (!has_one_writer()) {
        ck_assert_int_eq(sluice_transaction(database, SLUICE_REQUIRED, lose_it, NULL, &error), -1);
        ck_assert_int_eq(error.reaction, SLUICE_RETRY);
        ck_assert_str_eq(heard, "rollback:A:rolled-back completion:A:rolled-back");
        begin();
        put(database, "next");
        commit();
        ck_assert_str_eq(words(), "next");
    }
    close_wallet();
}
END_TEST

static int end_before_commit(sluice_database *inside, const struct sluice_notice *notice,
    void *context, struct sluice_error *why)
{
    (void) notice;
    if (context == NULL) {
        ck_assert_int_eq(sluice_commit(inside, why), -1);
        return 0;
    }
    return sluice_execute(inside, context, NULL, 0, NULL, why);
}

START_TEST(a_before_commit_listener_cannot_end_the_transaction)
{
    for (int i = 0; i < 2; i++) {
        set_up();
        listen("ends", NULL, SLUICE_BEFORE_COMMIT, end_before_commit, i == 0 ? NULL : "ROLLBACK");
        begin();
        publish(database, "A");
        ck_assert_int_eq(sluice_commit(database, &error), -1);
        ck_assert_ptr_nonnull(strstr(error.text, "the listener 'ends'"));
        ck_assert_str_eq(types(), "");
        close_wallet();
    }
}
END_TEST

static int listen_inside(sluice_database *inside, void *context, struct sluice_error *why)
{
    struct sluice_listener_options options = {.name = "late", .phase = SLUICE_AFTER_COMMIT};
    (void) context;
    ck_assert_int_eq(sluice_listen(inside, &options, hear, why), -1);
    return 0;
}

START_TEST(registrations_that_make_no_sense_are_refused)
{
    set_up();
    struct sluice_listener_options options = {.name = "a b", .phase = SLUICE_AFTER_COMMIT};
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), -1);
    ck_assert_int_eq(sluice_listen(database, NULL, hear, &error), -1);
    options.name = "a";
    ck_assert_int_eq(sluice_listen(database, &options, NULL, &error), -1);
    ck_assert_int_eq(sluice_listen(NULL, &options, hear, &error), -1);
    options.topic = "no topic";
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), -1);
    options.topic = NULL;
    options.phase = 0;
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "says no phase"));
    options.phase = SLUICE_BEFORE_COMMIT;
    ck_assert_int_eq(sluice_listen_detached(database, &options, hear, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "SLUICE_AFTER_COMMIT"));
    options.task_timeout_ms = -1;
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), -1);
    options.task_timeout_ms = 0;
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), 0);
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "'a' already"));
    ck_assert_int_eq(sluice_transaction(database, SLUICE_REQUIRED, listen_inside, NULL, &error), 0);
    for (int i = 1; i < SLUICE_LISTENERS_MAX; i++) {
        char name[8];
        snprintf(name, sizeof(name), "n%d", i);
        listen(name, NULL, SLUICE_BEFORE_COMMIT, hear, "n");
    }
    options.name = "one-too-many";
    ck_assert_int_eq(sluice_listen(database, &options, hear, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "at most 64"));
    close_wallet();
}
END_TEST

DATABASE_UNIT_MAIN("listener", each_phase_is_told_at_its_time,
    a_listener_hears_the_topic_and_type_that_it_asks_for,
    a_veto_before_the_commit_rolls_everything_back_in_its_name,
    what_a_before_commit_listener_publishes_is_committed_and_heard_before_the_commit,
    listeners_that_publish_without_end_are_stopped_by_name,
    an_after_commit_write_without_a_transaction_fails_in_the_listeners_name,
    an_after_commit_listener_writes_in_a_transaction_of_its_own,
    transactions_of_listeners_about_each_other_end_at_the_depth_limit,
    what_fails_after_the_commit_is_told_and_does_not_fail_the_commit,
    events_of_a_savepoint_that_was_undone_are_not_heard,
    an_event_whose_listeners_could_not_be_told_is_not_published,
    a_transaction_that_somebody_else_ended_is_told_as_unknown,
    an_unknown_outcome_is_told_to_after_completion_and_to_nobody_else,
    closing_with_an_open_transaction_tells_of_its_rollback,
    a_lost_connection_is_told_as_a_rollback_and_the_next_transaction_has_another,
    a_before_commit_listener_cannot_end_the_transaction,
    registrations_that_make_no_sense_are_refused)
