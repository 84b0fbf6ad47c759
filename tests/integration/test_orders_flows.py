"""What happens to an order, from the first status to the last, as a client sees it."""
from __future__ import annotations

from harness.http import call
from harness.orders import ESPRESSO, ESPRESSO_MACHINE, Orders
from harness.waiting import wait_until


def test_an_order_with_enough_points_is_paid_and_completed(orders: Orders) -> None:
    placed = orders.place(user=11, item=ESPRESSO, quantity=2)
    assert (placed["type"], placed["status"], placed["version"]) == ("order_accepted", "PROCESSING", 1)
    done = orders.wait_type(placed["order_id"], "completed")
    assert done == {"order_id": placed["order_id"], "type": "completed", "status": "COMPLETED",
                    "version": 3, "failure_reason": None}
    assert orders.points(user=11) == 10_000 - 2 * 300
    assert orders.history(placed["order_id"]) == [
        (1, "order_accepted"), (2, "payment_requested"), (3, "completed")]


def test_an_order_with_too_few_points_fails_and_says_why(orders: Orders) -> None:
    order_id = orders.place(user=12, item=ESPRESSO_MACHINE, quantity=1)["order_id"]
    failed = orders.wait_type(order_id, "failed")
    assert failed["status"] == "FAILED"
    assert failed["failure_reason"] == (
        "too few points: the order costs 25000, the wallet has 10000")
    assert orders.points(user=12) == 10_000


def test_a_wallet_pays_until_it_is_empty_and_never_more(orders: Orders) -> None:
    ids = [orders.place(user=13, item=ESPRESSO, quantity=20)["order_id"] for _ in range(3)]
    types = sorted(wait_until(lambda: orders.order(each)["type"] in ("completed", "failed")
                              and orders.order(each)["type"], f"the end of order {each}")
                   for each in ids)
    assert types == ["completed", "failed", "failed"]
    assert orders.points(user=13) == 10_000 - 20 * 300


def test_a_cancel_while_the_payment_is_on_its_way_gives_the_points_back_once(
        orders: Orders) -> None:
    with orders.payments_held():
        order_id = orders.place(user=14)["order_id"]
        orders.wait_type(order_id, "payment_requested")
        answer = orders.cancel(order_id)
    assert (answer.status, answer.body["type"]) == (200, "cancel_requested")
    assert answer.body["failure_reason"] == "cancelled by user"
    assert orders.wait_type(order_id, "cancelled")["status"] == "CANCELLED"
    assert orders.history(order_id) == [
        (1, "order_accepted"), (2, "payment_requested"), (3, "cancel_requested"),
        (4, "cancel_requested"), (5, "cancelled")]
    assert orders.refund_count(order_id) == 1
    assert orders.points(user=14) == 10_000


def test_a_second_cancel_says_the_same_and_publishes_nothing(orders: Orders) -> None:
    with orders.payments_held():
        order_id = orders.place(user=15)["order_id"]
        orders.wait_type(order_id, "payment_requested")
        first, second = orders.cancel(order_id), orders.cancel(order_id)
    assert (first.status, first.body) == (second.status, second.body)
    orders.wait_type(order_id, "cancelled")
    assert [name for _, name in orders.history(order_id)].count("cancel_requested") == 2
    assert orders.refund_count(order_id) == 1


def test_a_cancel_of_an_order_that_cannot_be_paid_ends_without_a_refund(orders: Orders) -> None:
    with orders.payments_held():
        order_id = orders.place(user=16, item=ESPRESSO_MACHINE)["order_id"]
        orders.wait_type(order_id, "payment_requested")
        assert orders.cancel(order_id).status == 200
    assert orders.wait_type(order_id, "cancelled")["version"] == 4
    assert orders.refund_count(order_id) == 0


def test_a_finished_order_can_no_longer_be_cancelled(orders: Orders) -> None:
    order_id = orders.place(user=17)["order_id"]
    orders.wait_type(order_id, "completed")
    answer = orders.cancel(order_id)
    assert answer.status == 409
    assert answer.body == {
        "message": f"order {order_id} is COMPLETED and can no longer be cancelled"}


def test_an_order_that_is_not_paid_in_time_stays_timed_out_while_its_refund_runs(
        impatient_orders: Orders) -> None:
    with impatient_orders.payments_held():
        order_id = impatient_orders.place(user=18)["order_id"]
        timed_out = impatient_orders.wait_type(order_id, "timed_out")
        assert timed_out["status"] == "TIMED_OUT"
        assert timed_out["failure_reason"] == "not paid in time"
        assert impatient_orders.cancel(order_id).status == 409
    wait_until(lambda: impatient_orders.payment_status(order_id) == "COMPENSATED",
               "the late payment is given back")
    assert impatient_orders.order(order_id) == timed_out
    assert impatient_orders.refund_count(order_id) == 1
    assert impatient_orders.points(user=18) == 10_000


def test_the_same_idempotency_key_places_one_order(orders: Orders) -> None:
    first = orders.place(user=19, key="till-3-receipt-88")
    again = orders.place(user=19, key="till-3-receipt-88")
    assert again["order_id"] == first["order_id"]
    orders.wait_type(first["order_id"], "completed")
    assert orders.rows("orders.db", "SELECT count(*) FROM orders WHERE user_id = 19") == [(1,)]


def test_an_idempotency_key_of_another_order_is_refused(orders: Orders) -> None:
    orders.place(user=20, quantity=1, key="till-4")
    answer = call("POST", orders.gateway + "/orders",
                  {"user_id": 20, "items": [{"item_id": 1, "quantity": 2}]},
                  {"Idempotency-Key": "till-4"})
    assert answer.status == 422
    assert "take a new one" in answer.body["message"]


def test_lines_of_one_item_are_summed(orders: Orders) -> None:
    answer = call("POST", orders.gateway + "/orders", {"user_id": 21, "items": [
        {"item_id": 1, "quantity": 2}, {"item_id": 3, "quantity": 1}, {"item_id": 1, "quantity": 3}]})
    orders.wait_type(answer.body["order_id"], "completed")
    assert orders.points(user=21) == 10_000 - 5 * 300 - 600


def test_every_promise_held_in_all_that_these_tests_did(
        orders: Orders, impatient_orders: Orders) -> None:
    for each in (orders, impatient_orders):
        assert each.check_until_quiet()["counts"]["committed"] > 0
