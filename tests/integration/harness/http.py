"""Plain HTTP requests, and an address without its decoration."""
from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    status: int
    body: Any  # parsed if it is JSON, else text
    headers: dict[str, str]


def host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def call(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None,
         timeout: float = 30) -> Answer:
    """One request on a connection of its own. `body`: bytes as they are, all else as JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        kind = response.headers.get_content_type()
        return Answer(response.status, json.loads(text) if kind == "application/json" else text,
                      {name.lower(): value for name, value in response.headers.items()})
    finally:
        connection.close()
