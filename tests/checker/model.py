"""What the checker compares, and what it finds."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """An event as its transaction committed it: a row of an outbox."""
    source: str
    position: int
    id: str
    topic: str
    key: str | None
    payload: bytes


@dataclass(frozen=True)
class Record:
    """An event as it stands in the log."""
    topic: str
    partition: int
    offset: int
    id: str
    key: str | None
    payload: bytes


@dataclass(frozen=True)
class LedgerRow:
    """A row that the same transaction wrote: this key came to this version, told by this event."""
    key: str
    version: int
    name: str
    event_id: str


@dataclass
class Ledger:
    """The history of all keys of one topic, and the names after which nothing more comes."""
    topic: str
    final_names: frozenset[str]
    rows: list[LedgerRow] = field(default_factory=list)


@dataclass
class Consumer:
    """What one consumer did with one topic: its markers, and its effects if they name the event."""
    name: str
    topic: str
    markers: list[str] = field(default_factory=list)
    effects: list[str] | None = None
    dead_letters: set[str] = field(default_factory=set)


@dataclass
class Client:
    """What one reader of a live stream saw of one key, over all its connections."""
    name: str
    key: str
    seen: list[tuple[int, str]] = field(default_factory=list)  # (version, name); in order
    resets: set[int] = field(default_factory=set)  # places in `seen` before which it was told `reset`
    has_ended: bool = False


@dataclass
class World:
    """All that a run left behind."""
    committed: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    relay_dead_letters: set[str] = field(default_factory=set)
    books: list[str] = field(default_factory=list)  # what the example's own accounts do not explain


# Every promise, by the name under which a breach is reported.
PROMISES = {
    "lost": "committed, and not in the log",
    "phantom": "in the log, and never committed",
    "altered": "in the log with another key, topic or payload than was committed",
    "reordered": "overtaken within its key",
    "split_key": "one key in two partitions of a topic",
    "ledger_missing": "published without its ledger row",
    "ledger_gap": "versions of a key that do not rise by one",
    "unapplied": "in the log, and without its consumer's marker",
    "applied_unknown": "a marker for what is not in the log",
    "effect_missing": "applied without its effect",
    "effect_repeated": "an effect more than once",
    "effect_unknown": "an effect of an event that was not applied",
    "client_gap": "a client missed a status",
    "client_step_back": "a client saw a status twice, or an older one after a newer one",
    "client_wrong": "a client saw what the ledger does not have",
    "client_unfinished": "a client did not come to the final status and the end",
    "books": "the services' accounts do not agree",
    "outcome_wrong": "a commit or a rollback was reported that was none",
    "undone_published": "in the log, though its transaction or savepoint was undone",
    "applied_out_of_order": "applied, and not right after the one before it of its key",
    "attempt_wasted": "an attempt was used up by what the event could not help",
    "program_ended": "a program ended by itself",
    "duplicate_unexplained": "a copy in the log that no fault explains",
}


@dataclass
class Report:
    counts: dict[str, int] = field(default_factory=dict)
    breaches: list[tuple[str, str]] = field(default_factory=list)

    def breach(self, promise: str, text: str) -> None:
        assert promise in PROMISES, promise
        self.breaches.append((promise, text))

    def breached(self) -> set[str]:
        return {promise for promise, _ in self.breaches}

    def lines(self, shown_max: int = 5) -> list[str]:
        lines = [" ".join(f"{name}={count}" for name, count in self.counts.items())]
        for promise, meaning in PROMISES.items():
            texts = [text for name, text in self.breaches if name == promise]
            lines.append(f"{promise}={len(texts)}" + (f"  ({meaning})" if texts else ""))
            lines += [f"    {text}" for text in texts[:shown_max]]
            if len(texts) > shown_max:
                lines.append(f"    ... and {len(texts) - shown_max} more")
        return lines
