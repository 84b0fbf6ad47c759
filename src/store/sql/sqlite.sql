-- sluice's tables in SQLite, version 2. `sluice init --database sqlite:FILE` runs this.
--
-- position is AUTOINCREMENT, so that it never repeats; SQLite has one writer at a time, so that its
-- order is the order of the commits. Any language may insert (topic, message_key, type, payload) in
-- its own transaction: the rest has defaults.

CREATE TABLE sluice_meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE sluice_outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL DEFAULT (
        printf('%08x-%04x-7%03x-%04x-%012x',
            CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) >> 16,
            CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) & 65535,
            random() & 4095, 32768 | (random() & 16383), random() & 281474976710655)),
    topic TEXT NOT NULL,
    message_key TEXT,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    headers TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL DEFAULT (
        CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER))
);

-- How far the relay has come, and since when. A row of the outbox is sent if its position is not
-- above this one's. The lease says which of several relays may send; its term rises with each change.
CREATE TABLE sluice_relay (
    name TEXT NOT NULL PRIMARY KEY,
    tick INTEGER NOT NULL DEFAULT 0, -- other databases need it; always 0 here
    position INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    holder TEXT NOT NULL DEFAULT '',
    term INTEGER NOT NULL DEFAULT 0,
    lease_ends_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

INSERT INTO sluice_relay (name, position, updated_at) VALUES ('relay', 0, 0);

-- (consumer, event id): this consumer has applied this event.
CREATE TABLE sluice_inbox (
    consumer TEXT NOT NULL,
    event_id TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    PRIMARY KEY (consumer, event_id)
) WITHOUT ROWID;

CREATE TABLE sluice_consumer (
    name TEXT NOT NULL PRIMARY KEY,
    applied_total INTEGER NOT NULL DEFAULT 0,
    duplicates_total INTEGER NOT NULL DEFAULT 0,
    failures_total INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Events that do not flow: retrying ones, those that wait behind them, and dead letters.
-- stage is 'relay' or the name of a consumer; number rises within a key in the order of its events.
CREATE TABLE sluice_dead_letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    stage TEXT NOT NULL,
    event_id TEXT NOT NULL,
    tick INTEGER NOT NULL DEFAULT 0, -- other databases need it; always 0 here
    position INTEGER NOT NULL DEFAULT 0, -- in the outbox; 0 at a consumer's stage
    topic TEXT NOT NULL,
    message_key TEXT,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    headers TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('RETRYING', 'WAITING', 'FAILED_PERMANENTLY')),
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    held_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (stage, event_id)
);

CREATE INDEX sluice_dead_letter_key ON sluice_dead_letter (stage, topic, message_key, number);
CREATE INDEX sluice_dead_letter_due ON sluice_dead_letter (stage, state, next_attempt_at, number);

-- Where each retained event stands.
CREATE VIEW sluice_event_status AS
SELECT o.position, o.id, o.topic, o.message_key, o.type, o.created_at,
    CASE
        WHEN d.state = 'FAILED_PERMANENTLY' THEN 'FAILED_PERMANENTLY'
        WHEN d.state IS NOT NULL THEN 'PENDING'
        WHEN o.position <= r.position THEN 'SENT'
        ELSE 'PENDING'
    END AS status
FROM sluice_outbox o
JOIN sluice_relay r ON r.name = 'relay'
LEFT JOIN sluice_dead_letter d ON d.stage = 'relay' AND d.event_id = o.id;
