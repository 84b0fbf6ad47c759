"""What a user is told when a server is away, refuses, or does not take an event; nothing is lost."""
from __future__ import annotations

import json
from typing import Callable

import pytest
from harness.command import FREE, Database, fails, sluice, works
from harness.process import Process, program
from harness.servers import KafkaTopics, MariadbDatabase, PostgresqlDatabase
from harness.waiting import wait_until

Start = Callable[..., Process]
NOWHERE = {"postgresql": "postgresql://app:secret-word@127.0.0.1:1/app",
           "mariadb": "mariadb://app:secret-word@127.0.0.1:1/app"}


def with_user(url: str, user: str, password: str) -> str:
    scheme, rest = url.split("://")
    return f"{scheme}://{user}:{password}@{rest.split('@')[-1]}"


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
@pytest.mark.parametrize("command", [["status"], ["init"], ["verify", "--broker", "local:no.db"],
                                     ["dead-letter", "list"], ["pause"]])
def test_a_server_that_is_away(kind: str, command: list[str]) -> None:
    said = fails(*command, "--database", NOWHERE[kind])
    assert "127.0.0.1" in said and "check that" in said
    assert "secret-word" not in said and said.count("\n") == 1


def test_a_role_that_does_not_exist_on_postgresql(postgresql: PostgresqlDatabase) -> None:
    said = fails("status", "--database", with_user(postgresql.url, "nobody_here", "secret-word"))
    assert "nobody_here" in said and "create the role, or check the URL" in said
    assert "secret-word" not in said


def test_a_wrong_password_on_mariadb(mariadb: MariadbDatabase) -> None:
    said = fails("status", "--database", with_user(mariadb.url, "nobody", "secret-word"))
    assert "user and password" in said and "secret-word" not in said


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_missing_tables_name_the_command_that_makes_them(request, kind: str) -> None:
    database = request.getfixturevalue(kind)
    for command in (["status"], ["doctor"], ["explain", "01234567-0000-7000-8000-000000000000"]):
        done = sluice(*command, "--database", database.url)
        assert done.returncode == 1 and "sluice init" in done.stdout + done.stderr, command


def test_a_broker_that_is_away() -> None:
    said = fails("lag", "nobody", "--broker", "kafka://127.0.0.1:1")
    assert "127.0.0.1:1" in said or "Kafka" in said


def test_a_payload_that_is_too_large_for_its_topic(
        start: Start, tmp_path, kafka: KafkaTopics) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic
    topic = kafka.topic("small")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.create_topics([NewTopic(topic, 1, 1, config={"max.message.bytes": "2000"})]
                                      ).values():
        future.result(30)
    database = Database(tmp_path / "app.db")
    large = database.publish(topic, "large", "x" * 10000)
    small = database.publish(topic, "small", "{}")
    relay = start([program("sluice"), "relay", *FREE, "--database", database.url, "--broker",
                   kafka.url, "--relay.retry_delay=1ms"])
    relay.wait_ready()
    wait_until(lambda: database.held() == [("large", "FAILED_PERMANENTLY")], "it is a dead letter", 60)
    held = json.loads(works("dead-letter", "show", large, "--database", database.url, "--json"))
    assert "takes 2000 at most; raise its max.message.bytes" in held["reason"]
    assert held["payload"] == "x" * 10000
    words = ["--database", database.url, "--broker", kafka.url]
    wait_until(lambda: json.loads(works("explain", small, *words, "--json"))[-1]["what"]
               == "in the topic", "the other key flows", 60)
    report = json.loads(works("verify", *words, "--horizon", "0ms", "--json"))
    assert (report["counts"]["held"], report["breaches"]["lost"]) == (1, 0)
    found = json.loads(sluice("doctor", *words, "--console.listen=off", "--json").stdout)
    parked = [each["text"] for each in found if each["check"] == "parked key" and
              each["level"] == "warn"]
    assert len(parked) == 1 and f"sluice dead-letter redrive {large}" in parked[0]
