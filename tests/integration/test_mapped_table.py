"""The relay on a table that was there before sluice: nothing lost, and each row says what became of it."""
from __future__ import annotations

import json
from typing import Callable

import pytest
from harness.command import fails, works
from harness.process import Process
from harness.seed_table import Table, Writers
from harness.waiting import wait_until

Start = Callable[..., Process]
KILLS = 4


@pytest.fixture(params=["postgresql", "mariadb"])
def table(request, tmp_path) -> Table:
    database = request.getfixturevalue(request.param)
    return Table(database, f"local:{tmp_path}/log.db", "post-sync")


def test_eight_writers_and_a_relay_that_is_killed_lose_double_and_reorder_nothing(
        start: Start, table: Table) -> None:
    writers = Writers(table)
    try:
        for _ in range(KILLS):
            relay = start(table.relay_command())
            relay.wait_ready()
            wait_until(lambda: table.statuses().get("SENT", 0) > 0, "rows are marked")
            writers.wait_for(60)
            relay.kill()
    finally:
        writers.stop()
    start(table.relay_command()).wait_ready()
    table.wait_all("SENT")
    table.check_arrived()
    unsaid = "SELECT count(*) FROM outbox_event WHERE sent_at IS NULL OR retry_count <> 0"
    assert table.database.value(unsaid) == 0
    state = json.loads(works("status", "--database", table.database.url, "--json"))
    assert state["databases"][0]["unsent_events"] == 0


def test_a_row_that_fails_for_good_says_so_and_its_twin_is_sent(start: Start, table: Table) -> None:
    if table.database.url.startswith("mariadb"):
        table.database.rows("ALTER TABLE outbox_event MODIFY payload MEDIUMTEXT NOT NULL")
    table.add("k", json.dumps({"n": 1}))
    table.add("k", "x" * ((1 << 20) + 1))  # more than an event may have
    table.add("k", json.dumps({"n": 2}))
    start(table.relay_command("--relay.on_poison=skip", "--relay.retry_delay=1ms")).wait_ready()
    rows = "SELECT status, retry_count, sent_at IS NOT NULL FROM outbox_event ORDER BY id"
    wanted = [("SENT", 0, True), ("FAILED_PERMANENTLY", 3, False), ("SENT", 0, True)]
    wait_until(lambda: table.database.rows(rows) == wanted, "each row has its own status")
    assert [each["payload"]["n"] for each in table.arrived()] == [1, 2]
    assert "payload has 1048577 bytes" in works("dead-letter", "list", "--database",
                                               table.database.url)


def test_rows_behind_a_failed_one_of_their_key_wait_as_pending_and_a_redrive_sends_them(
        start: Start, table: Table) -> None:
    table.add("k", json.dumps({"n": 1}), topic="no topic/")
    table.add("k", json.dumps({"n": 2}), topic="no topic/")
    table.add("k", json.dumps({"n": 3}))
    start(table.relay_command("--relay.retry_delay=1ms")).wait_ready()
    rows = "SELECT status, retry_count FROM outbox_event ORDER BY id"
    parked = [("FAILED_PERMANENTLY", 3), ("PENDING", 0), ("SENT", 0)]
    wait_until(lambda: table.database.rows(rows) == parked, "the key is parked, others flow")
    # Redrive it as an operator does; it fails again, and again says so.
    works("dead-letter", "redrive", "--all", "--database", table.database.url)
    wait_until(lambda: table.database.rows(rows) == parked, "it has failed once more")
    works("dead-letter", "drop", "--all", "--yes", "--database", table.database.url)
    second = [("FAILED_PERMANENTLY", 3), ("FAILED_PERMANENTLY", 3), ("SENT", 0)]
    wait_until(lambda: table.database.rows(rows) == second, "the next one has its turn")


def test_an_outage_of_the_broker_uses_up_no_retry(start: Start, postgresql, private_kafka) -> None:
    kafka = private_kafka()
    table = Table(postgresql, kafka.url, "post-sync")
    relay = start(table.relay_command())
    relay.wait_ready()
    writers = Writers(table, 2)
    try:
        wait_until(lambda: table.statuses().get("SENT", 0) > 20, "rows flow", 60)
        kafka.pause()
        wait_until(lambda: "delivery is interrupted" in relay.said(), "the relay notices", 60)
        writers.wait_for(20)
        kafka.resume()
    finally:
        kafka.resume()
        writers.stop()
    table.wait_all("SENT", 120)
    table.check_arrived(may_be_doubled=True)
    assert postgresql.value("SELECT max(retry_count) FROM outbox_event") == 0


def test_debeziums_layout_needs_no_more_than_the_tables_name(
        start: Start, postgresql, tmp_path) -> None:
    postgresql.rows("CREATE SCHEMA app")
    postgresql.rows("CREATE TABLE app.outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
                    " aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,"
                    " type varchar(255) NOT NULL, payload jsonb)")
    table = Table(postgresql, f"local:{tmp_path}/log.db", "orders")
    start([*table.relay_command()[:7], "--relay.table=app.outbox",
           "--relay.delete_sent"]).wait_ready()
    event_id = postgresql.value("INSERT INTO app.outbox (aggregatetype, aggregateid, type, payload)"
                                " VALUES ('orders', 'o1', 'OrderPlaced', '{\"n\": 1}')"
                                " RETURNING id::text")
    wait_until(lambda: postgresql.value("SELECT count(*) FROM app.outbox") == 0, "it is sent")
    [record] = table.arrived()
    assert (record["id"], record["key"], record["type"]) == (event_id, "o1", "OrderPlaced")
    assert record["payload"] == {"n": 1}


def test_a_wrong_mapping_is_told_at_the_start_with_what_there_is(table: Table) -> None:
    command = [word for word in table.relay_command()[1:] if "message_key" not in word]
    told = fails(*command, "--relay.columns.key=msg_key", status=1)
    assert "has no column 'msg_key' (relay.columns.key); it has: id, topic, message_key" in told
    told = fails("relay", "--database", table.database.url, "--broker", table.broker,
                 "--relay.columns.key=message_key", status=1)
    assert "'relay.columns.key' is set, but 'relay.table' is not" in told
