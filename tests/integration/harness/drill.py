"""A whole system under every fault at once: services, two relays, consumers, PostgreSQL, Kafka.

What is wrong is found afterwards, by checker/drill.py.
"""
from __future__ import annotations

import random
import re
import subprocess
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

import psycopg2
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from .commit_cut import CommitCut
from .drill_load import Copier, SqlWriter, key_name
from .drill_plan import Step
from .process import Process, program
from .servers import PostgresqlDatabase, Server
from .waiting import wait_until

PARTITIONS = 3
SOURCE_TABLES = """
CREATE TABLE drill_key (key text PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE ledger (event_id text PRIMARY KEY, key text NOT NULL, seq bigint NOT NULL,
    kind text NOT NULL, tx text NOT NULL, odd text NOT NULL);
CREATE INDEX ON ledger (tx);
"""
EFFECT_TABLES = """
CREATE TABLE applied (key text PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE effect (number bigint GENERATED ALWAYS AS IDENTITY, event_id text NOT NULL,
    key text NOT NULL, seq bigint NOT NULL, before bigint NOT NULL);
"""
# Every attempt that is counted, however soon the row is gone again.
ATTEMPTS = """
CREATE TABLE drill_attempt (stage text, event_id text, attempts integer, state text, reason text,
    at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION drill_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.drill_attempt VALUES
        (NEW.stage, NEW.event_id, NEW.attempts, NEW.state, NEW.reason);
    RETURN NULL;
END $$;
CREATE TRIGGER drill_inserted AFTER INSERT ON sluice.dead_letter
    FOR EACH ROW WHEN (NEW.attempts > 0) EXECUTE FUNCTION drill_note();
CREATE TRIGGER drill_updated AFTER UPDATE ON sluice.dead_letter
    FOR EACH ROW WHEN (NEW.attempts > OLD.attempts) EXECUTE FUNCTION drill_note();
"""


@dataclass
class Fault:
    """What was done, and from when to when it can have had an effect (Unix time)."""
    name: str
    start: float
    end: float | None = None


@dataclass
class Size:
    """How much goes on."""
    keys: int = 64
    threads: int = 5
    sql_writers: int = 2
    pace_ms: int = 60
    hold_max_ms: int = 6000
    poison: int = 5  # in a thousand transactions
    copies: float = 0.01


@dataclass
class Programs:
    """What is run: builds with a mistake in them take the place of one."""
    sluice: str = field(default_factory=lambda: program("sluice"))
    writer: str = field(default_factory=lambda: program("tests/drill/drill_writer"))
    applier: str = field(default_factory=lambda: program("tests/drill/drill_applier"))


@dataclass
class Shared:
    """A server that others use, too: nothing is done to it."""
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].split("/")[0])


class Drill:
    def __init__(self, folder: Path, seed: int, postgresql: Server | Shared, kafka: Server | None,
                 kafka_url: str, topic: str = "drill", size: Size | None = None,
                 programs: Programs | None = None) -> None:
        self.folder, self.seed, self.postgresql, self.kafka = folder, seed, postgresql, kafka
        self.kafka_url, self.topic = kafka_url, topic
        self.size, self.programs = size or Size(), programs or Programs()
        self.bootstrap = kafka_url.removeprefix("kafka://")
        self.consumer = topic  # on a shared server it is nobody else's
        self.healed = folder / "healed"
        self.notes = [folder / "writer.notes"]
        self.faults: list[Fault] = []
        self.random = random.Random(seed)
        self.source = PostgresqlDatabase(postgresql.url)
        self.effects = PostgresqlDatabase(postgresql.url)
        self.cut = CommitCut(postgresql.port, seed)
        self.processes: dict[str, Process] = {}
        self.ended: list[str] = []  # by themselves
        self.paused: list[Process] = []
        self.sql_writers: list[SqlWriter] = []
        self.copier: Copier | None = None
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    # --- the beginning

    def prepare(self) -> None:
        for database, tables in ((self.source, SOURCE_TABLES), (self.effects, EFFECT_TABLES)):
            subprocess.run([self.programs.sluice, "init", "--database", database.url], check=True,
                           stdout=subprocess.DEVNULL)
            database.rows(tables + ATTEMPTS)
        with closing(self.source.connect()) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO drill_key VALUES (%s, 0)",
                               [(key_name(number),) for number in range(self.size.keys)])
        topic = NewTopic(self.topic, num_partitions=PARTITIONS, replication_factor=1)
        for done in self.admin.create_topics([topic], request_timeout=30).values():
            done.result()

    def start(self, name: str) -> None:
        """Start a part; a new process each time, which writes to the same log."""
        kind = name.split("-")[0]
        size = self.size
        command = {
            "relay": [self.programs.sluice, "relay", "--database", self.source.url, "--broker",
                      self.kafka_url, "--console.listen=127.0.0.1:0", "--relay.retry_delay=50ms"],
            "applier": [self.programs.applier, self.consumer, self.effects.url, self.kafka_url,
                        self.topic, self.healed],
            "writer": [self.programs.writer, self.cut.url(self.source.name), self.topic, size.keys,
                       size.threads, self.random.randrange(1 << 30), size.pace_ms,
                       size.hold_max_ms, size.poison, self.notes[0]],
        }[kind]
        self.processes[name] = Process(command, self.folder / f"{name}.log")

    def start_all(self) -> None:
        self.copier = Copier(self.bootstrap, self.topic, PARTITIONS, self.seed, self.size.copies)
        for name in ("relay-0", "relay-1", "applier-0", "applier-1", "writer"):
            self.start(name)
        for number in range(self.size.sql_writers):
            self.notes.append(self.folder / f"sql-{number}.notes")
            self.sql_writers.append(SqlWriter(
                number, self.cut.url(self.source.name), self.topic, self.size.keys, self.seed,
                self.notes[-1]))
        self.wait_flow()

    # --- the faults

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        fault = Fault(name, time.time())
        self.faults.append(fault)
        yield
        fault.end = time.time()

    def wait_flow(self, seconds: float = 60) -> None:
        """Until something more is applied."""
        def applied() -> int:
            return self.effects.value("SELECT count(*) FROM sluice.inbox")
        before = applied()
        with suppress(AssertionError):  # it is found out at the end
            wait_until(lambda: self.check_parts() or applied() > before, "events flow", seconds)

    def run(self, steps: list[Step], seconds: float) -> None:
        begun = time.monotonic()
        nothing = threading.Event()
        for step in steps:
            nothing.wait(max(0.0, begun + step.at - time.monotonic()))
            getattr(self, step.name)(step.target)
            self.check_parts()
        nothing.wait(max(0.0, begun + seconds - time.monotonic()))

    def check_parts(self) -> None:
        """Nothing may end by itself; what does is noted, and not started again."""
        for name, process in list(self.processes.items()):
            if not process.is_running():
                self.ended.append(f"{name} with status {process.popen.poll()}: "
                                  f"{process.said()[-500:]}")
                self.processes.pop(name).close()

    def is_standby(self, name: str) -> bool:
        """Whether it says that another one has the relays' lease, and nothing since."""
        said = self.processes[name].said()
        return said.rfind("another relay has the lease") > said.rfind("this relay has the lease")

    def relay(self, is_active: bool) -> str:
        """The relay that sends, or the one that stands by."""
        awake = [name for name in ("relay-0", "relay-1")
                 if self.processes.get(name) not in [None, *self.paused]]
        found = [name for name in awake if self.is_standby(name) != is_active]
        return (found or awake or ["relay-0"])[0]

    def kill(self, name: str) -> None:
        with self.fault(f"kill {name.split('-')[0]}"):
            process = self.processes.pop(name, None)
            if process is not None:
                process.kill()
                process.close()
                self.start(name)

    def kill_relay(self, _: int) -> None:
        self.kill(self.relay(True))

    def kill_standby(self, _: int) -> None:
        self.kill(self.relay(False))

    def kill_applier(self, number: int) -> None:
        self.kill(f"applier-{number}")

    def kill_writer(self, _: int) -> None:
        self.kill("writer")

    def end_relay(self, _: int) -> None:
        """As an operator does."""
        name = self.relay(True)
        with self.fault("end relay"):
            assert self.processes[name].end() == 0
            self.processes.pop(name).close()
            self.start(name)

    def cut_commit(self, _: int) -> None:
        for _ in range(3):
            self.cut.arm()

    def crash_postgresql(self, _: int) -> None:
        with self.fault("crash postgresql"):
            self.postgresql.kill()
            self.postgresql.start()

    def pause_relay(self, _: int) -> None:
        name = self.relay(True)
        self.faults.append(Fault("pause relay", time.time()))
        self.processes[name].popen.send_signal(19)
        self.paused.append(self.processes[name])

    def resume_relay(self, _: int) -> None:
        for process in self.paused:
            process.popen.send_signal(18)
        self.paused.clear()
        self.end_fault("pause relay")

    def end_fault(self, name: str) -> None:
        for fault in self.faults:
            if fault.name == name and fault.end is None:
                fault.end = time.time()

    def stop_kafka(self, _: int) -> None:
        self.faults.append(Fault("kafka away", time.time()))
        self.kafka.stop()

    def kill_kafka(self, _: int) -> None:
        self.faults.append(Fault("kafka away", time.time()))
        self.kafka.kill()

    def pause_kafka(self, _: int) -> None:
        self.faults.append(Fault("kafka away", time.time()))
        self.kafka.pause()

    def start_kafka(self, _: int) -> None:
        self.kafka.start()
        self.end_fault("kafka away")

    def resume_kafka(self, _: int) -> None:
        self.kafka.resume()
        self.end_fault("kafka away")

    # --- the end

    def end_writers(self) -> None:
        assert self.processes["writer"].end() == 0, self.processes["writer"].said()[-2000:]
        self.processes.pop("writer").close()
        for writer in self.sql_writers:
            writer.stop()
        self.copier.stop()

    def heal(self) -> None:
        """What was poison is none any more: the topic takes it, and the consumer knows it."""
        self.healed.touch()
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic)
        resource.set_config("max.message.bytes", str(3 << 20))
        for done in self.admin.alter_configs([resource], request_timeout=30).values():
            done.result()

    def redrive(self) -> None:
        for database in (self.source, self.effects):
            if database.value("SELECT count(*) FROM sluice.dead_letter"
                              " WHERE state = 'FAILED_PERMANENTLY'"):
                subprocess.run([program("sluice"), "dead-letter", "redrive", "--all", "--database",
                                database.url], capture_output=True, timeout=60)

    def progress(self) -> tuple:
        """(what is to be applied, what is applied, how far the relay is)"""
        return (self.source.value("SELECT count(*) FROM ledger"),
                self.effects.value("SELECT count(*) FROM sluice.inbox"),
                self.effects.value("SELECT count(*) FROM sluice.dead_letter"),
                *self.source.rows("SELECT tick, position FROM sluice.relay")[0],
                self.source.value("SELECT count(*) FROM sluice.dead_letter"))

    def wait_quiet(self, seconds: float, patience: float) -> bool:
        """Until all is applied, or nothing moves for so long; whether all is."""
        last = self.progress()
        moved = time.monotonic()

        def is_over() -> bool:
            nonlocal last, moved
            self.check_parts()
            self.redrive()
            now = self.progress()
            if now != last:
                last, moved = now, time.monotonic()
            is_all = now[0] == now[1] and now[2] == now[5] == 0
            return is_all or time.monotonic() - moved > patience
        with suppress(AssertionError):
            wait_until(is_over, "quiet", seconds)
        return last[0] == last[1] and last[2] == last[5] == 0


    def verify(self, is_sole: bool) -> tuple[int, str]:
        """Exit status and report of `sluice verify`. is_sole: nobody else uses this Kafka."""
        done = subprocess.run(
            [program("sluice"), "verify", "--database", self.source.url, "--broker", self.kafka_url,
             f"{self.consumer}={self.effects.url}", "--horizon", "0ms", "--json",
             *(["--all-sources"] if is_sole else [])],
            capture_output=True, text=True, timeout=300)
        assert done.stdout, done.stderr
        return done.returncode, done.stdout

    def close(self) -> None:
        for writer in self.sql_writers:
            writer.is_stopped.set()
        for process in self.processes.values():
            process.close()
        if self.copier is not None:
            self.copier.is_stopped.set()
            self.copier.thread.join(30)
        self.cut.close()
        if isinstance(self.postgresql, Shared):
            self.source.drop()
            self.effects.drop()


def wrong_words(drill: Drill) -> list[str]:
    """What no log may contain: a crash, or a mistake that a program knows to be its own."""
    pattern = re.compile(r"SLUICE_INTERNAL|bug of ours|AddressSanitizer|Assertion|core dumped")
    return [f"{path.name}: {line}" for path in drill.folder.glob("*.log")
            for line in path.read_text(errors="replace").splitlines() if pattern.search(line)]
