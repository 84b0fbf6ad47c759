#include <stdio.h>

#include "store/portable.h"

enum { PREPARED_MAX = 3 };

enum { SET, UNDO, END };

/*
 * Each depth has a name of its own: MariaDB forgets a savepoint when another one takes its name.
 * Hardly anything is deeper than a handler with a step of its own.
 */
static const char *const texts[3][PREPARED_MAX] = {
    [SET] = {"SAVEPOINT event_savepoint_1", "SAVEPOINT event_savepoint_2",
        "SAVEPOINT event_savepoint_3"},
    [UNDO] = {"ROLLBACK TO SAVEPOINT event_savepoint_1", "ROLLBACK TO SAVEPOINT event_savepoint_2",
        "ROLLBACK TO SAVEPOINT event_savepoint_3"},
    [END] = {"RELEASE SAVEPOINT event_savepoint_1", "RELEASE SAVEPOINT event_savepoint_2",
        "RELEASE SAVEPOINT event_savepoint_3"},
};

static const char *const verbs[] = {
    [SET] = "SAVEPOINT", [UNDO] = "ROLLBACK TO SAVEPOINT", [END] = "RELEASE SAVEPOINT"};

static int run(struct sl_store *store, int what, struct sluice_error *error)
{
    int depth = store->savepoint_depth;
    struct sl_sql sql = {.what = "cannot use a savepoint"};
    char text[64];
    if (depth >= 1 && depth <= PREPARED_MAX) {
        sql.text = texts[what][depth - 1];
    } else {
        snprintf(text, sizeof(text), "%s event_savepoint_%d", verbs[what], depth);
        sql.text = text;
        sql.is_theirs = true; /* no literal */
    }
    return sl_sql_run(store, &sql, error);
}

int sl_sql_savepoint(struct sl_store *store, struct sluice_error *error)
{
    return run(store, SET, error);
}

int sl_sql_savepoint_end(struct sl_store *store, bool is_kept, struct sluice_error *error)
{
    if (!is_kept && run(store, UNDO, error) != 0) {
        return -1;
    }
    return run(store, END, error);
}
