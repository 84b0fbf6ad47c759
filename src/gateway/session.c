#include "gateway/session.h"

#include <string.h>

#include "base/buffer.h"
#include "wire/sse.h"

enum { FRAME_SIZE_MAX = 8 * 1024 * 1024 };

static void on_event(struct sl_subscription *subscription, const struct sl_hub_event *event);

static struct sl_text key_of(const struct sl_session *session)
{
    const struct sl_hub_key *key = session->subscription.key;
    return (struct sl_text) {key->text, key->size};
}

/* What happens from now on is the session's business; what happened before is the snapshot's. */
static void note_position(struct sl_session *session)
{
    sl_hub_position(session->hub, key_of(session), &session->partition, &session->offset);
    session->loss_count = session->hub->loss_count;
}

static const char *reason_of(enum sl_hub_verdict verdict)
{
    switch (verdict) {
    case SL_HUB_FOREIGN_EPOCH:
        return "the events were replaced by others since";
    case SL_HUB_OTHER_PLACE:
        return "the id is another stream's";
    case SL_HUB_TOO_OLD:
        return "the events since then are not kept any more";
    case SL_HUB_AHEAD:
        return "this node has not read as far yet";
    default:
        return "the place of the key has changed";
    }
}

int sl_session_begin(struct sl_session *session, struct sl_hub *hub, struct sl_text key,
    enum sl_session_id id_kind, const struct sl_event_id *id, bool has_snapshots,
    enum sl_session_begin *ret_begin)
{
    session->hub = hub;
    session->state = SL_SESSION_WAITING;
    session->version = -1;
    session->has_snapshots = has_snapshots;
    if (sl_hub_subscribe(hub, key, &session->subscription, on_event) != 0) {
        return -1;
    }
    note_position(session);
    if (id_kind == SL_SESSION_ID_PARSED) {
        enum sl_hub_verdict verdict = sl_hub_check(hub, key, id);
        if (verdict == SL_HUB_RESUMES) {
            session->partition = id->partition;
            session->offset = id->offset;
            session->version = id->version;
            *ret_begin = SL_SESSION_RESUMES;
            return 0;
        }
        session->reset_reason = reason_of(verdict);
    } else if (id_kind == SL_SESSION_ID_FOREIGN) {
        session->reset_reason = "the id is not known here";
    }
    if (id_kind == SL_SESSION_ID_NONE && !has_snapshots) {
        /* It starts with what comes: what the ring has of before is not for it. */
        const struct sl_hub_event *latest = session->subscription.key->latest;
        session->version = latest == NULL ? -1 : latest->version;
    }
    *ret_begin = has_snapshots ? SL_SESSION_NEEDS_SNAPSHOT : SL_SESSION_STARTS_LIVE;
    return 0;
}

struct sl_frame *sl_session_control_frame(const char *name, const char *reason,
    const struct sl_event_id *id, int64_t retry_ms)
{
    struct sl_buffer data;
    struct sl_buffer buffer;
    struct sl_frame *frame = NULL;
    char id_text[SL_EVENT_ID_SIZE_MAX + 1];
    struct sl_sse_event event = {.type = sl_text_of(name), .retry_ms = retry_ms};
    if (id != NULL) {
        event.id = (struct sl_text) {id_text, sl_event_id_format(id, id_text)};
    }
    sl_buffer_init(&data, 1024);
    sl_buffer_init(&buffer, 2048);
    if (reason != NULL) {
        sl_buffer_append_format(&data, "{\"reason\": \"%s\"}", reason);
        event.data = (struct sl_text) {data.data, data.size};
    }
    if (!data.is_failed && sl_sse_write(&buffer, &event) == 0) {
        frame = sl_frame_new(buffer.data, buffer.size);
    }
    sl_buffer_deinit(&buffer);
    sl_buffer_deinit(&data);
    return frame;
}

static void end(struct sl_session *session, enum sl_session_end how)
{
    if (session->state != SL_SESSION_ENDED) {
        session->state = SL_SESSION_ENDED;
        session->sink->end(session, how);
    }
}

/* Send a frame that is ours to give back. What cannot be sent cuts the stream: never silence. */
static void send_frame(struct sl_session *session, struct sl_frame *take_frame, bool is_event)
{
    if (session->state != SL_SESSION_ENDED &&
        (take_frame == NULL || session->sink->send(session, take_frame, is_event) != 0)) {
        end(session, SL_SESSION_LOST);
    }
    sl_frame_unref(take_frame);
}

static struct sl_event_id id_now(const struct sl_session *session)
{
    struct sl_event_id id = {.place = session->subscription.key->place,
        .partition = session->partition,
        .offset = session->offset,
        .version = session->version,
        .generation = session->generation};
    memcpy(id.epoch, session->hub->epoch, sizeof(id.epoch));
    return id;
}

static void send_control(
    struct sl_session *session, const char *name, const char *reason, const struct sl_event_id *id)
{
    send_frame(session, sl_session_control_frame(name, reason, id, -1), false);
}

static void finish(struct sl_session *session)
{
    struct sl_event_id id = id_now(session);
    id.is_final = true;
    send_control(session, "end", "final", &id);
    end(session, SL_SESSION_FINAL);
}

static void send_event(struct sl_session *session, const struct sl_hub_event *event)
{
    session->partition = event->partition;
    session->offset = event->offset;
    session->version = event->version;
    struct sl_frame *frame = session->generation == 0
                                 ? sl_frame_ref(event->frame)
                                 : sl_hub_frame_with_generation(event, session->generation);
    send_frame(session, frame, true);
    if (event->is_final) {
        finish(session);
    }
}

/*
 * Whether the client does not have the event yet, nor a later state. Where there are versions they
 * alone decide: a snapshot that was read from a copy which lags behind is made up for by what the
 * ring has, though it was appended before the registration.
 */
static bool is_newer(const struct sl_session *session, const struct sl_hub_event *event)
{
    if (event->version >= 0) {
        return event->version > session->version;
    }
    return event->partition != session->partition || event->offset > session->offset;
}

/* The queue is empty, or as good as: say what was left out, then how things stand. */
static void catch_up(struct sl_session *session)
{
    const struct sl_hub_event *latest = session->subscription.key->latest;
    session->state = SL_SESSION_LIVE;
    send_control(session, "lagged", "the connection was too slow for every event", NULL);
    if (latest != NULL && session->state == SL_SESSION_LIVE) {
        send_event(session, latest);
    }
}

/* What is queued is dropped: the latest event, sent later, makes up for all of it. */
static void fall_behind(struct sl_session *session)
{
    session->sink->drop_queued(session);
    session->sink->on_lagged(session);
    session->state = SL_SESSION_LAGGING;
    if (session->sink->queued(session) == 0) {
        catch_up(session);
    }
}

static void take_event(struct sl_session *session, const struct sl_hub_event *event)
{
    if (!is_newer(session, event)) {
        return;
    }
    size_t queued = session->sink->queued(session);
    if (queued > 0 && queued + event->frame->size > session->queue_size_max) {
        fall_behind(session);
    } else {
        send_event(session, event);
    }
}

static void on_event(struct sl_subscription *subscription, const struct sl_hub_event *event)
{
    struct sl_session *session = (struct sl_session *) subscription;
    if (event == NULL) {
        end(session, SL_SESSION_LOST);
    } else if (session->state == SL_SESSION_LIVE) {
        take_event(session, event);
    }
}

/* Everything that the ring has of the key and the client has not. */
static void send_missed(struct sl_session *session)
{
    const struct sl_hub_event *next;
    for (const struct sl_hub_event *each = session->subscription.key->first;
         each != NULL && session->state == SL_SESSION_LIVE; each = next) {
        next = each->next_of_key;
        take_event(session, each);
    }
}

/* Whether everything behind the session's place is still in the ring. If not, it is moved. */
static bool is_covered(struct sl_session *session)
{
    if (sl_hub_covers(
            session->hub, session->partition, session->offset, session->loss_count)) {
        return true;
    }
    note_position(session);
    return false;
}

bool sl_session_start(struct sl_session *session)
{
    if (!is_covered(session)) {
        session->reset_reason = reason_of(SL_HUB_TOO_OLD);
        session->version = -1;
        if (session->has_snapshots) {
            return false;
        }
    }
    struct sl_event_id id = id_now(session);
    session->state = SL_SESSION_LIVE;
    if (session->reset_reason != NULL) {
        send_control(session, "reset", session->reset_reason, &id);
    } else {
        /* An id alone moves the client's place without an event. */
        send_frame(session, sl_session_control_frame("", NULL, &id, -1), false);
    }
    send_missed(session);
    return true;
}

static struct sl_frame *snapshot_frame(
    const struct sl_session *session, const struct sl_snapshot *snapshot)
{
    struct sl_buffer buffer;
    struct sl_frame *frame = NULL;
    char id_text[SL_EVENT_ID_SIZE_MAX + 1];
    struct sl_event_id id = id_now(session);
    id.is_final = snapshot->is_final;
    struct sl_sse_event event = {
        .id = {id_text, sl_event_id_format(&id, id_text)},
        .type = snapshot->type,
        .data = snapshot->payload,
        .retry_ms = -1,
    };
    sl_buffer_init(&buffer, FRAME_SIZE_MAX);
    if (sl_sse_write(&buffer, &event) == 0) {
        frame = sl_frame_new(buffer.data, buffer.size);
    }
    sl_buffer_deinit(&buffer);
    return frame;
}

bool sl_session_take_snapshot(struct sl_session *session, const struct sl_snapshot *snapshot)
{
    if (session->state != SL_SESSION_WAITING) {
        return true;
    }
    if (!is_covered(session)) {
        return false;
    }
    session->state = SL_SESSION_LIVE;
    if (session->reset_reason != NULL) {
        send_control(session, "reset", session->reset_reason, NULL);
    }
    session->version = snapshot->version;
    send_frame(session, snapshot_frame(session, snapshot), true);
    if (snapshot->is_final) {
        finish(session);
    } else {
        send_missed(session);
    }
    return true;
}

void sl_session_on_drain(struct sl_session *session)
{
    if (session->state == SL_SESSION_LAGGING) {
        catch_up(session);
    }
}

void sl_session_replace(struct sl_session *session)
{
    struct sl_event_id id = id_now(session);
    id.is_replaced = true;
    if (session->state == SL_SESSION_LAGGING || session->state == SL_SESSION_WAITING) {
        session->state = SL_SESSION_LIVE;
    }
    send_control(session, "replaced", "a newer stream of the same owner is open", &id);
    end(session, SL_SESSION_REPLACED);
}

void sl_session_close(struct sl_session *session)
{
    if (session->hub != NULL) {
        sl_hub_unsubscribe(session->hub, &session->subscription);
    }
    session->state = SL_SESSION_ENDED;
}
