#include "notification.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

enum { SNAPSHOT_COUNT = 20, LIST_SIZE = 20 };

#define COLUMNS "n.id, n.receiver_id, n.type, n.message, n.target_id, n.is_read, n.created_ms"

const char *const notification_tables[] = {
    "CREATE TABLE IF NOT EXISTS notifications ("
    " id VARCHAR(36) NOT NULL PRIMARY KEY, event_id VARCHAR(36) NOT NULL UNIQUE,"
    " receiver_id VARCHAR(36) NOT NULL, type VARCHAR(20) NOT NULL, message VARCHAR(255) NOT NULL,"
    " target_id VARCHAR(36), is_read INTEGER NOT NULL, number BIGINT NOT NULL,"
    " created_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS notifications_unread ON notifications (receiver_id, is_read)",
    "CREATE INDEX IF NOT EXISTS notifications_newest ON notifications (receiver_id, number)", NULL};

static const struct {
    const char *type;
    const char *text;
} types[] = {{"APPLY_RECEIVED", "a new application has come for %s"},
    {"APPLY_APPROVED", "your application to %s was approved"},
    {"APPLY_REJECTED", "your application to %s was rejected"},
    {"POST_DEADLINE", "recruiting for %s ends tomorrow"}};

static const char *text_of(const char *type)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].type, type) == 0) {
            return types[i].text;
        }
    }
    return NULL;
}

int notify(sluice_database *database, const struct post *post, const char *receiver_id,
    const char *type, struct sluice_error *error)
{
    char message[TITLE_MAX * 4 + 100];
    const char *text = text_of(type);
    int before = (int) strcspn(text, "%");
    snprintf(message, sizeof(message), "%.*s%s%s", before, text, post->title, text + before + 2);
    return publish_keyed(database, NOTIFICATION_TOPIC, type, receiver_id,
        json_pack("{s:s, s:s, s:s, s:s}", "receiverId", receiver_id, "type", type, "message",
            message, "targetId", post->id),
        NULL, error);
}

/* --- live ------------------------------------------------------------------------------------ */

static json_t *row_object(const struct rows *rows, int first)
{
    char created[LOCAL_TIME_SIZE];
    local_text(sql_integer(rows, first + 6), created);
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:b, s:s}", "id", sql_text(rows, first),
        "receiverId", sql_text(rows, first + 1), "type", sql_text(rows, first + 2), "message",
        sql_text(rows, first + 3), "targetId",
        sql_is_null(rows, first + 4) ? NULL : sql_text(rows, first + 4), "isRead",
        (int) sql_integer(rows, first + 5), "createdAt", created);
}

/*
 * Take the receiver's next live version, which locks his row, so that versions are in commit order.
 * The version, 0 if there is no such user, -1 with `error`.
 */
static int64_t next_version(
    sluice_database *database, const char *receiver_id, struct sluice_error *error)
{
    int64_t changed = sql_run(database, error,
        "UPDATE users SET live_version = live_version + 1 WHERE id = ?1", "t", receiver_id);
    return changed < 1 ? changed
                       : sql_one(sql_query(database, error,
                             "SELECT live_version FROM users WHERE id = ?1", "t", receiver_id));
}

/* Tell the receiver's pages; the reference to `take_what` passes. */
static int tell_pages(sluice_database *database, const char *receiver_id, int64_t version,
    const char *event, const char *name, json_t *take_what, struct sluice_error *error)
{
    int64_t unread = sql_one(sql_query(database, error,
        "SELECT COUNT(*) FROM notifications WHERE receiver_id = ?1 AND is_read = 0", "t",
        receiver_id));
    if (unread < 0) {
        json_decref(take_what);
        return -1;
    }
    return publish_keyed(database, LIVE_TOPIC, event, receiver_id,
        json_pack("{s:s, s:I, s:I, s:o}", "event", event, "version", (json_int_t) version,
            "unreadCount", (json_int_t) unread, name, take_what),
        NULL, error);
}

/* What a stream begins with: all in one statement, so that version and list belong together. */
enum MHD_Result notification_snapshot(const struct call *call)
{
    struct sluice_error error;
    struct rows *rows = sql_query(call->database, &error,
        "SELECT u.live_version, (SELECT COUNT(*) FROM notifications c"
        " WHERE c.receiver_id = u.id AND c.is_read = 0), " COLUMNS
        " FROM users u LEFT JOIN notifications n ON n.receiver_id = u.id WHERE u.id = ?1"
        " ORDER BY n.number DESC LIMIT ?2",
        "ti", call->user_id, (int64_t) SNAPSHOT_COUNT);
    if (rows == NULL) {
        return answer_trouble(call->request, &error);
    }
    int64_t version = 0, unread = 0;
    json_t *newest = json_array();
    while (sql_next(rows)) {
        version = sql_integer(rows, 0);
        unread = sql_integer(rows, 1);
        if (!sql_is_null(rows, 2)) {
            json_array_append_new(newest, row_object(rows, 2));
        }
    }
    sql_end(rows);
    if (version == 0) {
        struct refusal refusal;
        json_decref(newest);
        refuse(&refusal, MHD_HTTP_NOT_FOUND, "USER_NOT_FOUND", "there is no user %s: sign in again",
            call->user_id);
        return answer_refusal(call->request, &refusal);
    }
    return answer_json(call->request, MHD_HTTP_OK,
        json_pack("{s:s, s:I, s:I, s:o}", "event", "connect", "version", (json_int_t) version,
            "unreadCount", (json_int_t) unread, "notifications", newest));
}

/* --- the writer ------------------------------------------------------------------------------ */

struct news {
    const char *receiver_id;
    const char *type;
    const char *message;
    const char *target_id; /* NULL: none */
};

static enum sluice_outcome store(sluice_database *database, const struct news *news,
    const char *event_id, struct sluice_error *error)
{
    char id[ID_SIZE];
    int64_t version = next_version(database, news->receiver_id, error);
    if (version == 0) {
        snprintf(error->text, sizeof(error->text), "there is no user %.60s", news->receiver_id);
        return SLUICE_REJECTED;
    }
    make_uuid(id);
    int inserted = version < 0
        ? -1
        : sql_insert_once(database, error,
              "INSERT INTO notifications (event_id, id, receiver_id, type, message,"
              " target_id, is_read, number, created_ms)"
              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
              "ttttttii", event_id, id, news->receiver_id, news->type, news->message,
              news->target_id, version, clock_now());
    if (inserted == 0) {
        return SLUICE_ALREADY_APPLIED; /* the version is taken for nothing: gaps are no harm */
    }
    struct rows *rows = inserted < 0 ? NULL
                                     : sql_query(database, error,
                                           "SELECT " COLUMNS
                                           " FROM notifications n"
                                           " WHERE n.event_id = ?1",
                                           "t", event_id);
    json_t *notification = sql_next(rows) ? row_object(rows, 0) : NULL;
    sql_end(rows);
    return notification != NULL &&
            tell_pages(database, news->receiver_id, version, "notification", "notification",
                notification, error) == 0
        ? SLUICE_APPLIED
        : outcome_of(error);
}

enum sluice_outcome on_notification(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error)
{
    (void) context;
    json_t *payload = event_object(event, error);
    if (payload == NULL) {
        return SLUICE_REJECTED;
    }
    struct news news = {.receiver_id = json_string_value(json_object_get(payload, "receiverId")),
        .type = json_string_value(json_object_get(payload, "type")),
        .message = json_string_value(json_object_get(payload, "message")),
        .target_id = json_string_value(json_object_get(payload, "targetId"))};
    enum sluice_outcome outcome = SLUICE_REJECTED;
    if (news.receiver_id == NULL || news.type == NULL || news.message == NULL ||
        text_of(news.type) == NULL || (news.target_id != NULL && !is_uuid(news.target_id))) {
        snprintf(error->text, sizeof(error->text),
            "receiverId and message must be texts, targetId a UUID, and type one that we know");
    } else {
        outcome = store(database, &news, event->id, error);
    }
    json_decref(payload);
    return outcome;
}

/* --- requests -------------------------------------------------------------------------------- */

enum MHD_Result notification_list(const struct call *call)
{
    struct page page;
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    if (page_read(call->request, LIST_SIZE, &page, problem) != 0) {
        return answer_invalid(call->request, problem);
    }
    int64_t total = sql_one(sql_query(call->database, &error,
        "SELECT COUNT(*) FROM notifications WHERE receiver_id = ?1", "t", call->user_id));
    struct rows *rows = total < 0 ? NULL
                                  : sql_query(call->database, &error,
                                        "SELECT " COLUMNS
                                        " FROM notifications n"
                                        " WHERE n.receiver_id = ?1 ORDER BY n.number DESC"
                                        " LIMIT ?2 OFFSET ?3",
                                        "tii", call->user_id, page.size, page.number * page.size);
    if (rows == NULL) {
        return answer_trouble(call->request, &error);
    }
    json_t *content = json_array();
    while (sql_next(rows)) {
        json_array_append_new(content, row_object(rows, 0));
    }
    sql_end(rows);
    return answer_success(call->request, MHD_HTTP_OK, "NOTIFICATION_LIST", "notifications",
        page_object(&page, total, content));
}

enum MHD_Result notification_unread_count(const struct call *call)
{
    struct sluice_error error;
    int64_t unread = sql_one(sql_query(call->database, &error,
        "SELECT COUNT(*) FROM notifications WHERE receiver_id = ?1 AND is_read = 0", "t",
        call->user_id));
    return unread < 0 ? answer_trouble(call->request, &error)
                      : answer_success(call->request, MHD_HTTP_OK, "NOTIFICATION_UNREAD_COUNT",
                            "unread notifications", json_integer(unread));
}

struct reading {
    const struct call *call;
    struct refusal refusal;
};

/* Tell the pages which are read: an id, or null for all of them. */
static int tell_read(
    sluice_database *database, const char *receiver_id, const char *id, struct sluice_error *error)
{
    int64_t version = next_version(database, receiver_id, error);
    return version > 0 ? tell_pages(database, receiver_id, version, "read", "notificationId",
                             id != NULL ? json_string(id) : json_null(), error)
                       : -1;
}

static int read_one(sluice_database *database, void *context, struct sluice_error *error)
{
    struct reading *reading = context;
    const struct call *call = reading->call;
    char receiver_id[ID_SIZE];
    struct rows *rows = sql_query(
        database, error, "SELECT receiver_id FROM notifications WHERE id = ?1", "t", call->id);
    if (rows == NULL) {
        return -1;
    }
    int found = sql_next(rows);
    sql_copy(rows, 0, receiver_id, sizeof(receiver_id));
    sql_end(rows);
    if (!found) {
        return refuse(&reading->refusal, MHD_HTTP_NOT_FOUND, "NOTIFICATION_NOT_FOUND",
            "there is no notification %s", call->id);
    }
    if (strcmp(receiver_id, call->user_id) != 0) {
        return refuse(&reading->refusal, MHD_HTTP_FORBIDDEN, "FORBIDDEN",
            "this notification is another user's");
    }
    int64_t changed = sql_run(database, error,
        "UPDATE notifications SET is_read = 1 WHERE id = ?1 AND is_read = 0", "t", call->id);
    return changed <= 0 ? (int) changed : tell_read(database, call->user_id, call->id, error);
}

static int read_all(sluice_database *database, void *context, struct sluice_error *error)
{
    const struct call *call = ((struct reading *) context)->call;
    int64_t changed = sql_run(database, error,
        "UPDATE notifications SET is_read = 1 WHERE receiver_id = ?1 AND is_read = 0", "t",
        call->user_id);
    return changed <= 0 ? (int) changed : tell_read(database, call->user_id, NULL, error);
}

static enum MHD_Result run_reading(const struct call *call, sluice_work work, const char *code)
{
    struct reading reading = {.call = call};
    struct sluice_error error;
    if (sluice_transaction(call->database, SLUICE_REQUIRED, work, &reading, &error) != 0) {
        return answer_trouble(call->request, &error);
    }
    return reading.refusal.status != 0
        ? answer_refusal(call->request, &reading.refusal)
        : answer_success(call->request, MHD_HTTP_OK, code, "read", NULL);
}

enum MHD_Result notification_read(const struct call *call)
{
    return run_reading(call, read_one, "NOTIFICATION_READ");
}

enum MHD_Result notification_read_all(const struct call *call)
{
    return run_reading(call, read_all, "NOTIFICATION_READ_ALL");
}
