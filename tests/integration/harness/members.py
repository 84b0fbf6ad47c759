"""The orders example with members: who registers, logs in, and does what only he may."""
from __future__ import annotations

import itertools
from typing import Any

from .http import Answer, call
from .orders import ESPRESSO, Orders, stream_path
from .sse import Follower
from .waiting import wait_until

PASSWORD = "correct-horse"
numbers = itertools.count(1)


def applicant(**changes: Any) -> dict:
    """The body of a registration that nobody else has sent."""
    number = next(numbers)
    body = {"user_ci_number": f"ci-{number}", "username": f"Member {number}",
            "user_phone": f"010-{number}", "user_email": f"member-{number}@example.org",
            "password": PASSWORD}
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class MemberOrders(Orders):
    """The example with --members on."""

    def start(self, *options: str) -> None:
        super().start("--members=on", "--payment-delay-ms=0", *options)

    def register(self, **changes: Any) -> Answer:
        return call("POST", self.gateway + "/auth/register", applicant(**changes))

    def login(self, email: str, password: str = PASSWORD) -> Answer:
        return call("POST", self.gateway + "/auth/login", {"email": email, "password": password})

    def member(self, points: int = 0) -> "Member":
        """A new member who has logged in, and has a wallet with so many points."""
        body = applicant()
        registered = call("POST", self.gateway + "/auth/register", body)
        assert registered.status == 201, registered
        answer = self.login(body["user_email"])
        assert answer.status == 201, answer
        token = answer.headers["authorization"].removeprefix("Bearer ")
        member = Member(self, registered.body["user_id"], token)
        wait_until(lambda: member.get("/wallet/point").status == 200, "the wallet is made")
        if points:
            assert member.charge(points, "first").body == {"point": points}
        return member


class Member:
    """Somebody who has logged in."""

    def __init__(self, orders: MemberOrders, user_id: int, token: str) -> None:
        self.orders = orders
        self.user_id = user_id
        self.token = token

    def get(self, path: str, **headers: str) -> Answer:
        return call("GET", self.orders.gateway + path, None, {**bearer(self.token), **headers})

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return call("POST", self.orders.gateway + path, body, {**bearer(self.token), **headers})

    def charge(self, amount: Any, key: str) -> Answer:
        return self.post("/wallet/charge", {"amount": amount}, **{"Idempotency-Key": key})

    def points(self) -> int:
        return self.get("/wallet/point").body["point"]

    def place(self, item: int = ESPRESSO, quantity: int = 2) -> int:
        answer = self.post("/orders", {"items": [{"item_id": item, "quantity": quantity}]})
        assert answer.status == 202, answer
        return answer.body["order_id"]

    def cancel(self, order_id: int) -> Answer:
        return self.post(f"/orders/{order_id}/cancel")

    def wait_type(self, order_id: int, name: str) -> dict:
        def reached() -> dict | None:
            order = self.get(f"/orders/{order_id}").body
            return order if order["type"] == name else None
        return wait_until(reached, f"order {order_id} is {name}")

    def follow(self, order_id: int, kind: str = "hub") -> Follower:
        return Follower(lambda: self.orders.gateway + stream_path(order_id, kind),
                        headers=bearer(self.token))
