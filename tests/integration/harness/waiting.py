"""Waiting for a condition, with a deadline. No test sleeps for a guessed time."""
from __future__ import annotations

import os
import time
from typing import Callable, TypeVar

T = TypeVar("T")

# Where a mistake is put in (seeded_bugs), what a test waits for may never come.
DEADLINE_SECONDS = float(os.environ.get("SLUICE_TEST_DEADLINE", "30"))


def wait_until(condition: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """The condition's first true value; an AssertionError naming `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.01)
