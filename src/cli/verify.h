/*
 * cli/verify.h - did every promise hold? Outboxes, topics and inboxes are read and compared.
 *
 * Nothing is believed but what the tables and topics hold, and nothing is written. Everything is
 * read once, in an order that makes the answer right while the system runs: a place in a topic that
 * a consumer has committed before its inbox, inboxes before outboxes, outboxes before topics, then
 * what the outboxes got meanwhile. Events younger than the horizon are not judged.
 *
 * Memory is bounded: what does not fit is sorted on disk (cli/sorter.h). What retention has removed
 * on one side is not judged on the other.
 */
#ifndef SL_CLI_VERIFY_H
#define SL_CLI_VERIFY_H

#include <sluice/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/position.h"

/* What can be wrong with one event. */
enum sl_breach {
    SL_BREACH_LOST,      /* confirmed, and not in its topic */
    SL_BREACH_PHANTOM,   /* in a topic that only ours write to, and never committed */
    SL_BREACH_ALTERED,   /* with another topic, key, type or payload than was committed */
    SL_BREACH_REORDERED, /* overtaken by a later event of its key */
    SL_BREACH_SPLIT_KEY, /* in another partition than the event of its key before it */
    SL_BREACH_HOLE,      /* a partition jumps over an offset, or an outbox over a position */
    SL_BREACH_TWICE,     /* two rows of the outboxes have the same id */
    SL_BREACH_UNAPPLIED, /* the consumer is past it, and its inbox has no marker */
    SL_BREACH_UNFOUNDED, /* a marker for an event that never was */
    SL_BREACH_COUNT
};

enum {
    SL_VERIFY_DATABASES_MAX = 16,
    SL_VERIFY_CONSUMERS_MAX = 64, /* bits of a word */
    SL_VERIFY_WRONG_MAX = 100     /* named; more are counted */
};

/* A consumer in a database that is no outbox of ours. */
struct sl_verify_consumer {
    const char *name;
    const char *url;
};

struct sl_verify_options {
    const char *const *databases; /* outboxes; and all their consumers */
    size_t database_count;
    const struct sl_verify_consumer *consumers;
    size_t consumer_count;
    const char *broker;
    int64_t horizon_ms;
    bool is_sole;      /* nobody else writes to the topics, though the broker cannot tell */
    bool is_raw;       /* payloads go to the broker as they are, so that they can be compared */
    size_t memory_max; /* for sorting; 0: 128 MiB */
};

struct sl_verify_counts {
    int64_t committed;  /* rows that are still there */
    int64_t published;  /* of these, in their topics */
    int64_t unsent;     /* of these, not confirmed by the relay yet */
    int64_t held;       /* of these, waiting or dead at the relay's stage */
    int64_t records;    /* in the topics */
    int64_t foreign;    /* of these, of no database that was named */
    int64_t duplicates; /* of these, a further copy */
    int64_t late;       /* of these copies, behind a later event of the key */
    int64_t replayed;   /* of these copies, asked for with `sluice replay` */
    int64_t markers;    /* of the consumers */
    int64_t young;      /* not judged: younger than the horizon */
    int64_t removed;    /* not judged: retention may have removed the other side */
    int64_t breaches[SL_BREACH_COUNT];
};

/* One event that is wrong. */
struct sl_wrong {
    enum sl_breach breach;
    char id[40]; /* "" where there is none */
    char topic[250];
    char key[100]; /* cut if need be */
    bool has_key;
    char database[200];          /* of the outbox's row or the inbox; "" for none */
    struct sl_position position; /* of the row; SL_POSITION_START: none */
    int32_t partition;           /* in the topic; -1: none */
    int64_t offset;
    char consumer[64];
};

struct sl_verify_report {
    struct sl_verify_counts counts;
    struct sl_wrong wrong[SL_VERIFY_WRONG_MAX];
    size_t wrong_count;
    bool is_sole; /* whether phantoms could be told from others' events */
    size_t source_count;
    size_t consumer_count;
    size_t idle_consumers; /* consumers that have committed no place, and could not be judged */
};

/**
 * Compare everything. Blocks, and may take a while.
 *
 * 0 when all was read, whatever was found; `*ret_report` is the caller's to sl_free.
 */
int sl_verify(const struct sl_verify_options *options, struct sl_verify_report **ret_report,
    struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * A breach's name ("lost") and what it means.
 */
const char *sl_breach_name(enum sl_breach breach);
/** As above. */
const char *sl_breach_meaning(enum sl_breach breach);

#endif
