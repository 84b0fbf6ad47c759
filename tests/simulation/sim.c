#include "sim.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "driver.h"

enum { TIMERS_MAX = 64, WALL_START_MS = 1000000000, PAUSE_STEPS_MAX = 40 };

struct timer {
    uv_timer_t *handle; /* NULL: free */
    uv_timer_cb on_time;
    uv_close_cb on_closed;
    int process;
    int64_t due_ms;
    int64_t repeat_ms;
    uint64_t order;
    bool is_active;
    bool is_closing;
};

struct sim_process sim_processes[SIM_PROCESSES];
int sim_current;
int64_t sim_now_ms;
bool sim_keeps_timers;
void (*sim_on_step)(void);

static struct timer timers[TIMERS_MAX];
static uint64_t timer_order;
static uint64_t random_state;
static uint64_t run_seed;
static int next_step;
static int pause_depth;

/* SplitMix64. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static uint64_t draw(void)
{
    return mix(random_state += 0x9e3779b97f4a7c15ULL);
}

uint64_t sim_random(uint64_t bound)
{
    return draw() % bound;
}

bool sim_once_in(uint64_t times)
{
    return sim_random(times) == 0;
}

void sim_begin_phase(uint64_t number)
{
    random_state = mix(run_seed * 0x9e3779b97f4a7c15ULL) + mix(number + 1);
}

void sim_reset(uint64_t seed)
{
    memset(sim_processes, 0, sizeof(sim_processes));
    memset(timers, 0, sizeof(timers));
    sim_current = 0;
    sim_now_ms = 1000;
    timer_order = 0;
    next_step = 0;
    pause_depth = 0;
    run_seed = seed;
    sim_begin_phase(UINT64_MAX - 1);
}

bool sim_take_step(void)
{
    while (next_step < SIM_STEPS && !sim_driver.kept[next_step]) {
        next_step++;
    }
    if (next_step == SIM_STEPS) {
        return false;
    }
    sim_driver.shared->step = next_step;
    sim_begin_phase((uint64_t) next_step++);
    sim_count_step();
    return true;
}

void sim_trace(const char *format, ...)
{
    if (!sim_driver.is_tracing) {
        return;
    }
    va_list arguments;
    printf("%5d %8lld ms  p%d  ", sim_driver.shared->step, (long long) sim_now_ms, sim_current);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

bool sim_can_run(int process)
{
    const struct sim_process *it = &sim_processes[process];
    return !it->is_dead && !it->is_busy && it->paused_until_ms <= sim_now_ms;
}

bool sim_maybe_pause(void)
{
    if (pause_depth > 0 || next_step == SIM_STEPS || !sim_once_in(80)) {
        return false;
    }
    int process = sim_current;
    uint64_t steps = 1 + sim_random(PAUSE_STEPS_MAX);
    sim_trace("stands still in the middle of a call");
    sim_processes[process].is_busy = true;
    pause_depth++;
    uint64_t state = random_state;
    for (uint64_t i = 0; i < steps && sim_take_step(); i++) {
        sim_on_step();
    }
    random_state = state;
    pause_depth--;
    sim_processes[process].is_busy = false;
    sim_current = process;
    sim_trace("goes on");
    return true;
}

static struct timer *find(const void *handle)
{
    for (int i = 0; i < TIMERS_MAX; i++) {
        if ((const void *) timers[i].handle == handle) {
            return &timers[i];
        }
    }
    return NULL;
}

bool sim_fire_timer(int process)
{
    struct timer *first = NULL;
    for (int i = 0; i < TIMERS_MAX; i++) {
        struct timer *timer = &timers[i];
        if (timer->handle != NULL && timer->is_active && timer->process == process &&
            timer->due_ms <= sim_now_ms &&
            (first == NULL || timer->due_ms < first->due_ms ||
                (timer->due_ms == first->due_ms && timer->order < first->order))) {
            first = timer;
        }
    }
    if (first == NULL) {
        return false;
    }
    first->is_active = first->repeat_ms > 0;
    first->due_ms = sim_now_ms + first->repeat_ms;
    sim_current = process;
    first->on_time(first->handle);
    return true;
}

int64_t sim_next_due_ms(void)
{
    int64_t due_ms = INT64_MAX;
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].handle != NULL && timers[i].is_active && timers[i].due_ms < due_ms &&
            sim_can_run(timers[i].process)) {
            due_ms = timers[i].due_ms;
        }
    }
    return due_ms;
}

void sim_finish_closing(void)
{
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].handle != NULL && timers[i].is_closing) {
            struct timer closed = timers[i];
            timers[i] = (struct timer) {.handle = NULL};
            if (closed.on_closed != NULL) {
                closed.on_closed((uv_handle_t *) closed.handle);
            }
        }
    }
}

/* What the linker puts in place of base's and libuv's functions. */

int64_t __wrap_sl_clock_monotonic_ms(void);
int64_t __wrap_sl_clock_monotonic_us(void);
int64_t __wrap_sl_clock_wall_ms(void);
uint64_t __wrap_sl_random_u64(void);
void __wrap_sl_random_bytes(void *ret_bytes, size_t size);
int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *handle);
int __wrap_uv_timer_start(uv_timer_t *handle, uv_timer_cb on_time, uint64_t delay, uint64_t repeat);
int __wrap_uv_timer_stop(uv_timer_t *handle);
int __wrap_uv_is_active(const uv_handle_t *handle);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb on_closed);
int __wrap_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_loop_close(uv_loop_t *loop);
int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *handle, uv_async_cb on_signal);
int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode);
void __wrap_uv_stop(uv_loop_t *loop);

int64_t __wrap_sl_clock_monotonic_ms(void)
{
    return sim_now_ms;
}

int64_t __wrap_sl_clock_monotonic_us(void)
{
    return sim_now_ms * 1000;
}

int64_t __wrap_sl_clock_wall_ms(void)
{
    return WALL_START_MS + sim_now_ms + sim_processes[sim_current].clock_offset_ms;
}

uint64_t __wrap_sl_random_u64(void)
{
    return draw();
}

void __wrap_sl_random_bytes(void *ret_bytes, size_t size)
{
    unsigned char *bytes = ret_bytes;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char) draw();
    }
}

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *handle)
{
    struct timer *timer = find(NULL);
    (void) loop;
    if (timer == NULL) {
        sim_fail("more than %d timers", TIMERS_MAX);
    }
    *timer = (struct timer) {.handle = handle, .process = sim_current};
    return 0;
}

int __wrap_uv_timer_start(uv_timer_t *handle, uv_timer_cb on_time, uint64_t delay, uint64_t repeat)
{
    struct timer *timer = find(handle);
    timer->on_time = on_time;
    timer->due_ms = sim_now_ms + (int64_t) delay;
    timer->repeat_ms = (int64_t) repeat;
    timer->order = ++timer_order;
    timer->is_active = true;
    return 0;
}

int __wrap_uv_timer_stop(uv_timer_t *handle)
{
    find(handle)->is_active = find(handle)->is_active && sim_keeps_timers;
    return 0;
}

int __wrap_uv_is_active(const uv_handle_t *handle)
{
    return find(handle)->is_active;
}

void __wrap_uv_close(uv_handle_t *handle, uv_close_cb on_closed)
{
    struct timer *timer = find(handle);
    if (timer == NULL) {
        return; /* no timer: the consumer's signal to stop, which is not simulated */
    }
    timer->is_active = false;
    timer->is_closing = true;
    timer->on_closed = on_closed;
}

int __wrap_uv_loop_init(uv_loop_t *loop)
{
    (void) loop;
    return 0;
}

int __wrap_uv_loop_close(uv_loop_t *loop)
{
    (void) loop;
    return 0;
}

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *handle, uv_async_cb on_signal)
{
    (void) loop;
    (void) handle;
    (void) on_signal;
    return 0;
}

int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode)
{
    (void) loop;
    (void) mode;
    sim_finish_closing();
    return 0;
}

void __wrap_uv_stop(uv_loop_t *loop)
{
    (void) loop;
    sim_fail("the consumer gave up");
}
