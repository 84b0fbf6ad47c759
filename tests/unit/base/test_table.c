#include "base/table.h"

#include <stdio.h>

#include "support/unit.h"

static struct sl_text key_of(int number, char buffer[16])
{
    snprintf(buffer, 16, "key%d", number);
    return sl_text_of(buffer);
}

static bool count_one(void *context, struct sl_text key, void *value)
{
    (void) key;
    (void) value;
    ++*(size_t *) context;
    return true;
}

START_TEST(what_was_put_is_found_until_it_is_removed)
{
    struct sl_table table;
    sl_table_init(&table);
    static int values[1000];
    char buffer[16];
    ck_assert_ptr_null(sl_table_get(&table, SL_TEXT("nothing")));
    ck_assert_ptr_null(sl_table_remove(&table, SL_TEXT("nothing")));
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(sl_table_put(&table, key_of(i, buffer), &values[i]), 0);
    }
    for (int i = 0; i < 1000; i += 2) {
        ck_assert_ptr_eq(sl_table_remove(&table, key_of(i, buffer)), &values[i]);
    }
    for (int i = 0; i < 1000; i++) {
        void *expected = i % 2 == 0 ? NULL : &values[i];
        ck_assert_ptr_eq(sl_table_get(&table, key_of(i, buffer)), expected);
    }
    size_t count = 0;
    sl_table_each(&table, count_one, &count);
    ck_assert_uint_eq(count, 500);
    ck_assert_uint_eq(table.count, 500);
    sl_table_deinit(&table);
}
END_TEST

START_TEST(put_under_a_known_key_takes_the_place_of_the_older_value)
{
    struct sl_table table;
    sl_table_init(&table);
    int older, newer;
    ck_assert_int_eq(sl_table_put(&table, SL_TEXT("k"), &older), 0);
    ck_assert_int_eq(sl_table_put(&table, SL_TEXT("k"), &newer), 0);
    ck_assert_uint_eq(table.count, 1);
    ck_assert_ptr_eq(sl_table_get(&table, SL_TEXT("k")), &newer);
    sl_table_deinit(&table);
}
END_TEST

UNIT_MAIN("table", what_was_put_is_found_until_it_is_removed,
    put_under_a_known_key_takes_the_place_of_the_older_value)
