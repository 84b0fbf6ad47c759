"""The payments example: three services that agree by events, whatever one of them refuses."""
from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Iterator

import pytest
from harness.example import Example, run_example

TEA, POT, RARE = 1, 2, 3  # 100, 400, 50 points; of the last there is one
buyers = itertools.count(1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("payments", tmp_path_factory.mktemp("payments")) as running:
        yield running


def place(shop: Example, buyer: int, product: int, quantity: int) -> int:
    order = shop.post("/v1/orders", {"userId": buyer, "productId": product, "quantity": quantity})
    assert order.status == 201, order
    payment = shop.post("/v1/pays/orders", {"orderId": order.body["orderId"], "userId": buyer,
                                            "price": order.body["totalPrice"]})
    assert (payment.status, payment.body["state"]) == (200, "PENDING")
    return order.body["orderId"]


def pay(shop: Example, buyer: int, order: int):
    return shop.post("/v1/pays/points", {"orderId": order},
                     Authorization=f"Bearer token-of-{buyer}")


def wait_state(shop: Example, path: str, state: str) -> dict:
    return shop.wait_for(path, lambda body: body["state"] == state, f"{path} is {state}")


def points(shop: Example, buyer: int) -> int:
    return shop.get(f"/v1/points/{buyer}").body["point"]


def test_an_order_is_paid_confirmed_and_taken_out_of_stock(shop: Example) -> None:
    buyer = next(buyers)  # of what no other test takes: their tea may still be on its way
    before = shop.get(f"/v1/products/{POT}").body["quantity"]
    order = place(shop, buyer, POT, 2)
    answer = pay(shop, buyer, order)
    assert answer.status == 202
    assert len(answer.body["sagaId"]) == 36
    wait_state(shop, f"/v1/pays/orders/{order}", "SUCCESS")
    wait_state(shop, f"/v1/orders/{order}", "SUCCESS")
    shop.wait_for(f"/v1/products/{POT}", lambda body: body["quantity"] == before - 2, "the stock")
    assert points(shop, buyer) == 200


def test_too_few_points_are_a_refusal_that_everybody_hears_of(shop: Example) -> None:
    buyer = next(buyers)
    order = place(shop, buyer, POT, 3)
    assert pay(shop, buyer, order).status == 202
    payment = wait_state(shop, f"/v1/pays/orders/{order}", "FAILED")
    assert payment["reason"] == "too few points: the order costs 1200, the buyer has 1000"
    assert wait_state(shop, f"/v1/orders/{order}", "FAILED")["reason"] == payment["reason"]
    assert points(shop, buyer) == 1000


def test_too_little_stock_gives_the_points_back_once(shop: Example) -> None:
    first, second = next(buyers), next(buyers)
    orders = [place(shop, first, RARE, 1), place(shop, second, RARE, 1)]
    for buyer, order in zip((first, second), orders):
        assert pay(shop, buyer, order).status == 202
    shop.wait_for(f"/v1/products/{RARE}", lambda body: body["quantity"] == 0, "the cup is sold")

    def failed_orders(_: dict) -> bool:
        return sum(shop.get(f"/v1/orders/{order}").body["state"] == "FAILED"
                   for order in orders) == 1

    shop.wait_for("/v1/products/3", failed_orders, "one of the orders has failed")
    lost = next(i for i in (0, 1) if shop.get(f"/v1/orders/{orders[i]}").body["state"] == "FAILED")
    wait_state(shop, f"/v1/pays/orders/{orders[lost]}", "FAILED")
    assert points(shop, (first, second)[lost]) == 1000
    assert points(shop, (first, second)[1 - lost]) == 950


def test_the_same_payment_again_is_the_same_answer_and_another_one_is_refused(shop: Example
                                                                            ) -> None:
    buyer = next(buyers)
    order = place(shop, buyer, TEA, 1)
    body = {"orderId": order, "userId": buyer, "price": 100}
    again = [shop.post("/v1/pays/orders", body) for _ in range(2)]
    assert [answer.status for answer in again] == [200, 200]
    known = shop.get(f"/v1/pays/orders/{order}").body["payId"]
    assert [answer.body["payId"] for answer in again] == [known, known]
    assert shop.post("/v1/pays/orders", {**body, "price": 99}).status == 409
    first, second = pay(shop, buyer, order), pay(shop, buyer, order)
    assert (first.status, second.status) == (202, 202)
    assert first.body == second.body
    wait_state(shop, f"/v1/orders/{order}", "SUCCESS")
    assert points(shop, buyer) == 900


def test_only_the_buyer_pays(shop: Example) -> None:
    buyer, other = next(buyers), next(buyers)
    order = place(shop, buyer, TEA, 1)
    assert shop.post("/v1/pays/points", {"orderId": order}).status == 401
    assert shop.post("/v1/pays/points", {"orderId": order},
                     Authorization="Bearer nobody's").status == 401
    assert pay(shop, other, order).status == 403
    assert pay(shop, buyer, 10 ** 12).status == 404
    assert shop.get(f"/v1/pays/orders/{order}").body["state"] == "PENDING"


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/orders", {"userId": 1, "productId": 1}),
    ("/v1/orders", {"userId": 1, "productId": 1, "quantity": -1}),
    ("/v1/orders", {"userId": 1, "productId": 1, "quantity": 1.5}),
    ("/v1/orders", {"userId": "1", "productId": 1, "quantity": 1}),
    ("/v1/pays/orders", {"orderId": 0, "userId": 1, "price": 1}),
    ("/v1/pays/orders", {"orderId": 1, "userId": 1, "price": 0}),
    ("/v1/pays/orders", {"orderId": 1, "userId": 1, "price": 1, "x": 1}),
    ("/v1/pays/orders", [1]),
])
def test_a_bad_body_is_told_what_is_wrong(shop: Example, path: str, body: object) -> None:
    answer = shop.post(path, body)
    assert answer.status == 400
    assert answer.body["message"]


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1.5", "9223372036854775808", "1" * 100])
def test_an_id_that_is_no_whole_number_is_told(shop: Example, number: str) -> None:
    for path in ("/v1/orders/", "/v1/products/", "/v1/pays/orders/", "/v1/points/"):
        answer = shop.get(path + number)
        assert answer.status == 400
        assert answer.body["message"].startswith("an id is a whole number from 1")
    assert shop.post(f"/v1/pays/orders/{number}/rollback").status == 400


def test_a_page_sees_the_payment_end(shop: Example) -> None:
    buyer = next(buyers)
    order = place(shop, buyer, TEA, 1)
    stream = shop.follow(f"/v1/pays/orders/{order}/stream")
    pay(shop, buyer, order)
    stream.wait_ended()
    assert stream.names() == ["PENDING", "SUCCESS", "end"]


# The three ways of handling a rollback within the process.

def rollback_case(tmp_path: Path, handler: str):
    return run_example("payments", tmp_path / "data", f"--rollback-handler={handler}")


def test_no_task_fails_the_publisher_at_once_and_changes_nothing(tmp_path: Path) -> None:
    with rollback_case(tmp_path, "no-task") as shop:
        order = place(shop, 1, TEA, 1)
        before = shop.get(f"/v1/pays/orders/{order}").body
        answer = shop.post(f"/v1/pays/orders/{order}/rollback")
        assert answer.status == 500
        assert "rollback-payment" in answer.body["message"]
        assert shop.get(f"/v1/pays/orders/{order}").body == before
        assert before["state"] == "PENDING"


def test_a_task_is_part_of_the_commit(tmp_path: Path) -> None:
    with rollback_case(tmp_path, "task") as shop:
        order = place(shop, 1, TEA, 1)
        pay(shop, 1, order)
        wait_state(shop, f"/v1/orders/{order}", "SUCCESS")
        answer = shop.post(f"/v1/pays/orders/{order}/rollback")
        assert (answer.status, answer.body["state"]) == (200, "FAILED")
        assert points(shop, 1) == 1000
        wait_state(shop, f"/v1/orders/{order}", "FAILED")


def test_a_detached_handler_comes_after_the_publisher_has_gone_on(tmp_path: Path) -> None:
    with rollback_case(tmp_path, "detached") as shop:
        order = place(shop, 1, TEA, 1)
        assert shop.post(f"/v1/pays/orders/{order}/rollback").status == 200
        wait_state(shop, f"/v1/pays/orders/{order}", "FAILED")
        wait_state(shop, f"/v1/orders/{order}", "FAILED")
