"""A consumer on PostgreSQL and Kafka with the inbox, and one without.

Both apply the same topic: 256 events to a transaction, one UPDATE an event, and the offsets are
committed after the database. The one without the inbox applies events again after a crash.
"""
from __future__ import annotations

import json
import subprocess

from common import (PROGRAMS, Database, Rows, Topics, cpu_of_children, load_text, note, print_table,
                    wait_for)

TOPIC = "inbox"
TABLE = """
CREATE TABLE account (id text PRIMARY KEY, balance bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
INSERT INTO account (id) SELECT i::text FROM generate_series(0, 9999) i;
"""


def measure(database: Database, postmaster: int, kind: str, *arguments: object) -> dict[str, float]:
    before = cpu_of_children(postmaster)
    database.sql("UPDATE account SET balance = 0")
    database.sql("VACUUM account")
    done = subprocess.run([str(word) for word in arguments], check=True, capture_output=True,
                          text=True)
    figures = json.loads(done.stdout)
    others = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sluice%'"
    wait_for("the consumer's session has ended", lambda: database.sql(others)[0][0] == 0)
    figures["server_cpu_s"] = cpu_of_children(postmaster) - before
    note(f"{kind}: {figures['per_s']:,.0f}/s, {load_text()}")
    return figures


def one_round(database: Database, topics: Topics, broker: str, events: int) -> dict[str, float]:
    postmaster = database.postmaster()
    figures: dict[str, float] = {}
    database.sql("TRUNCATE sluice.inbox, sluice.consumer")
    runs = {
        "none": [PROGRAMS / "relay_load", "apply", database.url, topics.servers, TOPIC, events],
        "inbox": [PROGRAMS / "load", "apply", database.url, broker, TOPIC, events],
    }
    for kind, arguments in runs.items():
        result = measure(database, postmaster, kind, *arguments)
        applied = int(database.sql("SELECT sum(balance) FROM account")[0][0])
        if applied < events:
            raise SystemExit(f"{kind}: {applied} of {events} events applied")
        figures |= {f"{kind}_{name}": value for name, value in result.items()}
    figures["of_none"] = figures["inbox_per_s"] / figures["none_per_s"]
    return figures


def run(options, addresses: dict[str, str]) -> None:
    topics = Topics(addresses["kafka"])
    database = Database(addresses["postgresql"])
    try:
        database.sql(TABLE)
        rounds = []
        for number in range(options.rounds):
            note(f"inbox, round {number + 1} of {options.rounds}")
            topics.make_new(TOPIC)
            subprocess.run([PROGRAMS / "relay_load", "fill", topics.servers, TOPIC,
                            str(options.events)], check=True)
            rounds.append(one_round(database, topics, addresses["kafka"], options.events))
        rows: Rows = [
            ("of_none", "**with the inbox / without**", "", 2),
            ("none_per_s", "without an inbox", "events/s", 0),
            ("inbox_per_s", "with the inbox", "events/s", 0),
            ("none_cpu_s", "without an inbox, consumer's CPU", "s", 2),
            ("inbox_cpu_s", "with the inbox, consumer's CPU", "s", 2),
            ("none_server_cpu_s", "without an inbox, server's CPU", "s", 2),
            ("inbox_server_cpu_s", "with the inbox, server's CPU", "s", 2),
        ]
        print_table(f"## A consumer with and without the inbox: {options.events:,} events, 256 to a"
                    f" transaction ({options.rounds} rounds; at the end {load_text()})", rounds, rows)
    finally:
        database.drop()
