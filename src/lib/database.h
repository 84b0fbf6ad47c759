/*
 * lib/database.h - what is behind a `sluice_database`.
 */
#ifndef SL_LIB_DATABASE_H
#define SL_LIB_DATABASE_H

#include <sluice/outbox.h>

#include "base/buffer.h"
#include "store/store.h"

struct sluice_database {
    struct sl_store *store;
    struct sl_buffer headers; /* JSON text of the event in hand */
};

/**
 * The store under a database; it stays the database's.
 */
struct sl_store *sl_database_store(sluice_database *database);

#endif
