"""Debezium Server, for the drain: fetched by Maven only when it is asked for (--debezium)."""
from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from common import Database, Process, note

VERSION = "3.6.0.Final"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = CACHE / f"debezium-server-{VERSION}"
TABLE = "debezium_outbox"
BASE_SLOT, RUN_SLOT = "sluice_bench_base", "sluice_bench_run"

# The best of what was tried: large batches, a heap and a collector that do not get in the way.
JVM = ["-Xms1g", "-Xmx4g", "-XX:+UseParallelGC", "--add-opens", "java.base/java.lang=ALL-UNNAMED"]
SETTINGS = {
    "source.max.batch.size": "8192", "source.max.queue.size": "32768",
    "source.poll.interval.ms": "10", "sink.kafka.producer.batch.size": "262144",
    "sink.kafka.producer.compression.type": "lz4",
}


def java() -> Path:
    """A Java of 21 or newer: JAVA_HOME's, or the newest that is installed."""
    homes = [Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    homes += sorted(Path("/usr/lib/jvm").glob("*"))
    found = []
    for home in homes:
        release = home / "release"
        if (home / "bin/java").exists() and release.exists():
            for line in release.read_text().splitlines():
                if line.startswith("JAVA_VERSION="):
                    found.append((int(line.split('"')[1].split(".")[0]), home / "bin/java"))
    if not found or max(found)[0] < 21:
        raise SystemExit("bench: Debezium Server needs Java 21 or newer; set JAVA_HOME")
    return max(found)[1]


def fetch() -> None:
    if (FOLDER / "lib").is_dir():
        return
    note(f"fetching Debezium Server {VERSION} (780 MB) into {FOLDER}")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy", f"-DoutputDirectory={work}",
             f"-Dartifact=io.debezium:debezium-server-dist:{VERSION}:tar.gz"], check=True)
        with tarfile.open(next(Path(work).glob("*.tar.gz"))) as archive:
            archive.extractall(work, filter="data")
        (Path(work) / "debezium-server").rename(FOLDER)


def drop_slots(database: Database) -> None:
    database.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                 f" WHERE slot_name IN ('{BASE_SLOT}', '{RUN_SLOT}') AND active")
    database.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                 f" WHERE slot_name IN ('{BASE_SLOT}', '{RUN_SLOT}')")


class Debezium:
    """Debezium's outbox table behind a slot, which is copied for each run."""

    topic = "peer.order"

    def __init__(self, database: Database) -> None:
        fetch()
        self.java = java()
        database.sql(f"CREATE TABLE {TABLE} (id uuid PRIMARY KEY, aggregatetype varchar(255)"
                     " NOT NULL, aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL,"
                     " payload jsonb)")
        database.sql(f"CREATE PUBLICATION sluice_bench FOR TABLE {TABLE}")
        database.sql(f"SELECT pg_create_logical_replication_slot('{BASE_SLOT}', 'pgoutput')")

    def preload(self, database: Database, rows: int) -> None:
        """The same events in transactions of 10."""
        # The slot reads what has been written, but no transaction waits for the disk.
        database.sql(f"""
            DO $$ BEGIN
            PERFORM set_config('synchronous_commit', 'off', false);
            FOR i IN 0..{rows // 10 - 1} LOOP
              INSERT INTO {TABLE} SELECT id, aggregatetype, aggregateid, type,
                convert_from(payload, 'UTF8')::jsonb FROM sluice.outbox
              WHERE position > i * 10 AND position <= i * 10 + 10;
              COMMIT;
            END LOOP; END $$""")

    def start(self, database: Database, servers: str) -> Process:
        host = database.url.split("@")[1].split("/")[0]
        database.sql(f"SELECT pg_copy_logical_replication_slot('{BASE_SLOT}', '{RUN_SLOT}')")
        self.work = tempfile.TemporaryDirectory(prefix="sluice-bench-debezium-")
        settings = {
            "source.connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "source.database.hostname": host.split(":")[0],
            "source.database.port": host.split(":")[1],
            "source.database.user": "postgres", "source.database.password": "none",
            "source.database.dbname": database.name, "source.topic.prefix": "x",
            "source.plugin.name": "pgoutput", "source.slot.name": RUN_SLOT,
            "source.publication.name": "sluice_bench",
            "source.publication.autocreate.mode": "disabled",
            "source.table.include.list": f"public.{TABLE}", "source.snapshot.mode": "no_data",
            "source.offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "source.offset.storage.file.filename": "offsets.dat", "sink.type": "kafka",
            "sink.kafka.producer.bootstrap.servers": servers,
            "sink.kafka.producer.key.serializer":
                "org.apache.kafka.common.serialization.StringSerializer",
            "sink.kafka.producer.value.serializer":
                "org.apache.kafka.common.serialization.StringSerializer",
            "format.key": "simplestring", "format.value": "simplestring", "transforms": "outbox",
            "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
            # The server expands ${...} in a value unless it is written so.
            "transforms.outbox.route.topic.replacement": "peer.\\\\${routedByValue}",
        } | SETTINGS
        config = Path(self.work.name) / "config"
        config.mkdir()
        (config / "application.properties").write_text(
            "quarkus.log.console.json=false\nquarkus.http.port=0\n"
            + "".join(f"debezium.{name}={value}\n" for name, value in settings.items()))
        runner = next(FOLDER.glob("*-runner.jar"))
        return Process(self.java, *JVM, "-cp", f"{runner}:config:{FOLDER}/lib/*",
                       "io.debezium.server.Main", cwd=self.work.name)

    def clean(self, database: Database) -> None:
        database.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                     f" WHERE slot_name = '{RUN_SLOT}' AND active")
        database.sql(f"SELECT pg_drop_replication_slot('{RUN_SLOT}')")
        self.work.cleanup()
