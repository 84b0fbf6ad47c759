"""`sluice pause`, `resume` and `init --new-identity`: an operator's hand on a database's relays."""
from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Callable

import pytest
from harness.command import FREE, Database, sluice, works
from harness.http import call
from harness.process import Process, program
from harness.waiting import wait_until

Start = Callable[..., Process]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "app.db")


@pytest.fixture
def broker(tmp_path: Path) -> str:
    return f"local:{tmp_path}/log.db"


def start_relay(start: Start, database: Database, broker: str) -> tuple[Process, str]:
    relay = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker", broker])
    return relay, relay.wait_ready()["console"]


def relay_state(console: str) -> dict:
    return call("GET", console + "/api/state").body["relays"][0]


def test_a_paused_relay_sends_nothing_until_it_is_resumed(
        start: Start, database: Database, broker: str) -> None:
    relay, console = start_relay(start, database, broker)
    database.publish("orders", "k")
    wait_until(lambda: relay_state(console)["published_total"] == 1, "the first event is sent")
    assert "paused; its relays stop" in works("pause", "--database", database.url)
    assert "paused already, by " in works("pause", "--database", database.url)
    wait_until(lambda: relay_state(console)["state"] == "paused", "the relay rests")
    database.publish("orders", "k")
    # It outlives a restart.
    assert relay.end() == 0
    relay, console = start_relay(start, database, broker)
    wait_until(lambda: relay_state(console)["state"] == "paused", "the new relay rests, too")
    state = json.loads(works("status", "--database", database.url, "--json"))["databases"][0]
    assert state["unsent_events"] == 1 and "@" in state["paused"] and " at 20" in state["paused"]
    assert "paused        by " in works("status", "--database", database.url)
    found = json.loads(sluice("doctor", "--database", database.url, "--console.listen=off",
                              "--json").stdout)
    assert ["warn"] == [each["level"] for each in found if each["check"] == "paused"]
    assert "relay_paused" in call("GET", console + "/metrics").body
    assert relay_state(console)["published_total"] == 0
    assert "resumed; it was paused by" in works("resume", "--database", database.url)
    wait_until(lambda: relay_state(console)["published_total"] == 1, "the waiting event is sent")
    assert "is not paused" in works("resume", "--database", database.url)
    kept = dict(database.run("SELECT name, value FROM sluice_meta WHERE name LIKE 'last_%'"))
    assert set(kept) == {"last_pause", "last_resume"}


def test_a_paused_relay_retries_nothing(start: Start, database: Database, broker: str) -> None:
    _, console = start_relay(start, database, broker)
    works("pause", "--database", database.url)
    wait_until(lambda: relay_state(console)["state"] == "paused", "the relay rests")
    database.hold("k", "RETRYING")
    database.run("UPDATE sluice_dead_letter SET next_attempt_at = 0")
    database.publish("orders", "other")
    works("resume", "--database", database.url)
    wait_until(lambda: relay_state(console)["redriven_total"] == 1, "it is retried after that")


def test_after_a_restore_a_new_identity_sends_everything_again(
        start: Start, database: Database, broker: str) -> None:
    ids = [database.publish("orders", "k") for _ in range(3)]
    relay, console = start_relay(start, database, broker)
    wait_until(lambda: relay_state(console)["published_total"] == 3, "the events are sent")
    assert relay.end() == 0
    # As an older backup has it.
    database.run("DELETE FROM sluice_outbox WHERE position = 3")
    database.run("UPDATE sqlite_sequence SET seq = 2 WHERE name = 'sluice_outbox'")
    database.run("UPDATE sluice_relay SET position = 2")
    halted = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker",
                    broker])
    assert halted.wait_end() == 1 and "sluice init --new-identity" in halted.said()
    works("init", "--database", database.url, "--new-identity")
    _, console = start_relay(start, database, broker)
    wait_until(lambda: relay_state(console)["published_total"] == 2, "what is left is sent again")
    with closing(sqlite3.connect(broker.removeprefix("local:"))) as log:
        sent = [row[0] for row in log.execute("SELECT event_id FROM record ORDER BY place")]
    assert sent == ids + ids[:2]
