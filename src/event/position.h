/*
 * event/position.h - a place in an outbox: where an event stands in the order of delivery.
 *
 * Numbers are given to rows before their transactions commit, so a number alone is no place. What
 * became visible together shares a tick; within a tick, rows stand in the order of their ids. A
 * database with one writer at a time (SQLite) needs no ticks: its tick is always 0.
 */
#ifndef SL_EVENT_POSITION_H
#define SL_EVENT_POSITION_H

#include <stdint.h>

struct sl_position {
    int64_t tick; /* PostgreSQL: the snapshot tick; MariaDB: the claim; SQLite: 0 */
    int64_t id;   /* the row's number */
};

/* Before everything, and behind everything. */
#define SL_POSITION_START ((struct sl_position) {0, 0})
#define SL_POSITION_END ((struct sl_position) {INT64_MAX, INT64_MAX})

/* The longest text of a position, including its NUL. */
enum { SL_POSITION_TEXT_SIZE = 42 };

/**
 * Less than, equal to or greater than 0 as `a` stands before, at or behind `b`.
 */
int sl_position_compare(struct sl_position a, struct sl_position b);

/**
 * A position for people: "17", or "3.17" where there are ticks.
 */
void sl_position_write(struct sl_position position, char ret_text[SL_POSITION_TEXT_SIZE]);

#endif
