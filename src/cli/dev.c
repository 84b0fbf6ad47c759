#include "cli/dev.h"

#include <sluice/outbox.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/broker.h"
#include "cli/dev_internal.h"

enum { RECORDS_AT_ONCE = 256, STEP_INTERVAL_MS = 1500, STOP_GRACE_MS = 200, CONNECTIONS_MAX = 256 };

/* The example order's way; behind the last one comes a pause and the next order. */
static const char *const steps[] = {
    "order_accepted", "payment_requested", "completed", NULL, NULL};

static void free_dev(struct sl_dev *dev)
{
    sl_dev_items_deinit(&dev->items);
    sluice_database_close(dev->database);
    sl_broker_close(dev->broker);
    sl_free(dev);
}

static void part_closed(struct sl_dev *dev)
{
    if (--dev->open_parts == 0) {
        free_dev(dev);
    }
}

static void on_server_stopped(void *context)
{
    part_closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void apply(struct sl_dev *dev, const struct sl_record *record)
{
    struct sl_text payload = record->event.payload;
    json_t *object = json_loadb(payload.size == 0 ? "" : payload.data, payload.size, 0, NULL);
    int64_t version = (int64_t) json_integer_value(json_object_get(object, "version"));
    if (version > 0) {
        sl_dev_items_apply(
            &dev->items, record->event.key, payload, version, sl_clock_wall_ms());
    }
    json_decref(object);
}

static void on_readable(void *context)
{
    struct sl_dev *dev = context;
    struct sluice_error error;
    const struct sl_record *records;
    size_t count;
    do {
        if (sl_reader_next(dev->reader, RECORDS_AT_ONCE, &records, &count, &error) != 0) {
            sl_log(SL_LOG_WARN, "the log cannot be read", "error=\"%s\"", error.text);
            return;
        }
        for (size_t i = 0; i < count; i++) {
            apply(dev, &records[i]);
        }
    } while (count > 0);
}

int sl_dev_publish(struct sl_dev *dev, const char *topic, struct sl_text key, const char *type,
    json_t *body, int64_t *ret_version, struct sluice_error *error)
{
    struct sl_dev_item *item = sl_dev_item_of(&dev->items, key);
    if (item == NULL) {
        return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "the demo keeps at most %d keys; use one of those, or start it again",
            SL_DEV_KEYS_MAX);
    }
    struct sl_dev_trace *trace = sl_dev_trace_of(&dev->items, key, item->version + 1, true);
    trace->begun_ms = sl_clock_wall_ms();
    json_object_set_new(body, "key", json_stringn(key.data, key.size));
    json_object_set_new(body, "type", json_string(type));
    json_object_set_new(body, "version", json_integer((json_int_t) trace->version));
    struct sl_buffer payload;
    sl_buffer_init(&payload, SLUICE_PAYLOAD_SIZE_MAX);
    char *key_text = sl_copy_bytes(key.data, key.size);
    int result = key_text == NULL || sl_state_write(body, &payload) != 0
        ? sl_fail_memory(error, "the event")
        : sluice_begin(dev->database, error);
    if (result == 0) {
        struct sluice_event event = {.topic = topic, .key = key_text, .type = type,
            .payload = payload.data, .payload_size = payload.size};
        result = sluice_publish(dev->database, &event, NULL, error);
        if (result == 0) {
            result = sluice_commit(dev->database, error);
        } else {
            sluice_rollback(dev->database, NULL);
        }
    }
    if (result == 0) {
        trace->committed_ms = sl_clock_wall_ms();
        item->version = trace->version;
        *ret_version = trace->version;
    }
    sl_free(key_text);
    sl_buffer_deinit(&payload);
    return result;
}

static void on_step(uv_timer_t *timer)
{
    struct sl_dev *dev = timer->data;
    struct sluice_error error;
    int64_t version;
    const char *step = steps[dev->step];
    if (dev->step == 0) {
        dev->order_number++;
        snprintf(dev->order_key, sizeof(dev->order_key), "order-%lld",
            (long long) dev->order_number);
    }
    dev->step = (dev->step + 1) % (sizeof(steps) / sizeof(steps[0]));
    if (step == NULL) {
        return;
    }
    json_t *body = json_pack("{s:I}", "points", (json_int_t) (1000 + dev->order_number * 10));
    if (sl_dev_publish(dev, SL_DEV_ORDER_TOPIC, sl_text_of(dev->order_key), step, body, &version,
            &error) != 0) {
        sl_log(SL_LOG_WARN, "the example order stands still", "error=\"%s\"", error.text);
    }
    json_decref(body);
}

void sl_dev_start(struct sl_dev *dev, const char *console_url)
{
    dev->console_url = console_url;
    uv_timer_start(&dev->timer, on_step, 0, STEP_INTERVAL_MS);
}

/* Example orders of an earlier run are over; the keys go on from them. */
static bool find_last_order(void *context, struct sl_text key, void *value)
{
    struct sl_dev *dev = context;
    const struct sl_text prefix = SL_TEXT("order-");
    int64_t number;
    (void) value;
    if (key.size > prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0 &&
        sl_parse_i64((struct sl_text) {key.data + prefix.size, key.size - prefix.size}, &number) &&
        number > dev->order_number && number < INT32_MAX) {
        dev->order_number = number;
    }
    return true;
}

static int open_parts(struct sl_dev *dev, uv_loop_t *loop, const struct sl_dev_options *options,
    struct sluice_error *error)
{
    static const char *const topics[] = {SL_DEV_TOPIC, SL_DEV_ORDER_TOPIC};
    static const char *const address = "127.0.0.1:0";
    struct sl_reader_options reader = {
        .topics = topics, .topic_count = 2, .start = SL_READ_START};
    struct sl_http_server_options server = {.addresses = &address, .address_count = 1,
        .on_request = sl_dev_serve, .context = dev, .connections_max = CONNECTIONS_MAX,
        .body_size_max = SL_DEV_BODY_SIZE_MAX};
    if (sluice_database_open(options->database, &dev->database, error) != 0 ||
        sl_broker_open(options->broker, &dev->broker, error) != 0 ||
        sl_http_server_open(loop, &server, &dev->server, error) != 0) {
        return -1;
    }
    return sl_reader_open(
        dev->broker, &reader, loop, on_readable, dev, &dev->reader, error);
}

int sl_dev_open(uv_loop_t *loop, const struct sl_dev_options *options, struct sl_dev **ret_dev,
    struct sluice_error *error)
{
    struct sl_dev *dev = sl_allocate(sizeof(*dev));
    if (dev == NULL) {
        return sl_fail_memory(error, "the publisher");
    }
    sl_dev_items_init(&dev->items);
    if (open_parts(dev, loop, options, error) != 0) {
        if (dev->server != NULL) {
            dev->open_parts = 1;
            sl_http_server_stop(dev->server, 0, on_server_stopped, dev);
        } else {
            free_dev(dev);
        }
        return -1;
    }
    on_readable(dev);
    sl_table_each(&dev->items.table, find_last_order, dev);
    uv_timer_init(loop, &dev->timer);
    dev->timer.data = dev;
    dev->open_parts = 2;
    *ret_dev = dev;
    return 0;
}

const char *sl_dev_url(const struct sl_dev *dev)
{
    return sl_http_server_url(dev->server, 0);
}

void sl_dev_stop(struct sl_dev *dev)
{
    dev->console_url = NULL;
    sl_reader_close(dev->reader);
    uv_close((uv_handle_t *) &dev->timer, on_timer_closed);
    sl_http_server_stop(dev->server, STOP_GRACE_MS, on_server_stopped, dev);
}
