#include "wish.h"

#include <inttypes.h>
#include <stdio.h>

static const struct item {
    int64_t id;
    const char *name;
    int64_t points;
} items[ITEM_COUNT] = {
    {1, "Espresso", 300},
    {2, "Flat white", 450},
    {3, "Lemon cake", 600},
    {4, "Espresso machine", 25000},
};

/* A whole number of a JSON object within bounds, or -1. */
static int64_t whole_number(
    const json_t *object, const char *name, int64_t smallest, int64_t largest)
{
    const json_t *value = json_object_get(object, name);
    json_int_t number = json_integer_value(value);
    return json_is_integer(value) && number >= smallest && number <= largest ? number : -1;
}

/* Read one element of "items"; 0, or -1 with what is wrong with it in `problem`. */
static int read_line(
    const json_t *line, size_t index, struct wish *wish, char problem[PROBLEM_SIZE])
{
    static const char *const names[] = {"item_id", "quantity", NULL};
    size_t item_count = ITEM_COUNT;
    int64_t item_id = whole_number(line, "item_id", 1, (int64_t)item_count);
    int64_t quantity = whole_number(line, "quantity", 1, QUANTITY_MAX);
    if (check_known(line, names, problem) != 0) {
        return -1;
    }
    if (item_id < 0) {
        snprintf(problem, PROBLEM_SIZE,
            "items[%zu].item_id must be one of 1 to %zu: see GET /items", index, item_count);
        return -1;
    }
    if (quantity < 0) {
        snprintf(problem, PROBLEM_SIZE, "items[%zu].quantity must be a whole number from 1 to %d",
            index, QUANTITY_MAX);
        return -1;
    }
    int64_t *sum = &wish->quantities[item_id - 1];
    if (*sum + quantity > QUANTITY_MAX) {
        snprintf(problem, PROBLEM_SIZE, "item %" PRId64 " is ordered more than %d times", item_id,
            QUANTITY_MAX);
        return -1;
    }
    *sum += quantity;
    wish->total_amount += quantity * items[item_id - 1].points;
    return 0;
}

int read_wish(
    const json_t *body, int64_t user_id, struct wish *ret_wish, char problem[PROBLEM_SIZE])
{
    static const char *const names[] = {"user_id", "items", NULL};
    const json_t *lines = json_object_get(body, "items");
    struct wish wish = {
        .user_id = user_id > 0 ? user_id : whole_number(body, "user_id", 1, INT64_MAX)};
    if (check_known(body, names, problem) != 0) {
        return -1;
    }
    if (user_id > 0 && json_object_get(body, "user_id") != NULL) {
        snprintf(problem, PROBLEM_SIZE, "whose order it is says the token: leave user_id out");
        return -1;
    }
    if (wish.user_id < 0) {
        snprintf(problem, PROBLEM_SIZE, "user_id must be a whole number from 1");
        return -1;
    }
    if (json_array_size(lines) < 1 || json_array_size(lines) > LINE_COUNT_MAX) {
        snprintf(problem, PROBLEM_SIZE, "items must be a list of 1 to %d items", LINE_COUNT_MAX);
        return -1;
    }
    for (size_t i = 0; i < json_array_size(lines); i++) {
        if (read_line(json_array_get(lines, i), i, &wish, problem) != 0) {
            return -1;
        }
    }
    *ret_wish = wish;
    return 0;
}

void wish_lines(const struct wish *wish, char ret_lines[LINES_SIZE])
{
    size_t size = 0;
    for (size_t i = 0; i < ITEM_COUNT; i++) {
        if (wish->quantities[i] > 0) {
            size += (size_t)snprintf(ret_lines + size, LINES_SIZE - size,
                "%c{\"item_id\":%" PRId64 ",\"quantity\":%" PRId64 "}", size == 0 ? '[' : ',',
                items[i].id, wish->quantities[i]);
        }
    }
    snprintf(ret_lines + size, LINES_SIZE - size, "]");
}

json_t *items_sold(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ITEM_COUNT; i++) {
        json_array_append_new(
            list, json_pack("{s:I, s:s, s:I}", "item_id", (json_int_t)items[i].id, "name",
                      items[i].name, "points", (json_int_t)items[i].points));
    }
    return list;
}
