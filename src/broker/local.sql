-- The local log, version 2: topics of events in one SQLite file.
--
-- A record's place is its partition's id and its offset in one number, so that a partition is one
-- range of one tree. next_offset only rises: an offset never comes again, whatever is deleted.

CREATE TABLE log_meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE topic (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    partition_count INTEGER NOT NULL
);

CREATE TABLE partition (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL REFERENCES topic (id),
    number INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic_id, number)
);

CREATE TABLE record (
    place INTEGER PRIMARY KEY, -- partition id * 2^40 + offset
    event_id TEXT NOT NULL,
    message_key TEXT,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    headers TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    appended_at INTEGER NOT NULL
);

-- How far each source's events have come; moved by the transaction that appends them.
CREATE TABLE source (
    id TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    tick INTEGER NOT NULL DEFAULT 0 -- of the position: it comes first when two are compared
) WITHOUT ROWID;

-- Events that were appended out of their turn, so that a redrive that is repeated adds nothing.
CREATE TABLE redriven (
    event_id TEXT NOT NULL PRIMARY KEY,
    appended_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE consumer_position (
    consumer TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
) WITHOUT ROWID;
