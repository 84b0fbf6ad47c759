"""run, relay and gateway as processes: the ready line, the signals, and what ends them."""
from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.command import FREE, Database
from harness.http import call
from harness.process import Process, program
from harness.waiting import wait_until

Start = Callable[..., Process]

CONFIG = """\
database: {database}
broker: local:{data}/log.db
gateway:
  listen: ["127.0.0.1:0", "127.0.0.1:0"]
  routes:
    - path: /things/{{key}}/stream
      stream: {{topic: things, key: "{{key}}"}}
    - path: /silent
      upstream: {silent}
console:
  listen: 127.0.0.1:0
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "app.db")


@pytest.fixture
def config(tmp_path: Path, silent: str, database: Database) -> Path:
    path = tmp_path / "app.yaml"
    path.write_text(CONFIG.format(database=database.url, data=tmp_path, silent=silent))
    return path


def ready_line(process: Process) -> str:
    return process.popen.stdout.readline()


@pytest.mark.parametrize("command, keys", [
    ("run", ["gateway", "console"]), ("relay", ["console"]), ("gateway", ["gateway", "console"])])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_ready_line_and_a_clean_end(
        start: Start, config: Path, command: str, keys: list[str], number: int) -> None:
    process = start([program("sluice"), command, "--config", config])
    words = ready_line(process).split()
    assert words[0] == "ready"
    assert [word.split("=")[0] for word in words[1:]] == keys
    for word in words[1:]:
        url = word.split("=", 1)[1]
        assert call("GET", url + "/no-such-path").status == 404
    process.popen.send_signal(number)
    assert process.wait_end() == 0
    assert process.popen.stdout.read() == ""


def test_the_console_can_be_off(start: Start, config: Path) -> None:
    process = start([program("sluice"), "relay", "--config", config, "--console.listen=off"])
    assert ready_line(process) == "ready\n"
    assert process.end() == 0


def test_a_second_signal_ends_at_once(start: Start, config: Path) -> None:
    process = start([program("sluice"), "run", "--config", config])
    gateway = process.wait_ready()["gateway"]
    host, port = gateway.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
        console = call("GET", gateway + "/things").status
        assert console == 404  # the gateway has read the first request by now
        process.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in process.said(), "it has heard the first signal")
        process.popen.send_signal(signal.SIGTERM)
        assert process.wait_end() == 128 + signal.SIGTERM


def test_an_event_goes_from_the_table_to_a_stream(
        start: Start, config: Path, database: Database) -> None:
    process = start([program("sluice"), "run", "--config", config])
    gateway = process.wait_ready()["gateway"]
    host, port = gateway.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"GET /things/k/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        lines = client.makefile("rb")
        assert lines.readline() == b"HTTP/1.1 200 OK\r\n"
        database.publish("things", "k", '{"n": 7}')
        assert any(line == b'data: {"n": 7}\n' for line in lines)


def test_several_databases_share_one_relay(start: Start, tmp_path: Path) -> None:
    databases = [Database(tmp_path / f"{name}.db") for name in ("a", "b")]
    relay = start([program("sluice"), "relay", *FREE, "--broker", f"local:{tmp_path}/log.db",
                   *(f"--database={database.url}" for database in databases)])
    console = relay.wait_ready()["console"]
    for database in databases:
        database.publish("orders", "k")

    def positions() -> list[int]:
        state = call("GET", console + "/api/state").body
        return [row.get("position") for row in state.get("databases", [])]

    wait_until(lambda: positions() == [1, 1], "both databases' events are sent")
    assert relay.end() == 0


def test_a_database_that_blocks_holds_up_no_other(start: Start, tmp_path: Path) -> None:
    """Statements on the locked one wait five seconds for the lock, again and again."""
    locked, free = (Database(tmp_path / f"{name}.db") for name in ("locked", "free"))
    broker = f"local:{tmp_path}/log.db"
    relay = start([program("sluice"), "relay", *FREE, "--broker", broker,
                   f"--database={locked.url}", f"--database={free.url}"])
    relay.wait_ready()
    slowest, number = 0.0, 0
    with closing(sqlite3.connect(locked.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        while time.monotonic() - begun < 7:
            published, number = time.monotonic(), number + 1
            free.publish("orders", "k")
            wait_until(lambda: free.run("SELECT position FROM sluice_relay") == [(number,)],
                       "the event of the free database is confirmed")
            slowest = max(slowest, time.monotonic() - published)
        other.execute("ROLLBACK")
    assert slowest < 4, slowest
    assert relay.end() == 0


def test_a_relay_that_halts_says_why_and_ends_with_1(
        start: Start, tmp_path: Path, database: Database) -> None:
    relay = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker",
                   f"local:{tmp_path}/log.db", "--relay.on_poison=halt"])
    relay.wait_ready()
    event_id = database.publish("no such topic", "k")
    assert relay.wait_end() == 1
    assert event_id in relay.said() or "no such topic" in relay.said()


def test_beside_a_gateway_a_halted_relay_is_shown_and_streams_stay_up(
        start: Start, config: Path, database: Database) -> None:
    process = start([program("sluice"), "run", "--config", config, "--relay.on_poison=halt"])
    ready = process.wait_ready()
    health = ready["console"] + "/health/ready"
    wait_until(lambda: call("GET", health).status == 200, "it is ready")
    database.publish("no such topic", "k")
    wait_until(lambda: call("GET", health).status == 503, "it is not ready any more")
    answer = call("GET", health).body
    assert answer["status"] == "failing" and "relay of sqlite:" in json.dumps(answer["reasons"])
    assert call("GET", ready["console"] + "/health/live").status == 200
    assert call("GET", ready["gateway"] + "/none").status == 404
    assert process.end() == 0


def test_a_gateway_without_routes_warns(start: Start) -> None:
    process = start([program("sluice"), "gateway", *FREE])
    process.wait_ready()
    assert "there are no routes" in process.said()
    assert process.end() == 0
