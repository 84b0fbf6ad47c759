#include "broker/kafka_wake.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"

struct sl_kafka_wake {
    uv_poll_t poll;
    uv_timer_t timer;
    rd_kafka_queue_t *queue;
    int descriptor;
    int open_handles;
    sl_kafka_on_wake on_wake;
    sl_kafka_on_wake on_time;
    void *context;
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sl_kafka_wake *wake = poll->data;
    uint64_t count;
    (void) events;
    if (status == 0 && read(wake->descriptor, &count, sizeof(count)) == sizeof(count)) {
        wake->on_wake(wake->context);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct sl_kafka_wake *wake = timer->data;
    wake->on_time(wake->context);
}

static void on_closed(uv_handle_t *handle)
{
    struct sl_kafka_wake *wake = handle->data;
    if (--wake->open_handles == 0) {
        close(wake->descriptor);
        sl_free(wake);
    }
}

int sl_kafka_wake_open(uv_loop_t *loop, rd_kafka_queue_t *queue, sl_kafka_on_wake on_wake,
    int64_t interval_ms, sl_kafka_on_wake on_time, void *context, struct sl_kafka_wake **ret_wake,
    struct sluice_error *error)
{
    static const uint64_t one = 1;
    struct sl_kafka_wake *wake = sl_allocate(sizeof(*wake));
    if (wake == NULL) {
        return sl_fail_memory(error, "a Kafka client");
    }
    *wake = (struct sl_kafka_wake) {
        .queue = queue, .on_wake = on_wake, .on_time = on_time, .context = context};
    wake->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int status = wake->descriptor < 0 ? -errno : 0;
    if (status == 0) {
        status = uv_poll_init(loop, &wake->poll, wake->descriptor);
    }
    if (status != 0) {
        if (wake->descriptor >= 0) {
            close(wake->descriptor);
        }
        sl_free(wake);
        return sl_fail_system(error, status, "cannot listen to", "a Kafka client");
    }
    wake->open_handles = 2;
    wake->poll.data = wake;
    wake->timer.data = wake;
    uv_timer_init(loop, &wake->timer);
    if (on_time != NULL) {
        uv_timer_start(&wake->timer, on_timer, (uint64_t) interval_ms, (uint64_t) interval_ms);
    }
    uv_poll_start(&wake->poll, UV_READABLE, on_poll);
    rd_kafka_queue_io_event_enable(queue, wake->descriptor, &one, sizeof(one));
    /* The queue tells when it is empty no more: what is in it already would never be told. */
    ssize_t written = write(wake->descriptor, &one, sizeof(one));
    (void) written;
    *ret_wake = wake;
    return 0;
}

void sl_kafka_wake_close(struct sl_kafka_wake *wake)
{
    if (wake == NULL) {
        return;
    }
    rd_kafka_queue_io_event_enable(wake->queue, -1, NULL, 0);
    uv_poll_stop(&wake->poll);
    uv_close((uv_handle_t *) &wake->poll, on_closed);
    uv_close((uv_handle_t *) &wake->timer, on_closed);
}
