"""A client of the fleet: it asks at a pace, again with the same key or id until it is answered, and
follows some of what it began to its end."""
from __future__ import annotations

import http.client
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from .fleet import Fleet
from .http import Answer, call
from .sse import Follower
from .waiting import wait_until

ANSWER_SECONDS = 120  # a database may be on its way back, and the machine slow
RETRY_SECONDS = 0.3


def expect(is_right: Any, what: str, found: Any = "") -> None:
    if not is_right:
        raise AssertionError(f"{what} {found}".strip())


@dataclass
class Followed:
    """A stream that must come to its end."""
    kind: str
    key: str
    follower: Follower


class Client:
    """One customer after the other, on a thread."""

    kind = ""
    pace_seconds = 0.2
    followed_at_once_max = 10

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.draw = random.Random(f"{seed} {self.kind}")
        self.followed: list[Followed] = []
        self.recent: deque[str] = deque(maxlen=40)  # what was asked last, for who has to find out
        self.answer_count = 0
        self.unanswered_count = 0
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        number = 0
        try:
            while not self.is_stopping.wait(self.pace_seconds * self.draw.uniform(0.5, 1.5)):
                number += 1
                self.serve(number)
        except Exception as error:  # told by the test, which waits for our thread
            self.fleet.tell(f"{self.kind} fails: {error!r}")
            self.fleet.problems.append(f"{self.kind}: {error!r}\nbefore that:\n"
                                       + "\n".join(self.recent))

    def serve(self, number: int) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        self.is_stopping.set()
        self.thread.join(ANSWER_SECONDS + 30)
        assert not self.thread.is_alive(), f"the client of {self.kind} does not end"

    def is_to_be_asked_again(self, status: int, body: Any) -> bool:
        return status >= 500

    def attempt(self, method: str, path: str, body: Any, **headers: str) -> Answer | None:
        """None if there was no answer, or one that says to try again: what was done is unknown."""
        started = time.monotonic()
        try:
            answer = call(method, self.fleet.gateway + path, body, headers, timeout=30)
            said = f"{answer.status} {str(answer.body)[:300]}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            answer = None
            said = repr(error)
        self.recent.append(f"{started - self.fleet.began:7.2f} {method} {path} {body}: {said}, after "
                           f"{time.monotonic() - started:.2f} s")
        if answer is None or self.is_to_be_asked_again(answer.status, answer.body):
            self.unanswered_count += 1
            self.is_stopping.wait(RETRY_SECONDS)
            return None
        self.answer_count += 1
        return answer

    def ask(self, method: str, path: str, body: Any, good: set[int], **headers: str) -> Any:
        """The body of the answer, however often one has to ask."""
        answer = wait_until(lambda: self.attempt(method, path, body, **headers),
                            f"an answer to {method} {path}", ANSWER_SECONDS)
        assert answer.status in good, (path, body, answer)
        return answer.body

    def follow(self, key: object, path: str, headers: dict[str, str] | None = None) -> None:
        """Unless as many are being followed as we have the patience for."""
        open_count = sum(not each.follower.has_ended for each in self.followed)
        if open_count < self.followed_at_once_max:
            self.followed.append(Followed(self.kind, str(key), Follower(
                lambda: self.fleet.gateway + path, RETRY_SECONDS, headers or {})))
