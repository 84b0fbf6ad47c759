"""The gateway on Kafka: warm-up, other nodes, topics that come later, outages, publishing."""
from __future__ import annotations

import json
import threading

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from harness.gateway import Gateway, Upstream, stream_route
from harness.http import call
from harness.sse import Follower, Stream
from harness.waiting import wait_until
from test_gateway_tokens import TOKEN, bearer, make_token

PARTITIONS = 3


class Topic:
    """A topic and a service that writes to it as a relay would: key, type and id in headers."""

    def __init__(self, kafka, name: str, partitions: int = PARTITIONS) -> None:
        self.name = name
        self.bootstrap = kafka.url.removeprefix("kafka://")
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(name, partitions)]).values():
            future.result(30)
        self.producer = Producer({"bootstrap.servers": self.bootstrap,
                                  "partitioner": "murmur2_random"})

    def send(self, key: str, version: int, kind: str = "paid", producer=None) -> dict:
        state = {"type": kind, "version": version}
        (producer or self.producer).produce(self.name, json.dumps(state).encode(), key.encode(),
                                            headers={"id": f"{key}-{version}", "type": "Changed"})
        return state

    def flush(self) -> None:
        assert self.producer.flush(60) == 0

    def read_all(self) -> list:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.name,
                             "auto.offset.reset": "earliest", "enable.partition.eof": True})
        consumer.subscribe([self.name])
        records, ends = [], set()
        while len(ends) < PARTITIONS:
            message = consumer.poll(30)
            assert message is not None
            if message.error():
                ends.add(message.partition())
            else:
                records.append(message)
        consumer.close()
        return records


@pytest.fixture
def open_node(tmp_path, upstream: Upstream):
    """open_node(kafka, topic) starts a gateway; any number of them, as nodes behind one address."""
    nodes: list[Gateway] = []

    def open_one(url: str, topic: str, **config) -> Gateway:
        folder = tmp_path / f"node-{len(nodes)}"
        folder.mkdir()
        routes = [stream_route(upstream, topic=topic, snapshot=None, **config.pop("route", {})),
                  {"path": "/publish/{topic}", "publish": [topic]},
                  {"path": "/**", "upstream": upstream.url}]
        nodes.append(Gateway(folder, routes, url, token=TOKEN, **config))
        return nodes[-1]

    yield open_one
    for node in nodes:
        node.close()


def url(node: Gateway, key: str) -> str:
    return f"{node.url}/orders/{key}/stream"


def versions(stream: Stream, count: int) -> list[int]:
    events = iter(stream)
    return [json.loads(next(events).data)["version"] for _ in range(count)]


def test_a_node_reads_all_partitions_and_another_one_goes_on_where_it_stopped(
        kafka, open_node) -> None:
    topic = Topic(kafka, kafka.topic("orders"))
    for version in range(1, 6):
        for key in "abcdefgh":
            topic.send(key, version)
    topic.flush()
    first, second = open_node(kafka.url, topic.name), open_node(kafka.url, topic.name)
    assert first.stats()["events_received"] == second.stats()["events_received"] == 40
    positions = {}
    for key in "abcdefgh":
        with Stream(url(first, key)) as stream:
            topic.send(key, 6)
            topic.flush()
            event = next(iter(stream))
            assert json.loads(event.data)["version"] == 6
            positions[key] = event.id
    for key in "abcdefgh":
        topic.send(key, 7)
        topic.send(key, 8)
    topic.flush()
    second.wait_stat("events_received", 64)
    for key, position in positions.items():
        with Stream(url(second, key), position) as stream:
            assert versions(stream, 2) == [7, 8]
    assert second.stats()["resets"] == 0
    second.stop()
    second.start()
    for key, position in positions.items():
        with Stream(url(second, key), position) as stream:
            assert versions(stream, 2) == [7, 8]
    assert second.stats()["resets"] == 0


def test_a_topic_and_partitions_that_come_later_are_read_too(kafka, open_node) -> None:
    name = kafka.topic("later")
    node = open_node(kafka.url, name)
    with Stream(url(node, "a")) as stream:
        topic = Topic(kafka, name, partitions=1)
        topic.send("a", 1)
        topic.flush()
        assert versions(stream, 1) == [1]


@pytest.mark.parametrize("outage", ["killed", "paused"])
def test_an_outage_ends_no_stream_and_loses_and_doubles_nothing(
        private_kafka, open_node, outage: str) -> None:
    kafka = private_kafka()
    topic = Topic(kafka, "orders")
    topic.send("a", 1)
    topic.flush()
    node = open_node(kafka.url, topic.name, heartbeat_ms=1000)
    follower = Follower(lambda: url(node, "a"))
    wait_until(lambda: node.stats()["streams"] == 1, "the stream")
    topic.send("a", 2)
    topic.flush()
    wait_until(lambda: len(follower.messages) == 1, "the event before the outage")
    if outage == "killed":
        kafka.kill()
        wait_until(lambda: not node.stats()["is_ready"], "the node says that it is not ready", 60)
        assert "broker" in node.stats()["reason"]
        kafka.start()
    else:
        with kafka.paused():
            assert call("GET", node.url + "/echo").status == 200
            threading.Event().wait(3)
    topic.send("a", 3)
    topic.flush()
    topic.send("a", 4, "completed")
    topic.flush()
    follower.wait_ended(90)
    assert follower.names() == ["paid", "paid", "completed", "end"]
    assert follower.connect_count == 1, "the stream has stayed open"
    wait_until(lambda: node.stats()["is_ready"], "the node is ready again", 60)


def test_a_gateway_serves_while_kafka_is_away_and_catches_up_when_it_comes(
        private_kafka, open_node, upstream: Upstream) -> None:
    kafka = private_kafka()
    topic = Topic(kafka, "orders")
    topic.send("a", 1)
    topic.flush()
    kafka.stop()
    node = open_node(kafka.url, topic.name, is_awaited=False)
    upstream.orders["x"] = {"n": 1}
    assert call("GET", node.url + "/x").status == 200
    assert not node.stats()["is_ready"]
    kafka.start()
    wait_until(lambda: node.stats()["is_ready"], "the node is ready", 60)
    assert node.stats()["events_received"] == 1
    with Stream(url(node, "a")) as stream:
        topic.send("a", 2)
        topic.flush()
        assert versions(stream, 1) == [2]


def test_what_is_published_is_in_kafka_when_it_is_answered(kafka, open_node) -> None:
    topic = Topic(kafka, kafka.topic("published"))
    node = open_node(kafka.url, topic.name)
    with Stream(url(node, "a%20b")) as stream:
        answered = call("POST", f"{node.url}/publish/{topic.name}?key=a+b&type=Noted",
                        {"type": "noted", "version": 1}, bearer(make_token()))
        assert answered.status == 202
        assert next(iter(stream)).name == "noted"
    ids = [answered.body["id"]]
    threads, answers = [], []
    for number in range(50):
        threads.append(threading.Thread(target=lambda number=number: answers.append(
            call("POST", f"{node.url}/publish/{topic.name}?key={number}&type=Noted", {"n": number},
                 bearer(make_token())))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert {answered.status for answered in answers} == {202}
    ids += [answered.body["id"] for answered in answers]
    records = topic.read_all()
    assert sorted(dict(record.headers())["id"].decode() for record in records) == sorted(ids)
    first = next(record for record in records if record.key() == b"a b")
    headers = {name: value.decode() for name, value in first.headers()}
    assert (headers["type"], headers["subject"]) == ("Noted", "ann")


def test_publishing_while_kafka_is_away_is_503_and_works_again_after(
        private_kafka, open_node) -> None:
    kafka = private_kafka()
    topic = Topic(kafka, "orders")
    node = open_node(kafka.url, topic.name)
    path = f"{node.url}/publish/orders?key=a&type=Noted"
    assert call("POST", path, {"n": 1}, bearer(make_token())).status == 202
    kafka.kill()
    refused = call("POST", path, {"n": 2}, bearer(make_token()), timeout=60)
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    kafka.start()

    def is_accepted() -> bool:
        return call("POST", path, {"n": 3}, bearer(make_token()), timeout=60).status == 202
    wait_until(is_accepted, "publishing works again", 90)
