/*
 * cli/routes.h - `gateway.routes` of the config file: what the gateway does with which path.
 *
 *     - path: /orders/{id}/stream
 *       stream: {topic: order.status-changed.v1, key: "{id}", snapshot: http://..., final: [done]}
 *     - path: /publish/{topic}
 *       publish: {topics: [order.noted.v1], size_max: 64KiB}
 *     - path: /orders
 *       upstream: http://127.0.0.1:9000
 *       token: required
 *
 * This reads the form; what a path pattern or a template means is checked by the gateway.
 */
#ifndef SL_CLI_ROUTES_H
#define SL_CLI_ROUTES_H

#include "cli/yaml_file.h"

enum { SL_ROUTES_MAX = 256, SL_ROUTE_FINALS_MAX = 32, SL_ROUTE_TOPICS_MAX = 64 };

/* All texts are the routes' own; NULL: not given. One of upstream, topic and publish is set. */
struct sl_config_route {
    int line;
    char *path;
    char *upstream;
    char *token; /* "required", "optional" or "none" */
    char *subject;
    char *topic;
    char *key;
    char *snapshot;
    char *event;
    char *version;
    char *owner;
    char *finals[SL_ROUTE_FINALS_MAX];
    size_t final_count;
    char *publish[SL_ROUTE_TOPICS_MAX];
    size_t publish_count; /* 0: the route publishes nothing */
    char *size_max;       /* of what is published, as it was written */
};

struct sl_config_routes {
    struct sl_config_route *routes;
    size_t count;
};

/**
 * Read the routes under `node` of a file. What is wrong is noted in `problems`, all of it; -1 only
 * if memory has run out. `ret_routes` must be empty and is to be given to sl_routes_deinit.
 */
int sl_routes_read(struct sl_yaml_file *file, const yaml_node_t *node,
    struct sl_config_routes *ret_routes, struct sl_problems *problems)
    __attribute__((warn_unused_result));

/**
 * Free the routes; they are empty afterwards.
 */
void sl_routes_deinit(struct sl_config_routes *routes);

/**
 * Write the routes as the YAML they were read from, normalised, each line after `indent` spaces.
 */
void sl_routes_write_yaml(
    const struct sl_config_routes *routes, int indent, struct sl_buffer *buffer);

#endif
