/*
 * tests/simulation/driver.h - what the driver tells the run: which steps, and where to say how it
 * went.
 */
#ifndef TESTS_SIMULATION_DRIVER_H
#define TESTS_SIMULATION_DRIVER_H

#include "sim.h"

/* Seen by the driver even if the run's process dies. */
struct sim_shared {
    uint64_t seed;
    int step;
    int64_t steps_total;
    char failure[300]; /* empty: none */
};

struct sim_driver {
    struct sim_shared *shared;
    bool kept[SIM_STEPS];
    bool is_tracing;
};

extern struct sim_driver sim_driver;

#endif
