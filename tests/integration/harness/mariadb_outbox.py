"""Writers of an outbox on MariaDB that do all that writers do, and the judgement of what arrived."""
from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pymysql

from .command import works
from .process import program
from .servers import MariadbDatabase
from .waiting import wait_until

KEYS = 12
TABLES = [
    "CREATE TABLE thing (name VARCHAR(20) PRIMARY KEY, version INT NOT NULL)",
    # Written by the transactions that publish: what is in it, and nothing else, must arrive.
    "CREATE TABLE ledger (id VARCHAR(36) PRIMARY KEY, name VARCHAR(20), version INT)",
    f"INSERT INTO thing SELECT concat('key-', seq), 0 FROM seq_0_to_{KEYS - 1}",
]


class Outbox:
    def __init__(self, database: MariadbDatabase, folder: Path) -> None:
        self.database = database
        self.broker = f"local:{folder}/log.db"
        works("init", "--database", database.url)
        for sql in TABLES:
            database.rows(sql)

    def relay_command(self, *options: str) -> list[str]:
        return [program("sluice"), "relay", "--database", self.database.url, "--broker",
                self.broker, "--console.listen=127.0.0.1:0", *options]

    def unsent(self) -> int:
        return self.database.value(
            "SELECT count(*) FROM sluice_outbox o JOIN sluice_relay r ON r.name = 'relay'"
            " WHERE o.tick IS NULL OR o.tick > r.tick"
            " OR (o.tick = r.tick AND o.position > r.position)")

    def sent(self) -> tuple[int, int]:
        return self.database.rows("SELECT tick, position FROM sluice_relay")[0]

    def wait_sent(self, seconds: float = 60) -> None:
        wait_until(lambda: self.unsent() == 0, "all events are confirmed", seconds)

    def arrived(self) -> list[dict]:
        return [json.loads(line) for line in works(
            "tail", "--broker", self.broker, "--topic", "things", "--from", "start", "--exit",
            "--json").splitlines()]

    def check_arrived(self) -> None:
        """Each event of the ledger once, nothing else, and each key's in the order of its versions."""
        ledger = {row[0]: row[1:] for row in self.database.rows("SELECT * FROM ledger")}
        arrived = self.arrived()
        counts = Counter(event["id"] for event in arrived)
        assert [each for each in counts if counts[each] > 1] == [], "doubled"
        assert set(ledger) - set(counts) == set(), "lost"
        assert set(counts) - set(ledger) == set(), "made up"
        versions: dict[str, list[int]] = {}
        for event in arrived:
            assert (event["key"], event["payload"]["version"]) == ledger[event["id"]]
            versions.setdefault(event["key"], []).append(event["payload"]["version"])
        for key, found in versions.items():
            assert found == sorted(found), f"{key} is out of order"


class Writers:
    """Threads that change things, publish what they did, and roll some of it back."""

    def __init__(self, outbox: Outbox, count: int = 8) -> None:
        self.outbox = outbox
        self.is_ended = False
        self.done = 0
        self.failures: list[BaseException] = []
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.is_ended:
            try:
                with closing(self.outbox.database.connect()) as connection:
                    while not self.is_ended:
                        self.change(connection, chance)
                        self.done += 1
            except pymysql.err.MySQLError as error:
                # The server is away, or two changes were in each other's way.
                if error.args[0] not in (0, 1020, 1053, 1205, 1213, 1927, 2003, 2006, 2013, 2014):
                    self.failures.append(error)
                    return
                time.sleep(0.05)
            except BaseException as error:
                self.failures.append(error)
                raise

    def change(self, connection, chance: random.Random) -> None:
        with connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            for name in sorted(chance.sample(range(KEYS), chance.randrange(1, 4))):
                self.publish(cursor, f"key-{name}")
            if chance.random() < 0.3:
                cursor.execute("SAVEPOINT s")
                self.publish(cursor, f"key-{chance.randrange(KEYS)}")
                if chance.random() < 0.5:
                    cursor.execute("ROLLBACK TO SAVEPOINT s")
            if chance.random() < 0.1:
                time.sleep(0.05)  # a slow transaction holds its rows back, and no other
            cursor.execute("ROLLBACK" if chance.random() < 0.25 else "COMMIT")

    @staticmethod
    def publish(cursor, name: str) -> None:
        cursor.execute("UPDATE thing SET version = version + 1 WHERE name = %s", name)
        cursor.execute("SELECT version FROM thing WHERE name = %s", name)
        (version,) = cursor.fetchone()
        cursor.execute("SELECT sluice_publish('things', %s, %s, 'Changed', NULL)",
                       (name, json.dumps({"version": version})))
        (event_id,) = cursor.fetchone()
        cursor.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (event_id, name, version))

    def wait_more(self, count: int) -> None:
        target = self.done + count
        wait_until(lambda: self.failures or self.done >= target, f"{count} more transactions", 60)

    def stop(self) -> None:
        self.is_ended = True
        for thread in self.threads:
            thread.join()
        assert self.failures == []
