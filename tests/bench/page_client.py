"""What a page does, in Python: requests on kept connections, and EventSource, on one event loop."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

RECONNECT_S = 1.0  # until the server names another


class Answer(NamedTuple):
    status: int
    body: Any  # parsed if it is JSON, else bytes


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    return int(head[0].split()[1]), fields


async def read_piece(reader: asyncio.StreamReader) -> bytes:
    """The next chunk of a chunked body; nothing at its end."""
    size = int((await reader.readline()).split(b";")[0], 16)
    piece = await reader.readexactly(size)
    await reader.readline()
    return piece


async def read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0)))
    body = b""
    while piece := await read_piece(reader):
        body += piece
    return body


class Page:
    """Where a page comes from, and the connections that it keeps to there."""

    def __init__(self, url: str) -> None:
        self.host, _, port = url.removeprefix("http://").rpartition(":")
        self.port = int(port)
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """fetch(): on an idle connection, or a new one. OSError if there is no answer."""
        data = b"" if body is None else json.dumps(body).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n{head}"
                   f"Content-Length: {len(data)}\r\n\r\n").encode() + data
        reader, writer = self.idle.pop() if self.idle else await self.connect()
        try:
            writer.write(request)
            status, fields = await read_head(reader)
            answer = await read_body(reader, fields)
        except (asyncio.IncompleteReadError, OSError) as error:
            writer.close()
            raise ConnectionError(f"no answer to {method} {path}: {error!r}") from error
        if fields.get("connection") == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))
        is_json = fields.get("content-type", "").startswith("application/json")
        return Answer(status, json.loads(answer) if is_json else answer)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    def close(self) -> None:
        for _, writer in self.idle:
            writer.close()


class EventSource:
    """As a browser has it: it reads, comes back after its last id, and ends with `end` or a 204."""

    def __init__(self, page: Page, path: str, on_event: Callable[[str, Any], None],
                 **headers: str) -> None:
        self.page = page
        self.path = path
        self.on_event = on_event
        self.headers = headers
        self.last_id = ""
        self.reconnect_s = RECONNECT_S
        self.reconnect_count = 0
        self.is_open = asyncio.Event()
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while await self.read_once():
            self.reconnect_count += 1
            await asyncio.sleep(self.reconnect_s)

    async def read_once(self) -> bool:
        """One connection, to its end; whether there is reason to come back."""
        writer = None
        try:
            reader, writer = await self.page.connect()
            given = {"Accept": "text/event-stream", **self.headers}
            if self.last_id:
                given["Last-Event-ID"] = self.last_id
            head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
            writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {self.page.host}\r\n{head}\r\n"
                         .encode())
            status, fields = await read_head(reader)
            if status != 200:
                return False
            self.is_open.set()
            is_chunked = fields.get("transfer-encoding") == "chunked"
            text = b""
            while piece := await (read_piece(reader) if is_chunked else reader.read(65536)):
                *messages, text = (text + piece).split(b"\n\n")
                if not all([self.take(message.decode()) for message in messages]):
                    return False
            return True
        except (asyncio.IncompleteReadError, OSError):
            return True
        finally:
            if writer is not None:
                writer.close()

    def take(self, message: str) -> bool:
        """One message; False after `end`, where a page closes."""
        fields = dict(line.split(": ", 1) for line in message.split("\n")
                      if ": " in line and not line.startswith(":"))
        self.last_id = fields.get("id", self.last_id)
        if "retry" in fields:
            self.reconnect_s = int(fields["retry"]) / 1000
        if "data" in fields and fields.get("event") != "end":
            self.on_event(fields.get("event", "message"), json.loads(fields["data"]))
        return fields.get("event") != "end"

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
