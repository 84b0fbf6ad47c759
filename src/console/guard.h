/*
 * console/guard.h - who may read and change things through the console. Pure.
 *
 * The console has no users yet; what protects it is that it listens on the machine itself. Two ways
 * lead around that by a browser on this machine, and both are closed here: a page of another site
 * that posts to us (it cannot set our header, and its Origin is not our Host), and a foreign name
 * that has been made to resolve to 127.0.0.1 (then the Host is a name that is not ours).
 */
#ifndef SL_CONSOLE_GUARD_H
#define SL_CONSOLE_GUARD_H

#include "base/text.h"

/* What of a request matters here; absent headers are empty. */
struct sl_guard_request {
    struct sl_text host;
    struct sl_text origin;
    struct sl_text fetch_site;    /* Sec-Fetch-Site */
    struct sl_text console_header; /* X-Sluice-Console */
    bool is_change;               /* a POST */
    bool is_loopback;             /* whether we listen on a loopback address only */
};

/**
 * Whether the request may go on: NULL, or why not (a constant text for the answer).
 */
const char *sl_guard_refusal(const struct sl_guard_request *request);

#endif
