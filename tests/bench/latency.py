"""From the commit's return to a Kafka consumer, at a steady rate of single-event transactions."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path

from common import PROGRAMS, SLUICE, Database, Rows, Topics, load_text, note, print_table, running

TOPIC = "latency"
WRITERS = 8  # so many that a slow disk is no matter: their commits share its syncs
PUBLISH = f"SELECT sluice.publish('{TOPIC}', $1::text, $2::text, 'OrderAccepted')"
INSERT = ("INSERT INTO outbox_poll (id, aggregateid, payload)"
          " VALUES (gen_random_uuid()::text, $1::text, convert_to($2::text, 'UTF8'))")


def measure(database: Database, topics: Topics, sql: str, options) -> dict[str, float]:
    done = subprocess.run(
        [PROGRAMS / "relay_load", "latency", database.url, topics.servers, TOPIC,
         str(options.rate), str(options.seconds), str(WRITERS), sql],
        check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    if figures["missing"] != 0:
        raise SystemExit(f"{figures['missing']} events did not arrive")
    if figures["written_per_s"] < 0.95 * options.rate:
        note(f"no measure of {options.rate} events/s: the writers got no further than"
             f" {figures['written_per_s']}/s, which is this machine's bound, not the relay's")
    return figures


def one_round(database: Database, topics: Topics, broker: str, options) -> dict[str, float]:
    figures: dict[str, float] = {}
    kinds = {
        "relay": ([SLUICE, "relay", "--database", database.url, "--broker", broker,
                   "--console.listen", "127.0.0.1:0"], PUBLISH),
        "worker": (["/usr/bin/python3", Path(__file__).with_name("polling_worker.py"),
                    database.url, topics.servers, TOPIC, 1000], INSERT),
    }
    for kind, (command, sql) in kinds.items():
        with running(*command) as process:
            result = measure(database, topics, sql, options)
            result["cpu_percent"] = process.cpu_s() / options.seconds * 100
            result["peak_mib"] = process.peak_mib()
        note(f"{kind}: p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms, {load_text()}")
        figures |= {f"{kind}_{name}": value for name, value in result.items()}
    return figures


def run(options, addresses: dict[str, str]) -> None:
    topics = Topics(addresses["kafka"])
    database = Database(addresses["postgresql"])
    try:
        topics.make_new(TOPIC)
        database.sql("CREATE TABLE outbox_poll (seq bigserial PRIMARY KEY, id text NOT NULL,"
                     " aggregateid text NOT NULL, payload bytea NOT NULL)")
        note("a round that is not counted, since a broker that has just started is slow")
        one_round(database, topics, addresses["kafka"], options)
        rounds = []
        for number in range(options.rounds):
            note(f"latency, round {number + 1} of {options.rounds}")
            rounds.append(one_round(database, topics, addresses["kafka"], options))
        rows: Rows = []
        for kind, title in (("relay", "relay"), ("worker", "polling worker (polls every 100 ms)")):
            rows += [
                (f"{kind}_p50_ms", f"{title}, p50", "ms", 2),
                (f"{kind}_p99_ms", f"{title}, p99", "ms", 2),
                (f"{kind}_p999_ms", f"{title}, p99.9", "ms", 2),
                (f"{kind}_written_per_s", f"{title}, written", "events/s", 0),
                (f"{kind}_cpu_percent", f"{title}, CPU", "% of a core", 1),
                (f"{kind}_peak_mib", f"{title}, memory (RSS, most)", "MiB", 0),
            ]
        print_table(f"## Commit to consumer, {options.rate} events/s, one a transaction"
                    f" ({options.rounds} rounds of {options.seconds} s; at the end {load_text()})",
                    rounds, rows)
    finally:
        database.drop()
