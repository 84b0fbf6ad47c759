"""What the orders example answers to what it cannot use: a status, and a text that says why."""
from __future__ import annotations

import json

import pytest
from harness.http import call
from harness.orders import Orders

GOOD_LINE = {"item_id": 1, "quantity": 2}


def body(**changes) -> bytes:
    return json.dumps({"user_id": 7, "items": [GOOD_LINE], **changes}).encode()


def line(**changes) -> bytes:
    return body(items=[{**GOOD_LINE, **changes}])


BAD_BODIES = {
    "nothing": (b"", "the body is not JSON: "),
    "no JSON": (b"hello", "the body is not JSON: "),
    "broken JSON": (b'{"user_id": 7, "items": [', "(line 1, column "),
    "no UTF-8": (b'{"user_id": "\xff"}', "the body is not JSON: "),
    "a NUL": (b'{"user_id": 7}\x00', "the body is not JSON: "),
    "a duplicate key": (b'{"user_id": 7, "user_id": 8}', "duplicate object key"),
    "a list": (b"[]", "the body must be a JSON object"),
    "an unknown field": (body(total=1), "there is no field 'total'"),
    "an unknown field of an item": (line(price=1), "there is no field 'price'"),
    "no user": (b'{"items": []}', "user_id must be a whole number from 1"),
    "a user in words": (body(user_id="seven"), "user_id must be a whole number from 1"),
    "user 0": (body(user_id=0), "user_id must be a whole number from 1"),
    "a negative user": (body(user_id=-7), "user_id must be a whole number from 1"),
    "half a user": (body(user_id=7.5), "user_id must be a whole number from 1"),
    "a user beyond 64 bits": (b'{"user_id": 99999999999999999999, "items": []}', "too big integer"),
    "no items": (b'{"user_id": 7}', "items must be a list of 1 to 20 items"),
    "an empty list": (body(items=[]), "items must be a list of 1 to 20 items"),
    "too long a list": (body(items=[GOOD_LINE] * 21), "items must be a list of 1 to 20 items"),
    "items in words": (body(items="two"), "items must be a list of 1 to 20 items"),
    "an item that is no object": (body(items=[7]), "items[0].item_id must be one of 1 to 4"),
    "an unknown item": (line(item_id=5), "items[0].item_id must be one of 1 to 4: see GET /items"),
    "no quantity": (body(items=[{"item_id": 1}]), "items[0].quantity must be a whole number"),
    "a negative quantity": (line(quantity=-1), "items[0].quantity must be a whole number from 1 to 99"),
    "quantity 0": (line(quantity=0), "items[0].quantity must be a whole number from 1 to 99"),
    "a huge quantity": (line(quantity=100), "items[0].quantity must be a whole number from 1 to 99"),
    "half a quantity": (line(quantity=0.5), "items[0].quantity must be a whole number from 1 to 99"),
    "too many in the sum": (body(items=[{"item_id": 2, "quantity": 60}] * 2),
                            "item 2 is ordered more than 99 times"),
    "a bad second line": (body(items=[GOOD_LINE, {"item_id": 0, "quantity": 1}]),
                          "items[1].item_id must be one of 1 to 4"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_order_is_refused_with_400_and_the_reason(orders: Orders, name: str) -> None:
    sent, reason = BAD_BODIES[name]
    answer = call("POST", orders.gateway + "/orders", sent)
    assert answer.status == 400
    assert list(answer.body) == ["message"]
    assert reason in answer.body["message"]


def test_nothing_of_a_bad_order_is_left_behind(orders: Orders) -> None:
    before = orders.rows("orders.db", "SELECT count(*) FROM sluice_outbox WHERE topic = ?",
                         "order.requested.v1")
    call("POST", orders.gateway + "/orders", line(quantity=-1))
    assert orders.rows("orders.db", "SELECT count(*) FROM sluice_outbox WHERE topic = ?",
                       "order.requested.v1") == before


def test_a_body_that_is_too_large_is_refused_with_413(orders: Orders) -> None:
    answer = call("POST", orders.gateway + "/orders", b" " * (64 * 1024 + 1))
    assert answer.status == 413
    assert answer.body == {"message": "the body is larger than 65536 bytes"}


NO_ID = "an id is a whole number from 1, unlike that of "


@pytest.mark.parametrize("method, path, status, reason", [
    ("GET", "/orders/999999", 404, "there is no order 999999"),
    ("POST", "/orders/999999/cancel", 404, "there is no order 999999"),
    ("GET", "/orders/999999/stream/direct", 404, "there is no order 999999"),
    ("GET", "/orders/seven", 400, NO_ID + "/orders/seven"),
    ("GET", "/orders/0", 400, NO_ID + "/orders/0"),
    ("GET", "/orders/-1", 400, NO_ID + "/orders/-1"),
    ("GET", "/orders/99999999999999999999", 400, NO_ID + "/orders/99999999999999999999"),
    ("POST", "/orders/1.5/cancel", 400, NO_ID + "/orders/1.5/cancel"),
    ("GET", "/orders/x/stream/direct", 400, NO_ID + "/orders/x/stream/direct"),
    ("GET", "/nowhere", 404, "there is nothing at /nowhere"),
    ("GET", "/orders/1/nothing", 404, "there is nothing at /orders/1/nothing"),
    ("DELETE", "/orders/1", 405, "/orders/1 takes GET, HEAD, not DELETE"),
    ("GET", "/orders/1/cancel", 405, "/orders/1/cancel takes POST, not GET"),
    ("POST", "/wallet/point", 405, "/wallet/point takes GET, HEAD, not POST"),
    ("GET", "/wallet/point", 400, "user_id must be a whole number from 1"),
    ("GET", "/wallet/point?user_id=me", 400, "user_id must be a whole number from 1"),
    ("GET", "/wallet/point?user_id=0", 400, "user_id must be a whole number from 1"),
    ("GET", "/wallet/point?user_id=-1", 400, "user_id must be a whole number from 1"),
    ("GET", "/wallet/point?user_id=99999999999999999999", 400, "user_id must be a whole number"),
    ("POST", "/wallet/charge", 404, "there is nothing at /wallet/charge"),
])
def test_a_request_for_what_is_not_there_says_so(
        orders: Orders, method: str, path: str, status: int, reason: str) -> None:
    answer = call(method, orders.gateway + path)
    assert answer.status == status
    assert reason in answer.body["message"]
    assert answer.headers.get("allow") == (reason.split(" takes ")[1].rpartition(",")[0]
                                           if status == 405 else None)


def test_an_unknown_order_has_no_hub_stream(orders: Orders) -> None:
    answer = call("GET", orders.gateway + "/orders/999999/stream")
    assert answer.status == 404


@pytest.mark.parametrize("key", ["k" * 256, "\xff"], ids=["too long", "no UTF-8"])
def test_an_idempotency_key_that_is_none_is_refused(orders: Orders, key: str) -> None:
    answer = call("POST", orders.gateway + "/orders", body(), {"Idempotency-Key": key})
    assert (answer.status, answer.body["message"]) == (
        400, "Idempotency-Key must have 1 to 255 characters")
