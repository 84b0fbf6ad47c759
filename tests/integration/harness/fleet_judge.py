"""What must be true of the fleet once it has come to rest, whatever happened to it."""
from __future__ import annotations

import json
import subprocess
import time
from typing import Any, Callable

from .fleet import Fleet
from .fleet_client import Followed, expect
from .fleet_load import Load
from .fleet_posts import judge_posts
from .process import program

STARTING_POINTS, WALLET_POINTS = 1000, 10000
STOCK = {1: 100000, 2: 100000, 3: 1}
NO_STATUS = {"end", "reset", "lagged", "unavailable", "draining"}
FINAL_ORDERS = "('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')"


def verify(fleet: Fleet) -> dict:
    done = subprocess.run([program("sluice"), "verify", "--config", fleet.config, "--json",
                           "--all-sources", "--horizon", "0ms"], capture_output=True, text=True,
                          timeout=300)
    expect(done.returncode in (0, 1) and done.stdout, "sluice verify:", done.stderr[-1000:])
    return json.loads(done.stdout)


def judge_events(fleet: Fleet, _: Load) -> dict:
    report = verify(fleet)
    counts = report["counts"]
    expect(not any(report["breaches"].values()), "breaches:",
           (report["breaches"], report["wrong"][:5]))
    expect(counts["unsent"] == 0 and counts["held"] == 0, "not all was sent:", counts)
    expect(report["idle_consumers"] == 0, "consumers that read nothing:", report["idle_consumers"])
    return {name: counts[name] for name in ("committed", "published", "duplicates", "late",
                                            "markers")}


def judge_users(fleet: Fleet, load: Load) -> dict:
    users = dict(fleet.rows("users", "SELECT user_id, event_id FROM users"))
    coupons = dict(fleet.rows("coupons", "SELECT user_id, event_id FROM coupon"))
    told = fleet.rows("coupons", "SELECT aggregateid FROM sluice.outbox"
                                 " WHERE aggregatetype = 'coupon.issued.v1'")
    expect(set(users) == load.clients["users"].users, "users are not those that registered")
    expect(users == coupons, "each user has the coupon of its event; not so:",
           sorted(set(users.items()) ^ set(coupons.items()))[:5])
    expect(sorted(key for (key,) in told) == sorted(users), "each coupon is told of once")
    return {"users": len(users), "coupons": len(coupons)}


def judge_orders(fleet: Fleet, load: Load) -> dict:
    orders = dict((number, status) for number, status in fleet.rows(
        "orders", "SELECT order_id, payment_status FROM orders"))
    placed = load.clients["orders"].orders
    expect(sorted(orders) == sorted(placed.values()), "one order for each key; not so:",
           set(orders) ^ set(placed.values()))
    expect(fleet.value("orders", f"SELECT count(*) FROM orders WHERE status NOT IN {FINAL_ORDERS}"
                       " OR payment_requested = 1 AND (payment_status = 'PENDING' OR"
                       " payment_status = 'SUCCEEDED' AND status <> 'COMPLETED')") == 0,
           "every order is final")
    expect(fleet.value("orders", "SELECT count(*) FROM orders o WHERE version <> (SELECT count(*)"
                       " FROM order_history h WHERE h.order_id = o.order_id)") == 0,
           "each version of an order is told once")
    paid = dict(fleet.rows("payment", "SELECT order_id, result FROM payment_log"))
    back = {number for (number,) in fleet.rows(
        "payment", "SELECT order_id FROM charge_log JOIN payment_log USING (payment_log_id)")}
    for number, status in orders.items():
        wanted = {"SUCCEEDED": ("COMPLETED", False), "COMPENSATED": ("COMPLETED", True),
                  "FAILED": ("FAILED", False), "PENDING": (None, False)}[status]
        expect((paid.get(number), number in back) == wanted, f"order {number} is {status}, and",
               (paid.get(number), number in back))
    wallets, points = fleet.rows("payment", "SELECT count(*), sum(point) FROM user_point")[0]
    spent = fleet.value("payment", "SELECT sum(total_amount) FROM payment_log"
                                   " WHERE result = 'COMPLETED'")
    refunds = fleet.value("payment", "SELECT sum(point_after - point_before) FROM charge_log")
    expect(WALLET_POINTS * wallets - spent + refunds == points, "points are conserved; not so:",
           (wallets, spent, refunds, points))
    ends = fleet.rows("orders", "SELECT lower(status), count(*) FROM orders GROUP BY status")
    return {"orders": len(orders), **dict(ends), "refunds": len(back)}


def judge_payments(fleet: Fleet, load: Load) -> dict:
    payments = {order: (state, saga, price) for order, state, saga, price in fleet.rows(
        "pay", "SELECT order_id, state, saga_id, price FROM payment")}
    orders = dict(fleet.rows("shop", "SELECT id, state FROM orders"))
    entries: dict[str, dict[str, int]] = {}
    for saga, kind, amount in fleet.rows("pay", "SELECT saga_id, kind, amount FROM point_entry"):
        entries.setdefault(saga, {})[kind] = amount
    begun = {order for order, (_, saga, _) in payments.items() if saga}
    expect(begun == load.clients["payments"].started, "sagas are those that were begun")
    for order, (state, saga, price) in payments.items():
        expect(state in (("SUCCESS", "FAILED") if saga else ("PENDING",)),
               f"payment of order {order} is {state}")
        expect(orders.get(order) == state, f"payment of order {order} is {state}, the order is",
               orders.get(order))
        entry = entries.get(saga, {})
        wanted = {"SUCCESS": [{"PAY": price}], "PENDING": [{}],
                  "FAILED": [{}, {"PAY": price, "REFUND": price}]}[state]
        expect(entry in wanted, f"payment of order {order} is {state}, and its entries are", entry)
    wallets, points = fleet.rows("pay", "SELECT count(*), sum(point) FROM point")[0]
    paid, back = (sum(entry.get(kind, 0) for entry in entries.values())
                  for kind in ("PAY", "REFUND"))
    expect(STARTING_POINTS * wallets - paid + back == points, "points are conserved; not so:",
           (wallets, paid, back, points))
    sold = dict(fleet.rows("shop", "SELECT product_id, sum(product_quantity) FROM orders"
                                   " WHERE state = 'SUCCESS' GROUP BY product_id"))
    stock = dict(fleet.rows("shop", "SELECT id, quantity FROM product"))
    expect(stock == {number: count - int(sold.get(number, 0)) for number, count in STOCK.items()},
           "stock is what was not sold; not so:", (stock, sold))
    states = [state for state, _, _ in payments.values()]
    return {"payments": len(payments), **{state.lower(): states.count(state) for state in
                                          ("SUCCESS", "FAILED", "PENDING")},
            "refunds": sum("REFUND" in entry for entry in entries.values()),
            "orders nobody pays": len(orders) - len(payments)}


def judge_votes(fleet: Fleet, load: Load) -> dict:
    votes = load.clients["votes"]
    counts = dict(fleet.rows("votes", "SELECT choice, count FROM vote"))
    for choice, counted in votes.counted.items():
        expect(counted <= counts.get(choice, 0) <= counted + votes.unknown[choice],
               f"votes for {choice}: {counted} answered, {votes.unknown[choice]} unknown, found",
               counts.get(choice))
    return {"votes": sum(counts.values()), "answered": sum(votes.counted.values()),
            "unknown": sum(votes.unknown.values())}


# --- streams

def versions(followed: Followed) -> list[tuple[int, str]]:
    """(version, name) of what was seen. After a `reset` the same state may come again."""
    seen: list[tuple[int, str]] = []
    is_reset = False
    for message in followed.follower.messages:
        if message.name in NO_STATUS:
            is_reset = is_reset or message.name in ("reset", "lagged")
            continue
        body = json.loads(message.data)
        expect("version" in body, f"a stream of {followed.kind} {followed.key} has no version:",
               message)
        version = body["version"]
        last = seen[-1][0] if seen else -1
        expect(version > last or is_reset and version == last,
               f"a stream of {followed.kind} {followed.key}: after version {last} came {version}:",
               followed.follower.names())
        is_reset = False
        seen.append((version, message.name))
    return seen


def final_states(fleet: Fleet) -> dict[str, dict[str, set]]:
    """What the last status of a stream may be, by kind and key."""
    # A payment that had succeeded is undone if the stock is too little; its stream had ended.
    return {
        "users": {user: {"issued"} for (user,) in fleet.rows("users", "SELECT user_id FROM users")},
        "orders": {str(number): {kind} for number, kind in fleet.rows(
            "orders", "SELECT order_id, type FROM orders")},
        "payments": {str(order): {state, "SUCCESS"} if "stock" in reason else {state}
                     for order, state, reason in fleet.rows(
                         "pay", "SELECT order_id, state, reason FROM payment")},
        "votes": {choice: {count} for choice, count in fleet.rows(
            "votes", "SELECT choice, count FROM vote")},
        "posts": {user: {version} for user, version in fleet.rows(
            "posts", "SELECT id, live_version FROM users")}}


def judge_streams(fleet: Fleet, load: Load) -> dict:
    wanted = final_states(fleet)
    connects = 0
    for each in load.followed():
        follower = each.follower
        expect(follower.problem is None, f"a stream of {each.kind} {each.key}:", follower.problem)
        seen = versions(each)
        expect(seen, f"a stream of {each.kind} {each.key} is empty")
        is_endless = each.kind in ("votes", "posts")
        last = seen[-1][0] if is_endless else seen[-1][1]
        expect(last in wanted[each.kind][each.key] and follower.has_ended != is_endless,
               f"a stream of {each.kind} {each.key} has seen {seen[-3:]}, and should end with",
               wanted[each.kind][each.key])
        connects += follower.connect_count
    count = len(load.followed())
    return {"followed to the end": count, "reconnects": connects - count}


JUDGES: dict[str, Callable[[Fleet, Load], dict]] = {
    "events": judge_events, "users": judge_users, "orders": judge_orders,
    "payments": judge_payments, "votes": judge_votes, "posts": judge_posts, "streams": judge_streams}


def judge_until_quiet(fleet: Fleet, load: Load, seconds: float) -> dict[str, dict]:
    """The figures, once all judges agree; what is on its way has until the deadline to arrive."""
    deadline = time.monotonic() + seconds
    figures: dict[str, dict] = {}
    while True:
        problems = []
        for name, judge in JUDGES.items():
            try:
                figures[name] = judge(fleet, load)
            except AssertionError as error:
                problems.append(f"{name}: {error}")
        if not problems:
            return figures
        if time.monotonic() > deadline:
            raise AssertionError("\n".join(problems))
        time.sleep(1)


def table(figures: dict[str, dict]) -> str:
    return "\n".join(f"  {name:<9} " + ", ".join(f"{value:,} {what}" for what, value in row.items())
                     for name, row in figures.items())
