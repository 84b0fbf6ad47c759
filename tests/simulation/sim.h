/*
 * tests/simulation/sim.h - time, chance and timers of a simulated world, all from one seed.
 *
 * The product's real code runs on them: the linker puts the functions of sim.c in place of base's
 * clocks and random numbers and of libuv's timers (see meson.build). A run is a list of steps. Each
 * step draws its chances from the seed and its own number only, so that steps can be left out
 * without changing what the others do; that is how a failing run is made short.
 */
#ifndef TESTS_SIMULATION_SIM_H
#define TESTS_SIMULATION_SIM_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_STEPS = 1000, SIM_PROCESSES = 3 };

/* A simulated process: its relay or consumer runs only while it is `sim_current`. */
struct sim_process {
    int64_t clock_offset_ms; /* of its wall clock */
    int64_t paused_until_ms;
    bool is_dead; /* killed: none of its calls has an effect any more */
    bool is_busy; /* stands still in the middle of a call */
};

/* What a program simulates. */
struct sim_program {
    const char *name;
    const char *promise; /* what is said after a run without a failure */
    void (*run)(uint64_t seed);
    const char *(*figures)(void); /* what happened, for the last line; may be NULL */
};

extern struct sim_process sim_processes[SIM_PROCESSES];
extern int sim_current;
extern int64_t sim_now_ms;

/** Run a program as its arguments say; returns the exit status. */
int sim_main(int argument_count, char **arguments, const struct sim_program *program);

/** Forget the last run: the clock, the timers, the processes. Chance is the seed's set-up. */
void sim_reset(uint64_t seed);

/** Go on to the next step of the schedule; false at its end. */
bool sim_take_step(void);

/** Draw from now on from a stream of its own, for what comes after the schedule. */
void sim_begin_phase(uint64_t number);

/** Count a step that is not one of the schedule. */
void sim_count_step(void);

/** A random number below `bound`. */
uint64_t sim_random(uint64_t bound);

/** True once in `times`. */
bool sim_once_in(uint64_t times);

/** Say what happens, in a replay. */
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The run has failed: says why, and ends it. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Whether a process may run now. */
bool sim_can_run(int process);

/**
 * Inside a call of the current process: now and then let the others go on for some steps before the
 * call goes on. True if that was so.
 */
bool sim_maybe_pause(void);

/** What sim_maybe_pause runs; set by the program. */
extern void (*sim_on_step)(void);

/** Fire the process's timer that is due first; false if none is due. */
bool sim_fire_timer(int process);

/** When the next timer of any process that may run is due; INT64_MAX for none. */
int64_t sim_next_due_ms(void);

/*
 * A consumer runs its own loop. Here that returns at once, and while this is true the consumer does
 * not stop its timers after it: the simulation fires them.
 */
extern bool sim_keeps_timers;

/** Call back what uv_close has closed. */
void sim_finish_closing(void);

#endif
