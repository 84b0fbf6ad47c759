/*
 * The consumer on Apache Kafka: the same outcomes as on the local log, and what only Kafka has.
 */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <sluice/consumer.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "support/kafka.h"
#include "support/wallet.h"

enum { SHARED_EVENTS = 500, PARTITIONS = 4 };

static struct sl_broker *broker;
static const char *topic;
static const char *group;
static sluice_consumer *consumer;
static int calls;
static int stop_after_calls;
static int outages_left;
static int failures_left;

static void set_up(void)
{
    open_wallet();
    topic = kafka_name("topic");
    group = kafka_name("group");
    calls = 0;
    outages_left = 0;
    failures_left = 0;
    ck_assert_int_eq(sl_broker_open(kafka_url(""), &broker, &error), 0);
}

static void tear_down(void)
{
    sl_broker_close(broker);
    close_wallet();
}

static void append(int number, const char *key, const char *type)
{
    struct sl_event event = {
        .topic = sl_text_of(topic),
        .has_key = true,
        .key = sl_text_of(key),
        .type = sl_text_of(type),
        .payload = SL_TEXT("{}"),
        .headers = SL_TEXT("{}"),
        .time_ms = 1,
    };
    snprintf(event.id, sizeof(event.id), "00000000-0000-7000-8000-%012d", number);
    struct sl_append piece = {.events = &event, .count = 1, .source_id = "s"};
    size_t rejected;
    /* A topic that has just been made may be unknown to some of the cluster: an outage. */
    int status;
    int64_t end_ms = sl_clock_monotonic_ms() + 10000;
    do {
        status = sl_broker_append(broker, &piece, &rejected, &error);
    } while (status != 0 && error.reaction == SLUICE_RETRY && sl_clock_monotonic_ms() < end_ms);
    ck_assert_msg(status == 0, "%s", error.text);
}

/* Writes the event's number as its effect, which may be there once, then does what the type says.
 */
static enum sluice_outcome handle(sluice_database *inside, const struct sluice_event *event,
    void *context, struct sluice_error *why)
{
    sluice_consumer **own = context;
    put(inside, event->id + 30);
    if (++calls == stop_after_calls) {
        sluice_consumer_stop(*own);
    }
    if (strcmp(event->type, "Outage") == 0 && outages_left-- > 0) {
        return SLUICE_RETRY_LATER;
    }
    if (strcmp(event->type, "Flaky") == 0 && failures_left-- > 0) {
        return SLUICE_FAILED;
    }
    if (strcmp(event->type, "Poison") == 0) {
        snprintf(why->text, sizeof(why->text), "this makes no sense");
        return SLUICE_REJECTED;
    }
    return strcmp(event->type, "Known") == 0 ? SLUICE_ALREADY_APPLIED : SLUICE_APPLIED;
}

static sluice_consumer *open_consumer(sluice_handler handler, void *context)
{
    sluice_consumer *opened;
    struct sluice_consumer_options options = {.name = group,
        .database = place.url,
        .broker = kafka_url(""),
        .attempts_max = 3,
        .retry_delay_ms = 1};
    int status = sluice_consumer_open(&options, &opened, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(sluice_consumer_subscribe(opened, topic, handler, context, &error), 0);
    return opened;
}

static void run(int calls_wanted)
{
    consumer = open_consumer(handle, &consumer);
    stop_after_calls = calls + calls_wanted;
    int status = sluice_consumer_run(consumer, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    sluice_consumer_close(consumer);
}

START_TEST(each_outcome_is_what_it_is_on_the_local_log)
{
    set_up();
    outages_left = 2;
    failures_left = 2;
    append(1, "a", "Plain");
    append(2, "a", "Known");
    append(3, "a", "Outage");
    append(4, "b", "Flaky");
    append(5, "c", "Poison");
    append(6, "c", "Plain");
    run(9); /* 1, 2, 3 three times, 4 three times, 5; 6 waits behind 5 */
    ck_assert_str_eq(words(), "000001 000002 000003 000004");
    ck_assert_str_eq(
        column_of_ours("state", "dead_letter", "ORDER BY number"), "FAILED_PERMANENTLY WAITING");
    ck_assert_str_eq(column_of_ours("reason", "dead_letter", "WHERE state = 'FAILED_PERMANENTLY'"),
        "this makes no sense");
    tear_down();
}
END_TEST

START_TEST(an_event_that_comes_again_is_applied_once_and_a_restart_goes_on_behind_it)
{
    set_up();
    append(1, "a", "Plain");
    append(1, "a", "Plain");
    append(2, "a", "Plain");
    run(2);
    append(3, "a", "Plain");
    run(1);
    ck_assert_int_eq(calls, 3);
    ck_assert_str_eq(words(), "000001 000002 000003");
    tear_down();
}
END_TEST

static void *append_one(void *context)
{
    (void) context;
    append(1, "a", "Plain");
    return NULL;
}

START_TEST(a_topic_that_is_missing_is_waited_for)
{
    pthread_t thread;
    set_up();
    ck_assert_int_eq(pthread_create(&thread, NULL, append_one, NULL), 0);
    run(1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_str_eq(words(), "000001");
    tear_down();
}
END_TEST

static void on_alarm(int number)
{
    (void) number;
    sluice_consumer_stop(consumer);
}

START_TEST(an_idle_consumer_is_stopped_from_a_signal_handler)
{
    set_up();
    append(1, "a", "Plain");
    run(1);
    struct sigaction action = {.sa_handler = on_alarm};
    struct sigaction before;
    struct itimerval soon = {.it_value = {.tv_usec = 200000}};
    consumer = open_consumer(handle, &consumer);
    ck_assert_int_eq(sigaction(SIGALRM, &action, &before), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    ck_assert_int_eq(sluice_consumer_run(consumer, &error), 0);
    ck_assert_int_eq(sigaction(SIGALRM, &before, NULL), 0);
    sluice_consumer_close(consumer);
    tear_down();
}
END_TEST

static void create_topic(int partition_count)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *servers = strstr(kafka_url(""), "//") + 2;
    ck_assert_int_eq(rd_kafka_conf_set(conf, "bootstrap.servers", servers, text, sizeof(text)), 0);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *wanted =
        rd_kafka_NewTopic_new(topic, partition_count, 1, text, sizeof(text));
    rd_kafka_CreateTopics(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, 10000);
    ck_assert_int_eq(rd_kafka_event_error(answer), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(answer);
    rd_kafka_NewTopic_destroy(wanted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

/* Two members of one group. The second joins when the first is in the middle of its events. */
static sluice_consumer *members[2];
static pthread_t second_thread;
static _Atomic int applied;
static _Atomic int applied_by_second;
static bool is_second_there;

static void *run_second(void *context)
{
    struct sluice_error why;
    (void) context;
    int status = sluice_consumer_run(members[1], &why);
    ck_assert_msg(status == 0, "%s", why.text);
    return NULL;
}

static enum sluice_outcome handle_shared(sluice_database *inside, const struct sluice_event *event,
    void *context, struct sluice_error *why)
{
    struct timespec pause = {.tv_nsec = 20000000};
    if (put_word(inside, event->id + 30, why) != 0) {
        return SLUICE_REJECTED; /* an effect that is there already: seen as a dead letter */
    }
    if (atomic_load(&applied_by_second) == 0) {
        nanosleep(
            &pause, NULL); /* what work takes, so that the group changes while there is some */
    }
    if (context == &members[0] && !is_second_there) {
        is_second_there = true;
        ck_assert_int_eq(pthread_create(&second_thread, NULL, run_second, NULL), 0);
    }
    atomic_fetch_add(&applied_by_second, context == &members[1] ? 1 : 0);
    if (atomic_fetch_add(&applied, 1) + 1 >= SHARED_EVENTS && atomic_load(&applied_by_second) > 0) {
        sluice_consumer_stop(members[0]);
        sluice_consumer_stop(members[1]);
    }
    return SLUICE_APPLIED;
}

START_TEST(partitions_that_go_to_another_member_in_the_middle_lose_and_repeat_nothing)
{
    set_up();
    atomic_store(&applied, 0);
    atomic_store(&applied_by_second, 0);
    is_second_there = false;
    create_topic(PARTITIONS);
    for (int i = 0; i < SHARED_EVENTS; i++) {
        char key[8];
        snprintf(key, sizeof(key), "k%d", i % 16);
        append(i, key, "Plain");
    }
    for (int i = 0; i < 2; i++) {
        members[i] = open_consumer(handle_shared, &members[i]);
    }
    int status = sluice_consumer_run(members[0], &error);
    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_int_eq(pthread_join(second_thread, NULL), 0);
    sluice_consumer_close(members[0]);
    sluice_consumer_close(members[1]);
    ck_assert_str_eq(column_of_ours("reason", "dead_letter", ""), "");
    char expected[16];
    snprintf(expected, sizeof(expected), "n%d", SHARED_EVENTS);
    ck_assert_str_eq(column_of("SELECT 'n' || count(*) FROM word"), expected);
    ck_assert_str_eq(column_of_ours("'n' || count(*)", "inbox", ""), expected);
    tear_down();
}
END_TEST

UNIT_MAIN_WITH_SERVER("SLUICE_TEST_KAFKA", "consumer_kafka",
    each_outcome_is_what_it_is_on_the_local_log,
    an_event_that_comes_again_is_applied_once_and_a_restart_goes_on_behind_it,
    a_topic_that_is_missing_is_waited_for, an_idle_consumer_is_stopped_from_a_signal_handler,
    partitions_that_go_to_another_member_in_the_middle_lose_and_repeat_nothing)
