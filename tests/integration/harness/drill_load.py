"""What works while the drill goes on: services that publish by plain SQL, and a source of copies."""
from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import psycopg2
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

PUBLISH = """SELECT sluice.publish(topic => %s, key => %s, payload => %s::text, type => 'Changed',
             headers => %s)"""


def key_name(number: int) -> str:
    """As tests/drill/writer.c has it."""
    before, after = [("key-", ""), ("schlüssel ä/", " "), ("'", "'; -- \""), ("\U0001f41f", "%s"),
                     ("a%20b&c=", "+\\")][number % 5]
    return f"{before}{number}{after}"


class SqlWriter:
    """A service without any library: sluice.publish in its own transactions."""

    def __init__(self, number: int, url: str, topic: str, keys: int, seed: int, notes: Path) -> None:
        self.number, self.url, self.topic = number, url, topic
        self.keys = [key for key in range(keys) if key % 8 != 0]  # those are for poison
        self.random = random.Random(seed * 100 + number)
        self.notes = open(notes, "a")
        self.is_stopped = threading.Event()
        self.serial = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        connection = None
        while not self.is_stopped.wait(self.random.random() * 0.2):
            try:
                connection = connection or psycopg2.connect(self.url)
                self.transaction(connection)
            except psycopg2.Error:
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()
        self.notes.close()

    def note(self, *words: object) -> None:
        print(*words, file=self.notes, flush=True)

    def transaction(self, connection) -> None:
        self.serial += 1
        name = f"sql{self.number}-{self.random.getrandbits(24)}-{self.serial}"
        ids: list[str] = []
        gone: list[str] = []
        self.note("begin", name)
        try:
            with connection.cursor() as cursor:
                for key in sorted(self.random.sample(self.keys, self.random.randint(1, 3))):
                    ids.append(self.change(cursor, key, name))
                    if self.random.random() < 0.05:
                        cursor.execute("SAVEPOINT part")
                        gone.append(self.change(cursor, key, name))
                        cursor.execute("ROLLBACK TO part")
            if self.random.random() < 0.1:
                gone += ids
                connection.rollback()
                self.note("fail", name)
            else:
                self.commit(connection, name, len(ids))
        except psycopg2.errors.DeadlockDetected:
            connection.rollback()
            self.note("fail", name)
        finally:
            for event_id in gone:
                self.note("gone", event_id)

    def commit(self, connection, name: str, count: int) -> None:
        try:
            connection.commit()
        except psycopg2.Error:
            self.note("unknown", name)
            raise
        self.note("ok", name, count)

    def change(self, cursor, number: int, name: str) -> str:
        key = key_name(number)
        cursor.execute("UPDATE drill_key SET seq = seq + 1 WHERE key = %s RETURNING seq", (key,))
        seq = cursor.fetchone()[0]
        odd = f'SQL "{seq}" \\ %s \''
        cursor.execute(PUBLISH, (self.topic, key, json.dumps({"seq": seq}, separators=(",", ":")),
                                 json.dumps({"odd": odd})))
        event_id = str(cursor.fetchone()[0])
        cursor.execute("INSERT INTO ledger VALUES (%s, %s, %s, 'Changed', %s, %s)",
                       (event_id, key, seq, name, odd))
        return event_id

    def stop(self) -> None:
        self.is_stopped.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


class Copier:
    """Puts a copy of one in a hundred records into the topic, and notes when it saw each record."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, seed: int,
                 share: float = 0.01) -> None:
        self.topic, self.partitions, self.share = topic, partitions, share
        self.random = random.Random(seed)
        settings = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.consumer = Consumer({**settings, "group.id": "copier", "enable.auto.commit": False,
                                  "auto.offset.reset": "earliest",
                                  "fetch.message.max.bytes": 2 << 20})
        self.producer = Producer({**settings, "enable.idempotence": True, "message.timeout.ms": 0,
                                  "message.max.bytes": 3 << 20})
        self.made: set[tuple[int, int]] = set()  # (partition, offset) of our copies
        self.seen: dict[tuple[int, int], float] = {}  # when: Unix time
        self.is_stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        self.consumer.assign([TopicPartition(self.topic, number, 0)
                              for number in range(self.partitions)])
        while not self.is_stopped.is_set():
            self.producer.poll(0)
            try:
                messages = self.consumer.consume(200, 0.2)
            except KafkaException:
                continue
            for message in messages:
                if message.error() is None:
                    self.take(message)

    def take(self, message) -> None:
        place = (message.partition(), message.offset())
        self.seen[place] = time.time()
        if place not in self.made and self.random.random() < self.share:
            self.producer.produce(self.topic, message.value(), message.key(),
                                  partition=message.partition(), headers=message.headers(),
                                  timestamp=message.timestamp()[1], on_delivery=self.on_delivery)

    def on_delivery(self, error, message) -> None:
        assert error is None, error
        self.made.add((message.partition(), message.offset()))

    def stop(self) -> None:
        self.is_stopped.set()
        self.thread.join(60)
        assert self.producer.flush(60) == 0
        self.consumer.close()
