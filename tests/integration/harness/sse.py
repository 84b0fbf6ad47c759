"""Clients of a live stream over bare sockets, which remember all that they saw.

`Stream` is one connection. `Follower` behaves as a browser's EventSource does: it connects again
with the last id, until it is told 204 or it has had the end.
"""
from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Iterator
from urllib.parse import urlsplit

from .waiting import DEADLINE_SECONDS, wait_until


@dataclass
class Message:
    """One event of a stream, as EventSource would dispatch it."""
    name: str
    data: str
    id: str


class Refused(Exception):
    """The answer is no stream."""

    def __init__(self, status: int, body: str, headers: dict[str, str]) -> None:
        super().__init__(f"status {status}: {body[:300]}")
        self.status = status
        self.body = body
        self.headers = headers


def read_head(file) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer; ConnectionError if the connection ends before."""
    line = file.readline()
    if not line.startswith(b"HTTP/1.1 ") or not line.endswith(b"\r\n"):
        raise ConnectionError(f"no answer: {line!r}")
    status = int(line.split()[1])
    headers = {}
    while (line := file.readline()) != b"\r\n":
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended within the head")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return status, headers


def body_lines(file, headers: dict[str, str]) -> Iterator[bytes]:
    """The body line by line, as it arrives. ConnectionError if it is cut off."""
    rest = b""
    if headers.get("transfer-encoding") == "chunked":
        while (size := int(file.readline().split(b";")[0] or b"-1", 16)) > 0:
            chunk = file.read(size)
            if len(chunk) < size or file.readline() != b"\r\n":
                raise ConnectionError("the body was cut off")
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
        if size < 0:
            raise ConnectionError("the body was cut off")
    else:
        yield from (line.removesuffix(b"\n") for line in file)


class Stream:
    """One connection to a stream; its events are to be had by iterating."""

    def __init__(self, url: str, last_event_id: str | None = None,
                 timeout: float = DEADLINE_SECONDS, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self.last_event_id = last_event_id or ""
        self.retry_ms: int | None = None
        self.comment_count = 0
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/event-stream\r\n"
        if last_event_id:
            head += f"Last-Event-ID: {last_event_id}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.socket.sendall((head + "\r\n").encode())
        self.file = self.socket.makefile("rb")
        try:
            self.status, self.headers = read_head(self.file)
            if self.status != 200:
                size = int(self.headers.get("content-length", 0))
                raise Refused(self.status, self.file.read(size).decode(), self.headers)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Message]:
        name, data = "message", []
        for raw in body_lines(self.file, self.headers):
            line = raw.decode().removesuffix("\r")
            field_name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "":
                if data:
                    yield Message(name, "\n".join(data), self.last_event_id)
                name, data = "message", []
            elif field_name == "":
                self.comment_count += 1
            elif field_name == "event":
                name = value
            elif field_name == "data":
                data.append(value)
            elif field_name == "id":
                self.last_event_id = value
            elif field_name == "retry":
                self.retry_ms = int(value)

    def close(self) -> None:
        if hasattr(self, "file"):
            self.file.close()
        self.socket.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_) -> None:
        self.close()


@dataclass
class Follower:
    """An EventSource on a thread of its own."""
    url: Callable[[], str]
    retry_seconds: float = 0.05  # in place of the server's, so that tests do not wait for it
    headers: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    connect_count: int = 0
    last_event_id: str = ""
    has_ended: bool = False  # it had `end`, or was told 204
    problem: str | None = None
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.is_stopping and not self.has_ended and self.problem is None:
            try:
                self.connect_once()
            except Refused as refusal:
                # As a browser: 204 ends it for good; a bad gateway is met again until it is back.
                if refusal.status == 204:
                    self.has_ended = True
                elif refusal.status < 500:
                    self.problem = str(refusal)
            except (OSError, ValueError):
                pass
            if not self.has_ended:
                time.sleep(self.retry_seconds)

    def connect_once(self) -> None:
        with Stream(self.url(), self.last_event_id, headers=self.headers) as stream:
            self.connect_count += 1
            for message in stream:
                self.last_event_id = message.id
                self.messages.append(message)
                if message.name == "end":
                    self.has_ended = True
                    return
                if self.is_stopping:
                    return

    def names(self) -> list[str]:
        return [message.name for message in self.messages]

    def wait_ended(self, seconds: float = DEADLINE_SECONDS) -> None:
        wait_until(lambda: self.has_ended or self.problem,
                   f"the end of the stream; seen so far: {self.names()}", seconds)
        assert self.problem is None, self.problem

    def stop(self) -> None:
        self.is_stopping = True
