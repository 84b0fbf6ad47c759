/*
 * store/mapping.h - reading an outbox table that was there before sluice.
 *
 * The relay of a database serves either sluice's own outbox or one mapped table. A mapped table has
 * its rows' numbers from before the commit, so these are never followed. The relay claims rows: a
 * claim is a tick, made of what one snapshot shows as unsent, written durably into a table of ours
 * before the rows are handed out. From there on (tick, position) is a place as in any other outbox.
 *
 *   the row's status    | claim | held by   | becomes
 *   --------------------+-------+-----------+------------------------------------------------------
 *   PENDING             | none  |           | TAKEN, with the next tick
 *   PENDING             | TAKEN |           | SENT and DONE, once the broker has it; HELD if
 * refused PENDING             | HELD  | retrying, | SENT and DONE when a retry gets through; | |
 * waiting   | FAILED_PERMANENTLY and FAILED after the last attempt FAILED_PERMANENTLY  | FAILED|
 * failed    | PENDING and HELD by a redrive; DONE by a drop SENT                | DONE  | |
 * nothing, whatever anybody writes
 *
 * A row is changed by its own id and only from the status that is expected. Without a column for
 * the status the claims alone know; then rows stay as they are, or are deleted once they are sent.
 */
#ifndef SL_STORE_MAPPING_H
#define SL_STORE_MAPPING_H

#include "store/store.h"

enum sl_mapped_column {
    SL_MAPPED_ID,
    SL_MAPPED_TOPIC,
    SL_MAPPED_KEY,
    SL_MAPPED_TYPE,
    SL_MAPPED_PAYLOAD,
    SL_MAPPED_HEADERS,
    SL_MAPPED_CREATED_AT,
    SL_MAPPED_STATUS,
    SL_MAPPED_RETRY_COUNT,
    SL_MAPPED_SENT_AT,
    SL_MAPPED_COLUMN_COUNT
};

/* What a table's columns are called; all texts are borrowed. */
struct sl_mapping {
    const char *table; /* "outbox_event" or "app.outbox_event" */
    /* NULL: Debezium's name for the first five (id, aggregatetype, aggregateid, type, payload), no
     * column for the others. */
    const char *columns[SL_MAPPED_COLUMN_COUNT];
    const char *type; /* of every event, in place of a column; or NULL */
    bool deletes_sent;
};

/* The longest name of a table or column. */
enum { SL_MAPPING_NAME_SIZE_MAX = 63 };

/**
 * A column's name in the configuration: "retry_count". Constant.
 */
const char *sl_mapping_word(enum sl_mapped_column column);

/**
 * Check the names: letters, digits, '_' and '$', a schema before the table if wanted. Pure.
 */
int sl_mapping_check(const struct sl_mapping *mapping, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Open a relay's store: sluice's tables are made if they are missing, `mapping` (NULL: sluice's own
 * outbox is read) is checked against the table's columns and noted in the database for
 * sl_mapping_open_noted. A `mapping` whose table has no index for the status is told in the log.
 *
 * Fails as sl_store_open; SLUICE_INVALID, naming what there is, for a table or column that is not
 * there or cannot be used; SLUICE_CONFLICT while events of another mapped table are on their way.
 */
int sl_mapping_open(const char *url, const struct sl_mapping *mapping, struct sl_store **ret_store,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Open an existing store as its relay sees it: with the mapping that was noted, if one was. For
 * those who look and those who redrive.
 */
int sl_mapping_open_noted(const char *url, struct sl_store **ret_store, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * The statement that makes the index that a mapped table lacks, so that each look reads all of it;
 * NULL if it has one, or no table is mapped. The store's.
 */
const char *sl_mapping_missing_index(const struct sl_store *store);

#endif
