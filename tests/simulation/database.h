/*
 * tests/simulation/database.h - a database in memory that fails when the seed says so.
 *
 * It implements the product's vtable (store/ops.h). Two kinds: one with one writer at a time, as
 * SQLite, and one like PostgreSQL, where several writers' transactions are open at once, numbers
 * are given before the commit, rows of a rollback leave holes, and what became visible together is
 * made a tick, durably, before it is read.
 *
 * Each call may fail before it has an effect, or after it (the answer is lost), or be the last one
 * of its process; before it, others may run for a while. The database itself may be away, and
 * forgets open transactions then. It knows what was committed, so that it can judge what it is
 * told: a confirmed position that events are missing before, an attempt that nobody made.
 */
#ifndef TESTS_SIMULATION_DATABASE_H
#define TESTS_SIMULATION_DATABASE_H

#include "sim.h"
#include "store/ops.h"

enum { DB_ROWS_MAX = 1500, DB_KEYS = 6, DB_WRITERS = 3, DB_DEPTH = 4, DB_CONNECTIONS = 8 };

enum db_kind { DB_ONE_WRITER, DB_TICKS };
enum db_row_state { ROW_OPEN, ROW_COMMITTED, ROW_GONE };

struct db_row {
    struct sl_event event;
    enum db_row_state state;
    int key;
    int sequence; /* of the key, in the order of the commits */
    int64_t tick; /* 0: not visible yet (or no ticks) */
    bool is_poison;
    bool is_stubborn;    /* it stays poison, until a person mends it */
    int condemned_count; /* how often somebody refused it */
    bool is_sent;        /* it is in the broker */
    bool is_applied;     /* what its handler answered last: that it is done */
    bool is_mended;      /* a person has mended what was wrong with it */
};

struct db_held {
    int64_t number;
    int row;
    struct sl_position position;
    enum sl_held_state state;
    int attempts;
    int64_t next_attempt_ms;
};

/* What a transaction may change. */
struct db_data {
    int held_count;
    int effect_count;
    int64_t next_number;
    struct db_held held[DB_ROWS_MAX];
    bool is_marked[DB_ROWS_MAX]; /* the inbox */
    int effects[DB_ROWS_MAX];    /* rows, in the order of their effects */
};

struct db_writer {
    bool is_open;
    int rows[8];
    int row_count;
    int savepoint; /* -1: none */
};

struct database {
    enum db_kind kind;
    int fault_percent;
    int64_t down_until_ms;
    int64_t fault_count; /* faults of any kind so far */
    struct db_row rows[DB_ROWS_MAX];
    int row_count;
    char keys[DB_KEYS][8];
    int next_sequence[DB_KEYS];
    int key_writer[DB_KEYS]; /* who holds the key's lock, -1: nobody */
    struct db_writer writers[DB_WRITERS];
    int order[DB_ROWS_MAX]; /* the visible rows, in the order of their positions */
    int order_count;
    int64_t last_tick;
    int first_without_tick;
    struct sl_position confirmed;
    int64_t confirmed_ms;
    int covered_count; /* of `order`: known to be in the broker or held */
    char lease_holder[SLUICE_EVENT_ID_SIZE];
    int64_t lease_ends_ms;
    struct db_data data;
    struct db_data undo[DB_DEPTH]; /* before the open transaction, and before its savepoints */
    int depth;
    int owner; /* the connection whose transaction is open, -1: none */
};

extern struct database database;

/** Start empty. */
void db_reset(enum db_kind kind, int fault_percent);

/** One thing that a publisher does: begin, insert, savepoint, roll back, commit. */
void db_write(void);

/** End all publishers' transactions. */
void db_finish_writers(void);

/** Add one committed row at once; returns its index, or -1 if the outbox is full. */
int db_add_row(int key);

/** The database goes away until a time; whatever is open is rolled back. */
void db_crash(int64_t until_ms);

/** The process is gone, and its connections with it. */
void db_kill(int process);

/** A call of a process begins: others may run, it may fail. `*ret_is_lost`: its answer gets lost.
 */
int db_enter(int process, bool *ret_is_lost, struct sluice_error *error);

/** As above, for a store's call. */
int db_enter_store(struct sl_store *store, bool *ret_is_lost, struct sluice_error *error);

/** And it ends: -1 if the answer gets lost; the transaction goes with the connection then. */
int db_leave_store(struct sl_store *store, bool is_lost, struct sluice_error *error);

/** What a connection sees: its own changes, and what is committed of others'. */
const struct db_data *db_seen_by(struct sl_store *store);

/** -1 if another connection's transaction is open. */
int db_lock(struct sl_store *store, struct sluice_error *error);

/** The row of an event. */
int db_row_of(const struct sl_event *event);

/** The place of a row. */
struct sl_position db_position_of(int row);

/** Fail the run unless all rows up to the position are in the broker or held. */
void db_check_covered(struct sl_position position, const char *what);

/** Mend some poison, or all, and redrive what has failed. */
void db_redrive(bool is_all);

/** Fail the run if something is held, and no poison event of its key has failed before it. */
void db_check_parked(void);

/** Whether a row is among what is held. */
bool db_is_held(int row);

/** Open the database as the current process. */
struct sl_store *db_open(void);

/** The members that are about dead letters; see dead_letters.c. */
extern const struct sl_store_ops db_dead_letter_ops;

#endif
