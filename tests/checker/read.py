"""Reading what a run left behind: SQLite files and the clients' notes."""
from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator

from .model import Client, Event, LedgerRow, Record

# A record's place in the log: partition id * 2^40 + offset.
OFFSET_BITS = 40


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open for reading; a file that is missing is an error, not a new database."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there")
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield connection


def as_bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def outbox(path: Path) -> list[Event]:
    with database(path) as connection:
        return [Event(path.name, position, event_id, topic, key, as_bytes(payload))
                for position, event_id, topic, key, payload in connection.execute(
                    "SELECT position, id, topic, message_key, payload FROM sluice_outbox"
                    " ORDER BY position")]


def log(path: Path) -> list[Record]:
    with database(path) as connection:
        partitions = {number: (topic, partition) for number, topic, partition in connection.execute(
            "SELECT p.id, t.name, p.number FROM partition p JOIN topic t ON t.id = p.topic_id")}
        return [Record(*partitions[place >> OFFSET_BITS], place & ((1 << OFFSET_BITS) - 1),
                       event_id, key, as_bytes(payload))
                for place, event_id, key, payload in connection.execute(
                    "SELECT place, event_id, message_key, payload FROM record ORDER BY place")]


def ledger(path: Path, query: str) -> list[LedgerRow]:
    """`query` gives key, version, name and event id."""
    with database(path) as connection:
        return [LedgerRow(str(key), version, name, event_id)
                for key, version, name, event_id in connection.execute(query)]


def markers(path: Path, consumer: str) -> list[str]:
    with database(path) as connection:
        return [row[0] for row in connection.execute(
            "SELECT event_id FROM sluice_inbox WHERE consumer = ?", (consumer,))]


def dead_letters(path: Path, stage: str) -> set[str]:
    with database(path) as connection:
        return {row[0] for row in connection.execute(
            "SELECT event_id FROM sluice_dead_letter"
            " WHERE stage = ? AND state = 'FAILED_PERMANENTLY'", (stage,))}


def column(path: Path, query: str) -> list[str]:
    with database(path) as connection:
        return [row[0] for row in connection.execute(query)]


def clients(path: Path) -> list[Client]:
    """One line of JSON a client: name, key, seen [[version, name], ...], resets, ended."""
    found = []
    for line in path.read_text().splitlines():
        note = json.loads(line)
        found.append(Client(note["name"], str(note["key"]),
                            [(version, name) for version, name in note["seen"]],
                            set(note.get("resets", [])), bool(note["ended"])))
    return found
