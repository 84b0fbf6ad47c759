#!/usr/bin/env python3
"""What a service that has no outbox tool writes for itself: the yardstick of `tests/bench/run drain`.

Claim a batch by SKIP LOCKED, produce it, wait for the answers, delete it, commit. It orders by a
number that is taken before the commit, so it can reorder, and it rewrites every row.

usage: polling_worker.py CONNINFO BROKERS TOPIC BATCH      reads the table outbox_poll, until killed
"""
import sys
import time

import psycopg2
from confluent_kafka import Producer


def main() -> None:
    conninfo, brokers, topic, batch = sys.argv[1:]
    failed = []
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 5})

    def on_delivery(error, _message) -> None:
        if error:
            failed.append(error)

    connection = psycopg2.connect(conninfo)
    cursor = connection.cursor()
    while True:
        cursor.execute("SELECT seq, id, aggregateid, payload FROM outbox_poll ORDER BY seq"
                       " LIMIT %s FOR UPDATE SKIP LOCKED", (batch,))
        rows = cursor.fetchall()
        for _, event_id, key, payload in rows:
            producer.produce(topic, bytes(payload), key, headers={"id": event_id},
                             on_delivery=on_delivery)
        producer.flush()
        if failed:
            raise SystemExit(f"polling_worker: {failed[0]}")
        cursor.execute("DELETE FROM outbox_poll WHERE seq = ANY(%s)", ([row[0] for row in rows],))
        connection.commit()
        if not rows:
            time.sleep(0.1)


if __name__ == "__main__":
    main()
