"""The payments example when things go wrong: whatever comes twice, late or from elsewhere, and
whoever is killed, no points are made or destroyed."""
from __future__ import annotations

import itertools
import json
import random
import sqlite3
import threading
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness.command import works
from harness.example import Example, run_example
from harness.http import call
from harness.process import Process, program
from harness.waiting import wait_until
from test_payments_flows import POT, RARE, TEA, buyers, pay, place, points, wait_state

STARTING_POINTS = 1000
LOAD_SECONDS_MAX = 120


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("payments", tmp_path_factory.mktemp("payments-hazards")) as running:
        yield running


def rows(folder: Path, database: str, sql: str, *values: Any) -> list[tuple]:
    with closing(sqlite3.connect(folder / database, timeout=20,
                                 isolation_level=None)) as connection:
        return connection.execute(sql, values).fetchall()


def tell(shop: Example, phase: str, kind: str, order: int, **fields: Any) -> None:
    """An event of the saga that no service of ours would write."""
    saga = fields.pop("saga", None)
    rows(shop.data, "shop.db", "INSERT INTO sluice_outbox (topic, message_key, type, payload,"
         " headers) VALUES ('pay-saga', ?, ?, ?, ?)", str(order), kind,
         json.dumps({"orderId": order, **fields}),
         json.dumps({"phase": phase, **({"saga-id": saga} if saga else {})}))


def wait_both(shop: Example, order: int, state: str) -> None:
    wait_state(shop, f"/v1/pays/orders/{order}", state)
    wait_state(shop, f"/v1/orders/{order}", state)


def test_events_that_come_twice_change_nothing(shop: Example) -> None:
    """Each event of the saga is sent again under its own id, as after a lost answer."""
    def everything() -> list[list[tuple]]:
        return [rows(shop.data, database, f"SELECT * FROM {table} ORDER BY 1, 2")
                for database, table in (("pay.db", "payment"), ("pay.db", "point"),
                                        ("pay.db", "point_entry"), ("shop.db", "orders"),
                                        ("shop.db", "product"))]

    def duplicates() -> dict[str, int]:
        return dict(rows(shop.data, "pay.db", "SELECT name, duplicates_total FROM sluice_consumer")
                    + rows(shop.data, "shop.db",
                           "SELECT name, duplicates_total FROM sluice_consumer"))

    rich, poor, *late = (next(buyers) for _ in range(4))
    orders = [(rich, TEA, 2), (poor, POT, 3), (late[0], RARE, 1), (late[1], RARE, 1)]
    placed = [(buyer, place(shop, buyer, product, count)) for buyer, product, count in orders]
    for buyer, order in placed:
        assert pay(shop, buyer, order).status == 202
    wait_both(shop, placed[0][1], "SUCCESS")
    wait_both(shop, placed[1][1], "FAILED")

    def one_is_refunded() -> bool:
        return sorted(shop.get(f"/v1/{path}/{order}").body["state"]
                      for path in ("orders", "pays/orders") for _, order in placed[2:]) == [
            "FAILED", "FAILED", "SUCCESS", "SUCCESS"]

    wait_until(one_is_refunded, "one of the late ones is refunded")
    assert shop.get(f"/v1/products/{RARE}").body["quantity"] == 0
    before, counted = everything(), duplicates()
    sent = 0
    for database in ("pay.db", "shop.db"):
        sent += len(rows(shop.data, database,
                         "INSERT INTO sluice_outbox (id, topic, message_key, type, payload,"
                         " headers) SELECT id, topic, message_key, type, payload, headers FROM"
                         " sluice_outbox WHERE topic = 'pay-saga' ORDER BY position RETURNING id"))
    assert sent >= 4 + 3 + 2  # START, JOIN and COMMIT, and what goes back
    wait_until(lambda: duplicates() == {name: count + sent for name, count in counted.items()},
               "each consumer has met each of them again")
    assert everything() == before


def test_a_saga_that_is_told_again_under_new_ids_changes_nothing(shop: Example) -> None:
    """As if a service had told it twice: no inbox knows these, the states have to."""
    rich, poor = next(buyers), next(buyers)
    paid, failed = place(shop, rich, TEA, 2), place(shop, poor, POT, 3)
    sagas = [pay(shop, buyer, order).body["sagaId"]
             for buyer, order in ((rich, paid), (poor, failed))]
    wait_both(shop, paid, "SUCCESS")
    wait_both(shop, failed, "FAILED")

    def everything() -> list[list[tuple]]:
        where = f"user_id IN ({rich}, {poor}) ORDER BY 1, 2"
        return [rows(shop.data, database, f"SELECT * FROM {table} WHERE {where}")
                for database, table in (("pay.db", "payment"), ("pay.db", "point"),
                                        ("pay.db", "point_entry"), ("shop.db", "orders"))]

    def marked() -> list[int]:
        return [rows(shop.data, database, "SELECT count(*) FROM sluice_inbox WHERE consumer = ?",
                     consumer)[0][0]
                for database, consumer in (("pay.db", "pay"), ("shop.db", "order"))]

    before, counted = everything(), marked()
    tell(shop, "START", "PayConfirmEvent", paid, userId=rich, totalPrice=200, saga=sagas[0])
    tell(shop, "JOIN", "PayConfirmEvent", paid, userId=rich, totalPrice=200, saga=sagas[0])
    tell(shop, "START", "PayConfirmEvent", failed, userId=poor, totalPrice=1200, saga=sagas[1])
    tell(shop, "ROLLBACK", "PayRollbackEvent", failed, userId=poor, paidPoint=1200, saga=sagas[1])
    wait_until(lambda: all(now >= was + 4 for now, was in zip(marked(), counted)),
               "both have applied all four")
    assert everything() == before


def test_a_payment_that_is_rolled_back_before_it_is_begun_takes_nothing(shop: Example) -> None:
    buyer = next(buyers)
    order = place(shop, buyer, TEA, 1)
    works("pause", "--database", shop.database("pay"))
    wait_until(lambda: "paused" in [relay["state"] for relay in call(
        "GET", shop.console + "/api/state").body["relays"]], "its relay rests")
    try:
        started = pay(shop, buyer, order)
        assert started.status == 202  # START waits in the outbox
        answer = shop.post(f"/v1/pays/orders/{order}/rollback")
        assert (answer.status, answer.body["state"]) == (200, "FAILED")
    finally:
        works("resume", "--database", shop.database("pay"))
    wait_both(shop, order, "FAILED")
    following = place(shop, buyer, TEA, 1)
    assert pay(shop, buyer, following).status == 202
    wait_both(shop, following, "SUCCESS")
    assert points(shop, buyer) == STARTING_POINTS - 100
    assert rows(shop.data, "pay.db", "SELECT * FROM point_entry WHERE saga_id = ?",
                started.body["sagaId"]) == [], "nothing was taken, not even to be given back"


def test_a_refund_is_what_was_taken_whatever_the_event_says(shop: Example) -> None:
    buyer = next(buyers)
    order = place(shop, buyer, TEA, 2)
    saga = pay(shop, buyer, order).body["sagaId"]
    wait_both(shop, order, "SUCCESS")
    assert points(shop, buyer) == STARTING_POINTS - 200
    tell(shop, "ROLLBACK", "PayCancelEvent", order, userId=buyer, paidPoint=999_999, saga=saga)
    wait_both(shop, order, "FAILED")
    assert points(shop, buyer) == STARTING_POINTS


def test_the_rollback_of_a_saga_that_took_nothing_gives_nothing_back(shop: Example) -> None:
    buyer = next(buyers)
    order = place(shop, buyer, TEA, 2)
    tell(shop, "ROLLBACK", "PayCancelEvent", order, userId=buyer, paidPoint=200, saga="unheard-of")
    wait_both(shop, order, "FAILED")
    assert points(shop, buyer) == STARTING_POINTS
    assert pay(shop, buyer, order).status == 409


def test_an_order_that_cannot_be_confirmed_gives_the_points_back(shop: Example) -> None:
    buyer, order = next(buyers), 10 ** 9
    payment = shop.post("/v1/pays/orders", {"orderId": order, "userId": buyer, "price": 100})
    assert payment.status == 200
    assert pay(shop, buyer, order).status == 202
    failed = wait_state(shop, f"/v1/pays/orders/{order}", "FAILED")
    assert failed["reason"] == "there is no such order"
    assert points(shop, buyer) == STARTING_POINTS


def test_an_event_that_is_none_of_the_saga_is_kept_with_its_reason(shop: Example) -> None:
    order = 10 ** 9 + 1
    tell(shop, "COMMIT", "PayConfirmEvent", order)

    def held(database: str) -> list[tuple]:
        return rows(shop.data, database, "SELECT stage, state, reason FROM sluice_dead_letter"
                                         " WHERE message_key = ? ORDER BY stage", str(order))

    wanted = ("FAILED_PERMANENTLY",
              f"'PayConfirmEvent' in phase 'COMMIT' of order {order} is no event of the saga")
    wait_until(lambda: held("pay.db") == [("pay", *wanted)], "pay keeps it")
    wait_until(lambda: held("shop.db") == [("order", *wanted), ("stock", *wanted)], "the shop, too")


# --- kills under load

class Parts:
    """Both services and a relay, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, Process] = {}
        self.address: dict[str, str] = {}
        (folder / "tokens").write_text("".join(f"t{user} {user}\n" for user in range(1, 100)))

    def command(self, name: str) -> list[str]:
        broker = f"--broker=local:{self.folder}/log.db"
        listen = "--listen=" + self.address.get(name, "http://127.0.0.1:0").removeprefix("http://")
        if name == "relay":
            return [program("sluice"), "relay", broker, "--database",
                    f"sqlite:{self.folder}/pay.db,sqlite:{self.folder}/shop.db",
                    "--console.listen=127.0.0.1:0"]
        words = [f"--tokens={self.folder}/tokens"] if name == "pay" else []
        return [program(f"examples/payments/{name}"), listen, broker,
                f"--database=sqlite:{self.folder}/{name}.db", *words]

    def start(self, name: str) -> None:
        self.running[name] = Process(self.command(name), self.folder / f"{name}.log")
        ready = self.running[name].wait_ready()
        if "http" in ready:
            self.address[name] = ready["http"]

    def kill(self, name: str) -> None:
        self.running[name].close()

    def insist(self, service: str, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """The body of the answer, asked for until there is one: whoever is killed comes back."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}

        def answered() -> Any:
            with suppress(OSError, HTTPException):
                answer = call(method, self.address[service] + path, body, headers)
                return answer.body if answer.status < 300 else None
            return None
        return wait_until(answered, f"an answer to {path}", LOAD_SECONDS_MAX)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    started = Parts(tmp_path)
    try:
        for name in ("pay", "shop", "relay"):
            started.start(name)
        yield started
    finally:
        for process in started.running.values():
            process.close()


def test_kills_of_every_process_create_and_destroy_no_points(parts: Parts) -> None:
    folder, chance = parts.folder, random.Random(1)
    numbers = itertools.count(1)
    is_over = threading.Event()
    paid: list[int] = []

    def buy(buyer: int) -> None:
        while not is_over.is_set():
            count = next(numbers) % 5 + 1
            order = parts.insist("shop", "POST", "/v1/orders", {
                "userId": buyer, "productId": TEA if count < 4 else RARE, "quantity": count})
            parts.insist("pay", "POST", "/v1/pays/orders", {
                "orderId": order["orderId"], "userId": buyer, "price": order["totalPrice"]})
            parts.insist("pay", "POST", "/v1/pays/points", {"orderId": order["orderId"]},
                         f"t{buyer}")
            paid.append(order["orderId"])

    # Both of one buyer, so that they meet at its points.
    threads = [threading.Thread(target=buy, args=(buyer,)) for buyer in (1, 1, 2, 3)]
    for thread in threads:
        thread.start()
    try:
        for name in ["pay", "shop", "relay"] * 3:
            enough = len(paid) + chance.randint(1, 6)
            wait_until(lambda: len(paid) >= enough, "orders are paid", LOAD_SECONDS_MAX)
            parts.kill(name)
            parts.start(name)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    def states(database: str, sql: str) -> dict[int, str]:
        return dict(rows(folder, database, sql))

    def is_settled() -> bool:
        payments = states("pay.db", "SELECT order_id, state FROM payment")
        orders = states("shop.db", "SELECT id, state FROM orders")
        consumed = all(rows(folder, database, "SELECT count(*) FROM sluice_inbox WHERE consumer = ?",
                            consumer)[0][0] == saga_events()
                       for database, consumer in (("pay.db", "pay"), ("shop.db", "order"),
                                                  ("shop.db", "stock")))
        return consumed and all(payments[order] == orders[order] != "PENDING" for order in paid)

    def saga_events() -> int:
        return sum(rows(folder, database, "SELECT count(*) FROM sluice_outbox"
                                          " WHERE topic = 'pay-saga'")[0][0]
                   for database in ("pay.db", "shop.db"))

    wait_until(is_settled, "every payment has come to its end", 60)
    for buyer, have, taken, returned in rows(
            folder, "pay.db", "SELECT user_id, point,"
            " (SELECT coalesce(sum(amount), 0) FROM point_entry e"
            "  WHERE e.user_id = p.user_id AND kind = 'PAY'),"
            " (SELECT coalesce(sum(amount), 0) FROM point_entry e"
            "  WHERE e.user_id = p.user_id AND kind = 'REFUND') FROM point p"):
        assert have == STARTING_POINTS - taken + returned, f"buyer {buyer}"
    # What was taken and kept is what the successful payments cost, and nothing else is.
    assert rows(folder, "pay.db", "SELECT saga_id, price FROM payment WHERE state = 'SUCCESS'"
                                  " ORDER BY 1") == rows(
        folder, "pay.db", "SELECT saga_id, amount FROM point_entry WHERE kind = 'PAY' AND saga_id"
                          " NOT IN (SELECT saga_id FROM point_entry WHERE kind = 'REFUND')"
                          " ORDER BY 1")
    sold = dict(rows(folder, "shop.db", "SELECT product_id, sum(product_quantity) FROM orders"
                                        " WHERE state = 'SUCCESS' GROUP BY product_id"))
    left = dict(rows(folder, "shop.db", "SELECT id, quantity FROM product"))
    assert {TEA: left[TEA] + sold.get(TEA, 0), RARE: left[RARE] + sold.get(RARE, 0)} == {
        TEA: 100_000, RARE: 1}
