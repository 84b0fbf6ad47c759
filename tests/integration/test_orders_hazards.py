"""What goes wrong in services like the orders example, and must not here: see docs/seeds-orders.md."""
from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Iterator

import pytest
from harness.members import MemberOrders
from harness.orders import Orders
from harness.process import BUILD
from harness.waiting import wait_until

CONSUMER = "order-payment-compensation-requested-v1"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[MemberOrders]:
    running = MemberOrders(tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.close()


def test_a_second_request_to_give_points_back_gives_them_back_once(shop: MemberOrders) -> None:
    member = shop.member(points=1000)
    with shop.payments_held():
        order_id = member.place()
        member.wait_type(order_id, "payment_requested")
        member.cancel(order_id)
    member.wait_type(order_id, "cancelled")
    marked = "SELECT count(*) FROM sluice_inbox WHERE consumer = ?"
    assert shop.rows("payment.db", marked, CONSUMER) == [(1,)]
    with closing(sqlite3.connect(shop.data / "orders.db", timeout=20, isolation_level=None)) as sql:
        sql.enable_load_extension(True)
        sql.load_extension(str(BUILD / "sluice_sqlite.so"))
        sql.execute("BEGIN IMMEDIATE")
        sql.execute("SELECT sluice_publish('order.payment-compensation-requested.v1', ?, ?, 'Again')",
                    (str(order_id), json.dumps({"order_id": order_id}))).fetchone()
        sql.execute("COMMIT")
    wait_until(lambda: shop.rows("payment.db", marked, CONSUMER) == [(2,)], "both are applied")
    assert (shop.refund_count(order_id), member.points()) == (1, 1000)


def test_who_registered_before_the_payment_service_first_ran_has_a_wallet(shop: MemberOrders
                                                                         ) -> None:
    member = shop.member()
    assert shop.end() == 0
    for path in shop.data.glob("payment.db*"):  # as if it had never run
        path.unlink()
    with closing(sqlite3.connect(shop.data / "log.db")) as log:
        assert log.execute("DELETE FROM consumer_position WHERE consumer = 'point-initializer-v1'"
                           ).rowcount > 0
        log.commit()
    shop.start()
    wait_until(lambda: member.get("/wallet/point").body == {"point": 0}, "the wallet")


def test_a_payment_that_takes_its_time_keeps_no_other_one_waiting(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    try:
        orders.start("--payment-delay-ms=4000")
        ids = [orders.place(user=user)["order_id"] for user in range(1, 6)]
        wait_until(lambda: orders.rows("payment.db", "SELECT count(*) FROM payment_due"
                                       " WHERE NOT EXISTS (SELECT 1 FROM payment_log)") == [(5,)],
                   "all five wait side by side")
        for order_id in ids:
            orders.wait_type(order_id, "completed")
    finally:
        orders.close()
