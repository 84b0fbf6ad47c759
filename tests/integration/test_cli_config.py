"""config lint and config show: every mistake with its place, every value with where it comes from."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from harness.command import fails, works

GOOD = """\
database: sqlite:app.db
broker: local:events.db
relay:
  attempts_max: 5
gateway:
  routes:
    - path: /orders/{id}/stream
      stream:
        topic: order.status-changed.v1
        key: "{id}"
        snapshot: http://127.0.0.1:9000/orders/{id}
        event: /type
        version: /version
        final: [completed, failed]
    - path: /**
      upstream: http://127.0.0.1:9000
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "app.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_ok_and_lint_says_what_it_did_not_look_at(config: Path) -> None:
    assert works("config", "lint", "--config", config) == (
        f"{config}: ok: keys, types, values and 2 routes; not checked: whether the database, the "
        "broker, the ports and the upstreams can be used\n")


def test_all_mistakes_of_a_file_are_told_at_once_with_their_lines(config: Path) -> None:
    config.write_text("database: sqlite:a.db\ngateway:\n  lisen: [':80']\nrelay:\n"
                      "  attempts_max: many\n  attempts_max: 3\n")
    assert fails("config", "lint", "--config", config) == (
        f"sluice: unknown key 'gateway.lisen' in {config} line 3; did you mean 'gateway.listen'?\n"
        f"sluice: {config} line 6: key 'attempts_max' is there twice, first in line 5; remove one "
        "of them\n"
        f"sluice: 'relay.attempts_max' in {config} line 5: 'many' is no whole number; allowed: a "
        "whole number from 1 to 1000\n")


@pytest.mark.parametrize("yaml, wanted", [
    ("relay:\n\tattempts_max: 3\n", "line 2 column 1: not valid YAML"),
    ("a: &a [1, 2]\nb: [*a, *a]\n", "aliases are not allowed in a config: write the value out"),
    ("database: oracle://app:secret@db/app\n", "'oracle://app:****@db/app' is no URL that sluice knows"),
    ("database: mariadb:db/app\n", "'mariadb:db/app' names no host"),
    ("relay: {read: wal}\n", "'wal' is not in this version yet; allowed: table"),
    ("gateway: {routes: [{path: /a, upstream: 'ftp://x'}]}\n", "this is no http: URL with a host"),
    ("gateway: {routes: [{path: '/{a', upstream: 'http://x'}]}\n", "/{a"),
    ("gateway: {token: {key_files: 'https://login/jwks.json'}}\n", "this version fetches no keys"),
    ("gateway: {routes: [{path: /a, token: required, upstream: 'http://x'}]}\n",
     "there is no key to check them with"),
    ("gateway: {routes: [{path: /a, subject: '{b}', upstream: 'http://x'}]}\n", "{b}"),
    ("gateway: {routes: [{path: '/p', publish: {topics: [t]}}]}\n", "needs 'broker'"),
    ("broker: local:a.db\ngateway: {routes: [{path: '/p', publish: {topics: [t, u]}}]}\n",
     "the path must say which one"),
])
def test_what_is_wrong_in_a_file_is_told(config: Path, yaml: str, wanted: str) -> None:
    config.write_text(yaml)
    said = fails("config", "lint", "--config", config)
    assert wanted in said and str(config) in said
    assert "secret" not in said


def test_a_secret_is_taken_from_the_environment_only_and_never_shown(
        config: Path, tmp_path: Path) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    file = tmp_path / "secret"
    file.write_text(secret + "\n")
    config.write_text(GOOD + "  token: {audience: shop}\n")
    for environment in ({"SLUICE_GATEWAY_TOKEN_SECRET": secret},
                        {"SLUICE_GATEWAY_TOKEN_SECRET_FILE": str(file)}):
        text = works("config", "show", "--config", config, environment=environment)
        assert re.search(r"gateway.token.secret +\*{4} ", text) and secret not in text
        works("config", "lint", "--config", config, environment=environment)
    said = fails("config", "show", "--config", config, "--gateway.token.secret", secret)
    assert "does not belong there" in said and secret not in said
    config.write_text(GOOD + f"  token: {{audience: shop, secret: {secret}}}\n")
    said = fails("config", "lint", "--config", config)
    assert "does not belong there" in said and secret not in said
    config.write_text(GOOD)
    said = fails("config", "lint", "--config", config,
                 environment={"SLUICE_GATEWAY_TOKEN_SECRET": secret})
    assert "'gateway.token.audience' is not set" in said
    config.write_text(GOOD + "  token: {audience: shop}\n")
    short = fails("config", "lint", "--config", config,
                  environment={"SLUICE_GATEWAY_TOKEN_SECRET": "short"})
    assert "at least 32" in short


def test_a_key_file_that_cannot_be_used_is_named(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    config.write_text(GOOD + f"  token: {{audience: shop, key_files: {key}}}\n")
    assert str(key) in fails("config", "lint", "--config", config)
    key.write_text("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    said = fails("config", "lint", "--config", config)
    assert str(key) in said and "private key" in said


def test_every_command_that_serves_refuses_a_bad_file_in_the_same_way(config: Path) -> None:
    config.write_text("relay: {attempt_max: 3}\n")
    for command in (["run"], ["relay"], ["gateway"], ["status"], ["init"]):
        assert "did you mean 'relay.attempts_max'?" in fails(*command, "--config", config)


def test_show_tells_where_each_value_comes_from(config: Path) -> None:
    text = works("config", "show", "--config", config, "--relay.retry_delay", "2s",
                 environment={"SLUICE_RELAY_BATCH_EVENTS": "9"})
    lines = dict(line.split(None, 1) for line in text.splitlines() if " # " in line)
    assert lines["relay.attempts_max"].split() == ["5", "#", str(config), "line", "4"]
    assert lines["relay.retry_delay"].split() == ["2s", "#", "--relay.retry_delay"]
    assert lines["relay.batch_events"].split() == ["9", "#", "SLUICE_RELAY_BATCH_EVENTS"]
    assert lines["relay.on_poison"].split() == ["park", "#", "default"]
    assert "topic: \"order.status-changed.v1\"" in text


def test_show_as_json_holds_the_same(config: Path) -> None:
    shown = json.loads(works("config", "show", "--json", "--config", config))
    keys = {row["key"]: row for row in shown["keys"]}
    assert keys["relay.attempts_max"] == {
        "key": "relay.attempts_max", "values": ["5"], "from": f"{config} line 4"}
    assert [route["path"] for route in shown["routes"]] == ["/orders/{id}/stream", "/**"]
    assert shown["routes"][0]["final"] == ["completed", "failed"]


def test_the_routes_that_show_writes_are_read_again(config: Path, tmp_path: Path) -> None:
    text = works("config", "show", "--config", config)
    routes = text.split("gateway.routes")[1].split("\n", 1)[1]
    again = tmp_path / "again.yaml"
    again.write_text("broker: local:x\ngateway:\n  routes:\n" +
                     "".join(f"    {line}\n" for line in routes.splitlines()))
    shown = [json.loads(works("config", "show", "--json", "--config", path))["routes"]
             for path in (config, again)]
    for routes_of_file in shown:
        for route in routes_of_file:
            del route["line"]
    assert shown[0] == shown[1]
