"""Where an example keeps its data: files, or servers that it starts for itself."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from parts import END_SIGNALS, ROOT, Ended, StartError


class Files:
    """The embedded default: SQLite and the local log."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.broker = f"local:{data}/log.db"
        self.search = f"sqlite:{data}/search.db"

    def start(self, kinds: set[str]) -> None:
        pass

    def database(self, name: str, kind: str) -> str:
        return f"sqlite:{self.data}/{name}.db"

    def stop(self) -> None:
        pass


class Servers:
    """PostgreSQL, MariaDB, Kafka and OpenSearch, as far as the example wants them."""

    TAKES = {"postgresql": "60 MB", "mariadb": "120 MB", "kafka": "700 MB", "opensearch": "900 MB"}

    def __init__(self, data: Path) -> None:
        self.data = data
        self.urls: dict[str, str] = {}
        self.started: list[str] = []
        self.broker = ""
        self.search = ""

    def _call(self, server: str, verb: str) -> str:
        # A group of its own: Ctrl-C is for this script, which stops the servers last.
        done = subprocess.run([ROOT / "tools/servers" / server, verb, "--data", self.data / server],
                              stdout=subprocess.PIPE, text=True, process_group=0,
                              preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, set()))
        if done.returncode != 0:
            raise StartError(f"{server} cannot be started; what it said is above")
        return done.stdout.strip()

    def start(self, kinds: set[str]) -> None:
        subprocess.run([ROOT / "tools/packages", "servers"], check=True)
        for server in (name for name in self.TAKES if name in kinds):
            print(f"starting {server} (about {self.TAKES[server]} of memory) in "
                  f"{self.data / server}", file=sys.stderr, flush=True)
            if not self.started:  # if this script is killed, the servers must not stay
                self.data.mkdir(parents=True, exist_ok=True)
                subprocess.run(["setsid", "--fork", ROOT / "tools/servers/watch", str(os.getpid()),
                                self.data, "keep"], check=True, stdin=subprocess.DEVNULL)
            self.started.append(server)
            self.urls[server] = self._call(server, "up")
            if signal.sigpending() & END_SIGNALS:
                raise Ended
        self.broker = self.urls.get("kafka", "")
        if not self.broker.startswith("kafka://"):
            self.broker = f"kafka://{self.broker}"
        self.search = self.urls.get("opensearch", "")

    def database(self, name: str, kind: str) -> str:
        """A database of that name, made if it is missing."""
        url = self.urls[kind].rpartition("/")[0]  # without the database that it names
        host, _, port = url.rpartition("@")[2].rpartition(":")
        client = {
            "postgresql": ["psql", "-qAtX", "-h", host, "-p", port, "-U", "postgres", "-d",
                           "postgres", "-c", f"CREATE DATABASE {name}"],
            "mariadb": ["mariadb", "--no-defaults", "-h", host, "-P", port, "-u", "root", "-e",
                        f"CREATE DATABASE IF NOT EXISTS {name}"],
        }[kind]
        done = subprocess.run(client, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0 and "already exists" not in done.stderr:
            raise StartError(f"the database {name} cannot be made: {done.stderr.strip()}")
        return f"{url}/{name}"

    def stop(self) -> None:
        for server in reversed(self.started):
            try:
                self._call(server, "down")
            except StartError as error:
                print(error, file=sys.stderr)
