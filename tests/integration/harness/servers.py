"""Real servers: one of each for the whole run, shared by its tests, or one of a test's own.

A shared server is the one that the environment names (SLUICE_TEST_POSTGRESQL and so on, as set by
tools/servers/run), or else started when the first test wants it. Each test gets a database, or a
prefix for its topics, of its own. All data is in one folder; whoever made that folder stops what
runs in it and removes it, and `tools/servers/watch` does it if that process does not live to do it.
"""
from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Iterator
from urllib.parse import urlsplit

from .process import ROOT
from .waiting import wait_until

FOLDER = "SLUICE_TEST_SERVERS_FOLDER"
SETTINGS = {"postgresql": ["fsync=off"], "mariadb": ["innodb_flush_log_at_trx_commit=2"]}
TEMPLATES = {"postgresql", "mariadb", "kafka"}
numbers = itertools.count(1)


class NoServer(Exception):
    """A server cannot run here; the text says why."""


def call(name: str, verb: str, *options: object) -> str:
    done = subprocess.run([ROOT / "tools/servers" / name, verb, *map(str, options)],
                          capture_output=True, text=True, timeout=300,
                          env={"KAFKA_JIT_LEVEL": "1", **os.environ})  # it is not there for long
    if done.returncode != 0:
        raise NoServer(done.stderr.strip())
    return done.stdout.strip()


class Server:
    """A server of a test's own, which it may stop as roughly as it likes."""

    def __init__(self, name: str, data: Path, *settings: str, template: Path | None = None) -> None:
        self.name = name
        self.data = data
        self.is_paused = False
        self.options = [word for setting in [*SETTINGS.get(name, []), *settings]
                        for word in ("--set", setting)]
        if template is not None:
            self.options += ["--from", str(template)]
        self.url = self.start()

    def start(self) -> str:
        """Start it unless it runs: on the same port, with its data."""
        return call(self.name, "up", "--data", self.data, *self.options)

    def stop(self) -> None:
        """As an operator stops it."""
        self.resume()
        call(self.name, "down", "--data", self.data)

    def kill(self) -> None:
        """SIGKILL to it and its children, as a crash: its data stays."""
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, pids)), f"the end of {self.name}")

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it has its connections and says nothing."""
        self.is_paused = True
        pids = self.pids()  # it first, so that no more children come
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(state(pid) in "TZ" for pid in pids), f"the pause of {self.name}")

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @property
    def pid(self) -> int:
        return int((self.data / "pid").read_text())

    @property
    def port(self) -> int:
        return int((self.data / "port").read_text())

    def pids(self) -> list[int]:
        """It and its children: PostgreSQL has a process for each connection."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return []
        return [self.pid, *map(int, children)]

    def is_running(self) -> bool:
        return (self.data / "pid").exists() and not has_ended(self.pid)

    def log(self) -> str:
        return (self.data / "log").read_text(errors="replace")

    def close(self) -> None:
        self.resume()
        call(self.name, "down", "--data", self.data, "--wipe")


def state(pid: int) -> str:
    """The letter of its state, as ps shows it; Z (ended, to be asked for) if it is gone, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def has_ended(pid: int) -> bool:
    """With all of its threads: the first may be gone while others still have its sockets."""
    try:
        return state(pid) == "Z" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


# --- the folder of a run

def make_folder() -> Path:
    """Made once a run, by the process that starts the others; it calls remove_folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
    folder.chmod(0o711)  # each server's own account passes through it
    os.environ[FOLDER] = str(folder)
    # What is started from here on leaves its files here, too, if it is killed.
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    os.environ["TMPDIR"] = str(folder / "tmp")
    subprocess.run(["setsid", "--fork", ROOT / "tools/servers/watch", str(os.getpid()), folder],
                   check=True, stdin=subprocess.DEVNULL)
    return folder


def remove_folder(folder: Path) -> None:
    for data in folder.iterdir():
        if (data / "lock").exists():
            try:
                call(data.name.split("-")[0], "down", "--data", data, "--wipe")
            except NoServer as error:
                print(error, file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.pop(FOLDER, None)


def shared_url(name: str) -> str:
    """The address of the run's one server of that name, started if it is not running."""
    given = os.environ.get(f"SLUICE_TEST_{name.upper()}")
    if given:
        return given
    options = [word for setting in SETTINGS.get(name, []) for word in ("--set", setting)]
    return call(name, "up", "--data", Path(os.environ[FOLDER]) / name, *options)


def private_server(name: str, *settings: str) -> Server:
    """Begun with a copy of data that is made once a run."""
    folder = Path(os.environ[FOLDER])
    template = None
    if name in TEMPLATES:
        template = folder / f"{name}-template"
        with open(folder / f".{name}-template", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            call(name, "prepare", "--data", template)
    return Server(name, folder / f"{name}-{os.getpid()}-{next(numbers)}", *settings,
                  template=template)


# --- what one test sees of a server

def fresh_name() -> str:
    return f"test_{os.getpid()}_{next(numbers)}_{os.urandom(4).hex()}"


class PostgresqlDatabase:
    """A database of a test's own."""

    def __init__(self, server_url: str, name: str | None = None) -> None:
        self.server_url = server_url
        self.name = name or fresh_name()
        self.url = server_url.rsplit("/", 1)[0] + "/" + self.name
        self.on_server(f"CREATE DATABASE {self.name} STRATEGY file_copy")

    def connect(self):
        """An autocommitting connection."""
        import psycopg2
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        return connection

    def rows(self, sql: str, *arguments) -> list[tuple]:
        """Run one statement on a new connection; its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, *arguments):
        return self.rows(sql, *arguments)[0][0]

    def on_server(self, sql: str, *arguments) -> list[tuple]:
        import psycopg2
        with closing(psycopg2.connect(self.server_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, arguments or None)
                return cursor.fetchall() if cursor.description else []

    def drop(self) -> None:
        """Whoever is connected, and its replication slots, too."""
        self.on_server("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
                       " WHERE database = %s AND active_pid IS NOT NULL", self.name)
        self.on_server("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                       " WHERE database = %s", self.name)
        self.on_server(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


class MariadbDatabase:
    """A database of a test's own."""

    def __init__(self, server_url: str, name: str | None = None) -> None:
        self.server_url = server_url
        self.name = name or fresh_name()
        self.url = server_url.rstrip("/") + "/" + self.name
        self.on_server(f"CREATE DATABASE {self.name}")

    def connect(self, database: str | None = ""):
        """An autocommitting connection."""
        import pymysql
        parts = urlsplit(self.server_url)
        return pymysql.connect(host=parts.hostname, port=parts.port, user=parts.username,
                               password=parts.password or "", autocommit=True,
                               database=self.name if database == "" else database)

    def rows(self, sql: str, *arguments) -> list[tuple]:
        """Run one statement on a new connection; its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def value(self, sql: str, *arguments):
        return self.rows(sql, *arguments)[0][0]

    def on_server(self, sql: str, *arguments) -> list[tuple]:
        with closing(self.connect(None)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def drop(self) -> None:
        """Whoever is connected: a forgotten transaction would keep the database locked."""
        for (number,) in self.on_server("SELECT id FROM information_schema.processlist"
                                        " WHERE db = %s", self.name):
            with suppress(Exception):  # it may have ended by itself meanwhile
                self.on_server(f"KILL {number}")
        self.on_server(f"DROP DATABASE IF EXISTS {self.name}")


class KafkaTopics:
    """The broker, and names of topics that no other test uses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bootstrap = url.removeprefix("kafka://")
        self.prefix = fresh_name().replace("_", "-") + "."

    def topic(self, name: str) -> str:
        return self.prefix + name
