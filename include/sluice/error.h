/*
 * sluice/error.h - how every call of libsluice reports a failure.
 *
 * The caller owns a `struct sluice_error` (on its stack, usually) and passes its address as the
 * last argument; NULL is fine where only success or failure matters. A call that fails returns -1
 * and fills it in; a call that succeeds leaves it alone. Nothing in it is allocated, so reporting
 * works when memory has run out and there is nothing to free.
 */
#ifndef SLUICE_ERROR_H
#define SLUICE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SLUICE_EXPORT __attribute__((visibility("default")))
#define SLUICE_CHECKED __attribute__((warn_unused_result))
#else
#define SLUICE_EXPORT
#define SLUICE_CHECKED
#endif

/* What happened. The numbers are part of the interface and never change their meaning. */
enum sluice_code {
    SLUICE_OK = 0,
    SLUICE_NO_TRANSACTION = 1,   /* publishing outside of a transaction */
    SLUICE_INVALID = 2,          /* an argument, an event or a config value breaks a rule */
    SLUICE_TOO_LARGE = 3,        /* a limit of an event is exceeded */
    SLUICE_BUSY = 4,             /* another connection holds the lock for too long */
    SLUICE_NO_SPACE = 5,         /* the disk is full */
    SLUICE_CORRUPT = 6,          /* the file is not what it should be */
    SLUICE_READ_ONLY = 7,        /* no right to write here */
    SLUICE_NO_SCHEMA = 8,        /* the tables are missing, or older than this library */
    SLUICE_UNAVAILABLE = 9,      /* the server or file cannot be reached */
    SLUICE_UNSUPPORTED = 10,     /* this build does not do that */
    SLUICE_NO_MEMORY = 11,
    SLUICE_NOT_FOUND = 12,
    SLUICE_CONFLICT = 13,        /* somebody else moved on; read again */
    SLUICE_IO = 14,              /* the operating system refused */
    SLUICE_IN_TRANSACTION = 15,  /* a transaction is already open on this connection */
    SLUICE_HANDLER = 16,         /* the consumer's handler failed */
    SLUICE_OUTCOME_UNKNOWN = 17, /* COMMIT was sent, its answer never came */
    SLUICE_INTERNAL = 18,        /* a bug of ours: please report it */
    SLUICE_ROLLBACK_ONLY = 19,   /* work that took part in the transaction failed: none stays */
    SLUICE_LISTENER = 20,        /* a listener vetoed, failed or broke a rule; its name is told */
    SLUICE_CANCELLED = 21,       /* somebody asked for it */
    SLUICE_CONSTRAINT = 22       /* a unique, foreign-key or check constraint refuses it */
};

/* What the caller should do about it. */
enum sluice_reaction {
    SLUICE_RETRY = 1,  /* the same call may work later: an outage */
    SLUICE_REJECT = 2, /* this argument will never work: change it */
    SLUICE_FATAL = 3   /* this object is of no more use: close it, tell a person */
};

/* The longest text, including its NUL. Longer ones are cut. */
#define SLUICE_ERROR_TEXT_SIZE 512

struct sluice_error {
    enum sluice_code code;
    enum sluice_reaction reaction;
    int library_code;                  /* SQLite's extended result code, MariaDB's error number,
                                          an errno, or 0 */
    char sqlstate[6];                  /* PostgreSQL's and MariaDB's five characters, or "" */
    char text[SLUICE_ERROR_TEXT_SIZE]; /* what happened, why, and what to do; one line */
};

/**
 * The name of a code, as it stands in this header: "SLUICE_NO_TRANSACTION".
 *
 * Never fails and never blocks; an unknown number gives "SLUICE_INTERNAL". The text is constant and
 * belongs to the library.
 */
SLUICE_EXPORT const char *sluice_code_name(enum sluice_code code);

#ifdef __cplusplus
}
#endif

#endif
