"""What an event costs the business transaction that publishes it: pgbench with and without.

Every transaction inserts an order and computes the event's payload; then it publishes it, or
inserts it by hand into a table as lean as an outbox can be, or leaves it. The same for a service in
C, which publishes with libsluice on its own connection. CPU is all that the server's sessions used.
"""
from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

from common import (PROGRAMS, Database, Rows, cpu_of_children, load_text, note, print_table,
                    wait_for)

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


C_KINDS = ("c_none", "c_publish")
# Rows are only ever inserted here, so that nobody's vacuum falls into anybody's measure.
ONLY_INSERTS = """DO $$ DECLARE one regclass; BEGIN
  FOR one IN SELECT oid FROM pg_class WHERE relkind = 'r' AND (relname IN ('orders', 'lean_outbox')
    OR relname LIKE 'outbox%' AND relnamespace = 'sluice'::regnamespace) LOOP
    EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', one);
  END LOOP; END $$"""


def sessions(postmaster: int, database: str) -> int:
    """How many of the server's processes are sessions of a database, or have not been reaped."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            title = (process / "cmdline").read_bytes() if parent == postmaster else None
        except OSError:
            continue
        count += title is not None and (title == b"" or f" {database} ".encode() in title)
    return count


def pgbench(database: Database, script: Path, seconds: int) -> tuple[float, int]:
    done = subprocess.run(
        ["pgbench", "--no-vacuum", "--client", str(CLIENTS), "--jobs", "2", "--protocol", "prepared",
         "--time", str(seconds), "--file", script, database.url],
        check=True, capture_output=True, text=True)
    return (float(re.search(r"^tps = ([0-9.]+)", done.stdout, re.M).group(1)),
            int(re.search(r"actually processed: (\d+)", done.stdout).group(1)))


def c_service(database: Database, kind: str, seconds: int) -> tuple[float, int]:
    done = subprocess.run(
        [PROGRAMS / "publish_load", database.url, str(CLIENTS), str(seconds),
         kind.removeprefix("c_")], check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    return result["tps"], result["count"]


def measure(database: Database, folder: Path, kind: str, seconds: int) -> dict[str, float]:
    """One run, on empty tables. The CPU of a session counts once its process is reaped."""
    database.sql("TRUNCATE orders, lean_outbox, sluice.outbox")
    database.sql("CHECKPOINT")
    postmaster = database.postmaster()
    wait_for("no session of another run is left", lambda: sessions(postmaster, database.name) == 0)
    before = cpu_of_children(postmaster)
    if kind in C_KINDS:
        tps, count = c_service(database, kind, seconds)
    else:
        script = folder / f"{kind}.sql"
        script.write_text(SCRIPT.format(statement=STATEMENTS[kind].replace("\n", " ")))
        tps, count = pgbench(database, script, seconds)
    wait_for("the sessions have ended", lambda: sessions(postmaster, database.name) == 0)
    cpu_us = (cpu_of_children(postmaster) - before) / count * 1e6
    note(f"{kind}: {tps:,.0f} tps, {cpu_us:.0f} us CPU, {load_text()}")
    return {f"{kind}_tps": tps, f"{kind}_cpu_us": cpu_us}


def one_round(database: Database, folder: Path, seconds: int, number: int) -> dict[str, float]:
    """Every kind once; each round begins with another one."""
    figures: dict[str, float] = {}
    kinds = [*STATEMENTS, *C_KINDS]
    for i in range(len(kinds)):
        figures |= measure(database, folder, kinds[(i + number) % len(kinds)], seconds)
    for kind, none in (("bare", "none"), ("publish", "none"), ("c_publish", "c_none")):
        figures[f"{kind}_of_none"] = figures[f"{kind}_tps"] / figures[f"{none}_tps"]
        figures[f"{kind}_more_us"] = figures[f"{kind}_cpu_us"] - figures[f"{none}_cpu_us"]
    return figures


def run(options, addresses: dict[str, str]) -> None:
    database = Database(addresses["postgresql"])
    try:
        database.sql(TABLES)
        database.sql(ONLY_INSERTS)
        rounds = []
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
            for number in range(options.rounds):
                note(f"publish, round {number + 1} of {options.rounds}")
                rounds.append(one_round(database, Path(name), options.seconds, number))
        rows: Rows = [
            ("publish_of_none", "**with sluice.publish / without an event**", "", 3),
            ("bare_of_none", "with a bare INSERT / without an event", "", 3),
            ("c_publish_of_none", "**C service with sluice_publish / without an event**", "", 3),
            ("none_tps", "without an event", "transactions/s", 0),
            ("bare_tps", "a bare INSERT into a lean table", "transactions/s", 0),
            ("publish_tps", "sluice.publish", "transactions/s", 0),
            ("none_cpu_us", "without an event, server CPU a transaction", "us", 0),
            ("bare_more_us", "a bare INSERT, more", "us", 0),
            ("publish_more_us", "sluice.publish, more", "us", 0),
            ("c_none_tps", "C service without an event", "transactions/s", 0),
            ("c_publish_tps", "C service with sluice_publish", "transactions/s", 0),
            ("c_none_cpu_us", "C service without an event, server CPU a transaction", "us", 0),
            ("c_publish_more_us", "C service with sluice_publish, more", "us", 0),
        ]
        print_table(f"## What sluice.publish costs a transaction (pgbench, {CLIENTS} clients,"
                    f" {options.rounds} rounds of {options.seconds} s; at the end {load_text()})",
                    rounds, rows)
    finally:
        database.drop()
