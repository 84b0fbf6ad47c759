/*
 * gateway/route.h - routes, checked and taken apart once, at the start.
 */
#ifndef SL_GATEWAY_ROUTE_H
#define SL_GATEWAY_ROUTE_H

#include "gateway/gateway.h"
#include "gateway/owners.h"
#include "gateway/payload.h"
#include "gateway/template.h"

struct sl_topic;

/* Where requests go: a host and port, and what stands before a target. */
struct sl_target {
    char *host;
    char *authority; /* "host:port", for the Host field */
    char *prefix;    /* of an upstream's targets: "" or "/api" */
    uint16_t port;
};

struct sl_stream_route {
    char *topic_name;
    char *key_text;
    char *snapshot_text; /* the template's part behind the authority, or NULL */
    char *owner_text;    /* or NULL */
    struct sl_template key;
    struct sl_template snapshot;
    struct sl_template owner;
    struct sl_payload_rules rules;
    char *event;
    char *version;
    char **final_statuses;
    struct sl_owners owners;
    struct sl_topic *topic; /* the gateway's; set by the feed */
};

struct sl_publish_route {
    char **topics; /* ends with NULL */
    size_t topic_count;
    size_t size_max;
    size_t topic_index; /* of the path's parameter that names the topic */
    bool has_parameter; /* false: there is one topic */
};

struct sl_compiled_route {
    char *path;
    struct sl_pattern pattern;
    struct sl_target target;          /* the upstream, or the snapshots' */
    struct sl_stream_route *stream;   /* NULL: no stream */
    struct sl_publish_route *publish; /* NULL: nothing is published; with both NULL it forwards */
    enum sl_token_mode token;         /* never SL_TOKEN_BY_KIND */
    char *subject_text;               /* or NULL */
    struct sl_template subject;
};

/**
 * Check a route and take it apart; everything is copied. `ret_route` is the caller's to deinit,
 * on failure, too. Errors name the route's path.
 */
int sl_route_compile(const struct sl_route *route, struct sl_compiled_route *ret_route,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Free what a route holds; a half-built one is fine.
 */
void sl_route_deinit(struct sl_compiled_route *route);

#endif
