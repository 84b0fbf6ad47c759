/*
 * The claim: what turns rows in the order of their inserts into rows in an order that is safe.
 *
 * AUTO_INCREMENT numbers are taken before the commit, so that a row may appear behind one that has
 * been read. So the reader does not follow them. It gives the committed rows that have no tick the
 * next tick, and follows (tick, position).
 *
 * Which rows these are is asked of one snapshot, by a SELECT that locks nothing. A locking scan
 * (UPDATE ... WHERE tick IS NULL, or FOR UPDATE SKIP LOCKED) sees each row as it is when the scan
 * comes by: it passes over row A, which is not committed yet, and then finds B of the same key,
 * which was written after A's commit while the scan ran. B would overtake A. In one snapshot, who
 * sees B sees A.
 *
 * Then exactly these rows are stamped, each by its primary key, under READ COMMITTED: that locks no
 * gap and no neighbour, so that neither waits for a writer. The relay's row is locked first: one
 * claim at a time. The commit of the claim is on disk after the commits of the rows it took, so
 * that what is sent cannot be lost by the server's crash.
 */
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "store/mariadb.h"

enum {
    CLAIM_MAX = 10000,    /* rows of a tick: memory and locks are bounded */
    CHUNK_MAX = 1000,     /* rows of an UPDATE */
    NUMBER_SIZE_MAX = 21, /* a position and a comma */
    TRIES_MAX = 5
};

static const char claim_failed[] = "cannot claim the outbox's rows";

struct claim {
    int64_t *positions;
    size_t count;
    int64_t tick;
};

static void keep_tick(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    ((struct claim *) context)->tick = sl_value_number(&columns[0]) + 1;
}

static void keep_position(void *context, const struct sluice_value *columns, size_t column_count)
{
    struct claim *claim = context;
    (void) column_count;
    if (claim->count < CLAIM_MAX) {
        claim->positions[claim->count++] = sl_value_number(&columns[0]);
    }
}

static int find_rows(
    struct sl_store_mariadb *store, struct claim *claim, struct sluice_error *error)
{
    if (sl_sql_run(&store->base,
            &(struct sl_sql) {
                .text = "SELECT claimed_tick FROM sluice_relay WHERE name = 'relay' FOR UPDATE",
                .what = claim_failed,
                .visit = keep_tick,
                .context = claim,
            },
            error) != 0) {
        return -1;
    }
    if (claim->tick == 0) {
        return sl_fail(error, SLUICE_NO_SCHEMA, SLUICE_FATAL,
            "sluice_relay in %s has no row 'relay': it was changed by hand, restore it",
            sl_mariadb_name(store));
    }
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "SELECT position FROM sluice_outbox WHERE tick IS NULL "
                    "ORDER BY position LIMIT ?1",
            .what = claim_failed,
            SL_SQL_VALUES(sluice_integer(CLAIM_MAX)),
            .visit = keep_position,
            .context = claim,
        },
        error);
}

static int stamp_rows(
    struct sl_store_mariadb *store, const struct claim *claim, struct sluice_error *error)
{
    for (size_t i = 0; i < claim->count;) {
        struct sl_buffer *text = &store->text;
        sl_buffer_clear(text);
        sl_buffer_append_format(text,
            "UPDATE sluice_outbox FORCE INDEX (PRIMARY) SET tick = %lld "
            "WHERE tick IS NULL AND position IN (",
            (long long) claim->tick);
        size_t end = i + CHUNK_MAX < claim->count ? i + CHUNK_MAX : claim->count;
        for (; i < end; i++) {
            sl_buffer_append_format(
                text, i + 1 == end ? "%lld)" : "%lld,", (long long) claim->positions[i]);
        }
        if (text->is_failed) {
            return sl_fail_memory(error, "a claim");
        }
        if (sl_mariadb_command(store, text->data, text->size, claim_failed, error) != 0) {
            return -1;
        }
    }
    return sl_sql_run(&store->base,
        &(struct sl_sql) {
            .text = "UPDATE sluice_relay SET claimed_tick = ?1, claimed_position = ?2 "
                    "WHERE name = 'relay'",
            .what = claim_failed,
            SL_SQL_VALUES(
                sluice_integer(claim->tick), sluice_integer(claim->positions[claim->count - 1])),
        },
        error);
}

static int claim_once(
    struct sl_store_mariadb *store, struct claim *claim, struct sluice_error *error)
{
    bool is_ours;
    claim->count = 0;
    claim->tick = 0;
    if (sl_store_enter(&store->base, &is_ours, error) != 0) {
        return -1;
    }
    int status = find_rows(store, claim, error);
    if (status == 0 && claim->count > 0) {
        status = stamp_rows(store, claim, error);
    }
    return sl_store_leave(&store->base, is_ours, status, error);
}

int sl_mariadb_claim(
    struct sl_store_mariadb *store, bool *ret_is_claimed, struct sluice_error *error)
{
    struct claim claim = {.positions = sl_allocate(CLAIM_MAX * sizeof(*claim.positions))};
    struct sluice_error own = {0};
    int status = -1;
    if (claim.positions == NULL) {
        return sl_fail_memory(error, "a claim");
    }
    for (int tries = 0; tries < TRIES_MAX && status != 0; tries++) {
        status = claim_once(store, &claim, &own);
        if (status != 0 && own.code != SLUICE_CONFLICT) {
            break;
        }
    }
    if (status == 0) {
        *ret_is_claimed = claim.count > 0;
    } else if (error != NULL) {
        *error = own;
    }
    sl_free(claim.positions);
    return status;
}
