#include <sluice/query.h>

#include "base/error.h"
#include "lib/listeners.h"
#include "lib/tasks.h"
#include "store/sql.h"

const char *sluice_database_kind(const sluice_database *database)
{
    return sl_store_kind(database->store);
}

static int run(sluice_database *database, const struct sl_sql *sql, struct sluice_error *error)
{
    if (sql->value_count > SLUICE_VALUES_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "%zu values for a statement; it has at most %d parameters", sql->value_count,
            SLUICE_VALUES_MAX);
    }
    if (sl_database_enter(database, error) != 0) {
        return -1;
    }
    /* A query after the end of a transaction may read; where it writes, the store refuses. */
    bool is_late = sql->visit == NULL && database->transaction->stage == SL_STAGE_AFTER;
    int status = is_late ? sl_listeners_refuse(database, "write", error)
                         : sl_gate_check(database->gate, error);
    if (status == 0) {
        status = sl_sql_run(database->store, sql, error);
    }
    return sl_database_leave(database, status);
}

int sluice_query(sluice_database *database, const char *text, const struct sluice_value *values,
    size_t value_count, sluice_row_visitor visit, void *context, struct sluice_error *error)
{
    struct sl_sql sql = {
        .text = text,
        .what = "cannot run the query",
        .values = values,
        .value_count = value_count,
        .visit = visit,
        .context = context,
        .is_theirs = true,
    };
    return run(database, &sql, error);
}

int sluice_execute(sluice_database *database, const char *text, const struct sluice_value *values,
    size_t value_count, int64_t *ret_affected, struct sluice_error *error)
{
    struct sl_sql sql = {
        .text = text,
        .what = "cannot run the statement",
        .values = values,
        .value_count = value_count,
        .is_theirs = true,
        .ret_affected = ret_affected,
    };
    return run(database, &sql, error);
}
