"""`sluice verify`: it finds each kind of fault, by name, and agrees with tests/checker about it."""
from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.command import Database, fails, sluice, works
from harness.orders import Orders
from harness.process import Process, program
from harness.waiting import wait_until

OFFSET_BITS = 40
PAYMENTS = "order-payment-requested-v1"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a run of the orders example left behind: services and relays have ended."""
    running = Orders(tmp_path_factory.mktemp("healthy"))
    try:
        running.start("--payment-delay-ms=0")
        for user in (7, 8, 9, 7, 8):
            running.wait_type(running.place(user)["order_id"], "completed")
        running.check_until_quiet()
        assert running.end() == 0
        yield running.data
    finally:
        running.close()


@pytest.fixture
def run(healthy: Path, tmp_path: Path) -> Orders:
    """A copy of it, to be spoilt."""
    data = tmp_path / "run"
    shutil.copytree(healthy, data)
    return Orders(data)


def change(run: Orders, database: str, sql: str, *values) -> None:
    with closing(sqlite3.connect(run.data / database, isolation_level=None)) as connection:
        assert connection.execute(sql, values).rowcount > 0


def arguments(run: Orders) -> list[str]:
    return ["--database", f"sqlite:{run.data}/orders.db", "--database",
            f"sqlite:{run.data}/payment.db", "--broker", f"local:{run.data}/log.db",
            "--horizon", "0ms"]


def verify(run: Orders) -> dict:
    done = sluice("verify", *arguments(run), "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (1 if any(report["breaches"].values()) else 0), done.stderr
    return report


def breaches(run: Orders) -> dict[str, int]:
    return {name: count for name, count in verify(run)["breaches"].items() if count > 0}


def checked(run: Orders) -> set[str]:
    """What the independent checker says."""
    return {name for name, _ in run.check()["breaches"]}


def a_record(run: Orders, which: str = "LIMIT 1") -> tuple[int, str, str]:
    """(place, event id, topic) of a record of payment.completed.v1."""
    return run.rows("log.db", "SELECT r.place, r.event_id, t.name FROM record r"
                    " JOIN partition p ON p.id = r.place >> 40 JOIN topic t ON t.id = p.topic_id"
                    " WHERE t.name = 'payment.completed.v1' " + which)[0]


def end_of(run: Orders, place: int) -> int:
    """The place behind the last record of the same partition, which is moved on by one."""
    partition = place >> OFFSET_BITS
    change(run, "log.db", "UPDATE partition SET next_offset = next_offset + 1 WHERE id = ?",
           partition)
    return run.rows("log.db", "SELECT next_offset - 1 + (id << 40) FROM partition WHERE id = ?",
                    partition)[0][0]


def test_a_healthy_run_is_found_healthy(run: Orders) -> None:
    report = verify(run)
    assert not any(report["breaches"].values()) and report["wrong"] == []
    counts = run.check()["counts"]
    assert report["counts"]["committed"] == report["counts"]["published"] == counts["committed"]
    assert report["counts"]["markers"] == counts["applied"] > 0
    assert report["counts"]["duplicates"] == 0 and report["all_sources"]
    text = works("verify", *arguments(run))
    assert text.endswith("every promise held\n")


def test_a_lost_event_is_named(run: Orders) -> None:
    place, event_id, topic = a_record(run)
    # The last of its partition, so that it leaves no hole.
    partition = place >> OFFSET_BITS
    place, event_id = run.rows("log.db", "SELECT place, event_id FROM record WHERE place >> 40 = ?"
                               " ORDER BY place DESC LIMIT 1", partition)[0]
    change(run, "log.db", "DELETE FROM record WHERE place = ?", place)
    change(run, "log.db", "UPDATE partition SET next_offset = next_offset - 1 WHERE id = ?",
           partition)
    report = verify(run)
    assert report["breaches"]["lost"] == 1
    wrong = [each for each in report["wrong"] if each["breach"] == "lost"][0]
    assert (wrong["id"], wrong["topic"]) == (event_id, topic)
    assert wrong["database"] == f"sqlite:{run.data}/payment.db" and "position" in wrong
    done = sluice("verify", *arguments(run))
    assert done.returncode == 1 and f"lost: topic {topic} key " in done.stdout
    assert event_id in done.stdout
    assert "lost" in checked(run)


def test_a_hole_in_a_partition_is_told_from_its_end(run: Orders) -> None:
    place, _, _ = a_record(run)
    end = end_of(run, place)
    end_of(run, place)
    change(run, "log.db", "INSERT INTO record SELECT ? + 1, event_id, message_key, type, payload,"
                          " headers, created_at, appended_at FROM record WHERE place = ?", end, place)
    assert breaches(run) == {"hole": 1}
    assert verify(run)["counts"]["duplicates"] == 1


def test_a_phantom_is_named_unless_others_write_to_the_log(run: Orders) -> None:
    place, _, topic = a_record(run)
    change(run, "log.db", "INSERT INTO record SELECT ?, '01234567-0000-7000-8000-000000000000',"
                          " message_key, type, payload, headers, created_at, appended_at"
                          " FROM record WHERE place = ?", end_of(run, place), place)
    assert breaches(run) == {"phantom": 1}
    assert "phantom" in checked(run)
    wrong = verify(run)["wrong"][0]
    assert (wrong["id"], wrong["topic"]) == ("01234567-0000-7000-8000-000000000000", topic)
    change(run, "log.db", "INSERT INTO source (id, position) VALUES ('another', 1)")
    report = verify(run)
    assert report["counts"]["foreign"] == 1 and not report["all_sources"]
    assert not any(report["breaches"].values())
    assert "phantom=1" in sluice("verify", *arguments(run), "--all-sources").stdout


def test_an_altered_event_is_named(run: Orders) -> None:
    place, event_id, _ = a_record(run)
    change(run, "log.db", "UPDATE record SET payload = payload || ' ' WHERE place = ?", place)
    assert breaches(run) == {"altered": 1}
    assert verify(run)["wrong"][0]["id"] == event_id
    assert "altered" in checked(run)


def test_an_overtaken_event_is_named(run: Orders) -> None:
    """Two statuses of one order change places."""
    places = run.rows("log.db", "SELECT r.place, r.event_id FROM record r"
                      " JOIN partition p ON p.id = r.place >> 40 JOIN topic t ON t.id = p.topic_id"
                      " WHERE t.name = 'order.status-changed.v1' AND r.message_key ="
                      " (SELECT CAST(min(order_id) AS TEXT) FROM (SELECT CAST(message_key AS INTEGER)"
                      "  AS order_id FROM record WHERE message_key IS NOT NULL))"
                      " ORDER BY r.place LIMIT 2")
    (first, first_id), (second, second_id) = places
    change(run, "log.db", "UPDATE record SET place = -1 WHERE place = ?", first)
    change(run, "log.db", "UPDATE record SET place = ? WHERE place = ?", first, second)
    change(run, "log.db", "UPDATE record SET place = ? WHERE place = -1", second)
    assert breaches(run) == {"reordered": 1}
    assert verify(run)["wrong"][0]["id"] == second_id
    assert "reordered" in checked(run)


def test_a_key_in_two_partitions_is_named(run: Orders) -> None:
    place, key = run.rows("log.db", "SELECT max(r.place), r.message_key FROM record r"
                          " JOIN partition p ON p.id = r.place >> 40 JOIN topic t ON t.id ="
                          " p.topic_id WHERE t.name = 'order.status-changed.v1'"
                          " GROUP BY r.place >> 40 LIMIT 1")[0]
    other = run.rows("log.db", "SELECT p.id << 40 | p.next_offset, p.id FROM partition p JOIN topic"
                     " t ON t.id = p.topic_id WHERE t.name = 'order.status-changed.v1' AND p.id <>"
                     " ? LIMIT 1", place >> OFFSET_BITS)[0]
    change(run, "log.db", "UPDATE record SET place = ? WHERE place = ?", other[0], place)
    change(run, "log.db", "UPDATE partition SET next_offset = next_offset + 1 WHERE id = ?", other[1])
    change(run, "log.db", "UPDATE partition SET next_offset = next_offset - 1 WHERE id = ?",
           place >> OFFSET_BITS)
    assert breaches(run) == {"split_key": 1}
    assert verify(run)["wrong"][0]["key"] == key
    assert "split_key" in checked(run)


def test_duplicates_are_counted_and_late_ones_told(run: Orders) -> None:
    place = run.rows("log.db", "SELECT r.place FROM record r JOIN partition p ON p.id ="
                     " r.place >> 40 JOIN topic t ON t.id = p.topic_id"
                     " WHERE t.name = 'order.status-changed.v1' ORDER BY r.place LIMIT 1")[0][0]
    change(run, "log.db", "INSERT INTO record SELECT ?, event_id, message_key, type, payload, headers,"
                          " created_at, appended_at FROM record WHERE place = ?",
           end_of(run, place), place)
    report = verify(run)
    assert not any(report["breaches"].values())
    assert (report["counts"]["duplicates"], report["counts"]["late"]) == (1, 1)
    assert run.check()["counts"]["duplicates"] == 1


def test_two_rows_of_one_id_are_named(run: Orders) -> None:
    change(run, "payment.db", "INSERT INTO sluice_outbox (id, topic, message_key, type, payload)"
                              " SELECT id, topic, message_key, type, payload FROM sluice_outbox"
                              " LIMIT 1")
    assert breaches(run) == {"twice": 1}


def test_a_row_deleted_by_hand_leaves_a_hole(run: Orders) -> None:
    position, event_id = run.rows("payment.db", "SELECT position, id FROM sluice_outbox"
                                                " ORDER BY position LIMIT 1 OFFSET 1")[0]
    change(run, "payment.db", "DELETE FROM sluice_outbox WHERE position = ?", position)
    report = verify(run)
    assert report["breaches"]["hole"] == 1 and report["breaches"]["phantom"] == 1
    hole = [each for each in report["wrong"] if each["breach"] == "hole"][0]
    assert hole["position"] == str(position)


def test_an_event_that_was_not_applied_is_named(run: Orders) -> None:
    event_id = run.rows("payment.db", "SELECT event_id FROM sluice_inbox WHERE consumer = ?"
                                      " ORDER BY event_id DESC LIMIT 1", PAYMENTS)[0][0]
    change(run, "payment.db", "DELETE FROM sluice_inbox WHERE consumer = ? AND event_id = ?",
           PAYMENTS, event_id)
    # Else it looks as if the inbox' retention had removed it, of which nothing is said.
    change(run, "payment.db", "UPDATE sluice_consumer SET applied_total = applied_total - 1"
                              " WHERE name = ?", PAYMENTS)
    assert breaches(run) == {"unapplied": 1}
    wrong = verify(run)["wrong"][0]
    assert (wrong["id"], wrong["consumer"]) == (event_id, PAYMENTS)
    assert "unapplied" in checked(run)


def test_a_marker_without_an_event_is_named(run: Orders) -> None:
    change(run, "payment.db", "INSERT INTO sluice_inbox VALUES (?,"
                              " '01234567-0000-7000-8000-000000000000', 1)", PAYMENTS)
    assert breaches(run) == {"unfounded": 1}
    assert "applied_unknown" in checked(run)


def test_a_dead_letter_is_neither_lost_nor_unapplied(run: Orders) -> None:
    event_id = run.rows("payment.db", "SELECT event_id FROM sluice_inbox WHERE consumer = ?"
                                      " ORDER BY event_id DESC LIMIT 1", PAYMENTS)[0][0]
    change(run, "payment.db", "DELETE FROM sluice_inbox WHERE event_id = ?", event_id)
    change(run, "payment.db", "UPDATE sluice_consumer SET applied_total = applied_total - 1"
                              " WHERE name = ?", PAYMENTS)
    assert breaches(run) == {"unapplied": 1}
    change(run, "payment.db", "INSERT INTO sluice_dead_letter (stage, event_id, topic, message_key,"
                              " type, payload, headers, created_at, state, attempts,"
                              " next_attempt_at, held_at, reason) VALUES (?, ?, 't', 'k', 'T', '',"
                              " '{}', 0, 'FAILED_PERMANENTLY', 3, 0, 0, 'refused')", PAYMENTS,
           event_id)
    assert breaches(run) == {}


def test_what_retention_removed_is_not_called_lost_or_made_up(run: Orders) -> None:
    # The log's: the oldest record of each partition of a topic is gone.
    change(run, "log.db", "DELETE FROM record WHERE place >> 40 IN (SELECT p.id FROM partition p JOIN"
                          " topic t ON t.id = p.topic_id WHERE t.name = 'order.status-changed.v1')")
    change(run, "log.db", "UPDATE partition SET first_offset = next_offset WHERE topic_id ="
                          " (SELECT id FROM topic WHERE name = 'order.status-changed.v1')"
                          " AND next_offset > 0")
    report = verify(run)
    assert not any(report["breaches"].values()), report
    assert report["counts"]["removed"] > 0
    # The outbox': what is older than what is left cannot be told from what never was.
    change(run, "payment.db", "DELETE FROM sluice_outbox WHERE position <="
                              " (SELECT max(position) - 1 FROM sluice_outbox)")
    report = verify(run)
    assert not any(report["breaches"].values()), report


def test_a_consumer_of_another_database_is_named_on_the_command_line(run: Orders) -> None:
    """Without the payment database as an outbox its events are foreign; its consumer is judged."""
    change(run, "payment.db", "DELETE FROM sluice_inbox WHERE consumer = ?", PAYMENTS)
    change(run, "payment.db", "UPDATE sluice_consumer SET applied_total = 0 WHERE name = ?", PAYMENTS)
    words = ["--database", f"sqlite:{run.data}/orders.db", "--broker", f"local:{run.data}/log.db",
             "--horizon", "0ms"]
    assert "unapplied=0" in works("verify", *words)
    done = sluice("verify", *words, f"{PAYMENTS}=sqlite:{run.data}/payment.db")
    assert done.returncode == 1
    assert f"consumer {PAYMENTS} in sqlite:{run.data}/orders.db (the consumer is past it" in done.stdout


def test_mistakes_in_the_arguments_are_told(run: Orders, tmp_path: Path) -> None:
    words = arguments(run)
    assert "write CONSUMER=URL" in fails("verify", *words, "wallet", status=2)
    assert "no consumer 'nobody' has ever run on" in fails(
        "verify", *words, f"nobody=sqlite:{run.data}/payment.db")
    assert "--horizon takes a duration" in fails("verify", *words[:-2], "--horizon", "soon", status=2)
    assert "there is no local log" in fails(
        "verify", "--database", f"sqlite:{run.data}/orders.db", "--broker", f"local:{tmp_path}/no.db")
    assert not (tmp_path / "no.db").exists()


@pytest.mark.parametrize("retention", [[], ["--relay.retention=300ms", "--local.retention=600ms"]])
def test_it_is_right_while_the_system_runs(
        start: Callable[..., Process], tmp_path: Path, retention: list[str]) -> None:
    """Events are committed, sent and removed by retention all the time: nothing is wrong."""
    database, broker = Database(tmp_path / "app.db"), f"local:{tmp_path}/log.db"
    relay = start([program("sluice"), "relay", "--database", database.url, "--broker", broker,
                   "--console.listen=127.0.0.1:0", "--relay.batch_events=20", *retention])
    relay.wait_ready()
    reports = []
    with closing(sqlite3.connect(database.path, timeout=20, isolation_level=None)) as writer:
        def round_of_events() -> bool:
            for number in range(200):
                writer.execute("INSERT INTO sluice_outbox (topic, message_key, type, payload)"
                               " VALUES ('orders', ?, 'T', '{}')", (f"k{number % 7}",))
            done = sluice("verify", "--database", database.url, "--broker", broker, "--horizon",
                          "0ms", "--json")
            reports.append(json.loads(done.stdout) if done.stdout else done.stderr)
            assert done.returncode == 0, reports[-1]
            oldest = writer.execute("SELECT min(position) FROM sluice_outbox").fetchone()[0]
            is_removed = oldest is not None and oldest > 400
            return len(reports) > 5 and (is_removed or not retention)
        wait_until(round_of_events, "retention has removed rows while events were compared")
    assert any(report["counts"]["published"] > 0 for report in reports)
    if not retention:
        last = reports[-1]["counts"]
        assert last["removed"] == 0 and last["published"] + last["unsent"] == last["committed"]
