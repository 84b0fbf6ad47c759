/*
 * cli/verify_internal.h - what the files of verify share: what was read, and in what form.
 *
 * verify.c opens everything and says in which order it is read; verify_read.c turns rows, records
 * and markers into entries; verify_judge.c goes through them, sorted by event id.
 */
#ifndef SL_CLI_VERIFY_INTERNAL_H
#define SL_CLI_VERIFY_INTERNAL_H

#include "base/table.h"
#include "broker/broker.h"
#include "cli/sorter.h"
#include "cli/verify.h"
#include "store/look.h"

enum { SL_VERIFY_ID_SIZE = 16, SL_VERIFY_FIRST_RECORDS = 16 };

/* In the order in which a group's entries come. */
enum sl_entry_kind { SL_ENTRY_ROW, SL_ENTRY_HELD, SL_ENTRY_RECORD, SL_ENTRY_MARKER };

enum {
    SL_ENTRY_CONFIRMED = 1, /* a row that the relay has confirmed */
    SL_ENTRY_REPLAYED = 2,  /* a record that `sluice replay` sent */
    SL_ENTRY_HASHED_ID = 4  /* the id is no UUID: its bytes are a hash */
};

/*
 * One row, record, marker or held event. Entries are sorted by their bytes: by id, kind, and three
 * numbers in network order; what comes behind is carried along. No padding: every byte is set.
 */
struct sl_entry {
    unsigned char id[SL_VERIFY_ID_SIZE];
    uint32_t kind;
    uint32_t group;    /* row: source; record: topic; marker, held: consumer */
    uint64_t first;    /* row: tick; record: partition */
    uint64_t second;   /* row: position; record: offset */
    uint64_t key_hash; /* 0: no key */
    uint64_t content_hash;
    int64_t time_ms;
    uint32_t topic;
    uint32_t flags;
};

/* A row or copy by its key: sorted by source, topic, key, position; the first record before copies.
 */
struct sl_key_entry {
    uint32_t source;
    uint32_t topic;
    uint64_t key_hash;
    uint64_t tick;
    uint64_t position;
    uint32_t is_copy;
    uint32_t partition;
    uint64_t offset;
};

/* The relay's stage among the consumers of held entries. */
#define SL_VERIFY_RELAY_STAGE UINT32_MAX

struct sl_verify_store {
    const char *url;
    char *shown; /* the URL without its password */
    struct sl_store *store;
    bool is_source;
    bool is_read; /* once: what is read later came meanwhile */
    struct sl_position retained_after;
    struct sl_position confirmed;
    struct sl_position last;
    int64_t since_ms; /* rows of events made after this are all there */
    int64_t first_rows;
};

struct sl_verify_member {
    char *name;
    size_t store;
    bool has_place;  /* it has committed a place in some topic */
    bool is_trimmed; /* some of its markers were removed */
    int64_t applied_total;
    int64_t marker_count;
    int64_t since_ms; /* if trimmed: markers of events made after this are all there */
};

struct sl_verify_partition {
    uint32_t topic;
    int32_t number;
    int64_t first_offset;
    int64_t end_offset; /* read up to here */
    int64_t next_offset;
    int64_t first_records; /* so many of the oldest have been seen, at most FIRST_RECORDS */
    int64_t since_ms;      /* records of events made after this are all there */
    bool is_trimmed;
    int64_t committed[SL_VERIFY_CONSUMERS_MAX];
};

struct sl_verify {
    const struct sl_verify_options *options;
    struct sl_verify_report *report;
    struct sl_broker *broker;
    struct sl_verify_store stores[SL_VERIFY_DATABASES_MAX + SL_VERIFY_CONSUMERS_MAX];
    size_t store_count;
    struct sl_verify_member consumers[SL_VERIFY_CONSUMERS_MAX];
    size_t consumer_count;
    struct sl_table topic_numbers; /* name -> number + 1 */
    char **topics;
    uint64_t *readers; /* by topic: the consumers that have a place in it, a bit each */
    size_t topic_count;
    size_t topic_capacity;
    struct sl_verify_partition *partitions;
    size_t partition_count;
    size_t partition_capacity;
    size_t last_partition; /* that was looked for */
    struct sl_sorter *entries;
    struct sl_sorter *keys;
    int64_t horizon_ms;      /* Unix time: what is younger is not judged */
    int64_t outbox_since_ms; /* of all sources */
    struct sluice_error *error;
    bool is_failed; /* inside a visit: `error` says why */
};

/**
 * The number of a topic by its name, noting it if it is new; -1 without memory.
 */
int64_t sl_verify_topic(struct sl_verify *verify, struct sl_text name);

/**
 * Read where the consumers' places are, and the ends of the partitions of the topics known so far
 * (of all topics if nobody else writes to the broker).
 */
int sl_verify_read_places(struct sl_verify *verify);
/** As above: the ends. */
int sl_verify_read_ends(struct sl_verify *verify);

/**
 * Read a consumer's held events and markers.
 */
int sl_verify_read_inbox(struct sl_verify *verify, size_t consumer);

/**
 * Read a source's rows from `after` up to the end that its outbox has now.
 */
int sl_verify_read_outbox(struct sl_verify *verify, size_t store, struct sl_position after);

/**
 * Read what is held at the relay's stage of a source.
 */
int sl_verify_read_held(struct sl_verify *verify, size_t store);

/**
 * Read the topics up to their ends.
 */
int sl_verify_read_topics(struct sl_verify *verify);

/**
 * Go through everything that was read and fill in the report.
 */
int sl_verify_judge(struct sl_verify *verify);

/**
 * Note that an event is wrong: counted always, kept while there is room. `wrong` is copied.
 */
void sl_verify_note(struct sl_verify *verify, const struct sl_wrong *wrong);

/**
 * Write an entry's id as text; "" for a hashed one.
 */
void sl_verify_write_id(
    const unsigned char id[SL_VERIFY_ID_SIZE], bool is_hashed, char ret_text[40]);

/**
 * Look a row up for its topic and key, to name it.
 */
void sl_verify_name_row(
    struct sl_verify *verify, size_t store, struct sl_position position, struct sl_wrong *wrong);

#endif
