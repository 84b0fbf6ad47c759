/*
 * notification.h - what users are told, and how it reaches their open pages.
 *
 *     a service's transaction -> topic notification (key: the receiver)
 *         -> on_notification: inbox marker, row, and the event for the page, in one transaction
 *         -> topic notification-live (same key) -> the gateway -> the receiver's streams
 *
 * What a stream begins with and each event of notification-live carry the receiver's live version,
 * which rises with whatever a page must be shown: a new notification, one that was read.
 */
#ifndef EXAMPLES_STUDYPOSTS_NOTIFICATION_H
#define EXAMPLES_STUDYPOSTS_NOTIFICATION_H

#include "post.h"

#define NOTIFICATION_TOPIC "notification"
#define LIVE_TOPIC "notification-live"

extern const char *const notification_tables[];

/**
 * Publish a notification about a post with the open transaction: there is one if that commits, and
 * none if it does not. 0, or -1 with `error`.
 */
int notify(sluice_database *database, const struct post *post, const char *receiver_id,
    const char *type, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The consumer of the topic notification.
 */
enum sluice_outcome on_notification(sluice_database *database, const struct sluice_event *event,
    void *context, struct sluice_error *error);

/* GET /api/notifications, .../unread-count, .../snapshot; PATCH .../{id}/read, .../read-all */
enum MHD_Result notification_list(const struct call *call);
enum MHD_Result notification_unread_count(const struct call *call);
enum MHD_Result notification_snapshot(const struct call *call);
enum MHD_Result notification_read(const struct call *call);
enum MHD_Result notification_read_all(const struct call *call);

#endif
