#include "base/watch.h"

#include <string.h>

#include "base/memory.h"

enum { SAFETY_INTERVAL_MS = 1000 };

/* How long after a notice the checks go on: the sum is what a slow disk may take for its sync. */
static const uint64_t delays_ms[] = {1, 1, 1, 2, 3, 5, 8, 13, 21, 34, 50, 50, 50, 50, 50};

struct sl_watch {
    uv_fs_event_t folder;
    uv_timer_t timer;
    sl_watch_check check;
    void *context;
    char *name; /* the file's name within its folder */
    size_t step;
    int open_handles;
    bool is_closing;
};

static void on_timer(uv_timer_t *timer);

static void schedule(struct sl_watch *watch)
{
    bool is_in_run = watch->step < sizeof(delays_ms) / sizeof(delays_ms[0]);
    uint64_t delay_ms = is_in_run ? delays_ms[watch->step++] : SAFETY_INTERVAL_MS;
    uv_timer_start(&watch->timer, on_timer, delay_ms, 0);
}

static void check_now(struct sl_watch *watch)
{
    bool is_news = watch->check(watch->context);
    if (watch->is_closing) {
        return;
    }
    if (is_news) {
        watch->step = sizeof(delays_ms) / sizeof(delays_ms[0]);
    }
    schedule(watch);
}

static void on_timer(uv_timer_t *timer)
{
    check_now(timer->data);
}

static void on_change(uv_fs_event_t *folder, const char *filename, int events, int status)
{
    struct sl_watch *watch = folder->data;
    (void) events;
    if (status == 0 && filename != NULL &&
        strncmp(filename, watch->name, strlen(watch->name)) != 0) {
        return;
    }
    sl_watch_poke(watch);
}

void sl_watch_poke(struct sl_watch *watch)
{
    watch->step = 0;
    check_now(watch);
}

static void on_closed(uv_handle_t *handle)
{
    struct sl_watch *watch = handle->data;
    if (--watch->open_handles == 0) {
        sl_free(watch->name);
        sl_free(watch);
    }
}

int sl_watch_open(uv_loop_t *loop, const char *file, sl_watch_check check, void *context,
    struct sl_watch **ret_watch, struct sluice_error *error)
{
    const char *slash = strrchr(file, '/');
    char *folder = slash == NULL ? sl_copy_text(".")
        : slash == file          ? sl_copy_text("/")
                                 : sl_copy_bytes(file, (size_t) (slash - file));
    struct sl_watch *watch = sl_allocate(sizeof(*watch));
    char *name = sl_copy_text(slash == NULL ? file : slash + 1);
    if (folder == NULL || watch == NULL || name == NULL) {
        sl_free(folder);
        sl_free(watch);
        sl_free(name);
        return sl_fail_memory(error, "a file watch");
    }
    *watch = (struct sl_watch) {
        .check = check, .context = context, .name = name, .open_handles = 2};
    uv_timer_init(loop, &watch->timer);
    uv_fs_event_init(loop, &watch->folder);
    watch->timer.data = watch;
    watch->folder.data = watch;
    int status = uv_fs_event_start(&watch->folder, on_change, folder, 0);
    if (status != 0) {
        sl_fail_system(error, status, "cannot watch the folder", folder);
        sl_free(folder);
        sl_watch_close(watch);
        return -1;
    }
    sl_free(folder);
    schedule(watch);
    *ret_watch = watch;
    return 0;
}

void sl_watch_close(struct sl_watch *watch)
{
    if (watch == NULL || watch->is_closing) {
        return;
    }
    watch->is_closing = true;
    uv_close((uv_handle_t *) &watch->timer, on_closed);
    uv_close((uv_handle_t *) &watch->folder, on_closed);
}
