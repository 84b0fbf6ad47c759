"""What can be wrong with a server: what a command says of it, and `sluice doctor` with its remedy."""
from __future__ import annotations

import json
import os
import signal
from contextlib import closing, contextmanager
from typing import Callable, Iterator

import pytest
from harness.command import FREE, Database, fails, sluice, works
from harness.process import Process, program
from harness.seed_table import COLUMNS, Table
from harness.servers import KafkaTopics, MariadbDatabase, PostgresqlDatabase, Server, fresh_name
from harness.waiting import wait_until

Start = Callable[..., Process]
Databases = PostgresqlDatabase | MariadbDatabase
SOON = "--console.ready_age_max=1s"  # how old may be what does not move
PUBLISH = {"postgresql": "SELECT sluice.publish(topic => %s, key => 'k', payload => '{}',"
                         " type => 'Tested')",
           "mariadb": "INSERT INTO sluice_outbox (topic, message_key, type, payload)"
                      " VALUES (%s, 'k', 'Tested', '{}')"}


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request) -> Databases:
    found = request.getfixturevalue(request.param)
    works("init", "--database", found.url)
    return found


def kind_of(database: Databases) -> str:
    return database.url.split(":")[0]


def wrong(check: str, *words: str) -> list[tuple[str, str]]:
    """(level, text) of what doctor finds wrong by that check."""
    done = sluice("doctor", "--json", "--console.listen=off", *words)
    found = [(each["level"], each["text"]) for each in json.loads(done.stdout)
             if each["check"] == check and each["level"] != "ok"]
    assert done.returncode == 1 or all(level == "warn" for level, _ in found)
    return found


def only(check: str, *words: str) -> tuple[str, str]:
    found = wrong(check, *words)
    assert len(found) == 1, found
    return found[0]


def with_user(url: str, user: str, password: str) -> str:
    scheme, rest = url.split("://")
    return f"{scheme}://{user}:{password}@{rest.split('@')[-1]}"


# --- nobody answers, or does not let us in

@pytest.mark.parametrize("url", ["postgresql://app:secret-word@127.0.0.1:1/app",
                                 "mariadb://app:secret-word@127.0.0.1:1/app"])
def test_a_database_that_is_away(url: str) -> None:
    level, text = only("database", "--database", url)
    assert level == "fail" and "127.0.0.1" in text and "check that the server runs" in text
    assert "secret-word" not in text


def test_a_broker_that_is_away() -> None:
    level, text = only("broker", "--broker", "kafka://127.0.0.1:1")
    assert level == "fail" and "127.0.0.1:1" in text and "start it, or correct the address" in text


def test_a_wrong_password_on_postgresql(start: Start, private_postgresql: Callable[..., Server],
                                        tmp_path) -> None:
    server = private_postgresql()
    database = PostgresqlDatabase(server.url)
    works("init", "--database", database.url)
    database.rows("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'right-word'")
    rules = server.data / "db/pg_hba.conf"
    rules.write_text("host all app 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    database.rows("SELECT pg_reload_conf()")
    right = with_user(database.url, "app", "right-word")
    bad = with_user(database.url, "app", "wrong-word")
    # The postmaster reads its rules again in its own time.
    said = wait_until(lambda: sluice("status", "--database", bad).stderr, "the password is asked for")
    assert "password authentication failed" in said and "check user and password" in said
    assert "wrong-word" not in said and said.count("\n") == 1
    assert fails("relay", *FREE, "--database", bad, "--broker", f"local:{tmp_path}/log.db") == said
    level, text = only("database", "--database", bad)
    assert level == "fail" and text == said.removeprefix("sluice: ").strip()
    no_password = database.url.replace("postgres@", "app@")
    assert "give the password in the URL" in fails("status", "--database", no_password)
    assert wrong("database", "--database", right) == []


def test_a_wrong_password_on_mariadb(mariadb: MariadbDatabase, tmp_path) -> None:
    bad = with_user(mariadb.url, "nobody", "wrong-word")
    said = fails("relay", *FREE, "--database", bad, "--broker", f"local:{tmp_path}/log.db")
    level, text = only("database", "--database", bad)
    assert level == "fail" and text == said.removeprefix("sluice: ").strip()
    assert "user and password" in text and "wrong-word" not in text


def test_a_wrong_password_on_kafka_loses_nothing(
        start: Start, private_kafka: Callable[..., Server], tmp_path) -> None:
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    kafka = private_kafka(
        "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms=PLAIN", "sasl.mechanism.inter.broker.protocol=PLAIN",
        f'listener.name.plaintext.plain.sasl.jaas.config={plain} username="broker"'
        ' password="inside" user_broker="inside" user_app="right-word";')
    properties = tmp_path / "kafka.properties"

    def let_in_by(password: str) -> None:
        properties.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
                              f"sasl.username=app\nsasl.password={password}\n")
    broker = f"{kafka.url}?properties={properties}"
    database = Database(tmp_path / "app.db")
    event_id = database.publish("orders", "k")
    let_in_by("wrong-word")
    said = fails("tail", "--broker", broker, "--topic", "orders", "--from", "start", "--exit")
    assert "does not let this client in" in said and "user and password" in said
    assert "wrong-word" not in said
    level, text = only("broker", "--broker", broker)
    assert level == "fail" and "does not let this client in" in text and "wrong-word" not in text
    relay = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker", broker])
    relay.wait_ready()
    wait_until(lambda: "does not let this client in" in relay.said(), "the relay says why", 60)
    assert "wrong-word" not in relay.said() and database.held() == []
    assert relay.end() == 0
    let_in_by("right-word")
    relay = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker", broker])
    relay.wait_ready()
    wait_until(lambda: event_id in works("tail", "--broker", broker, "--topic", "orders", "--from",
                                         "start", "--exit", "--json"), "the event is there", 60)
    assert wrong("broker", "--broker", broker) == []


# --- tables

def test_tables_of_a_newer_version(database: Databases, tmp_path) -> None:
    """Of an older one, which only SQLite has had, see test_doctor.py."""
    meta = "sluice.meta" if kind_of(database) == "postgresql" else "sluice_meta"
    database.rows(f"UPDATE {meta} SET value = '99' WHERE name = 'schema_version'")
    words = ["--database", database.url]
    said = fails("relay", *FREE, *words, "--broker", f"local:{tmp_path}/log.db")
    assert "version 99" in said and "or a newer one" in said and said.count("\n") == 1
    level, text = only("database", *words)
    assert level == "fail" and text == said.removeprefix("sluice: ").strip()


def index_of(table: Table) -> list[tuple[str, str]]:
    return wrong("index", "--database", table.database.url)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_mapped_table_without_an_index_for_its_status(
        request, start: Start, kind: str, tmp_path) -> None:
    table = Table(request.getfixturevalue(kind), f"local:{tmp_path}/log.db", "orders")
    relay = start(table.relay_command())
    relay.wait_ready()
    (level, text), = index_of(table)
    assert level == "warn" and "reads all of it" in text
    table.database.rows(text[text.index("CREATE INDEX"):])
    assert index_of(table) == []
    assert relay.end() == 0


# --- what holds it up

@contextmanager
def open_transaction(database: Databases, *before: str) -> Iterator:
    """A transaction with an event in it, left open by somebody who forgot it."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        for statement in before or ("BEGIN",):
            cursor.execute(statement)
        cursor.execute(PUBLISH[kind_of(database)], ("orders",))
        yield cursor


def wait_for_transaction(database: Databases, who: str) -> str:
    """What doctor says of it, once it is old."""
    def said() -> list[str]:
        return [text for level, text in wrong("transaction", "--database", database.url, SOON)
                if level == "warn" and who in text]
    return wait_until(said, "the open transaction is found")[0]


def test_a_transaction_that_somebody_left_open(database: Databases) -> None:
    with open_transaction(database) as cursor:
        is_postgresql = kind_of(database) == "postgresql"
        cursor.execute("SELECT pg_backend_pid()" if is_postgresql else "SELECT connection_id()")
        number = cursor.fetchone()[0]
        who = f"pid {number} of" if is_postgresql else f"connection {number} of"
        text = wait_for_transaction(database, who)
        assert ("idle in transaction" if is_postgresql else "(idle)") in text
        assert "wait for its commit" in text and "end it if it was forgotten" in text


def test_a_prepared_transaction_that_nobody_ends_on_postgresql(postgresql: PostgresqlDatabase) -> None:
    works("init", "--database", postgresql.url)
    elsewhere = PostgresqlDatabase(postgresql.server_url)
    names = fresh_name(), fresh_name()
    try:
        with open_transaction(postgresql) as cursor:
            cursor.execute(f"PREPARE TRANSACTION '{names[0]}'")
        elsewhere.rows("CREATE TABLE t (x int)")
        elsewhere.rows(f"BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{names[1]}'")
        text = wait_for_transaction(postgresql, f"prepared transaction '{names[0]}' of ")
        assert "wait for its commit" in text and "database" not in text
        # It holds back the horizon of the whole server, ours too.
        text = wait_for_transaction(postgresql, f"prepared transaction '{names[1]}' of ")
        assert f"in the database {elsewhere.name} " in text
    finally:
        postgresql.rows(f"ROLLBACK PREPARED '{names[0]}'")
        elsewhere.rows(f"ROLLBACK PREPARED '{names[1]}'")
        elsewhere.drop()


def test_a_prepared_transaction_that_nobody_ends_on_mariadb(mariadb: MariadbDatabase) -> None:
    works("init", "--database", mariadb.url)
    name = fresh_name()
    with open_transaction(mariadb, f"XA START '{name}'") as cursor:
        cursor.execute(f"XA END '{name}'")
        cursor.execute(f"XA PREPARE '{name}'")
    try:
        text = wait_for_transaction(mariadb, "prepared transaction (XA RECOVER names it)")
        assert "wait for its commit" in text
    finally:
        mariadb.rows(f"XA ROLLBACK '{name}'")


def test_a_lease_that_a_relay_holds_and_does_not_use(
        start: Start, database: Databases, kafka: KafkaTopics) -> None:
    words = ["--database", database.url, "--broker", kafka.url]
    relay = start([program("sluice"), "relay", *FREE, *words])
    relay.wait_ready()

    def lease() -> str:
        found = json.loads(sluice("doctor", "--json", "--console.listen=off", *words).stdout)
        return "".join(each["text"] for each in found if each["check"] == "lease")
    held = wait_until(lease, "the lease is taken", 60)
    assert "held by relay " in held and "a second relay stands by" in held
    holder = held.split("held by relay ")[1].split(" ")[0]
    os.kill(relay.pid, signal.SIGSTOP)
    try:
        database.rows(PUBLISH[kind_of(database)], kafka.topic("orders"))
        found = wait_until(lambda: wrong("unsent", *words, SOON), "the event is old")
        level, text = found[0]
        assert level == "fail" and "1 events are unsent" in text and "is a relay running" in text
        assert f"the lease is held by relay {holder}" in text
    finally:
        os.kill(relay.pid, signal.SIGCONT)
    wait_until(lambda: wrong("unsent", *words, SOON) == [], "the event is sent", 60)
    assert relay.end() == 0


@pytest.mark.parametrize("interval, words", [("90 s", "ahead of"), ("-90 s", "behind")])
def test_a_clock_that_is_another(postgresql: PostgresqlDatabase, interval: str, words: str) -> None:
    """No test can turn a server's clock: a database is given one of its own, found before it."""
    works("init", "--database", postgresql.url)
    assert wrong("clock", "--database", postgresql.url) == []
    postgresql.rows("CREATE SCHEMA skewed")
    postgresql.rows("CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
                    f" $$ SELECT pg_catalog.clock_timestamp() + interval '{interval}' $$")
    postgresql.rows(f"ALTER DATABASE {postgresql.name}"
                    " SET search_path = skewed, pg_catalog, public")
    level, text = only("clock", "--database", postgresql.url)
    assert level == "warn" and f"ms {words} this machine's" in text and "one time server" in text
    skew_ms = int(text.split(" is ")[1].split(" ")[0])
    assert 60000 < skew_ms < 120000


# --- topics

def test_a_topic_of_a_route_that_does_not_exist_on_kafka(
        tmp_path, kafka: KafkaTopics) -> None:
    database = Database(tmp_path / "app.db")
    topic = kafka.topic("ordres")
    config = tmp_path / "app.yaml"
    config.write_text(f"database: {database.url}\nbroker: {kafka.url}\n"
                      "gateway:\n  listen: 127.0.0.1:0\n  routes:\n"
                      f"    - path: /b/{{key}}\n      stream: {{topic: {topic}, key: '{{key}}'}}\n")
    level, text = only("topic", "--config", str(config))
    assert level == "warn" and "/b/{key}" in text and "is its name right" in text


def test_a_missing_topic_that_may_not_be_made_parks_its_key_until_somebody_makes_it(
        start: Start, tmp_path, kafka: KafkaTopics) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic
    database = Database(tmp_path / "app.db")
    topic = kafka.topic("unmade")
    words = ["--database", database.url, "--broker", f"{kafka.url}?create_topics=false"]
    event_id = database.publish(topic, "k")
    relay = start([program("sluice"), "relay", *FREE, *words, "--relay.retry_delay=1ms"])
    relay.wait_ready()
    wait_until(lambda: database.held() == [("k", "FAILED_PERMANENTLY")], "it is a dead letter", 60)
    level, text = only("parked key", *words)
    assert level == "warn" and f"kafka-topics --create --topic {topic}" in text
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(30)
    works(*text.split("`sluice ")[1].split("`")[0].split(), "--database", database.url)
    wait_until(lambda: event_id in works("tail", "--broker", kafka.url, "--topic", topic, "--from",
                                         "start", "--exit", "--json"), "the event is there", 60)
    wait_until(lambda: database.held() == [], "the dead letter is gone", 60)
    assert relay.end() == 0
