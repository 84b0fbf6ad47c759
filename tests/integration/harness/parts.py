"""The orders example with each part as a process of its own, to be killed and started again."""
from __future__ import annotations

import http.client
import json
import random
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from .http import call
from .orders import ESPRESSO, ESPRESSO_MACHINE, STREAM_KINDS, Orders, statuses
from .process import BUILD, Process, program
from .sse import Follower
from .waiting import wait_until

CONFIG = """\
database: ["sqlite:{data}/orders.db", "sqlite:{data}/payment.db"]
broker: "local:{data}/log.db"
gateway:
  listen: ["127.0.0.1:{gateway}"]
  routes:
    - path: /orders/{{id}}/stream
      stream:
        topic: order.status-changed.v1
        key: "{{id}}"
        snapshot: http://127.0.0.1:{order}/orders/{{id}}
        event: /type
        version: /version
        final: [completed, failed, cancelled, timed_out]
    - path: /wallet/**
      upstream: http://127.0.0.1:{payment}
    - path: /**
      upstream: http://127.0.0.1:{order}
console:
  listen: 127.0.0.1:0
"""


kept: list[socket.socket] = []  # to the end of our process


def free_port() -> int:
    """A port for a process that comes and goes, which is kept for it meanwhile.

    Below those that clients' sockets and tools/servers take. Our socket has it and does not listen:
    who asks for it is refused, nobody else gets it, and the process may share it with us, since it
    listens with SO_REUSEADDR.
    """
    for _ in range(1000):
        port = random.randrange(10_000, 20_000)
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.append(probe)
        return port
    raise AssertionError("no port is free")


class Parts(Orders):
    """Relay, gateway and the two services, each at an address that outlives its process."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.ports = {name: free_port() for name in ("order", "payment", "gateway")}
        self.gateway = f"http://127.0.0.1:{self.ports['gateway']}"
        config = data / "sluice.yaml"
        config.write_text(CONFIG.format(data=data, **self.ports))
        self.commands = {
            name: [program(f"examples/orders/{name}"), f"--listen=127.0.0.1:{self.ports[name]}",
                   f"--database=sqlite:{data}/{file}", f"--broker=local:{data}/log.db"]
            for name, file in (("order", "orders.db"), ("payment", "payment.db"))}
        self.commands |= {name: [program("sluice"), name, "--config", config]
                          for name in ("relay", "gateway")}
        self.running: dict[str, Process] = {}

    def start_part(self, name: str, *options: str) -> None:
        self.running[name] = Process([*self.commands[name], *options], self.data / f"{name}.log")
        self.processes.append(self.running[name])
        self.running[name].wait_ready()

    def start_all(self) -> None:
        for name in ("order", "payment", "relay", "gateway"):
            self.start_part(name)

    def kill_part(self, name: str) -> None:
        assert self.running[name].is_running(), (name, self.running[name].said()[-3000:])
        self.running[name].kill()


class Load:
    """Customers who place orders, cancel some, and watch each until its end, whatever dies."""

    IN_FLIGHT_MAX = 8

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.followers: dict[int, Follower] = {}
        self.keys: dict[str, int] = {}  # idempotency key -> order id
        self.problems: list[str] = []
        self.is_stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def done_count(self) -> int:
        return sum(follower.has_ended for follower in list(self.followers.values()))

    def run(self) -> None:
        number = 0
        while not self.is_stopping:
            number += 1
            try:
                self.serve_customer(number)
                wait_until(lambda: len(self.followers) - self.done_count() < self.IN_FLIGHT_MAX,
                           "one of the orders in flight ends")
            except Exception as error:  # told by the test, which waits for our thread
                self.problems.append(repr(error))
                return

    def serve_customer(self, number: int) -> None:
        key = f"customer-{number}"
        item = ESPRESSO_MACHINE if number % 7 == 0 else ESPRESSO
        body = {"user_id": 1 + number % 40, "items": [{"item_id": item, "quantity": 1}]}
        order = wait_until(lambda: self.attempt("/orders", body, key), f"{key} gets an answer")
        order_id = order["order_id"]
        self.keys[key] = order_id
        self.followers[order_id] = self.parts.follow(order_id, STREAM_KINDS[number % 2])
        if number % 4 == 0:
            wait_until(lambda: self.attempt(f"/orders/{order_id}/cancel", None, ""),
                       f"the cancel of {order_id} gets an answer")

    def attempt(self, path: str, body: dict | None, key: str) -> dict | None:
        """The answer, or None if there was none and it is to be tried again with the same key."""
        try:
            answer = call("POST", self.parts.gateway + path, body,
                          {"Idempotency-Key": key} if key else {}, timeout=5)
        except (OSError, ValueError, http.client.HTTPException):
            return None
        if answer.status >= 500:
            return None
        assert answer.status in (200, 202, 409), answer
        return answer.body or {"message": ""}

    def finish(self) -> None:
        """No more orders; wait until every one that was placed has come to its end."""
        self.is_stopping = True
        self.thread.join(60)
        assert not self.thread.is_alive() and self.problems == [], self.problems
        for follower in self.followers.values():
            follower.wait_ended(60)

    def notes(self) -> Path:
        """What each client saw, as the checker reads it."""
        path = self.parts.data / "clients.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for order_id, follower in self.followers.items():
                resets, seen_count = [], 0
                for message in follower.messages:
                    if message.name == "reset":
                        resets.append(seen_count)
                    seen_count += bool(statuses([message]))
                file.write(json.dumps({
                    "name": f"viewer-{order_id}", "key": str(order_id), "resets": resets,
                    "seen": statuses(follower.messages), "ended": follower.has_ended}) + "\n")
        return path


class HalfHearted:
    """A program in another language that publishes by SQL, and rolls back two times of three."""

    def __init__(self, parts: Parts) -> None:
        self.database = parts.data / "orders.db"
        self.committed = 0
        self.rolled_back = 0
        self.problems: list[str] = []
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            with closing(sqlite3.connect(self.database, timeout=20, isolation_level=None)) as sql:
                sql.enable_load_extension(True)
                sql.load_extension(str(next(BUILD.glob("*sluice_sqlite.so"))))
                number = 0
                while not self.is_stopping.wait(0.02):
                    number += 1
                    sql.execute("BEGIN IMMEDIATE")
                    sql.execute("SELECT sluice_publish('noise.v1', 'k', ?, 'Noise')", (str(number),))
                    sql.execute("COMMIT" if number % 3 == 0 else "ROLLBACK")
                    self.committed += number % 3 == 0
                    self.rolled_back += number % 3 != 0
        except Exception as error:
            self.problems.append(repr(error))

    def finish(self) -> None:
        self.is_stopping.set()
        self.thread.join(60)
        assert self.problems == []
