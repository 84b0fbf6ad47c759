"""The checker, checked: databases with one fault put in each; every one is caught, by its name."""
from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Callable

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = {"order.status-changed.v1": 1, "order.requested.v1": 2,
              "order.payment-requested.v1": 3, "payment.completed.v1": 4,
              "order.payment-compensation-requested.v1": 5, "payment.compensated.v1": 6}
SPARE_PARTITION = 7  # a second one of order.status-changed.v1

# What the example keeps, without the constraints that would refuse a fault.
ORDERS_TABLES = """
CREATE TABLE orders(order_id INTEGER PRIMARY KEY, status TEXT);
CREATE TABLE order_history(order_id INTEGER, version INTEGER, type TEXT, event_id TEXT);
"""
PAYMENT_TABLES = """
CREATE TABLE user_point(user_id INTEGER, point INTEGER);
CREATE TABLE payment_log(payment_log_id INTEGER PRIMARY KEY, order_id INTEGER, event_id TEXT,
  user_id INTEGER, total_amount INTEGER, result TEXT);
CREATE TABLE charge_log(payment_log_id INTEGER, event_id TEXT, user_id INTEGER,
  point_before INTEGER, point_after INTEGER);
"""


class Run:
    """A small run as it is left behind: order 1 completed, order 2 cancelled and given back."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.offsets = dict.fromkeys(range(1, 8), 0)
        store = (ROOT / "src/store/sql/sqlite.sql").read_text()
        self.orders = self.make("orders.db", store + ORDERS_TABLES)
        self.payment = self.make("payment.db", store + PAYMENT_TABLES)
        self.log = self.make("log.db", (ROOT / "src/broker/local.sql").read_text())
        for topic, number in PARTITIONS.items():
            self.log.execute("INSERT INTO topic VALUES (?, ?, 1)", (number, topic))
            self.log.execute("INSERT INTO partition(id, topic_id, number) VALUES (?, ?, 0)",
                             (number, number))
        self.log.execute("INSERT INTO partition(id, topic_id, number) VALUES (?, 1, 1)",
                         (SPARE_PARTITION,))
        self.clients = [
            {"name": "ann", "key": "1", "ended": True,
             "seen": [[1, "order_accepted"], [2, "payment_requested"], [3, "completed"]]},
            {"name": "bob", "key": "2", "ended": True,
             "seen": [[3, "cancel_requested"], [4, "cancel_requested"], [5, "cancelled"]]}]
        self.live()

    def make(self, name: str, schema: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.data / name, isolation_level=None)
        connection.executescript(schema)
        return connection

    def publish(self, database: sqlite3.Connection, topic: str, key: int, event_id: str) -> None:
        payload = json.dumps({"order_id": key})
        database.execute("INSERT INTO sluice_outbox(id, topic, message_key, type, payload)"
                         " VALUES (?, ?, ?, 'T', ?)", (event_id, topic, str(key), payload))
        self.append(PARTITIONS[topic], key, event_id, payload)

    def append(self, partition: int, key: int, event_id: str, payload: str) -> None:
        place = (partition << 40) | self.offsets[partition]
        self.offsets[partition] += 1
        self.log.execute("INSERT INTO record VALUES (?, ?, ?, 'T', ?, '{}', 0, 0)",
                         (place, event_id, str(key), payload))

    def mark(self, database: sqlite3.Connection, consumer: str, event_id: str) -> None:
        database.execute("INSERT INTO sluice_inbox VALUES (?, ?, 0)", (consumer, event_id))

    def status(self, key: int, version: int, name: str) -> None:
        event_id = f"status-{key}-{version}"
        self.publish(self.orders, "order.status-changed.v1", key, event_id)
        self.orders.execute("INSERT INTO order_history VALUES (?, ?, ?, ?)",
                            (key, version, name, event_id))

    def hop(self, source: sqlite3.Connection, topic: str, target: sqlite3.Connection,
            consumer: str, key: int) -> str:
        event_id = f"{topic}-{key}"
        self.publish(source, topic, key, event_id)
        self.mark(target, consumer, event_id)
        return event_id

    def live(self) -> None:
        for key, final in ((1, "COMPLETED"), (2, "CANCELLED")):
            self.orders.execute("INSERT INTO orders VALUES (?, ?)", (key, final))
            self.status(key, 1, "order_accepted")
            self.hop(self.orders, "order.requested.v1", self.orders, "order-requested", key)
            self.status(key, 2, "payment_requested")
            cause = self.hop(self.orders, "order.payment-requested.v1", self.payment,
                             "order-payment-requested-v1", key)
            self.payment.execute("INSERT INTO payment_log VALUES (?, ?, ?, 7, 600, 'COMPLETED')",
                                 (key, key, cause))
            if key == 2:
                self.status(2, 3, "cancel_requested")
            self.hop(self.payment, "payment.completed.v1", self.orders, "order-payment-completed",
                     key)
        self.status(1, 3, "completed")
        self.status(2, 4, "cancel_requested")
        cause = self.hop(self.orders, "order.payment-compensation-requested.v1", self.payment,
                         "order-payment-compensation-requested-v1", 2)
        self.payment.execute("INSERT INTO charge_log VALUES (2, ?, 7, 8800, 9400)", (cause,))
        self.hop(self.payment, "payment.compensated.v1", self.orders, "order-payment-compensated", 2)
        self.status(2, 5, "cancelled")
        self.payment.execute("INSERT INTO user_point VALUES (7, 9400)")

    def check(self) -> tuple[int, dict]:
        notes = self.data / "clients.jsonl"
        notes.write_text("".join(json.dumps(client) + "\n" for client in self.clients))
        done = subprocess.run(
            [sys.executable, "-m", "checker", "--data", self.data, "--clients", notes, "--json"],
            cwd=ROOT / "tests", capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def run(tmp_path: Path):
    made = Run(tmp_path)
    with closing(made.orders), closing(made.payment), closing(made.log):
        yield made


def test_a_run_without_a_fault_is_found_good(run: Run) -> None:
    status, report = run.check()
    assert report["breaches"] == []
    assert status == 0
    assert report["counts"] == {"committed": 16, "published": 16, "duplicates": 0, "applied": 8,
                                "effects": 3, "dead_letters": 0, "clients": 2, "statuses_seen": 6,
                                "resets": 0}


def swap_places(run: Run, one: str, other: str) -> None:
    """Two records of the log change places."""
    place = dict(run.log.execute("SELECT event_id, place FROM record"))
    run.log.execute("UPDATE record SET place = -1 WHERE event_id = ?", (one,))
    run.log.execute("UPDATE record SET place = ? WHERE event_id = ?", (place[one], other))
    run.log.execute("UPDATE record SET place = ? WHERE event_id = ?", (place[other], one))


def drop_record(run: Run, event_id: str) -> None:
    run.log.execute("DELETE FROM record WHERE event_id = ?", (event_id,))


def drop_marker(run: Run, database: sqlite3.Connection, event_id: str) -> None:
    database.execute("DELETE FROM sluice_inbox WHERE event_id = ?", (event_id,))


def move_to_another_partition(run: Run) -> None:
    run.log.execute("UPDATE record SET place = ? WHERE event_id = 'status-1-3'",
                    ((SPARE_PARTITION << 40) | 9,))


def forget_the_outbox_too(run: Run) -> None:
    """The ledger stands, and neither outbox nor log has the event."""
    run.orders.execute("DELETE FROM sluice_outbox WHERE id = 'status-1-2'")
    drop_record(run, "status-1-2")


def take_twice(run: Run) -> None:
    run.payment.execute("UPDATE user_point SET point = point - 600")


def answer_twice(run: Run) -> None:
    """The refund's handler ran again: no points moved, but it told so a second time."""
    run.publish(run.payment, "payment.compensated.v1", 2, "again")
    run.mark(run.orders, "order-payment-compensated", "again")


def seen(run: Run, client: int) -> list:
    return run.clients[client]["seen"]


# name of the fault -> what it does, and the promises that it breaks
FAULTS: dict[str, tuple[Callable[[Run], object], set[str]]] = {
    "one_event_is_dropped": (lambda run: drop_record(run, "status-1-2"), {"lost"}),
    "an_event_and_its_outbox_row_vanish": (forget_the_outbox_too, {"lost"}),
    "an_event_of_a_rollback_is_published": (
        lambda run: run.append(1, 3, "rolled-back", "{}"), {"phantom"}),
    "a_payload_is_changed": (
        lambda run: run.log.execute("UPDATE record SET payload = '{}' WHERE event_id = 'status-1-1'"),
        {"altered"}),
    "a_key_is_changed": (
        lambda run: run.log.execute(
            "UPDATE record SET message_key = '2' WHERE event_id = 'status-1-1'"), {"altered"}),
    "two_events_of_a_key_are_swapped": (
        lambda run: swap_places(run, "status-1-1", "status-1-2"), {"reordered"}),
    "a_key_is_split_over_partitions": (move_to_another_partition, {"split_key"}),
    "an_event_is_published_without_its_change": (
        lambda run: run.publish(run.orders, "order.status-changed.v1", 1, "alone"),
        {"ledger_missing"}),
    "a_version_is_skipped": (
        lambda run: run.orders.execute(
            "UPDATE order_history SET version = 4 WHERE event_id = 'status-1-3'"),
        {"ledger_gap", "client_wrong", "client_unfinished"}),
    "an_event_is_not_applied": (
        lambda run: drop_marker(run, run.orders, "payment.completed.v1-1"), {"unapplied"}),
    "the_inbox_marker_is_missing": (
        lambda run: drop_marker(run, run.payment, "order.payment-requested.v1-1"),
        {"unapplied", "effect_unknown"}),
    "a_marker_without_an_event": (
        lambda run: run.mark(run.orders, "order-payment-failed", "never"), {"applied_unknown"}),
    "a_marker_without_its_effect": (
        lambda run: run.payment.execute("DELETE FROM charge_log"), {"effect_missing", "books"}),
    "an_effect_is_done_twice": (
        lambda run: run.payment.execute(
            "INSERT INTO charge_log SELECT * FROM charge_log"), {"effect_repeated", "books"}),
    "points_are_taken_twice": (take_twice, {"books"}),
    "a_handler_runs_twice": (answer_twice, {"books"}),
    "an_order_hangs": (
        lambda run: run.orders.execute("UPDATE orders SET status = 'PROCESSING' WHERE order_id = 1"),
        {"books"}),
    "a_client_misses_a_status": (lambda run: seen(run, 0).pop(1), {"client_gap"}),
    "a_client_sees_a_status_twice": (
        lambda run: seen(run, 0).insert(1, seen(run, 0)[1]), {"client_step_back"}),
    "a_client_sees_an_older_status_last": (
        lambda run: seen(run, 0).append([2, "payment_requested"]),
        {"client_step_back", "client_unfinished"}),
    "a_client_sees_what_never_was": (
        lambda run: seen(run, 0).__setitem__(1, [2, "cancelled"]), {"client_wrong"}),
    "a_client_misses_the_final_status": (lambda run: seen(run, 0).pop(), {"client_unfinished"}),
    "a_client_is_not_told_the_end": (
        lambda run: run.clients[1].update(ended=False), {"client_unfinished"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_caught_by_name(run: Run, fault: str) -> None:
    put_in, promises = FAULTS[fault]
    put_in(run)
    status, report = run.check()
    assert {promise for promise, _ in report["breaches"]} == promises
    assert status == 1


def test_a_duplicate_is_counted_and_breaks_no_promise(run: Run) -> None:
    payload = run.log.execute("SELECT payload FROM record WHERE event_id = 'status-1-1'").fetchone()
    run.append(1, 1, "status-1-1", payload[0])
    status, report = run.check()
    assert (status, report["counts"]["duplicates"]) == (0, 1)


def test_a_gap_after_a_reset_is_not_held_against_the_stream(run: Run) -> None:
    seen(run, 0).pop(1)
    run.clients[0]["resets"] = [1]
    status, report = run.check()
    assert (status, report["counts"]["resets"]) == (0, 1)


def test_a_dead_letter_is_counted_and_not_taken_for_a_loss(run: Run) -> None:
    drop_record(run, "status-1-2")
    run.orders.execute(
        "INSERT INTO sluice_dead_letter(stage, position, event_id, topic, message_key, type, payload,"
        " headers, created_at, state, attempts, next_attempt_at, held_at, reason) VALUES ('relay', 2,"
        " 'status-1-2', 't', '1', 'T', '', '{}', 0, 'FAILED_PERMANENTLY', 3, 0, 0, 'too large')")
    status, report = run.check()
    assert (status, report["counts"]["dead_letters"]) == (0, 1)


def test_a_run_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "checker", "--data", tmp_path], cwd=ROOT / "tests",
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "orders.db is not there" in done.stderr
