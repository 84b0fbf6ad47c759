"""The sluice command run to its end, and databases made the way a service in any language does."""
from __future__ import annotations

import os
import sqlite3
import subprocess
import uuid
from contextlib import closing
from pathlib import Path

from .process import program

FREE = ["--gateway.listen=127.0.0.1:0", "--console.listen=127.0.0.1:0"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def sluice(*words: str | Path, prefix: list[str] | None = None, environment: dict | None = None,
           cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a command that ends by itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return subprocess.run([*(prefix or []), program("sluice"), *map(str, words)], text=True,
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL, cwd=cwd,
                          env={**clean, "NO_COLOR": "1", **(environment or {})})


def fails(*words: str | Path, status: int = 1, **options) -> str:
    """Run a command that must fail with this status and an empty stdout; what it said."""
    done = sluice(*words, **options)
    assert (done.returncode, done.stdout) == (status, ""), (done.stdout, done.stderr)
    return done.stderr


def works(*words: str | Path, **options) -> str:
    """Run a command that must work; its stdout."""
    done = sluice(*words, **options)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


class Database:
    """A database with sluice's tables."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:{path}"
        works("init", "--database", self.url)

    def run(self, sql: str, *values) -> list[tuple]:
        with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
            return connection.execute(sql, values).fetchall()

    def publish(self, topic: str, key: str | None, payload: str | bytes = "{}",
                type: str = "Tested") -> str:
        """Write an event into the outbox; its id."""
        event_id = str(uuid.uuid4())
        self.run("INSERT INTO sluice_outbox (id, topic, message_key, type, payload)"
                 " VALUES (?, ?, ?, ?, ?)", event_id, topic, key, type, payload)
        return event_id

    def hold(self, key: str | None, state: str = "FAILED_PERMANENTLY", stage: str = "relay",
             topic: str = "orders", reason: str = "it is refused", payload: str = '{"a": 1}') -> str:
        """Put a dead letter of an event into the table, as relay and consumers do; its id."""
        event_id = str(uuid.uuid4())
        self.run("INSERT INTO sluice_dead_letter (stage, event_id, topic, message_key, type,"
                 " payload, headers, created_at, state, attempts, next_attempt_at, held_at, reason)"
                 " VALUES (?, ?, ?, ?, 'Tested', ?, '{}', 1795000000000, ?, 3, 9999999999999,"
                 " 1795000000000, ?)", stage, event_id, topic, key, payload, state, reason)
        return event_id

    def held(self) -> list[tuple]:
        """(key, state) of each dead letter, in order."""
        return self.run("SELECT message_key, state FROM sluice_dead_letter ORDER BY number")
