"""All examples on servers of their own, each part a process that is started again when it dies.

`Fleet` keeps the parts alive as a supervisor does; `schedule` draws what is killed, and when.
"""
from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .parts import free_port
from .process import ROOT, Process, program
from .servers import Server, fresh_name, private_server, shared_url
from .waiting import wait_until

sys.path.insert(0, str(ROOT / "examples/support"))

from stores import Servers  # noqa: E402
from whole import Whole, load  # noqa: E402

READY_SECONDS = 120
# It wants as much memory as all the others together: else the index is on SQLite.
WITH_OPENSEARCH = os.environ.get("SLUICE_FLEET_SEARCH") == "opensearch"
OPTIONS = {"payment_delay_ms": 30, "poison_name": "nobody has this name"}


class PrivateServers(Servers):
    """The servers of examples/run, to be killed."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.server: dict[str, Server] = {}

    def start(self, kinds: set[str]) -> None:
        for name in sorted(kinds - {"opensearch"}):
            self.server[name] = private_server(name)
            self.urls[name] = self.server[name].url
        self.broker = self.urls["kafka"]
        self.search = f"sqlite:{self.data}/search.db"
        if "opensearch" in kinds and WITH_OPENSEARCH:
            self.search = shared_url("opensearch")

    def stop(self) -> None:
        for server in self.server.values():
            server.close()


class Member:
    """A part of the fleet, and the thread that starts it again whenever it has ended."""

    def __init__(self, fleet: "Fleet", name: str, command: list[str]) -> None:
        self.fleet = fleet
        self.name = name
        self.command = command
        self.process: Process | None = None
        self.kill_count = 0
        self.is_killed = False  # by us: its end is no surprise
        self.lock = threading.Lock()  # a kill meets the process that it is meant for
        self.is_ending = threading.Event()
        self.is_ready = threading.Event()
        self.thread = threading.Thread(target=self.keep, daemon=True)
        self.thread.start()

    def start(self) -> bool:
        with self.lock:
            if self.is_ending.is_set():
                return False
            self.is_killed = False
            self.process = Process(self.command, self.fleet.data / f"{self.name}.log")
        self.fleet.tell(f"{self.name} starts as {self.process.pid}")
        return True

    def keep(self) -> None:
        while True:
            started = time.monotonic()
            if not self.start():
                return
            try:
                self.process.wait_ready(READY_SECONDS)
            except AssertionError as error:
                self.process.close()
                if not self.is_killed and not self.is_ending.is_set():
                    self.fleet.note_failed_start(self.name, started, str(error))
                self.is_ending.wait(0.3)
                continue
            self.is_ready.set()
            self.fleet.tell(f"{self.name} serves")
            status = self.process.popen.wait()
            self.is_ready.clear()
            self.fleet.tell(f"{self.name} has ended with {status}")
            self.process.close()
            if not self.is_killed and not self.is_ending.is_set():
                self.fleet.problems.append(f"{self.name} ended by itself with status {status}:\n"
                                           f"{self.process.said()[-2000:]}")

    def serves(self) -> bool:
        """Not the process that has been killed already, and whose end is still to be noticed."""
        return self.is_ready.is_set() and not self.is_killed

    def kill(self) -> None:
        """SIGKILL, whatever it is doing: it may be starting from the kill before."""
        with self.lock:
            self.kill_count += 1
            self.is_killed = True
            self.process.popen.kill()

    def end(self) -> int:
        """As an operator ends it, once it serves; its exit status."""
        wait_until(self.serves, f"{self.name} serves", READY_SECONDS)
        self.is_ending.set()
        self.process.popen.send_signal(signal.SIGTERM)
        status = self.process.wait_end(READY_SECONDS)
        self.thread.join(READY_SECONDS)
        return status

    def close(self) -> None:
        with self.lock:
            self.is_ending.set()
            if self.process is not None and self.process.is_running():
                self.process.popen.kill()
        self.thread.join(READY_SECONDS)


class Fleet:
    """Every service of every example, the relay, the gateway, and the servers."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.began = time.monotonic()
        self.told: list[str] = []
        self.problems: list[str] = []
        self.members: dict[str, Member] = {}
        self.retired: dict[str, Member] = {}
        self.refused_start_count = 0  # since a server was away
        self.outages: dict[str, int] = {}
        self.away: set[str] = set()
        self.away_ended = 0.0
        self.stores = PrivateServers(data)
        example = load("all")
        options = {name.replace("-", "_"): default for name, default, _ in example.OPTIONS}
        self.whole = Whole(example, {**options, **OPTIONS, "index": fresh_name()}, data,
                           self.stores)
        self.services = [name for name in self.whole.services if name != "home"]
        address = {name: f"127.0.0.1:{free_port()}" for name in self.whole.services}
        self.gateway = f"http://127.0.0.1:{free_port()}"
        self.config = self.whole.write_config(
            {name: f"http://{at}" for name, at in address.items()},
            self.gateway.removeprefix("http://"), "off")
        try:
            for name, at in address.items():
                self.add(name, self.whole.service_command(name, at))
            self.add("sluice", [program("sluice"), "run", "--config", str(self.config)])
            self.wait_ready()
        except BaseException:
            self.close()
            raise

    def tell(self, what: str) -> None:
        """For `story`."""
        self.told.append(f"{time.monotonic() - self.began:7.2f} {what}")

    def story(self) -> str:
        """What happened last, for whoever has to find out why it went wrong."""
        logs = [f"--- {name}\n" + "".join(open(self.data / f"{name}.log", errors="replace")
                                          .readlines()[-20:]) for name, _ in self.all_members()]
        return "\n".join([*self.told[-150:], *logs, self.ask("status"), self.ask("lag")])

    def ask(self, command: str) -> str:
        """What a command of ours says of it."""
        try:
            done = subprocess.run([program("sluice"), command, "--config", self.config],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=READY_SECONDS)
        except subprocess.TimeoutExpired as error:
            return repr(error)
        return f"--- sluice {command}\n{done.stdout}"

    def add(self, name: str, command: list[str]) -> None:
        self.members[name] = Member(self, name, command)

    def wait_ready(self) -> None:
        for member in self.members.values():
            wait_until(lambda: self.problems or member.serves(),
                       f"{member.name} serves", READY_SECONDS)
        assert not self.problems, self.problems[0]

    def all_members(self) -> list[tuple[str, Member]]:
        return [*self.members.items(), *self.retired.items()]

    def note_failed_start(self, name: str, started: float, problem: str) -> None:
        """A supervisor tries again; but a start may fail only while a server is away."""
        if self.away or self.away_ended > started:
            self.refused_start_count += 1
        else:
            self.problems.append(f"{name} did not start: {problem}")

    # --- what happens to it

    def take_away(self, server: str) -> None:
        """Databases crash; the broker is stopped."""
        self.outages[server] = self.outages.get(server, 0) + 1
        self.tell(f"{server} goes away")
        self.away.add(server)
        running = self.stores.server[server]
        running.stop() if server == "kafka" else running.kill()

    def bring_back(self, server: str) -> None:
        self.stores.server[server].start()
        self.tell(f"{server} is back")
        self.away_ended = time.monotonic()
        self.away.discard(server)

    def kill(self, victim: str) -> None:
        self.tell(f"{victim} is killed")
        self.members[victim].kill()

    def split(self) -> None:
        """From now on relay and gateway are two processes."""
        together = self.members.pop("sluice")
        assert together.end() == 0, together.process.said()[-2000:]
        self.retired["sluice"] = together
        for name in ("relay", "gateway"):
            self.add(name, [program("sluice"), name, "--config", str(self.config)])
        self.wait_ready()

    def end(self) -> None:
        """Each ends when asked, with status 0; the servers stay, for the judge."""
        for name, member in reversed(self.members.items()):
            status = member.end()
            assert status == 0, f"{name} ended with {status}:\n{member.process.said()[-2000:]}"

    def close(self) -> None:
        for member in self.members.values():
            member.close()
        self.stores.stop()

    # --- as an inspector

    def rows(self, database: str, sql: str) -> list[tuple]:
        url = self.whole.databases[database]
        parts = urlsplit(url)
        if parts.scheme == "postgresql":
            import psycopg2
            connection = psycopg2.connect(url)
        else:
            import pymysql
            connection = pymysql.connect(host=parts.hostname, port=parts.port, user=parts.username,
                                         password=parts.password or "", database=parts.path[1:])
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def value(self, database: str, sql: str) -> int:
        return int(self.rows(database, sql)[0][0] or 0)


@dataclass
class Schedule:
    """What happens when: (second, what, victim), all of it from a seed."""
    seed: int
    seconds: float
    kafka_seconds: float
    services: list[str]
    steps: list[tuple[float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        away = self.seconds * 0.2, self.seconds * 0.2 + self.kafka_seconds
        split = away[1] + self.seconds * 0.1
        self.steps = [(away[0], "away", "kafka"), (away[1], "back", "kafka"),
                      (split, "split", "sluice"), (split + 3, "kill", "relay"),
                      (split + 6, "kill", "gateway")]
        deck: list[str] = []
        second = 2.0
        gap = max(2.5, min(6.0, self.seconds / 25))
        while second < self.seconds - 4:
            if not deck:
                deck = [*self.services, "sluice", "sluice", "postgresql", "mariadb"]
                draw.shuffle(deck)
            victim = deck.pop()
            if victim == "sluice" and second > split:
                victim = draw.choice(["relay", "gateway"])
            self.steps.append((second, "crash" if victim in ("postgresql", "mariadb") else "kill",
                               victim))
            if self.steps[-1][1] == "crash":  # and whoever starts meanwhile must try again
                self.steps.append((second, "with", draw.choice(self.services)))
            second += gap * draw.uniform(0.6, 1.4)
        self.steps.sort(key=lambda step: step[0])

    def __str__(self) -> str:
        return f"seed {self.seed}: " + ", ".join(f"{second:.0f} s {what} {victim}"
                                                 for second, what, victim in self.steps)

    def play(self, fleet: Fleet) -> None:
        """Do all of it, each when it is due, or at once if the machine is late."""
        start = time.monotonic()
        companions = {second: victim for second, what, victim in self.steps if what == "with"}
        for second, what, victim in self.steps:
            wait_until(lambda: fleet.problems or time.monotonic() >= start + second,
                       "the next fault is due", self.seconds)
            if fleet.problems:
                break
            if what == "away":
                fleet.take_away(victim)
            elif what == "back":
                fleet.bring_back(victim)
            elif what == "split":
                fleet.split()
            elif what == "crash":
                fleet.take_away(victim)
                fleet.kill(companions[second])
                fleet.bring_back(victim)
            elif what == "kill":
                fleet.kill(victim)
        wait_until(lambda: fleet.problems or time.monotonic() >= start + self.seconds,
                   "the end of the load", self.seconds)
        assert not fleet.problems, fleet.problems[0]
