"""The processes of an example: each says on stdout when it serves, and all end together."""
from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 60
END_SECONDS_MAX = 10
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
END_SIGNALS = {signal.SIGTERM, signal.SIGINT}


class StartError(Exception):
    """What a person must mend before the example can run."""


class Ended(Exception):
    """A signal asked for the end while the parts were starting."""


def prepare_part() -> None:
    """Runs in each new process: it gets SIGTERM when this script is gone, even by SIGKILL."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def program(path: str) -> str:
    found = Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / path
    if not found.is_file():
        raise StartError(f"{found} is not built: run `make` first")
    return str(found)


class Part:
    """A process of the example."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        # A group of its own, so that Ctrl-C in a terminal ends the parts in our order, not at once.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        stdin=subprocess.DEVNULL, process_group=0,
                                        preexec_fn=prepare_part)

    def ready(self) -> dict[str, str]:
        """The addresses of its ready line."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if signal.sigpending() & END_SIGNALS:
                raise Ended
            if not select.select([self.process.stdout], [], [], 0.1)[0]:
                continue
            line = self.process.stdout.readline()
            if line.startswith("ready "):
                return dict(word.split("=", 1) for word in line.split()[1:])
            if not line:
                raise StartError(f"{self.name} ended with status {self.process.wait()} before it "
                                 "was ready; what it said is above")
        raise StartError(f"{self.name} was not ready within {START_SECONDS_MAX} seconds")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                print(f"{self.name} did not end within {END_SECONDS_MAX} seconds: killed",
                      file=sys.stderr)
                self.process.kill()
                self.process.wait()


def wait_for_end(parts: list[Part]) -> str | None:
    """Until a signal comes: None; or until a part ends by itself: what to say about it."""
    while True:
        for part in parts:
            if part.process.poll() is not None:
                return f"{part.name} ended by itself with status {part.process.returncode}"
        if signal.sigwait(END_SIGNALS | {signal.SIGCHLD}) != signal.SIGCHLD:
            return None


def block_signals() -> None:
    """Signals are taken by sigwait only, so none is lost between two looks."""
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS | {signal.SIGCHLD})
