"""The drill as the checker sees it: PostgreSQL, Kafka, and what the writers noted."""
from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import TopicPartition

from .check import check
from .model import Consumer, Event, Ledger, LedgerRow, Record, Report, World

# At which stage an event of a type may use up attempts, and how many.
POISON = {("relay", "TooLarge"): 3, ("consumer", "Rejected"): 1, ("consumer", "Stubborn"): 3}
# Faults after which a relay may have sent something that another one, or it itself, sends again.
DOUBLING = ("kafka away", "pause relay")
LATE_SECONDS = 60


@dataclass
class Run:
    """What is known about a run, besides what its databases and its topic hold."""
    source: str  # URLs
    effects: str
    bootstrap: str
    topic: str
    consumer: str
    notes: list[Path]
    faults: list  # of name, start, end
    copies: set[tuple[int, int]]  # (partition, offset) of the copies that were put in
    seen: dict[tuple[int, int], float]  # when
    ended: list[str]  # programs that ended by themselves


@dataclass
class Notes:
    """What the writers say they did."""
    kept: dict[str, int] = field(default_factory=dict)  # transaction -> events it was to keep
    failed: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)  # ids of events that were undone
    begun: int = 0


def rows(url: str, sql: str, *values) -> list[tuple]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall()
    finally:
        connection.close()


def read_notes(paths: list[Path]) -> Notes:
    notes = Notes()
    for path in paths:
        for line in path.read_text().splitlines():
            what, name, *count = line.split(" ")
            if what == "begin":
                notes.begun += 1
            elif what == "ok":
                notes.kept[name] = int(count[0])
            elif what == "fail":
                notes.failed.add(name)
            elif what == "unknown":
                notes.unknown.add(name)
            elif what == "gone":
                notes.gone.add(name)
    return notes


@dataclass
class TopicRecord:
    record: Record
    odd: str
    type: str


def read_topic(bootstrap: str, topic: str) -> list[TopicRecord]:
    """All of it. A payload is kept as its hash."""
    consumer = KafkaConsumer({"bootstrap.servers": bootstrap, "group.id": "checker",
                              "enable.auto.commit": False, "log_level": 0})
    found = []
    try:
        numbers = consumer.list_topics(topic, 30).topics[topic].partitions
        ends = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), 30)[1]
                for number in numbers}
        left = {number for number, end in ends.items() if end > 0}
        consumer.assign([TopicPartition(topic, number, 0) for number in left])
        heard = time.monotonic()
        while left:
            messages = consumer.consume(500, 0.1)  # waits so long for so many
            heard = time.monotonic() if messages else heard
            assert time.monotonic() - heard < 30, f"{topic}: partitions {left} are not read"
            for message in messages:
                assert message.error() is None, message.error()
                headers = {name: (value or b"").decode() for name, value in message.headers() or []}
                key = message.key().decode() if message.key() is not None else None
                found.append(TopicRecord(
                    Record(topic, message.partition(), message.offset(), headers.get("id", ""), key,
                           hashlib.sha256(message.value()).digest()),
                    headers.get("odd", ""), headers.get("type", "")))
                if message.offset() + 1 >= ends[message.partition()]:
                    left.discard(message.partition())
    finally:
        consumer.close()
    return found


def read_world(run: Run, records: list[TopicRecord]) -> World:
    committed = [Event(run.source.rsplit("/", 1)[-1], position, event_id, topic, key, bytes(digest))
                 for position, event_id, topic, key, digest in rows(
                     run.source, "SELECT position, id::text, aggregatetype, aggregateid,"
                                 " sha256(payload) FROM sluice.outbox ORDER BY position")]
    ledger = Ledger(run.topic, frozenset(), [
        LedgerRow(key, seq, kind, event_id) for key, seq, kind, event_id in rows(
            run.source, "SELECT key, seq, kind, event_id FROM ledger")])
    dead = "SELECT event_id FROM sluice.dead_letter WHERE state = 'FAILED_PERMANENTLY'"
    consumer = Consumer(
        run.consumer, run.topic,
        [event_id for event_id, in rows(run.effects, "SELECT event_id::text FROM sluice.inbox"
                                                     " WHERE consumer = %s", run.consumer)],
        [event_id for event_id, in rows(run.effects, "SELECT event_id FROM effect")],
        {event_id for event_id, in rows(run.effects, dead)})
    return World(committed=committed, records=[each.record for each in records], ledgers=[ledger],
                 consumers=[consumer],
                 relay_dead_letters={event_id for event_id, in rows(run.source, dead)})


def judge_outcomes(run: Run, notes: Notes, records: list[TopicRecord], report: Report) -> None:
    """A commit that was reported is there, a rollback is not, and neither is what was undone."""
    in_ledger = Counter(tx for tx, in rows(run.source, "SELECT tx FROM ledger"))
    for name, count in notes.kept.items():
        if in_ledger[name] != count:
            report.breach("outcome_wrong", f"{name} was committed with {count} events, "
                                           f"and the ledger has {in_ledger[name]}")
    for name in notes.failed:
        if in_ledger[name] != 0:
            report.breach("outcome_wrong", f"{name} was rolled back, and the ledger has "
                                           f"{in_ledger[name]} of its events")
    for each in records:
        if each.record.id in notes.gone:
            report.breach("undone_published", f"id {each.record.id} key {each.record.key}")
    report.counts["begun"] = notes.begun
    report.counts["rolled_back"] = len(notes.failed)
    report.counts["undone"] = len(notes.gone)
    report.counts["unknown"] = len(notes.unknown)
    report.counts["unknown_committed"] = sum(in_ledger[name] > 0 for name in notes.unknown)


def judge_headers(run: Run, records: list[TopicRecord], report: Report) -> None:
    wanted = {event_id: (kind, odd) for event_id, kind, odd in rows(
        run.source, "SELECT event_id, kind, odd FROM ledger")}
    for each in records:
        if wanted.get(each.record.id) not in (None, (each.type, each.odd)):
            report.breach("altered", f"id {each.record.id}: {each.type} {each.odd!r} is not "
                                     f"{wanted[each.record.id]}")


def judge_effects(run: Run, report: Report) -> None:
    """Each key's numbers were applied one by one."""
    for event_id, key, seq, before in rows(
            run.effects, "SELECT event_id, key, seq, before FROM effect WHERE seq <> before + 1"):
        report.breach("applied_out_of_order", f"id {event_id} key {key}: {seq} after {before}")


def judge_attempts(run: Run, report: Report) -> None:
    """Only poison uses up attempts."""
    kinds = dict(rows(run.source, "SELECT event_id, kind FROM ledger"))
    count = 0
    for url in (run.source, run.effects):
        for stage, event_id, attempts, state, reason in rows(
                url, "SELECT stage, event_id, attempts, state, reason FROM drill_attempt"):
            place = "relay" if stage == "relay" else "consumer"
            most = POISON.get((place, kinds.get(event_id, "")), 0)
            count += 1
            if attempts > most:
                report.breach("attempt_wasted", f"id {event_id} of type {kinds.get(event_id)} at "
                                                f"{stage}: {attempts}, {state}: {reason}")
    report.counts["attempts"] = count


def judge_duplicates(run: Run, records: list[TopicRecord], report: Report) -> None:
    """Each copy was put in, or a fault explains it: the death of a relay does not."""
    report.counts["copies_put_in"] = 0
    seen: set[str] = set()
    for each in sorted(records, key=lambda each: (each.record.partition, each.record.offset)):
        if each.record.id not in seen:
            seen.add(each.record.id)
            continue
        place = (each.record.partition, each.record.offset)
        if place in run.copies:
            report.counts["copies_put_in"] += 1
            continue
        at = run.seen.get(place)
        causes = {fault.name for fault in run.faults
                  if at is None or fault.start - 1 < at < (fault.end or at) + LATE_SECONDS}
        found = [name for name in DOUBLING if name in causes]
        if found:
            name = f"copies_after_{found[0].replace(' ', '_')}"
            report.counts[name] = report.counts.get(name, 0) + 1
        else:
            report.breach("duplicate_unexplained", f"id {each.record.id} at {place}, after "
                                                   f"{sorted(causes) or 'nothing'}")


def judge(run: Run) -> Report:
    records = read_topic(run.bootstrap, run.topic)
    notes = read_notes(run.notes)
    report = check(read_world(run, records))
    for name in ("clients", "statuses_seen", "resets"):
        del report.counts[name]
    report.counts["records"] = len(records)
    judge_headers(run, records, report)
    judge_effects(run, report)
    judge_attempts(run, report)
    judge_duplicates(run, records, report)
    judge_outcomes(run, notes, records, report)
    for text in run.ended:
        report.breach("program_ended", text)
    return report
