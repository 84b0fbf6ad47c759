#include "lib/tasks.h"

#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fiber.h"
#include "base/memory.h"
#include "lib/background.h"
#include "lib/transaction.h"

enum { TASK_TIMEOUT_MS = 30000, NS_OF_MS = 1000000 };

struct sl_gate {
    uv_mutex_t mutex;
    uv_cond_t changed;
    struct sl_fiber *waiter; /* a fiber that waits for a change; a thread waits at `changed` */
    int references;
    bool is_open;
    bool is_cancelled;
};

enum task_state { TASK_PENDING, TASK_SUCCEEDED, TASK_FAILED };

/*
 *            succeed        fail        awaited                         transaction ends
 * pending    -> succeeded   -> failed   promise: waits; work: runs      cancelled
 * succeeded  -              -           done                            freed
 * failed     -              -           the transaction fails           freed
 */
struct sluice_task {
    struct sluice_task *next; /* the one begun before it; the transaction's */
    struct sl_gate *gate;
    sluice_work work; /* NULL: a promise */
    void *context;
    const struct sl_listener *speaker;  /* who began it; NULL: the service */
    const struct sl_listener *listener; /* who handed it back */
    int generation;
    int timeout_ms;
    bool is_handed_back;
    bool is_awaited;
    /* Behind the gate. */
    enum task_state state;
    bool is_cancelled;
    int references; /* the transaction's and, for a promise, its keeper's */
    struct sluice_error error;
};

struct sl_gate *sl_gate_new(void)
{
    struct sl_gate *gate = sl_allocate(sizeof(*gate));
    if (gate == NULL) {
        return NULL;
    }
    if (uv_mutex_init(&gate->mutex) != 0) {
        sl_free(gate);
        return NULL;
    }
    if (uv_cond_init(&gate->changed) != 0) {
        uv_mutex_destroy(&gate->mutex);
        sl_free(gate);
        return NULL;
    }
    gate->references = 1;
    return gate;
}

void sl_gate_unref(struct sl_gate *gate)
{
    if (gate == NULL) {
        return;
    }
    uv_mutex_lock(&gate->mutex);
    bool is_last = --gate->references == 0;
    uv_mutex_unlock(&gate->mutex);
    if (is_last) {
        uv_cond_destroy(&gate->changed);
        uv_mutex_destroy(&gate->mutex);
        sl_free(gate);
    }
}

/* Behind the mutex, as the wait. */
static void tell_change(struct sl_gate *gate)
{
    uv_cond_broadcast(&gate->changed);
    if (gate->waiter != NULL) {
        sl_fiber_wake(gate->waiter);
    }
}

static void wait_for_change(struct sl_gate *gate, int64_t timeout_ms)
{
    struct sl_fiber *fiber = sl_fiber_current();
    if (fiber == NULL) {
        uv_cond_timedwait(&gate->changed, &gate->mutex, (uint64_t) timeout_ms * NS_OF_MS);
        return;
    }
    gate->waiter = fiber;
    uv_mutex_unlock(&gate->mutex);
    sl_fiber_wait(-1, 0, timeout_ms);
    uv_mutex_lock(&gate->mutex);
    gate->waiter = NULL;
}

void sl_gate_open(struct sl_gate *gate)
{
    uv_mutex_lock(&gate->mutex);
    gate->is_open = true;
    gate->is_cancelled = false;
    uv_mutex_unlock(&gate->mutex);
}

bool sl_gate_shut(struct sl_gate *gate)
{
    if (gate == NULL) {
        return false;
    }
    uv_mutex_lock(&gate->mutex);
    if (gate->is_open) {
        sl_fiber_forget_interrupt();
    }
    gate->is_open = false;
    bool is_cancelled = gate->is_cancelled;
    gate->is_cancelled = false;
    uv_mutex_unlock(&gate->mutex);
    return is_cancelled;
}

void sl_gate_cancel(struct sl_gate *gate, struct sl_background *background)
{
    uv_mutex_lock(&gate->mutex);
    if (gate->is_open) {
        gate->is_cancelled = true;
        sl_background_interrupt(background);
        tell_change(gate);
    }
    uv_mutex_unlock(&gate->mutex);
}

int sl_gate_check(struct sl_gate *gate, struct sluice_error *error)
{
    if (gate == NULL) {
        return 0;
    }
    uv_mutex_lock(&gate->mutex);
    bool is_cancelled = gate->is_cancelled;
    uv_mutex_unlock(&gate->mutex);
    return is_cancelled ? sl_fail(error, SLUICE_CANCELLED, SLUICE_REJECT, "cancelled") : 0;
}

static void unref(struct sluice_task *task)
{
    struct sl_gate *gate = task->gate;
    uv_mutex_lock(&gate->mutex);
    bool is_last = --task->references == 0;
    uv_mutex_unlock(&gate->mutex);
    if (is_last) {
        sl_free(task);
        sl_gate_unref(gate);
    }
}

static int begin(sluice_database *database, struct sluice_task template,
    struct sluice_task **ret_task, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    if (transaction->stage == SL_STAGE_AFTER) {
        return sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "cannot begin a task after the end of the transaction: nothing waits for it there");
    }
    if (transaction->stage == SL_STAGE_IDLE || !sl_store_in_transaction(database->store)) {
        return sl_fail(error, SLUICE_NO_TRANSACTION, SLUICE_REJECT,
            "cannot begin a task: no transaction is open that sluice has begun and could let wait");
    }
    if (database->gate == NULL) {
        database->gate = sl_gate_new();
    }
    struct sluice_task *task = database->gate == NULL ? NULL : sl_allocate(sizeof(*task));
    if (task == NULL) {
        return sl_fail_memory(error, "a task");
    }
    *task = template;
    task->gate = database->gate;
    task->speaker = transaction->speaker;
    task->generation = transaction->generation;
    task->timeout_ms = TASK_TIMEOUT_MS;
    task->next = transaction->tasks;
    uv_mutex_lock(&task->gate->mutex);
    task->gate->references++;
    uv_mutex_unlock(&task->gate->mutex);
    transaction->tasks = task;
    *ret_task = task;
    return 0;
}

int sluice_task_new(sluice_database *database, sluice_task **ret_task, struct sluice_error *error)
{
    struct sluice_task promise = {.references = 2};
    return sl_database_enter(database, error) != 0
               ? -1
               : sl_database_leave(database, begin(database, promise, ret_task, error));
}

int sluice_task_work(sluice_database *database, sluice_work work, void *context,
    sluice_task **ret_task, struct sluice_error *error)
{
    struct sluice_task task = {.references = 1, .work = work, .context = context};
    if (work == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT, "the work of a task is NULL");
    }
    return sl_database_enter(database, error) != 0
               ? -1
               : sl_database_leave(database, begin(database, task, ret_task, error));
}

static void settle(struct sluice_task *task, enum task_state state, const struct sluice_error *why)
{
    uv_mutex_lock(&task->gate->mutex);
    if (task->state == TASK_PENDING) {
        task->state = state;
        if (why != NULL) {
            task->error = *why;
        }
        tell_change(task->gate);
    }
    uv_mutex_unlock(&task->gate->mutex);
}

void sluice_task_succeed(sluice_task *task)
{
    settle(task, TASK_SUCCEEDED, NULL);
    unref(task);
}

void sluice_task_fail(sluice_task *task, const struct sluice_error *error)
{
    struct sluice_error none = {.code = SLUICE_HANDLER, .reaction = SLUICE_REJECT};
    settle(task, TASK_FAILED, error == NULL ? &none : error);
    unref(task);
}

int sluice_task_is_cancelled(const sluice_task *task)
{
    uv_mutex_lock(&task->gate->mutex);
    bool is_cancelled = task->is_cancelled;
    uv_mutex_unlock(&task->gate->mutex);
    return is_cancelled ? 1 : 0;
}

static bool is_ours(const struct sl_transaction *transaction, const struct sluice_task *task)
{
    const struct sluice_task *each = transaction->tasks;
    while (each != NULL && each != task) {
        each = each->next;
    }
    return each != NULL;
}

bool sl_task_hand_back(
    sluice_database *database, struct sluice_task *task, const struct sl_listener *listener)
{
    if (!is_ours(database->transaction, task)) {
        return false;
    }
    task->is_handed_back = true;
    task->listener = listener;
    task->timeout_ms = listener->task_timeout_ms == 0 ? TASK_TIMEOUT_MS : listener->task_timeout_ms;
    return true;
}

/* "the task of the listener 'x'", or just a task. */
static const char *owner(const struct sl_listener *listener, const char **ret_quote)
{
    *ret_quote = listener == NULL ? "" : "'";
    return listener == NULL ? "the service" : listener->name;
}

int sl_tasks_check(const struct sl_transaction *transaction, const struct sluice_task *before,
    struct sluice_error *error)
{
    for (const struct sluice_task *task = transaction->tasks; task != before; task = task->next) {
        if (!task->is_handed_back) {
            const char *quote;
            const char *name = owner(task->speaker, &quote);
            return sl_fail(error, SLUICE_LISTENER, SLUICE_REJECT,
                "a task that %s%s%s began was not handed back, so that the commit would not wait "
                "for it: return it from the asynchronous listener, or call sluice_task_await",
                quote, name, quote);
        }
    }
    return 0;
}

/* Wait until the promise is kept, broken, or nobody may wait any longer. */
static int wait_for(struct sluice_task *task, struct sluice_error *error)
{
    struct sl_gate *gate = task->gate;
    int64_t end_ms = sl_clock_monotonic_ms() + task->timeout_ms;
    uv_mutex_lock(&gate->mutex);
    int64_t left_ms = task->timeout_ms;
    while (task->state == TASK_PENDING && !gate->is_cancelled && left_ms > 0) {
        wait_for_change(gate, left_ms);
        left_ms = end_ms - sl_clock_monotonic_ms();
    }
    enum task_state state = task->state;
    bool is_cancelled = gate->is_cancelled;
    uv_mutex_unlock(&gate->mutex);
    if (state != TASK_PENDING) {
        return 0;
    }
    if (is_cancelled) {
        return sl_fail(
            error, SLUICE_CANCELLED, SLUICE_REJECT, "cancelled while waiting for a task");
    }
    const char *quote;
    const char *name = owner(task->listener, &quote);
    return sl_fail(error, SLUICE_BUSY, SLUICE_REJECT,
        "a task of %s%s%s was not done within %d ms; whoever keeps it must call "
        "sluice_task_succeed or sluice_task_fail in any case, on another thread than this one",
        quote, name, quote, task->timeout_ms);
}

static void run_work(sluice_database *database, struct sluice_task *task)
{
    struct sl_transaction *transaction = database->transaction;
    const struct sl_listener *speaker = transaction->speaker;
    int generation = transaction->generation;
    struct sluice_error reason = {.code = SLUICE_OK};
    transaction->speaker = task->speaker;
    transaction->generation = task->generation;
    int status = sl_transaction_run(database, SLUICE_MANDATORY, task->work, task->context, &reason);
    transaction->speaker = speaker;
    transaction->generation = generation;
    settle(task, status == 0 ? TASK_SUCCEEDED : TASK_FAILED, &reason);
}

static int await(sluice_database *database, struct sluice_task *task, struct sluice_error *error)
{
    if (task->work != NULL && !task->is_awaited) {
        run_work(database, task);
    } else if (task->work == NULL && wait_for(task, error) != 0) {
        return -1; /* still not awaited: a commit would wait for it again */
    }
    task->is_awaited = true;
    if (task->state == TASK_SUCCEEDED) {
        return 0;
    }
    if (task->listener == NULL) {
        if (error != NULL) {
            *error = task->error;
        }
        return -1;
    }
    return sl_fail(error, SLUICE_LISTENER,
        task->error.reaction == 0 ? SLUICE_REJECT : task->error.reaction,
        "the task of the listener '%s' failed: %s", task->listener->name,
        task->error.text[0] == '\0' ? "it gave no reason" : task->error.text);
}

int sl_tasks_await_all(sluice_database *database, struct sluice_error *error)
{
    struct sl_transaction *transaction = database->transaction;
    for (;;) {
        struct sluice_task *first = NULL;
        for (struct sluice_task *task = transaction->tasks; task != NULL; task = task->next) {
            first = task->is_handed_back && !task->is_awaited ? task : first;
        }
        if (first == NULL) {
            return sl_tasks_check(transaction, NULL, error);
        }
        if (await(database, first, error) != 0) {
            return -1;
        }
    }
}

int sluice_task_await(
    sluice_database *database, sluice_task *task, int timeout_ms, struct sluice_error *error)
{
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    if (task == NULL || timeout_ms < 0 || !is_ours(database->transaction, task)) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "cannot await what is no task of the transaction that is open on this database");
        return sl_database_leave(database, -1);
    }
    /* Whoever gives up early here has not shortened what the commit waits. */
    int commits_timeout_ms = task->timeout_ms;
    task->is_handed_back = true;
    task->timeout_ms = timeout_ms == 0 ? TASK_TIMEOUT_MS : timeout_ms;
    int status = await(database, task, error);
    task->timeout_ms = commits_timeout_ms;
    return sl_database_leave(database, status);
}

void sl_tasks_end(struct sl_transaction *transaction, struct sluice_task *before)
{
    while (transaction->tasks != before) {
        struct sluice_task *task = transaction->tasks;
        transaction->tasks = task->next;
        uv_mutex_lock(&task->gate->mutex);
        task->is_cancelled = true;
        uv_mutex_unlock(&task->gate->mutex);
        unref(task);
    }
}
