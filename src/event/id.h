/*
 * event/id.h - event ids: UUIDv7 (RFC 9562, section 5.7), which sort by the time they were made.
 */
#ifndef SL_EVENT_ID_H
#define SL_EVENT_ID_H

#include <sluice/event.h>
#include <stdint.h>

/**
 * Write a new id made at `time_ms` (Unix time) from ten `random` bytes. Pure.
 */
void sl_id_make(int64_t time_ms, const unsigned char random[10], char ret_id[SLUICE_EVENT_ID_SIZE]);

/**
 * Write a new id, made now.
 */
void sl_id_new(char ret_id[SLUICE_EVENT_ID_SIZE]);

/**
 * Write the smallest id that could be made at `time_ms`; ids made before it sort below. Pure.
 */
void sl_id_floor(int64_t time_ms, char ret_id[SLUICE_EVENT_ID_SIZE]);

/**
 * Write the id of a row that has a number but no UUID: a UUIDv8 that holds the number and 58 bits
 * of `source_id`, so that two rows of a source never share one. Pure.
 */
void sl_id_of_number(
    const char *source_id, int64_t number, char ret_id[SLUICE_EVENT_ID_SIZE]);

/**
 * The same for a row that is known by a text: a UUIDv8 made of 122 bits of a hash. Pure.
 */
void sl_id_of_text(const char *source_id, const char *text, char ret_id[SLUICE_EVENT_ID_SIZE]);

#endif
