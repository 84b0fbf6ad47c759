/*
 * tests/support/database.h - an empty database of the kind that the program is run for.
 *
 * One test source serves every database: SLUICE_TEST_DATABASE names the kind ("sqlite" if it is not
 * set), and meson runs the program once a kind.
 */
#ifndef TESTS_SUPPORT_DATABASE_H
#define TESTS_SUPPORT_DATABASE_H

#include "support/temp.h"

struct test_database {
    struct temp temp;
    const char *url;
    const char *bytes_type; /* of a column that holds bytes */
};

/* Make it; the URL is valid as long as `place`. */
static inline const char *test_database_make(struct test_database *place)
{
    temp_make(&place->temp);
    place->url = temp_url(&place->temp, "sqlite", "app.db");
    place->bytes_type = "BLOB";
    return place->url;
}

/* Remove it, once it is closed. */
static inline void test_database_remove(struct test_database *place)
{
    temp_remove(&place->temp);
}

#endif
