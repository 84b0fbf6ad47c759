"""An outbox in a SQLite file, a relay to Kafka, and the judgement of what has arrived there."""
from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path

from .process import program
from .waiting import wait_until

KEYS = 10


def sluice(*words: object, timeout: float = 60) -> str:
    done = subprocess.run([program("sluice"), *map(str, words)], capture_output=True, text=True,
                          timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Outbox:
    """Rows are written as any service would: keys in turn, numbered within the whole."""

    def __init__(self, folder: Path, broker: str, topic: str) -> None:
        self.file = folder / "app.db"
        self.url = f"sqlite:{self.file}"
        self.broker = broker
        self.topic = topic
        self.count = 0
        sluice("init", "--database", self.url)

    def rows(self, sql: str, *arguments) -> list[tuple]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection:
            return connection.execute(sql, arguments).fetchall()

    def publish(self, count: int, payload: str = "{}") -> None:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            connection.executemany(
                "INSERT INTO sluice_outbox (topic, message_key, type, payload, headers)"
                " VALUES (?, ?, 'Moved', ?, ?)",
                [(self.topic, f"key-{number % KEYS}", payload, json.dumps({"n": str(number)}))
                 for number in range(self.count, self.count + count)])
        self.count += count

    def relay_command(self, *options: str) -> list[str]:
        return [program("sluice"), "relay", "--database", self.url, "--broker", self.broker,
                "--console.listen=127.0.0.1:0", *options]

    def sent(self) -> int:
        """How many events are confirmed."""
        return (self.rows("SELECT max(position) FROM sluice_relay")[0][0]) or 0

    def wait_sent(self, seconds: float = 60) -> None:
        wait_until(lambda: self.sent() == self.count, "all events are confirmed", seconds)

    def arrived(self) -> list[dict]:
        return [json.loads(line) for line in sluice(
            "tail", "--broker", self.broker, "--topic", self.topic, "--from", "start", "--exit",
            "--json").splitlines()]

    def check_arrived(self, may_be_doubled: bool = False) -> None:
        """Each event once, and each key in the order of the outbox.

        With `may_be_doubled` a copy may follow, as after a pause of Kafka: what lay in its sockets
        then is taken after the relay has looked whether it is there.
        """
        wanted: dict[str, list[str]] = {}
        for event_id, key in self.rows(
                "SELECT id, message_key FROM sluice_outbox ORDER BY position"):
            wanted.setdefault(key, []).append(event_id)
        found: dict[str, list[str]] = {}
        ids: set[str] = set()
        for record in sorted(self.arrived(), key=lambda record: record["offset"]):
            if may_be_doubled and record["id"] in ids:
                continue
            ids.add(record["id"])
            found.setdefault(record["key"], []).append(record["id"])
        total = sum(map(len, found.values()))
        assert total == self.count, f"{total} records of {self.count} events"
        assert found == wanted
        assert self.rows("SELECT count(*) FROM sluice_dead_letter") == [(0,)]


class Writer:
    """Publishes a few events at a time until it is told to stop."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.is_stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.is_stopped.wait(0.01):
            self.outbox.publish(20)

    def stop(self) -> None:
        self.is_stopped.set()
        self.thread.join()
