"""`sluice explain` and `sluice lag`: one event's way, and how far each consumer is."""
from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Callable

import pytest
from harness.command import Database, fails, sluice, works
from harness.orders import Orders
from harness.process import Process, program
from harness.waiting import wait_until

CONSUMER = "order-payment-requested-v1"
TOPIC = "order.payment-requested.v1"


def databases(orders: Orders) -> list[str]:
    return ["--database", f"sqlite:{orders.data}/orders.db", "--database",
            f"sqlite:{orders.data}/payment.db"]


def both(orders: Orders) -> list[str]:
    return [*databases(orders), "--broker", f"local:{orders.data}/log.db"]


@pytest.fixture
def event_id(orders: Orders) -> str:
    """A request for a payment, which has been applied."""
    order_id = orders.place()["order_id"]
    orders.wait_type(order_id, "completed")
    return orders.rows("orders.db", "SELECT id FROM sluice_outbox WHERE topic = ? AND message_key"
                                    " = ?", TOPIC, str(order_id))[0][0]


def test_an_events_whole_way_is_shown(orders: Orders, event_id: str) -> None:
    def confirmed() -> list[dict]:
        steps = json.loads(works("explain", event_id, *both(orders), "--json"))
        return steps if steps[0]["status"] == "confirmed by the relay" else []
    steps = wait_until(confirmed, "the relay has confirmed the event")
    assert [step["what"] for step in steps] == ["written", "applied", "in the topic"]
    written, applied, there = steps
    assert (written["topic"], written["database"]) == (TOPIC, f"sqlite:{orders.data}/orders.db")
    assert applied["consumer"] == CONSUMER and applied["at_ms"] >= written["at_ms"]
    assert (there["topic"], there["partition"] in range(4)) == (TOPIC, True)
    place = orders.rows("log.db", "SELECT place & ((1 << 40) - 1) FROM record WHERE event_id = ?",
                        event_id)
    assert [(there["offset"],)] == place
    text = works("explain", event_id, *both(orders))
    assert f"consumer={CONSUMER}" in text and "in the topic" in text


def test_an_event_without_its_row_is_searched_in_all_topics(orders: Orders, event_id: str) -> None:
    words = ["--database", f"sqlite:{orders.data}/payment.db", "--broker",
             f"local:{orders.data}/log.db"]
    steps = json.loads(works("explain", event_id, *words, "--json"))
    assert [step["what"] for step in steps] == ["applied", "in the topic"]


def test_a_dead_letter_shows_its_reason(tmp_path: Path) -> None:
    database = Database(tmp_path / "app.db")
    event_id = database.hold("k", reason="the card is unknown")
    steps = json.loads(works("explain", event_id, "--database", database.url, "--json"))
    assert (steps[0]["what"], steps[0]["stage"], steps[0]["reason"], steps[0]["attempts"]) == (
        "held", "relay", "the card is unknown", 3)


def test_an_unknown_event_and_what_is_no_id_are_told(orders: Orders) -> None:
    assert "nothing is known of the event" in fails("explain", str(uuid.uuid4()), *both(orders))
    assert "name one event by its id" in fails("explain", "order-7", *both(orders), status=2)


def test_lag_shows_every_consumer_by_partition(orders: Orders, event_id: str) -> None:
    places = json.loads(works("lag", *both(orders), "--json"))
    mine = [place for place in places if place["consumer"] == CONSUMER]
    assert {place["topic"] for place in mine} == {TOPIC}
    ends = dict(orders.rows("log.db", "SELECT p.number, p.next_offset FROM partition p JOIN topic t"
                            " ON t.id = p.topic_id WHERE t.name = ?", TOPIC))
    assert {place["partition"]: place["next_offset"] for place in mine}.items() <= ends.items()
    named = json.loads(works("lag", CONSUMER, "--broker", f"local:{orders.data}/log.db", "--json"))
    assert [place["partition"] for place in named] == [place["partition"] for place in mine]
    assert CONSUMER in works("lag", *both(orders))
    with orders.payments_held():
        orders.place()
        wait_until(lambda: sum(place["lag_events"] for place in json.loads(
            works("lag", CONSUMER, "--broker", f"local:{orders.data}/log.db", "--json"))),
            "the consumer is behind")


def test_what_waits_in_a_partition_that_was_never_committed_is_lag(
        start: Callable[..., Process], tmp_path: Path) -> None:
    """A consumer's first event of such a partition may be the one that it cannot apply."""
    broker = f"local:{tmp_path}/log.db"
    database = Database(tmp_path / "app.db")
    for number in range(20):
        database.publish("orders", f"key-{number}")
    start([program("sluice"), "relay", "--database", database.url, "--broker", broker,
           "--console.listen=127.0.0.1:0"]).wait_ready()

    def ends() -> dict[int, int]:
        with closing(sqlite3.connect(tmp_path / "log.db", timeout=20)) as log:
            return dict(log.execute("SELECT number, next_offset FROM partition"))
    wait_until(lambda: sum(ends().values()) == 20, "all is in the log")
    with closing(sqlite3.connect(tmp_path / "log.db", timeout=20)) as log:
        log.execute("INSERT INTO consumer_position VALUES ('late', 'orders', 2, ?)", (ends()[2],))
        log.commit()
    lag = {place["partition"]: place["lag_events"] for place in
           json.loads(works("lag", "late", "--broker", broker, "--json"))}
    assert lag == {**ends(), 2: 0} and sum(lag.values()) > 0


def test_a_consumer_that_never_was_has_no_lag(orders: Orders) -> None:
    done = sluice("lag", "nobody", "--broker", f"local:{orders.data}/log.db")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no consumer has committed a place" in done.stderr
    assert "is no consumer's name" in fails("lag", "no body", status=2)
