/*
 * tests/simulation/records.h - what consumers read: partitions whose records come again after a
 * rewind, a lost commit of the offset, or a change of who has the partition; now and then a relay
 * has sent an event twice.
 */
#ifndef TESTS_SIMULATION_RECORDS_H
#define TESTS_SIMULATION_RECORDS_H

#include "broker/ops.h"
#include "sim.h"

/** Start with empty partitions, which `process_count` consumers of one name share. */
void records_reset(int process_count);

/** Open the broker as the current process. */
struct sl_broker *records_open(void);

/** Publish some events; some come twice. */
void records_publish(int count);

/** Give a partition to another consumer. */
void records_reassign(void);

/** Wake a process's reader if there is something to read. */
bool records_wake(int process);

/** Every record is behind the committed offsets. */
bool records_are_done(void);

#endif
