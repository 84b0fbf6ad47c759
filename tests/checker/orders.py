"""The orders example as the checker sees it: which tables are ledger, which are effects."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

from . import read
from .model import Consumer, Event, Ledger, World

STARTING_POINTS = 10_000
STATUS_TOPIC = "order.status-changed.v1"
FINAL_TYPES = frozenset({"completed", "failed", "cancelled", "timed_out"})

# consumer, topic, database, and the query that names the event of each effect
CONSUMERS = [
    ("order-payment-requested-v1", "order.payment-requested.v1", "payment.db",
     "SELECT event_id FROM payment_log"),
    ("order-payment-compensation-requested-v1", "order.payment-compensation-requested.v1",
     "payment.db", "SELECT event_id FROM charge_log"),
    ("order-requested", "order.requested.v1", "orders.db", None),
    ("order-payment-completed", "payment.completed.v1", "orders.db", None),
    ("order-payment-failed", "payment.failed.v1", "orders.db", None),
    ("order-payment-compensated", "payment.compensated.v1", "orders.db", None),
    ("order-payment-compensation-failed", "payment.compensation-failed.v1", "orders.db", None),
]


def wallet_books(data: Path) -> list[str]:
    """Every wallet is what it started with, less what was paid, plus what was given back."""
    with read.database(data / "payment.db") as payment:
        points = dict(payment.execute("SELECT user_id, point FROM user_point"))
        paid = dict(payment.execute("SELECT user_id, sum(total_amount) FROM payment_log"
                                    " WHERE result = 'COMPLETED' GROUP BY user_id"))
        back = dict(payment.execute("SELECT user_id, sum(point_after - point_before)"
                                    " FROM charge_log GROUP BY user_id"))
    return [f"wallet of user {user} has {have}, and should have {want}"
            for user, have in points.items()
            if have != (want := STARTING_POINTS - paid.get(user, 0) + back.get(user, 0))]


def order_books(data: Path) -> list[str]:
    """What an order's status says about money is what the payment service's books say."""
    with read.database(data / "payment.db") as payment:
        paid = Counter(order for order, in payment.execute(
            "SELECT order_id FROM payment_log WHERE result = 'COMPLETED'"))
        refunded = Counter(order for order, in payment.execute(
            "SELECT order_id FROM charge_log JOIN payment_log USING (payment_log_id)"))
    with read.database(data / "orders.db") as orders:
        rows = orders.execute("SELECT order_id, status FROM orders").fetchall()
    wanted = {"COMPLETED": lambda paid, back: (paid, back) == (1, 0),
              "FAILED": lambda paid, back: (paid, back) == (0, 0),
              "CANCELLED": lambda paid, back: paid == back <= 1,
              "TIMED_OUT": lambda paid, back: paid == back <= 1}
    return [f"order {order} is {status}, was paid {paid[order]} and given back {refunded[order]} times"
            for order, status in rows
            if status not in wanted or not wanted[status](paid[order], refunded[order])]


# what is asked, and the answers: for each key as many of the one as of the other
QUESTIONS = [
    ("order.payment-requested.v1", {"payment.completed.v1", "payment.failed.v1"}),
    ("order.payment-compensation-requested.v1",
     {"payment.compensated.v1", "payment.compensation-failed.v1"}),
]


def answer_books(committed: list[Event], dead: set[str]) -> list[str]:
    """Each question is answered once, but for those in the dead letters. A handler that ran twice
    would have answered twice."""
    texts = []
    for question, answers in QUESTIONS:
        asked = Counter(event.key for event in committed
                        if event.topic == question and event.id not in dead)
        answered = Counter(event.key for event in committed if event.topic in answers)
        texts += [f"{question} of order {key}: asked {asked[key]}, answered {answered[key]} times"
                  for key in asked | answered if asked[key] != answered[key]]
    return texts


def read_world(data: Path, client_notes: Path | None = None) -> World:
    sources = [data / "orders.db", data / "payment.db"]
    committed = [event for source in sources for event in read.outbox(source)]
    world = World(
        committed=committed,
        records=read.log(data / "log.db"),
        ledgers=[Ledger(STATUS_TOPIC, FINAL_TYPES, read.ledger(
            data / "orders.db", "SELECT order_id, version, type, event_id FROM order_history"))],
        clients=read.clients(client_notes) if client_notes is not None else [],
        relay_dead_letters=set().union(*(read.dead_letters(source, "relay") for source in sources)),
        books=wallet_books(data) + order_books(data))
    for name, topic, file, effects in CONSUMERS:
        path = data / file
        world.consumers.append(Consumer(
            name, topic, read.markers(path, name),
            read.column(path, effects) if effects is not None else None,
            read.dead_letters(path, name)))
    dead = set().union(*(consumer.dead_letters for consumer in world.consumers))
    world.books += answer_books(committed, dead)
    return world
