"""Publishing over HTTP: what is answered 202 is in the topic, once, and what is refused is not."""
from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from pathlib import Path

import pytest
from harness.gateway import Gateway, Upstream, stream_route
from harness.http import Answer, call
from harness.sse import Stream
from test_gateway_tokens import NONE, TOKEN, bearer, cookie, make_token


def publish_route(**changes) -> dict:
    return {"path": "/publish/{topic}", "publish": ["orders", "notes"], **changes}


@pytest.fixture
def gateway(open_gateway, upstream: Upstream) -> Gateway:
    return open_gateway([publish_route(size_max=1000), stream_route(upstream, snapshot=None)],
                        token=TOKEN)


def records(gateway: Gateway) -> list[tuple]:
    with sqlite3.connect(f"file:{gateway.folder}/events.db?mode=ro", uri=True) as log:
        return log.execute(
            "SELECT t.name, r.message_key, r.type, r.payload, r.event_id, r.headers FROM record r "
            "JOIN partition p ON p.id = r.place >> 40 JOIN topic t ON t.id = p.topic_id "
            "ORDER BY r.created_at, r.place").fetchall()


def post(gateway: Gateway, query: str = "orders?key=7&type=OrderNoted",
         body: bytes = b'{"type": "noted", "version": 1}', **headers: str) -> Answer:
    fields = {**bearer(make_token()),
              **{name.replace("_", "-"): value for name, value in headers.items()}}
    return call("POST", f"{gateway.url}/publish/{query}", body, fields)


def make_id(seconds_ago: float = 0) -> str:
    made = int((time.time() - seconds_ago) * 1000).to_bytes(6, "big") + os.urandom(10)
    return str(uuid.UUID(bytes=made[:6] + bytes([made[6] & 15 | 0x70, made[7], made[8] & 63 | 0x80])
                         + made[9:]))


def test_what_is_published_is_in_the_topic_and_reaches_streams(gateway: Gateway) -> None:
    with Stream(gateway.url + "/orders/7/stream") as stream:
        answered = post(gateway)
        event = next(iter(stream))
        assert (event.name, json.loads(event.data)["version"]) == ("noted", 1)
    assert answered.status == 202
    ((topic, key, kind, payload, event_id, headers),) = records(gateway)
    assert (topic, key, kind) == ("orders", "7", "OrderNoted")
    assert json.loads(payload) == {"type": "noted", "version": 1}
    assert event_id == answered.body["id"] and uuid.UUID(event_id).version == 7
    assert json.loads(headers) == {"subject": "ann"}, "consumers can see who published"
    assert gateway.stats()["published"] == 1


def test_key_and_type_are_decoded_and_a_key_may_be_left_out(gateway: Gateway) -> None:
    assert post(gateway, "notes?key=caf%C3%A9%20%26&type=A+B", b"\x00any bytes\xff").status == 202
    assert post(gateway, "notes?type=C", b"").status == 202
    assert [(key, kind, payload) for _, key, kind, payload, _, _ in records(gateway)] == [
        ("café &", "A B", b"\x00any bytes\xff"), (None, "C", b"")]


@pytest.mark.parametrize("query, status, reason", [
    ("users?type=A", 404, "no topic"),
    ("orders%2f..?type=A", 400, ""),
    ("orders", 400, "type"),
    ("orders?key=7", 400, "type"),
    ("orders?key=7&type=", 400, "type"),
    ("orders?key=7&type=%0a", 400, "type"),
    ("orders?key=&type=A", 400, "key"),
    ("orders?key=%ff&type=A", 400, "key"),
    ("orders?key=%00&type=A", 400, "key"),
    ("orders?key=" + "k" * 1025 + "&type=A", 400, "key"),
    ("orders?key=7&key=8&type=A", 400, "twice"),
    ("orders?key=7&type=A&type=B", 400, "twice"),
    ("orders?key=7&type=" + "t" * 300, 413, "type"),
])
def test_what_is_no_event_is_refused_and_not_stored(
        gateway: Gateway, query: str, status: int, reason: str) -> None:
    refused = post(gateway, query)
    assert refused.status == status, refused
    assert reason in refused.body["error"]
    assert records(gateway) == []


def test_a_body_over_the_limit_is_refused_announced_or_not(gateway: Gateway) -> None:
    assert post(gateway, body=b"x" * 1000).status == 202
    assert post(gateway, body=b"x" * 1001).status == 413
    head = (f"POST /publish/orders?type=A HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            f"Authorization: Bearer {make_token()}\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
    chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
    assert b" 413 " in gateway.send_raw(head + chunk * 3 + b"0\r\n\r\n")
    assert b" 202 " in gateway.send_raw(head + chunk * 2 + b"0\r\n\r\n")
    # Announced as endless: refused before a byte of it is awaited.
    long = head.replace(b"Transfer-Encoding: chunked", b"Content-Length: 99999999999")
    assert b" 413 " in gateway.send_raw(long)
    # Cut in the middle: nothing is stored.
    gateway.send_raw(head + chunk + b"zz\r\n")
    with gateway.connect() as connection:
        connection.sendall(head + chunk)
    assert len(records(gateway)) == 2


def test_publishing_needs_a_good_token_unless_the_route_says_otherwise(
        open_gateway, gateway: Gateway) -> None:
    url = gateway.url + "/publish/orders?type=A"
    assert call("POST", url, b"{}").status == 401
    assert call("POST", url, b"{}", bearer(make_token(seconds=-60))).status == 401
    assert call("POST", url, b"{}", cookie(make_token())).status == 403
    assert call("POST", url, b"{}", {**cookie(make_token()), "Origin": gateway.url}).status == 202
    refused = call("GET", url, headers=bearer(make_token()))
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert len(records(gateway)) == 1


def test_a_route_may_let_a_client_publish_under_its_own_key_only(open_gateway) -> None:
    gateway = open_gateway([publish_route(subject="{query.key}")], token=TOKEN)
    assert post(gateway, "orders?key=ann&type=A").status == 202
    for query in ("orders?key=eve&type=A", "orders?key=ann&key=eve&type=A", "orders?type=A",
                  "orders?key=eve&key=ann&type=A"):
        assert post(gateway, query).status in (400, 403), query
    assert [record[1] for record in records(gateway)] == ["ann"]


def test_a_fixed_path_publishes_to_its_one_topic_without_a_token_if_told_so(open_gateway) -> None:
    gateway = open_gateway([{"path": "/notes", "publish": ["notes"], "token": NONE}])
    assert call("POST", gateway.url + "/notes?type=A", b"{}").status == 202
    assert [(record[0], record[5]) for record in records(gateway)] == [("notes", "{}")]


def test_the_same_event_again_is_the_same_event(gateway: Gateway) -> None:
    event_id = make_id()
    for spelling in (event_id, event_id.upper(), event_id):
        answered = post(gateway, Idempotency_Key=spelling)
        assert (answered.status, answered.body["id"]) == (202, event_id)
    assert [record[4] for record in records(gateway)] == [event_id]
    for wrong in ("1", str(uuid.uuid4()), make_id(2 * 86400), make_id(-3600), event_id[:-1],
                  event_id + "0", "{" + event_id + "}"):
        refused = post(gateway, Idempotency_Key=wrong)
        assert refused.status == 400 and "UUIDv7" in refused.body["error"], wrong
    assert len(records(gateway)) == 1


def test_a_log_that_cannot_be_written_is_503_and_nothing_was_stored(gateway: Gateway) -> None:
    with sqlite3.connect(gateway.folder / "events.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = post(gateway)
        other.execute("ROLLBACK")
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert "not stored" in refused.body["error"]
    assert post(gateway).status == 202
    assert len(records(gateway)) == 1


def test_pages_of_named_origins_may_publish(open_gateway) -> None:
    gateway = open_gateway([publish_route()], token=TOKEN, origin="https://shop.example")
    url = gateway.url + "/publish/orders?type=A"
    preflight = call("OPTIONS", url, headers={"Origin": "https://shop.example",
                                              "Access-Control-Request-Method": "POST"})
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"].lower()
    answered = post(gateway, "orders?type=A", Origin="https://shop.example")
    assert answered.status == 202
    assert answered.headers["access-control-allow-origin"] == "https://shop.example"
    assert post(gateway, "orders?type=A", Origin="https://evil.example").status == 403
    assert call("OPTIONS", url, headers={"Origin": "https://evil.example"}).status == 403


def test_events_survive_the_gateways_end(gateway: Gateway, tmp_path: Path) -> None:
    ids = [post(gateway, f"orders?key={number % 3}&type=A").body["id"] for number in range(20)]
    gateway.kill()
    assert sorted(record[4] for record in records(gateway)) == sorted(ids)
    gateway.start()
