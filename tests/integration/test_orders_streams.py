"""The live streams of an order, by both ways: made by the gateway's hub, and by the service itself."""
from __future__ import annotations

import json

import pytest
from harness.http import call
from harness.orders import STREAM_KINDS, Orders, statuses, stream_path
from harness.sse import Message, Stream
from harness.waiting import wait_until

both_kinds = pytest.mark.parametrize("kind", STREAM_KINDS)
COMPLETED = [(1, "order_accepted"), (2, "payment_requested"), (3, "completed")]


def read_all(orders: Orders, order_id: int, kind: str, last_event_id: str | None = None
             ) -> list[Message]:
    """All events of one connection, up to the server's end of it."""
    with Stream(orders.gateway + stream_path(order_id, kind), last_event_id) as stream:
        return list(stream)


def status_of(orders: Orders, order_id: int, kind: str, last_event_id: str) -> int:
    return call("GET", orders.gateway + stream_path(order_id, kind),
                headers={"Last-Event-ID": last_event_id, "Accept": "text/event-stream"}).status


@both_kinds
def test_a_stream_opened_at_once_sees_every_status_and_the_end(orders: Orders, kind: str) -> None:
    order_id = orders.place(user=31)["order_id"]
    follower = orders.follow(order_id, kind)
    follower.wait_ended()
    seen = statuses(follower.messages)
    assert seen == COMPLETED[-len(seen):]
    assert follower.names()[-1] == "end"
    assert follower.connect_count == 1


@both_kinds
def test_a_stream_opened_in_the_middle_begins_with_what_is(orders: Orders, kind: str) -> None:
    with orders.payments_held():
        order_id = orders.place(user=32)["order_id"]
        snapshot = orders.wait_type(order_id, "payment_requested")
        follower = orders.follow(order_id, kind)
        wait_until(lambda: follower.messages, "the snapshot arrives")
    follower.wait_ended()
    messages = follower.messages
    assert [message.name for message in messages] == ["payment_requested", "completed", "end"]
    assert json.loads(messages[0].data) == snapshot
    assert json.loads(messages[-1].data)["reason"] == "final"


@both_kinds
def test_a_stream_opened_afterwards_tells_the_final_status_and_ends(
        orders: Orders, kind: str) -> None:
    order_id = orders.place(user=33)["order_id"]
    final = orders.wait_type(order_id, "completed")
    messages = read_all(orders, order_id, kind)
    assert [message.name for message in messages] == ["completed", "end"]
    assert json.loads(messages[0].data) == final


@both_kinds
def test_each_status_arrives_when_it_is_made_and_not_when_the_stream_ends(
        orders: Orders, kind: str) -> None:
    with orders.payments_held():
        order_id = orders.place(user=34)["order_id"]
        follower = orders.follow(order_id, kind)
        wait_until(lambda: "payment_requested" in follower.names(), "the status arrives")
        answer = orders.cancel(order_id)
        wait_until(lambda: "cancel_requested" in follower.names(), "the next one arrives")
        assert json.loads(follower.messages[-1].data) == answer.body
    follower.wait_ended()
    assert follower.connect_count == 1


@both_kinds
def test_the_head_says_that_it_is_a_stream_and_not_to_be_kept(orders: Orders, kind: str) -> None:
    order_id = orders.place(user=43)["order_id"]
    with Stream(orders.gateway + stream_path(order_id, kind)) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in stream.headers["cache-control"]


@both_kinds
def test_a_reconnect_goes_on_after_the_last_id_and_repeats_nothing(
        orders: Orders, kind: str) -> None:
    with orders.payments_held():
        order_id = orders.place(user=35)["order_id"]
        orders.wait_type(order_id, "payment_requested")
        with Stream(orders.gateway + stream_path(order_id, kind)) as stream:
            first = next(iter(stream))
        orders.cancel(order_id)
    orders.wait_type(order_id, "cancelled")
    missed = read_all(orders, order_id, kind, first.id)
    assert first.name == "payment_requested"
    assert statuses(missed) == [(3, "cancel_requested"), (4, "cancel_requested"), (5, "cancelled")]
    assert missed[-1].name == "end"


@both_kinds
def test_a_page_that_was_reloaded_can_say_the_last_id_in_the_query(
        orders: Orders, kind: str) -> None:
    with orders.payments_held():
        order_id = orders.place(user=36)["order_id"]
        orders.wait_type(order_id, "payment_requested")
        url = orders.gateway + stream_path(order_id, kind)
        with Stream(url) as stream:
            first = next(iter(stream))
    with Stream(f"{url}?lastEventId={first.id}") as stream:
        assert statuses(list(stream)) == [(3, "completed")]


@both_kinds
def test_a_reconnect_after_the_end_is_told_204(orders: Orders, kind: str) -> None:
    order_id = orders.place(user=37)["order_id"]
    orders.wait_type(order_id, "completed")
    for message in read_all(orders, order_id, kind):
        assert status_of(orders, order_id, kind, message.id) == 204


@both_kinds
def test_an_id_that_is_not_ours_gets_a_reset_and_begins_anew(orders: Orders, kind: str) -> None:
    order_id = orders.place(user=38)["order_id"]
    orders.wait_type(order_id, "completed")
    messages = read_all(orders, order_id, kind, "never.heard-of_it")
    assert [message.name for message in messages] == ["reset", "completed", "end"]


@both_kinds
def test_any_number_of_viewers_see_the_same(orders: Orders, kind: str) -> None:
    with orders.payments_held():
        order_id = orders.place(user=39)["order_id"]
        orders.wait_type(order_id, "payment_requested")
        followers = [orders.follow(order_id, kind) for _ in range(20)]
        wait_until(lambda: all(each.messages for each in followers), "all have the snapshot")
    for follower in followers:
        follower.wait_ended()
        assert statuses(follower.messages) == COMPLETED[1:]
        assert follower.connect_count == 1


@both_kinds
def test_a_viewer_that_leaves_disturbs_nobody(orders: Orders, kind: str) -> None:
    with orders.payments_held():
        order_id = orders.place(user=40)["order_id"]
        staying = orders.follow(order_id, kind)
        with Stream(orders.gateway + stream_path(order_id, kind)) as leaving:
            next(iter(leaving))
        wait_until(lambda: staying.messages, "the other one has begun")
    staying.wait_ended()
    assert statuses(staying.messages)[-1] == (3, "completed")
    assert staying.connect_count == 1


def test_open_streams_do_not_keep_other_requests_waiting(orders: Orders) -> None:
    with orders.payments_held():
        order_id = orders.place(user=41)["order_id"]
        followers = [orders.follow(order_id, kind) for _ in range(60) for kind in STREAM_KINDS]
        wait_until(lambda: all(each.messages for each in followers), "all streams are open")
        assert call("GET", orders.gateway + "/items", timeout=5).status == 200
    for follower in followers:
        follower.wait_ended()
