"""A gateway in a process of its own, and an upstream behind it that does what a test tells it."""
from __future__ import annotations

import json
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable
from urllib.parse import urlsplit

from .process import program
from .waiting import DEADLINE_SECONDS, wait_until

STREAM_PATH = "/orders/{id}/stream"


class Upstream:
    """Orders that a test sets, an echo, and any behaviour that a test puts under a path.

    `behaviours[path](handler)` answers the request itself.
    """

    def __init__(self) -> None:
        self.orders: dict[str, dict] = {}
        self.behaviours: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                upstream.requests.append((self.command, self.path, headers))
                behaviour = upstream.behaviours.get(urlsplit(self.path).path)
                if behaviour is not None:
                    behaviour(self)
                elif self.path == "/echo":
                    answer(self, 200, read_body(self))
                else:
                    order = upstream.orders.get(self.path.rsplit("/", 1)[-1])
                    answer(self, 200 if order else 404, json.dumps(order or {}).encode())

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_: Any) -> None:
                pass  # a gateway that goes away in the middle is what many tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"",
           headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def stream_route(upstream: Upstream, **changes: Any) -> dict[str, Any]:
    route = {"path": STREAM_PATH, "topic": "orders", "key": "{id}",
             "snapshot": upstream.url + "/orders/{id}", "event": "/type", "version": "/version",
             "final": ["completed", "cancelled"], **changes}
    return {name: value for name, value in route.items() if value is not None}


class Gateway:
    """The program tests/support/gateway_host; `config` as its head comment says."""

    def __init__(self, folder: Path, routes: list[dict], broker: str | None = None,
                 is_awaited: bool = True, **config: Any) -> None:
        self.folder = folder
        self.broker = broker or folder / "events.db"
        self.is_awaited = is_awaited
        # Heartbeats would keep a client waiting for ever for what never comes.
        self.config = {"routes": routes, "retry_ms": 100, "heartbeat_ms": 600000, **config}
        self.log = folder / "gateway.log"
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as stderr:
            self.process = subprocess.Popen(
                [program("tests/support/gateway_host"), self.broker, json.dumps(self.config)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready gateway="), (line, self.log.read_text())
        self.url = line.split("=", 1)[1].strip()
        parts = urlsplit(self.url)
        self.address = (parts.hostname, parts.port)
        if self.is_awaited:
            wait_until(lambda: self.stats()["is_ready"], "the gateway is ready")

    def ask(self, command: str) -> str:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stats(self) -> dict[str, int]:
        return json.loads(self.ask("stats"))

    def publish(self, key: str, payload: dict | str, topic: str = "orders") -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        said = self.ask(f"event {topic} {key} {text}")
        assert said.startswith("appended"), said

    def wait_stat(self, name: str, value: int) -> None:
        wait_until(lambda: self.stats()[name] >= value, f"{name} is {value}: {self.stats()}")

    def wait_streams(self, count: int) -> None:
        wait_until(lambda: self.stats()["streams"] == count, f"{count} streams: {self.stats()}")

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=DEADLINE_SECONDS)

    def send_raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of its own; everything that comes until it is closed."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            status = self.stop()
            assert status == 0, (status, self.log.read_text()[-3000:])
        self.process.stdin.close()
        self.process.stdout.close()


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes, cleanly or not."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data
