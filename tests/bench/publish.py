"""What an event costs the business transaction that publishes it: pgbench with and without.

Every transaction inserts an order and computes the event's payload; then it publishes it, or
inserts it by hand into a table as lean as an outbox can be, or leaves it. CPU is all that the
server's sessions used.
"""
from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from common import Database, Rows, cpu_of_children, load_text, note, print_table, wait_for

CLIENTS = 8
PAYLOAD = """json_build_object('order_id', :number::bigint, 'customer', :customer::bigint, 'status', 'ACCEPTED',
 'items', repeat(md5(:number::text), 6), 'currency', 'KRW')::text"""
SCRIPT = """\\set number random(1, 1000000000)
\\set customer random(1, 10000)
BEGIN;
INSERT INTO orders (customer, amount, status) VALUES (:customer, :number, 'ACCEPTED');
{statement};
END;
"""
STATEMENTS = {
    "none": f"SELECT {PAYLOAD}",
    "bare": ("INSERT INTO lean_outbox (topic, key, type, payload)"
             f" SELECT 'order', :customer::text, 'OrderAccepted', {PAYLOAD}"),
    "publish": ("SELECT sluice.publish(topic => 'order', key => :customer::text,"
                f" payload => {PAYLOAD}, type => 'OrderAccepted')"),
}
TABLES = """
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL, amount int NOT NULL,
  status text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE lean_outbox (position bigint GENERATED ALWAYS AS IDENTITY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(), id uuid NOT NULL DEFAULT gen_random_uuid(),
  topic text NOT NULL, key text, type text NOT NULL, payload text NOT NULL);
CREATE INDEX ON lean_outbox (xid);
"""


def pgbench(database: Database, script: Path, seconds: int, postmaster: int) -> dict[str, float]:
    others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'"
    before = cpu_of_children(postmaster)
    done = subprocess.run(
        ["pgbench", "--no-vacuum", "--client", str(CLIENTS), "--jobs", "2", "--protocol", "prepared",
         "--time", str(seconds), "--file", script, database.url],
        check=True, capture_output=True, text=True)
    wait_for("pgbench's sessions have ended", lambda: database.sql(others)[0][0] == 0)
    tps = float(re.search(r"^tps = ([0-9.]+)", done.stdout, re.M).group(1))
    count = int(re.search(r"actually processed: (\d+)", done.stdout).group(1))
    return {"tps": tps, "cpu_us": (cpu_of_children(postmaster) - before) / count * 1e6}


def one_round(database: Database, folder: Path, seconds: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    postmaster = database.postmaster()
    for kind, statement in STATEMENTS.items():
        script = folder / f"{kind}.sql"
        script.write_text(SCRIPT.format(statement=statement.replace("\n", " ")))
        result = pgbench(database, script, seconds, postmaster)
        note(f"{kind}: {result['tps']:,.0f} tps, {result['cpu_us']:.0f} us CPU, {load_text()}")
        figures |= {f"{kind}_{name}": value for name, value in result.items()}
    for kind in ("bare", "publish"):
        figures[f"{kind}_of_none"] = figures[f"{kind}_tps"] / figures["none_tps"]
        figures[f"{kind}_more_us"] = figures[f"{kind}_cpu_us"] - figures["none_cpu_us"]
    return figures


def run(options, addresses: dict[str, str]) -> None:
    database = Database(addresses["postgresql"])
    try:
        database.sql(TABLES)
        rounds = []
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
            for number in range(options.rounds):
                note(f"publish, round {number + 1} of {options.rounds}")
                rounds.append(one_round(database, Path(name), options.seconds))
        rows: Rows = [
            ("publish_of_none", "**with sluice.publish / without an event**", "", 3),
            ("bare_of_none", "with a bare INSERT / without an event", "", 3),
            ("none_tps", "without an event", "transactions/s", 0),
            ("bare_tps", "a bare INSERT into a lean table", "transactions/s", 0),
            ("publish_tps", "sluice.publish", "transactions/s", 0),
            ("none_cpu_us", "without an event, server CPU a transaction", "us", 0),
            ("bare_more_us", "a bare INSERT, more", "us", 0),
            ("publish_more_us", "sluice.publish, more", "us", 0),
        ]
        print_table(f"## What sluice.publish costs a transaction (pgbench, {CLIENTS} clients,"
                    f" {options.rounds} rounds of {options.seconds} s; at the end {load_text()})",
                    rounds, rows)
    finally:
        database.drop()
