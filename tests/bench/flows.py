"""Each flow of the examples on real servers, at a steady rate: from the request to the event in the page.

All examples run behind one gateway, on PostgreSQL, MariaDB, Kafka and OpenSearch, as `make demo
SERVERS=real` starts them. One flow at a time begins `--flow-rate` times a second, whatever became
of those before, and does what its page does: it asks, opens an EventSource, and waits. A latency
counts from the moment at which the request was due, so a client that is late blames nobody else.
"""
from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from common import BUILD, ROOT, Rows, load_text, note, print_table, running
from page_client import EventSource, Page

PATIENCE_S = 60.0  # a flow that takes longer has failed
FIRST_PATIENCE_S = 180.0  # on a new broker the first event of a topic waits until all have found it
ESPRESSO, TEA = 1, 1  # 300 of 10,000 points, and 100
BUYERS = 1000  # payments knows so many tokens
AUTHORS, APPLICANTS = 20, 20
LATER = "2099-01-01T00:00:00"


class Failed(Exception):
    """Something else came than what the flow is for."""


def expect(answer: Any, status: int) -> Any:
    if answer.status != status:
        raise Failed(f"{answer.status} {answer.body}")
    return answer.body


class Flow(ABC):
    """What begins again and again; `steps` are what is timed in it."""

    name = ""
    steps: list[tuple[str, str]] = []

    def __init__(self, page: Page) -> None:
        self.page = page

    async def prepare(self, count: int) -> None:
        """What so many flows need to be there."""

    @abstractmethod
    async def run_one(self, number: int, due: float) -> dict[str, float]:
        """The seconds that each step took."""

    async def close(self) -> None:
        pass

    async def wait_event(self, path: str, wanted: str) -> float:
        """Open the stream of a page and wait for its final event; when that came."""
        arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def take(name: str, data: Any) -> None:
            if not arrived.done() and name == wanted:
                arrived.set_result(time.perf_counter())
            elif not arrived.done() and name in ("failed", "FAILED", "timed_out", "cancelled"):
                arrived.set_exception(Failed(f"{path}: {data}"))

        source = EventSource(self.page, path, take)
        try:
            return await arrived
        finally:
            await source.close()


class Users(Flow):
    name = "users"
    steps = [("users", "users: register -> coupon issued")]

    async def run_one(self, number: int, due: float) -> dict[str, float]:
        user = f"bench-{os.getpid()}-{number}"
        expect(await self.page.call("POST", "/users", {"userId": user, "userName": "Bench"}), 201)
        return {"users": await self.wait_event(f"/coupons/{user}/stream", "issued") - due}


class Orders(Flow):
    name = "orders"
    steps = [("orders", "orders: place -> completed")]

    async def run_one(self, number: int, due: float) -> dict[str, float]:
        order = {"user_id": number, "items": [{"item_id": ESPRESSO, "quantity": 1}]}
        placed = expect(await self.page.call("POST", "/orders", order), 202)
        path = f"/orders/{placed['order_id']}/stream"
        return {"orders": await self.wait_event(path, "completed") - due}


class Payments(Flow):
    name = "payments"
    steps = [("payments", "payments: pay -> SUCCESS")]

    async def prepare(self, count: int) -> None:
        """The orders whose payment is to come: a page has them before somebody pays."""
        self.orders = []
        for number in range(count):
            order = {"userId": number % BUYERS + 1, "productId": TEA, "quantity": 1}
            made = expect(await self.page.call("POST", "/v1/orders", order), 201)
            payment = {"orderId": made["orderId"], "userId": order["userId"],
                       "price": made["totalPrice"]}
            expect(await self.page.call("POST", "/v1/pays/orders", payment), 200)
            self.orders.append((made["orderId"], order["userId"]))

    async def run_one(self, number: int, due: float) -> dict[str, float]:
        order, buyer = self.orders.pop()
        ended = asyncio.create_task(
            self.wait_event(f"/v1/pays/orders/{order}/stream", "SUCCESS"))
        try:
            expect(await self.page.call("POST", "/v1/pays/points", {"orderId": order},
                                        Authorization=f"Bearer token-of-{buyer}"), 202)
            return {"payments": await ended - due}
        finally:
            ended.cancel()


class StudyPosts(Flow):
    """Somebody applies, the author is told and approves, the applicant is told; pages stay open."""

    name = "studyposts"
    steps = [("apply", "studyposts: apply -> the author's notification"),
             ("approve", "studyposts: approve -> the applicant's notification")]

    async def sign_in(self, nickname: str) -> dict[str, str]:
        data = expect(await self.page.call("POST", "/api/auth/dev", {"nickname": nickname}),
                      200)["data"]
        headers = {"Authorization": f"Bearer {data['accessToken']}"}
        source = EventSource(self.page, f"/api/users/{data['userId']}/notifications", self.take,
                             **headers)
        self.sources.append(source)
        await asyncio.wait_for(source.is_open.wait(), PATIENCE_S)
        return headers

    def take(self, name: str, data: Any) -> None:
        if name == "notification":
            told = data["notification"]
            waiting = self.waiting.pop((told["type"], told["targetId"]), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(time.perf_counter())

    def expect_told(self, kind: str, post: str) -> asyncio.Future[float]:
        told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.waiting[kind, post] = told
        return told

    async def prepare(self, count: int) -> None:
        if not hasattr(self, "sources"):
            self.sources: list[EventSource] = []
            self.waiting: dict[tuple[str, str], asyncio.Future[float]] = {}
            self.authors = [await self.sign_in(f"author {i}") for i in range(AUTHORS)]
            self.applicants = [await self.sign_in(f"applicant {i}") for i in range(APPLICANTS)]
        self.posts = []
        word = f"bench{time.time_ns()}"
        for number in range(count):
            author = self.authors[number % AUTHORS]
            post = {"title": f"{word}x{number}", "description": "We read.", "maxMembers": 2,
                    "deadline": LATER}
            made = expect(await self.page.call("POST", "/api/posts", post, **author), 201)
            self.posts.append((made["data"]["id"], author))
        await self.wait_found(f"{word}x{count - 1}")

    async def wait_found(self, keyword: str) -> None:
        """Until search has the posts: its work with them is no part of what is measured."""
        deadline = time.perf_counter() + FIRST_PATIENCE_S
        path = f"/api/posts/search?keyword={keyword}"
        while expect(await self.page.call("GET", path, **self.authors[0]), 200)["data"]["empty"]:
            if time.perf_counter() > deadline:
                raise SystemExit(f"search does not find {keyword}")
            await asyncio.sleep(0.1)

    async def run_one(self, number: int, due: float) -> dict[str, float]:
        post, author = self.posts.pop()
        applicant = self.applicants[number % APPLICANTS]
        told = self.expect_told("APPLY_RECEIVED", post)
        applied = expect(await self.page.call("POST", f"/api/posts/{post}/applies",
                                              {"message": "me"}, **applicant), 201)
        apply_s = await told - due
        due = time.perf_counter()
        told = self.expect_told("APPLY_APPROVED", post)
        expect(await self.page.call("PATCH", f"/api/applies/{applied['data']['id']}/approve",
                                    **author), 200)
        return {"apply": apply_s, "approve": await told - due}

    async def close(self) -> None:
        for source in getattr(self, "sources", []):
            await source.close()


FLOWS = [Users, Payments, Orders, StudyPosts]


class Measured:
    """What became of the flows of one kind in one round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.late: list[float] = []
        self.problems: list[str] = []
        self.completed_count = 0

    async def follow(self, flow: Flow, number: int, due: float, patience_s: float) -> None:
        self.late.append(time.perf_counter() - due)
        try:
            took = await asyncio.wait_for(flow.run_one(number, due), patience_s)
        except (Failed, OSError, asyncio.TimeoutError) as error:
            self.problems.append(f"{flow.name} {number}: {error!r}"[:200])
            return
        self.completed_count += 1
        for step, seconds in took.items():
            self.seconds.setdefault(step, []).append(seconds)


def percentile_ms(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000


async def at_rate(flow: Flow, numbers: itertools.count, rate: int, count: int) -> Measured:
    """Begin so many flows, one each 1/rate seconds, and wait for all of them."""
    measured = Measured()
    await flow.prepare(count)
    start = time.perf_counter() + 0.1
    tasks = []
    for i in range(count):
        due = start + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(
            measured.follow(flow, next(numbers), due, PATIENCE_S)))
    await asyncio.gather(*tasks)
    return measured


async def warm_up(flow: Flow, numbers: itertools.count, rate: int) -> None:
    """The first one finds its topics; then some seconds of the rate, which nobody counts."""
    await flow.prepare(1)
    first = Measured()
    await first.follow(flow, next(numbers), time.perf_counter(), FIRST_PATIENCE_S)
    if first.problems:
        raise SystemExit(f"not even one flow comes to its end: {first.problems[0]}")
    await at_rate(flow, numbers, rate, 2 * rate)


async def one_round(flows: list[Flow], numbers: itertools.count, options) -> dict[str, float]:
    figures: dict[str, float] = {}
    for flow in flows:
        count = options.flow_rate * options.seconds
        measured = await at_rate(flow, numbers, options.flow_rate, count)
        figures[f"{flow.name}_completed"] = measured.completed_count
        figures[f"{flow.name}_failed"] = len(measured.problems)
        figures[f"{flow.name}_late_ms"] = percentile_ms(measured.late, 99)
        for step, seconds in measured.seconds.items():
            figures[f"{step}_p50_ms"] = percentile_ms(seconds, 50)
            figures[f"{step}_p99_ms"] = percentile_ms(seconds, 99)
            figures[f"{step}_most_ms"] = max(seconds) * 1000
            note(f"{step}: p50 {figures[f'{step}_p50_ms']:.1f} ms, p99"
                 f" {figures[f'{step}_p99_ms']:.1f} ms, {load_text()}")
        for problem in measured.problems[:3]:
            note(f"failed: {problem}")
    return figures


async def all_rounds(gateway: str, options) -> list[dict[str, float]]:
    page = Page(gateway)
    numbers = itertools.count(1)
    flows = [kind(page) for kind in FLOWS]
    try:
        for flow in flows:
            note(f"flows: {flow.name} warms up")
            await warm_up(flow, numbers, options.flow_rate)
        rounds = []
        for number in range(options.rounds):
            note(f"flows, round {number + 1} of {options.rounds}")
            rounds.append(await one_round(flows, numbers, options))
        return rounds
    finally:
        for flow in flows:
            await flow.close()
        page.close()


def table_rows() -> Rows:
    rows: Rows = []
    for flow in FLOWS:
        for step, title in flow.steps:
            rows += [(f"{step}_p50_ms", f"**{title}**, p50", "ms", 1),
                     (f"{step}_p99_ms", f"**{title}**, p99", "ms", 1),
                     (f"{step}_most_ms", f"{title}, slowest", "ms", 1)]
        rows += [(f"{flow.name}_completed", f"{flow.name}, completed", "flows", 0),
                 (f"{flow.name}_failed", f"{flow.name}, failed", "flows", 0),
                 (f"{flow.name}_late_ms", f"{flow.name}, begun late by, p99", "ms", 1)]
    return rows


def run(options, addresses: dict[str, str]) -> None:
    del addresses
    data = Path(tempfile.mkdtemp(prefix="sluice-flows-"))
    data.chmod(0o711)  # servers with accounts of their own pass through it
    try:
        with running(ROOT / "examples/run", "all", "--servers=real", "--data", data,
                     "--gateway.listen=127.0.0.1:0", "--console.listen=127.0.0.1:0",
                     "--payment-delay-ms=0", wait_ready=True,
                     env={**os.environ, "SLUICE_BUILD": str(BUILD)}) as example:
            rounds = asyncio.run(all_rounds(example.ready["gateway"], options))
            example.check()
    finally:
        shutil.rmtree(data, ignore_errors=True)
    print_table(f"## From the request to the event in the page, {options.flow_rate} flows/s"
                f" ({options.rounds} rounds of {options.seconds} s a flow; at the end"
                f" {load_text()})", rounds, table_rows())
