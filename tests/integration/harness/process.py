"""Processes that say on stdout when they serve."""
from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from .waiting import DEADLINE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))


def program(path: str) -> str:
    return str(BUILD / path)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()]


class Process:
    """A process under test. Its stderr goes to a file, which every failure shows the end of."""

    def __init__(self, command: list[str | Path], log: Path, **options) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self.first_log_byte = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as stderr:
            self.popen = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=stderr,
                                          stdin=subprocess.DEVNULL, text=True, **options)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def said(self) -> str:
        """What it wrote to stderr."""
        return self.log.read_bytes()[self.first_log_byte:].decode(errors="replace")

    def wait_ready(self, seconds: float = DEADLINE_SECONDS) -> dict[str, str]:
        """The words of its ready line: {"gateway": "http://127.0.0.1:33333", ...}."""
        deadline = time.monotonic() + seconds
        while select.select([self.popen.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            line = self.popen.stdout.readline()
            if line.split()[:1] == ["ready"]:  # and nothing else, if it serves nowhere
                return dict(word.split("=", 1) for word in line.split()[1:])
            assert line, (f"{self.command} ended with status {self.popen.wait()} before it was "
                          f"ready:\n{self.said()[-3000:]}")
        raise AssertionError(f"{self.command} is not ready:\n{self.said()[-3000:]}")

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def wait_end(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Its exit status (minus the signal's number if one ended it)."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} did not end:\n{self.said()[-3000:]}") from None

    def end(self) -> int:
        """SIGTERM, and its exit status."""
        if self.is_running():
            self.popen.send_signal(signal.SIGTERM)
        return self.wait_end()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up."""
        self.popen.kill()
        self.popen.wait()

    def close(self) -> None:
        if self.is_running():
            self.kill()
        self.popen.stdout.close()
