/*
 * cli/endpoint.h - opening what a command is pointed at, when it must be there already.
 */
#ifndef SL_CLI_ENDPOINT_H
#define SL_CLI_ENDPOINT_H

#include "broker/broker.h"

/**
 * As sl_broker_open, but a local log that is not there is an error: a mistyped name must not make
 * one.
 */
int sl_open_existing_broker(const char *url, struct sl_broker **ret_broker,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A URL with its password masked, for people. The caller's to sl_free; NULL without memory.
 */
char *sl_shown_url(const char *url) __attribute__((warn_unused_result));

#endif
