/*
 * tests/support/kafka.h - the Kafka that SLUICE_TEST_KAFKA names, as tools/servers/run sets it.
 */
#ifndef TESTS_SUPPORT_KAFKA_H
#define TESTS_SUPPORT_KAFKA_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The URL of the server with what follows it: "?create_topics=false" or "". One at a time. */
static inline const char *kafka_url(const char *query)
{
    static char url[256];
    snprintf(url, sizeof(url), "%s%s", getenv("SLUICE_TEST_KAFKA"), query);
    return url;
}

/* A name that nobody has used: topics and groups outlive a test. */
static inline const char *kafka_name(const char *what)
{
    static char names[8][96];
    static unsigned used;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *name = names[used++ % 8];
    snprintf(name, sizeof(names[0]), "%s-%d-%lld%09ld", what, (int) getpid(),
        (long long) now.tv_sec, now.tv_nsec);
    return name;
}

#endif
