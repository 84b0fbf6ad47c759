-- sluice's tables in MariaDB (10.11 or newer), version 1. `sluice init --database mariadb://...`
-- runs this; it may be run again. Each statement ends with its line.
--
-- position is AUTO_INCREMENT: the order of the inserts, not of the commits. tick is NULL until the
-- relay claims the row: each claim takes the committed rows that one snapshot shows, and gives them
-- the next tick. (tick, position) is the order of sending. Rows of rolled back transactions leave
-- gaps in position, which mean nothing. Any language may insert (topic, message_key, type, payload)
-- in its own transaction: the rest has defaults; or SELECT sluice_publish(...), which also checks.

CREATE TABLE IF NOT EXISTS sluice_meta (
    name VARCHAR(60) NOT NULL PRIMARY KEY,
    value VARCHAR(255) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS sluice_outbox (
    position BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    tick BIGINT NULL DEFAULT NULL,
    id VARCHAR(36) NOT NULL DEFAULT (
        lower(concat_ws('-',
            left(lpad(hex(timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000),
                12, '0'), 8),
            right(lpad(hex(timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000),
                12, '0'), 4),
            concat('7', left(hex(random_bytes(2)), 3)),
            concat(substr('89ab', 1 + (ord(random_bytes(1)) & 3), 1), left(hex(random_bytes(2)), 3)),
            hex(random_bytes(6))))),
    topic VARCHAR(249) NOT NULL,
    message_key VARCHAR(1024) NULL DEFAULT NULL,
    type VARCHAR(255) NOT NULL,
    payload LONGBLOB NOT NULL,
    headers MEDIUMTEXT NOT NULL DEFAULT '{}',
    created_at BIGINT NOT NULL DEFAULT (
        timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000),
    KEY sluice_outbox_tick (tick, position)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;

-- How far the relay has come, and since when; what was claimed last; behind which row every row is
-- still there. The lease says which of several relays may send; its term rises with each change.
-- A claim locks this row, so that there is one at a time.
CREATE TABLE IF NOT EXISTS sluice_relay (
    name VARCHAR(60) NOT NULL PRIMARY KEY,
    tick BIGINT NOT NULL DEFAULT 0,
    position BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    holder VARCHAR(60) NOT NULL DEFAULT '',
    term BIGINT NOT NULL DEFAULT 0,
    lease_ends_at BIGINT NOT NULL DEFAULT 0,
    claimed_tick BIGINT NOT NULL DEFAULT 0,
    claimed_position BIGINT NOT NULL DEFAULT 0,
    retained_tick BIGINT NOT NULL DEFAULT 0,
    retained_position BIGINT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;

INSERT IGNORE INTO sluice_relay (name) VALUES ('relay');

-- (consumer, event id): this consumer has applied this event.
CREATE TABLE IF NOT EXISTS sluice_inbox (
    consumer VARCHAR(60) NOT NULL,
    event_id VARCHAR(36) NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (consumer, event_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS sluice_consumer (
    name VARCHAR(60) NOT NULL PRIMARY KEY,
    applied_total BIGINT NOT NULL DEFAULT 0,
    duplicates_total BIGINT NOT NULL DEFAULT 0,
    failures_total BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;

-- Events that do not flow: retrying ones, those that wait behind them, and dead letters.
-- stage is 'relay' or the name of a consumer; number rises within a key in the order of its events.
-- The event's texts are kept as the bytes that came: what a broker hands over may be no UTF-8.
CREATE TABLE IF NOT EXISTS sluice_dead_letter (
    number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    stage VARCHAR(60) NOT NULL,
    event_id VARCHAR(36) NOT NULL,
    tick BIGINT NOT NULL DEFAULT 0,
    position BIGINT NOT NULL DEFAULT 0, -- in the outbox; 0 at a consumer's stage
    topic VARBINARY(1000) NOT NULL,
    message_key VARBINARY(4096) NULL DEFAULT NULL,
    type VARBINARY(1024) NOT NULL,
    payload LONGBLOB NOT NULL,
    headers MEDIUMBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    state VARCHAR(20) NOT NULL CHECK (state IN ('RETRYING', 'WAITING', 'FAILED_PERMANENTLY')),
    attempts INT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    held_at BIGINT NOT NULL,
    reason VARBINARY(1024) NOT NULL,
    UNIQUE KEY sluice_dead_letter_event (stage, event_id),
    KEY sluice_dead_letter_key (stage, topic, message_key(1024), number),
    KEY sluice_dead_letter_due (stage, state, next_attempt_at, number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;

-- Where each retained event stands.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW sluice_event_status AS
SELECT o.tick, o.position, o.id, o.topic, o.message_key, o.type, o.created_at,
    CASE
        WHEN d.state = 'FAILED_PERMANENTLY' THEN 'FAILED_PERMANENTLY'
        WHEN d.state IS NOT NULL THEN 'PENDING'
        WHEN o.tick < r.tick OR (o.tick = r.tick AND o.position <= r.position) THEN 'SENT'
        ELSE 'PENDING'
    END AS status
FROM sluice_outbox o
JOIN sluice_relay r ON r.name = 'relay'
LEFT JOIN sluice_dead_letter d ON d.stage = 'relay' AND d.event_id = o.id;

DELIMITER //

-- Publish an event with the open transaction; returns its id. The key may be NULL (no order), and
-- so may the headers, else a JSON object of texts.
CREATE OR REPLACE FUNCTION sluice_publish(
    p_topic VARCHAR(1000) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin,
    p_key VARCHAR(4096) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin,
    p_payload LONGBLOB,
    p_type VARCHAR(1000) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin,
    p_headers MEDIUMTEXT CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin)
RETURNS VARCHAR(36) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin
NOT DETERMINISTIC MODIFIES SQL DATA SQL SECURITY INVOKER
COMMENT 'sluice: publish an event with the open transaction'
BEGIN
    DECLARE v_now BIGINT DEFAULT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000;
    DECLARE v_time VARCHAR(12) CHARSET utf8mb4 DEFAULT lpad(hex(v_now), 12, '0');
    DECLARE v_id VARCHAR(36) CHARSET utf8mb4;
    DECLARE v_problem VARCHAR(255) CHARSET utf8mb4 DEFAULT NULL;
    IF @@in_transaction = 0 AND @@autocommit = 1 THEN
        SET v_problem = 'no transaction is open: begin one, so that the event commits or rolls back with its data';
    ELSEIF p_topic IS NULL OR NOT p_topic REGEXP '^[A-Za-z0-9._-]{1,249}$' OR p_topic IN ('.', '..') THEN
        SET v_problem = 'the topic must be 1 to 249 of [A-Za-z0-9._-]';
    ELSEIF octet_length(p_key) > 1024 OR p_key REGEXP '[[:cntrl:]]' THEN
        SET v_problem = 'the key must be at most 1024 bytes without control characters';
    ELSEIF p_type IS NULL OR octet_length(p_type) NOT BETWEEN 1 AND 255 OR p_type REGEXP '[[:cntrl:]]' THEN
        SET v_problem = 'the type must be 1 to 255 bytes without control characters';
    ELSEIF p_payload IS NULL OR octet_length(p_payload) > 1048576 THEN
        SET v_problem = 'the payload must be at most 1048576 bytes, and not NULL';
    ELSEIF p_headers IS NOT NULL AND (NOT json_valid(p_headers) OR json_type(p_headers) <> 'OBJECT') THEN
        SET v_problem = 'the headers must be a JSON object of texts';
    END IF;
    IF v_problem IS NOT NULL THEN
        SET v_problem = concat('sluice_publish: ', v_problem);
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_problem;
    END IF;
    SET v_id = lower(concat_ws('-', left(v_time, 8), right(v_time, 4),
        concat('7', left(hex(random_bytes(2)), 3)),
        concat(substr('89ab', 1 + (ord(random_bytes(1)) & 3), 1), left(hex(random_bytes(2)), 3)),
        hex(random_bytes(6))));
    INSERT INTO sluice_outbox (id, topic, message_key, type, payload, headers, created_at)
    VALUES (v_id, p_topic, p_key, p_type, p_payload, coalesce(p_headers, '{}'), v_now);
    RETURN v_id;
END//

-- 1: the consumer has not applied this event before; do its work in this transaction. 0: it has.
-- Another transaction that is applying it is waited for.
CREATE OR REPLACE FUNCTION sluice_inbox_begin(
    p_consumer VARCHAR(1000) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin,
    p_event_id VARCHAR(1000) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin)
RETURNS TINYINT
NOT DETERMINISTIC MODIFIES SQL DATA SQL SECURITY INVOKER
COMMENT 'sluice: whether an event is new to a consumer'
BEGIN
    DECLARE v_problem VARCHAR(255) CHARSET utf8mb4 DEFAULT NULL;
    IF @@in_transaction = 0 AND @@autocommit = 1 THEN
        SET v_problem = 'no transaction is open: begin one, and do the event''s work in it';
    ELSEIF p_consumer IS NULL OR NOT p_consumer REGEXP '^[A-Za-z0-9._-]{1,60}$' OR p_consumer = 'relay' THEN
        SET v_problem = 'the consumer must be 1 to 60 of [A-Za-z0-9._-], and not relay';
    ELSEIF p_event_id IS NULL OR NOT p_event_id REGEXP '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        SET v_problem = 'the event id must be a UUID in lower case';
    END IF;
    IF v_problem IS NOT NULL THEN
        SET v_problem = concat('sluice_inbox_begin: ', v_problem);
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_problem;
    END IF;
    INSERT IGNORE INTO sluice_inbox (consumer, event_id, applied_at) VALUES (p_consumer, p_event_id,
        timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000);
    RETURN row_count();
END//

DELIMITER ;
