#include "store/portable.h"

static int run(struct sl_store *store, const char *text, struct sluice_error *error)
{
    return sl_sql_run(
        store, &(struct sl_sql) {.text = text, .what = "cannot use a savepoint"}, error);
}

/* One name serves every depth: the last savepoint of the name is meant. */
int sl_sql_savepoint(struct sl_store *store, struct sluice_error *error)
{
    return run(store, "SAVEPOINT event_savepoint", error);
}

int sl_sql_savepoint_end(struct sl_store *store, bool is_kept, struct sluice_error *error)
{
    if (!is_kept && run(store, "ROLLBACK TO SAVEPOINT event_savepoint", error) != 0) {
        return -1;
    }
    return run(store, "RELEASE SAVEPOINT event_savepoint", error);
}
