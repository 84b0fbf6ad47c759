"""A backlog in PostgreSQL to Kafka: the relay beside its floor, a polling worker, and Debezium.

Everything reads the same rows and writes a topic of 6 partitions, in turn, round by round. A rate
runs from the first message that is seen in the topic to the last; CPU is the process's own in that
time. The floor reads pages of rows straight into a producer, and promises nothing.
"""
from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import debezium
from common import PROGRAMS, SLUICE, Database, Process, Rows, Topics, load_text, note, print_table

TOPIC = "order"
TIMEOUT_S = 900
WARM_UP = 500_000  # events

# About 300 bytes of JSON, 10,000 keys, 10 events to a transaction.
PRELOAD = """
CREATE PROCEDURE preload(n bigint) LANGUAGE plpgsql AS $$ BEGIN
  FOR i IN 0..(n / 10 - 1) LOOP
    INSERT INTO sluice.outbox (aggregatetype, aggregateid, type, payload)
    SELECT 'order', (hashint8(i * 10 + j) & 2147483647) % 10000, 'OrderAccepted',
      convert_to(format('{"seq": %s, "items": "%s", "amount": %s, "status": "ACCEPTED",'
        ' "currency": "KRW", "order_id": "%s", "customer": "%s"}', i * 10 + j,
        repeat(md5((i * 10 + j)::text), 5), i % 1000000, i, j), 'UTF8')
    FROM generate_series(0, 9) j;
    COMMIT;
  END LOOP;
END $$
"""

# The worker's own table, indexed as such tables are.
POLL_TABLE = [
    "DROP TABLE IF EXISTS outbox_poll",
    "CREATE TABLE outbox_poll AS SELECT position AS seq, id::text, aggregateid, payload"
    " FROM sluice.outbox",
    "CREATE UNIQUE INDEX ON outbox_poll (id)",
    "CREATE INDEX ON outbox_poll (seq)",
    "VACUUM ANALYZE outbox_poll",
]

# As if no relay had been there yet. A user has `sluice init --new-identity`, which is slower.
SEND_AGAIN = ("DELETE FROM sluice.tick WHERE number > 0; UPDATE sluice.relay SET tick = 0,"
              " position = 0, updated_at = 0, lease_ends_at = 0")


def preload(database: Database, rows: int) -> None:
    import psycopg2
    database.sql(PRELOAD)
    connection = psycopg2.connect(database.url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = off")
    cursor.execute("CALL preload(%s)", (rows,))
    connection.close()
    database.sql("VACUUM ANALYZE sluice.outbox")


def watch(process: Process, topics: Topics, topic: str, total: int) -> dict[str, float]:
    """What a drain of `total` messages into an empty topic takes."""
    start = time.monotonic()
    first = None
    count = 0
    while count < total:
        process.check()
        count = topics.count(topic)
        now = time.monotonic()
        if count > 0 and first is None:
            first = (now, count, process.cpu_s())
        if now - start > TIMEOUT_S:
            raise SystemExit(f"only {count} of {total} messages in {TIMEOUT_S} s")
        # Rarely: who counts takes from the two cores, too.
        time.sleep(0.01 if first is None else 0.05)
    counted = total - first[1]
    return {
        "rate": counted / (now - first[0]),
        "cpu_s_per_million": (process.cpu_s() - first[2]) / counted * 1e6,
        "peak_mib": process.peak_mib(),
        "first_s": first[0] - start,
    }


def drain(start: Callable[[], Process], topics: Topics, topic: str, total: int) -> dict[str, float]:
    topics.make_new(topic)
    process = start()
    try:
        return watch(process, topics, topic, total)
    finally:
        process.stop()


def warm_up(topics: Topics) -> None:
    """A broker that has just started would be slow for whoever comes first."""
    topics.make_new(TOPIC)
    subprocess.run([PROGRAMS / "relay_load", "fill", topics.servers, TOPIC, str(WARM_UP)],
                   check=True)


def one_round(database: Database, topics: Topics, broker: str, rows: int,
              peer: debezium.Debezium | None) -> dict[str, float]:
    kinds = {
        "floor": lambda: Process(PROGRAMS / "relay_load", "floor", database.url, topics.servers,
                                 TOPIC, 10000),
        "relay": lambda: Process(SLUICE, "relay", "--database", database.url, "--broker", broker,
                                 "--console.listen", "127.0.0.1:0"),
        "worker": lambda: Process("/usr/bin/python3", Path(__file__).with_name("polling_worker.py"),
                                  database.url, topics.servers, TOPIC, 1000),
    }
    figures: dict[str, float] = {}
    for kind, start in kinds.items():
        if kind == "worker":
            for statement in POLL_TABLE:
                database.sql(statement)
        database.sql(SEND_AGAIN)
        result = drain(start, topics, TOPIC, rows)
        note(f"{kind}: {result['rate']:,.0f}/s, {result['cpu_s_per_million']:.2f} CPU s/M,"
             f" {load_text()}")
        figures |= {f"{kind}_{name}": value for name, value in result.items()}
    figures["of_floor"] = figures["relay_rate"] / figures["floor_rate"]
    figures["cpu_of_floor"] = (figures["relay_cpu_s_per_million"]
                               / figures["floor_cpu_s_per_million"])
    figures["of_worker"] = figures["relay_rate"] / figures["worker_rate"]
    if peer is not None:
        result = drain(lambda: peer.start(database, topics.servers), topics, peer.topic, rows)
        note(f"debezium: {result['rate']:,.0f}/s, {load_text()}")
        figures |= {f"debezium_{name}": value for name, value in result.items()}
        figures["of_debezium"] = figures["relay_rate"] / figures["debezium_rate"]
        peer.clean(database)
    return figures


def rows_of_table() -> Rows:
    rows: Rows = [
        ("of_floor", "**relay / floor**", "", 2),
        ("of_worker", "**relay / polling worker**", "", 2),
        ("of_debezium", "**relay / Debezium Server**", "", 2),
        ("cpu_of_floor", "relay / floor, CPU", "", 2),
    ]
    for kind, title in (("relay", "relay"), ("floor", "floor"), ("worker", "polling worker"),
                        ("debezium", "Debezium Server, best setting")):
        rows += [
            (f"{kind}_rate", title, "events/s", 0),
            (f"{kind}_cpu_s_per_million", f"{title}, CPU for a million events", "s", 2),
            (f"{kind}_peak_mib", f"{title}, memory (RSS, most)", "MiB", 0),
            (f"{kind}_first_s", f"{title}, first event after its start", "s", 2),
        ]
    return rows


def run(options, addresses: dict[str, str]) -> None:
    topics = Topics(addresses["kafka"])
    database = Database(addresses["postgresql"])
    try:
        peer = debezium.Debezium(database) if options.debezium else None
        note(f"writing {options.rows:,} rows")
        preload(database, options.rows)
        if peer is not None:
            peer.preload(database, options.rows)
        warm_up(topics)
        rounds = []
        for number in range(options.rounds):
            note(f"drain, round {number + 1} of {options.rounds}")
            rounds.append(one_round(database, topics, addresses["kafka"], options.rows, peer))
        print_table(f"## PostgreSQL to Kafka: a backlog of {options.rows:,} events of 300 bytes"
                    f" ({options.rounds} rounds; at the end {load_text()})", rounds,
                    rows_of_table())
    finally:
        if options.debezium:
            debezium.drop_slots(database)
        database.drop()
