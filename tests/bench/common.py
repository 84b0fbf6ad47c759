"""What the benchmarks share: processes that are watched, servers, topics, and tables of figures."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SLUICE = BUILD / "sluice"
PROGRAMS = BUILD / "tests/bench"
SERVERS = ROOT / "tools/servers"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def cpu_of_children(pid: int) -> float:
    """Seconds of CPU of the children of a process that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / TICKS_A_SECOND


def memory_of(pid: int, field: str, file: str = "status") -> float:
    """VmHWM (the most that was resident) or Pss (file smaps_rollup), in KiB."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0.0


class Process:
    """A program that runs until it is stopped."""

    def __init__(self, *command: object, wait_ready: bool = False, **options: object) -> None:
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(word) for word in command], text=True, stderr=self.log,
            stdout=subprocess.PIPE if wait_ready else subprocess.DEVNULL, **options)
        self.ready: dict[str, str] = {}
        if wait_ready:
            line = self.process.stdout.readline()
            if not line.startswith("ready"):
                self.fail("did not get ready")
            self.ready = dict(part.split("=", 1) for part in line.split()[1:])

    def cpu_s(self) -> float:
        return cpu_of(self.process.pid)

    def peak_mib(self) -> float:
        return memory_of(self.process.pid, "VmHWM") / 1024

    def pss_kib(self) -> float:
        return memory_of(self.process.pid, "Pss", "smaps_rollup")

    def check(self) -> None:
        if self.process.poll() is not None:
            self.fail("ended early")

    def fail(self, what: str) -> None:
        self.log.seek(0)
        raise SystemExit(f"{self.process.args[0]} {what}: {self.log.read()[-500:]}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


@contextlib.contextmanager
def running(*command: object, kind: type[Process] = Process,
            **options: object) -> Iterator[Process]:
    process = kind(*command, **options)
    try:
        yield process
    finally:
        process.stop()


def wait_for(what: str, is_true: Callable[[], bool], seconds: float = 120,
             pause_s: float = 0.02) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds} s in vain: {what}")
        time.sleep(pause_s)


@contextlib.contextmanager
def servers(*names: str) -> Iterator[dict[str, str]]:
    """PostgreSQL and Kafka as a user has them (the disk is synced), gone when this ends."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o711)
    subprocess.run(["setsid", "--fork", SERVERS / "watch", str(os.getpid()), folder], check=True,
                   stdin=subprocess.DEVNULL)
    addresses = {}
    try:
        for name in names:
            address = os.environ.get(f"SLUICE_TEST_{name.upper()}")
            addresses[name] = address or subprocess.run(
                [SERVERS / name, "up", "--data", folder / name], check=True, text=True,
                stdout=subprocess.PIPE).stdout.strip()
        yield addresses
    finally:
        for data in folder.iterdir():
            if data.name in names:
                subprocess.run([SERVERS / data.name, "down", "--data", data, "--wipe"], check=False)
        shutil.rmtree(folder, ignore_errors=True)


class Database:
    """A new database with sluice's tables, dropped when the benchmark ends."""

    def __init__(self, server: str, name: str = "sluice_bench") -> None:
        self.server = server
        self.name = name
        self.url = server.rsplit("/", 1)[0] + "/" + name
        self.drop()
        self.sql(f"CREATE DATABASE {name}", url=server)
        subprocess.run([SLUICE, "init", "--database", self.url], check=True,
                       stdout=subprocess.DEVNULL)

    def sql(self, text: str, url: str | None = None) -> list[tuple]:
        import psycopg2
        connection = psycopg2.connect(url or self.url)
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def postmaster(self) -> int:
        """The process that starts all others, on this machine."""
        import psycopg2
        connection = psycopg2.connect(self.url)
        try:
            status = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
            return int(status.rsplit(")", 1)[1].split()[1])
        finally:
            connection.close()

    def drop(self) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)", url=self.server)


class Topics:
    """Topics of 6 partitions, and how many messages are in them."""

    PARTITIONS = 6

    def __init__(self, broker: str) -> None:
        from confluent_kafka import Consumer
        from confluent_kafka.admin import AdminClient
        self.servers = broker.removeprefix("kafka://")
        self.admin = AdminClient({"bootstrap.servers": self.servers})
        self.consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "bench-ends"})

    def make_new(self, name: str) -> None:
        """The topic, empty."""
        from confluent_kafka.admin import NewTopic

        def is_gone() -> bool:
            return name not in self.admin.list_topics(timeout=30).topics

        if not is_gone():
            self.admin.delete_topics([name])[name].result()
            wait_for(f"topic {name} deleted", is_gone)
        self.admin.create_topics([NewTopic(name, self.PARTITIONS, 1)])[name].result()
        wait_for(f"topic {name} serves", lambda: self.is_served(name))

    def is_served(self, name: str) -> bool:
        from confluent_kafka import KafkaException
        try:
            return self.count(name) == 0
        except KafkaException:
            return False

    def count(self, name: str) -> int:
        from confluent_kafka import TopicPartition
        return sum(self.consumer.get_watermark_offsets(TopicPartition(name, i), timeout=30)[1]
                   for i in range(self.PARTITIONS))


Rows = list[tuple[str, str, str, int]]  # name of the figure, title, unit, digits


def print_table(title: str, rounds: list[dict[str, float]], rows: Rows) -> None:
    """Minimum, median and maximum of each figure that was taken."""
    print(f"\n{title}\n\n| figure | unit | min | median | max |\n| --- | --- | ---: | ---: | ---: |")
    for name, text, unit, digits in rows:
        values = [figures[name] for figures in rounds if name in figures]
        if values:
            cells = [f"{value:,.{digits}f}"
                     for value in (min(values), statistics.median(values), max(values))]
            print(f"| {text} | {unit} | {' | '.join(cells)} |", flush=True)


def load_text() -> str:
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


def note(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
