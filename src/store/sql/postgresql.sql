-- sluice's tables in PostgreSQL, version 1. `sluice init --database postgresql://...` runs this in one
-- transaction, and then sluice.maintain().
--
-- To publish, a role needs: GRANT USAGE ON SCHEMA sluice TO app; and nothing else, since publish and
-- inbox_begin run with the rights of their owner. The relay runs as the owner of the schema.

CREATE SCHEMA IF NOT EXISTS sluice;

CREATE TABLE sluice.meta (
    name text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

-- A UUIDv7: 48 bits of time in milliseconds, the version, 12 bits of what the time has beyond its
-- milliseconds, and the variant and 62 random bits of a random UUID. Every function in it is set up
-- again in each transaction that publishes and costs as much as the rest of it: use as few as can be.
CREATE FUNCTION sluice.new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(overlay(uuid_send(gen_random_uuid()) PLACING int8send(
    (date_part('epoch', clock_timestamp()) * 65536000)::bigint & ~61440::bigint | 28672)
    FROM 1), 'hex')::uuid;

-- The columns have Debezium's names. aggregatetype is the topic and aggregateid the message key: with
-- Debezium's event router, route.topic.replacement=${routedByValue} sends them to the same topics.
--
-- There are no CHECKs: their expressions are set up again for each INSERT, which was measured to cost
-- more than all the rest of it. publish() checks; a row that was inserted in another way and breaks a
-- rule goes to the dead letters with the reason.
--
-- position is taken before the commit, so it says nothing about what can be seen; xid does, together
-- with the snapshots in sluice.tick. No row is ever changed, and none is deleted by itself: retention
-- drops whole days.
CREATE TABLE sluice.outbox (
    position bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id uuid NOT NULL DEFAULT sluice.new_id(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    aggregatetype text COLLATE "C" NOT NULL,
    aggregateid text COLLATE "C",
    type text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    headers json -- an object of texts; NULL: none
) PARTITION BY RANGE (created_at);

CREATE INDEX outbox_position ON sluice.outbox (position);
CREATE INDEX outbox_xid ON sluice.outbox (xid);

-- The safety net, for a day that nobody has made a partition for.
CREATE TABLE sluice.outbox_default PARTITION OF sluice.outbox DEFAULT;

-- A tick is a snapshot: its rows are those that are visible in it and were not in the one before. They
-- are sent in the order of their positions, tick by tick. A long transaction thus delays its own rows
-- only, and order is kept wherever one transaction saw the other's row locks.
CREATE TABLE sluice.tick (
    number bigint NOT NULL PRIMARY KEY,
    snapshot pg_snapshot NOT NULL,
    row_count bigint NOT NULL,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    payload_size_max integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO sluice.tick VALUES (0, '3:3:', 0, 0, 0, 0);

-- How far the relay has come: (tick, position). The times are Unix times in milliseconds, here and in
-- the tables below. retained_tick and retained_position: every row behind them is still there.
CREATE TABLE sluice.relay (
    name text NOT NULL PRIMARY KEY,
    tick bigint NOT NULL DEFAULT 0,
    position bigint NOT NULL DEFAULT 0,
    updated_at bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    term bigint NOT NULL DEFAULT 0,
    lease_ends_at bigint NOT NULL DEFAULT 0,
    retained_tick bigint NOT NULL DEFAULT 0,
    retained_position bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO sluice.relay (name) VALUES ('relay');

-- (consumer, event id): this consumer has applied this event.
CREATE TABLE sluice.inbox (
    consumer text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    applied_at bigint NOT NULL,
    PRIMARY KEY (consumer, event_id)
);

CREATE TABLE sluice.consumer (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    applied_total bigint NOT NULL DEFAULT 0,
    duplicates_total bigint NOT NULL DEFAULT 0,
    failures_total bigint NOT NULL DEFAULT 0,
    updated_at bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Events that do not flow: retrying ones, those that wait behind them, and dead letters.
-- stage is 'relay' or the name of a consumer; number rises within a key in the order of its events.
CREATE TABLE sluice.dead_letter (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    tick bigint NOT NULL DEFAULT 0,
    position bigint NOT NULL DEFAULT 0,
    topic text COLLATE "C" NOT NULL,
    message_key text COLLATE "C",
    type text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    headers text NOT NULL,
    created_at bigint NOT NULL,
    state text COLLATE "C" NOT NULL
        CHECK (state IN ('RETRYING', 'WAITING', 'FAILED_PERMANENTLY')),
    attempts integer NOT NULL,
    next_attempt_at bigint NOT NULL,
    held_at bigint NOT NULL,
    reason text NOT NULL,
    UNIQUE (stage, event_id)
);

CREATE INDEX dead_letter_key ON sluice.dead_letter (stage, topic, message_key, number);
CREATE INDEX dead_letter_due ON sluice.dead_letter (stage, state, next_attempt_at, number);

-- Why publish refuses an event. Not in the way of those that are fine.
CREATE FUNCTION sluice.refuse(topic text, key text, payload_size integer, type text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = CASE
        WHEN topic IS NULL OR topic !~ '^[A-Za-z0-9._-]{1,249}$' THEN
            'sluice.publish: ' || coalesce(quote_literal(left(topic, 60)), 'NULL')
            || ' is no topic; use 1 to 249 letters, digits, ''.'', ''_'' and ''-'''
        WHEN octet_length(key) > 1024 THEN
            'sluice.publish: the key has ' || octet_length(key) || ' bytes; at most 1024'
        WHEN payload_size IS NULL THEN 'sluice.publish: the payload is NULL'
        WHEN payload_size > 1048576 THEN
            'sluice.publish: the payload has ' || payload_size || ' bytes; at most 1048576'
        ELSE 'sluice.publish: the type must have 1 to 255 bytes' END;
END
$$;

-- Publish an event with the transaction that calls this; returns its id. Without a transaction of the
-- caller's own it commits by itself, as any statement does.
--
-- It costs every business transaction, so it does as little as can be. It runs with its owner's rights
-- and whatever search_path the caller has, so every name and operator in it is qualified.
CREATE FUNCTION sluice.publish(topic text, key text, payload bytea, type text,
    headers json DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    event_id uuid := sluice.new_id();
BEGIN
    IF (topic OPERATOR(pg_catalog.!~) '[^A-Za-z0-9._-]'
        AND pg_catalog.octet_length(topic) OPERATOR(pg_catalog.>) 0
        AND pg_catalog.octet_length(topic) OPERATOR(pg_catalog.<=) 249
        AND pg_catalog.octet_length(payload) OPERATOR(pg_catalog.<=) 1048576
        AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.>) 0
        AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.<=) 255
        AND (key IS NULL OR pg_catalog.octet_length(key) OPERATOR(pg_catalog.<=) 1024))
        IS NOT TRUE THEN
        PERFORM sluice.refuse(topic, key, pg_catalog.octet_length(payload), type);
    END IF;
    INSERT INTO sluice.outbox (id, aggregatetype, aggregateid, type, payload, headers)
    VALUES (event_id, topic, key, publish.type, publish.payload, publish.headers);
    RETURN event_id;
END
$$;

-- The same for a payload that is text: JSON, mostly.
CREATE FUNCTION sluice.publish(topic text, key text, payload text, type text,
    headers json DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    event_id uuid := sluice.new_id();
    bytes bytea := pg_catalog.convert_to(payload, 'UTF8');
BEGIN
    IF (topic OPERATOR(pg_catalog.!~) '[^A-Za-z0-9._-]'
        AND pg_catalog.octet_length(topic) OPERATOR(pg_catalog.>) 0
        AND pg_catalog.octet_length(topic) OPERATOR(pg_catalog.<=) 249
        AND pg_catalog.octet_length(bytes) OPERATOR(pg_catalog.<=) 1048576
        AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.>) 0
        AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.<=) 255
        AND (key IS NULL OR pg_catalog.octet_length(key) OPERATOR(pg_catalog.<=) 1024))
        IS NOT TRUE THEN
        PERFORM sluice.refuse(topic, key, pg_catalog.octet_length(bytes), type);
    END IF;
    INSERT INTO sluice.outbox (id, aggregatetype, aggregateid, type, payload, headers)
    VALUES (event_id, topic, key, publish.type, bytes, publish.headers);
    RETURN event_id;
END
$$;

-- Mark an event as applied by a consumer, first thing in the transaction that does the work. True: do
-- it; false: a committed transaction has done it. A second copy that comes meanwhile waits.
CREATE FUNCTION sluice.inbox_begin(consumer text, event_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO sluice.inbox
    VALUES (inbox_begin.consumer, inbox_begin.event_id,
        pg_catalog.int8(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())
            OPERATOR(pg_catalog.*) 1000))
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- The transaction ids that ended between two snapshots, as ranges without their bounds. What is still
-- in progress lies in none of them, so that its rows are not even looked at.
CREATE FUNCTION sluice.ranges(earlier pg_snapshot, later pg_snapshot)
RETURNS TABLE (low xid8, high xid8) LANGUAGE sql IMMUTABLE ROWS 4 AS $$
    SELECT (low::text::numeric - 1)::text::xid8, high FROM (
        SELECT coalesce((lag(bound) OVER (ORDER BY bound))::text::numeric + 1,
            pg_snapshot_xmax(earlier)::text::numeric) AS low, bound AS high
        FROM (SELECT bound FROM pg_snapshot_xip(later) bound
                WHERE bound >= pg_snapshot_xmax(earlier)
            UNION SELECT pg_snapshot_xmax(later)) bounds) new
    WHERE low::text::numeric < high::text::numeric
    UNION ALL
    SELECT (ended::text::numeric - 1)::text::xid8, (ended::text::numeric + 1)::text::xid8
    FROM pg_snapshot_xip(earlier) ended
    WHERE pg_visible_in_snapshot(ended, later)
$$;

-- The first tick behind `after`; if there is none and something new is visible, it is made. A tick that
-- is made is durable before its rows are sent: its commit waits for the disk, and with it for all that
-- was committed before, so that what a transaction without synchronous_commit wrote is sent only once
-- it cannot be lost any more.
CREATE FUNCTION sluice.next_tick(after bigint)
RETURNS TABLE (number bigint, row_count bigint, first_position bigint, last_position bigint,
    payload_size_max bigint, snapshot text, previous text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    last_tick sluice.tick;
    present pg_snapshot;
    news record;
BEGIN
    SELECT * INTO last_tick FROM sluice.tick ORDER BY number DESC LIMIT 1;
    IF last_tick.number <= after THEN
        present := pg_current_snapshot();
        SELECT sum(n.row_count) AS row_count, min(n.first_position) AS first_position,
            max(n.last_position) AS last_position, max(n.size_max) AS size_max
        INTO news
        FROM sluice.ranges(last_tick.snapshot, present) r CROSS JOIN LATERAL (
            SELECT count(*) AS row_count, min(position) AS first_position,
                max(position) AS last_position, max(octet_length(payload)) AS size_max
            FROM (SELECT position, payload FROM sluice.outbox
                WHERE xid > r.low AND xid < r.high OFFSET 0) o) n;
        IF coalesce(news.row_count, 0) = 0 THEN
            RETURN;
        END IF;
        PERFORM set_config('synchronous_commit', 'on', true)
        WHERE current_setting('synchronous_commit') IN ('off', 'local');
        INSERT INTO sluice.tick VALUES (last_tick.number + 1, present, news.row_count,
            news.first_position, news.last_position, news.size_max)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN QUERY SELECT t.number, t.row_count, t.first_position, t.last_position,
        t.payload_size_max::bigint, t.snapshot::text,
        (SELECT p.snapshot::text FROM sluice.tick p WHERE p.number < t.number
            ORDER BY p.number DESC LIMIT 1)
    FROM sluice.tick t WHERE t.number > after ORDER BY t.number LIMIT 1;
END
$$;

-- How much is unsent, and since when; an estimate beyond 10,000 rows that no tick has counted yet.
CREATE FUNCTION sluice.backlog(OUT unsent_count bigint, OUT oldest_unsent_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    relay sluice.relay;
    reached sluice.tick;
    last_tick sluice.tick;
    uncounted record;
BEGIN
    SELECT * INTO relay FROM sluice.relay r WHERE r.name = 'relay';
    SELECT * INTO reached FROM sluice.tick t WHERE t.number = relay.tick;
    SELECT * INTO last_tick FROM sluice.tick t ORDER BY number DESC LIMIT 1;
    -- What is left of the tick that the relay is in; beyond 10,000 rows by its share of positions.
    unsent_count := CASE
        WHEN reached.number IS NULL OR relay.position >= reached.last_position THEN 0
        WHEN relay.position < reached.first_position THEN reached.row_count
        ELSE ceil(reached.row_count::float8 * (reached.last_position - relay.position)
            / (reached.last_position - reached.first_position + 1)) END;
    IF unsent_count > 0 THEN
        SELECT o.created_at INTO oldest_unsent_at FROM sluice.outbox o
        WHERE o.position > relay.position AND pg_visible_in_snapshot(o.xid, reached.snapshot)
        ORDER BY o.position LIMIT 1;
    END IF;
    SELECT unsent_count + coalesce(sum(t.row_count), 0),
        coalesce(oldest_unsent_at, (SELECT min(o.created_at) FROM sluice.outbox o
            WHERE o.position = min(t.first_position)))
    INTO unsent_count, oldest_unsent_at
    FROM sluice.tick t WHERE t.number > relay.tick;
    SELECT count(*) AS row_count, min(o.created_at) AS oldest, min(o.position) AS first_position
    INTO uncounted
    FROM (SELECT u.created_at, u.position
        FROM sluice.ranges(last_tick.snapshot, pg_current_snapshot()) r CROSS JOIN LATERAL (
            SELECT i.created_at, i.position FROM sluice.outbox i
            WHERE i.xid > r.low AND i.xid < r.high LIMIT 10001) u LIMIT 10001) o;
    IF uncounted.row_count > 10000 THEN
        uncounted.row_count := greatest(uncounted.row_count,
            (SELECT max(o.position) FROM sluice.outbox o) - uncounted.first_position + 1);
    END IF;
    unsent_count := unsent_count + uncounted.row_count;
    oldest_unsent_at := least(oldest_unsent_at, uncounted.oldest);
END
$$;

-- Make the partitions of the days ahead. Runs with its owner's rights; does nothing that is done.
CREATE FUNCTION sluice.maintain(days_ahead integer DEFAULT 3) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    day date;
    partition text;
BEGIN
    FOR day IN SELECT (now() AT TIME ZONE 'UTC')::date + n FROM generate_series(0, days_ahead) n LOOP
        partition := 'outbox_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('sluice.' || partition) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('sluice.maintain'));
        CONTINUE WHEN to_regclass('sluice.' || partition) IS NOT NULL;
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            EXECUTE format('CREATE TABLE sluice.%I (LIKE sluice.outbox INCLUDING DEFAULTS'
                ' INCLUDING CONSTRAINTS)', partition);
            -- Attaching, unlike CREATE TABLE ... PARTITION OF, stops nobody who publishes.
            EXECUTE format('ALTER TABLE sluice.outbox ATTACH PARTITION sluice.%I'
                ' FOR VALUES FROM (%L) TO (%L)', partition,
                day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00');
        EXCEPTION WHEN lock_not_available OR check_violation THEN
            NULL; -- the next call tries again; until then the default partition takes the rows
        END;
    END LOOP;
END
$$;

-- Drop the partitions whose rows were all written before `before` and are all confirmed; from the
-- default partition, delete such rows. Returns about how many rows are gone.
CREATE FUNCTION sluice.retain(before timestamptz, count_max bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relay sluice.relay;
    reached pg_snapshot;   -- of the tick that the relay is in
    confirmed pg_snapshot; -- every row that is visible in it is confirmed
    part record;
    gone record;
    total bigint := 0;
BEGIN
    SELECT * INTO relay FROM sluice.relay r WHERE r.name = 'relay';
    SELECT t.snapshot INTO confirmed FROM sluice.tick t
    WHERE t.number < relay.tick OR (t.number = relay.tick AND t.last_position <= relay.position)
    ORDER BY t.number DESC LIMIT 1;
    SELECT t.snapshot INTO reached FROM sluice.tick t WHERE t.number = relay.tick;
    FOR part IN
        SELECT c.oid, c.relname, greatest(c.reltuples, 1)::bigint AS row_count
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'sluice.outbox'::regclass AND c.relname ~ '^outbox_\d{8}$'
            AND (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' <= before
        ORDER BY c.relname
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            -- Whoever still writes into it, a prepared transaction too, holds a lock: then later.
            EXECUTE format('LOCK TABLE sluice.%I IN ACCESS EXCLUSIVE MODE', part.relname);
            EXECUTE format('SELECT max(position) AS position, max(xid::text::numeric) AS xid,'
                ' bool_or(NOT pg_visible_in_snapshot(xid, $1)) AS is_unsent'
                ' FROM sluice.%I WHERE xid >= pg_snapshot_xmin($1)', part.relname)
            INTO gone USING confirmed;
            CONTINUE WHEN gone.is_unsent;
            EXECUTE format('SELECT (SELECT max(position) FROM sluice.%I) AS position,'
                ' (SELECT xid FROM sluice.%I ORDER BY xid DESC LIMIT 1) AS xid',
                part.relname, part.relname) INTO gone;
            IF gone.position IS NOT NULL THEN
                UPDATE sluice.relay r SET retained_position = gone.position,
                    retained_tick = least(relay.tick, (SELECT coalesce(min(t.number), relay.tick)
                        FROM sluice.tick t WHERE pg_snapshot_xmin(t.snapshot) > gone.xid))
                WHERE r.name = 'relay';
            END IF;
            EXECUTE format('DROP TABLE sluice.%I', part.relname);
            total := total + part.row_count;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    WITH old AS MATERIALIZED (
        SELECT o.ctid FROM ONLY sluice.outbox_default o
        WHERE o.created_at < before AND (pg_visible_in_snapshot(o.xid, confirmed)
            OR (pg_visible_in_snapshot(o.xid, reached) AND o.position <= relay.position))
        LIMIT count_max),
    deleted AS (
        DELETE FROM ONLY sluice.outbox_default o USING old WHERE o.ctid = old.ctid
        RETURNING o.xid, o.position)
    SELECT count(*) AS row_count, max(d.position) AS position, max(d.xid::text::numeric) AS xid
    INTO gone FROM deleted d;
    IF gone.row_count > 0 THEN
        UPDATE sluice.relay r SET retained_position = greatest(retained_position, gone.position),
            retained_tick = greatest(retained_tick, least(relay.tick,
                (SELECT coalesce(min(t.number), relay.tick) FROM sluice.tick t
                    WHERE pg_snapshot_xmin(t.snapshot)::text::numeric > gone.xid)))
        WHERE r.name = 'relay';
    END IF;
    PERFORM sluice.thin_ticks();
    RETURN total + gone.row_count;
END
$$;

-- Ticks of the past are needed to find a place again, but not each of them: those that are confirmed
-- and older than an hour become one a minute, and those of rows that are gone go.
CREATE FUNCTION sluice.thin_ticks() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH past AS MATERIALIZED (
        SELECT t.*, max(t.number) OVER (PARTITION BY date_trunc('minute', t.created_at)) AS kept
        FROM sluice.tick t, sluice.relay r
        WHERE r.name = 'relay' AND t.number < r.tick - 1
            AND t.created_at < now() - interval '1 hour'),
    merged AS (
        UPDATE sluice.tick t SET row_count = m.row_count, first_position = m.first_position,
            last_position = m.last_position, payload_size_max = m.size_max
        FROM (SELECT kept, sum(row_count) AS row_count, min(first_position) AS first_position,
                max(last_position) AS last_position, max(payload_size_max) AS size_max
            FROM past GROUP BY kept HAVING count(*) > 1) m
        WHERE t.number = m.kept)
    DELETE FROM sluice.tick t USING past p WHERE t.number = p.number AND p.number < p.kept;
    DELETE FROM sluice.tick t USING sluice.relay r
    WHERE r.name = 'relay' AND t.number < (
        SELECT max(b.number) FROM sluice.tick b WHERE b.number < r.retained_tick)
$$;

-- Where each retained event stands, from the relay's position alone.
CREATE VIEW sluice.event_status AS
SELECT o.position, o.id, o.aggregatetype AS topic, o.aggregateid AS message_key, o.type, o.created_at,
    CASE
        WHEN d.state = 'FAILED_PERMANENTLY' THEN 'FAILED_PERMANENTLY'
        WHEN d.state IS NOT NULL THEN 'PENDING'
        WHEN pg_visible_in_snapshot(o.xid, before.snapshot) THEN 'SENT'
        WHEN pg_visible_in_snapshot(o.xid, reached.snapshot) AND o.position <= r.position THEN 'SENT'
        ELSE 'PENDING'
    END AS status
FROM sluice.outbox o
JOIN sluice.relay r ON r.name = 'relay'
LEFT JOIN sluice.tick reached ON reached.number = r.tick
LEFT JOIN LATERAL (SELECT t.snapshot FROM sluice.tick t WHERE t.number < r.tick
    ORDER BY t.number DESC LIMIT 1) before ON true
LEFT JOIN sluice.dead_letter d ON d.stage = 'relay' AND d.event_id = o.id::text;

REVOKE EXECUTE ON FUNCTION sluice.next_tick(bigint), sluice.backlog(), sluice.maintain(integer),
    sluice.retain(timestamptz, bigint), sluice.thin_ticks() FROM PUBLIC;
