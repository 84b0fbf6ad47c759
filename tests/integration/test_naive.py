"""Four ways of sending without an outbox, and the checker that finds what each loses and makes up.

`users_naive` registers users as examples/users does, and tells Kafka of them by itself. Both meet
the same faults; the users service with its outbox must come through all of them unharmed, so that
it is seen that the checker can tell the one from the other.
"""
from __future__ import annotations

import json
import select
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest
from checker.check import check
from checker.model import Event, Record, World
from harness import servers
from harness.http import call
from harness.kafka_outbox import sluice
from harness.process import Process, program
from harness.waiting import wait_until

TOPIC = "user-topic"
WAYS = ["inside", "after", "after-waiting", "inside-waiting"]
PATIENCE_SECONDS = 60  # a relay that was killed keeps its lease for some seconds

# Lets a transaction with this name fail at its COMMIT, when all of its statements have succeeded.
DOOMED = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no commit for %', NEW.user_id; END $$;
CREATE CONSTRAINT TRIGGER doomed AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.user_name = 'Doomed') EXECUTE FUNCTION refuse()
"""


class Registry:
    """A service that registers users, its database, and what the checker makes of both."""

    def __init__(self, name: str, database: servers.PostgresqlDatabase, broker: str) -> None:
        self.name = name
        self.database = database
        self.broker = broker
        self.prefix = f"{database.name}-"  # of its users' ids: all share the topic
        self.start()

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def ask(self, user: str, name: str) -> int:
        raise NotImplementedError

    def register(self, name: str) -> int:
        """The status; each name once."""
        return self.ask(self.prefix + name, name)

    def rows(self) -> list[str]:
        return [name for name, in self.database.rows("SELECT user_name FROM users ORDER BY 1")]

    def records(self) -> list[dict]:
        lines = sluice("tail", "--broker", self.broker, "--topic", TOPIC, "--from", "start",
                       "--exit", "--json").splitlines()
        return [record for record in map(json.loads, lines)
                if record["key"].startswith(self.prefix)]

    def has_arrived(self, name: str) -> bool:
        try:
            return any(record["key"] == self.prefix + name for record in self.records())
        except AssertionError:  # Kafka has just come back, and does not answer in time yet
            return False

    def wait_arrived(self, name: str) -> None:
        wait_until(lambda: self.has_arrived(name), f"{name} of {self.name} in the topic",
                   PATIENCE_SECONDS)

    def breaches(self) -> list[tuple[str, str]]:
        """(promise, user's name) of each, by the rows and the topic."""
        def compact(value: object) -> bytes:
            return json.dumps(value, separators=(",", ":")).encode()

        committed = [Event(self.name, place, event_id, TOPIC, user,
                           compact({"user": {"userId": user, "userName": name}}))
                     for place, (event_id, user, name) in enumerate(self.database.rows(
                         "SELECT event_id, user_id, user_name FROM users"))]
        records = [Record(TOPIC, each["partition"], each["offset"], each["id"], each["key"],
                          compact(each["payload"])) for each in self.records()]
        report = check(World(committed=committed, records=records))
        return [(promise, text.partition(self.prefix)[2].split()[0])
                for promise, text in report.breaches]


class Naive(Registry):
    def start(self) -> None:
        self.popen = subprocess.Popen(
            [program("tests/naive/users_naive"), self.name, self.database.url,
             self.broker.removeprefix("kafka://")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.popen.stdout.readline() == "ready\n"

    def ask(self, user: str, name: str) -> int:
        """0 if it died instead of answering."""
        self.popen.stdin.write(f"{user} {name}\n")
        assert select.select([self.popen.stdout], [], [], PATIENCE_SECONDS)[0], "no answer"
        answer = self.popen.stdout.readline()
        return int(answer.split()[0]) if answer else 0

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


class Outbox(Registry):
    """The users service of the examples, and a relay."""

    def __init__(self, folder: Path, *arguments) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def start(self) -> None:
        self.users = Process([program("examples/users/users"), "--listen=127.0.0.1:0",
                              "--database", self.database.url], self.folder / "users.log")
        self.address = self.users.wait_ready()["http"]
        self.start_relay()

    def start_relay(self) -> None:
        self.relay = Process([program("sluice"), "relay", "--database", self.database.url,
                              "--broker", self.broker, "--console.listen=127.0.0.1:0"],
                             self.folder / "relay.log")
        self.relay.wait_ready()

    def ask(self, user: str, name: str) -> int:
        return call("POST", f"{self.address}/users", {"userId": user, "userName": name}).status

    def kill(self) -> None:
        self.users.close()
        self.relay.close()


@pytest.fixture(scope="module")
def kafka() -> Iterator[servers.Server]:
    """These tests' own: they stop it."""
    try:
        server = servers.private_server("kafka")
    except servers.NoServer as error:
        pytest.skip(str(error))
    yield server
    server.close()


@pytest.fixture
def open_registry(kafka: servers.Server, postgresql_url: str,
                  tmp_path: Path) -> Iterator[Callable[[str], Registry]]:
    """open_registry(way) has registered one user, of whom Kafka knows."""
    running: list[Registry] = []

    def open_one(way: str) -> Registry:
        arguments = (way, servers.PostgresqlDatabase(postgresql_url), kafka.url)
        running.append(Outbox(tmp_path, *arguments) if way == "outbox" else Naive(*arguments))
        registry = running[-1]
        registry.database.rows(DOOMED)
        assert registry.register("First") == 201
        registry.wait_arrived("First")
        return registry

    yield open_one
    for registry in running:
        registry.kill()
        registry.database.drop()


def test_a_commit_that_fails_after_the_sending_leaves_a_phantom_but_not_with_an_outbox(
        open_registry) -> None:
    found = {}
    for way in [*WAYS, "outbox"]:
        registry = open_registry(way)
        assert registry.register("Doomed") >= 500
        assert registry.register("Last") == 201
        registry.wait_arrived("Last")  # and with it all that was sent before
        assert registry.rows() == ["First", "Last"]
        found[way] = registry.breaches()
    assert found == {"inside": [("phantom", "Doomed")], "after": [], "after-waiting": [],
                     "inside-waiting": [("phantom", "Doomed")], "outbox": []}


def test_a_process_that_is_killed_right_after_its_commit_loses_the_event_but_not_with_an_outbox(
        open_registry) -> None:
    found = {}
    for way in ["after", "after-waiting", "inside-waiting"]:
        registry = open_registry(way)
        assert registry.register("Killer") == 0
        assert registry.rows() == ["First", "Killer"]
        found[way] = registry.breaches()
    assert found == {"after": [("lost", "Killer")], "after-waiting": [("lost", "Killer")],
                     "inside-waiting": []}
    outbox = open_registry("outbox")
    outbox.relay.kill()  # nothing can have been sent when the service is killed
    assert outbox.register("Killer") == 201
    outbox.kill()
    assert outbox.breaches() == [("lost", "Killer")]  # for now: it is in the outbox
    outbox.start()
    outbox.wait_arrived("Killer")
    assert outbox.breaches() == []


def test_a_time_out_of_kafka_is_no_failure_of_the_sending_and_leaves_a_phantom(
        open_registry, kafka) -> None:
    waiting, outbox = open_registry("inside-waiting"), open_registry("outbox")
    with kafka.paused():
        assert waiting.register("Late") == 500  # rolled back, since nobody answered
        assert outbox.register("Late") == 201
    waiting.wait_arrived("Late")
    outbox.wait_arrived("Late")
    assert waiting.rows() == ["First"]
    assert waiting.breaches() == [("phantom", "Late")]
    assert outbox.breaches() == []


def test_an_outage_of_kafka_and_then_a_kill_lose_events_that_were_answered_but_not_with_an_outbox(
        open_registry, kafka) -> None:
    registries = {way: open_registry(way) for way in [*WAYS, "outbox"]}
    kafka.kill()
    assert {way: registry.register("Away") for way, registry in registries.items()} == {
        "inside": 201, "after": 201, "after-waiting": 201, "inside-waiting": 500, "outbox": 201}
    for registry in registries.values():
        registry.kill()
    kafka.start()
    registries["outbox"].start()
    registries["outbox"].wait_arrived("Away")
    assert {way: registry.breaches() for way, registry in registries.items()} == {
        "inside": [("lost", "Away")], "after": [("lost", "Away")],
        "after-waiting": [("lost", "Away")], "inside-waiting": [], "outbox": []}
