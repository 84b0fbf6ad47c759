/*
 * Fibers on a loop: what they wait for, who wakes them, and how much stack they have.
 */
#include "base/fiber.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "support/unit.h"

static uv_loop_t loop;
static struct sluice_error error;
static char story[100];
static uv_async_t anchor; /* a fiber alone keeps no loop alive */

static void ignore(uv_async_t *signal)
{
    (void) signal;
}

static void tell(const char *word)
{
    size_t end = strlen(story);
    snprintf(story + end, sizeof(story) - end, "%s%s", end == 0 ? "" : " ", word);
    uv_async_send(&anchor); /* a turn that only timers have ended would wait for more */
}

static void set_up(void)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(uv_async_init(&loop, &anchor, ignore), 0);
    story[0] = '\0';
    ck_assert_ptr_null(sl_fiber_current());
}

static struct sl_fiber *start(void (*run)(void *context), void *context)
{
    struct sl_fiber *fiber = NULL;
    int status = sl_fiber_start(&loop, run, context, &fiber, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return fiber;
}

/* Turn the loop until the story has so many letters. */
static void turn_until(size_t length)
{
    while (strlen(story) < length) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void tear_down(struct sl_fiber *fiber)
{
    sl_fiber_free(fiber);
    uv_close((uv_handle_t *) &anchor, NULL);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_ptr_null(sl_fiber_current());
}

static int ends[2][2];

static void read_both(void *context)
{
    char c[2] = "";
    ck_assert_ptr_nonnull(sl_fiber_current());
    tell(context);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sl_fiber_wait(ends[i][0], UV_READABLE, -1), SL_FIBER_READY);
        ck_assert_int_eq(read(ends[i][0], c, 1), 1);
        tell(c);
        close(ends[i][0]); /* the next may get the same number */
        close(ends[i][1]);
        ck_assert_int_eq(pipe(ends[1]), 0);
        ck_assert_int_eq(i == 0 ? (int) write(ends[1][1], "b", 1) : 1, 1);
    }
    ck_assert_int_eq(sl_fiber_wait(ends[1][0], UV_READABLE, 5), SL_FIBER_TIMEOUT);
    ck_assert_int_eq(sl_fiber_wait(ends[1][1], UV_WRITABLE, -1), SL_FIBER_READY);
    ck_assert_int_eq(sl_fiber_wait(-1, 0, 5), SL_FIBER_TIMEOUT);
    close(ends[1][0]);
    close(ends[1][1]);
    tell("end");
}

START_TEST(a_fiber_waits_for_descriptors_and_for_time)
{
    set_up();
    ck_assert_int_eq(pipe(ends[0]), 0);
    struct sl_fiber *fiber = start(read_both, "begin");
    ck_assert_str_eq(story, "");
    turn_until(5);
    ck_assert_str_eq(story, "begin");
    ck_assert_int_eq(write(ends[0][1], "a", 1), 1);
    turn_until(strlen("begin a b end"));
    ck_assert_str_eq(story, "begin a b end");
    tear_down(fiber);
}
END_TEST

static void be_woken(void *context)
{
    (void) context;
    tell("wait");
    ck_assert_int_eq(sl_fiber_wait(-1, 0, -1), SL_FIBER_WOKEN);
    sl_fiber_wake(sl_fiber_current()); /* noted, and told by the next wait */
    ck_assert_int_eq(sl_fiber_wait(-1, 0, -1), SL_FIBER_WOKEN);
    sl_fiber_interrupt(sl_fiber_current());
    ck_assert_int_eq(sl_fiber_wait(-1, 0, -1), SL_FIBER_INTERRUPTED);
    sl_fiber_interrupt(sl_fiber_current());
    sl_fiber_forget_interrupt();
    ck_assert_int_eq(sl_fiber_wait(-1, 0, 5), SL_FIBER_TIMEOUT);
    tell("woken");
}

static void *wake(void *fiber)
{
    sl_fiber_wake(fiber);
    return NULL;
}

START_TEST(a_fiber_is_woken_by_any_thread_and_interrupted_once)
{
    set_up();
    pthread_t thread;
    struct sl_fiber *fiber = start(be_woken, NULL);
    turn_until(4);
    ck_assert_int_eq(pthread_create(&thread, NULL, wake, fiber), 0);
    turn_until(strlen("wait woken"));
    pthread_join(thread, NULL);
    sl_fiber_forget_interrupt(); /* off a fiber: nothing */
    tear_down(fiber);
}
END_TEST

static pthread_t elsewhere;

static void note_thread(void *context)
{
    (void) context;
    ck_assert_ptr_null(sl_fiber_current());
    elsewhere = pthread_self();
}

static void offload(void *context)
{
    sl_fiber_interrupt(sl_fiber_current()); /* does not end it before its time */
    sl_fiber_offload(note_thread, context);
    ck_assert(!pthread_equal(elsewhere, pthread_self()));
    ck_assert_int_eq(sl_fiber_wait(-1, 0, -1), SL_FIBER_INTERRUPTED);
    tell("offloaded");
}

START_TEST(what_can_only_block_is_done_on_another_thread)
{
    set_up();
    struct sl_fiber *fiber = start(offload, NULL);
    turn_until(strlen("offloaded"));
    tear_down(fiber);
}
END_TEST

/* Fills a good part of the stack, and finds it as it was after the wait. */
static void use_stack(void *context)
{
    char large[SL_FIBER_STACK_SIZE / 2];
    memset(large, *(const char *) context, sizeof(large));
    sl_fiber_wait(-1, 0, 1);
    size_t changed = 0;
    for (size_t i = 0; i < sizeof(large); i++) {
        changed += large[i] != *(const char *) context;
    }
    ck_assert_uint_eq(changed, 0);
    tell(context);
}

START_TEST(fibers_keep_their_stacks_apart)
{
    set_up();
    struct sl_fiber *first = start(use_stack, "1");
    struct sl_fiber *second = start(use_stack, "2");
    turn_until(strlen("1 2"));
    sl_fiber_free(first);
    sl_fiber_free(NULL);
    tear_down(second);
}
END_TEST

UNIT_MAIN("fiber", a_fiber_waits_for_descriptors_and_for_time,
    a_fiber_is_woken_by_any_thread_and_interrupted_once,
    what_can_only_block_is_done_on_another_thread, fibers_keep_their_stacks_apart)
