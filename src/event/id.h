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

#endif
