/*
 * tests/simulation/brokers.h - two brokers in memory, and the judge of what is appended to them.
 *
 * The local log moves a source's position in the transaction that appends. The other one is like
 * Kafka and what broker/ makes of it: it knows no position; an append is on its way until its
 * delivery reports have come; a producer's messages of a partition arrive in order or not at all;
 * a producer that failed is given up, and what it had sent may arrive all the same, much later; a
 * new one reads the topics' tails to pass over what is there.
 *
 * Every event that arrives is judged at once: is it committed, is it its key's turn, may it be
 * there twice.
 */
#ifndef TESTS_SIMULATION_BROKERS_H
#define TESTS_SIMULATION_BROKERS_H

#include "broker/ops.h"
#include "sim.h"

enum broker_kind { BROKER_LOG, BROKER_KAFKA };

struct broker_counts {
    int64_t sent;
    int64_t late;    /* duplicates from a producer that was given up, or beside one */
    int64_t repeats; /* duplicates after a fault that left an answer unknown */
};

extern struct broker_counts broker_counts;

/** Start empty. */
void brokers_reset(enum broker_kind kind);

/** Open the broker as the current process. */
struct sl_broker *broker_open(void);

/** What the network and the broker do next. */
void broker_step(void);

/** Bring the delivery reports of a process to it; false if there are none. */
bool broker_serve(int process);

/** The broker is away until a time. */
void broker_leave(int64_t until_ms);

/** Nothing is on its way. */
bool broker_is_quiet(void);

/** Is the event refused? */
bool broker_condemns(int row);

/**
 * Judge an event that has arrived. `explanation` is why it may be there twice: NULL if it may not.
 */
void judge_arrival(int row, const char *explanation);

/** The log's and Kafka's own parts. */
struct sl_broker *local_log_open(void);
/** As above. */
struct sl_broker *kafka_open(void);
/** As above. */
void local_log_reset(void);
/** As above. */
void kafka_reset(void);
/** As above. */
void kafka_step(void);
/** As above. */
bool kafka_serve(int process);
/** As above. */
void kafka_leave(int64_t until_ms);
/** As above. */
bool kafka_is_quiet(void);

#endif
