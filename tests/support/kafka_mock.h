/*
 * tests/support/kafka_mock.h - a broker object on librdkafka's mock cluster, which fails as it is
 * told, with a topic "t" of one partition; and events to append.
 */
#ifndef TESTS_SUPPORT_KAFKA_MOCK_H
#define TESTS_SUPPORT_KAFKA_MOCK_H

#include <check.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/broker.h"

enum { COUNT = 6 };

static rd_kafka_t *mock_client;
static rd_kafka_mock_cluster_t *mock;
static struct sl_broker *broker;
static struct sluice_error error;
static struct sl_event events[COUNT];

static inline void open_mock(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/tmp/sluice-test-kafka-%d", (int) getpid());
    /* So that the messages of a piece go together, as they do where much is sent. */
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("linger.ms=50\nsession.timeout.ms=3000\nheartbeat.interval.ms=500\n", file);
    fclose(file);
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    mock_client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    ck_assert_ptr_nonnull(mock_client);
    mock = rd_kafka_mock_cluster_new(mock_client, 1);
    rd_kafka_mock_topic_create(mock, "t", 1, 1);
    snprintf(text, sizeof(text), "kafka://%s?properties=%s", rd_kafka_mock_cluster_bootstraps(mock),
        path);
    ck_assert_msg(sl_broker_open(text, &broker, &error) == 0, "%s", error.text);
    unlink(path);
    for (int i = 0; i < COUNT; i++) {
        events[i] = (struct sl_event) {
            .topic = SL_TEXT("t"),
            .has_key = true,
            .key = SL_TEXT("k"),
            .type = SL_TEXT("T"),
            .payload = SL_TEXT("{}"),
            .headers = SL_TEXT("{}"),
            .time_ms = 1700000000000 + i,
        };
        snprintf(events[i].id, sizeof(events[i].id), "00000000-0000-7000-8000-%012d", i);
    }
}

static inline void close_mock(void)
{
    sl_broker_close(broker);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(mock_client);
}

static inline int append(const struct sl_event *first, size_t count, size_t *ret_rejected)
{
    struct sl_append append = {.events = first, .count = count, .source_id = "source"};
    *ret_rejected = SIZE_MAX;
    return sl_broker_append(broker, &append, ret_rejected, &error);
}

static inline void append_ok(const struct sl_event *first, size_t count)
{
    size_t rejected;
    int status = append(first, count, &rejected);
    ck_assert_msg(status == 0, "%s", error.text);
}

#endif
