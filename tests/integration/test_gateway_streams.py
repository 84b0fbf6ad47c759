"""Live streams: what a client hears, across races, reconnects, restarts and slow networks."""
from __future__ import annotations

import json
import socket
import subprocess
import threading

import pytest
from harness.gateway import Gateway, Upstream, answer, read_all, stream_route
from harness.http import call
from harness.process import program
from harness.sse import Follower, Message, Refused, Stream
from harness.waiting import DEADLINE_SECONDS, wait_until


class Orders:
    """A service that changes an order and publishes the change, as one would by an outbox."""

    def __init__(self, upstream: Upstream, gateway: Gateway) -> None:
        self.upstream = upstream
        self.gateway = gateway

    def change(self, order: str, version: int, kind: str, **more) -> None:
        state = {"order_id": order, "type": kind, "version": version, **more}
        self.upstream.orders[order] = state
        self.gateway.publish(order, state)

    def url(self, order: str, query: str = "") -> str:
        return f"{self.gateway.url}/orders/{order}/stream{query}"

    def follow(self, order: str) -> Follower:
        return Follower(lambda: self.url(order))

    def open(self, order: str, last_event_id: str | None = None) -> "Reader":
        return Reader(self.url(order), last_event_id)


class Reader(Stream):
    """A stream that is read event by event."""

    def __init__(self, url: str, last_event_id: str | None = None) -> None:
        super().__init__(url, last_event_id)
        self.events = iter(self)

    def read(self) -> Message:
        return next(self.events)

    def read_rest(self) -> list[str]:
        return [event.name for event in self.events]


def versions(messages: list[Message]) -> list[int]:
    return [json.loads(message.data)["version"] for message in messages
            if "version" in json.loads(message.data)]


@pytest.fixture
def open_orders(open_gateway, upstream: Upstream):
    def open_one(config: dict | None = None, **changes) -> Orders:
        routes = [stream_route(upstream, **changes), {"path": "/**", "upstream": upstream.url}]
        return Orders(upstream, open_gateway(routes, **(config or {})))
    return open_one


@pytest.fixture
def orders(open_orders) -> Orders:
    return open_orders()


def test_a_stream_begins_with_what_is_and_ends_after_the_final_status(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["x-content-type-options"] == "nosniff"
        assert "content-length" not in stream.headers
        first = stream.read()
        assert (first.name, json.loads(first.data)["version"]) == ("accepted", 1)
        assert 50 <= stream.retry_ms <= 150
        orders.change("1", 2, "paid")
        assert stream.read().name == "paid"
        orders.change("2", 1, "accepted")
        orders.change("1", 3, "completed")
        assert stream.read_rest() == ["completed", "end"]
    stats = orders.gateway.stats()
    assert (stats["ended_final"], stats["streams"], stats["events_delivered"]) == (1, 0, 3)


def test_after_the_end_a_reconnect_is_told_204_on_any_node_and_after_a_restart(
        orders: Orders) -> None:
    orders.change("1", 1, "completed")
    follower = orders.follow("1")
    follower.wait_ended()
    assert follower.names() == ["completed", "end"]
    orders.gateway.stop()
    orders.gateway.start()
    for message in follower.messages:
        for url, headers in ((orders.url("1"), {"Last-Event-ID": message.id}),
                             (orders.url("1", f"?lastEventId={message.id}"), {})):
            assert call("GET", url, headers=headers).status == 204
    assert orders.gateway.stats()["refused_over"] == 4


def test_what_happens_while_the_snapshot_is_read_is_not_lost(orders: Orders) -> None:
    """The service answers with the state before the change, and after the event was published."""
    is_asked, may_answer = threading.Event(), threading.Event()
    orders.change("1", 1, "accepted")

    def answer_late(handler) -> None:
        state = dict(orders.upstream.orders["1"])
        is_asked.set()
        assert may_answer.wait(DEADLINE_SECONDS)
        answer(handler, 200, json.dumps(state).encode())
    orders.upstream.behaviours["/orders/1"] = answer_late
    follower = orders.follow("1")
    assert is_asked.wait(DEADLINE_SECONDS)
    received = orders.gateway.stats()["events_received"]
    orders.change("1", 2, "paid")
    orders.change("1", 3, "completed")
    orders.gateway.wait_stat("events_received", received + 2)
    may_answer.set()
    follower.wait_ended()
    assert follower.names() == ["accepted", "paid", "completed", "end"]


def test_what_the_snapshot_knows_already_is_not_told_again(orders: Orders) -> None:
    is_asked, may_answer = threading.Event(), threading.Event()
    orders.change("1", 1, "accepted")

    def answer_late(handler) -> None:
        is_asked.set()
        assert may_answer.wait(DEADLINE_SECONDS)
        answer(handler, 200, json.dumps(orders.upstream.orders["1"]).encode())
    orders.upstream.behaviours["/orders/1"] = answer_late
    follower = orders.follow("1")
    assert is_asked.wait(DEADLINE_SECONDS)
    orders.change("1", 2, "paid")
    orders.gateway.wait_stat("events_received", 2)
    may_answer.set()
    wait_until(lambda: follower.messages, "the snapshot came")
    orders.change("1", 3, "completed")
    follower.wait_ended()
    assert follower.names() == ["paid", "completed", "end"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_the_service_refuses_is_refused_with_its_status(orders: Orders, status: int) -> None:
    orders.upstream.behaviours["/orders/1"] = lambda handler: answer(handler, status, b"secret")
    refused = call("GET", orders.url("1"), headers={"Accept": "text/event-stream"})
    assert refused.status == status
    assert list(refused.body) == ["error"] and "secret" not in refused.body["error"]
    assert orders.gateway.stats()["streams"] == 0


def test_the_service_is_asked_with_the_clients_credentials(orders: Orders) -> None:
    orders.change("1", 1, "completed")
    call("GET", orders.url("1"), headers={"Cookie": "session=x", "Authorization": "Bearer y",
                                          "X-Forged": "z"})
    sent = orders.upstream.requests[-1][2]
    assert (sent["cookie"], sent["authorization"]) == ("session=x", "Bearer y")
    assert "x-forged" not in sent


def test_an_id_is_no_permission(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        position = stream.read().id
    orders.change("1", 2, "paid")
    orders.upstream.behaviours["/orders/1"] = lambda handler: answer(handler, 403)
    with pytest.raises(Refused) as refused:
        orders.open("1", position)
    assert refused.value.status == 403


def test_a_service_that_is_down_lets_an_event_source_come_back(orders: Orders) -> None:
    orders.upstream.behaviours["/orders/1"] = lambda handler: answer(handler, 500)
    with orders.open("1") as stream:
        message = stream.read()
        assert message.name == "unavailable"
        assert json.loads(message.data)["reason"]
        assert stream.retry_ms is not None
        assert stream.read_rest() == []
    other = call("GET", orders.url("1"))
    assert other.status == 503 and other.headers["retry-after"]
    assert list(other.body) == ["error"]


def test_a_snapshot_that_cannot_be_used_is_as_good_as_none(orders: Orders) -> None:
    for body in (b"not json", b"[]", b'{"type": "x"}', b" " * (1 << 20) + b"{}"):
        orders.upstream.behaviours["/orders/1"] = lambda handler: answer(handler, 200, body)
        with orders.open("1") as stream:
            assert stream.read().name == "unavailable"
    assert orders.gateway.stats()["ended_unavailable"] == 4


def test_two_routes_can_tell_of_the_same_topic_by_other_rules(open_gateway, upstream) -> None:
    routes = [stream_route(upstream),
              {"path": "/raw/{id}", "topic": "orders", "key": "{id}"},
              {"path": "/notes/{id}", "topic": "notes", "key": "{id}", "event": "/type"}]
    orders = Orders(upstream, open_gateway(routes))
    orders.change("1", 1, "accepted")
    orders.gateway.wait_stat("events_received", 1)
    with orders.open("1") as stream, Reader(orders.gateway.url + "/raw/1") as raw, \
            Reader(orders.gateway.url + "/notes/1") as notes:
        assert stream.read().name == "accepted"
        orders.gateway.wait_stat("streams_opened", 3)
        orders.gateway.publish("1", {"type": "noted"}, topic="notes")
        orders.change("1", 2, "completed")
        assert stream.read_rest() == ["completed", "end"]
        assert (raw.read().name, notes.read().name) == ("message", "noted")


@pytest.mark.parametrize("change, reason", [
    ({"listen": "nonsense"}, "nonsense"),
    ({"routes": [{"path": "/x"}]}, "route /x"),
    ({"routes": [{"path": "/x/{id}", "topic": "t", "key": "{other}"}]}, "{other}"),
    ({"routes": [{"path": "/x", "topic": "t", "key": "{token.sub}"}]}, "no key to check"),
    ({"routes": [{"path": "/x", "upstream": "https://a"}]}, "https://a"),
    ({"origin": "*"}, "no origin"),
])
def test_a_gateway_that_cannot_start_says_why(tmp_path, change: dict, reason: str) -> None:
    config = {"routes": [{"path": "/**", "upstream": "http://127.0.0.1:9"}], **change}
    done = subprocess.run([program("tests/support/gateway_host"), tmp_path / "events.db",
                           json.dumps(config)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=DEADLINE_SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr


def test_an_address_that_is_taken_is_named(orders: Orders, tmp_path) -> None:
    address = "{}:{}".format(*orders.gateway.address)
    done = subprocess.run(
        [program("tests/support/gateway_host"), tmp_path / "other.db",
         json.dumps({"listen": address, "routes": orders.gateway.config["routes"]})],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 1
    assert address in done.stderr and "another program uses this address" in done.stderr


def test_an_event_source_follows_through_an_outage_of_the_service(orders: Orders) -> None:
    orders.upstream.behaviours["/orders/1"] = lambda handler: answer(handler, 503)
    follower = orders.follow("1")
    wait_until(lambda: follower.names().count("unavailable") >= 2, "it came back")
    orders.change("1", 1, "completed")
    del orders.upstream.behaviours["/orders/1"]
    follower.wait_ended()
    assert follower.names()[-2:] == ["completed", "end"]


def test_a_reconnect_gets_exactly_what_it_missed(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        position = stream.read().id
    for version in range(2, 6):
        orders.change("1", version, "step")
        orders.change("2", version, "step")
    orders.gateway.wait_stat("events_received", 9)
    with orders.open("1", position) as stream:
        missed = [stream.read() for _ in range(4)]
        orders.change("1", 6, "completed")
        missed += list(stream.events)
    assert versions(missed) == [2, 3, 4, 5, 6]
    for message in missed[:-2]:
        with orders.open("1", message.id) as again:
            after = list(again.events)
        assert versions(after) == list(range(json.loads(message.data)["version"] + 1, 7))
    stats = orders.gateway.stats()
    assert (stats["resets"], stats["streams_resumed"]) == (0, 1 + len(missed[:-2]))


def test_a_reconnect_after_a_restart_gets_exactly_what_it_missed(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    follower = orders.follow("1")
    wait_until(lambda: follower.messages, "the stream is open")
    orders.gateway.kill()
    orders.gateway.start()
    orders.change("1", 2, "paid")
    orders.gateway.kill()
    orders.gateway.start()
    orders.change("1", 3, "completed")
    follower.wait_ended()
    assert [name for name in follower.names() if name != "draining"] == [
        "accepted", "paid", "completed", "end"]
    assert orders.gateway.stats()["resets"] == 0


def test_a_reconnect_from_before_the_window_is_reset_and_told_the_present(open_orders) -> None:
    orders = open_orders({"replay_events": 5})
    orders.change("1", 1, "step")
    with orders.open("1") as stream:
        oldest = stream.read().id
        ids = []
        for version in range(2, 10):
            orders.change("1", version, "step")
            ids.append(stream.read().id)
    # Five events are kept, 5 to 9: who has version 4 misses nothing, who has 3 may miss the next.
    with orders.open("1", ids[2]) as stream:
        assert versions([stream.read()]) == [5]
    for position in (ids[1], oldest):
        with orders.open("1", position) as stream:
            reset, present = stream.read(), stream.read()
            assert reset.name == "reset" and json.loads(reset.data)["reason"]
            assert versions([present]) == [9]


@pytest.mark.parametrize("position", ["ffffffff-0-0-1", "never.heard-of_it", "1", "%00" * 100,
                                      "x" * 5000, "1a2b3c4d-0-0-1-f"])
def test_a_foreign_id_is_reset_and_never_silence(orders: Orders, position: str) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1", position) as stream:
        assert [stream.read().name, stream.read().name] == ["reset", "accepted"]


def test_an_id_that_is_ahead_of_the_log_is_reset(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        epoch, place, partition, offset, version = stream.read().id.split("-")
    with orders.open("1", f"{epoch}-{place}-{partition}-{int(offset) + 9}-{version}") as stream:
        assert [stream.read().name, stream.read().name] == ["reset", "accepted"]


def test_another_node_on_the_same_log_goes_on_exactly_and_knows_the_newer_owner(
        open_orders) -> None:
    first = open_orders(owner="{header.x-user}")
    second = open_orders(owner="{header.x-user}")
    first.change("1", 1, "accepted")
    ann = {"X-User": "ann"}
    with Stream(first.url("1"), headers=ann) as stream:
        older = next(iter(stream)).id
    first.change("1", 2, "paid")
    first.change("1", 3, "shipped")
    second.gateway.wait_stat("events_received", 3)
    with Stream(second.url("1"), headers=ann) as newest:
        assert versions([next(iter(newest))]) == [3]
        with Stream(second.url("1"), older, headers=ann) as stream:
            assert [event.name for event in stream] == ["replaced"], "its generation is older"
    with Stream(second.url("1"), older, headers=ann) as stream:
        events = iter(stream)
        assert versions([next(events), next(events)]) == [2, 3]
    assert second.gateway.stats()["resets"] == 0


def test_an_id_of_another_key_hides_nothing_and_ends_nothing(orders: Orders) -> None:
    orders.change("1", 7, "completed")
    orders.change("2", 1, "accepted")
    with orders.open("1") as stream:
        foreign = [stream.read().id, stream.read().id]
    assert foreign[-1].endswith("-f")
    for position in foreign:
        with orders.open("2", position) as stream:
            assert [stream.read().name, stream.read().name] == ["reset", "accepted"]
            orders.change("2", 2, "paid")
            assert stream.read().name == "paid"
        orders.change("2", 1, "accepted")


def test_streams_are_read_with_get_only(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    refused = call("POST", orders.url("1"), {"x": 1})
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    head = call("HEAD", orders.url("1"))
    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
    orders.gateway.wait_streams(0)


SHOP = "https://shop.example"


def test_a_page_of_a_named_origin_may_read_a_stream(open_orders) -> None:
    orders = open_orders({"origin": SHOP})
    orders.change("1", 1, "completed")
    stream = call("GET", orders.url("1"), headers={"Origin": SHOP})
    assert stream.headers["access-control-allow-origin"] == SHOP
    assert stream.headers["access-control-allow-credentials"] == "true"
    assert stream.headers["vary"] == "Origin"
    preflight = call("OPTIONS", orders.url("1"), headers={
        "Origin": SHOP, "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id"})
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert "Last-Event-ID" in preflight.headers["access-control-allow-headers"]


def test_a_page_of_another_origin_gets_no_stream(open_orders) -> None:
    orders = open_orders({"origin": SHOP})
    orders.change("1", 1, "completed")
    for origin in ("https://evil.example", "https://shop.example.evil.example", "null", SHOP + "/",
                   "http://shop.example", SHOP.upper()):
        for method in ("GET", "OPTIONS"):
            refused = call(method, orders.url("1"), headers={"Origin": origin})
            assert refused.status == 403, origin
            assert "access-control-allow-origin" not in refused.headers
    own = "http://{}:{}".format(*orders.gateway.address)
    for headers in ({}, {"Origin": own}):
        answered = call("GET", orders.url("1"), headers=headers)
        assert (answered.status, answered.headers["vary"]) == (200, "Origin")
        assert "access-control-allow-origin" not in answered.headers


def test_without_named_origins_browsers_are_told_nothing(orders: Orders) -> None:
    orders.change("1", 1, "completed")
    answered = call("GET", orders.url("1"), headers={"Origin": SHOP})
    assert answered.status == 200
    assert "access-control-allow-origin" not in answered.headers
    assert call("OPTIONS", orders.url("1"), headers={"Origin": SHOP}).status == 405


def test_a_quiet_stream_has_heartbeats_and_a_lively_one_needs_none(open_orders) -> None:
    orders = open_orders({"heartbeat_ms": 200})
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        stream.read()
        orders.gateway.wait_stat("heartbeats", 3)
        orders.change("1", 2, "completed")
        assert stream.read_rest() == ["completed", "end"]
        assert stream.comment_count >= 3


def test_a_client_that_goes_is_forgotten_at_once(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    streams = [orders.open("1") for _ in range(50)]
    orders.gateway.wait_streams(50)
    for number, stream in enumerate(streams):
        if number % 2:  # half of them with a reset, as a process that was killed
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     b"\x01\x00\x00\x00\x00\x00\x00\x00")
        stream.close()
    orders.gateway.wait_streams(0)
    assert orders.gateway.stats()["connections"] == 0


def test_any_number_of_viewers_see_the_same(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    followers = [orders.follow("1") for _ in range(40)]
    orders.gateway.wait_stat("events_delivered", 40)
    followers[0].stop()
    orders.change("1", 2, "paid")
    orders.change("1", 3, "completed")
    for follower in followers[1:]:
        follower.wait_ended()
        assert follower.names() == ["accepted", "paid", "completed", "end"]
        assert follower.connect_count == 1


def test_a_storm_of_reconnects_does_not_fall_on_the_service_all_at_once(orders: Orders) -> None:
    running, most, lock = [0], [0], threading.Lock()
    orders.change("1", 1, "accepted")

    def answer_counted(handler) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        body = json.dumps(orders.upstream.orders["1"]).encode()
        with lock:
            running[0] -= 1
        answer(handler, 200, body)
    orders.upstream.behaviours["/orders/1"] = answer_counted
    connections = [stuck_client(orders, "1") for _ in range(400)]
    orders.gateway.wait_stat("events_delivered", 400)
    orders.change("1", 2, "completed")
    for connection in connections:
        text = read_all(connection).decode()
        assert text.count("event: accepted") == 1 and text.count("event: end") == 1
        connection.close()
    assert most[0] <= 64


def test_a_newer_stream_of_the_same_owner_replaces_the_older_one_for_good(open_orders) -> None:
    orders = open_orders(owner="{query.user}")
    orders.change("1", 1, "accepted")
    older = Follower(lambda: orders.url("1", "?user=ann"))
    wait_until(lambda: older.messages, "the older stream is open")
    newer = Follower(lambda: orders.url("1", "?user=ann"))
    other = Follower(lambda: orders.url("1", "?user=bob"))
    wait_until(lambda: older.has_ended and newer.messages and other.messages, "it is replaced")
    assert older.names() == ["accepted", "replaced"]
    # The older one came back once, with the mark in its id, and was told 204: no ping-pong.
    orders.change("1", 2, "paid")
    wait_until(lambda: newer.names() == ["accepted", "paid"], "the newer one hears of it")
    assert (older.connect_count, newer.connect_count, other.connect_count) == (1, 1, 1)
    orders.change("1", 3, "completed")
    newer.wait_ended()
    other.wait_ended()
    stats = orders.gateway.stats()
    assert (stats["ended_replaced"], stats["refused_over"]) == (1, 1)


def test_an_owner_that_did_not_hear_of_its_replacement_hears_of_it_when_it_comes_back(
        open_orders) -> None:
    orders = open_orders(owner="{query.user}")
    orders.change("1", 1, "accepted")
    with Reader(orders.url("1", "?user=ann")) as older:
        position = older.read().id
    newer = Follower(lambda: orders.url("1", "?user=ann"))
    wait_until(lambda: newer.messages, "the newer stream is open")
    with Reader(orders.url("1", "?user=ann"), position) as again:
        message = again.read()
        assert message.name == "replaced" and again.read_rest() == []
    assert call("GET", orders.url("1", "?user=ann"),
                headers={"Last-Event-ID": message.id}).status == 204
    orders.change("1", 2, "completed")
    newer.wait_ended()
    assert (newer.connect_count, newer.names()) == (1, ["accepted", "completed", "end"])


def test_an_owners_own_reconnect_is_accepted(open_orders) -> None:
    orders = open_orders(owner="{query.user}")
    orders.change("1", 1, "accepted")
    with Reader(orders.url("1", "?user=ann")) as first:
        position = first.read().id
        # The first connection is still open here: its client has lost it and does not know.
        with Reader(orders.url("1", "?user=ann"), position) as second:
            wait_until(lambda: orders.gateway.stats()["ended_replaced"] == 1, "the first is gone")
            orders.change("1", 2, "completed")
            assert second.read_rest() == ["completed", "end"]


def test_a_stranger_cannot_replace_a_stream_that_is_not_his(open_orders) -> None:
    orders = open_orders(owner="{query.user}")
    orders.change("1", 1, "accepted")
    with Reader(orders.url("1", "?user=ann")) as stream:
        stream.read()
        orders.upstream.behaviours["/orders/1"] = lambda handler: answer(handler, 403)
        with pytest.raises(Refused):
            Reader(orders.url("1", "?user=ann"))
        orders.change("1", 2, "completed")
        assert stream.read_rest() == ["completed", "end"]


def test_an_owner_that_is_not_named_is_400(open_orders) -> None:
    orders = open_orders(owner="{header.x-user}")
    orders.change("1", 1, "accepted")
    assert call("GET", orders.url("1")).status == 400


def stuck_client(orders: Orders, order: str) -> socket.socket:
    """A client that opens a stream and reads nothing of it."""
    connection = socket.socket()
    connection.settimeout(DEADLINE_SECONDS)
    connection.connect(orders.gateway.address)
    connection.sendall(f"GET /orders/{order}/stream HTTP/1.1\r\nHost: a\r\n"
                       "Connection: close\r\nAccept: text/event-stream\r\n\r\n".encode())
    return connection


def test_a_slow_client_is_told_that_it_lagged_and_keeps_nobody_waiting(open_orders) -> None:
    orders = open_orders({"stream_stall_ms": 60000})
    orders.change("1", 1, "accepted")
    filler = "x" * 8000
    with stuck_client(orders, "1") as stuck, orders.open("1") as quick:
        orders.gateway.wait_streams(2)
        assert quick.read().name == "accepted"
        version = 1
        while orders.gateway.stats()["lagged"] == 0:
            version += 1
            orders.change("1", version, "step", filler=filler)
            assert versions([quick.read()]) == [version]
            assert version < 2000, orders.gateway.stats()
        assert orders.gateway.stats()["queued"] < 128 * 1024
        version += 1
        orders.change("1", version, "completed")
        assert quick.read_rest() == ["completed", "end"]
        text = read_all(stuck).decode()
    assert "event: lagged\ndata: {\"reason\": " in text
    tail = text.split("event: lagged", 1)[1]
    # At most the state as it was then, and in any case the last one.
    assert tail.count("event: step") <= 1 and f'"version": {version}' in tail
    assert tail.count("event: end") == 1
    assert text.endswith("0\r\n\r\n")


def test_a_client_that_takes_nothing_for_too_long_is_cut(open_orders) -> None:
    orders = open_orders({"stream_stall_ms": 300})
    orders.change("1", 1, "accepted")
    with stuck_client(orders, "1"):
        orders.gateway.wait_streams(1)
        version = 1
        while orders.gateway.stats()["ended_slow"] == 0:
            version += 1
            orders.change("1", version, "step", filler="x" * 20000)
        orders.gateway.wait_streams(0)
    assert orders.gateway.stats()["queued"] == 0


def test_without_room_new_streams_are_refused_and_the_old_ones_stay(open_orders) -> None:
    orders = open_orders({"queue_budget": 1, "stream_stall_ms": 60000,
                          "stream_queue_size_max": 10_000_000})
    orders.change("1", 1, "accepted")
    orders.change("2", 1, "accepted")
    with stuck_client(orders, "1"), orders.open("2") as old:
        orders.gateway.wait_streams(2)
        old.read()
        version = 1
        while orders.gateway.stats()["queued"] == 0:
            version += 1
            orders.change("1", version, "step", filler="x" * 20000)
        with orders.open("2") as refused:
            assert refused.read().name == "unavailable"
            assert refused.retry_ms is not None
        assert call("GET", orders.url("2")).status == 503
        orders.change("2", 2, "completed")
        assert old.read_rest() == ["completed", "end"]
    assert orders.gateway.stats()["refused_budget"] == 2


def test_records_that_tell_nothing_stop_nobody(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        stream.read()
        for payload in ("not json", "[]", '{"type": "x"}', '{"version": 2}',
                        '{"type": "x", "version": "one"}', '{"type": "x", "version": -2}',
                        '{"type": "a\\nb", "version": 3}', '{"type": "", "version": 3}',
                        '{"type": {}, "version": 3}', '{"type": "x", "version": 1.5}'):
            orders.gateway.publish("1", payload)
        orders.gateway.publish("-", {"type": "x", "version": 9})
        orders.change("1", 2, "completed")
        assert stream.read_rest() == ["completed", "end"]
    assert orders.gateway.stats()["events_unusable"] == 11


def test_payloads_of_many_lines_arrive_as_they_were(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    with orders.open("1") as stream:
        stream.read()
        pretty = '{"type": "paid",\\r "version": 2, "text": "event: end\\ndata: x"}'
        orders.gateway.publish("1", pretty.replace("\\r", "\r"))
        message = stream.read()
        assert message.name == "paid"
        assert json.loads(message.data)["text"] == "event: end\ndata: x"


def test_a_route_without_snapshot_and_version_starts_live_and_resumes(open_orders) -> None:
    orders = open_orders(snapshot=None, version=None, event=None, final=None)
    orders.gateway.publish("1", {"n": 0})
    orders.gateway.wait_stat("events_received", 1)
    with orders.open("1") as stream:
        orders.gateway.wait_streams(1)
        wait_until(lambda: orders.gateway.stats()["streams_opened"] == 1, "it is live")
        orders.gateway.publish("1", {"n": 1})
        first = stream.read()
        assert (first.name, json.loads(first.data)) == ("message", {"n": 1})
    for number in range(2, 5):
        orders.gateway.publish("1", {"n": number})
    with orders.open("1", first.id) as stream:
        assert [json.loads(stream.read().data)["n"] for _ in range(3)] == [2, 3, 4]
    with orders.open("1", "foreign") as stream:
        assert stream.read().name == "reset"


def test_streams_hear_that_the_gateway_stops_and_come_back_spread_out(orders: Orders) -> None:
    orders.change("1", 1, "accepted")
    streams = [orders.open("1") for _ in range(20)]
    for stream in streams:
        stream.read()
    orders.gateway.process.terminate()
    for stream in streams:
        message = stream.read()
        assert message.name == "draining"
        assert stream.read_rest() == []
        stream.close()
    assert len({stream.retry_ms for stream in streams}) > 5
    assert orders.gateway.process.wait(DEADLINE_SECONDS) == 0
    assert all(500 <= stream.retry_ms <= 5000 for stream in streams)


def test_a_stream_can_be_opened_before_its_topic_exists(orders: Orders) -> None:
    orders.upstream.orders["1"] = {"type": "accepted", "version": 1}
    follower = orders.follow("1")
    wait_until(lambda: follower.messages, "the snapshot came")
    orders.change("1", 2, "paid")
    orders.change("1", 3, "completed")
    follower.wait_ended()
    assert follower.names() == ["accepted", "paid", "completed", "end"]


def test_the_console_can_see_who_listens_to_what(orders: Orders) -> None:
    orders.change("a b", 1, "accepted")
    orders.upstream.orders["a%20b"] = orders.upstream.orders["a b"]
    with orders.open("a%20b") as stream:
        stream.read()
        assert orders.gateway.ask("streams") == "/orders/{id}/stream a b  127.0.0.1 1;"
