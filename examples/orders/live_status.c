#include "live_status.h"

#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql.h"

enum {
    STREAM_COUNT_MAX = 1000, /* a further one is told 503, to come back later */
    RETRY_MS = 1000,
    SILENCE_MS_MAX = 15000,
    CHECKPOINT_PAGES = 1000 /* SQLite's own default, which a hook replaces */
};

/* One stream. Its place is touched by the answering thread only, the rest under the lock. */
struct stream {
    struct live_statuses *live;
    struct stream *next;
    struct stream **previous_next;
    struct MHD_Connection *connection;
    uint64_t wake_count; /* so that a wake between a look and going to sleep is not lost */
    int is_asleep;

    int64_t order_id;
    int64_t version;  /* the last one that was sent */
    int64_t sent_ms;  /* when something was last sent; under the lock */
    int has_ended;    /* the final status is sent: what is left of the frame, then the end */
    char frame[4096]; /* the longest failure_reason, all of it escaped, and more */
    size_t frame_size;
    size_t frame_taken;
};

struct live_statuses {
    pthread_mutex_t lock;
    struct stream *first;
    int stream_count;
    int is_ending;
    sluice_database *database;
};

json_t *status_object(
    int64_t order_id, const char *type, const char *status, int64_t version, const char *reason)
{
    return json_pack("{s:I, s:s, s:s, s:I, s:s?}", "order_id", (json_int_t)order_id, "type", type,
        "status", status, "version", (json_int_t)version, "failure_reason",
        reason != NULL && reason[0] != '\0' ? reason : NULL);
}

struct live_statuses *live_statuses_new(sluice_database *database)
{
    struct live_statuses *live = calloc(1, sizeof(*live));
    if (live == NULL) {
        abort(); /* at the start of a service there is nothing to save */
    }
    pthread_mutex_init(&live->lock, NULL);
    live->database = database;
    return live;
}

void live_statuses_free(struct live_statuses *live)
{
    pthread_mutex_destroy(&live->lock);
    free(live);
}

/* --- waking ---------------------------------------------------------------------------------- */

static void wake_locked(struct stream *stream)
{
    stream->wake_count++;
    if (stream->is_asleep) {
        stream->is_asleep = 0;
        MHD_resume_connection(stream->connection);
    }
}

static void wake_all(struct live_statuses *live)
{
    for (struct stream *stream = live->first; stream != NULL; stream = stream->next) {
        wake_locked(stream);
    }
}

/* SQLite calls this when a commit is visible to others, and leaves the checkpoint to it. */
static int on_commit(void *context, sqlite3 *sqlite, const char *database_name, int page_count)
{
    struct live_statuses *live = context;
    pthread_mutex_lock(&live->lock);
    wake_all(live);
    pthread_mutex_unlock(&live->lock);
    if (page_count >= CHECKPOINT_PAGES) {
        sqlite3_wal_checkpoint_v2(sqlite, database_name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    return SQLITE_OK;
}

void live_statuses_watch(struct live_statuses *live, sluice_database *database)
{
    if (sluice_database_sqlite(database) != NULL) {
        sqlite3_wal_hook(sluice_database_sqlite(database), on_commit, live);
    }
}

void live_statuses_tick(struct live_statuses *live)
{
    int64_t now = now_ms();
    int is_told_of_commits = sluice_database_sqlite(live->database) != NULL;
    pthread_mutex_lock(&live->lock);
    for (struct stream *stream = live->first; stream != NULL; stream = stream->next) {
        if (!is_told_of_commits || now - stream->sent_ms >= SILENCE_MS_MAX) {
            wake_locked(stream);
        }
    }
    pthread_mutex_unlock(&live->lock);
}

void live_statuses_end(struct live_statuses *live)
{
    pthread_mutex_lock(&live->lock);
    live->is_ending = 1;
    wake_all(live);
    pthread_mutex_unlock(&live->lock);
}

/* --- what a stream sends --------------------------------------------------------------------- */

static int is_final_type(const char *type)
{
    return strcmp(type, "completed") == 0 || strcmp(type, "failed") == 0 ||
           strcmp(type, "cancelled") == 0 || strcmp(type, "timed_out") == 0;
}

static void add_to_frame(struct stream *stream, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_to_frame(struct stream *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(stream->frame + stream->frame_size,
        sizeof(stream->frame) - stream->frame_size, format, arguments);
    va_end(arguments);
    if (size > 0 && (size_t)size < sizeof(stream->frame) - stream->frame_size) {
        stream->frame_size += (size_t)size;
    }
}

/* Make a frame of the next status in the history: 1, 0 if there is none yet, -1 on failure. */
static int take_next_status(struct stream *stream)
{
    struct sluice_error error;
    struct rows *row = sql_query(stream->live->database, &error,
        "SELECT version, type, status, failure_reason FROM order_history"
        " WHERE order_id = ?1 AND version > ?2 ORDER BY version LIMIT 1",
        "ii", stream->order_id, stream->version);
    int found = row != NULL ? sql_next(row) : -1;
    if (found == 1) {
        stream->version = sql_integer(row, 0);
        const char *type = sql_text(row, 1);
        json_t *object = status_object(
            stream->order_id, type, sql_text(row, 2), stream->version, sql_text(row, 3));
        char *text = json_dumps(object, JSON_COMPACT);
        add_to_frame(stream, "event: %s\nid: %" PRId64 "\ndata: %s\n\n", type, stream->version,
            text != NULL ? text : "{}");
        if (is_final_type(type)) {
            add_to_frame(stream, "event: end\nid: %" PRId64 "\ndata: {\"reason\":\"final\"}\n\n",
                stream->version);
            stream->has_ended = 1;
        }
        free(text);
        json_decref(object);
    }
    sql_end(row);
    return found;
}

/* Find something to send, or go to sleep: 1, 0, or -1 to end the stream. */
static int fill_frame(struct stream *stream)
{
    struct live_statuses *live = stream->live;
    pthread_mutex_lock(&live->lock);
    uint64_t wake_count = stream->wake_count;
    int is_ending = live->is_ending || stream->has_ended;
    int is_silent = now_ms() - stream->sent_ms >= SILENCE_MS_MAX;
    pthread_mutex_unlock(&live->lock);
    if (is_ending) {
        return -1;
    }
    stream->frame_size = 0;
    stream->frame_taken = 0;
    int found = take_next_status(stream);
    if (found == 0 && is_silent) {
        add_to_frame(stream, ": still here\n\n");
        found = 1;
    }
    pthread_mutex_lock(&live->lock);
    if (found == 1) {
        stream->sent_ms = now_ms();
    } else if (found == 0 && stream->wake_count == wake_count) {
        stream->is_asleep = 1;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&live->lock);
    return found;
}

/* libmicrohttpd asks for bytes when the socket can take some. */
static ssize_t on_writable(void *context, uint64_t position, char *target, size_t target_size)
{
    (void)position;
    struct stream *stream = context;
    if (stream->frame_taken == stream->frame_size) {
        int found = fill_frame(stream);
        if (found <= 0) {
            return found == 0 ? 0 : MHD_CONTENT_READER_END_OF_STREAM;
        }
    }
    size_t size = stream->frame_size - stream->frame_taken;
    size = size < target_size ? size : target_size;
    memcpy(target, stream->frame + stream->frame_taken, size);
    stream->frame_taken += size;
    return (ssize_t)size;
}

static void on_stream_closed(void *context)
{
    struct stream *stream = context;
    pthread_mutex_lock(&stream->live->lock);
    *stream->previous_next = stream->next;
    if (stream->next != NULL) {
        stream->next->previous_next = stream->previous_next;
    }
    stream->live->stream_count--;
    pthread_mutex_unlock(&stream->live->lock);
    free(stream);
}

/* --- the request ----------------------------------------------------------------------------- */

/* The newest version and whether it is final: 1, 0 if there is no such order, -1 on failure. */
static int look_up(struct live_statuses *live, int64_t order_id, int64_t *ret_version,
    int *ret_is_final, struct sluice_error *error)
{
    struct rows *row = sql_query(live->database, error,
        "SELECT version, type FROM order_history WHERE order_id = ?1 ORDER BY version DESC LIMIT 1",
        "i", order_id);
    int found = row != NULL ? sql_next(row) : -1;
    if (found == 1) {
        *ret_version = sql_integer(row, 0);
        *ret_is_final = is_final_type(sql_text(row, 1));
    }
    sql_end(row);
    return found;
}

static struct stream *register_stream(
    struct live_statuses *live, struct MHD_Connection *connection, int64_t order_id)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    pthread_mutex_lock(&live->lock);
    if (stream == NULL || live->stream_count == STREAM_COUNT_MAX) {
        pthread_mutex_unlock(&live->lock);
        free(stream);
        return NULL;
    }
    *stream = (struct stream){.live = live,
        .next = live->first,
        .previous_next = &live->first,
        .connection = connection,
        .order_id = order_id,
        .sent_ms = now_ms()};
    if (live->first != NULL) {
        live->first->previous_next = &stream->next;
    }
    live->first = stream;
    live->stream_count++;
    pthread_mutex_unlock(&live->lock);
    return stream;
}

enum MHD_Result live_statuses_answer(
    struct live_statuses *live, const struct request *request, int64_t order_id)
{
    struct stream *stream = register_stream(live, request->connection, order_id);
    if (stream == NULL) {
        return answer_message(request, MHD_HTTP_SERVICE_UNAVAILABLE,
            "%d streams are open, which is all that this service gives", STREAM_COUNT_MAX);
    }
    struct sluice_error error;
    int64_t newest = 0;
    int is_final = 0;
    int found = look_up(live, order_id, &newest, &is_final, &error);
    if (found <= 0) {
        on_stream_closed(stream);
        return found == 0 ? answer_message(
                                request, MHD_HTTP_NOT_FOUND, "there is no order %" PRId64, order_id)
                          : answer_message(request, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", error.text);
    }
    const char *last_id = request_header(request, "Last-Event-ID");
    last_id = last_id != NULL ? last_id : request_parameter(request, "lastEventId");
    int64_t last_version = last_id != NULL && last_id[0] != '\0' ? parse_id(last_id) : 0;
    if (last_version == newest && is_final) {
        on_stream_closed(stream);
        struct MHD_Response *nothing =
            MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        enum MHD_Result result =
            MHD_queue_response(request->connection, MHD_HTTP_NO_CONTENT, nothing);
        MHD_destroy_response(nothing);
        return result;
    }
    int is_resumable = last_version > 0 && last_version <= newest;
    stream->version =
        is_resumable ? last_version : newest - 1; /* else the newest is the snapshot */
    add_to_frame(stream, "retry: %d\n\n", RETRY_MS);
    if (!is_resumable && last_version != 0) {
        add_to_frame(stream, "event: reset\ndata: {\"reason\":\"unknown_id\"}\n\n");
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, sizeof(stream->frame), on_writable, stream, on_stream_closed);
    if (response == NULL) {
        on_stream_closed(stream);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    enum MHD_Result result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}
