/*
 * live_status.h - the live stream that the order service writes itself.
 *
 *     GET /orders/N/stream/direct
 *
 * The other way, the gateway's hub stream, needs none of this. It is here to show what a gateway
 * must not break (each piece passes at once), and how such a stream is written so that it misses
 * nothing: every status stands in order_history, so a stream is a place in an order's history. A
 * commit wakes the streams, and each sends what the history has beyond its place. It is put on the
 * list of those that are woken before it looks for the first time; so nothing falls in between.
 *
 * The event's name is the status as the streams name it, its id the version. A reconnect with
 * Last-Event-ID goes on after that version; one that has seen the final status gets 204, which
 * tells EventSource to stop.
 */
#ifndef EXAMPLES_ORDERS_LIVE_STATUS_H
#define EXAMPLES_ORDERS_LIVE_STATUS_H

#include "service.h"

struct live_statuses;

/**
 * The object of one status, as GET, the events and the streams show it; the caller's.
 *
 * No `reason` is "" or NULL, and null in the object.
 */
json_t *status_object(
    int64_t order_id, const char *type, const char *status, int64_t version, const char *reason);

/**
 * Make the list of streams. `database` is the connection of the thread that answers requests; it
 * stays the caller's.
 */
struct live_statuses *live_statuses_new(sluice_database *database);

/**
 * Answer a request with the stream of an order. On the thread that answers requests only.
 */
enum MHD_Result live_statuses_answer(
    struct live_statuses *live, const struct request *request, int64_t order_id);

/**
 * Have every commit on this connection wake the streams. Setting it again is fine. A server does
 * not tell of commits: there live_statuses_tick wakes them.
 */
void live_statuses_watch(struct live_statuses *live, sluice_database *database);

/**
 * Send a comment on streams that have been silent for 15 seconds, so that proxies keep them and
 * dead ones are noticed; and look for news where the database does not tell of commits. Any thread.
 */
void live_statuses_tick(struct live_statuses *live);

/**
 * End all streams, and those that still come. Any thread; before service_stop.
 */
void live_statuses_end(struct live_statuses *live);

/**
 * Free the list, after service_stop.
 */
void live_statuses_free(struct live_statuses *live);

#endif
