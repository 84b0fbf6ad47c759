"""The checks: a world goes in, a report comes out. Nothing here reads a file."""
from __future__ import annotations

from collections import Counter, defaultdict

from .model import Client, Consumer, Event, Ledger, Record, Report, World


def first_records(records: list[Record]) -> dict[str, Record]:
    """The first record of each event id; a later one of the same id is a duplicate."""
    first: dict[str, Record] = {}
    for record in sorted(records, key=lambda each: (each.topic, each.partition, each.offset)):
        first.setdefault(record.id, record)
    return first


def check_delivery(world: World, first: dict[str, Record], report: Report) -> None:
    """Nothing lost, nothing made up, nothing changed on the way."""
    committed = {event.id: event for event in world.committed}
    for event in world.committed:
        if event.id not in first and event.id not in world.relay_dead_letters:
            report.breach("lost", f"{event.topic} key {event.key} id {event.id} of {event.source}")
    for record in world.records:
        event = committed.get(record.id)
        if event is None:
            report.breach("phantom", f"{record.topic} key {record.key} id {record.id}")
        elif (event.topic, event.key, event.payload) != (record.topic, record.key, record.payload):
            report.breach("altered", f"{record.topic} key {record.key} id {record.id}")


def check_order(world: World, first: dict[str, Record], report: Report) -> None:
    """Within a source, topic and key the log's order is the order of the commits."""
    by_key: dict[tuple[str, str, str], list[tuple[Event, Record]]] = defaultdict(list)
    for event in world.committed:
        if event.key is not None and event.id in first:
            by_key[event.source, event.topic, event.key].append((event, first[event.id]))
    partitions: dict[tuple[str, str], set[int]] = defaultdict(set)
    for (source, topic, key), pairs in by_key.items():
        pairs.sort(key=lambda pair: pair[1].offset)
        positions = [event.position for event, _ in pairs]
        for before, after in zip(positions, positions[1:]):
            if after < before:
                report.breach("reordered", f"{topic} key {key} of {source}: "
                                           f"position {after} after {before}")
        partitions[topic, key] |= {record.partition for _, record in pairs}
    for (topic, key), numbers in partitions.items():
        if len(numbers) > 1:
            report.breach("split_key", f"{topic} key {key} in partitions {sorted(numbers)}")


def check_ledger(world: World, ledger: Ledger, first: dict[str, Record], report: Report) -> None:
    """Each change of a key left its ledger row and its event by the same commit, in order."""
    committed = {event.id for event in world.committed if event.topic == ledger.topic}
    in_ledger = {row.event_id for row in ledger.rows}
    for event_id in sorted(committed - in_ledger):
        report.breach("ledger_missing", f"{ledger.topic} id {event_id}")
    by_key = defaultdict(list)
    for row in ledger.rows:
        by_key[row.key].append(row)
        if row.event_id not in committed and row.event_id not in first:
            report.breach("lost", f"{ledger.topic} key {row.key} version {row.version}: "
                                  "its ledger row is there, its event is not")
    for key, rows in by_key.items():
        rows.sort(key=lambda row: row.version)
        versions = [row.version for row in rows]
        if versions != list(range(1, len(rows) + 1)):
            report.breach("ledger_gap", f"{ledger.topic} key {key} has versions {versions}")
        places = [(row.version, first[row.event_id].offset) for row in rows if row.event_id in first]
        for (version, offset), (next_version, next_offset) in zip(places, places[1:]):
            if next_offset < offset:
                report.breach("reordered", f"{ledger.topic} key {key}: version {next_version} "
                                           f"stands before version {version}")


def check_consumer(consumer: Consumer, first: dict[str, Record], report: Report) -> None:
    """Each event of the topic was applied, and has its effect, exactly once."""
    in_log = {record.id for record in first.values() if record.topic == consumer.topic}
    markers = set(consumer.markers)
    who = f"{consumer.name} of {consumer.topic}"
    for event_id in sorted(in_log - markers - consumer.dead_letters):
        report.breach("unapplied", f"{who}: id {event_id}")
    for event_id in sorted(markers - in_log):
        report.breach("applied_unknown", f"{who}: id {event_id}")
    if consumer.effects is None:
        return
    effects = Counter(consumer.effects)
    for event_id in sorted(markers - set(effects)):
        report.breach("effect_missing", f"{who}: id {event_id}")
    for event_id, count in effects.items():
        if count > 1:
            report.breach("effect_repeated", f"{who}: id {event_id}, {count} times")
        if event_id not in markers:
            report.breach("effect_unknown", f"{who}: id {event_id}")


def check_client(client: Client, ledger: Ledger, report: Report) -> None:
    """From its first status on, a client saw every one, in order, and the end after the final one."""
    history = {row.version: row.name for row in ledger.rows if row.key == client.key}
    who = f"{client.name} of key {client.key}"
    before: int | None = None
    for place, (version, name) in enumerate(client.seen):
        if history.get(version) != name:
            report.breach("client_wrong", f"{who}: version {version} as {name}, and the ledger has "
                                          f"{history.get(version)}")
        if before is not None and version <= before:
            report.breach("client_step_back", f"{who}: version {version} after {before}")
        elif before is not None and version != before + 1 and place not in client.resets:
            report.breach("client_gap", f"{who}: version {version} after {before}")
        before = version
    final = max(history, default=0)
    if history.get(final) in ledger.final_names and (before != final or not client.has_ended):
        report.breach("client_unfinished", f"{who}: stopped at version {before} of {final}, "
                                           f"{'with' if client.has_ended else 'without'} the end")


def check(world: World) -> Report:
    report = Report()
    first = first_records(world.records)
    check_delivery(world, first, report)
    check_order(world, first, report)
    for ledger in world.ledgers:
        check_ledger(world, ledger, first, report)
    for consumer in world.consumers:
        check_consumer(consumer, first, report)
    for client in world.clients:
        check_client(client, world.ledgers[0], report)
    for text in world.books:
        report.breach("books", text)
    dead = set().union(world.relay_dead_letters, *(each.dead_letters for each in world.consumers))
    report.counts = {
        "committed": len(world.committed),
        "published": len(first),
        "duplicates": len(world.records) - len(first),
        "applied": sum(len(consumer.markers) for consumer in world.consumers),
        "effects": sum(len(consumer.effects or []) for consumer in world.consumers),
        "dead_letters": len(dead),
        "clients": len(world.clients),
        "statuses_seen": sum(len(client.seen) for client in world.clients),
        "resets": sum(len(client.resets) for client in world.clients),
    }
    return report
