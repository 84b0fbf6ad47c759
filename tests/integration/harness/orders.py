"""The orders example under test: started whole by examples/run, or part by part."""
from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator

from .http import Answer, call
from .process import BUILD, ROOT, Process
from .sse import Follower, Message
from .waiting import wait_until

STATUS_NAMES = ["order_accepted", "payment_requested", "cancel_requested", "completed", "failed",
                "cancelled", "timed_out"]
FINAL_NAMES = {"completed", "failed", "cancelled", "timed_out"}
STREAM_KINDS = ["hub", "direct"]

ESPRESSO, ESPRESSO_MACHINE = 1, 4  # 300 points, and 25,000: more than a wallet has


def stream_path(order_id: int, kind: str) -> str:
    return f"/orders/{order_id}/stream" + ("/direct" if kind == "direct" else "")


def statuses(messages: list[Message]) -> list[tuple[int, str]]:
    """(version, name) of each status among the messages."""
    return [(json.loads(message.data)["version"], message.name)
            for message in messages if message.name in STATUS_NAMES]


class Orders:
    """What a client of the example can do, and what its databases hold."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.gateway = ""
        self.console = ""
        self.processes: list[Process] = []

    # --- as a client

    def place(self, user: int = 7, item: int = ESPRESSO, quantity: int = 2, key: str | None = None
              ) -> dict:
        answer = call("POST", self.gateway + "/orders",
                      {"user_id": user, "items": [{"item_id": item, "quantity": quantity}]},
                      {"Idempotency-Key": key} if key else {})
        assert answer.status == 202, answer
        return answer.body

    def order(self, order_id: int) -> dict:
        answer = call("GET", f"{self.gateway}/orders/{order_id}")
        assert answer.status == 200, answer
        return answer.body

    def cancel(self, order_id: int) -> Answer:
        return call("POST", f"{self.gateway}/orders/{order_id}/cancel")

    def points(self, user: int = 7) -> int:
        return call("GET", f"{self.gateway}/wallet/point?user_id={user}").body["point"]

    def wait_type(self, order_id: int, name: str) -> dict:
        def reached() -> dict | None:
            order = self.order(order_id)
            return order if order["type"] == name else None
        return wait_until(reached, f"order {order_id} is {name}")

    def follow(self, order_id: int, kind: str = "hub") -> Follower:
        return Follower(lambda: self.gateway + stream_path(order_id, kind))

    # --- as an inspector

    def rows(self, database: str, query: str, *arguments) -> list[tuple]:
        with closing(sqlite3.connect(self.data / database, timeout=10)) as connection:
            return connection.execute(query, arguments).fetchall()

    def history(self, order_id: int) -> list[tuple[int, str]]:
        return self.rows("orders.db", "SELECT version, type FROM order_history WHERE order_id = ?"
                                      " ORDER BY version", order_id)

    def refund_count(self, order_id: int) -> int:
        return self.rows("payment.db", "SELECT count(*) FROM charge_log JOIN payment_log"
                                       " USING (payment_log_id) WHERE order_id = ?", order_id)[0][0]

    def payment_status(self, order_id: int) -> str:
        return self.rows("orders.db", "SELECT payment_status FROM orders WHERE order_id = ?",
                         order_id)[0][0]

    def check(self, clients: Path | None = None) -> dict:
        """The checker's report."""
        command = [sys.executable, "-m", "checker", "--json", "--data", self.data]
        done = subprocess.run(command + (["--clients", clients] if clients else []),
                              cwd=ROOT / "tests", capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def check_until_quiet(self, clients: Path | None = None, seconds: float = 20) -> dict:
        """A report without a breach, once what is on its way has arrived."""
        deadline = time.monotonic() + seconds
        while (report := self.check(clients))["breaches"] and time.monotonic() < deadline:
            pass  # a check takes long enough to be no busy loop
        assert not report["breaches"], f"{report['counts']}: {report['breaches'][:10]}"
        return report

    # --- as an operator

    @contextmanager
    def payments_held(self) -> Iterator[None]:
        """Nothing is paid meanwhile: another writer has the payment service's database.

        Stopping the process would not do: it might stand still with the log's lock in its hand.
        """
        with closing(sqlite3.connect(self.data / "payment.db", timeout=20,
                                     isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                other.execute("ROLLBACK")

    def start(self, *options: str) -> None:
        """All of it, by examples/run."""
        run = Process([ROOT / "examples/run", "orders", "--data", self.data,
                       "--gateway.listen=127.0.0.1:0", "--console.listen=127.0.0.1:0", *options],
                      self.data / "run.log", env={**os.environ, "SLUICE_BUILD": str(BUILD)})
        self.processes.append(run)
        address = run.wait_ready()
        self.gateway, self.console = address["gateway"], address["console"]

    def end(self) -> int:
        return self.processes[-1].end()

    def close(self) -> None:
        for process in self.processes:
            if process.is_running():
                process.end()
            process.close()
