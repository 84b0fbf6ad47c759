"""An example under test: started whole by examples/run, on files or on real servers."""
from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

from .http import Answer, call
from .process import BUILD, ROOT, Process
from .sse import Follower
from .waiting import DEADLINE_SECONDS, wait_until

RUN = ROOT / "examples/run"
START_SECONDS = 300  # real servers start with it, OpenSearch last


class Example:
    """What a client of an example can do; `gateway` and `console` are its addresses."""

    def __init__(self, process: Process, ready: dict[str, str], patience: float) -> None:
        self.process = process
        self.patience = patience
        self.gateway = ready["gateway"]
        self.console = ready["console"]
        self.data = Path(ready["data"])

    def database(self, name: str) -> str:
        """The URL of one of its databases, as its config has it."""
        line = (self.data / "sluice.yaml").read_text().split("\n", 1)[0]
        return next(url for url in json.loads(line.removeprefix("database: "))
                    if url.removesuffix(".db").endswith(f"/{name}"))

    def get(self, path: str, **headers: str) -> Answer:
        return call("GET", self.gateway + path, None, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return call("POST", self.gateway + path, body, headers)

    def follow(self, path: str) -> Follower:
        return Follower(lambda: self.gateway + path)

    def wait_for(self, path: str, is_right: Callable[[Any], bool], what: str) -> Any:
        """The body of GET path, once it is right."""
        def reached() -> Any:
            answer = self.get(path)
            return answer.body if answer.status == 200 and is_right(answer.body) else None
        return wait_until(reached, what, self.patience)

    def states(self, path: str, until: str, field: str = "state") -> list[str]:
        """What a page sees of a stream until a state, which must come."""
        follower = self.follow(path)
        try:
            wait_until(lambda: until in follower.names(), f"{until} on {path}", self.patience)
            return [json.loads(message.data)[field] for message in follower.messages
                    if field in json.loads(message.data)]
        finally:
            follower.stop()


@contextmanager
def run_example(name: str, data: Path, *options: str) -> Iterator[Example]:
    data.mkdir(parents=True, exist_ok=True)
    # On servers the first event of a topic waits until every group has found it.
    patience = 90 if "--servers=real" in options else DEADLINE_SECONDS
    process = Process([RUN, name, "--gateway.listen=127.0.0.1:0", "--console.listen=127.0.0.1:0",
                       "--data", data, *options], data / "run.log",
                      env={**os.environ, "SLUICE_BUILD": str(BUILD)})
    try:
        yield Example(process, process.wait_ready(START_SECONDS), patience)
    finally:
        try:
            assert process.end() == 0
        finally:
            process.close()
