"""The servers that tests are given: each test its own database, and crashes that are crashes."""
from __future__ import annotations

import time

import pytest

from harness import servers
from harness.waiting import wait_until

NAMES_SEEN: set[str] = set()


@pytest.mark.parametrize("round", [1, 2])
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_each_test_has_a_new_empty_database(request, kind, round):
    database = request.getfixturevalue(kind)
    assert database.name not in NAMES_SEEN
    NAMES_SEEN.add(database.name)
    database.rows("CREATE TABLE t (a int)")
    database.rows("INSERT INTO t VALUES (%s)", round)
    assert database.rows("SELECT a FROM t") == [(round,)]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_database_is_dropped_though_a_transaction_is_open_in_it(request, kind):
    url = request.getfixturevalue(f"{kind}_url")
    make = {"postgresql": servers.PostgresqlDatabase, "mariadb": servers.MariadbDatabase}[kind]
    database = make(url)
    database.rows("CREATE TABLE t (a int)")
    forgotten = database.connect()
    cursor = forgotten.cursor()
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO t VALUES (1)")
    started = time.monotonic()
    database.drop()
    assert time.monotonic() - started < 15
    with pytest.raises(Exception):
        cursor.execute("SELECT 1")


def test_a_database_with_a_replication_slot_is_dropped(postgresql_url):
    database = servers.PostgresqlDatabase(postgresql_url)
    slot = database.name
    database.rows("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    database.drop()
    assert database.on_server("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s",
                              slot) == [(0,)]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_what_is_committed_outlives_the_crash_of_a_private_server(request, kind):
    server = request.getfixturevalue(f"private_{kind}")()
    make = {"postgresql": servers.PostgresqlDatabase, "mariadb": servers.MariadbDatabase}[kind]
    database = make(server.url)
    database.rows("CREATE TABLE t (a int)")
    database.rows("INSERT INTO t VALUES (7)")
    server.kill()
    assert not server.is_running()
    with pytest.raises(Exception):
        database.connect()
    assert server.start() == server.url
    assert database.rows("SELECT a FROM t") == [(7,)]


def test_a_paused_postgresql_keeps_its_connections_and_says_nothing(private_postgresql):
    server = private_postgresql()
    database = servers.PostgresqlDatabase(server.url)
    connection = database.connect()
    with server.paused():
        assert {servers.state(pid) for pid in server.pids()} <= {"T", "Z"}
        assert servers.state(server.pid) == "T"
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)


def test_a_private_kafka_comes_back_on_its_port(private_kafka):
    server = private_kafka()
    server.kill()
    assert server.start() == server.url
    wait_until(server.is_running, "the broker")


def test_topics_of_two_tests_differ(kafka_url):
    one, two = servers.KafkaTopics(kafka_url), servers.KafkaTopics(kafka_url)
    assert one.topic("orders") != two.topic("orders")
    assert one.bootstrap == kafka_url.removeprefix("kafka://")
