#include "base/fiber.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/memory.h"

/* The sanitizers must be told of each change of stacks. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

/* The handle of one descriptor; a fiber that waits for another one makes another one. */
struct watch {
    uv_poll_t poll;
    struct sl_fiber *fiber;
    int descriptor;
};

/*
 *            turn of the loop   wait              awaited thing comes     function returns
 * new        -> running         -                 -                       -
 * running    -                  -> waiting        noted                   -> ended
 * waiting    -                  -                 -> running              -
 * offloaded  -                  -                 work's end: -> running  -
 */
enum state { FIBER_NEW, FIBER_RUNNING, FIBER_WAITING, FIBER_OFFLOADED, FIBER_ENDED };

struct sl_fiber {
    uv_async_t signal;
    uv_timer_t timer;
    struct watch *watch;
    int open_handles;
    enum state state;
    enum sl_fiber_reason reason;
    atomic_bool is_woken; /* and no wait has told of it, as below */
    atomic_bool is_interrupted;
    void (*run)(void *context);
    void *context;
    void (*work)(void *context); /* that is offloaded */
    void *work_context;
    char *stack;
    size_t stack_size; /* with the page beneath */
    ucontext_t inside;
    ucontext_t outside;
#if defined(__SANITIZE_ADDRESS__)
    void *fake_inside;
    void *fake_outside;
    const void *outside_bottom;
    size_t outside_size;
#endif
#if defined(__SANITIZE_THREAD__)
    void *shadow_inside;
    void *shadow_outside;
#endif
};

static _Thread_local struct sl_fiber *current;

struct sl_fiber *sl_fiber_current(void)
{
    return current;
}

/* From the loop to the fiber, until it waits or ends. */
static void enter(struct sl_fiber *fiber)
{
    fiber->state = FIBER_RUNNING;
    current = fiber;
#if defined(__SANITIZE_ADDRESS__)
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    __sanitizer_start_switch_fiber(
        &fiber->fake_outside, fiber->stack + page, fiber->stack_size - page);
#endif
#if defined(__SANITIZE_THREAD__)
    fiber->shadow_outside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->shadow_inside, 0);
#endif
    swapcontext(&fiber->outside, &fiber->inside);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber->fake_outside, NULL, NULL);
#endif
    current = NULL;
}

/* From the fiber back to the loop; returns when the loop comes back. */
static void leave(struct sl_fiber *fiber, enum state state)
{
    fiber->state = state;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(state == FIBER_ENDED ? NULL : &fiber->fake_inside,
        fiber->outside_bottom, fiber->outside_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(fiber->shadow_outside, 0);
#endif
    swapcontext(&fiber->inside, &fiber->outside);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(
        fiber->fake_inside, &fiber->outside_bottom, &fiber->outside_size);
#endif
}

/* makecontext passes integers only. */
static void begin(unsigned high, unsigned low)
{
    struct sl_fiber *fiber = (struct sl_fiber *) ((uintptr_t) high << 32 | low);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &fiber->outside_bottom, &fiber->outside_size);
#endif
    fiber->run(fiber->context);
    leave(fiber, FIBER_ENDED);
}

static void resume(struct sl_fiber *fiber, enum sl_fiber_reason reason)
{
    if (fiber->state == FIBER_WAITING) {
        fiber->reason = reason;
        enter(fiber);
    }
}

static bool take(atomic_bool *flag)
{
    return atomic_exchange_explicit(flag, false, memory_order_acq_rel);
}

/* What is to be told at once; 0: nothing. */
static enum sl_fiber_reason take_news(struct sl_fiber *fiber)
{
    if (take(&fiber->is_interrupted)) {
        return SL_FIBER_INTERRUPTED;
    }
    return take(&fiber->is_woken) ? SL_FIBER_WOKEN : 0;
}

static void on_signal(uv_async_t *signal)
{
    struct sl_fiber *fiber = signal->data;
    if (fiber->state == FIBER_NEW) {
        enter(fiber);
    } else if (fiber->state == FIBER_WAITING) {
        enum sl_fiber_reason news = take_news(fiber);
        if (news != 0) {
            resume(fiber, news);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    resume(timer->data, SL_FIBER_TIMEOUT);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    (void) status;
    (void) events;
    resume(watch->fiber, SL_FIBER_READY);
}

static void free_watch(uv_handle_t *handle)
{
    sl_free(handle->data);
}

static void drop_watch(struct sl_fiber *fiber)
{
    if (fiber->watch != NULL) {
        uv_close((uv_handle_t *) &fiber->watch->poll, free_watch);
        fiber->watch = NULL;
    }
}

/* A handle for the descriptor, or NULL. A stopped one may be used for the next of that number. */
static struct watch *watch_of(struct sl_fiber *fiber, int descriptor)
{
    if (fiber->watch != NULL && fiber->watch->descriptor == descriptor) {
        return fiber->watch;
    }
    drop_watch(fiber);
    struct watch *watch = sl_allocate(sizeof(*watch));
    if (watch == NULL || uv_poll_init(fiber->signal.loop, &watch->poll, descriptor) != 0) {
        sl_free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->fiber = fiber;
    watch->descriptor = descriptor;
    uv_unref((uv_handle_t *) &watch->poll);
    fiber->watch = watch;
    return watch;
}

/* Without a handle there is still the other way, which holds up the loop for once. */
static enum sl_fiber_reason wait_here(int descriptor, int events, int64_t timeout_ms)
{
    struct pollfd one = {.fd = descriptor,
        .events = (short) (((events & UV_READABLE) != 0 ? POLLIN : 0) |
            ((events & UV_WRITABLE) != 0 ? POLLOUT : 0))};
    int timeout = timeout_ms < 0 || timeout_ms > INT32_MAX ? -1 : (int) timeout_ms;
    return poll(&one, 1, timeout) == 0 ? SL_FIBER_TIMEOUT : SL_FIBER_READY;
}

enum sl_fiber_reason sl_fiber_wait(int descriptor, int events, int64_t timeout_ms)
{
    struct sl_fiber *fiber = current;
    enum sl_fiber_reason news = take_news(fiber);
    if (news != 0) {
        return news;
    }
    struct watch *watch = NULL;
    if (descriptor >= 0) {
        watch = watch_of(fiber, descriptor);
        if (watch == NULL || uv_poll_start(&watch->poll, events, on_ready) != 0) {
            return wait_here(descriptor, events, timeout_ms);
        }
    }
    if (timeout_ms >= 0) {
        uv_update_time(
            fiber->timer.loop); /* the work may have taken its time since the last turn */
        uv_timer_start(&fiber->timer, on_timer, (uint64_t) timeout_ms, 0);
    }
    leave(fiber, FIBER_WAITING);
    uv_timer_stop(&fiber->timer);
    if (watch != NULL) {
        uv_poll_stop(&watch->poll);
    }
    return fiber->reason;
}

static void run_offloaded(uv_work_t *request)
{
    struct sl_fiber *fiber = request->data;
    fiber->work(fiber->work_context);
}

static void after_offloaded(uv_work_t *request, int status)
{
    (void) status; /* nobody cancels it */
    enter(request->data);
}

void sl_fiber_offload(void (*work)(void *context), void *context)
{
    struct sl_fiber *fiber = current;
    uv_work_t request = {.data = fiber};
    fiber->work = work;
    fiber->work_context = context;
    if (uv_queue_work(fiber->signal.loop, &request, run_offloaded, after_offloaded) != 0) {
        work(context);
        return;
    }
    leave(fiber, FIBER_OFFLOADED);
}

void sl_fiber_wake(struct sl_fiber *fiber)
{
    atomic_store_explicit(&fiber->is_woken, true, memory_order_release);
    uv_async_send(&fiber->signal);
}

void sl_fiber_interrupt(struct sl_fiber *fiber)
{
    atomic_store_explicit(&fiber->is_interrupted, true, memory_order_release);
    uv_async_send(&fiber->signal);
}

void sl_fiber_forget_interrupt(void)
{
    if (current != NULL) {
        take(&current->is_interrupted);
    }
}

static void destroy(struct sl_fiber *fiber)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(fiber->shadow_inside);
#endif
#if defined(__SANITIZE_ADDRESS__)
    /* What its frames have left behind is nothing to whoever gets these pages next. */
    __asan_unpoison_memory_region(fiber->stack, fiber->stack_size);
#endif
    munmap(fiber->stack, fiber->stack_size);
    sl_free(fiber);
}

static void on_closed(uv_handle_t *handle)
{
    struct sl_fiber *fiber = handle->data;
    if (--fiber->open_handles == 0) {
        destroy(fiber);
    }
}

void sl_fiber_free(struct sl_fiber *fiber)
{
    if (fiber != NULL) {
        drop_watch(fiber);
        uv_close((uv_handle_t *) &fiber->timer, on_closed);
        uv_close((uv_handle_t *) &fiber->signal, on_closed);
    }
}

static int map_stack(struct sl_fiber *fiber)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    size_t size = SL_FIBER_STACK_SIZE + page;
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) {
        return -1;
    }
    if (mprotect(stack, page, PROT_NONE) != 0) {
        munmap(stack, size);
        return -1;
    }
    fiber->stack = stack;
    fiber->stack_size = size;
    return 0;
}

static void make_context(struct sl_fiber *fiber)
{
    uintptr_t self = (uintptr_t) fiber;
    getcontext(&fiber->inside);
    fiber->inside.uc_stack.ss_sp = fiber->stack;
    fiber->inside.uc_stack.ss_size = fiber->stack_size;
    fiber->inside.uc_link = NULL; /* it is left by swapcontext, also for good */
    makecontext(&fiber->inside, (void (*)(void)) begin, 2, (unsigned) (self >> 32),
        (unsigned) (self & UINT32_MAX));
#if defined(__SANITIZE_THREAD__)
    fiber->shadow_inside = __tsan_create_fiber(0);
#endif
}

int sl_fiber_start(uv_loop_t *loop, void (*run)(void *context), void *context,
    struct sl_fiber **ret_fiber, struct sluice_error *error)
{
    struct sl_fiber *fiber = sl_allocate(sizeof(*fiber));
    if (fiber == NULL || map_stack(fiber) != 0) {
        sl_free(fiber);
        return sl_fail_memory(error, "the stack of a fiber");
    }
    int result = uv_async_init(loop, &fiber->signal, on_signal);
    if (result != 0) {
        munmap(fiber->stack, fiber->stack_size);
        sl_free(fiber);
        return sl_fail_system(error, result, "cannot start", "a fiber");
    }
    uv_timer_init(loop, &fiber->timer);
    fiber->signal.data = fiber;
    fiber->timer.data = fiber;
    fiber->open_handles = 2;
    fiber->run = run;
    fiber->context = context;
    uv_unref((uv_handle_t *) &fiber->signal);
    uv_unref((uv_handle_t *) &fiber->timer);
    make_context(fiber);
    uv_async_send(&fiber->signal);
    *ret_fiber = fiber;
    return 0;
}
