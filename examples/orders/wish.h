/*
 * wish.h - what is sold, and the check of what somebody wants to buy.
 */
#ifndef EXAMPLES_ORDERS_WISH_H
#define EXAMPLES_ORDERS_WISH_H

#include "answers.h"

enum { ITEM_COUNT = 4, LINE_COUNT_MAX = 20, QUANTITY_MAX = 99 };

/* Room for the text of one line an item. */
enum { LINES_SIZE = ITEM_COUNT * 64 };

/* An order that is asked for: the body of POST /orders, checked. */
struct wish {
    int64_t user_id;
    int64_t total_amount;
    int64_t quantities[ITEM_COUNT]; /* lines of one item are summed */
};

/**
 * Read the object that is the body of POST /orders. 0, or -1 with what is wrong in `problem`.
 *
 * `user_id` is the user who is known to ask; 0: the body says who it is.
 */
int read_wish(const json_t *body, int64_t user_id, struct wish *ret_wish,
    char problem[PROBLEM_SIZE]) __attribute__((warn_unused_result));

/**
 * Write the lines of a wish, one an item, as the text of a JSON list.
 */
void wish_lines(const struct wish *wish, char ret_lines[LINES_SIZE]);

/**
 * What is sold, as a JSON list; the caller's.
 */
json_t *items_sold(void);

#endif
