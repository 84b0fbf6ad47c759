"""The customers of each example in the fleet, and all of them together."""
from __future__ import annotations

from typing import Callable

from .fleet import Fleet
from .fleet_client import Client, Followed
from .fleet_posts import Posts
from .waiting import wait_until

ESPRESSO, ESPRESSO_MACHINE = 1, 4  # 300 points, and 25,000: more than a wallet has
TEA, POT, RARE = 1, 2, 3  # 100 and 400 points; of the last there is one, for 50
CHOICES = ["tea", "coffee", "water"]


class Registrations(Client):
    kind = "users"

    def __init__(self, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self.users: set[str] = set()

    def serve(self, number: int) -> None:
        user = f"user-{number}"
        body = {"userId": user, "userName": f"Name {number}"}
        self.ask("POST", "/users", body, {200, 201})
        if number % 9 == 0:  # once more, long after the answer
            self.ask("POST", "/users", body, {200})
        self.users.add(user)
        self.follow(user, f"/coupons/{user}/stream")


class Orders(Client):
    kind = "orders"

    def __init__(self, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self.orders: dict[str, int] = {}  # idempotency key -> order

    def serve(self, number: int) -> None:
        key = f"customer-{number}"
        item = ESPRESSO_MACHINE if number % 7 == 0 else ESPRESSO
        body = {"user_id": self.draw.randrange(1, 60), "items": [{"item_id": item, "quantity": 1}]}
        order = self.ask("POST", "/orders", body, {202}, **{"Idempotency-Key": key})["order_id"]
        self.orders[key] = order
        self.follow(order, f"/orders/{order}/stream")
        if number % 4 == 0:
            self.ask("POST", f"/orders/{order}/cancel", None, {200, 409})


class Payments(Client):
    kind = "payments"

    def __init__(self, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self.started: set[int] = set()  # orders whose payment was asked for, and granted to begin

    def serve(self, number: int) -> None:
        buyer = self.draw.randrange(1, 200)
        product = RARE if number % 6 == 0 else self.draw.choice([TEA, POT])
        # Not to be repeated safely: an answer that is lost leaves an order that nobody pays.
        order = self.ask("POST", "/v1/orders", {"userId": buyer, "productId": product, "quantity":
                                        12 if number % 8 == 0 else 1}, {201})
        paid = {"orderId": order["orderId"], "userId": buyer, "price": order["totalPrice"]}
        self.ask("POST", "/v1/pays/orders", paid, {200})
        if number % 10 == 0:
            return  # changed his mind
        self.follow(order["orderId"], f"/v1/pays/orders/{order['orderId']}/stream")
        self.ask("POST", "/v1/pays/points", {"orderId": order["orderId"]}, {202},
                 Authorization=f"Bearer token-of-{buyer}")
        self.started.add(order["orderId"])


class Votes(Client):
    kind = "votes"

    def __init__(self, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self.counted = dict.fromkeys(CHOICES, 0)
        self.unknown = dict.fromkeys(CHOICES, 0)

    def serve(self, number: int) -> None:
        if number == 1:
            for choice in CHOICES:
                self.follow(choice, f"/votes/{choice}/stream")
        choice = self.draw.choice(CHOICES)
        answer = self.attempt("POST", "/votes", {"choice": choice})
        (self.unknown if answer is None else self.counted)[choice] += 1
        assert answer is None or answer.status == 200, answer


KINDS: list[Callable[[Fleet, int], Client]] = [Registrations, Orders, Payments, Votes, Posts]


class Load:
    """All clients."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.clients = {client.kind: client for client in (kind(fleet, seed) for kind in KINDS)}
        for client in self.clients.values():
            client.thread.start()

    def wait_flowing(self, seconds: float) -> None:
        """On a new broker the first event of each topic waits until all have found the topic."""
        for kind in ("users", "orders", "payments"):
            wait_until(lambda: self.fleet.problems or any(
                each.follower.has_ended for each in self.clients[kind].followed),
                f"the first of {kind} comes to its end", seconds)
        assert not self.fleet.problems, self.fleet.problems[0]

    def finish(self) -> None:
        for client in self.clients.values():
            client.finish()
        assert not self.fleet.problems, self.fleet.problems[0]

    def followed(self) -> list[Followed]:
        return [each for client in self.clients.values() for each in client.followed]

    def stop(self) -> None:
        for each in self.followed():
            each.follower.stop()
