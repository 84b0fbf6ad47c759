"""The embedded default: what passes through outbox, relay, log, consumer and gateway.

Beside every rate stands the machine's own SQLite insert rate, taken in the same round: rows like
the outbox's, in transactions of the same size, into a table without an index. It is the ceiling.
"""
from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from common import PROGRAMS, SLUICE, Process, load_text, note, print_table

LOAD = PROGRAMS / "load"
BATCH = 1000
DEADLINE_S = 120

CONFIG = """\
database: sqlite:{folder}/app.db
broker: local:{folder}/log.db
relay:
  batch_events: {batch}
gateway:
  listen: ["127.0.0.1:0"]
  routes:
    - path: /watch/{{key}}
      stream:
        topic: bench
        key: "{{key}}"
        event: /status
console:
  listen: 127.0.0.1:0
"""


def load(*arguments: object) -> dict:
    done = subprocess.run([LOAD, *map(str, arguments)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def daemon(command: str, config: Path) -> Process:
    return Process(SLUICE, command, "--config", config, wait_ready=True)


def log_position(folder: Path) -> int:
    import sqlite3
    with sqlite3.connect(f"file:{folder}/log.db?mode=ro", uri=True) as log:
        row = log.execute("SELECT max(position) FROM source").fetchone()
    return row[0] or 0


def wait_for_position(folder: Path, position: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while log_position(folder) < position:
        if time.monotonic() > deadline:
            raise SystemExit(f"the relay did not reach position {position} in {DEADLINE_S} s")
        time.sleep(0.005)


def write_config(folder: Path) -> Path:
    config = folder / "bench.yaml"
    config.write_text(CONFIG.format(folder=folder, batch=BATCH))
    return config


def round_of_rates(folder: Path, events: int) -> dict[str, float]:
    figures = {"ceiling": load("ceiling", folder / "ceiling.db", events, BATCH)["per_s"]}
    database = f"sqlite:{folder}/app.db"
    figures["publish"] = load("publish", database, events, BATCH)["per_s"]
    start = time.monotonic()
    relay = daemon("relay", write_config(folder))
    wait_for_position(folder, events)
    figures["relay"] = events / (time.monotonic() - start)
    figures["relay_cpu_s_per_million"] = relay.cpu_s() / events * 1e6
    figures["relay_memory_kib"] = relay.pss_kib()
    relay.stop()
    consumed = load("consume", f"sqlite:{folder}/consumer.db", f"local:{folder}/log.db", events)
    figures["consume"] = consumed["per_s"]
    figures["consumer_memory_kib"] = consumed["memory_kib"]
    figures["relay_of_ceiling"] = figures["relay"] / figures["ceiling"]
    return figures


def round_of_latency(folder: Path, rate: int, seconds: int) -> dict[str, float]:
    process = daemon("run", write_config(folder))
    host, port = process.ready["gateway"].removeprefix("http://").rsplit(":", 1)
    figures = load("latency", f"sqlite:{folder}/app.db", host, port, "/watch/watched",
                   rate * seconds, rate)
    figures["run_memory_kib"] = process.pss_kib()
    figures["run_cpu_percent"] = process.cpu_s() / seconds * 100
    process.stop()
    return figures


def round_of_idling(folder: Path, seconds: int) -> dict[str, float]:
    process = daemon("run", write_config(folder))
    time.sleep(1)  # what the start costs is not idling
    before = process.cpu_s()
    time.sleep(seconds)
    figures = {"idle_cpu_percent": (process.cpu_s() - before) / seconds * 100}
    process.stop()
    return figures


ROWS = [
    ("ceiling", "SQLite insert rate (the ceiling)", "rows/s", 0),
    ("publish", "publish into the outbox", "events/s", 0),
    ("relay", "relay, outbox to log", "events/s", 0),
    ("relay_of_ceiling", "relay / ceiling", "", 2),
    ("relay_cpu_s_per_million", "relay, CPU for a million events", "s", 2),
    ("relay_memory_kib", "relay, memory (PSS)", "KiB", 0),
    ("consume", "idempotent consumer", "events/s", 0),
    ("consumer_memory_kib", "idempotent consumer, memory (RSS, most)", "KiB", 0),
    ("p50_ms", "commit to browser at 200/s, p50", "ms", 2),
    ("p99_ms", "commit to browser at 200/s, p99", "ms", 2),
    ("max_ms", "commit to browser at 200/s, slowest", "ms", 2),
    ("run_memory_kib", "relay + gateway + console, memory (PSS)", "KiB", 0),
    ("run_cpu_percent", "relay + gateway + console at 200/s, CPU", "% of a core", 1),
    ("idle_cpu_percent", "relay + gateway + console, idle CPU", "% of a core", 2),
]


def run(options, addresses: dict[str, str]) -> None:
    del addresses
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        note(f"embedded, round {number + 1} of {options.rounds}")
        figures: dict[str, float] = {}
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
            figures.update(round_of_rates(Path(name), options.events))
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
            figures.update(round_of_latency(Path(name), 200, options.seconds))
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
            figures.update(round_of_idling(Path(name), options.seconds))
        rounds.append(figures)
    print_table(f"## The embedded default: {options.rounds} rounds, {options.events:,} events of 200"
                f" bytes, {BATCH} to a transaction; at the end {load_text()}", rounds, ROWS)
