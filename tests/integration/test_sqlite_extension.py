"""The SQL face: any language publishes in its own transaction, here Python's sqlite3."""
from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Iterator

import pytest
from harness.process import BUILD, ROOT

EVENT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
PUBLISH = "SELECT sluice_publish(?, ?, ?, ?)"
EVENT = ("user-topic", "u1", '{"userId":"u1"}', "UserCreated")


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.enable_load_extension(True)
    connection.load_extension(str(BUILD / "sluice_sqlite.so"))
    return connection


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "app.db")) as opened:
        opened.executescript((ROOT / "src/store/sql/sqlite.sql").read_text())
        yield opened


def rows(database: sqlite3.Connection) -> list[tuple]:
    return database.execute("SELECT id, topic, message_key, type, payload, headers"
                            " FROM sluice_outbox ORDER BY position").fetchall()


def test_an_event_leaves_with_the_commit(database: sqlite3.Connection) -> None:
    database.execute("BEGIN")
    event_id = database.execute(PUBLISH, EVENT).fetchone()[0]
    database.execute("COMMIT")
    assert len(event_id) == 36 and event_id[14] == "7"
    topic, key, payload, kind = EVENT
    assert rows(database) == [(event_id, topic, key, kind, payload.encode(), "{}")]


def test_an_event_vanishes_with_the_rollback(database: sqlite3.Connection) -> None:
    database.execute("BEGIN")
    database.execute(PUBLISH, EVENT)
    database.execute("ROLLBACK")
    assert rows(database) == []


def test_an_event_vanishes_with_its_savepoint(database: sqlite3.Connection) -> None:
    database.execute("BEGIN")
    kept = database.execute(PUBLISH, EVENT).fetchone()[0]
    database.execute("SAVEPOINT s")
    database.execute(PUBLISH, EVENT)
    database.execute("ROLLBACK TO s")
    database.execute("COMMIT")
    assert [row[0] for row in rows(database)] == [kept]


def test_publishing_outside_of_a_transaction_is_an_error(database: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="SLUICE_NO_TRANSACTION.*BEGIN one"):
        database.execute(PUBLISH, EVENT).fetchone()
    assert rows(database) == []


def test_headers_are_kept_and_a_missing_key_stays_missing(database: sqlite3.Connection) -> None:
    database.execute("BEGIN")
    database.execute("SELECT sluice_publish(?, NULL, ?, ?, ?)",
                     ("t", b"\x00\xff", "T", '{"trace":"abc"}')).fetchone()
    database.execute("COMMIT")
    (_, _, key, _, payload, headers), = rows(database)
    assert (key, payload, json.loads(headers)) == (None, b"\x00\xff", {"trace": "abc"})


@pytest.mark.parametrize("event, problem", [
    (("", "k", "{}", "T"), "topic"),
    (("no spaces", "k", "{}", "T"), "topic"),
    (("t" * 250, "k", "{}", "T"), "topic"),
    (("t", "k" * 1025, "{}", "T"), "key"),
    (("t", "line\nbreak", "{}", "T"), "key"),
    (("t", "k", "{}", ""), "type"),
    (("t", "k", "x" * (1024 * 1024 + 1), "T"), "payload"),
])
def test_an_event_beyond_a_limit_is_refused_and_named(
        database: sqlite3.Connection, event: tuple, problem: str) -> None:
    database.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError, match=rf"SLUICE_(INVALID|TOO_LARGE): .*{problem}"):
        database.execute(PUBLISH, event).fetchone()
    database.execute(PUBLISH, EVENT).fetchone()  # the transaction is as it was before
    database.execute("COMMIT")
    assert len(rows(database)) == 1


@pytest.mark.parametrize("headers", ["[]", "{", '{"n": 1}', '{"a b": "v"}', '{"a": "x\\u0001"}'])
def test_headers_that_are_no_object_of_texts_are_refused(
        database: sqlite3.Connection, headers: str) -> None:
    database.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError, match="SLUICE_INVALID: .*header"):
        database.execute("SELECT sluice_publish('t', 'k', '{}', 'T', ?)", (headers,)).fetchone()


def test_the_inbox_tells_the_first_time_from_all_others(database: sqlite3.Connection) -> None:
    begin = "SELECT sluice_inbox_begin('wallet-init', ?)"
    database.execute("BEGIN")
    assert database.execute(begin, (EVENT_ID,)).fetchone() == (1,)
    database.execute("ROLLBACK")
    database.execute("BEGIN")
    assert database.execute(begin, (EVENT_ID,)).fetchone() == (1,)
    assert database.execute(begin, (EVENT_ID,)).fetchone() == (0,)
    database.execute("COMMIT")
    database.execute("BEGIN")
    assert database.execute(begin, (EVENT_ID,)).fetchone() == (0,)
    assert database.execute("SELECT sluice_inbox_begin('another', ?)", (EVENT_ID,)).fetchone() == (1,)


@pytest.mark.parametrize("consumer, event_id", [
    ("", EVENT_ID), ("two words", EVENT_ID), ("c" * 61, EVENT_ID), ("c", "7"), ("c", EVENT_ID.upper())])
def test_the_inbox_refuses_a_bad_name_or_id(
        database: sqlite3.Connection, consumer: str, event_id: str) -> None:
    database.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError, match="SLUICE_INVALID: sluice_inbox_begin takes"):
        database.execute("SELECT sluice_inbox_begin(?, ?)", (consumer, event_id)).fetchone()


def test_the_inbox_needs_a_transaction(database: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="SLUICE_NO_TRANSACTION: cannot mark"):
        database.execute("SELECT sluice_inbox_begin('c', ?)", (EVENT_ID,)).fetchone()


def test_a_database_without_the_tables_is_told_how_to_get_them(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "empty.db")) as database:
        database.execute("BEGIN")
        with pytest.raises(sqlite3.OperationalError, match="sluice init --database sqlite:FILE"):
            database.execute(PUBLISH, EVENT).fetchone()
