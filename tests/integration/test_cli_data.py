"""init, status, tail and the dead letters: what they show is what the tables hold."""
from __future__ import annotations

import json
import signal
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable

import pytest
from harness.command import Database, fails, sluice, works
from harness.process import Process, program
from harness.waiting import wait_until

Start = Callable[..., Process]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "app.db")


@pytest.fixture
def broker(tmp_path: Path) -> str:
    return f"local:{tmp_path}/log.db"


def start_relay(start: Start, database: Database, broker: str, *options: str) -> Process:
    relay = start([program("sluice"), "relay", "--database", database.url, "--broker", broker,
                   "--console.listen=127.0.0.1:0", *options])
    relay.wait_ready()
    return relay


def tail(broker: str, topic: str, *options: str) -> list[dict]:
    text = works("tail", "--broker", broker, "--topic", topic, "--exit", "--json", *options)
    return [json.loads(line) for line in text.splitlines()]


def test_init_gives_a_restored_database_a_new_identity_on_request(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/app.db"
    assert "there is no database file" in fails("init", "--database", url, "--new-identity")
    identity = works("init", "--database", url).split()[-1]
    renewed = works("init", "--database", url, "--new-identity")
    assert "sends every retained event again" in renewed and identity not in renewed
    assert identity not in works("init", "--database", url)


def test_init_can_be_run_again_and_shows_its_sql_first(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/app.db"
    sql = works("init", "--database", url, "--print")
    assert "CREATE TABLE sluice_outbox" in sql and not (tmp_path / "app.db").exists()
    sqlite3.connect(":memory:").executescript(sql)
    first = works("init", "--database", url)
    assert first.startswith(f"{url}: the tables are there; this database's id is ")
    assert works("init", "--database", url) == first


def test_tail_prints_each_event_with_all_its_parts(
        start: Start, database: Database, broker: str) -> None:
    ids = [database.publish("orders", "k1", '{"n": 1}'), database.publish("orders", None, "plain"),
           database.publish("orders", "k1", b"\xff\x00"), database.publish("other", "k1", "{}")]
    start_relay(start, database, broker)
    wait_until(lambda: Path(broker.removeprefix("local:")).exists() and
               len(tail(broker, "orders", "--from", "start")) == 3, "three events are in the log")
    lines = {line["id"]: line for line in tail(broker, "orders", "--from", "start")}
    assert set(lines) == set(ids[:3])
    first = lines[ids[0]]
    assert set(first) == {"topic", "partition", "offset", "key", "id", "type", "time", "headers",
                          "payload"}
    assert (first["topic"], first["key"], first["type"], first["payload"], first["headers"]) == (
        "orders", "k1", "Tested", {"n": 1}, {})
    assert lines[ids[1]]["key"] is None
    assert (lines[ids[1]]["payload"], lines[ids[1]]["payload_encoding"]) == ("plain", "text")
    assert (lines[ids[2]]["payload"], lines[ids[2]]["payload_encoding"]) == ("/wA=", "base64")
    assert lines[ids[2]]["partition"] == first["partition"]
    assert lines[ids[2]]["offset"] > first["offset"]
    text = works("tail", "--broker", broker, "--topic", "orders", "--from", "start", "--exit")
    assert "\x00" not in text and "key=k1 Tested ??" in text and "key=- Tested plain" in text


def test_tail_starts_where_it_is_told(start: Start, database: Database, broker: str) -> None:
    start_relay(start, database, broker)

    def payloads(*options: str) -> list:
        return [line["payload"] for line in tail(broker, "orders", *options)]

    database.publish("orders", "k", "1")
    wait_until(lambda: payloads("--from", "start") == [1], "the first is in the log")
    between = datetime.now(timezone.utc) + timedelta(milliseconds=2)
    wait_until(lambda: datetime.now(timezone.utc) > between, "the clock goes on")
    database.publish("orders", "k", "2")
    wait_until(lambda: payloads("--from", "start") == [1, 2], "the second is in the log")
    text = between.isoformat(timespec="milliseconds")
    assert payloads("--from", text.replace("+00:00", "Z")) == [2]
    assert payloads("--from", text) == [2]
    east = between.astimezone(timezone(timedelta(hours=2))).isoformat(timespec="milliseconds")
    assert payloads("--from", east) == [2]
    assert payloads("--from", "1h") == payloads("--from", "2020-01-01T00:00:00Z") == [1, 2]
    assert payloads("--from", "end") == payloads() == []


def test_tail_follows_until_it_is_interrupted(
        start: Start, database: Database, broker: str) -> None:
    start_relay(start, database, broker)
    follower = start([program("sluice"), "tail", "--broker", broker, "--topic", "orders",
                      "--from", "start", "--json"])
    for number in range(3):
        database.publish("orders", "k", str(number))
        assert json.loads(follower.popen.stdout.readline())["payload"] == number
    follower.popen.send_signal(signal.SIGINT)
    assert follower.wait_end() == 0


def test_tail_ends_when_its_reader_has_gone(
        start: Start, database: Database, broker: str) -> None:
    start_relay(start, database, broker)
    follower = start([program("sluice"), "tail", "--broker", broker, "--topic", "orders"])
    follower.popen.stdout.close()
    assert follower.wait_end() == 0


def test_status_shows_what_is_unsent_and_then_that_nothing_is(
        start: Start, database: Database, broker: str) -> None:
    database.publish("orders", "k", "{}")
    database.publish("orders", "k", "{}")
    before = json.loads(works("status", "--json", "--database", database.url))
    assert before["broker"] is None
    [state] = before["databases"]
    assert (state["name"], state["unsent_events"], state["position"], state["last_position"]) == (
        database.url, 2, 0, 2)
    assert "2 events, the oldest" in works("status", "--database", database.url)
    start_relay(start, database, broker)
    words = ["status", "--database", database.url, "--broker", broker]
    wait_until(lambda: "unsent        nothing" in works(*words), "everything is sent")
    after = json.loads(works(*words, "--json"))
    assert after["databases"][0]["position"] == 2
    assert after["broker"]["topics"] == [
        {"topic": "orders", "partitions": 4, "retained_events": 2, "next_offsets": 2}]
    assert "topic         orders: 2 events kept in 4 partitions" in works(*words)


def test_status_counts_what_is_held_by_key(database: Database) -> None:
    database.hold("k1", reason="the wallet is missing")
    database.hold("k1", "WAITING")
    database.hold("k2", "RETRYING", stage="payment")
    [state] = json.loads(works("status", "--json", "--database", database.url))["databases"]
    assert {row["stage"]: (row["parked_keys"], row["failed"], row["retrying"], row["waiting"])
            for row in state["stages"]} == {"relay": (1, 1, 0, 1), "payment": (1, 0, 1, 0)}
    assert {row["key"]: (row["events"], row["reason"]) for row in state["parked"]} == {
        "k1": (2, "the wallet is missing"), "k2": (1, "it is refused")}
    text = works("status", "--database", database.url)
    assert "parked        k1 in orders by relay (2 events): the wallet is missing" in text


def test_dead_letters_are_listed_chosen_and_shown(database: Database) -> None:
    first = database.hold("k1", reason="evil \x1b[31m reason")
    second = database.hold("k2", "RETRYING", stage="payment", payload='{"b": 2}')
    words = ["--database", database.url]
    text = works("dead-letter", "list", *words)
    assert "FAILED_PERMANENTLY" in text and first in text and second in text
    assert "\x1b" not in text and "evil ?[31m reason" in text
    listed = json.loads(works("dead-letter", "list", "--json", *words))
    assert {row["id"] for row in listed} == {first, second}
    assert all("payload" not in row and row["database"] == database.url for row in listed)
    [chosen] = json.loads(works("dead-letter", "list", "--json", "--stage", "payment", *words))
    assert (chosen["id"], chosen["key"], chosen["state"], chosen["attempts"]) == (
        second, "k2", "RETRYING", 3)
    assert json.loads(works("dead-letter", "list", "--json", "--key", "k9", *words)) == []
    shown = json.loads(works("dead-letter", "show", second, "--json", *words))
    assert (shown["payload"], shown["topic"], shown["headers"]) == ({"b": 2}, "orders", {})
    assert 'payload   {"b":2}' in works("dead-letter", "show", second, *words)
    assert fails("dead-letter", "show", "nobody", *words) == (
        "sluice: no dead letter has the id 'nobody'; `sluice dead-letter list` shows them\n")


def test_an_empty_list_says_so_beside_the_data(database: Database) -> None:
    done = sluice("dead-letter", "list", "--database", database.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no dead letters: nothing is parked, retrying or failed\n"


def test_redrive_lets_an_event_that_was_mended_flow(
        start: Start, database: Database, broker: str) -> None:
    """A refused topic parks its key; mended and redriven, its events arrive in their order."""
    start_relay(start, database, broker)
    bad = database.publish("no such topic", "k1", "1")
    wait_until(lambda: ("k1", "FAILED_PERMANENTLY") in database.held(), "the event is refused")
    assert [row["id"] for row in json.loads(works(
        "dead-letter", "list", "--json", "--database", database.url))] == [bad]
    database.run("UPDATE sluice_dead_letter SET topic = 'orders'")
    assert works("dead-letter", "redrive", bad, "--database", database.url) == "redriven 1 event\n"
    wait_until(lambda: database.held() == [], "the event has left the table")
    assert [line["id"] for line in tail(broker, "orders", "--from", "start")] == [bad]


def test_redrive_by_key_and_of_everything(database: Database) -> None:
    words = ["--database", database.url]
    database.hold("k1")
    database.hold("k1")
    database.hold("k2", stage="payment")
    database.hold("k3", "RETRYING")
    assert works("dead-letter", "redrive", "--key", "k1", *words) == "redriven 2 events\n"
    assert database.held() == [("k1", "RETRYING"), ("k1", "WAITING"),
                               ("k2", "FAILED_PERMANENTLY"), ("k3", "RETRYING")]
    assert "no failed event has the key 'k3'" in fails(
        "dead-letter", "redrive", "--key", "k3", *words)
    assert works("dead-letter", "redrive", "--all", "--stage", "payment", *words) == (
        "redriven 1 event\n")
    assert works("dead-letter", "redrive", "--all", *words) == "redriven 0 events\n"


def test_drop_needs_a_yes_and_lets_the_next_one_go(database: Database) -> None:
    words = ["--database", database.url]
    first = database.hold("k1")
    database.hold("k1", "WAITING")
    assert "add --yes to mean it" in fails("dead-letter", "drop", first, *words, status=2)
    assert len(database.held()) == 2
    assert works("dead-letter", "drop", first, "--yes", *words) == "dropped 1 event\n"
    assert database.held() == [("k1", "RETRYING")]
    assert "no failed event has the id" in fails("dead-letter", "drop", first, "--yes", *words)
