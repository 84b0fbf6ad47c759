/*
 * cli/output.h - writing what came from outside (keys, payloads, reasons) to a terminal or as JSON.
 */
#ifndef SL_CLI_OUTPUT_H
#define SL_CLI_OUTPUT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"
#include "event/event.h"

enum sl_color { SL_COLOR_PLAIN, SL_COLOR_GOOD, SL_COLOR_BAD, SL_COLOR_DIM };

/**
 * Write a text with its control characters and bytes that are no UTF-8 shown as '?', so that no
 * event can drive the reader's terminal.
 */
void sl_print_clean(FILE *stream, struct sl_text text);

/**
 * Switch stdout's colour if it is a terminal and NO_COLOR is not set; else do nothing.
 */
void sl_print_color(enum sl_color color);

/**
 * An age for people: "0.2 s", "14 s", "3 min", "2 h", "5 d". Writes at most 24 bytes.
 */
void sl_format_age(int64_t age_ms, char ret_text[24]);

/**
 * Put an event's id, topic, key, type, time, headers and payload into a JSON object. A payload that
 * is no JSON becomes a string, with "payload_encoding" telling how: "text" or "base64". 0 or -1.
 */
int sl_json_put_event(json_t *object, const struct sl_event *event)
    __attribute__((warn_unused_result));

/**
 * Write a JSON value in one line to stdout.
 */
void sl_print_json_line(const json_t *value);

/**
 * Parse a time: "2026-11-22T13:05:09Z" (fractions and offsets are fine), or a duration before
 * `now_ms`: "10m". False on anything else.
 */
bool sl_parse_time_ms(struct sl_text text, int64_t now_ms, int64_t *ret_time_ms);

#endif
