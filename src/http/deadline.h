/*
 * http/deadline.h - deadlines of many objects, a list for each length of time.
 *
 * All objects of a list have the same time to live, so a list is in order of expiry by itself:
 * setting, moving and clearing a deadline cost a few pointers, however many there are.
 */
#ifndef SL_HTTP_DEADLINE_H
#define SL_HTTP_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

struct sl_deadline_list;

/* A member of at most one list; all zero: of none. */
struct sl_deadline {
    struct sl_deadline *previous;
    struct sl_deadline *next;
    struct sl_deadline_list *list;
    int64_t due_ms;
};

struct sl_deadline_list {
    struct sl_deadline *first;
    struct sl_deadline *last;
    int64_t duration_ms; /* 0: nothing in it ever expires */
};

/**
 * Put the deadline at the end of `list`, due after the list's duration; it leaves its old list.
 */
void sl_deadline_set(struct sl_deadline *deadline, struct sl_deadline_list *list, int64_t now_ms);

/**
 * Take the deadline out of its list, if it is in one.
 */
void sl_deadline_clear(struct sl_deadline *deadline);

/**
 * Take out and return a deadline that is due, or NULL if there is none.
 */
struct sl_deadline *sl_deadline_expired(struct sl_deadline_list *list, int64_t now_ms);

#endif
