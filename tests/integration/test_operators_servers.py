"""The operators' commands and the daemons on PostgreSQL and Kafka, healthy and otherwise."""
from __future__ import annotations

import json
import uuid
from contextlib import closing
from typing import Callable

import pytest
from harness.command import FREE, fails, sluice, works
from harness.http import call
from harness.process import Process, program
from harness.servers import KafkaTopics, MariadbDatabase, PostgresqlDatabase, private_server
from harness.waiting import wait_until

Start = Callable[..., Process]
PUBLISH = "SELECT sluice.publish(topic => %s, key => %s, payload => %s, type => 'Tested')"


@pytest.fixture
def database(postgresql: PostgresqlDatabase) -> PostgresqlDatabase:
    works("init", "--database", postgresql.url)
    return postgresql


def start_relay(start: Start, database: str, broker: str, *options: str) -> Process:
    relay = start([program("sluice"), "relay", *FREE, "--database", database, "--broker", broker,
                   *options])
    relay.wait_ready()
    return relay


def wait_sent(database: PostgresqlDatabase, broker: str) -> None:
    def unsent() -> int:
        state = json.loads(works("status", "--database", database.url, "--json"))
        return state["databases"][0]["unsent_events"]
    wait_until(lambda: unsent() == 0, "everything is confirmed", 60)


def verify(database: PostgresqlDatabase, broker: str, *options: str) -> dict:
    done = sluice("verify", "--database", database.url, "--broker", broker, "--horizon", "0ms",
                  "--json", *options)
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    return json.loads(done.stdout)


def doctor(*words: str) -> list[tuple[str, str, str]]:
    """(level, check, text) of what is not ok, but for what other tests do on the same server."""
    found = json.loads(sluice("doctor", "--json", "--console.listen=off", *words).stdout)
    return [(each["level"], each["check"], each["text"]) for each in found
            if each["level"] != "ok" and " in the database " not in each["text"]]


def publish(database: PostgresqlDatabase, topic: str, count: int) -> list[str]:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        ids = []
        for number in range(count):
            cursor.execute(PUBLISH, (topic, f"k{number % 11}", json.dumps({"n": number})))
            ids.append(str(cursor.fetchone()[0]))
    return ids


def test_verify_and_explain_on_postgresql_and_kafka(
        start: Start, database: PostgresqlDatabase, kafka: KafkaTopics) -> None:
    topic = kafka.topic("orders")
    ids = publish(database, topic, 300)
    relay = start_relay(start, database.url, kafka.url)
    wait_sent(database, kafka.url)
    report = verify(database, kafka.url)
    assert not any(report["breaches"].values()), report
    assert report["counts"]["committed"] == report["counts"]["published"] == 300
    assert not report["all_sources"]
    steps = json.loads(works("explain", ids[17], "--database", database.url, "--broker", kafka.url,
                             "--json"))
    assert [step["what"] for step in steps] == ["written", "in the topic"]
    assert steps[0]["status"] == "confirmed by the relay" and steps[1]["topic"] == topic
    # A row that was confirmed and is in no topic, and a record without a row.
    assert relay.end() == 0
    lost = str(uuid.uuid4())
    database.rows("UPDATE sluice.outbox SET id = %s WHERE id = %s", lost, ids[17])
    report = verify(database, kafka.url)
    assert (report["breaches"]["lost"], report["counts"]["foreign"]) == (1, 1), report
    assert [(each["id"], each["topic"]) for each in report["wrong"]] == [(lost, topic)]
    assert verify(database, kafka.url, "--all-sources")["breaches"]["phantom"] >= 1


def test_verify_on_postgresql_and_the_local_log_while_it_runs(
        start: Start, database: PostgresqlDatabase, tmp_path) -> None:
    broker = f"local:{tmp_path}/log.db"
    start_relay(start, database.url, broker)
    publish(database, "orders", 20)
    wait_sent(database, broker)
    for _ in range(5):
        publish(database, "orders", 50)
        report = verify(database, broker)
        assert not any(report["breaches"].values()), report
        assert report["all_sources"]


def test_doctor_on_postgresql(start: Start, database: PostgresqlDatabase, tmp_path) -> None:
    broker = f"local:{tmp_path}/log.db"
    relay = start_relay(start, database.url, broker)
    publish(database, "orders", 3)
    wait_sent(database, broker)
    assert relay.end() == 0
    words = ["--database", database.url, "--broker", broker]
    assert doctor(*words) == []
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(PUBLISH, ("orders", "k", "{}"))
        # Long ago by the database's own clock, which no test can turn: the age is asked for.
        rows = database.rows("SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND"
                             " datname = current_database()")
        assert len(rows) == 1
    assert doctor(*words) == []


def test_doctor_names_a_missing_schema_and_database_and_a_role_without_rights(
        postgresql: PostgresqlDatabase) -> None:
    def of_database(url: str) -> str:
        return [text for level, check, text in doctor("--database", url)
                if check in ("database", "rights") and level == "fail"][0]
    assert "sluice init" in of_database(postgresql.url)
    missing = postgresql.url.rsplit("/", 1)[0] + "/no_such_database"
    assert "no_such_database" in of_database(missing) and "CREATE DATABASE" in of_database(missing)
    away = "postgresql://app:secret-word@127.0.0.1:1/app"
    text = of_database(away)
    assert "check that the server runs" in text and "secret-word" not in text
    works("init", "--database", postgresql.url)
    role = postgresql.name
    postgresql.on_server(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    try:
        scheme, rest = postgresql.url.split("://")
        url = f"{scheme}://{role}:right@{rest.split('@')[-1]}"
        text = of_database(url)
        assert "permission denied" in text and "grant" in text
    finally:
        postgresql.on_server(f"DROP ROLE {role}")


def test_a_daemon_starts_while_its_database_is_away(start: Start, tmp_path) -> None:
    server = private_server("postgresql")
    try:
        database = PostgresqlDatabase(server.url)
        works("init", "--database", database.url)
        server.stop()
        relay = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker",
                       f"local:{tmp_path}/log.db"])
        console = relay.wait_ready()["console"]

        def reasons() -> str:
            answer = call("GET", console + "/health/ready")
            return " ".join(answer.body["reasons"]) if answer.status == 503 else ""
        said = wait_until(lambda: "check that the server runs" in reasons() and reasons(), "says why")
        assert "relay of postgresql://" in said
        state = call("GET", console + "/api/state").body
        assert state["relays"][0]["state"] == "away"
        server.start()
        wait_until(lambda: call("GET", console + "/health/ready").status == 200, "it is ready", 60)
        database.rows(PUBLISH, "orders", "k", "{}")
        wait_until(lambda: call("GET", console + "/api/state").body["relays"][0]["published_total"]
                   == 1, "the event is sent")
        assert relay.end() == 0
    finally:
        server.close()


def test_a_wrong_url_still_ends_a_daemon_at_once(postgresql: PostgresqlDatabase, tmp_path) -> None:
    missing = postgresql.url.rsplit("/", 1)[0] + "/no_such_database"
    said = fails("relay", *FREE, "--database", missing, "--broker", f"local:{tmp_path}/log.db")
    assert "no_such_database" in said


def test_verify_explain_and_doctor_on_mariadb(
        start: Start, mariadb: MariadbDatabase, tmp_path) -> None:
    broker = f"local:{tmp_path}/log.db"
    words = ["--database", mariadb.url, "--broker", broker]
    works("init", "--database", mariadb.url)
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        for number in range(50):
            cursor.execute("INSERT INTO sluice_outbox (topic, message_key, type, payload)"
                           " VALUES ('orders', %s, 'Tested', '{}')", (f"k{number % 7}",))
    relay = start_relay(start, mariadb.url, broker)
    wait_sent(mariadb, broker)
    assert relay.end() == 0
    report = verify(mariadb, broker)
    assert not any(report["breaches"].values()), report
    assert report["counts"]["published"] == 50 and report["all_sources"]
    event_id = mariadb.value("SELECT id FROM sluice_outbox WHERE position = 17")
    steps = json.loads(works("explain", event_id, *words, "--json"))
    assert [step["what"] for step in steps] == ["written", "in the topic"]
    assert steps[0]["status"] == "confirmed by the relay"
    assert doctor(*words) == []
