"""`sluice doctor`: each thing that can be wrong is put there, and named with its cause and remedy."""
from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.command import NOBODY, Database, sluice
from harness.process import Process, program
from harness.waiting import wait_until

Start = Callable[..., Process]
LONG_AGO = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) - 600000"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "app.db")


@pytest.fixture
def broker(tmp_path: Path) -> str:
    return f"local:{tmp_path}/log.db"


@pytest.fixture
def port() -> Iterator[tuple[int, socket.socket]]:
    """A port that another program has, which answers nobody."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1], listener


def run_relay_once(start: Start, database: Database, broker: str) -> None:
    """A relay brings what there is to the log and ends."""
    relay = start([program("sluice"), "relay", "--database", database.url, "--broker", broker,
                   "--console.listen=127.0.0.1:0"])
    relay.wait_ready()
    wait_until(lambda: database.run("SELECT max(position) <= (SELECT position FROM sluice_relay)"
                                    " FROM sluice_outbox") == [(1,)], "all events are sent")
    assert relay.end() == 0


def findings(*words: str | Path, **options) -> tuple[int, list[dict]]:
    done = sluice("doctor", "--json", *words, **options)
    return done.returncode, json.loads(done.stdout)


def wrong(*words: str | Path, **options) -> list[tuple[str, str, str]]:
    """(level, check, text) of everything that is not ok."""
    status, found = findings(*words, **options)
    bad = [(each["level"], each["check"], each["text"]) for each in found if each["level"] != "ok"]
    assert status == (1 if any(level == "fail" for level, _, _ in bad) else 0), bad
    return bad


def only(*words: str | Path, **options) -> tuple[str, str, str]:
    """The one thing that is not ok."""
    bad = wrong(*words, **options)
    assert len(bad) == 1, bad
    return bad[0]


def both(database: Database, broker: str) -> list[str]:
    return ["--database", database.url, "--broker", broker, "--console.listen=off"]


def test_a_healthy_system_is_found_healthy(start: Start, database: Database, broker: str) -> None:
    database.publish("orders", "k")
    run_relay_once(start, database, broker)
    status, found = findings(*both(database, broker))
    assert status == 0 and {each["level"] for each in found} == {"ok"}
    checks = {each["check"] for each in found}
    assert checks >= {"config", "file", "disk space", "database", "rights", "clock", "unsent",
                      "parked key", "broker"}
    text = sluice("doctor", *both(database, broker)).stdout
    assert text.endswith(f"{len(found)} ok, 0 warnings, 0 failures\n")
    # Nothing that was tried is left.
    assert database.run("SELECT count(*) FROM sluice_outbox") == [(1,)]
    assert database.run("SELECT count(*) FROM sluice_inbox") == [(0,)]
    assert database.run("SELECT count(*) FROM sluice_dead_letter") == [(0,)]


def test_an_unknown_key_of_the_config(tmp_path: Path, database: Database) -> None:
    config = tmp_path / "app.yaml"
    config.write_text(f"database: {database.url}\nrelay:\n  atempts_max: 4\n")
    level, check, text = only("--config", config)
    assert (level, check) == ("fail", "config")
    assert "atempts_max" in text and "attempts_max" in text and "line 3" in text


def test_a_missing_database_and_missing_tables(tmp_path: Path, broker: str) -> None:
    bad = wrong("--database", f"sqlite:{tmp_path}/no.db", "--broker", broker, "--console.listen=off")
    assert [(level, check) for level, check, _ in bad] == [("warn", "broker"), ("fail", "database")]
    assert "there is no local log" in bad[0][2] and "sluice init" in bad[1][2]
    sqlite3.connect(tmp_path / "no.db").executescript("CREATE TABLE theirs (n)")
    bad = wrong("--database", f"sqlite:{tmp_path}/no.db", "--broker", broker, "--console.listen=off")
    assert "tables are missing" in bad[1][2] and "sluice init" in bad[1][2]
    assert not (tmp_path / "log.db").exists()


def test_an_older_and_a_newer_schema(database: Database) -> None:
    database.run("UPDATE sluice_meta SET value = '1' WHERE name = 'schema_version'")
    words = ["--database", database.url, "--console.listen=off"]
    text = [text for _, check, text in wrong(*words) if check == "database"][0]
    assert "have version 1, older than" in text and "sluice init" in text
    database.run("UPDATE sluice_meta SET value = '99' WHERE name = 'schema_version'")
    text = [text for _, check, text in wrong(*words) if check == "database"][0]
    assert "version 99" in text and "newer" in text


def test_no_right_to_write_and_files_of_another_user() -> None:
    folder = Path(tempfile.mkdtemp())  # where other users can look, unlike tmp_path
    try:
        folder.chmod(0o777)
        database = Database(folder / "app.db")
        words = ["--database", database.url, "--console.listen=off"]
        bad = wrong(*words, prefix=NOBODY)
        assert ("fail", "file") in [(level, check) for level, check, _ in bad]
        text = [text for _, check, text in bad if check == "file"][0]
        assert "may not read and write it, it belongs to user 0" in text and "chown" in text
        # Files that root left beside a database of another user.
        with closing(sqlite3.connect(database.path)) as other:
            other.execute("SELECT * FROM sluice_meta").fetchall()
            os.chown(database.path, 65534, 65534)
            text = [text for _, check, text in wrong(*words) if check == "file"][0]
            assert "it belongs to user 0, and the database to user 65534" in text
    finally:
        shutil.rmtree(folder)


def test_a_writer_that_holds_the_lock(database: Database, broker: str) -> None:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        bad = wrong("--database", database.url, "--console.listen=off")
    assert ("warn", "rights") in [(level, check) for level, check, _ in bad]
    assert "publishing waits" in [text for _, check, text in bad if check == "rights"][0]


def test_unsent_events_that_grow_old(database: Database, broker: str) -> None:
    database.publish("orders", "k")
    assert "unsent" not in [check for _, check, _ in wrong(*both(database, broker))]
    database.run(f"UPDATE sluice_outbox SET created_at = {LONG_AGO}")
    text = [text for _, check, text in wrong(*both(database, broker)) if check == "unsent"][0]
    assert "1 events are unsent, the oldest for 10 min" in text and "is a relay running" in text


def test_a_database_set_back_and_a_log_that_was_lost(
        start: Start, database: Database, broker: str) -> None:
    for _ in range(3):
        database.publish("orders", "k")
    run_relay_once(start, database, broker)
    log = Path(broker.removeprefix("local:"))
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("UPDATE source SET position = 9")
        level, check, text = only(*both(database, broker))
        assert (level, check) == ("fail", "position") and "restored from a backup" in text
        connection.execute("UPDATE source SET position = 0")
        database.run("DELETE FROM sluice_outbox WHERE position < 3")
        level, check, text = only(*both(database, broker))
        assert (level, check) == ("fail", "position") and "the broker's data was lost" in text


def test_parked_keys(start: Start, database: Database, broker: str) -> None:
    run_words = both(database, broker)
    database.publish("orders", "k")
    run_relay_once(start, database, broker)
    event_id = database.hold("customer-7", reason="the card is unknown")
    level, check, text = only(*run_words)
    assert (level, check) == ("warn", "parked key")
    assert "key customer-7 of topic orders is parked" in text and "the card is unknown" in text
    assert f"sluice dead-letter redrive {event_id}" in text
    level, _, text = only(*run_words, "--relay.on_poison=halt")
    assert level == "fail" and "stopping the relay" in text


def test_a_consumer_that_does_not_run(start: Start, database: Database, broker: str) -> None:
    for _ in range(3):
        database.publish("orders", "k")
    run_relay_once(start, database, broker)
    log = Path(broker.removeprefix("local:"))
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        partition, = connection.execute("SELECT number FROM partition WHERE next_offset = 3"
                                        ).fetchone()
        connection.execute("INSERT INTO consumer_position VALUES ('mailer', 'orders', ?, 1)",
                           (partition,))
        database.run("INSERT INTO sluice_consumer (name, applied_total, updated_at)"
                     " VALUES ('mailer', 1, ?)", int(time.time() * 1000))
        assert wrong(*both(database, broker)) == []
        connection.execute(f"UPDATE record SET created_at = {LONG_AGO}")
        assert wrong(*both(database, broker)) == []  # it applied something a moment ago
        database.run(f"UPDATE sluice_consumer SET updated_at = {LONG_AGO}")
    level, check, text = only(*both(database, broker))
    assert (level, check) == ("fail", "consumer")
    assert "2 events wait for it" in text and "is the service running" in text


def test_a_topic_that_a_route_names_and_nobody_writes(
        start: Start, tmp_path: Path, database: Database, broker: str) -> None:
    database.publish("orders", "k")
    run_relay_once(start, database, broker)
    config = tmp_path / "app.yaml"
    config.write_text(f"database: {database.url}\nbroker: {broker}\nconsole: {{listen: 'off'}}\n"
                      "gateway:\n  listen: 127.0.0.1:0\n  routes:\n"
                      "    - path: /a/{key}\n      stream: {topic: orders, key: '{key}'}\n"
                      "    - path: /b/{key}\n      stream: {topic: ordres, key: '{key}'}\n")
    level, check, text = only("--config", config)
    assert (level, check) == ("warn", "topic") and "/b/{key}" in text and "is its name right" in text


def test_a_port_that_is_taken(database: Database, port: tuple[int, socket.socket],
                              tmp_path: Path) -> None:
    bad = wrong("--database", database.url, f"--console.listen=127.0.0.1:{port[0]}")
    text = [text for _, check, text in bad if check == "port"][0]
    assert "another program listens there" in text and "console.listen" in text
    bad = wrong("--database", database.url, "--console.listen=203.0.113.1:80")
    text = [text for _, check, text in bad if check == "port"][0]
    assert "cannot listen there" in text and "an address of this machine" in text


def test_the_running_process_is_asked(start: Start, database: Database, broker: str) -> None:
    relay = start([program("sluice"), "run", "--database", database.url, "--broker", broker,
                   "--console.listen=127.0.0.1:0", "--gateway.listen=127.0.0.1:0",
                   "--relay.on_poison=halt"])
    address = relay.wait_ready()["console"].removeprefix("http://")
    words = ["--database", database.url, "--broker", broker, f"--console.listen={address}"]
    wait_until(lambda: wrong(*words) == [], "the process is ready")
    assert "a sluice process serves, ready" in sluice("doctor", *words).stdout
    event_id = database.publish("no such topic", "k")
    def reasons() -> list[str]:
        return [text for _, check, text in wrong(*words) if check == "process" and event_id in text]
    assert "redrive it, or drop it" in wait_until(reasons, "the halt is found")[0]


def test_a_limit_of_open_files_that_is_too_low(tmp_path: Path, database: Database) -> None:
    config = tmp_path / "app.yaml"
    config.write_text(f"database: {database.url}\nconsole: {{listen: 'off'}}\n"
                      "gateway:\n  listen: 127.0.0.1:0\n  routes:\n"
                      "    - path: /**\n      upstream: http://127.0.0.1:9\n")
    bad = wrong("--config", config, prefix=["prlimit", "--nofile=1000:1000"])
    text = [text for _, check, text in bad if check == "open files"][0]
    assert "may open 1000 files" in text and "LimitNOFILE" in text


def test_a_disk_that_is_almost_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        database = Database(disk / "app.db")
        bad = wrong("--database", database.url, "--console.listen=off")
        text = [text for _, check, text in bad if check == "disk space"][0]
        assert "are left; when nothing is, publishing fails" in text
    finally:
        subprocess.run(["umount", disk], check=True)
