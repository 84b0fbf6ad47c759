/* What is done for all streams: heartbeats on a wheel, the feed's readiness, draining, looking. */
#include "base/clock.h"
#include "gateway/stream.h"

static int64_t now_of(const struct sl_gateway *gateway)
{
    return (int64_t) uv_now(gateway->loop);
}

void sl_stream_enter_slot(struct sl_stream *stream, int64_t delay_ms)
{
    struct sl_gateway *gateway = stream->gateway;
    int64_t tick_ms = (int64_t) uv_timer_get_repeat(&gateway->timer);
    int64_t ahead = tick_ms <= 0 ? 1 : delay_ms / tick_ms;
    if (stream->expires_ms != 0) {
        int64_t left_ms = stream->expires_ms - sl_clock_wall_ms();
        int64_t left = tick_ms <= 0 ? 1 : left_ms / tick_ms + 1;
        ahead = left < ahead ? left : ahead;
    }
    ahead = ahead < 1 ? 1 : ahead > SL_WHEEL_SLOTS - 1 ? SL_WHEEL_SLOTS - 1 : ahead;
    stream->slot = (uint8_t) ((gateway->slot + (size_t) ahead) % SL_WHEEL_SLOTS);
    stream->slot_previous = NULL;
    stream->slot_next = gateway->slots[stream->slot];
    if (stream->slot_next != NULL) {
        stream->slot_next->slot_previous = stream;
    }
    gateway->slots[stream->slot] = stream;
}

void sl_stream_leave_slot(struct sl_stream *stream)
{
    if (stream->slot_previous != NULL) {
        stream->slot_previous->slot_next = stream->slot_next;
    } else {
        stream->gateway->slots[stream->slot] = stream->slot_next;
    }
    if (stream->slot_next != NULL) {
        stream->slot_next->slot_previous = stream->slot_previous;
    }
}

void sl_streams_on_feed_ready(struct sl_gateway *gateway)
{
    for (struct sl_stream *each = gateway->streams; each != NULL; each = each->next) {
        if (each->is_waiting) {
            sl_stream_proceed(each);
        }
    }
}

/* The token's time is over. The page gets a fresh one and goes on where it was. */
static void expire(struct sl_stream *stream)
{
    sl_stream_enter_slot(stream, stream->gateway->options.heartbeat_ms);
    if (stream->session.state == SL_SESSION_ENDED) {
        return;
    }
    stream->is_waiting = false;
    stream->session.state = SL_SESSION_ENDED;
    sl_stream_end_with(stream, "expired", "the token has expired: come back with a fresh one", NULL,
        -1, SL_END_EXPIRED);
}

/* A stream's slot has come. */
static void look_after(struct sl_stream *stream)
{
    struct sl_gateway *gateway = stream->gateway;
    int64_t heartbeat_ms = gateway->options.heartbeat_ms;
    if (stream->expires_ms != 0 && sl_clock_wall_ms() >= stream->expires_ms) {
        expire(stream);
        return;
    }
    int64_t silent_ms = now_of(gateway) - stream->sent_ms;
    int64_t jitter_ms =
        (int64_t) sl_gateway_jitter(gateway, (uint64_t) heartbeat_ms / 8 + 1);
    if (stream->is_waiting && now_of(gateway) - stream->opened_ms >= SL_FEED_WAIT_MS) {
        stream->is_waiting = false;
        sl_stream_answer_unavailable(stream, "the gateway has not read the events yet");
    } else if (stream->session.state == SL_SESSION_LIVE &&
               silent_ms >= heartbeat_ms - heartbeat_ms / 4 &&
               sl_exchange_queued(stream->exchange) == 0 &&
               sl_exchange_write_frame(stream->exchange, gateway->heartbeat) == 0) {
        stream->sent_ms = now_of(gateway);
        gateway->stats.heartbeats++;
        silent_ms = 0;
    }
    int64_t delay_ms = heartbeat_ms - silent_ms - jitter_ms;
    sl_stream_enter_slot(stream, delay_ms);
}

void sl_streams_tick(struct sl_gateway *gateway)
{
    gateway->slot = (gateway->slot + 1) % SL_WHEEL_SLOTS;
    struct sl_stream *next = gateway->slots[gateway->slot];
    gateway->slots[gateway->slot] = NULL;
    while (next != NULL) {
        struct sl_stream *stream = next;
        next = stream->slot_next;
        look_after(stream);
    }
}

void sl_streams_drain(struct sl_gateway *gateway)
{
    for (struct sl_stream *each = gateway->streams; each != NULL; each = each->next) {
        if (each->session.state == SL_SESSION_ENDED) {
            continue;
        }
        each->is_waiting = false;
        sl_snapshot_cancel(each->snapshot);
        each->snapshot = NULL;
        if (!each->is_started) {
            sl_stream_answer_unavailable(each, "the gateway is stopping");
            continue;
        }
        each->session.state = SL_SESSION_ENDED;
        sl_stream_end_with(each, "draining", "the gateway is stopping", NULL,
            500 + (int64_t) sl_gateway_jitter(gateway, 4500), SL_END_DRAINING);
    }
}

void sl_streams_each(const struct sl_gateway *gateway,
    bool (*visit)(void *context, const struct sl_stream_info *info), void *context)
{
    for (const struct sl_stream *each = gateway->streams; each != NULL; each = each->next) {
        struct sl_stream_info info = {
            .route = each->route->path,
            .key = sl_stream_key(each),
            .owner = sl_text_of(each->owner),
            .client = sl_exchange_client(each->exchange),
            .age_ms = now_of(gateway) - each->opened_ms,
            .queued = sl_exchange_queued(each->exchange),
            .delivered = each->delivered,
            .is_lagging = each->session.state == SL_SESSION_LAGGING,
        };
        if (!visit(context, &info)) {
            return;
        }
    }
}
